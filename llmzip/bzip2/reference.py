"""bzip2 streams as format.md 9 describes them. Twin of bzip2/c, which sorts in another way."""

import binascii
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

UNIT, RESERVED = 100_000, 19  # a block is full with level * UNIT - RESERVED bytes
MIN_RUN, MAX_RUN = 4, 255
RUN_A, RUN_B = 0, 1
SYMBOLS, TABLES, GROUP, ROUNDS = 258, 6, 50, 4
MOST_LENGTH, UNLIKELY = 17, 15
BLOCK_MARK, END_MARK = 0x314159265359, 0x177245385090

_RUNS = re.compile(rb"(.)\1{0,%d}" % (MAX_RUN - 1), re.DOTALL)
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def blocks(plain: memoryview, level: int) -> Iterator[bytes]:
    """What follows the header of the stream, block by block."""
    held, check = "", 0  # bits that are not given out yet; of all blocks
    for part, block in _filled(bytes(plain), level * UNIT - RESERVED):
        of_block = check_of(part)
        check = (check << 1 & 0xFFFFFFFF | check >> 31) ^ of_block
        held += f"{BLOCK_MARK:048b}{of_block:032b}{_block_bits(block)}"
        n = len(held) // 8 * 8
        yield _packed(held[:n])
        held = held[n:]
    held += f"{END_MARK:048b}{check:032b}"
    yield _packed(held + "0" * (-len(held) % 8))


def _packed(bits: str) -> bytes:
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def check_of(data: bytes) -> int:
    """CRC-32 with the most significant bit first."""
    return int(f"{binascii.crc32(data.translate(_REVERSED)):032b}"[::-1], 2)


def _filled(plain: bytes, full: int) -> Iterator[tuple[bytes, bytes]]:
    """Bytes of each block, as they are and with their runs shortened."""
    block, start = bytearray(), 0
    for run in _RUNS.finditer(plain):
        size = len(run[0])
        block += run[0][:MIN_RUN]
        if size >= MIN_RUN:
            block.append(size - MIN_RUN)
        if len(block) >= full or run.end() == len(plain):
            yield plain[start : run.end()], bytes(block)
            block, start = bytearray(), run.end()


def _block_bits(block: bytes) -> str:
    column, origin = sort_rotations(block)
    used = sorted(set(block))
    symbols = _symbols(column, used)
    n_symbols = len(used) + 2
    lengths, selectors = _make_tables(np.array(symbols), n_symbols)
    codes = [_codes(row) for row in lengths]
    return "".join(
        [
            f"{origin:025b}",  # the first bit: not randomized
            _used_bits(used),
            f"{len(lengths):03b}{len(selectors):015b}",
            *("1" * place + "0" for place in _places(selectors, list(range(TABLES)))),
            *map(_lengths_bits, lengths),
            *(codes[selectors[i // GROUP]][symbol] for i, symbol in enumerate(symbols)),
        ]
    )


def sort_rotations(block: bytes) -> tuple[bytes, int]:
    """The last bytes of the rotations in their order; the place of the block itself, the last of those like it.

    By doubling: ranks by so many bytes, and by as many after them, are those by twice as many.
    """
    last = np.frombuffer(block, np.uint8)
    ranks = last.astype(np.int64)
    n, width = len(block), 1
    while True:
        keys = ranks * max(n, 256) + np.roll(ranks, -width)  # below 2^40
        order = np.argsort(keys, kind="stable")
        steps = np.diff(keys[order]) != 0
        ranks[order[1:]] = np.cumsum(steps)
        ranks[order[0]] = 0
        width *= 2
        if width >= n or steps.all():
            return last[order - 1].tobytes(), int(np.count_nonzero(ranks <= ranks[0])) - 1


def _places(values: Sequence[int], front: list[int]) -> Iterator[int]:
    """Of each in the list, from which it moves to the front."""
    for value in values:
        place = front.index(value)
        front.insert(0, front.pop(place))
        yield place


def _symbols(column: bytes, used: list[int]) -> list[int]:
    """Runs of the byte at the front as RUN_A and RUN_B, other places plus 1, and the end."""
    symbols: list[int] = []
    run = 0
    for place in _places(column, used.copy()):
        if place:
            symbols += [*_run(run), place + 1]
            run = 0
        else:
            run += 1
    return [*symbols, *_run(run), len(used) + 1]


def _run(length: int) -> Iterator[int]:
    """The length in binary, its digits 1 and 2, least significant first."""
    while length:
        yield RUN_A if length & 1 else RUN_B
        length = (length - 1) // 2


# Prefix codes


class _Heap:
    """Nodes by weight, then by depth. Of two that are the same, what was compared decides."""

    def __init__(self, keys: list[tuple[int, int]]) -> None:
        self.keys, self.nodes = keys, [-1]  # from 1 on
        for node in range(len(keys)):
            self.insert(node)

    def insert(self, node: int) -> None:
        self.nodes.append(node)
        at = len(self.nodes) - 1
        while at > 1 and self.keys[node] < self.keys[self.nodes[at // 2]]:
            self.nodes[at], at = self.nodes[at // 2], at // 2
        self.nodes[at] = node

    def take_first(self) -> int:
        """The last one goes to the top and sinks, below those as light as it is."""
        first, node, at, n = self.nodes[1], self.nodes[-1], 1, len(self.nodes) - 2
        while (child := 2 * at) <= n:
            if child < n and self.keys[self.nodes[child + 1]] < self.keys[self.nodes[child]]:
                child += 1
            if self.keys[node] < self.keys[self.nodes[child]]:
                break
            self.nodes[at], at = self.nodes[child], child
        self.nodes[at] = node
        self.nodes.pop()
        return first


def _try_lengths(weights: list[int]) -> list[int]:
    """Lengths of a code for these weights."""
    heap = _Heap([(weight, 0) for weight in weights])
    parents: dict[int, int] = {}
    while len(heap.nodes) > 2:
        a, b = heap.take_first(), heap.take_first()
        (x, x_depth), (y, y_depth) = heap.keys[a], heap.keys[b]
        parents[a] = parents[b] = node = len(heap.keys)
        heap.keys.append((x + y, max(x_depth, y_depth) + 1))
        heap.insert(node)
    levels = [0] * len(heap.keys)
    for node in reversed(range(len(levels) - 1)):
        levels[node] = levels[parents[node]] + 1
    return levels[: len(weights)]


def make_lengths(counts: list[int]) -> list[int]:
    """Lengths of a code; what does not occur counts as once."""
    weights = [max(count, 1) for count in counts]
    while max(lengths := _try_lengths(weights)) > MOST_LENGTH:
        weights = [weight // 2 + 1 for weight in weights]
    return lengths


def _dealt(counts: list[int], n_tables: int) -> list[list[int]]:
    """The symbols are dealt to the tables, the last table first, in ranges that occur about as often as each other."""
    left, first = sum(counts), 0
    lengths: list[list[int]] = []
    for table in range(n_tables - 1, -1, -1):
        end = first
        while sum(counts[first:end]) < left // (table + 1) and end < len(counts):
            end += 1
        if end > first + 1 and table and (n_tables - 1 - table) % 2:
            end -= 1
        lengths.insert(0, [0 if first <= i < end else UNLIKELY for i in range(len(counts))])
        left -= sum(counts[first:end])
        first = end
    return lengths


def _make_tables(symbols: NDArray[np.int64], n_symbols: int) -> tuple[list[list[int]], list[int]]:
    """Lengths of the codes of each table; which of them each group has.

    Each group of symbols chooses the table that takes least for it, then each table is made for those that chose it.
    """
    n = len(symbols)
    n_tables = 2 + sum(n >= limit for limit in (200, 600, 1200, 2400))
    lengths = _dealt(np.bincount(symbols, minlength=n_symbols).tolist(), n_tables)
    starts = np.arange(0, n, GROUP)
    for _ in range(ROUNDS):
        costs = [np.add.reduceat(np.array(row)[symbols], starts) for row in lengths]
        chosen = np.argmin(costs, axis=0)  # the first of those that take the least
        tables = np.repeat(chosen, GROUP)[:n]
        counts = [np.bincount(symbols[tables == table], minlength=n_symbols).tolist() for table in range(n_tables)]
        lengths = [make_lengths(row) for row in counts]
    return lengths, chosen.tolist()


def _codes(lengths: list[int]) -> list[str]:
    codes, code = [""] * len(lengths), 0
    for length in range(1, MOST_LENGTH + 1):
        for i, own in enumerate(lengths):
            if own == length:
                codes[i] = f"{code:0{length}b}"
                code += 1
        code <<= 1
    return codes


def _used_bits(used: list[int]) -> str:
    rows = ["".join(str(int(byte in used)) for byte in range(at, at + 16)) for at in range(0, 256, 16)]
    return "".join(str(int("1" in row)) for row in rows) + "".join(row for row in rows if "1" in row)


def _lengths_bits(lengths: list[int]) -> str:
    steps = (("10" * (b - a) if b > a else "11" * (a - b)) + "0" for a, b in pairwise([lengths[0], *lengths]))
    return f"{lengths[0]:05b}" + "".join(steps)
