"""Scores to intervals: the numpy form, the C form and the words of format.md give the same integers, and encoder and decoder the same intervals."""

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmzip import cdf, native, rangecoder
from llmzip.errors import FormatError


@pytest.fixture(params=["numpy", "c"])
def kernels(request, monkeypatch):
    if request.param == "numpy":
        monkeypatch.setattr(native, "library", None)
    elif native.library is None:
        pytest.skip("the C kernels are not built here")


def random_scores(rows, n, seed=0):
    rng = np.random.default_rng(seed)
    scores = -(rng.random((rows, n)) ** 2 * 32768).astype(np.int16)
    scores[np.arange(rows), rng.integers(0, n, rows)] = 0
    scores[0] = -32768
    scores[0, 0] = 0
    return scores


def test_the_table_of_powers():
    assert cdf.EXP2.tolist() == [oracle.round_exp2(f) for f in range(256)]


@pytest.mark.parametrize("n", [1, 255, 256, 257, 700, 49_158, 70_000])
def test_intervals_are_those_of_the_format(kernels, n):
    scores = random_scores(3, n)
    for symbol in (0, n // 2, n - 1):
        symbols = np.full(3, symbol, dtype=np.int32)
        tables = cdf.intervals(scores, symbols)
        groups, members = cdf.group_tables(scores), cdf.member_tables(scores, symbols // 256)
        for r in range(3):
            for level, table, entry in ((0, groups, symbol // 256), (1, members, symbol % 256)):
                start, width = oracle.intervals(scores[r], symbol)[level]
                assert tables[level, r].tolist() == [start - 1, width - 1, 2**24 - start - width - 1]
                assert table[r].sum() == 2**24 - table.shape[1]
                assert table[r, : entry + 1].sum() + entry + 1 == start and table[r, entry + 1] == width - 1


@given(st.integers(0, 2**32), st.integers(1, 600), st.integers(1, 9))
def test_round_trip(seed, n, rows):
    rng = np.random.default_rng(seed)
    scores = random_scores(rows, n, seed)
    steps = rng.integers(0, n, (5, rows)).astype(np.int32)
    encoder = rangecoder.Encoder()
    for symbols in steps:
        encoder.code(scores, symbols)
    payload = encoder.payload()
    assert len(payload) <= encoder.cost_bits / 8 + 8
    decoder = rangecoder.Decoder(payload)
    assert all(np.array_equal(decoder.code(scores, None), symbols) for symbols in steps)


def test_noise_is_an_error_or_symbols_never_anything_else(kernels):
    scores = random_scores(4, 300)
    for seed in range(50):
        decoder = rangecoder.Decoder(np.random.default_rng(seed).bytes(40))
        try:
            for _ in range(20):
                assert decoder.code(scores, None).max() < 300
        except FormatError:
            pass
