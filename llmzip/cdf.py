"""Scores to intervals of the coder, in integers only (format.md 6.3). The one place where scores become probabilities.

Knows nothing of models, tokens or streams. Every function here has a twin in `_kernels.c` that gives the same integers; the numpy form
is the reference and the fallback.

Shapes: R rows (a row is one symbol to be coded), n symbols, G = ceil(n / 256) groups.
"""

import numpy as np
from numpy.typing import NDArray

from llmzip import native

GROUP = 256
TOTAL_BITS = 24  # precision of constriction's default coder
WEIGHT_BITS = 22  # so that the sum of a group, <= 256 * 2**22 = 2**30, fits int32


def _exp2_table() -> NDArray[np.int32]:
    """round(2**(22 + f/256)) for f in 0..255, by integer arithmetic alone.

    2**(1/256) comes from eight integer square roots at 300 fractional bits; each product is cut to 300 bits, which leaves an
    error below 2**-290: none of the 256 values is that close to a rounding boundary (a test recomputes them with more bits).
    """
    from math import isqrt

    bits = 300
    root = 2 << bits
    for _ in range(8):
        root = isqrt(root << bits)
    table, power = [], 1 << bits
    for _ in range(GROUP):
        table.append(((power >> (bits - WEIGHT_BITS - 1)) + 1) >> 1)
        power = (power * root) >> bits
    return np.array(table, dtype=np.int32)


EXP2 = _exp2_table()


def symbol_weights(scores: NDArray[np.int16]) -> NDArray[np.int32]:
    """Weights of scores of any shape: int32, 0 .. 2**23 - 1, and at most 2**22 for scores <= 0."""
    wide = scores.astype(np.int32)
    weights: NDArray[np.int32] = EXP2[wide & 255] >> np.minimum(31, -(wide >> 8))
    return weights


def group_sums(scores: NDArray[np.int16]) -> NDArray[np.int64]:
    """Unshifted sums of the groups' weights: (R, n) -> (R, G)."""
    rows, n = scores.shape
    weights = np.zeros((rows, -(-n // GROUP) * GROUP), dtype=np.int32)
    weights[:, :n] = symbol_weights(scores)
    sums: NDArray[np.int64] = weights.reshape(rows, -1, GROUP).sum(axis=2, dtype=np.int64)  # <= 2**30 each
    return sums


def _group_shift(n_groups: int) -> int:
    """Keeps the prefix sums of any number of groups below 2**38 (format.md 6.3)."""
    return max(0, (n_groups - 1).bit_length() - 8)


def _starts(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """(R, n) weights -> (R, n + 1) interval starts; the last column is where the last interval ends."""
    n = weights.shape[1]
    prefix = np.zeros((len(weights), n + 1), dtype=np.int64)
    np.cumsum(weights, axis=1, out=prefix[:, 1:])
    spread = (1 << TOTAL_BITS) - n - 2
    # prefix < 2**38, so the product stays below 2**62
    starts: NDArray[np.int64] = prefix * spread // prefix[:, -1:] + np.arange(1, n + 2)
    return starts


def _tables(weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """Rows for constriction: n + 2 integers (the first and the last entry are never coded) that sum to 2**24 - (n + 2).

    The coder gives entry i exactly table[i] + 1 (anchors: constriction 0.5.0, perfect=False), so that entry i + 1 is our interval i.
    """
    rows, n = weights.shape
    table = np.zeros((rows, n + 2))
    table[:, 1:-1] = np.diff(_starts(weights), axis=1) - 1
    return table


def _member_weights(scores: NDArray[np.int16], groups: NDArray[np.int32]) -> NDArray[np.int64]:
    """Weights of the 256 members of each row's group: (R, 256)."""
    n = scores.shape[1]
    members = groups[:, None].astype(np.int64) * GROUP + np.arange(GROUP)
    picked = np.take_along_axis(scores, np.minimum(members, n - 1), axis=1)
    weights = np.where(members < n, symbol_weights(picked), 0).astype(np.int64)
    weights[weights.sum(axis=1) == 0] = 1
    return weights


def group_tables(scores: NDArray[np.int16]) -> NDArray[np.float64]:
    """Level 1 of every row: (R, n) scores -> (R, G + 2) table for the coder."""
    if native.library is not None:
        return native.group_tables(scores, EXP2)
    sums = group_sums(scores)
    return _tables(sums >> _group_shift(sums.shape[1]))


def member_tables(scores: NDArray[np.int16], groups: NDArray[np.int32]) -> NDArray[np.float64]:
    """Level 2 of every row, given its group: (R, n) scores, (R,) groups -> (R, 258) table for the coder."""
    if native.library is not None:
        return native.member_tables(scores, groups, EXP2)
    return _tables(_member_weights(scores, groups))


def intervals(scores: NDArray[np.int16], symbols: NDArray[np.int32]) -> NDArray[np.float64]:
    """What the encoder needs of both levels: (R, n) scores, (R,) symbols -> (2, R, 3) tables (before, symbol, after).

    Coding entry 1 of such a table takes the very interval that the symbol has in `group_tables` or `member_tables`.
    """
    if native.library is not None:
        return native.intervals(scores, symbols, EXP2)
    groups = symbols // GROUP
    sums = group_sums(scores)
    return np.stack([
        _entry(sums >> _group_shift(sums.shape[1]), groups),
        _entry(_member_weights(scores, groups), symbols % GROUP),
    ])


def _entry(weights: NDArray[np.int64], index: NDArray[np.int32]) -> NDArray[np.float64]:
    starts = _starts(weights)
    rows = np.arange(len(weights))
    start, end = starts[rows, index], starts[rows, index + 1]
    return np.stack([start - 1, end - start - 1, (1 << TOTAL_BITS) - end - 1], axis=1).astype(np.float64)
