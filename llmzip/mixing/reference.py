"""The adaptive layer in Python integers: the definition in code, the fallback where there is no compiled library, and what the tests compare the C with.

Slow, and written to be read beside `_mixing.c`, whose functions have the same names. Knows nothing of models, tokens and coders.
"""

import numpy as np
from numpy.typing import NDArray

from llmzip.mixing import tables
from llmzip.mixing.tables import CONTEXT_LENGTHS, DEPTH_CLASSES, TOP, log2_of

MASK = 0xFFFFFFFF
MATCH_MINIMUM, LONGEST = 8, 511
COUNT_LIMIT, ADAPT_LIMIT = 200, 400
SLOT_TOP, BIAS_TOP, WEIGHT_TOP = 1 << 28, 1 << 24, 1 << 22
RATE_BITS = 16  # of the weights
RATE = 37888  # of the bias: 0.1 nats, in 2**-10 of a score unit
REFINE_LIMIT = 200
MATCH_INPUT = tables.CONTEXTS + 1


def hash32(h: int, x: int) -> int:
    h = (h + x + 1) * 0x9E3779B1 & MASK
    return h ^ h >> 15


def clip(x: int, top: int) -> int:
    return max(-top, min(top, x))


def depth_class(depth: int) -> int:
    return depth if depth < 3 else 3 if depth < 5 else 4 if depth < 8 else 5


def count_class(n: int) -> int:
    return n if n < 3 else 3 if n < 5 else 4 if n < 8 else 5 if n < 16 else 6


def length_class(n: int) -> int:
    return n if n < 16 else 16 + (n - 16) // 4 if n < 32 else 20 + (n - 32) // 8 if n < 64 else min(31, 24 + (n - 64) // 64)


class Successors:
    """What has followed one context: [token, count], the latest first."""

    def __init__(self, check: int) -> None:
        self.check = check
        self.entries: list[list[int]] = []

    def learn(self, token: int) -> None:
        at = next((i for i, entry in enumerate(self.entries) if entry[0] == token), None)
        if at is None:
            del self.entries[tables.SUCCESSORS - 1 :]
            found = [token, 0]
        else:
            found = self.entries.pop(at)
        for other in self.entries:  # what was seen long ago counts less
            if other[1] > 2:
                other[1] -= (other[1] + 7) // 8
        self.entries.insert(0, [token, min(COUNT_LIMIT, found[1] + 1)])


class Row:
    """One lane in one step."""

    def __init__(self) -> None:
        self.contexts: list[tuple[int, int]] = []  # (place in the table, check)
        self.alive: list[list[list[int]]] = []  # entries that have not left the path
        self.proposed = -1
        self.match_class = 0
        self.before = 0
        self.path = 1
        self.sum = 0
        self.inverse = 0
        self.nodes: list[Node] = []


class Node:
    """One decision."""

    def __init__(self, zeros: int) -> None:
        self.zeros = zeros
        self.inputs = [0] * tables.INPUTS
        self.cells = [-1] * tables.INPUTS
        self.sets = self.p_of = [0, 0, 0]
        self.slot = self.refined = self.p = self.bit = 0
        self.flipped = False


class Refining(dict[int, int]):
    """Cells that are made when they are first looked at."""

    _first: list[int] = tables.first_refining().tolist()

    def __missing__(self, cell: int) -> int:
        return self.setdefault(cell, self._first[cell % tables.BUCKETS])


class Reference:
    """See `llmzip.mixing.Engine`."""

    def __init__(self, depth: int, ids: NDArray[np.int32], line_ends: NDArray[np.bool_], plain: bool) -> None:
        self._ids, self._depth, self._line_ends, self._plain = ids, depth, line_ends, plain
        self._lanes, self._steps = ids.shape
        self._n_groups = 1 << (depth - 8)
        self._bias = np.zeros(len(line_ends), dtype=np.int64)
        self._grams: list[dict[int, Successors]] = [{} for _ in range(tables.CONTEXTS)]
        self._cells: list[int] = tables.first_cells().tolist()
        self._refining = Refining()
        self._mixers: list[list[list[int]]] = [tables.first_weights(sets).tolist() for sets in tables.SETS]
        self._slots: dict[int, int] = {}
        self._latest: dict[int, int] = {}
        self._matches = [(0, 0)] * self._lanes
        self._columns = [0] * self._lanes
        self._step = 0
        self._rows: list[Row] = []
        self._weights = self._sums = np.zeros((0, 0), dtype=np.int64)

    # ---- a step

    def begin(self, scores: NDArray[np.int16], step: int) -> None:
        self._step = step
        self._weigh(scores)
        self._rows = []
        for lane in range(len(scores)):
            row = Row()
            row.sum = int(self._sums[lane].sum())
            row.inverse = (RATE << 24) // row.sum
            if not self._plain:
                self._find_contexts(lane, row)
            self._rows.append(row)

    def predict(self, depth: int) -> NDArray[np.float64]:
        out = np.empty((len(self._rows), 2))
        for r, row in enumerate(self._rows):
            node = Node(self._sum_of_zeros(r, depth, row.path))
            row.nodes.append(node)
            # a quarter of the smallest weight stands for none
            model = clip(log2_of((row.sum - node.zeros) * 4 + 1) - log2_of(node.zeros * 4 + 1), TOP)
            if self._plain:
                node.p = int(tables.SQUASH[model + TOP])
            else:
                self._gather(row, depth, model, node)
                self._mix(node)
            out[r] = (1 << 24) - node.p - 1, node.p - 1
        return out

    def accept(self, depth: int, bits: NDArray[np.int32]) -> None:
        shift = self._depth - 1 - depth
        for row, bit in zip(self._rows, bits.tolist(), strict=True):
            node = row.nodes[depth]
            node.bit = bit
            row.path = row.path * 2 + bit
            row.sum = row.sum - node.zeros if bit else node.zeros
            row.alive = [[entry for entry in entries if entry[0] >> shift & 1 == bit] for entries in row.alive]
            if row.proposed >= 0 and row.proposed >> shift & 1 != bit:
                row.proposed = -1

    def known(self, symbols: NDArray[np.int32]) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        found, all_bits = [], []
        for depth in range(self._depth):
            found.append(self.predict(depth))
            all_bits.append(symbols >> (self._depth - 1 - depth) & 1)
            self.accept(depth, all_bits[-1])
        return np.concatenate(found), np.concatenate(all_bits).astype(np.int32)

    def end(self) -> bool:
        symbols = [row.path - (1 << self._depth) for row in self._rows]
        self._ids[: len(symbols), self._step] = symbols
        sound = max(symbols) < len(self._bias)
        if sound and not self._plain:
            for r, row in enumerate(self._rows):
                self._bias -= ((self._weights[r] >> 8) * row.inverse >> 16)[: len(self._bias)]
            np.maximum(self._bias, -BIAS_TOP, out=self._bias)
            for lane, row in enumerate(self._rows):
                self._learn(lane, row)
        return sound

    def _learn(self, lane: int, row: Row) -> None:
        token = int(self._ids[lane, self._step])
        for node in row.nodes:
            self._learn_node(node)
        for order, (place, check) in enumerate(row.contexts):
            found = self._grams[order].get(place)
            if found is None or found.check != check:
                found = self._grams[order][place] = Successors(check)
            found.learn(token)
        self._follow_match(lane, token)
        self._columns[lane] = 0 if self._line_ends[token] else self._columns[lane] + 1
        self._bias[token] = min(BIAS_TOP, int(self._bias[token]) + RATE)

    # ---- the model's part

    def _weigh(self, scores: NDArray[np.int16]) -> None:
        biased = scores.astype(np.int64) + (self._bias >> 10)
        d = biased - biased.max(axis=1, keepdims=True)
        self._weights = np.zeros((len(scores), self._n_groups * 256), dtype=np.int64)
        self._weights[:, : scores.shape[1]] = tables.EXP2[d & 255] >> np.minimum(31, -(d >> 8))
        self._sums = self._weights.reshape(len(scores), self._n_groups, 256).sum(axis=2)

    def _sum_of_zeros(self, r: int, depth: int, path: int) -> int:
        group_bits = self._depth - 8
        if depth < group_bits:
            values, half = self._sums[r], self._n_groups >> (depth + 1)
        else:
            values, half = self._weights[r], 128 >> (depth - group_bits)
        at = (path - (1 << depth)) * 2 * half
        return int(values[at : at + half].sum())

    # ---- the experts

    def _token_at(self, lane: int, step: int) -> int:
        return int(self._ids[lane, step]) if step >= 0 else 0x7FFFFFFF

    def _find_contexts(self, lane: int, row: Row) -> None:
        row.before = self._token_at(lane, self._step - 1)
        h = length = 0
        for wanted in CONTEXT_LENGTHS:
            while length < wanted:
                h = hash32(h, self._token_at(lane, self._step - 1 - length))
                length += 1
            self._find_context(row, hash32(h, length))
        self._find_context(row, hash32(hash32(0x777, self._columns[lane]), row.before))
        at, match_length = self._matches[lane]
        if match_length and at % self._steps < self._step:  # lanes advance together: what they code now is not known yet
            row.proposed = int(self._ids.flat[at])
            row.match_class = length_class(match_length)

    def _find_context(self, row: Row, context: int) -> None:
        place, check = context >> (32 - tables.TABLE_BITS), context | 1
        found = self._grams[len(row.contexts)].get(place)
        row.contexts.append((place, check))
        row.alive.append(list(found.entries) if found is not None and found.check == check else [])

    def _match_hash(self, lane: int, end: int) -> int:
        h = 0
        for i in range(1, MATCH_MINIMUM + 1):
            h = hash32(h, int(self._ids[lane, end - i]))
        return h >> (32 - tables.TABLE_BITS)

    def _follow_match(self, lane: int, token: int) -> None:
        at, length = self._matches[lane]
        end, ids, steps = self._step + 1, self._ids.reshape(-1), self._steps
        here = lane * steps + end
        if length and at % steps < self._step and int(ids[at]) == token:
            at, length = at + 1, min(LONGEST, length + 1)
            if at % steps == 0:  # the end of that lane
                length = 0
        else:
            length = 0
        if end >= MATCH_MINIMUM:
            place = self._match_hash(lane, end)
            then = self._latest.get(place, 0) - 1
            if not length and then >= 0 and then % steps:
                most, found = min(then % steps, end, LONGEST), 0
                while found < most and ids[then - 1 - found] == ids[here - 1 - found]:
                    found += 1
                if found >= MATCH_MINIMUM:
                    at, length = then, found
            if end < steps:
                self._latest[place] = here + 1
        self._matches[lane] = at, length

    # ---- one decision

    def _count_cell(self, entries: list[list[int]], order: int, shift: int, depth: int) -> int:
        if not entries:
            return -1
        ones = sum(count for token, count in entries if token >> shift & 1)
        zeros = sum(count for _, count in entries) - ones
        latest = entries[0][0] >> shift & 1
        return (((order * DEPTH_CLASSES + depth_class(depth)) * 7 + count_class(ones)) * 7 + count_class(zeros)) * 2 + latest

    def _stretch_cell(self, cell: int) -> int:
        return int(tables.STRETCH[self._cells[cell] >> 20])

    def _gather(self, row: Row, depth: int, model: int, node: Node) -> None:
        shift, group, highest = self._depth - 1 - depth, depth_class(depth), 0
        node.inputs[0] = model
        for order, entries in enumerate(row.alive):
            cell = self._count_cell(entries, order, shift, depth)
            if cell >= 0:
                node.cells[order + 1], node.inputs[order + 1] = cell, self._stretch_cell(cell)
                if order < len(CONTEXT_LENGTHS):
                    highest = order + 1
        length = 0
        if row.proposed >= 0:
            cell = tables.MATCH_CELLS + group * 32 + row.match_class
            node.flipped = not row.proposed >> shift & 1
            node.cells[MATCH_INPUT] = cell
            node.inputs[MATCH_INPUT] = -self._stretch_cell(cell) if node.flipped else self._stretch_cell(cell)
            length = 1 + sum(row.match_class >= least for least in (4, 8, 16, 20))
        sure = sum(abs(model) >= least for least in (256, 768, 2048))
        node.sets = [highest * DEPTH_CLASSES + group, (length * 4 + sure) * DEPTH_CLASSES + group, hash32(row.before, 0) >> 20]
        node.slot = hash32(hash32(77, row.before), row.path) >> (32 - tables.SLOT_BITS)

    def _mix(self, node: Node) -> None:
        bias = self._slots.get(node.slot, 0)
        stretched = [
            clip((sum(w * x for w, x in zip(weights[used], node.inputs, strict=True)) + bias) >> 16, TOP)
            for weights, used in zip(self._mixers, node.sets, strict=True)
        ]
        node.p_of = [int(tables.SQUASH[s + TOP]) for s in stretched]
        s = clip(sum(stretched) * 21845 >> 16, TOP)  # a third
        refined, node.refined = refine(self._refining, (node.slot & ((1 << tables.REFINING_BITS) - 1)) * tables.BUCKETS, s)
        node.p = limited((int(tables.SQUASH[s + TOP]) * 13 + refined * 4 * 3) >> 4)

    def _learn_node(self, node: Node) -> None:
        one = node.bit << 24
        for mixer, used, p in zip(self._mixers, node.sets, node.p_of, strict=True):
            mixer[used] = learnt_weights(mixer[used], node.inputs, one - p, RATE_BITS)
        self._slots[node.slot] = clip(self._slots.get(node.slot, 0) + ((one - node.p) * 40 >> 8), SLOT_TOP)
        for i, cell in enumerate(node.cells):
            if cell >= 0:
                learn_cell(self._cells, cell, node.bit ^ (i == MATCH_INPUT and node.flipped), ADAPT_LIMIT)
        learn_cell(self._refining, node.refined, node.bit, REFINE_LIMIT)


# ---- what learns in both adaptive coders (_learning.h)


def learn_cell(cells: list[int] | Refining, cell: int, bit: int, limit: int) -> None:
    p, n = cells[cell] >> 10, cells[cell] & 1023
    p += (((1 << 22) - 1 if bit else 0) - p) * int(tables.RECIPROCAL[n]) >> 16
    cells[cell] = p << 10 | n + (n < limit)


def learnt_weights(weights: list[int], inputs: list[int], error: int, rate: int) -> list[int]:
    return [clip(w + (((error >> 8) * x + (1 << (rate - 1))) >> rate), WEIGHT_TOP) for w, x in zip(weights, inputs, strict=True)]


def refine(refining: Refining, base: int, stretch: int) -> tuple[int, int]:
    """What decisions of this stretch have come to, of 2**22, between two of the cells from `base` on; and the nearer of the two."""
    within = clip(stretch, 4095) + 4096
    place, part = base + (within >> 8), within & 255
    return ((refining[place] >> 10) * (256 - part) + (refining[place + 1] >> 10) * part) >> 8, place + (part >= 128)


def limited(p: int) -> int:
    return max(16, min((1 << 24) - 16, p))
