"""llmzip.lz: payloads there and back, and one kind of error from every damage."""

import lzma
import random
import tracemalloc

import pytest
from damage import flips
from hypothesis import given
from hypothesis import strategies as st

from llmzip import lz
from llmzip.errors import FormatError

BODY = b"a table of numbers: " + bytes(range(0, 250, 5)) * 12


@given(st.binary(min_size=1, max_size=300), st.sampled_from(lz.TRIED))
def test_round_trip(body: bytes, settings: lz.Settings) -> None:
    assert lz.parse_payload(lz.create_payload(body), len(body)) == body
    payload = lz._code(body, settings)
    assert lz._parse_settings(payload) == settings
    assert lz.parse_payload(payload, len(body)) == body


def test_the_best_settings_are_found() -> None:
    noise = random.Random(1)
    records = b"".join(i.to_bytes(4, "little") + noise.randbytes(1) + b"\0\0\0" for i in range(20000))
    payload = lz.create_payload(records)
    assert len(payload) < 0.85 * len(lzma.compress(records, preset=9 | lzma.PRESET_EXTREME))
    assert lz.parse_payload(payload, len(records)) == records


def test_every_flip_and_cut() -> None:
    payload = lz.create_payload(BODY)
    for n in range(len(payload)):
        with pytest.raises(FormatError):
            lz.parse_payload(payload[:n], len(BODY))
    for flipped in flips(payload):
        try:
            assert len(lz.parse_payload(flipped, len(BODY))) == len(BODY)  # the content check tells
        except FormatError:
            pass


@pytest.mark.parametrize("wrong", [-1, 1, 100, -len(BODY) + 1])
def test_sizes(wrong: int) -> None:
    with pytest.raises(FormatError, match="exactly"):
        lz.parse_payload(lz.create_payload(BODY), len(BODY) + wrong)
    with pytest.raises(FormatError):
        lz.parse_payload(lz.create_payload(BODY) + bytes(5), len(BODY))


@given(st.binary(max_size=100), st.integers(1, 5000))
def test_any_payload(payload: bytes, n_bytes: int) -> None:
    try:
        assert len(lz.parse_payload(payload, n_bytes)) == n_bytes
    except FormatError:
        pass


def test_a_bomb_is_defused() -> None:
    """What decodes to far more than was declared is not decoded further."""
    bomb = lz._code(bytes(1 << 24), lz.Settings())
    tracemalloc.start()
    with pytest.raises(FormatError):
        lz.parse_payload(bomb, 1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 17
