"""llmzip.predictor.coder: its stream is constriction's, to the byte; what is not a stream is an error in good time."""

import random

import constriction
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmzip.errors import FormatError
from llmzip.predictor.coder import PAST_END, TOTAL_BITS, Reader, Writer

DECISIONS = st.lists(st.tuples(st.integers(16, (1 << 24) - 16), st.integers(0, 1)), max_size=200)


def written(decisions: list[tuple[int, int]]) -> bytes:
    writer = Writer()
    for p, bit in decisions:
        writer.code(p, bit)
    return writer.payload()


# perfect=False: with two integers that sum to 2^24 - 2, the library rounds nothing, and bit i gets exactly table[i] + 1
# of 2^24.
MODEL = constriction.stream.model.Categorical(perfect=False)


def tables_of(decisions: list[tuple[int, int]]) -> np.ndarray:
    return np.array([[(1 << TOTAL_BITS) - p - 1, p - 1] for p, _ in decisions], dtype=np.float64).reshape(-1, 2)


def by_constriction(decisions: list[tuple[int, int]]) -> bytes:
    encoder = constriction.stream.queue.RangeEncoder()
    if decisions:
        encoder.encode(np.array([bit for _, bit in decisions], dtype=np.int32), MODEL, tables_of(decisions))
    n_words, (lower, width) = encoder.pos()
    # a point in its last interval, which is [lower, lower + width) after n_words whole words
    sealed = encoder.get_compressed()
    size = 4 * n_words + 8
    point = int.from_bytes(sealed.astype(">u4").tobytes(), "big") << (8 * size - 32 * len(sealed))
    first = point - (point - int(lower)) % (1 << 64)
    last = first + int(width) - 1
    zeros = next(n for n in range(64, -1, -8) if -(-first >> n) << n <= last)
    ended: int = -(-first >> zeros) << zeros  # the point with most zeros at its end
    return ended.to_bytes(size, "big")


def read_by_constriction(payload: bytes, decisions: list[tuple[int, int]]) -> list[int]:
    words = np.frombuffer(payload.ljust(-(-len(payload) // 4) * 4 + 8, b"\0"), ">u4").astype(np.uint32)
    return (
        constriction.stream.queue.RangeDecoder(words).decode(MODEL, tables_of(decisions)).tolist() if decisions else []
    )


@settings(deadline=None)
@given(DECISIONS)
def test_the_stream_is_that_of_constriction(decisions: list[tuple[int, int]]) -> None:
    payload = written(decisions)
    assert payload.rstrip(b"\0") == by_constriction(decisions).rstrip(b"\0")
    reader = Reader(payload)
    bits = [bit for _, bit in decisions]
    assert [reader.code(p) for p, _ in decisions] == bits == read_by_constriction(payload, decisions)


@pytest.mark.parametrize("bit", [0, 1])
@pytest.mark.parametrize("p", [16, 1 << 23, (1 << 24) - 16])
def test_always_the_same(p: int, bit: int) -> None:
    """Carries through many words, and more zeros at the end than a reader adds."""
    decisions = [(p, bit)] * 3000
    payload = written(decisions)
    assert payload.rstrip(b"\0") == by_constriction(decisions).rstrip(b"\0")
    reader = Reader(payload)
    assert all(reader.code(p) == bit for _ in range(3000))


def test_carries() -> None:
    rng = random.Random(1)
    for _ in range(50):  # just below one half, then anything: the interval stays across a boundary
        decisions = [
            (1 << 23, 0),
            *[((1 << 24) - 16, 1)] * rng.randrange(100),
            *[(16, rng.randrange(2)) for _ in range(rng.randrange(30))],
        ]
        assert written(decisions).rstrip(b"\0") == by_constriction(decisions).rstrip(b"\0")


def test_a_reader_does_not_run_on() -> None:
    reader = Reader(b"\x12\x34")
    with pytest.raises(FormatError):
        for _ in range(32 * (PAST_END + 4)):
            reader.code(1 << 23)
