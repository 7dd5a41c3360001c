"""llmzip.cm: C and Python write the same bytes, any bytes come back, records are found, and damage is an error or wrong bytes of the right number."""

import random

import numpy as np
import pytest
from damage import flips
from hypothesis import given, settings
from hypothesis import strategies as st

from llmzip import cm, native
from llmzip.cm import reference, tables
from llmzip.container import create_varint
from llmzip.errors import FormatError
from llmzip.rangecoder import TOO_EARLY, Decoder, Encoder, words_of

NOISE = random.Random(0)
RECORDS = b"".join(
    i.to_bytes(4, "little") + NOISE.choice([b"on \0", b"off\0"]) + NOISE.randbytes(1) + b"\0\0" for i in range(300)
)
KINDS = {
    "noise": NOISE.randbytes(700),
    "one": b"\xff" * 700,
    "period": NOISE.randbytes(11) * 60,  # the match is always right
    "alternating": b"".join(b"seven!!" + NOISE.randbytes(9) for _ in range(45)),  # right, then wrong
    "wrong": b"".join(b"seven!!" + bytes([i]) for i in range(90)),
    "text": b"the rain in spain\nand the rain in france\n" * 9 + bytes(range(256)),
    "records": RECORDS[:900],
}


@pytest.fixture
def in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "library", None)


@pytest.mark.parametrize("stride", [0, 1, 2, 11, 255])
@pytest.mark.parametrize("kind", KINDS)
def test_c_and_python_write_the_same(kind: str, stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert native.library is not None
    body = KINDS[kind]
    made = cm._encode(body, stride)
    monkeypatch.setattr(native, "library", None)
    assert cm._encode(body, stride) == made


def test_python_reads_what_it_writes(in_python: None) -> None:
    for body in (b"\n", KINDS["text"][:200], RECORDS[:200]):
        assert cm.parse_payload(cm.create_payload(body), len(body)) == body


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(list(KINDS.values())), st.integers(0, 300), st.binary(max_size=300), st.sampled_from([0, 1, 3, 8, 4096]))
def test_any_bytes_come_back(start: bytes, n: int, rest: bytes, stride: int) -> None:
    body = start[:n] + rest
    payload = create_varint(stride) + cm._encode(body, stride)
    assert cm.parse_payload(payload, len(body)) == body


@pytest.mark.parametrize("thorough", [False, True])
def test_more_than_one_step(thorough: bool) -> None:
    body = (KINDS["text"] + RECORDS) * 6
    told: list[int] = []
    payload = cm.create_payload(body, thorough=thorough, progress=told.append)
    assert told == [min(at + cm.STEP, len(body)) for at in range(0, len(body), cm.STEP)]
    told.clear()
    assert cm.parse_payload(payload, len(body), told.append) == body
    assert told[-1] == len(body)


def test_records_are_found() -> None:
    payload = cm.create_payload(RECORDS)
    assert payload[0] % 11 == 0
    assert len(payload) < 0.8 * len(cm.create_payload(RECORDS, thorough=False))


def test_what_repeats_costs_next_to_nothing() -> None:
    assert len(cm.create_payload(b"\0" * 100_000)) < 60
    noise = random.Random(4).randbytes(20_000)
    assert len(cm.create_payload(noise * 2, thorough=False)) < 1.05 * len(noise)


def test_noise_is_hopeless() -> None:
    assert cm.is_hopeless(random.Random(5).randbytes(100_000))
    assert not cm.is_hopeless(RECORDS)


def test_the_decoder_is_that_of_constriction(in_python: None) -> None:
    """The C reads by its own decoder: any words lead both to the same bytes, or both nowhere."""
    library = native._load(native._find())
    for seed in range(40):
        payload = b"\0" + random.Random(seed).randbytes(seed)
        found = []
        for native.library in (None, library):
            try:
                found.append(cm.parse_payload(payload, 24))
            except FormatError as error:
                found.append(str(error).encode())
        # The C counts words, and stops a little sooner than the Python, which counts information.
        assert found[0] == found[1] or found[1] == TOO_EARLY.encode()


def test_every_flip_and_cut() -> None:
    body = RECORDS[:600]
    payload = cm.create_payload(body)
    for n in range(len(payload)):
        spoilt(payload[:n], len(body))
    for flipped in flips(payload):
        spoilt(flipped, len(body))


def spoilt(payload: bytes, n_bytes: int) -> None:
    try:
        assert len(cm.parse_payload(payload, n_bytes)) == n_bytes  # the content check tells
    except FormatError:
        pass


@pytest.mark.parametrize(("payload", "message"), [(b"", "short"), (b"\x80", "short"), (b"\x81\x20", "stride"), (b"\x81\x80\x00", "shortest")])
def test_strides(payload: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        cm.parse_payload(payload, 10)


def test_cells_stay_in_their_bits() -> None:
    rng = random.Random(6)
    cell = 0
    for i in range(20_000):
        cell = reference.learnt_slot(cell, int(rng.random() < (i // 100 % 11) / 10))
        assert 0 <= cell < 1 << 32 and 1 <= cell >> 10 & 63 <= reference.SLOT_LIMIT
    assert reference.learnt_slot(0, 1) >> 16 > 50_000 and reference.learnt_slot(0, 0) >> 16 < 15_000


def test_tables_at_first() -> None:
    histories = tables.first_histories()
    assert histories.shape == (tables.CONTEXTS, 1024)
    p = (histories[0] >> 10).reshape(16, 16, 4) / 2**22  # (zeros, ones, last two)
    assert np.allclose(p + p.transpose(1, 0, 2), 1, atol=1e-6) and (np.diff(p, axis=1) > 0).all()
    assert (np.diff(tables.first_match_cells().astype(np.int64)) > 0).all()


def test_words_of_a_payload() -> None:
    encoder = Encoder()
    table, bits = np.array([[(1 << 23) - 1.0] * 2] * 77), np.arange(77, dtype=np.int32) % 2
    encoder.code(table, bits)
    assert len(words_of(encoder.payload())) >= 2
    assert np.array_equal(Decoder(encoder.payload()).code(table, bits), bits)
