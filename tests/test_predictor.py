"""llmzip.predictor.

C writes what Python writes, any bytes come back, memory goes on from body to body, noise costs what it must.
"""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmzip import native
from llmzip.errors import FormatError
from llmzip.predictor import Predictor, Spelling, prior, tables
from llmzip.predictor.learning import learnt_cell, learnt_slot

NOISE = random.Random(0)
LINE_BITS = 12
KINDS = {
    "noise": NOISE.randbytes(60),
    "zeros": bytes(100),
    "ones": b"\xff" * 75,
    "period": NOISE.randbytes(11) * 9,
    "wrong": b"".join(b"seven!!" + bytes([i]) for i in range(14)),
    "text": b"The rain in Spain\n\n  and the 1234 rain in france, 12;3\n" + bytes(range(0, 256, 5)),
    "markup": b'<a href="x"><b>one</b></a>{"key": [1, 22, "v"]}\n' * 2,
    "script": "Однажды в студёную зимнюю пору, 記号は三つ。".encode() + b"\x80\x81\x82\x83\x84\x85 \xff\xfe",
    "lines": b"".join(
        b"2020-01-%02d 12:%02d error: disk %d failed (%s)\n" % (i, i * 7 % 60, i * i, b"ab" * (i % 3)) for i in range(3)
    ),
}
WORDS = [b"the", b"th", b"he", b"in", b"and ", b"rain", b"the", b"12", b'="', b"\xff\xff", b"error: ", b""]
SPELLING = Spelling([bytes([i]) for i in range(256)] + WORDS)


def scores_of(step: int, lanes: int) -> np.ndarray:
    return np.random.default_rng(step).integers(-3000, 1, (lanes, len(SPELLING.ids))).astype(np.int16)


def tokens_of(body: bytes, seed: int) -> np.ndarray:
    rng, ids, at = random.Random(seed), [], 0
    while at < len(body):
        fits = [i for i, word in enumerate(WORDS) if word and body.startswith(word, at)]
        ids.append(256 + rng.choice(fits) if fits and rng.random() < 0.7 else body[at])
        at += int(SPELLING.id_lengths[ids[-1]])
    return SPELLING.canonical(np.array(ids, dtype=np.int32))


def lanes_of(body: bytes, n: int) -> tuple[list[np.ndarray], list[int]]:
    parts = np.array_split(tokens_of(body, n), n)
    return parts, [int(SPELLING.id_lengths[part].sum()) for part in parts]


def write(predictor: Predictor, body: bytes, lanes: int, stride: int = 0) -> bytes:
    if not lanes:
        predictor.write(body, stride=stride)
        predictor.code_bytes(len(body))
        return predictor.payload()
    parts, sizes = lanes_of(body, lanes)
    predictor.write(body, sizes, SPELLING)
    for step in range(max(map(len, parts))):
        predictor.code_step(
            scores_of(step, lanes), np.array([part[step] if step < len(part) else 0 for part in parts], np.int32)
        )
    assert not predictor.alive.any() and predictor.n_done == len(body)
    return predictor.payload()


def read(predictor: Predictor, payload: bytes, body: bytes, lanes: int, stride: int = 0) -> bytes:
    if not lanes:
        predictor.read(payload, len(body), stride=stride)
        predictor.code_bytes(len(body))
        return predictor.body()
    predictor.read(payload, len(body), lanes_of(body, lanes)[1], SPELLING)
    step = 0
    while predictor.alive.any():
        predictor.code_step(scores_of(step, lanes), np.zeros(lanes, np.int32))
        step += 1
    return predictor.body()


def predictor() -> Predictor:
    return Predictor(LINE_BITS)


@pytest.mark.long
@pytest.mark.parametrize(("lanes", "stride"), [(0, 0), (0, 1), (0, 4), (1, 0), (3, 0)])
def test_c_and_python_write_the_same(lanes: int, stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One predictor for all kinds: each body goes on from those before."""
    in_c = predictor()
    monkeypatch.setattr(native, "library", None)
    in_python = predictor()
    for body in KINDS.values():
        assert write(in_c, body, lanes, stride) == write(in_python, body, lanes, stride)


def test_python_reads_what_it_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "library", None)
    body = KINDS["lines"][:80]
    for lanes in (0, 2):
        assert read(predictor(), write(predictor(), body, lanes), body, lanes) == body


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(list(KINDS.values())), st.binary(min_size=1, max_size=60), st.integers(0, 3)),
        min_size=1,
        max_size=3,
    )
)
def test_any_bytes_come_back(parts: list[tuple[bytes, bytes, int]]) -> None:
    """With and without a model in turn, in one memory."""
    writer, reader = predictor(), predictor()
    for start, rest, lanes in parts:
        body = start + rest
        assert read(reader, write(writer, body, lanes), body, lanes) == body


def test_what_was_before_helps() -> None:
    noise = NOISE.randbytes(1500)
    memory = predictor()
    assert len(write(memory, noise, 0)) > 1490
    assert len(write(memory, noise, 0)) < 120


@pytest.mark.parametrize("alphabet", [bytes(range(256)), bytes(range(64)), b"abcdefghijklmnopqrstuvwxyz"])
def test_nothing_leaks(alphabet: bytes) -> None:
    """What is random takes its entropy, whatever the model says."""
    rng = random.Random(3)
    body = bytes(rng.choice(alphabet) for _ in range(3000))
    for lanes in (0, 1, 3):
        assert len(write(predictor(), body, lanes)) * 8 > np.log2(len(alphabet)) * len(body) - 8


@pytest.mark.parametrize("lanes", [0, 2])
def test_damage(lanes: int) -> None:
    """An error, or other bytes of the same number: the content check tells."""
    body = KINDS["text"]
    payload, outcomes = write(predictor(), body, lanes), Counter[str]()
    for i in range(0, len(payload), 5):
        for damaged in (payload[:i], payload[:i] + bytes([payload[i] ^ 16]) + payload[i + 1 :]):
            try:
                assert len(read(predictor(), damaged, body, lanes)) == len(body)
                outcomes["content"] += 1
            except FormatError:
                outcomes["error"] += 1
    assert outcomes["error"] and outcomes["content"], outcomes


def test_cells_and_slots_stay_in_their_bits() -> None:
    rng, slot, cell = random.Random(6), 0, 1 << 31
    for i in range(5000):
        bit = int(rng.random() < (i // 100 % 11) / 10)
        slot, cell = learnt_slot(slot, bit), learnt_cell(cell, bit, 255)
        assert 0 <= slot < 1 << 32 and 1 <= slot >> 10 & 63 <= tables.SLOT_LIMIT
        assert 0 <= cell < 1 << 32 and cell & 1023 <= 255


def test_first_values_stay_in_their_bounds() -> None:
    first = prior.load()
    for mode in first.modes:
        assert (np.abs(mode.weights) <= tables.WEIGHT_TOP).all() and (np.abs(mode.seconds) <= tables.SECOND_TOP).all()
        limits = (
            (mode.histories, tables.HISTORY_LIMIT),
            (mode.match_cells, tables.MATCH_LIMIT),
            (mode.model_cells, tables.MODEL_LIMIT),
        )
        assert all(((cells & 1023) <= limit).all() and (cells >> 10 > 0).all() for cells, limit in limits)
    assert ((prior.FIRST_APMS & 1023) == tables.APM_FIRST).all() and tables.APM_FIRST > 0


@pytest.mark.long
def test_what_is_kept_comes_back() -> None:
    first = prior.load()
    again = prior.unpack(prior.pack(first))
    assert np.array_equal(again.biases, first.biases)
    for mode, near in zip(first.modes, again.modes, strict=True):
        assert np.abs(mode.weights - near.weights).max() < 3200 and np.abs(mode.seconds - near.seconds).max() < 3200
        assert np.array_equal(mode.histories & 1023, near.histories & 1023)
        assert np.abs((mode.histories >> 10).astype(np.int64) - (near.histories >> 10)).max() < 1 << 16


def test_sums_fit() -> None:
    """The bounds that c/learning.h names."""
    assert tables.WEIGHT_TOP * tables.TOP < 1 << 31 and (tables.WEIGHT_TOP * tables.TOP >> 8) * tables.INPUTS < 1 << 31
    assert ((1 << 16) * (tables.BOOST + 1)) * tables.TOP + (1 << tables.RATE_BITS) < 1 << 31
