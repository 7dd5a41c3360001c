"""The trees of a block as zlib makes them, with its ties, its limit of lengths and its runs. Twin of c/trees.h."""

from llmzip.deflate.codes import (
    DISTANCE_EXTRA,
    END_OF_BLOCK,
    FIXED_LENGTHS,
    LENGTH_EXTRA,
    LENGTHS,
    ORDER,
    RUN_EXTRA,
    Header,
)


class _Heap:
    """The lightest node first; of two as heavy, the less deep one."""

    def __init__(self, weights: dict[int, int]) -> None:
        self.weights, self.depths = weights, dict.fromkeys(weights, 0)
        self.nodes = [-1, *weights]  # from 1 on

    def _is_before(self, a: int, b: int) -> bool:
        return (self.weights[a], self.depths[a]) <= (self.weights[b], self.depths[b])

    def sift_down(self, at: int) -> None:
        node, n = self.nodes[at], len(self.nodes) - 1
        while (child := 2 * at) <= n:
            if child < n and self._is_before(self.nodes[child + 1], self.nodes[child]):
                child += 1
            if self._is_before(node, self.nodes[child]):
                break
            self.nodes[at], at = self.nodes[child], child
        self.nodes[at] = node

    def replace_first(self, node: int) -> int:
        first, self.nodes[1] = self.nodes[1], node
        self.sift_down(1)
        return first

    def take_first(self) -> int:
        last = self.nodes.pop()
        return self.replace_first(last) if len(self.nodes) > 1 else last


def make_lengths(counts: list[int], limit: int) -> tuple[int, ...]:
    """Lengths of the codes, without the zeros at their end. At least two symbols have one."""
    n = len(counts)
    weights = {i: count for i, count in enumerate(counts) if count}
    last = max(weights, default=-1)
    while len(weights) < 2:
        last, added = (last + 1, last + 1) if last < 2 else (last, 0)
        weights[added] = 1
    heap = _Heap(weights)
    for i in range((len(heap.nodes) - 1) // 2, 0, -1):
        heap.sift_down(i)
    parents: dict[int, int] = {}
    order: list[int] = []
    node = n
    while len(heap.nodes) > 2:
        a = heap.take_first()
        b = heap.nodes[1]
        order += [a, b]
        parents[a] = parents[b] = node
        heap.weights[node] = heap.weights[a] + heap.weights[b]
        heap.depths[node] = max(heap.depths[a], heap.depths[b]) + 1
        heap.replace_first(node)
        node += 1
    levels = {node - 1: 0}
    over = 0
    for each in reversed(order):
        level = levels[parents[each]] + 1
        over += level > limit
        levels[each] = min(level, limit)
    leaves = [each for each in order if each < n]
    lengths = {each: levels[each] for each in leaves}
    if over:
        lengths = dict(zip(leaves, _dealt([levels[each] for each in leaves], over, limit), strict=True))
    return tuple(lengths.get(i, 0) for i in range(last + 1))


def _dealt(levels: list[int], over: int, limit: int) -> list[int]:
    """Lengths that are a code again, from the rarest leaf on, where `over` of them were cut off at the limit."""
    counts = [levels.count(k) for k in range(limit + 1)]
    while over > 0:
        k = max(k for k in range(1, limit) if counts[k])
        counts[k] -= 1
        counts[k + 1] += 2
        counts[limit] -= 1
        over -= 2
    return [k for k in range(limit, 0, -1) for _ in range(counts[k])]


def next_run(lengths: tuple[int, ...], i: int, before: int) -> tuple[int, int, int]:
    """The next run that zlib makes of the lengths from i on: symbol, extra bits, how many it takes.

    before: the value of the one before, or -1.
    """
    value = lengths[i]
    most = 138 if value == 0 else 6 if value == before else 7
    run = 1
    while i + run < len(lengths) and run < most and lengths[i + run] == value:
        run += 1
    if run < 3 or (value != 0 and value != before):
        return value, 0, 1
    if value:
        return 16, run - 3, run
    return (17, run - 3, run) if run <= 10 else (18, run - 11, run)


def _runs(lengths: tuple[int, ...]) -> list[tuple[int, int]]:
    runs, i, before = [], 0, -1
    while i < len(lengths):
        symbol, extra, takes = next_run(lengths, i, before)
        runs.append((symbol, extra))
        before = lengths[i]
        i += takes
    return runs


def make_runs(literals: tuple[int, ...], distances: tuple[int, ...], *, joined: bool) -> tuple[tuple[int, int], ...]:
    """The runs of both lists, or of the two as one."""
    return tuple(_runs(literals + distances) if joined else _runs(literals) + _runs(distances))


def make_code_of_runs(runs: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
    counts = [0] * LENGTHS
    for symbol, _ in runs:
        counts[symbol] += 1
    lengths = make_lengths(counts, 7)
    return lengths + (0,) * (LENGTHS - len(lengths))


def last_order(of_runs: tuple[int, ...]) -> int:
    return max([4, *(k + 1 for k in range(LENGTHS) if of_runs[ORDER[k]])])


def make_header(literals: list[int], distances: list[int]) -> tuple[Header, int, int]:
    """The header that zlib makes for a block with these counts.

    And bytes of the block with it, and with the fixed codes.
    """
    of_literals, of_distances = make_lengths(literals, 15), make_lengths(distances, 15)
    runs = make_runs(of_literals, of_distances, joined=False)
    of_runs = make_code_of_runs(runs)
    orders = last_order(of_runs)
    extra = sum(count * LENGTH_EXTRA[i] for i, count in enumerate(literals[END_OF_BLOCK + 1 :]))
    extra += sum(count * DISTANCE_EXTRA[i] for i, count in enumerate(distances))
    bits = extra + sum(count * length for count, length in zip(literals, of_literals, strict=False))
    bits += sum(count * length for count, length in zip(distances, of_distances, strict=False))
    bits += sum(of_runs[symbol] + RUN_EXTRA.get(symbol, 0) for symbol, _ in runs) + 3 * orders + 14
    fixed_bits = (
        extra + sum(count * length for count, length in zip(literals, FIXED_LENGTHS, strict=False)) + 5 * sum(distances)
    )
    return Header(of_literals, of_distances, runs, of_runs, orders), bits + 10 >> 3, fixed_bits + 10 >> 3
