"""Context mixing over bytes in Python integers: the definition in code, the fallback where there is no compiled library, and what the tests
compare the C with.

Slow, and written to be read beside `_cm.c`, whose functions have the same names.
"""

import numpy as np
from numpy.typing import NDArray

from llmzip.cm import tables
from llmzip.mixing.reference import Refining, clip, hash32, learn_cell, learnt_weights, limited, refine
from llmzip.mixing.tables import BUCKETS, RECIPROCAL, SQUASH, STRETCH, TOP
from llmzip.rangecoder import Decoder, Encoder

MATCH_MINIMUM, LONGEST = 7, 511
HISTORY_LIMIT, SLOT_LIMIT, MATCH_LIMIT, REFINE_LIMIT = 255, 60, 400, 255
RATE_BITS = 15

_WORD = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789" + bytes(range(128, 256)))
_RECIPROCAL: list[int] = RECIPROCAL.tolist()
_SQUASH: list[int] = SQUASH.tolist()
_STRETCH: list[int] = STRETCH.tolist()


def length_class(n: int) -> int:
    return n if n < 16 else 16 + (n - 16) // 4 if n < 32 else 20 + (n - 32) // 32


class Reference:
    """See `llmzip.cm.Engine`."""

    def __init__(self, data: NDArray[np.uint8], stride: int, table_bits: int, payload: bytes | None) -> None:
        self._out, self._data, self._stride, self._table_bits = data, bytearray(data), stride, table_bits
        self._decoder = None if payload is None else Decoder(payload)
        self._lines: list[dict[int, list[int]]] = [{} for _ in range(tables.CONTEXTS)]
        self._histories: list[list[int]] = tables.first_histories().tolist()
        self._match_cells: list[int] = tables.first_match_cells().tolist()
        self._mixers: list[list[list[int]]] = [tables.first_weights(sets).tolist() for sets in tables.SETS]
        self._refining = Refining()
        self._latest: dict[int, int] = {}
        self._at = self._match_at = self._match_length = 0
        self._line = self._line_before = 0
        self._word = self._word_before = 0

    # ---- the loop of both directions

    def write(self, n: int, encoder: Encoder) -> None:
        for _ in range(n):
            self._code_byte(encoder)

    def read(self, n: int) -> None:
        assert self._decoder is not None
        for _ in range(n):
            self._code_byte(self._decoder)
            self._out[self._at - 1] = self._data[self._at - 1]

    def _code_byte(self, coder: Encoder | Decoder) -> None:
        self._find_contexts()
        path = 1
        for depth in range(8):
            if depth % 4 == 0:
                self._find_lines(path)
            within = path if depth < 4 else path & ((1 << (depth - 4)) - 1) | 1 << (depth - 4)
            inputs, sets = self._gather(depth, path, within)
            p_of, refined, p = self._mix(path, inputs, sets)
            known = self._data[self._at] >> (7 - depth) & 1
            table = np.array([[(1 << 24) - p - 1, p - 1]], dtype=np.float64)
            bit = int(coder.code(table, np.array([known], dtype=np.int32))[0])
            self._learn_weights(inputs, sets, p_of, bit)
            self._learn_cells(depth, within, refined, bit)
            path = path * 2 + bit
        self._data[self._at] = path & 255
        self._at += 1
        self._follow_match()
        self._follow_text()

    # ---- what is known before a byte

    def _back(self, distance: int) -> int:
        return self._data[self._at - distance] if self._at >= distance else 0

    def _find_contexts(self) -> None:
        c1, c2, c3, c4, c5, c6 = (self._back(i) for i in range(1, 7))
        four = c1 | c2 << 8 | c3 << 16 | c4 << 24
        contexts = [0, c1, c1 | c2 << 8, c1 | c2 << 8 | c3 << 16, four, hash32(hash32(four, c5), c6), c2 | c3 << 8]
        if self._stride:
            above, above2, left = self._back(self._stride), self._back(2 * self._stride), self._back(self._stride + 1)
            right = self._back(self._stride - 1) if self._stride > 1 else 0
            column = hash32(0, self._at % self._stride)
            contexts += [
                c1 | above << 8 | left << 16,
                hash32(column, above | above2 << 8),
                hash32(column, c1 | above << 8),
                hash32(column, c1 | above << 8 | right << 16),
                column,
            ]
        else:
            column = self._at - self._line
            above = self._data[self._line_before + column] if self._line_before + column < self._line else 0
            contexts += [
                hash32(hash32(self._word, self._word_before), c1),
                self._word or c1,
                c1 | above << 8,
                above | min(column, 255) << 8,
                c2 | c3 << 8 | c4 << 16,
            ]
        self._contexts, self._before = contexts, c1
        self._proposed = self._data[self._match_at] if self._match_length else -1
        self._match_class = length_class(self._match_length)

    def _find_lines(self, path: int) -> None:
        self._found = []
        for c, context in enumerate(self._contexts):
            h = hash32(hash32(context, c), path)
            place, check = h >> (32 - self._table_bits), h | 1
            line = self._lines[c].get(place)
            if line is None or line[0] != check:
                line = self._lines[c][place] = [check] + [0] * 15
            self._found.append(line)

    # ---- one decision

    def _gather(self, depth: int, path: int, within: int) -> tuple[list[int], list[int]]:
        inputs, known = [], 0
        for c, line in enumerate(self._found):
            slot = line[within]
            seen = slot >> 10 & 63 > 0
            inputs += [_STRETCH[self._histories[c][slot & 1023] >> 20], _STRETCH[slot >> 20]] if seen else [0, 0]
            known += seen and 1 <= c <= 5
        matched = match = 0
        if self._proposed >= 0:
            stretch, n = _STRETCH[self._match_cells[self._match_class] >> 20], self._match_class
            matched = stretch if self._proposed >> (7 - depth) & 1 else -stretch
            match = 1 if n < 8 else 2 if n < 16 else 3 if n < 24 else 4
        return [*inputs, matched, 256], [(known * 5 + match) * 2 + (depth >= 4), path, self._before * 8 + depth]

    def _mix(self, path: int, inputs: list[int], sets: list[int]) -> tuple[list[int], int, int]:
        """What each mixer says, the cell that refines it, and the probability of a one."""
        stretched = [
            clip(sum(w * x for w, x in zip(weights[used], inputs, strict=True)) >> 16, TOP)
            for weights, used in zip(self._mixers, sets, strict=True)
        ]
        s = clip(sum(stretched) * 21845 >> 16, TOP)  # a third
        refined, nearer = refine(self._refining, (self._before << 8 | path) * BUCKETS, s)
        return [_SQUASH[s + TOP] for s in stretched], nearer, limited((_SQUASH[s + TOP] * 3 + refined * 4) >> 2)

    def _learn_weights(self, inputs: list[int], sets: list[int], p_of: list[int], bit: int) -> None:
        for mixer, used, p in zip(self._mixers, sets, p_of, strict=True):
            mixer[used] = learnt_weights(mixer[used], inputs, (bit << 24) - p, RATE_BITS)

    def _learn_cells(self, depth: int, within: int, refined: int, bit: int) -> None:
        for c, line in enumerate(self._found):
            learn_cell(self._histories[c], line[within] & 1023, bit, HISTORY_LIMIT)
            line[within] = learnt_slot(line[within], bit)
        learn_cell(self._refining, refined, bit, REFINE_LIMIT)
        if self._proposed >= 0:
            right = self._proposed >> (7 - depth) & 1 == bit
            learn_cell(self._match_cells, self._match_class, right, MATCH_LIMIT)
            if not right:
                self._proposed = -1

    # ---- after a byte

    def _follow_match(self) -> None:
        data, at = self._data, self._at
        if self._match_length and data[self._match_at] == data[at - 1]:
            self._match_at += 1
            self._match_length = min(LONGEST, self._match_length + 1)
        else:
            self._match_length = 0
        if at < MATCH_MINIMUM:
            return
        h = 0
        for i in range(1, MATCH_MINIMUM + 1):
            h = hash32(h, data[at - i])
        place = h >> (32 - tables.LATEST_BITS)
        then = self._latest.get(place, 0)
        if not self._match_length and then:
            length = 0
            while length < min(LONGEST, then) and data[then - 1 - length] == data[at - 1 - length]:
                length += 1
            if length >= MATCH_MINIMUM:
                self._match_at, self._match_length = then, length
        self._latest[place] = at

    def _follow_text(self) -> None:
        c = self._data[self._at - 1]
        if c in _WORD:
            self._word = hash32(self._word, c | 32)
        elif self._word:
            self._word, self._word_before = 0, self._word
        if c == 0x0A:
            self._line_before, self._line = self._line, self._at


def learnt_slot(slot: int, bit: int) -> int:
    """A slot, with one more bit: probability of a one << 16 | observations << 10 | zeros << 6 | ones << 2 | the last two bits."""
    n = slot >> 10 & 63
    p = slot >> 16 if n else 1 << 15
    p += ((65535 if bit else 0) - p) * _RECIPROCAL[n] >> 16
    count = [slot >> 6 & 15, slot >> 2 & 15]
    count[bit] = min(15, count[bit] + 1)
    if count[1 - bit] > 2:  # what was before counts less
        count[1 - bit] = (count[1 - bit] + (count[1 - bit] <= 5)) // 2 + 1
    return p << 16 | min(SLOT_LIMIT, n + 1) << 10 | count[0] << 6 | count[1] << 2 | (slot & 1) << 1 | bit
