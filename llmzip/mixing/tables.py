"""The tables of the adaptive layer, made by integer arithmetic alone, so that they are the same everywhere (format.md 6.3).

Units: scores, stretches and logarithms in 1/256 bit; probabilities in 2^-24 (of the coder) or 2^-22 (of a cell).
"""

from bisect import bisect_right
from math import isqrt

import numpy as np
from numpy.typing import NDArray

TOTAL_BITS = 24  # precision of constriction's default coder
WEIGHT_BITS = 22  # so that the sum of a group, <= 256 * 2**22 = 2**30, fits int32
TOP = 20 * 256  # the largest stretch: a probability of 2**-20, 15 of 2**24
_BITS = 300  # fractional bits of the roots; no value below is as close as 2**-290 to where its rounding changes (tests say so)


def _powers(count: int) -> list[int]:
    """2**(i/count) for i in 0 .. count - 1 with 300 fractional bits; `count` is a power of two."""
    root = 2 << _BITS
    for _ in range(count.bit_length() - 1):
        root = isqrt(root << _BITS)
    powers = [1 << _BITS]
    while len(powers) < count:
        powers.append((powers[-1] * root) >> _BITS)
    return powers


def _exp2() -> NDArray[np.int32]:
    """round(2**(22 + f/256))."""
    return np.array([((power >> (_BITS - WEIGHT_BITS - 1)) + 1) >> 1 for power in _powers(256)], dtype=np.int32)


def _log2() -> NDArray[np.int16]:
    """round(256 log2(1 + i/1024)): the number of halves k - 1/2 that it is above."""
    halves = _powers(512)[1::2]  # 2**((k - 1/2) / 256)
    return np.array([bisect_right(halves, (1024 + i) << (_BITS - 10)) for i in range(1024)], dtype=np.int16)


EXP2 = _exp2()
LOG2 = _log2()


def log2_of(x: int) -> int:
    """256 log2(x), x >= 1, of the leading 11 bits."""
    exponent = x.bit_length() - 1
    mantissa = x >> (exponent - 10) if exponent >= 10 else x << (10 - exponent)
    return exponent * 256 + int(LOG2[mantissa - 1024])


def _stretch() -> NDArray[np.int16]:
    """log2(p / (1 - p)) of p = (i + 1/2) / 4096."""
    return np.array([log2_of(2 * i + 1) - log2_of(8192 - 2 * i - 1) for i in range(4096)], dtype=np.int16)


def _squash() -> NDArray[np.int32]:
    """2**24 / (1 + 2**-s) for s from -TOP to TOP, rounded down below 0: what a stretch of s stands for."""
    s = np.arange(-TOP, 1, dtype=np.int64)
    power = (EXP2[s & 255].astype(np.int64) << 10) >> -(s >> 8)  # 2**32 at 0
    below = (power << TOTAL_BITS) // (power + (1 << 32))
    return np.concatenate([below, (1 << TOTAL_BITS) - below[-2::-1]]).astype(np.int32)


STRETCH = _stretch()
SQUASH = _squash()
RECIPROCAL = ((1 << 17) // (2 * np.arange(1024) + 3)).astype(np.int32)  # 2**16 / (n + 3/2): how far the n-th observation moves a cell

# ---- what nothing has been learnt yet is like

CONTEXT_LENGTHS = (1, 2, 3, 4, 6)  # tokens of the n-gram contexts
CONTEXTS = len(CONTEXT_LENGTHS) + 1  # and the column with the last token
SUCCESSORS = 7  # that a context remembers
DEPTH_CLASSES = 6
COUNT_CLASSES = 7
LENGTH_CLASSES = 32
INPUTS = 2 + CONTEXTS
SETS = ((len(CONTEXT_LENGTHS) + 1) * DEPTH_CLASSES, 6 * 4 * DEPTH_CLASSES, 1 << 12)  # of the three mixers
MATCH_CELLS = CONTEXTS * DEPTH_CLASSES * COUNT_CLASSES * COUNT_CLASSES * 2
TABLE_BITS = 18
SLOT_BITS = 20
REFINING_BITS = 16
BUCKETS = 33  # a bit of stretch apart
ONE = 1 << 16  # a weight of 1
UNTRIED = 3277  # the weight of an expert, 0.05: more costs on prose, where the model knows better, before it has been unlearnt


def first_cells() -> NDArray[np.uint32]:
    """Cells (MATCH_CELLS + DEPTH_CLASSES * LENGTH_CLASSES): probability of a one << 10 | observations.

    By (context, depth class, ones, zeros, latest): what such counts mean. By (depth class, match length): that the match is right.
    """
    ones, zeros, latest = np.ix_(np.arange(7), np.arange(7), np.arange(2))
    counts = ((15 * ones + 4 + 5 * latest) << 22) // (15 * ones + 15 * zeros + 13)
    length = np.arange(LENGTH_CLASSES)
    match = ((10 * length + np.where(length < 16, 7, 9)) << 22) // (10 * length + 10)
    cells = np.concatenate([np.tile(counts.ravel(), CONTEXTS * DEPTH_CLASSES), np.tile(match, DEPTH_CLASSES)])
    return (cells << 10).astype(np.uint32)


def first_weights(sets: int) -> NDArray[np.int32]:
    """Mixer weights (sets, INPUTS): the model counts, the experts hardly."""
    weights = np.full((sets, INPUTS), UNTRIED, dtype=np.int32)
    weights[:, 0] = ONE
    return weights


def first_refining() -> NDArray[np.uint32]:
    """Cells (BUCKETS,) of any decision, each saying what its stretch says."""
    return (SQUASH[TOP - 4096 : TOP + 4097 : 256] >> 2 << 10).astype(np.uint32)
