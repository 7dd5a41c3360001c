"""What learns: cells, slots of bit histories, weights, APMs. Twin of c/learning.h, in Python integers."""

import numpy as np
from numpy.typing import NDArray

from llmzip.predictor.prior import FIRST_APMS
from llmzip.predictor.tables import RECIPROCAL, SLOT_LIMIT

_RECIPROCAL: list[int] = RECIPROCAL.tolist()


def hash32(h: int, x: int) -> int:
    h = (h + x + 1) * 0x9E3779B1 & 0xFFFFFFFF
    return h ^ h >> 15


def clip(x: int, top: int) -> int:
    return max(-top, min(top, x))


def limited(p: int) -> int:
    """A probability of 2^24 that the coder takes."""
    return max(16, min((1 << 24) - 16, p))


def learnt_cell(cell: int, bit: int, limit: int) -> int:
    """A cell: probability of a one, 22 bits << 10 | how often it has learnt."""
    n, p = cell & 1023, cell >> 10
    p += (((1 << 22) - 1 if bit else 0) - p) * _RECIPROCAL[n] >> 16
    return p << 10 | min(n + 1, max(n, limit))


def learnt_slot(slot: int, bit: int) -> int:
    """A slot after a bit.

    Probability of a one << 16 | observations << 10 | zeros << 6 | ones << 2 | the last two bits; the lower ten are the
    history.
    """
    n, counts = slot >> 10 & 63, [slot >> 6 & 15, slot >> 2 & 15]
    p = slot >> 16 if n else 1 << 15
    p += ((65535 if bit else 0) - p) * _RECIPROCAL[n] >> 16
    counts[bit] = min(15, counts[bit] + 1)
    other = counts[not bit]
    if other > 2:
        counts[not bit] = (other + (other <= 5)) // 2 + 1  # what was before counts less
    return p << 16 | min(n + 1, SLOT_LIMIT) << 10 | counts[0] << 6 | counts[1] << 2 | (slot & 1) << 1 | bit


def dot(weights: list[int], inputs: list[int]) -> int:
    return sum(w * x >> 8 for w, x in zip(weights, inputs, strict=True))


def trained(weights: list[int], inputs: list[int], error: int, rate_bits: int, top: int) -> list[int]:
    half = 1 << (rate_bits - 1)
    return [clip(w + (error * x + half >> rate_bits), top) for w, x in zip(weights, inputs, strict=True)]


class Apms:
    """Cells by context, BUCKETS for each, that say what decisions of a stretch have come to.

    Rows are made when they are used.
    """

    def __init__(self, biases: NDArray[np.int8]) -> None:
        self._biases = biases
        self._rows: dict[tuple[int, int], list[int]] = {}

    def _row(self, which: int, row: int) -> list[int]:
        if (which, row) not in self._rows:
            self._rows[which, row] = FIRST_APMS[int(self._biases[which, row]) + 128].tolist()
        return self._rows[which, row]

    def refine(self, which: int, row: int, stretch: int) -> tuple[int, int]:
        """The probability of 2^22 between two cells, and the nearer of the two."""
        cells = self._row(which, row)
        place, part = divmod(clip(stretch, 4095) + 4096, 256)
        return ((cells[place] >> 10) * (256 - part) + (cells[place + 1] >> 10) * part) >> 8, place + (part >= 128)

    def learn(self, which: int, row: int, place: int, bit: int, limit: int) -> None:
        cells = self._row(which, row)
        cells[place] = learnt_cell(cells[place], bit, limit)
