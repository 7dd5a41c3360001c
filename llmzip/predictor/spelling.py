"""The vocabulary in the order of its spellings, and the model's scores as probabilities of the next bit.

A prefix is a range of the sorted vocabulary, and two prefix sums over the weights of its tokens say what comes next.
Twin of c/spelling.h.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmzip.predictor.tables import TOP, log2_of
from llmzip.tokens import in_order


class Range(NamedTuple):
    """Entries low to high - 1, which all begin with the `depth` bytes so far."""

    low: int
    high: int
    depth: int


class Spelling:
    """Which token spells what; symbols that spell nothing are left out.

    Of those that spell the same, the first stands for all.
    `strong`: what its model says is worth more than all that is learnt while coding (format.md 6.1).
    """

    def __init__(self, spelled: list[bytes], *, strong: bool = False) -> None:
        self.strong = strong
        self.ids = in_order(spelled)
        self.spelled = [spelled[i] for i in self.ids]
        self.lengths = np.array([len(each) for each in self.spelled], dtype=np.int32)
        self.starts = (np.cumsum(self.lengths, dtype=np.int64) - self.lengths).astype(np.int32)
        self.bytes = np.frombuffer(b"".join(self.spelled), dtype=np.uint8)
        self.id_lengths = np.array([len(each) for each in spelled], dtype=np.int32)
        first: dict[bytes, int] = {}
        self._canonical = np.array([first.setdefault(each, i) for i, each in enumerate(spelled)], dtype=np.int32)

    def canonical(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """The ids that a reader finds in place of these: each the first of those that spell the same."""
        found: NDArray[np.int32] = self._canonical[ids]
        return found

    def sums(self, scores: NDArray[np.int16]) -> list[int]:
        """The weights before each entry, and of all."""
        return [0, *np.cumsum(weights(scores), dtype=np.int64).tolist()]

    def split(self, found: Range, byte: int) -> int:
        """The first entry of the range whose next byte is not below `byte`."""
        low, high = found.low, found.high
        while low < high:
            middle = (low + high) // 2
            if self.spelled[middle][found.depth] < byte:
                low = middle + 1
            else:
                high = middle
        return low

    def whole(self, found: Range) -> int:
        """The entries that are spelled out: how many, all at the start of the range."""
        n = 0
        while found.depth and found.low + n < found.high and len(self.spelled[found.low + n]) == found.depth:
            n += 1
        return n


def weights(scores: NDArray[np.int16]) -> NDArray[np.int64]:
    """2^(22 + score / 256), but for 0.4 per cent."""
    wide = scores.astype(np.int64)
    part = wide & 255
    found: NDArray[np.int64] = ((1 << 22) + part * (10752 + 22 * part)) >> np.minimum(31, -(wide >> 8))
    return found


def odds(ones: int, zeros: int) -> int:
    """The stretch of a one, from the weights of what goes there and of what does not."""
    return max(-TOP, min(TOP, log2_of(4 * ones + 1) - log2_of(4 * zeros + 1)))
