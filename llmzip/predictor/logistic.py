"""Powers, logarithms and the logistic function in integers, so that they are the same everywhere (format.md 7.1).

Units: scores, stretches and logarithms in 1/256 bit; probabilities in 2^-24.
"""

from bisect import bisect_right
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from llmzip.predictor.coder import TOTAL_BITS

WEIGHT_BITS = 22  # so that the sum of a group, <= 256 * 2**22 = 2**30, fits int32
TOP = 20 * 256  # the largest stretch: a probability of 2**-20, 15 of 2**24
# fractional bits of the roots; no value below is as close as 2**-290 to where its rounding changes (tests say so)
_BITS = 300


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
    return exponent * 256 + int(LOG2[(x << 10 >> exponent) - 1024])


def log2_of_each(x: NDArray[np.int64]) -> NDArray[np.int64]:
    """`log2_of` each of x: 1 to 2**31 - 1."""
    exponent = np.searchsorted(1 << np.arange(1, 32), x, side="right")
    logarithms: NDArray[np.int64] = exponent * 256 + LOG2[(x << 10 >> exponent) - 1024]
    return logarithms


def _squash() -> NDArray[np.int32]:
    """2**24 / (1 + 2**-s) for s from -TOP to TOP, rounded down below 0: what a stretch of s stands for."""
    s = np.arange(-TOP, 1, dtype=np.int64)
    power = (EXP2[s & 255].astype(np.int64) << 10) >> -(s >> 8)  # 2**32 at 0
    below = (power << TOTAL_BITS) // (power + (1 << 32))
    return np.concatenate([below, (1 << TOTAL_BITS) - below[-2::-1]]).astype(np.int32)


SQUASH = _squash()
RECIPROCAL = ((1 << 17) // (2 * np.arange(1024) + 3)).astype(
    np.int32
)  # 2**16 / (n + 3/2): how far the n-th observation moves a cell
