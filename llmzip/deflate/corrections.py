"""What a stream is beside what was predicted: one routine that writes the corrections, reads them, or does without.

That is *silent*, where everything is as predicted. Twin of c/corrections.h.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from llmzip.deflate.codes import (
    DISTANCES,
    DYNAMIC,
    END_OF_BLOCK,
    FIXED,
    FIXED_DISTANCES,
    FIXED_LENGTHS,
    LENGTHS,
    LITERALS,
    LONG,
    MAX_LENGTH,
    MIN_LENGTH,
    RUN_BASE,
    RUN_EXTRA,
    STORED,
    BitWriter,
    Header,
    distance_of,
    length_of,
    match_token,
    put_header,
    put_stored,
    put_tokens,
)
from llmzip.deflate.inflate import STEPS_ALWAYS, STEPS_EACH, STEPS_OF_BLOCK, Block
from llmzip.deflate.parameters import FIXED_CODES, HUFFMAN, RUNS, WINDOW, Parameters
from llmzip.deflate.parser import LONG_MATCH, PUT_OFF, Parser, Tally, common, hash_of_three
from llmzip.deflate.trees import last_order, make_code_of_runs, make_header, make_runs, next_run
from llmzip.errors import FormatError
from llmzip.predictor.coder import Reader, Writer

MOST_LOOKS, MOST_RANKS = 4096, 2048
ALL_BITS, CELL_LIMIT, NUMBER = 15, 255, 128
HALF = 1 << 23

_GROUPS = {  # of cells, in their order: how many
    "AS_PREDICTED": 4 * 16 * 16 * 2,  # (kinds, last four, length, far)
    "SAME_AS_BEFORE": 1,
    "LENGTH_AFTER": NUMBER,
    "LENGTH_OF_MATCH": NUMBER,
    "IS_LITERAL": 2 * 16,  # (long, length)
    "SAME_LENGTH": 2,
    "LONGER": 16,  # (length)
    "LONGER_BY": 16 * NUMBER,
    "SHORTER_BY": 16 * NUMBER,
    "NO_RANK": 1,
    "RANK": 16 * NUMBER,
    "DISTANCE": NUMBER,
    "IS_LONG": 1,
    "IS_STORED": 4,  # (at a flush, after a stored one)
    "STORED_BY_RULE": 2,
    "STORED_LENGTH": NUMBER,
    "NO_PADDING": 2,
    "PADDING": NUMBER,
    "BY_RULE": 1,
    "COUNT": NUMBER,
    "TYPE": 3,
    "END": 4,  # (at the end, a flush to come)
    "FLUSHES": 2,
    "SAME_GAP": 1,
    "GAP": NUMBER,
    "SAME_TREES": 1,
    "SAME_CODE": 12,  # (list, predicted to be none, the one before)
    "CODE_LONGER": 2,
    "CODE_BY": NUMBER,
    "SAME_COUNT": 3,
    "COUNT_OF": NUMBER,
    "RUNS_APART": 1,
    "RUNS_JOINED": 1,
    "SAME_RUN": 2,
    "RUN_SYMBOL": 32,
    "RUN_EXTRA": NUMBER,
    "SAME_OF_RUNS": 1,
    "SAME_OF_RUN": 2,
    "OF_RUN": 8,
}
_PLACES = {name: sum(list(_GROUPS.values())[:i]) for i, name in enumerate(_GROUPS)}
CELLS = sum(_GROUPS.values())
_NO_HEADER = Header((0,) * LITERALS, (0,) * DISTANCES, (), (0,) * LENGTHS, 0)
_ENDS = (3, 4, 5, 6, 8, 12, 16, 24, 32, 64, 128, 257, 258)
_BUCKETS = {
    length: 1 + next(k for k, end in enumerate(_ENDS) if length <= end) for length in range(MIN_LENGTH, MAX_LENGTH + 1)
}


class Differs(Exception):
    """A stream is not just as it was predicted."""


class TooSlow(Exception):
    """It takes more work than is allowed."""


def is_slow(p: Parser, n: int) -> bool:
    """Whether this many bytes have taken more work than is allowed."""
    return p.steps > STEPS_EACH * n + STEPS_ALWAYS


def most_bytes(n: int) -> int:
    """Of a stream that holds so many."""
    return 2 * n + (1 << 16)


@dataclass
class Known:
    """The stream, to a writer."""

    blocks: list[Block]
    tokens: list[int]
    padding: int


@dataclass
class Job:
    parameters: Parameters
    x: bytes  # the window, then the plain text
    window: int
    base: int
    marks: bytes | None
    last: bool
    silent: bool
    tail: bool
    lead: int = 1
    known: Known = field(default_factory=lambda: Known([], [], 0))


class Walk:
    """coder: a Writer or a Reader. Raises FormatError, Differs or TooSlow."""

    def __init__(self, job: Job, coder: Reader | Writer) -> None:
        self.job, self.coder, self.reads = job, coder, coder.reads
        self.parser = Parser(job.parameters, job.x, job.window, job.base, last=job.last, marks=job.marks)
        self.out = BitWriter(job.lead)
        self.at = job.window
        self.index = self.history = self.gap = 0
        self.was_stored = self.flushed = False
        self.flush_at = -1
        self._cells = [(1 << 22) - (1 << 17) << 10 | 8] * _PLACES["SAME_AS_BEFORE"]
        self._cells += [1 << 31] * (CELLS - len(self._cells))
        self._all_head, self._all_links, self._all_next = [0] * (1 << ALL_BITS), [0] * WINDOW, 0

    def run(self) -> None:
        job = self.job
        self._start_segment()
        while not self._code_block():
            pass
        if job.last:
            self.out.put_padding(self._code_padding(1, job.known.padding))
        self._check_size()

    # Decisions

    def _decide(self, place: int, bit: int) -> int:
        """Code a decision: returns it. A cell: probability of a one, 22 bits << 10 | how often it has learnt."""
        cell = self._cells[place]
        n, p = cell & 1023, cell >> 10
        bit = self.coder.code(max(16, min((1 << 24) - 16, p << 2)), bit)
        p += (((1 << 22) - 1 if bit else 0) - p) * ((1 << 17) // (2 * n + 3)) >> 16
        self._cells[place] = p << 10 | min(n + 1, CELL_LIMIT)
        return bit

    def _is(self, group: str, bit: bool, place: int = 0) -> bool:
        return bool(self._decide(_PLACES[group] + place, int(bit)))

    def _agree(self, group: str, bit: bool, place: int = 0) -> bool:
        """Whether it is as predicted; silently, it is."""
        if not self.job.silent:
            return self._is(group, bit, place)
        if not self.reads and not bit:
            raise Differs
        return True

    def _number(self, group: str, value: int, place: int = 0) -> int:
        """0 <= value < 2^28 by its bits: how many, the first two, the others."""
        cells = _PLACES[group] + place * NUMBER
        v = 0 if self.reads else value + 1
        known, n = v.bit_length() - 1, 0
        while n < 28 and self._decide(cells + n, int(n < known)):
            n += 1
        got = 1
        for i in range(n - 1, -1, -1):
            bit = v >> i & 1
            cell = cells + 32 + 3 * n + (0 if i == n - 1 else 1 + (got & 1))
            got = got << 1 | (self._decide(cell, bit) if i >= n - 2 else self.coder.code(HALF, bit))
        return got - 1

    def _symbol(self, group: str, bits: int, value: int) -> int:
        """Bits from the first on, each knowing those before it."""
        got = 1
        for i in range(bits - 1, -1, -1):
            got = got << 1 | self._decide(_PLACES[group] + got, value >> i & 1)
        return got - (1 << bits)

    def _check(self, valid: bool) -> None:
        if not valid:
            raise FormatError("the corrections of a deflate stream are invalid")

    def _check_pace(self, at: int) -> None:
        """So neither a writer nor a reader is ever slow."""
        if is_slow(self.parser, at - self.job.window):
            raise TooSlow

    def _check_size(self) -> None:
        if len(self.out.bytes) > most_bytes(len(self.job.x) - self.job.window):
            raise TooSlow

    # Tokens

    def _look(self, at: int, length: int, found_at: Callable[[int, int], bool]) -> tuple[int, int] | None:
        """The rank and the distance of the one that is looked for.

        Among all positions whose match is so long, the nearest first.
        """
        x, links, head = self.job.x, self._all_links, self._all_head
        for each in range(max(self._all_next, at - WINDOW), at):
            h = hash_of_three(x, each, ALL_BITS)
            links[each & WINDOW - 1], head[h] = head[h], each + 1
        self._all_next = max(self._all_next, at)
        candidate, rank = head[hash_of_three(x, at, ALL_BITS)], 0
        for _ in range(MOST_LOOKS):
            distance = at - (candidate - 1)
            if not candidate or distance > WINDOW:
                break
            n = common(x, candidate - 1, at, length)
            self.parser.steps += 1 + (n >> 3)
            if found_at(rank if n == length else -1, distance):
                return rank, distance
            rank += n == length
            if rank == MOST_RANKS:
                break
            following = links[candidate - 1 & WINDOW - 1]
            candidate = following if following < candidate else 0
        return None

    def _code_distance(self, length: int, distance: int) -> int:
        found = None if self.reads else self._look(self.at, length, lambda _, d: d == distance)
        if self._is("NO_RANK", found is None):
            return self._number("DISTANCE", distance - 1) + 1
        wanted = self._number("RANK", found[0] if found else 0, _BUCKETS[length])
        if not self.reads:
            return distance
        found = self._look(self.at, length, lambda rank, _: rank == wanted)
        return found[1] if found else -1

    def _code_other(self, predicted: int, known: int) -> int:
        """The token that is there instead of the predicted one, without LONG."""
        p = self.parser
        length, expected = length_of(known) if distance_of(known) else 0, length_of(predicted)
        if not distance_of(predicted):
            if p.kind != PUT_OFF:
                length = MIN_LENGTH + self._number("LENGTH_OF_MATCH", length - MIN_LENGTH)
            elif self._is("SAME_AS_BEFORE", length == p.here[0]):
                length = p.here[0]
            else:
                length = MIN_LENGTH + self._number("LENGTH_AFTER", length - MIN_LENGTH)
        else:
            place = _BUCKETS[expected]
            if self._is("IS_LITERAL", not length, 16 * (p.kind == LONG_MATCH) + place):
                return 1
            if self._is("SAME_LENGTH", length == expected, self.history >> 1 & 1):
                length = expected
            elif expected < MAX_LENGTH and (expected == MIN_LENGTH or self._is("LONGER", length > expected, place)):
                length = expected + 1 + self._number("LONGER_BY", length - expected - 1, place)
            else:
                length = expected - 1 - self._number("SHORTER_BY", expected - 1 - length, place)
        self._check(MIN_LENGTH <= length <= min(MAX_LENGTH, p.end - self.at))
        distance = self._code_distance(length, distance_of(known))
        self._check(1 <= distance <= min(WINDOW, self.at))
        return match_token(length, distance)

    def _code_token(self, predicted: int, known: int) -> int:
        p, place, far = self.parser, 0, False
        if distance_of(predicted):
            place, far = _BUCKETS[length_of(predicted)], distance_of(predicted) >= 4096
        elif p.kind == PUT_OFF:
            place, far = _BUCKETS[p.later[0]], p.later[0] - p.here[0] > 1
        context = ((p.kind * 16 + self.history) * 16 + place) * 2 + far
        same = self._agree("AS_PREDICTED", known & ~LONG == predicted, context)
        self.history = (self.history << 1 | (not same)) & 15
        token = predicted if same else self._code_other(predicted, known)
        if distance_of(token) and length_of(token) == MAX_LENGTH and not self._agree("IS_LONG", not known & LONG):
            token |= LONG
        return token

    def _ends_by_rule(self, tokens: list[int]) -> bool:
        """Whether the producer's rule ends a block with just these tokens."""
        tally, at = Tally(), self.at
        for i, token in enumerate(tokens):
            if at >= self.parser.end:
                return False
            tally.count(token, self.job.x[at])
            at += length_of(token)
            if tally.is_full(self.parser.q):
                return i + 1 == len(tokens)
        return at >= self.parser.end

    def _code_tokens(self, known: list[int] | None, tally: Tally) -> list[int]:
        """The tokens of a block.

        known: those of a writer; None where only what is predicted is known: for a reader, or if it is stored.
        """
        p, tokens = self.parser, []
        by_rule = self.job.silent or self._is("BY_RULE", known is not None and self._ends_by_rule(known))
        count = 0 if by_rule else self._number("COUNT", len(known or []))
        while self.at < p.end and not (tally.n and tally.is_full(p.q)) if by_rule else tally.n < count:
            self._check(self.at < p.end)
            if known is not None and tally.n == len(known):
                raise Differs
            self._check_pace(self.at)
            predicted = p.predict(self.at)
            token = self._code_token(predicted, predicted if known is None else known[tally.n])
            tokens.append(token)
            tally.count(token, self.job.x[self.at])
            p.follow(self.at, token, predicted)
            self.at += length_of(token)
        if known is not None and tally.n != len(known):
            raise Differs
        return tokens

    # Heads of blocks

    def _code_lengths(self, predicted: list[int], known: list[int], which: int) -> list[int]:
        lengths, before = [], 0
        for expected, length in zip(predicted, known, strict=True):
            if self._is("SAME_CODE", length == expected, (2 * which + (not expected)) * 3 + before):
                lengths.append(expected)
                before = 0
                continue
            longer = not expected or self._is("CODE_LONGER", length > expected, which)
            by = self._number("CODE_BY", length - expected - 1 if longer else expected - length - 1) + 1
            self._check(by <= (15 - expected if longer else expected))
            lengths.append(expected + by if longer else expected - by)
            before = 1 if longer else 2
        return lengths

    def _code_count(self, which: int, predicted: int, known: int, least: int, most: int) -> int:
        """A count of the header: predicted, or from least to most."""
        if self._agree("SAME_COUNT", known == predicted, which):
            return predicted
        got = least + self._number("COUNT_OF", known - least)
        self._check(got <= most)
        return got

    def _code_run_by_run(
        self, literals: tuple[int, ...], distances: tuple[int, ...], known: Header
    ) -> tuple[tuple[int, int], ...]:
        lengths = literals + distances
        runs: list[tuple[int, int]] = []
        i, before = 0, -1
        while i < len(lengths):
            run, extra, takes = next_run(lengths, i, before)
            there = known.runs[len(runs)] if not self.reads else (0, 0)
            if not self._is("SAME_RUN", there == (run, extra), int(i >= len(literals))):
                run = self._symbol("RUN_SYMBOL", 5, there[0])
                extra = 0 if run < 16 else self._number("RUN_EXTRA", there[1])
                takes = RUN_BASE.get(run, 1) + extra
                self._check(run <= 18 and extra < 1 << RUN_EXTRA.get(run, 0) and i + takes <= len(lengths))
            runs.append((run, extra))
            i += takes
            before = lengths[i - 1]
        return tuple(runs)

    def _code_header(self, predicted: Header, known: Header) -> Header:
        expected = _whole(predicted)
        lengths = _whole(known)
        if self._agree("SAME_TREES", lengths == expected):
            lengths = expected
        else:
            lengths = (self._code_lengths(expected[0], lengths[0], 0), self._code_lengths(expected[1], lengths[1], 1))
        n_literals = max([257, *(i + 1 for i, length in enumerate(lengths[0]) if length)])
        n_distances = max([1, *(i + 1 for i, length in enumerate(lengths[1]) if length)])
        literals = tuple(lengths[0][: self._code_count(0, n_literals, len(known.literals), 257, LITERALS)])
        distances = tuple(lengths[1][: self._code_count(1, n_distances, len(known.distances), 1, DISTANCES)])
        apart, joined = (make_runs(literals, distances, joined=joined) for joined in (False, True))
        if self._agree("RUNS_APART", apart == known.runs):
            runs = apart
        elif self._agree("RUNS_JOINED", joined == known.runs):
            runs = joined
        else:
            runs = self._code_run_by_run(literals, distances, known)
        of_runs = make_code_of_runs(runs)
        if not self._agree("SAME_OF_RUNS", of_runs == known.of_runs):
            of_runs = tuple(
                length
                if self._is("SAME_OF_RUN", length == there, int(not length))
                else self._symbol("OF_RUN", 3, there)
                for length, there in zip(of_runs, known.of_runs, strict=True)
            )
        orders = self._code_count(2, last_order(of_runs), known.orders, 4, LENGTHS)
        return Header(literals, distances, runs, of_runs, orders)

    # Blocks

    def _code_padding(self, which: int, known: int) -> int:
        return 0 if self._agree("NO_PADDING", not known, which) else self._number("PADDING", known - 1) + 1

    def _follow_stored(self, stop: int) -> tuple[int, bool]:
        """The producer had tokens for what it stored.

        Up to where it would end the block, or to `stop`; whether that is full.
        """
        p, tally, at, full = self.parser, Tally(), self.at, False
        while at < stop and not full:
            self._check_pace(at)
            predicted = p.predict(at)
            if at + length_of(predicted) > stop:
                break
            tally.count(predicted, self.job.x[at])
            p.follow(at, predicted, predicted)
            at += length_of(predicted)
            full = tally.is_full(p.q)
        return at, full

    def _code_stored(self, b: Block, at_flush: bool) -> None:
        p, start = self.parser, self.at
        at, by_rule = start, False
        if not self.reads:
            at, full = self._follow_stored(start + b.length)
            by_rule = at == start + b.length and (full or at >= p.end)
        by_rule = self._agree("STORED_BY_RULE", by_rule, int(at_flush))
        if not by_rule:
            b.length = self._number("STORED_LENGTH", b.length)
            self._check(b.length <= len(self.job.x) - start)
        if self.reads:
            at, _ = self._follow_stored(p.end if by_rule else start + b.length)
        if by_rule:
            b.length = at - start
        else:
            p.pending = False
        for each in range(at, start + b.length):
            p.follow(each, 1, 1)
            p.pending = False
        self._check(b.length <= 0xFFFF)
        self.at = start + b.length
        b.padding = self._code_padding(0, b.padding)

    def _code_coded(self, b: Block) -> tuple[list[int], bool]:
        """The tokens and the header of a block that is not stored, or which is so because they were no use.

        Whether it came out full.
        """
        p, q, job, start, tally = self.parser, self.job.parameters, self.job, self.at, Tally()
        tally.literals[END_OF_BLOCK] = 1
        blind = self.reads or (job.silent and b.type == STORED)
        tokens = self._code_tokens(None if blind else job.known.tokens[b.first : b.first + b.n_tokens], tally)
        is_lazy = not q.fast and q.strategy not in (HUFFMAN, RUNS)
        full = bool(tally.n) and tally.is_full(q) and not (self.at >= p.end and is_lazy and tally.last == 1)
        if self.at >= len(job.x) and not full:
            p.slide(len(job.x))
        predicted, dynamic_bytes, fixed_bytes = make_header(tally.literals, tally.distances)
        is_fixed = fixed_bytes <= dynamic_bytes or q.strategy == FIXED_CODES
        expected = FIXED if is_fixed else DYNAMIC
        if job.silent and tally.bytes + 4 <= (fixed_bytes if is_fixed else dynamic_bytes) and start >= p.base:
            expected = STORED
        b.type = expected if self._agree("TYPE", b.type == expected, expected) else FIXED + DYNAMIC - expected
        if not self.reads and job.silent and tally.bytes != b.length:
            raise Differs
        b.length, b.n_tokens = tally.bytes, tally.n
        if b.type == STORED:
            b.padding = self._code_padding(0, b.padding)
            self._check(b.length <= 0xFFFF)
        if b.type == DYNAMIC:
            b.header = self._code_header(predicted, b.header or _NO_HEADER)
        return tokens, full

    def _start_segment(self) -> None:
        """A flush lies before us, or none: where."""
        job, known = self.job, -1
        if not self.reads:
            known = next_flush(job.known.blocks, self.index, self.at)
        if job.silent:
            self.flush_at = len(job.x) if job.tail and not self.flushed else -1
            if not self.reads and known != self.flush_at:
                raise Differs
        elif self._is("FLUSHES", known >= 0, int(self.flushed)):
            gap = known - self.at
            gap = self.gap if self._is("SAME_GAP", gap == self.gap) else self._number("GAP", gap)
            self._check(gap <= len(job.x) - self.at)
            self.flush_at, self.gap = self.at + gap, gap
        else:
            self.flush_at = -1
        self.flushed = self.flush_at >= 0
        self.parser.end = self.flush_at if self.flushed else len(job.x)

    def _put_block(self, b: Block, tokens: list[int]) -> None:
        plain = self.job.x[self.at - b.length : self.at]
        self.out.put(b.final, 1)
        self.out.put(b.type, 2)
        if b.type == STORED:
            put_stored(self.out, plain, b.padding)
        elif b.header is None:
            put_tokens(self.out, plain, tokens, FIXED_LENGTHS, FIXED_DISTANCES)
        else:
            put_header(self.out, b.header)
            put_tokens(self.out, plain, tokens, b.header.literals, b.header.distances)

    def _code_block(self) -> bool:
        """Returns whether it was the last."""
        job, n = self.job, len(self.job.x)
        known = Block() if self.reads else job.known.blocks[self.index]
        b = Block(known.type, known.final, known.padding, known.n_tokens, known.length, known.first, known.header)
        self.parser.steps += STEPS_OF_BLOCK
        at_flush, was_end = self.flush_at == self.at, self.index + 1 == len(job.known.blocks)
        tokens: list[int] = []
        full = False
        stored = at_flush if job.silent else self._is("IS_STORED", b.type == STORED, 2 * at_flush + self.was_stored)
        self.index += 1
        self.was_stored = stored
        if stored:
            if not self.reads and b.type != STORED:
                raise Differs
            b.type = STORED
            self._code_stored(b, at_flush)
        else:
            tokens, full = self._code_coded(b)
        expected = self.at >= n and (not job.last or (not full and self.flush_at < 0))
        end = expected == self._agree("END", was_end == expected, 2 * (self.flush_at >= 0) + (self.at >= n))
        self._check(not end or self.at >= n)
        self._check_pace(self.at)
        b.final = int(end and job.last)
        if self.reads:
            self._put_block(b, tokens)
            self._check_size()
        if not end and self.flush_at >= 0 and self.at >= self.flush_at and is_flush(b):
            self.parser.flush(self.at, n)
            self._start_segment()
        return end


def _whole(header: Header) -> tuple[list[int], list[int]]:
    """The lengths of all symbols."""
    literals, distances = list(header.literals), list(header.distances)
    return literals + [0] * (LITERALS - len(literals)), distances + [0] * (DISTANCES - len(distances))


def is_flush(b: Block) -> bool:
    """An empty block that is not the last: what a flush leaves."""
    return not b.length and not b.final and (b.type == STORED or (b.type == FIXED and not b.n_tokens))


def next_flush(blocks: list[Block], index: int, at: int) -> int:
    """Where the next one is, from this block on, which begins here; or -1."""
    while index < len(blocks):
        if is_flush(blocks[index]):
            return at
        at += blocks[index].length
        index += 1
    return -1
