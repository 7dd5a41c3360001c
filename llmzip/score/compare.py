"""Means of blocks with their intervals, and whether one model is better than another: by a bootstrap over blocks."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from llmzip.score.measure import Score

N_RESAMPLES = 2000
LEVEL = 0.95  # of the intervals
MIN_BLOCKS = 8  # with fewer, an interval would say nothing


@dataclass(frozen=True)
class Mean:
    """Bits by byte; `low` and `high` bound the middle 95 % of the resamples, None where there are too few blocks."""

    value: float
    low: float | None
    high: float | None


def mean_of(bits: NDArray[np.float64], sizes: NDArray[np.int64], seed: int = 0) -> Mean:
    value = float(bits.sum() / sizes.sum())
    if len(bits) < MIN_BLOCKS:
        return Mean(value, None, None)
    drawn = np.random.default_rng(seed).integers(0, len(bits), (N_RESAMPLES, len(bits)))
    found = bits[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Mean(value, float(low), float(high))


@dataclass(frozen=True)
class Comparison:
    """Of two models on the same bytes: positive where `first` needs more."""

    text: str
    first: str
    second: str
    coded: Mean  # of the differences
    alone: Mean

    def better(self, difference: Mean) -> str | None:
        """The model that needs fewer bits, if the interval leaves no doubt."""
        if difference.low is None or difference.high is None or difference.low <= 0 <= difference.high:
            return None
        return self.second if difference.value > 0 else self.first


def comparisons(scores: list[Score]) -> list[Comparison]:
    """Of each two models on each text, and on all texts together if there are several."""
    texts = list(dict.fromkeys(each.text for each in scores))
    names = list(dict.fromkeys(each.model for each in scores))
    found = []
    for first, second in combinations(names, 2):
        pairs = [(_of(scores, text, first), _of(scores, text, second)) for text in texts]
        found += [_compared(text, [pair]) for text, pair in zip(texts, pairs, strict=True)]
        if len(texts) > 1:
            found.append(_compared("all", pairs))
    return found


def _of(scores: list[Score], text: str, model: str) -> Score:
    return next(each for each in scores if (each.text, each.model) == (text, model))


def _compared(text: str, pairs: list[tuple[Score, Score]]) -> Comparison:
    sizes = np.concatenate([first.sizes for first, _ in pairs])
    coded, alone = (
        np.concatenate([getattr(first, name) - getattr(second, name) for first, second in pairs])
        for name in ("coded", "alone")
    )
    return Comparison(text, pairs[0][0].model, pairs[0][1].model, mean_of(coded, sizes), mean_of(alone, sizes))
