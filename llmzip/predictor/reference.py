"""The predictor in Python integers.

It is the definition in code, the fallback where there is no compiled library, and what the tests compare the C with.
Slow, and written to be read beside c/predictor.c, whose functions have the same names.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from llmzip.errors import FormatError
from llmzip.predictor import tables
from llmzip.predictor.coder import Reader, Writer
from llmzip.predictor.contexts import Lane, class_of, find_contexts, follow_text, joined, kind_of
from llmzip.predictor.learning import Apms, clip, dot, hash32, learnt_cell, learnt_slot, limited, trained
from llmzip.predictor.matching import DIGITS, Memory, follow_matches, length_class
from llmzip.predictor.prior import Mode, Prior, mode_of
from llmzip.predictor.recording import RECORD, parties
from llmzip.predictor.spelling import Range, Spelling, odds
from llmzip.predictor.tables import (
    BOOST,
    BOOST_BYTES,
    CONSTANT,
    END,
    ERROR_TOP,
    LASTING,
    LEAST_ERROR,
    NO_MODEL,
    OWN_SHARE,
    PLAIN_LASTING,
    RATE_BITS,
    RECORD_BOOST_BYTES,
    SECOND_RATE_BITS,
    SECOND_TOP,
    SECONDS,
    SETS,
    TOKEN_ENDS,
    TOP,
    WEIGHT_TOP,
    log2_of,
)

_BEFORE, _AFTER = 64, 8  # zeros before the first byte of a group, and after the last
_SQUASH: list[int] = tables.SQUASH.tolist()
_STRETCH: list[int] = tables.STRETCH.tolist()
_NONE = [0] * 16  # a line
_M64 = (1 << 64) - 1
_APM_MASK = (1 << tables.APM_BITS) - 1


@dataclass
class Place:
    """Where in its byte a decision is.

    Bits before the first of them are `path`, with a one above; END: the token ends here.
    """

    bit: int
    model: int
    path: int

    @property
    def is_end(self) -> int:
        return int(self.bit == END)


@dataclass
class Decision:
    """What a decision was made of, for learning. Slots are (line, place in it), cells (table, place in it)."""

    slots: list[tuple[list[int], int]]
    last: list[int]  # of each context the byte that came last, or -1
    inputs: list[int] = field(default_factory=lambda: [0] * tables.INPUTS)
    cells: list[tuple[list[int], int]] = field(default_factory=list)
    runs: list[tuple[int, int]] = field(default_factory=list)  # (run cell, bit)
    known: int = 0
    matched: list[int] = field(default_factory=lambda: [0] * tables.MATCHES)
    votes: list[tuple[int, int, int]] = field(default_factory=list)  # (match, cell, bit)
    certainty: int = 0
    model_cell: int = -1
    rows: list[int] = field(default_factory=list)
    seconds: list[int] = field(default_factory=list)
    said: list[int] = field(default_factory=list)
    of_second: list[int] = field(default_factory=list)
    refined: list[tuple[int, int, int]] = field(default_factory=list)  # (apm, row, place)
    model_refined: list[tuple[int, int, int]] = field(default_factory=list)


class Tables:
    """What a mode learns. Rows of weights are taken from the first ones as they come into use."""

    def __init__(self, first: Mode) -> None:
        self._first, self._weights = first.weights, dict[int, list[int]]()
        self.seconds: list[list[list[int]]] = first.seconds[:, :, : tables.SETS + 1].tolist()
        self.histories: list[list[list[int]]] = first.histories.tolist()
        self.run_cells: list[int] = first.run_cells.ravel().tolist()
        self.match_cells: list[int] = first.match_cells.ravel().tolist()
        self.model_cells: list[int] = first.model_cells.ravel().tolist()

    def weights(self, row: int) -> list[int]:
        if row not in self._weights:
            self._weights[row] = self._first[row].tolist()
        return self._weights[row]


class Reference:
    """See `llmzip.predictor.Engine`."""

    def __init__(self, line_bits: int, prior: Prior) -> None:
        self._memory, self._used = Memory(_BEFORE + _AFTER), _BEFORE
        self._line_bits, self._end_bits = line_bits, tables.end_bits(line_bits)
        self._lines: dict[int, list[int]] = {}
        self._once: dict[int, list[int]] = {}
        self._ends: dict[int, list[int]] = {}
        self._prior = prior
        self._apms, self._model_apms = Apms(prior.biases[: tables.APMS]), Apms(prior.biases[tables.APMS :])
        self._modes: dict[int, Tables] = {}
        self._n_coded = 0
        self._records: list[tuple[int, int, int, int, int, list[int]]] | None = None

    def open(
        self, sizes: list[int], spelling: Spelling | None, stride: int, body: bytes | None, payload: bytes | None
    ) -> None:
        self._coder = Writer() if payload is None else Reader(payload)
        self._spelling, self._with_model = spelling, spelling is not None
        self._stride, self._start = stride, self._used
        plain = range(tables.RECORD_CONTEXTS if stride else tables.TEXT_CONTEXTS)
        self._used_contexts = tables.WITH_MODEL if self._with_model else plain
        mode = mode_of(stride, spelling)
        if mode not in self._modes:
            self._modes[mode] = Tables(self._prior.modes[mode])
        self._tables = self._modes[mode]
        self._lanes = []
        for size in sizes:
            self._lanes.append(Lane(self._used, self._used + size))
            self._used += size
        assert self._with_model or len(sizes) == 1
        self._memory.make_room(self._used + _AFTER)
        if body is not None:
            self._memory.data[self._start : self._used] = body
        for lane in self._lanes:
            find_contexts(self._memory, lane, stride)

    def code_bytes(self, n: int) -> None:
        self._forget_records()
        for _ in range(n):
            self._code_byte(self._lanes[0], None)

    def code_step(self, scores: NDArray[np.int16], ids: NDArray[np.int32], first: int) -> None:
        assert self._spelling is not None
        self._forget_records()
        for i, lane in enumerate(self._lanes[first : first + len(ids)]):
            if lane.at < lane.end:
                self._sums = self._spelling.sums(scores[i])
                ids[i] = self._code_token(self._spelling, lane, int(ids[i]))

    def record(self) -> None:
        self._records = []

    def recorded(self) -> NDArray[np.void]:
        assert self._records is not None
        return np.array([(*rest, tuple(said)) for *rest, said in self._records], dtype=RECORD)

    def done(self) -> NDArray[np.int64]:
        return np.array([lane.at - lane.start for lane in self._lanes], dtype=np.int64)

    def n_written(self) -> int:
        assert isinstance(self._coder, Writer)
        return self._coder.n_bytes

    def payload(self) -> bytes:
        assert isinstance(self._coder, Writer)
        return self._coder.payload()

    def body(self) -> bytes:
        return bytes(self._memory.data[self._start : self._used])

    def _forget_records(self) -> None:
        if self._records is not None:
            self._records = []

    # ---- the loop of both directions

    def _code_token(self, spelling: Spelling, lane: Lane, known: int) -> int:
        found, length = Range(0, len(spelling.ids), 0), 0 if self._coder.reads else int(spelling.id_lengths[known])
        self._memory.flags[lane.at] |= tables.STARTS
        while True:
            whole = spelling.whole(found)
            if whole:
                symbol = int(spelling.ids[found.low])
                ends = whole == found.high - found.low or lane.at == lane.end
                if ends or self._code_end(lane, found, whole, int(found.depth == length)):
                    lane.token3, lane.token2, lane.token1 = lane.token2, lane.token1, lane.token
                    lane.token = lane.in_token = 0
                    find_contexts(self._memory, lane, self._stride)
                    return symbol
                found = found._replace(low=found.low + whole)
            if lane.at == lane.end:
                raise FormatError("the code stream spells more bytes than the block has")
            narrowed = self._code_byte(lane, found)
            assert narrowed is not None
            found = narrowed._replace(depth=found.depth + 1)

    def _code_end(self, lane: Lane, found: Range, whole: int, known: int) -> int:
        at = self._sums[found.low + whole]
        place = Place(END, odds(at - self._sums[found.low], self._sums[found.high] - at), 0)
        return self._code_bit(lane, Decision(self._find_ends(self._names(lane)), []), place, known)

    def _code_byte(self, lane: Lane, found: Range | None) -> Range | None:
        """The next byte of the lane: of the entries found, which are narrowed to those that go on so."""
        names, path, known = self._names(lane), 1, self._memory.data[lane.at]
        nibbles: list[list[list[int]]] = []
        for i in range(8):
            if i % 4 == 0:
                lines = self._find_lines(names, nibbles[0] if nibbles else None, path)
                nibbles.append(lines)
            if i == 0:
                last = [line[0] >> 8 & 255 if line[0] & 255 > 1 else -1 for line in lines]
            within = path if i < 4 else path & ((1 << (i - 4)) - 1) | 1 << (i - 4)
            place, forced, split = Place(i, NO_MODEL, path), None, 0
            if found is not None:
                assert self._spelling is not None
                split = self._spelling.split(found, (path << 1 | 1) << (7 - i) & 255)
                if split in (found.low, found.high):
                    forced = int(split == found.low)
                else:
                    place.model = odds(
                        self._sums[found.high] - self._sums[split], self._sums[split] - self._sums[found.low]
                    )
            if forced is None:
                decision = Decision([(line, within) for line in lines], last)
                bit = self._code_bit(lane, decision, place, known >> (7 - i) & 1)
            else:
                bit = forced
                for match in lane.matches:
                    if match.expected >= 0 and match.expected >> (7 - i) & 1 != bit:
                        match.expected = -1
            if found is not None:
                found = found._replace(low=split) if bit else found._replace(high=split)
            path = path << 1 | bit
        self._put_last(names, nibbles, path & 255)
        self._put(lane, path & 255, found is None)
        return found

    def _put(self, lane: Lane, c: int, plain: bool) -> None:
        self._memory.data[lane.at] = c
        self._memory.flags[lane.at] |= tables.DONE
        lane.at += 1
        self._n_coded += 1
        lane.token, lane.in_token = hash32(lane.token, c), lane.in_token + 1
        follow_text(self._memory, lane, c, self._stride)
        follow_matches(self._memory, lane, c)
        if plain:
            lane.token = lane.in_token = 0
        find_contexts(self._memory, lane, self._stride)

    def _code_bit(self, lane: Lane, d: Decision, place: Place, known: int) -> int:
        self._gather_contexts(self._histories(lane, place), d)
        self._gather_runs(place, d)
        self._gather_matches(lane, place, d)
        d.inputs[tables.constant_input(len(d.slots))] = CONSTANT
        if self._with_model:
            self._gather_model(lane, place, d)
        self._choose_weights(lane, place, d)
        p = self._refine_all(lane, place, d, self._mix(d))
        bit = self._coder.code(p, known)
        if self._records is not None:
            weights = [self._tables.weights(row) for row in d.rows]
            seconds = [self._tables.seconds[k][row] for k, row in enumerate(d.seconds)]
            said = parties(weights, seconds, d.inputs, len(d.slots))
            self._records.append((lane.at - self._start, place.bit, bit, p, lane.matches[0].expected, said))
        self._learn(lane, d, place.is_end, bit)
        return bit

    # ---- where what is known lies

    def _names(self, lane: Lane) -> list[int]:
        """The contexts in use, the number of each hashed in, and whether a token has begun."""
        begun = int(lane.in_token > 0)
        return [hash32(hash32(lane.contexts[i], i), begun) for i in self._used_contexts]

    def _find_lines(self, names: list[int], first: list[list[int]] | None, path: int) -> list[list[int]]:
        """The lines of the next four bits, or new ones for what has come once.

        Zeros that are kept nowhere stand for those that do not exist.
        """
        found = []
        for i, name in enumerate(names):
            line = None
            if first is None or not _is_new(first[i]):
                z = _spread(name, path)
                check = z >> 8 & 0xFFFF or 1
                line, other = (self._lines.get(at, _NONE) for at in self._places(z))
                line = line if line[0] >> 16 == check else other if other[0] >> 16 == check else None
                if line is None:
                    c = self._came_before(name, first[i] if first else None, path)
                    line = None if c is None else self._new_line(z, check, c, c >> 4 if first is None else c & 15)
            if line is None:
                line = [0] * 16
            else:
                line[0] += line[0] & 255 < 255
            found.append(line)
        return found

    def _places(self, z: int) -> tuple[int, int]:
        at = z >> (64 - self._line_bits)
        return at, at ^ 1

    def _came_before(self, name: int, first: list[int] | None, path: int) -> int | None:
        """The byte that has come in a context that has no line, if it has come at all and is known.

        In the second nibble it is the one that came last, if it began with the same nibble. One that did not waits for
        its time.
        """
        if first is not None:
            last = first[0] >> 8 & 255
            if last >> 4 | 16 == path:
                return last
            if first[0] & 255 == 2:
                self._keep_once(name, last >> 4 | 16, last)
        entries, check = self._entries(_spread(name, path))
        for place in reversed(range(tables.WAYS)):
            if entries[place] >> 8 == check:
                c, entries[place] = entries[place] & 255, 0
                return c
        return None

    def _entries(self, z: int) -> tuple[list[int], int]:
        """Where a context may wait that has come once (check << 8 | the byte that came), and its check."""
        found = self._once.setdefault(z >> (64 - self._line_bits + 2), [0] * tables.WAYS)
        return found, z >> 8 & 0xFFFFFF or 1

    def _keep_once(self, name: int, path: int, c: int) -> None:
        entries, check = self._entries(_spread(name, path))
        entries[self._n_coded % tables.WAYS] = check << 8 | c

    def _new_line(self, z: int, check: int, c: int, nibble: int) -> list[int]:
        """A line that has learnt what byte c, whose nibble this is, has taught.

        It takes the place of the one of two that has been visited less. The other may count a visit less, so that
        what has long been of no use is given up, too.
        """
        line, other = (self._lines.setdefault(at, [0] * 16) for at in self._places(z))
        if other[0] & 255 < line[0] & 255:
            line, other = other, line
        other[0] -= z % 8 == 0 and other[0] & 255 > 0
        line[:] = [check << 16 | c << 8 | 1] + [0] * 15
        for i in range(4):
            line[1 << i | nibble >> (4 - i)] = learnt_slot(0, nibble >> (3 - i) & 1)
        return line

    def _put_last(self, names: list[int], nibbles: list[list[list[int]]], c: int) -> None:
        """Byte c has come in all contexts, in some for the first time."""
        for name, first, second in zip(names, *nibbles, strict=True):
            if _is_new(first):
                self._keep_once(name, 1, c)
                continue
            first[0] = first[0] & 0xFFFF00FF | c << 8
            if _is_new(second):
                self._keep_once(name, c >> 4 | 16, c)

    def _find_ends(self, names: list[int]) -> list[tuple[list[int], int]]:
        found = []
        for name in names:
            h = hash32(name, END) * 0x2545F491 & 0xFFFFFFFF
            end = self._ends.setdefault(h >> (32 - self._end_bits), [0, 0])
            if end[0] != h | 1:
                end[:] = [h | 1, 0]
            found.append((end, 1))
        return found

    # ---- inputs

    def _histories(self, lane: Lane, place: Place) -> list[list[int]]:
        """What histories have come to: in records by the bit, else by the last byte or for token ends."""
        of = place.bit if self._stride else TOKEN_ENDS if place.is_end else kind_of(lane.c1)
        return self._tables.histories[of]

    def _gather_contexts(self, histories: list[list[int]], d: Decision) -> None:
        n = len(d.slots)
        for i, (line, at) in enumerate(d.slots):
            slot, cells = line[at], histories[i]
            d.cells.append((cells, slot & 1023))
            if slot >> 10 & 63:
                d.inputs[i], d.inputs[n + i] = _STRETCH[cells[slot & 1023] >> 18], _STRETCH[slot >> 18]
                d.known += 1 <= i <= 6

    def _gather_runs(self, place: Place, d: Decision) -> None:
        """What says the byte that came last in a context, while the bits so far are its own."""
        for i, last in enumerate(d.last):
            if last >= 0 and (last | 256) >> (8 - place.bit) == place.path:
                cell, bit = place.bit * tables.CONTEXTS + i, last >> (7 - place.bit) & 1
                d.runs.append((cell, bit))
                s = _STRETCH[self._tables.run_cells[cell] >> 18]
                d.inputs[2 * len(d.slots) + i] = s if bit else -s

    def _gather_matches(self, lane: Lane, place: Place, d: Decision) -> None:
        for i, match in enumerate(lane.matches):
            if match.expected < 0:
                continue
            starts = self._memory.flags[match.at] & tables.STARTS > 0
            one, n = int(starts) if place.is_end else match.expected >> (7 - place.bit) & 1, length_class(match.length)
            cell = ((i * 64 + n) * 2 + (match.misses > 0)) * 2 + place.is_end
            both = stretch_of(self._tables.match_cells[cell]), min(n, 32) * 16
            at = tables.match_inputs(len(d.slots)) + 2 * i
            d.inputs[at : at + 2] = both if one else (-both[0], -both[1])
            d.matched[i] = 1 if n < 8 else 2 if n < 16 else 3 if n < 24 else 4
            d.votes.append((i, cell, one))

    def _gather_model(self, lane: Lane, place: Place, d: Decision) -> None:
        s = place.model
        if s == NO_MODEL:
            return
        d.certainty = 1 + sum(abs(s) >= limit for limit in (128, 384, 768, 1536))
        d.model_cell = ((clip(s, 2047) + 2048) >> 6) * 36 + place.bit * 4 + min(lane.in_token, 3)
        known = lane.token if place.is_end else hash32(lane.token1, place.path)
        rows = (lane.c1 * 9 + place.bit, hash32(known, lane.token + place.is_end) >> 8)
        said = [s, stretch_of(self._tables.model_cells[d.model_cell])]
        for i, row in enumerate(rows):
            p, at = self._model_apms.refine(i, row & _APM_MASK, s)
            said.append(_STRETCH[p >> 8])
            d.model_refined.append((i, row & _APM_MASK, at))
        at = tables.model_inputs(len(d.slots))
        d.inputs[at : at + len(said)] = said

    # ---- mixing

    def _choose_weights(self, lane: Lane, place: Place, d: Decision) -> None:
        is_end, bit, path = place.is_end, place.bit, place.path
        third, later = 2 if is_end else int(bit >= 4), min(lane.in_token, 3)
        left_above = lane.back(self._memory, self._stride + 1)
        letters, skeleton = min(lane.word_length, 7), hash32(lane.skeleton & 0xFFFFFF, 0) >> 24
        rows = (
            (d.known * 5 + d.matched[0]) * 3 + third,
            path,
            lane.c1 * 9 + bit,
            ((class_of(lane.c1) * 8 + class_of(lane.c2)) * 8 + class_of(lane.c3)) * 3 + third,
            (lane.c2 if self._stride or lane.c1 >= 128 else skeleton) * 2 + is_end,
            lane.above * 4 + third if self._stride else self._place_in_field(lane) * 2 + is_end,
            (letters * 8 + class_of(lane.above)) * 9 + bit,
            (hash32(lane.c1 | lane.c2 << 8, 0) >> 22) * 2 + is_end,
            min(lane.column, 255) * 2 + is_end,
            (lane.matches[0].expected + 1) * 2 + is_end,
            left_above if self._stride else (letters * 5 + d.matched[0]) * 5 + d.matched[3],
            (lane.c3 if self._stride else joined(lane.tag, lane.key, lane.in_tag) >> 24) * 2 + is_end,
        )
        base = 0
        for row, count in zip(rows, tables.SET_ROWS, strict=True):
            d.rows.append(base + row)
            base += count
        d.seconds = [
            32 + later if is_end else bit * 4 + (later if self._with_model else (d.matched[0] + 1) // 2),
            256 if is_end else path,
            (d.matched[0] * 6 + d.certainty) * 2 + is_end if self._with_model else d.matched[0] * 8 + class_of(lane.c1),
            256 if is_end else lane.c1 if self._stride else skeleton,
        ]

    def _place_in_field(self, lane: Lane) -> int:
        return (min(lane.field, 15) * 16 + min(lane.place, 15)) * 2 + (lane.c1 in DIGITS)

    def _mix(self, d: Decision) -> int:
        for row in d.rows:
            d.said.append(clip(dot(self._tables.weights(row), d.inputs) >> 8, TOP))
        total = 0
        for k, row in enumerate(d.seconds):
            s = clip(
                sum(w * x for w, x in zip(self._tables.seconds[k][row], [*d.said, CONSTANT], strict=True)) >> 16, TOP
            )
            d.of_second.append(s)
            total += s
        return clip(total >> 2, TOP)

    def _refine_all(self, lane: Lane, place: Place, d: Decision, s: int) -> int:
        """The final probability: mostly what such stretches have come to, by five contexts."""
        path = 256 if place.is_end else place.path
        expected = lane.matches[0].expected + 1 | (d.matched[0] > 2) << 9
        named = (
            lane.c1,
            hash32(lane.c1 | lane.c2 << 8, 0),
            hash32(expected, 1),
            hash32(lane.word, int(lane.in_token > 0)),
            lane.skeleton & 0xFFFFFFFF,
        )
        total = 0
        for i, name in enumerate(named):
            row = hash32(name, path) >> 8 & _APM_MASK
            p, at = self._apms.refine(i, row, s)
            d.refined.append((i, row, at))
            total += p
        share = 2 if self._with_model else 3  # of 4: what the APMs say
        return limited((_SQUASH[s + TOP] * (4 - share) + total * 4 // tables.APMS * share) >> 2)

    # ---- learning

    def _boost(self) -> int:
        """How fast weights learn, in 1/256 of the rate.

        Faster at first, and for longer where nothing is known of them.
        """
        if self._stride:
            return 64 + 960 * RECORD_BOOST_BYTES // (RECORD_BOOST_BYTES + self._n_coded)
        return (LASTING if self._with_model else PLAIN_LASTING) + BOOST * 256 * BOOST_BYTES // (
            BOOST_BYTES + self._n_coded
        )

    def _learn_weights(self, d: Decision, bit: int) -> None:
        """Both layers.

        A weight set learns little of its own error, and most from what the second layer makes of it: the errors of
        its rows by the weight that each gives the set (backpropagation).
        """
        boost, seconds = self._boost(), [self._tables.seconds[k][row] for k, row in enumerate(d.seconds)]
        second_errors = [((bit << 24) - _SQUASH[s + TOP]) >> 8 for s in d.of_second]
        for i, (row, s) in enumerate(zip(d.rows, d.said, strict=True)):
            own = ((bit << 24) - _SQUASH[s + TOP]) >> 8
            through = sum(each[i] * error for each, error in zip(seconds, second_errors, strict=True))
            through = through * (SETS // SECONDS) >> 16
            error = clip((own * OWN_SHARE + through * (16 - OWN_SHARE)) * boost >> 12, ERROR_TOP)
            if abs(error) > LEAST_ERROR:
                weights = self._tables.weights(row)
                weights[:] = trained(weights, d.inputs, error, RATE_BITS, WEIGHT_TOP)
        for weights, error in zip(seconds, second_errors, strict=True):
            weights[:] = trained(weights, [*d.said, CONSTANT], error, SECOND_RATE_BITS, SECOND_TOP)

    def _learn(self, lane: Lane, d: Decision, is_end: int, bit: int) -> None:
        self._learn_weights(d, bit)
        for (cells, history), (line, at) in zip(d.cells, d.slots, strict=True):
            cells[history] = learnt_cell(cells[history], bit, tables.HISTORY_LIMIT)
            line[at] = learnt_slot(line[at], bit)
        for cell, said in d.runs:
            cells = self._tables.run_cells
            cells[cell] = learnt_cell(cells[cell], int(said == bit), tables.RUN_LIMIT)
        for which, row, place in d.refined:
            self._apms.learn(which, row, place, bit, tables.APM_LIMIT)
        for which, cell, proposed in d.votes:
            self._tables.match_cells[cell] = learnt_cell(
                self._tables.match_cells[cell], int(proposed == bit), tables.MATCH_LIMIT
            )
            if proposed != bit and not is_end:
                lane.matches[which].expected = -1
        if d.model_cell >= 0:
            self._tables.model_cells[d.model_cell] = learnt_cell(
                self._tables.model_cells[d.model_cell], bit, tables.MODEL_LIMIT
            )
        for which, row, place in d.model_refined:
            self._model_apms.learn(which, row, place, bit, tables.APM_LIMIT)


def _spread(name: int, path: int) -> int:
    z = (name << 8 | path) * 0x9E3779B97F4A7C15 & _M64
    return (z ^ z >> 29) * 0xD6E8FEB86659FD93 & _M64


def _is_new(line: list[int]) -> bool:
    return line[0] == 0


def stretch_of(cell: int) -> int:
    """The stretch of a cell, finely where it is nearly sure."""
    x = cell >> 10
    if 8192 < x < (1 << 22) - 8192:
        return _STRETCH[x >> 8]
    return clip(log2_of(2 * x + 1) - log2_of((8 << 20) - 1 - 2 * x), TOP)
