"""What followed the same bytes before.

Three lengths, each going on after a miss, and one in which digits stand for each other. Twin of c/matching.h.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmzip.predictor.learning import hash32
from llmzip.predictor.tables import (
    LATEST_BITS,
    LONGEST,
    LONGEST_LOOK,
    MASKED,
    MASKED_LENGTH,
    MASKED_LONGEST,
    MATCH_MINIMUM,
    MATCHES,
    MOST_MISSES,
)

if TYPE_CHECKING:
    from llmzip.predictor.contexts import Lane

DIGITS = frozenset(b"0123456789")


@dataclass
class Match:
    """The byte at `at` is expected next.

    `expected` is it, or -1 where this byte has turned out otherwise, or there is no match.
    """

    at: int = 0
    length: int = 0
    misses: int = 0
    expected: int = -1


class Memory:
    """The bytes of a group, their flags (0: not known yet), and where what was last has been seen before."""

    def __init__(self, size: int) -> None:
        self.data, self.flags = bytearray(size), bytearray(size)
        self.latest: list[dict[int, int]] = [{} for _ in range(MATCHES)]
        self.followers: dict[int, int] = {}
        self.followers1: dict[int, int] = {}
        self.followers3: dict[int, int] = {}

    def make_room(self, size: int) -> None:
        for each in (self.data, self.flags):
            each.extend(bytes(size - len(each)))


def length_class(n: int) -> int:
    if n < 32:
        return n if n < 16 else 16 + (n - 16) // 4
    return 20 + (n - 32) // 32 if n < 512 else 36 + (n - 512) // 256 if n < 2048 else 43


def follow_matches(memory: Memory, lane: "Lane", c: int) -> None:
    """After byte c, which stands before `lane.at`."""
    for which, match in enumerate(lane.matches):
        if which == MASKED:
            _follow_masked(memory, lane, match, c)
        else:
            _follow_match(memory, lane, which, match, c)
        match.expected = memory.data[match.at] if match.length else -1


def _follow_match(memory: Memory, lane: "Lane", which: int, match: Match, c: int) -> None:
    data, flags = memory.data, memory.flags
    if match.length:
        if data[match.at] == c:
            match.length = min(LONGEST, match.length + 1)
            if match.length >= 16:
                match.misses = 0
        else:
            match.misses += 1
            match.length = (
                0 if match.misses > MOST_MISSES else 4 if match.length > 32 else 2 if match.length > 16 else 1
            )
        match.at += 1
        if not flags[match.at]:
            match.length = 0
        if not match.length:
            match.misses = 0
    minimum, so_far = MATCH_MINIMUM[which], lane.at - lane.start
    if so_far < minimum:
        return
    h = 0
    for i in range(1, minimum + 1):
        h = hash32(h, data[lane.at - i])
    h >>= 32 - LATEST_BITS
    then, n = memory.latest[which].get(h, 0), 0
    if (not match.length or match.misses) and then and flags[then]:
        while n < min(LONGEST_LOOK, so_far) and flags[then - 1 - n] and data[then - 1 - n] == data[lane.at - 1 - n]:
            n += 1
        if n >= minimum and n > match.length:
            match.at, match.length, match.misses = then, n, 0
    memory.latest[which][h] = lane.at


def _follow_masked(memory: Memory, lane: "Lane", match: Match, c: int) -> None:
    data, flags = memory.data, memory.flags
    if match.length:
        expected = data[match.at]
        if expected == c:
            match.at, match.length, match.misses = match.at + 1, min(MASKED_LONGEST, match.length + 1), 0
        elif expected in DIGITS and c in DIGITS:
            match.at, match.misses = match.at + 1, 1
        elif expected in DIGITS:
            while flags[match.at] and data[match.at] in DIGITS:
                match.at += 1
            if flags[match.at] and data[match.at] == c:
                match.at += 1
            else:
                match.length = 0
        elif c not in DIGITS or data[match.at - 1] not in DIGITS:
            match.length = 0
        if not flags[match.at]:
            match.length = 0
    if c in DIGITS:
        return
    h = 0
    for i in range(MASKED_LENGTH):
        h = hash32(h, lane.mask >> 8 * i & 255)
    h >>= 32 - LATEST_BITS
    then = memory.latest[MASKED].get(h, 0)
    if then and flags[then] and not match.length:
        match.at, match.length, match.misses = then, 1, 0
    memory.latest[MASKED][h] = lane.at
