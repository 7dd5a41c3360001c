"""Repeats: long copies of what came before, as in LZ77, in a block or in those of its group (docs/format.md 3.4)."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from llmzip.errors import FormatError
from llmzip.primitives import Side, create_varint

# bytes: a copy costs some 8 bytes, and in text what the predictor knew of the place, too (lab-log.md)
MIN_COPY, MIN_COPY_IN_TEXT = 4096, 8192
MIN_COPY_WRITTEN = 256  # what the format allows: bounds the number of copies in a body
HASHED = 1024  # bytes hashed together; two copies of MIN_COPY bytes share a hashed block whatever their offsets
HASH_BITS = 20
RANK_BITS = 32  # of a place, below the rank of its hash
PIECE = 1 << 18  # bytes that are hashed at a time

Hashes = NDArray[np.uint64]
Places = NDArray[np.intp]


class Past:
    """What the coded blocks of a group have made so far, as far as copies may be of it: the last `reach` bytes."""

    def __init__(self, reach: int) -> None:
        self.reach = reach
        self.data = bytearray()
        self._n_dropped = 0
        # Of stretches of HASHED bytes, and where in the group they begin: only a writer looks for them.
        self._hashes, self._places = np.empty(0, np.uint64), np.empty(0, np.intp)
        self._n_hashed = 0

    def __len__(self) -> int:
        return len(self.data)

    def add(self, made: bytes) -> None:
        self.data += made
        n_over = max(0, len(self.data) - self.reach)
        del self.data[:n_over]
        self._n_dropped += n_over

    def hashes(self) -> tuple[Hashes, Places]:
        """Of the stretches of HASHED bytes, one after another, and where in the data they begin."""
        self._n_hashed = max(self._n_hashed, self._n_dropped)
        while n := min(PIECE, len(self.data) + self._n_dropped - self._n_hashed) // HASHED * HASHED:
            at = self._n_hashed - self._n_dropped
            found = _hashes(np.frombuffer(bytes(self.data[at : at + n]), np.uint8), in_a_row=True)
            self._hashes = np.concatenate([self._hashes, found])
            self._places = np.concatenate([self._places, self._n_hashed + HASHED * np.arange(len(found))])
            self._n_hashed += n
        kept = int(np.searchsorted(self._places, self._n_dropped))
        self._hashes, self._places = self._hashes[kept:], self._places[kept:]
        return self._hashes, self._places - self._n_dropped


def without(data: bytes, past: Past | None = None, least: int = MIN_COPY) -> tuple[bytes, bytes] | None:
    """The data without its repeats, at least a byte of it, and the side information; None if there are none.

    `least`: bytes of a repeat, from MIN_COPY on.
    """
    copies = list(_find_copies(data, past or Past(0), least))
    if not copies:
        return None
    if sum(length for _, length, _ in copies) == len(data):  # a body is never empty
        start, length, distance = copies[-1]
        copies[-1] = start, length - 1, distance
    pieces, at = [], 0
    side = create_varint(len(copies))
    for start, length, distance in copies:
        pieces.append(data[at:start])
        side += create_varint(start - at) + create_varint(length - MIN_COPY_WRITTEN) + create_varint(distance)
        at = start + length
    return b"".join([*pieces, data[at:]]), side


def put_back(body: bytes, side: Side, limit: int, past: Past | None = None) -> bytes:
    """The inverse: at most `limit` bytes. FormatError for what no writer writes."""
    before = b"" if past is None else past.data
    content, at = bytearray(), 0
    for _ in range(side.varint()):  # ends with the side information, however great the count
        gap, length, distance = side.varint(), side.varint() + MIN_COPY_WRITTEN, side.varint()
        if at + gap > len(body):
            raise FormatError("a copy starts after the end of the body")
        if len(content) + gap + length > limit:
            raise FormatError("copies make more bytes than the block can have")
        content += body[at : at + gap]
        at += gap
        if not 1 <= distance <= len(before) + len(content):
            raise FormatError("a copy is from before what may be copied")
        _copy(content, before, length, distance)
    content += body[at:]
    if len(content) > limit:
        raise FormatError("copies make more bytes than the block can have")
    return bytes(content)


def _copy(content: bytearray, before: bytes | bytearray, length: int, distance: int) -> None:
    start = len(content) - distance
    if start < 0:
        source = before[len(before) + start : min(len(before), len(before) + start + length)]
        content += source
        length -= len(source)
        start = 0
    while length:  # a copy that reaches into itself: what is there doubles each time
        source = content[start : start + length]
        content += source
        length -= len(source)


def _find_copies(data: bytes, past: Past, least: int) -> Iterator[tuple[int, int, int]]:
    """(start, length, distance) of repeats of `least` bytes or more, from left to right, none over another."""
    content = np.frombuffer(data, np.uint8)
    if len(content) < least or len(past) + len(content) < least + HASHED:
        return
    starts, *sources = _candidates(_hashes(content), past)
    if not len(starts):
        return
    whole = np.concatenate([np.frombuffer(past.data, np.uint8), content])
    end = i = 0
    while i < len(starts):
        start = int(starts[i])
        lengths = [_n_common(content[start:], whole[int(each[i]) :]) for each in sources]
        n_ahead = max(lengths)
        source = int(sources[lengths.index(n_ahead)][i])
        n_back = _n_common(content[end:start][::-1], whole[:source][::-1])
        first, last = _whole_characters(data, start - n_back, start + n_ahead)
        if last - first >= least:
            yield first, last - first, len(past) + start - source
            end = last
        # What is the same for less than `least` bytes is so for every other start on its diagonal.
        i = max(i + 1, int(np.searchsorted(starts, max(last, start + n_ahead - HASHED + 1), side="left")))


def _hashes(content: NDArray[np.uint8], *, in_a_row: bool = False) -> Hashes:
    """Of the HASHED bytes from each position on, by doubling; `in_a_row`: from every HASHED-th position alone."""
    hashes = content.astype(np.uint64) + np.uint64(1)
    n, factor = 1, 0x9E3779B97F4A7C15
    while n < HASHED:
        first, then = (hashes[0::2], hashes[1::2]) if in_a_row else (hashes[:-n], hashes[n:])
        hashes = first * np.uint64(factor) + then
        n, factor = 2 * n, factor * factor % (1 << 64)
    return hashes ^ (hashes >> np.uint64(29))


def _candidates(hashes: Hashes, past: Past) -> tuple[Places, Places, Places]:
    """Positions whose hash is that of a stretch of HASHED bytes that starts earlier, in the past or after it; and where
    the last such one does, and the first. The last one is in the same run of equal bytes, if there is one.
    """
    known, places = past.hashes()
    known = np.concatenate([known, hashes[::HASHED]])
    places = np.concatenate([places, len(past) + HASHED * np.arange(len(known) - len(places))])
    known, ranks = np.unique(known, return_inverse=True)
    low = (1 << HASH_BITS) - 1
    filled = np.zeros(1 << HASH_BITS, dtype=bool)  # most positions are sorted out by this alone
    filled[known & np.uint64(low)] = True
    starts = np.flatnonzero(filled[hashes & np.uint64(low)])
    rank = np.minimum(np.searchsorted(known, hashes[starts]), len(known) - 1)
    ordered = np.sort(ranks << RANK_BITS | places)  # by hash, then by place
    firsts, ends = (np.searchsorted(ordered, rank << RANK_BITS | place) for place in (0, len(past) + starts))
    good = (known[rank] == hashes[starts]) & (firsts < ends)
    low = (1 << RANK_BITS) - 1
    return starts[good], ordered[ends[good] - 1] & low, ordered[firsts[good]] & low


def _n_common(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    """How many elements are the same at the start of both."""
    n, step = 0, 1 << 8
    end = min(len(a), len(b))
    while n < end:
        other = a[n : min(n + step, end)] != b[n : min(n + step, end)]
        if other.any():
            return n + int(other.argmax())
        n, step = n + len(other), min(2 * step, 1 << 18)
    return end


def _whole_characters(data: bytes, start: int, end: int) -> tuple[int, int]:
    """The stretch without parts of UTF-8 characters at its ends, which are three bytes at most."""
    for _ in range(3):
        start += start < end and data[start] & 0xC0 == 0x80
        end -= start < end < len(data) and data[end] & 0xC0 == 0x80
    return start, end
