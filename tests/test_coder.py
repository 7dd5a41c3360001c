"""llmzip.predictor.coder: its stream is constriction's, to the byte; what is not a stream is an error in good time."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmzip.errors import FormatError
from llmzip.predictor.coder import PAST_END, Reader, Writer
from llmzip.rangecoder import Encoder

DECISIONS = st.lists(st.tuples(st.integers(16, (1 << 24) - 16), st.integers(0, 1)), max_size=200)


def written(decisions: list[tuple[int, int]]) -> bytes:
    writer = Writer()
    for p, bit in decisions:
        writer.code(p, bit)
    return writer.payload()


def by_constriction(decisions: list[tuple[int, int]]) -> bytes:
    encoder = Encoder()
    tables = np.array([[(1 << 24) - p - 1, p - 1] for p, _ in decisions], dtype=np.float64).reshape(-1, 2)
    encoder.code(tables, np.array([bit for _, bit in decisions], dtype=np.int32))
    return encoder.payload()


@settings(deadline=None)
@given(DECISIONS)
def test_the_stream_is_that_of_constriction(decisions: list[tuple[int, int]]) -> None:
    payload = written(decisions)
    assert payload.rstrip(b"\0") == by_constriction(decisions).rstrip(b"\0")
    reader = Reader(payload)
    assert [reader.code(p) for p, _ in decisions] == [bit for _, bit in decisions]


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
        decisions = [(1 << 23, 0), *[((1 << 24) - 16, 1)] * rng.randrange(100), *[(16, rng.randrange(2)) for _ in range(rng.randrange(30))]]
        assert written(decisions).rstrip(b"\0") == by_constriction(decisions).rstrip(b"\0")


def test_a_reader_does_not_run_on() -> None:
    reader = Reader(b"\x12\x34")
    with pytest.raises(FormatError):
        for _ in range(32 * (PAST_END + 4)):
            reader.code(1 << 23)
