"""With which parameters a stream was made: a race between those that are known, on ever more tokens; then free ones."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from llmzip.deflate.codes import DYNAMIC, FIXED, STORED
from llmzip.deflate.corrections import TooSlow
from llmzip.deflate.parameters import (
    DEFAULT,
    FILTERED,
    FIRST_OF_GZIP,
    FIXED_CODES,
    FOLDED,
    FRESH,
    FULL_FLUSH,
    HUFFMAN,
    LEVELS,
    LOOKAHEAD,
    MEMORIES,
    OF_FOUR,
    OF_THREE,
    OTHERS,
    PRESETS,
    RUNS,
    SHIFTED,
    SYNC,
    WINDOW,
    ZLIB,
    Head,
    Parameters,
    with_level,
    with_memory,
    with_window,
)
from llmzip.deflate.state import State

if TYPE_CHECKING:
    from llmzip.deflate.fused import Stream

STAGES = (500, 4000, 24000, 250000)  # tokens
ENOUGH = 24000  # where one is ahead
FEW = 400  # tokens for each miss: so good that nothing better is looked for
LEAST_TUNED = 2000  # tokens of a stream whose free parameters are looked for
TUNED, MOST_TUNED, ROUNDS = 8, 6000, 2  # on this part of them, and at most on so many
LONGEST_STORED = 40000  # of a block whose tokens were no use: hardly more than tokens
LONG = 1 << 31
CHOICES = {
    "hash": (SHIFTED, OF_THREE, OF_FOUR, FOLDED),
    "max_distance": (WINDOW - LOOKAHEAD, WINDOW, WINDOW - 1, 16384, 8192),
    "fast": (0, 1, 2),
    "good": (4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 64, 258),
    "lazy": (0, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 258),
    "nice": (8, 10, 16, 20, 24, 32, 48, 64, 80, 96, 128, 130, 150, 200, 258),
    "chain": (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 35, 64, 100, 128, 256, 300, 512, 600, 1024, 4096),
    "hash_bits": (12, 13, 14, 15, 16, 17),
    "too_far": (0, 1024, 2048, 4096, 8191, 8192, 16384, WINDOW),
    "any": (0, 1),
}


def guess(stream: "Stream", most: int, before: State | None) -> bytes | None:
    """The smallest recipe that is found for it.

    None: none of `most` bytes or less, or none that can be read fast enough.
    """

    def head(parameters: Parameters, *, exact: bool, tail: bool = False) -> bytes:
        lead, reach = (before.lead, before.reach) if before else (1, 0)
        return Head(parameters, exact, stream.last, tail, before is not None, lead, reach).record()

    hint = before.parameters if before else None
    facts = _Facts(stream)
    try:
        for parameters in facts.exact(hint):  # most are given up after a few tokens
            if stream.is_exact(parameters, tail=facts.tail):
                return head(parameters, exact=True, tail=facts.tail)
    except TooSlow:
        return None
    recipe = None
    for parameters in _likely(stream, facts, hint, most):
        start = head(parameters, exact=False)
        corrections = stream.corrections(parameters, most - len(start))
        if corrections is not None:
            recipe = start + corrections
            most = len(recipe) - 1
    return recipe


class _Facts:
    """What the tokens and blocks of a stream say of who made it."""

    def __init__(self, stream: "Stream") -> None:
        distances = stream.tokens >> 9 & 0xFFFF
        lengths = (stream.tokens & 511)[distances > 0]
        types, self.n_bytes = stream.blocks["type"], len(stream.plain)
        self.farthest, self.shortest = int(distances.max(initial=0)), int(lengths.min(initial=259))
        self.only_stored = len(stream.tokens) == 0
        self.longest_stored = int(stream.blocks["length"][types == STORED].max(initial=0))
        self.only_fixed = bool((types == FIXED).any() and not (types == DYNAMIC).any())
        self.flushed = len(stream.flushes) > 0
        # Whether the only flush is at the end, as Microsoft Office does it.
        self.tail = stream.last and stream.flushes.tolist() == [len(types) - 2]
        self.possible, self.memories, self.gzip = self._memories(stream)

    def _memories(self, stream: "Stream") -> tuple[list[int], list[int], bool]:
        """Memory levels: those that may be, and of them the likely; and whether it may be gzip.

        By how many tokens blocks have that are not the last before something else.
        """
        stored = stream.blocks["type"] == STORED
        counts = stream.blocks["n_tokens"][~stored]
        most = int(counts.max(initial=0))
        possible = [memory for memory in MEMORIES if most < 1 << memory + 6]
        known = [memory for memory in possible if most == (1 << memory + 6) - 1 and len(stored) > 1]
        if known:
            return known, known, known == [9]
        longest = int(
            stream.blocks["length"][stored].max(initial=0)
        )  # of tokens of one byte each, and a few longer ones
        found = [memory for memory in possible if 1 << memory + 6 <= longest + 1][-1:]
        found += [memory for memory in (8, 9, 7) if memory in possible and memory not in found]
        inner = counts[:-1]
        is_gzip = bool(((inner == 32767) | (inner % 4096 == 0)).all()) and most <= 32767
        return possible, found or [9], is_gzip

    @property
    def windows(self) -> list[int]:
        """Smaller ones that would do, and would matter."""
        return [bits for bits in range(9, 15) if self.farthest <= (1 << bits) - LOOKAHEAD < self.n_bytes]

    def makers(self) -> list[Parameters]:
        """Of the largest window, the likely first."""
        simple = [strategy for strategy, most in ((HUFFMAN, 0), (RUNS, 1)) if self.farthest <= most]
        found = [with_memory(LEVELS[5], memory)._replace(strategy=each) for memory in self.memories for each in simple]
        found += [
            with_memory(LEVELS[i - 1], memory)
            for memory in self.memories
            for i in (6, 9, 8, 7, 5, 4, 3, 2, 1, 10, 11, 12)
        ]
        if self.gzip:
            found += [PRESETS[FIRST_OF_GZIP + i - 1] for i in (6, 9, 8, 7, 5, 4, 3, 2, 1)]
        default = [each for each in found if each.strategy == DEFAULT and each.rule == ZLIB]
        if self.shortest > 5:
            found += [each._replace(strategy=FILTERED) for each in default if not each.fast]
        if self.only_fixed:
            found += [each._replace(strategy=FIXED_CODES) for each in default]
        return found

    def exact(self, hint: Parameters | None) -> list[Parameters]:
        """What may have made it without any correction."""
        if (self.flushed and not self.tail) or self.longest_stored > LONGEST_STORED:
            return []
        makers = self.makers()
        if self.only_stored:  # trials take time, and say little
            makers = [each for each in makers if each.chain <= LEVELS[5].chain]
        makers += [with_window(each, bits) for bits in self.windows for each in makers if each.rule == ZLIB]
        return makers if hint is None else [hint, *(each for each in makers if each != hint)]


def _likely(stream: "Stream", facts: _Facts, hint: Parameters | None, most: int) -> Iterator[Parameters]:
    """Those that are worth their corrections: the best of the makers, and what is better still."""
    n_tokens = min(ENOUGH, len(stream.tokens))
    makers = facts.makers()
    makers += [each._replace(limit=makers[0].limit) for each in OTHERS]
    missed, best = _race(stream, [hint] if hint else makers)
    if facts.flushed:
        missed, best = _race(stream, [best._replace(flush=kind) for kind in (SYNC, FULL_FLUSH, FRESH)])
    if missed and best.rule == ZLIB:
        missed, best = _race(stream, [best, *(with_window(best, bits) for bits in facts.windows)])
        missed, best = _of_little_memory(stream, facts, best)
    other, missed_too = best, missed
    if missed * FEW > n_tokens and len(stream.tokens) >= LEAST_TUNED:
        other = _tuned(stream, best)
        missed_too = stream.misses(other, n_tokens, missed)
    if min(missed, missed_too) * len(stream.tokens) > 8 * most * n_tokens:
        return  # a miss takes a byte, and hardly less than a bit
    if missed < 2 * missed_too or other == best:
        yield best
    if missed_too < missed:
        yield other


def _of_little_memory(stream: "Stream", facts: _Facts, best: Parameters) -> tuple[int, Parameters]:
    """With little memory hashes collide, which looks like another level: memories, then levels."""
    for _ in range(ROUNDS):
        before = best
        memories = [with_memory(best._replace(hash=SHIFTED), memory) for memory in facts.possible]
        missed, best = _race(stream, [best, *memories])
        missed, best = _race(stream, [best, *(with_level(best, level) for level in LEVELS)])
        if best == before:
            break
    return missed, best


def _race(stream: "Stream", candidates: list[Parameters]) -> tuple[int, Parameters]:
    """What the best of them misses, of ENOUGH tokens at most, and it.

    Those that fall behind are not counted to the end.
    """
    missed = 0
    for n_tokens in STAGES if len(stream.tokens) else ():
        best, ranked = LONG, []
        for parameters in candidates:
            count = stream.misses(parameters, n_tokens, best + best // 4 + 3)
            best = min(best, count)
            ranked.append((count, parameters))
        ranked.sort(key=lambda each: each[0])
        missed = best if n_tokens <= ENOUGH else missed
        candidates = [parameters for count, parameters in ranked if count <= best * 9 // 8 + 1]
        if n_tokens >= len(stream.tokens) or (n_tokens >= ENOUGH and (len(ranked) == 1 or best < ranked[1][0])):
            break
    return missed, candidates[0]


def _tuned(stream: "Stream", parameters: Parameters) -> Parameters:
    """One field after the other as it misses least."""
    n_tokens = min(MOST_TUNED, max(1000, len(stream.tokens) // TUNED))
    best = stream.misses(parameters, n_tokens, LONG)
    for _ in range(ROUNDS):
        before = parameters
        for field, values in CHOICES.items():
            for value in values:
                other = parameters._replace(**{field: value})
                if (other.hash == SHIFTED and other.hash_bits > 16) or other == parameters:
                    continue
                missed = stream.misses(other, n_tokens, best)
                if missed < best:
                    best, parameters = missed, other
        if parameters == before:
            break
    return parameters
