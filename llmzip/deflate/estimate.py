"""With which parameters a stream was made: a race between those that are known, on ever more tokens; then free ones."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from llmzip.deflate.parameters import (
    DEFAULT, FILTERED, FIRST_OF_GZIP, FIXED_CODES, HUFFMAN, LEVELS, MEMORIES, PRESETS, RUNS, Head, Parameters,
    with_memory, with_window,
)  # fmt: skip
from llmzip.deflate.state import State

if TYPE_CHECKING:
    from llmzip.deflate.fused import Stream

STAGES = (500, 4000, 24000)  # tokens


def guess(stream: "Stream", most: int, before: State | None) -> Iterator[bytes]:
    """Recipes for it, the smallest first, none longer than `most`."""

    def head(parameters: Parameters, *, exact: bool, tail: bool = False) -> bytes:
        continued = before is not None
        lead, reach = (before.lead, before.reach) if before else (1, 0)
        return Head(parameters, exact, stream.last, tail, continued, lead, reach).record()

    candidates = _candidates(stream)
    if before and before.parameters:
        candidates = [before.parameters, *(each for each in candidates if each != before.parameters)]
    tail = _has_tail(stream)
    for parameters in candidates:  # most are given up after a few tokens
        if stream.is_exact(parameters, tail=tail):
            yield head(parameters, exact=True, tail=tail)
            return
    ranked = [(0, parameters) for parameters in candidates]
    for n_tokens in STAGES:
        ranked = _race(stream, [parameters for missed, parameters in ranked if missed <= ranked[0][0] * 9 // 8 + 1], n_tokens)
    parameters = ranked[0][1]
    recipe = head(parameters, exact=False)
    corrections = stream.corrections(parameters, max(0, most - len(recipe)))
    if corrections is not None:
        yield recipe + corrections


def _race(stream: "Stream", candidates: list[Parameters], n_tokens: int) -> list[tuple[int, Parameters]]:
    """Each with what it misses, best first; those that fall behind are not counted to the end."""
    best, ranked = 1 << 30, []
    for parameters in candidates:
        missed = stream.misses(parameters, n_tokens, best + best // 4 + 3)
        best = min(best, missed)
        ranked.append((missed, parameters))
    return sorted(ranked, key=lambda each: each[0])


def _candidates(stream: "Stream") -> list[Parameters]:
    """What may have made it by its tokens and blocks, the likely first."""
    distances = stream.tokens >> 9 & 0xFFFF
    lengths = (stream.tokens & 511)[distances > 0]
    farthest = int(distances.max(initial=0))
    memories, gzip = _memories(stream)
    if farthest <= 1:
        strategies = [HUFFMAN, RUNS] if farthest == 0 else [RUNS]
        few = [with_memory(LEVELS[5], memory)._replace(strategy=strategy) for memory in memories for strategy in strategies]
    else:
        few = []
    levels = [LEVELS[i - 1] for i in (6, 9, 8, 7, 5, 4, 3, 2, 1, 10, 11, 12)]
    found = few + [with_memory(level, memory) for memory in memories for level in levels]
    if gzip:
        found += [PRESETS[FIRST_OF_GZIP + i - 1] for i in (6, 9, 8, 7, 5, 4, 3, 2, 1)]
    fitting = [bits for bits in range(9, 15) if farthest <= (1 << bits) - 262]
    if fitting and farthest > 1 and len(stream.plain) > 4 << fitting[0]:
        found += [with_window(each, fitting[0]) for each in found if not each.rule]
    if len(lengths) and lengths.min() > 5:
        found += [each._replace(strategy=FILTERED) for each in found if not each.fast and not each.rule and each.strategy == DEFAULT]
    if not (stream.blocks["type"] == 2).any() and len(stream.blocks) > 1:
        found += [each._replace(strategy=FIXED_CODES) for each in found if not each.rule and each.strategy == DEFAULT]
    return found


def _memories(stream: "Stream") -> tuple[list[int], bool]:
    """Memory levels, and whether it may be gzip, by how many tokens blocks have that are not the last before something else."""
    counts = stream.blocks["n_tokens"][stream.blocks["type"] > 0]
    most = int(counts.max(initial=0))
    known = [memory for memory in MEMORIES if most == (1 << memory + 6) - 1 and len(counts) > 1]
    if known:
        return known, known == [9]
    inner = counts[:-1]
    gzip = len(inner) == 0 or bool(((inner == 32767) | (inner % 4096 == 0)).all())
    return [memory for memory in (8, 9) if most < 1 << memory + 6], gzip and most <= 32767


def _has_tail(stream: "Stream") -> bool:
    """Whether it ends with a flush, as Microsoft Office does it."""
    if len(stream.blocks) < 2 or not stream.last:
        return False
    (type_1, type_2), (length_1, length_2) = (stream.blocks[name][-2:].tolist() for name in ("type", "length"))
    return (type_1, type_2, length_1, length_2) == (0, 1, 0, 0)
