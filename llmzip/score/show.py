"""Scores as a record, as lines and as a chart."""

from collections.abc import Iterator
from typing import Any

from llmzip import plot
from llmzip.score.compare import Comparison, Mean, comparisons, mean_of
from llmzip.score.measure import BLOCK_SIZE, Score

HEADER = ["text", "model", "bytes", "tokens", "bits/byte", "95 %", "model alone", "95 %", "harness", "seconds"]


def record(scores: list[Score]) -> dict[str, Any]:
    return {
        "version": 1,
        "block_bytes": BLOCK_SIZE,
        "scores": [_score(each) for each in scores],
        "comparisons": [_comparison(each) for each in comparisons(scores)],
    }


def _score(score: Score) -> dict[str, Any]:
    return {
        "text": score.text,
        "model": score.model,
        "bytes": score.n_bytes,
        "tokens": score.n_tokens,
        "blocks": len(score.coded),
        "coded": _mean(mean_of(score.coded, score.sizes)),
        "alone": _mean(mean_of(score.alone, score.sizes)),
        "harness": None if score.harness is None else round(score.harness / score.n_bytes, 5),
        "seconds": round(score.seconds, 3),
    }


def _mean(mean: Mean) -> dict[str, float | None]:
    return {
        "bits_per_byte": round(mean.value, 5),
        "low": None if mean.low is None else round(mean.low, 5),
        "high": None if mean.high is None else round(mean.high, 5),
    }


def _comparison(found: Comparison) -> dict[str, Any]:
    return {
        "text": found.text, "first": found.first, "second": found.second,
        "coded": _mean(found.coded) | {"better": found.better(found.coded)},
        "alone": _mean(found.alone) | {"better": found.better(found.alone)},
    }  # fmt: skip


def rows(scores: list[Score]) -> list[list[str]]:
    return [list(_row(each)) for each in scores]


def _row(score: Score) -> Iterator[str]:
    yield from (score.text, score.model, str(score.n_bytes), str(score.n_tokens))
    for bits in (score.coded, score.alone):
        mean = mean_of(bits, score.sizes)
        yield f"{mean.value:.4f}"
        yield "-" if mean.low is None else f"{mean.low:.3f} to {mean.high:.3f}"
    yield "-" if score.harness is None else f"{score.harness / score.n_bytes:.4f}"
    yield f"{score.seconds:.1f}"


def sentences(scores: list[Score]) -> Iterator[str]:
    """Whether one is better, in words."""
    for found in comparisons(scores):
        where = "on all texts together" if found.text == "all" else f"on {found.text}"
        by = f"{abs(found.coded.value):.4f} bits/byte"
        if found.coded.low is None:
            yield f"{where}: {found.first} and {found.second} differ by {by}; the text is too short to say more"
        elif better := found.better(found.coded):
            yield f"{where}: {better} is better by {by} ({_interval(found.coded)})"
        else:
            yield f"{where}: {found.first} and {found.second} cannot be told apart ({_interval(found.coded)})"


def _interval(mean: Mean) -> str:
    assert mean.low is not None and mean.high is not None
    low, high = sorted((abs(mean.low), abs(mean.high))) if mean.low * mean.high > 0 else (mean.low, mean.high)
    return f"95 %: {low:.4f} to {high:.4f}"


def chart(scores: list[Score]) -> str:
    """A line for each text: with contexts and matches a filled mark and its interval, by the model alone a ring."""
    texts, names = (list(dict.fromkeys(getattr(each, name) for each in scores)) for name in ("text", "model"))
    left, right, top, step = 190, 700, 84, 20 + 18 * len(names)
    means = [(each, mean_of(each.coded, each.sizes), mean_of(each.alone, each.sizes)) for each in scores]
    axis = plot.Axis([mean.value for _, *both in means for mean in both], left, right, zero=True)
    bottom = top + step * len(texts)
    parts = [
        plot.text(16, 28, "Bits per byte: less is better", kind="title"),
        plot.text(16, 46, "filled: as compressed, with its 95 % interval; ring: the model alone", kind="soft"),
    ]
    for i, name in enumerate(names):
        parts += [plot.mark(left + 150 * i, 62, i), plot.text(left + 150 * i + 12, 66, name)]
    for tick in axis.ticks():
        parts += [
            plot.line(axis.at(tick), top - 8, axis.at(tick), bottom, "grid"),
            plot.text(axis.at(tick), bottom + 16, plot.number(tick), "middle", "soft"),
        ]
    for i, text in enumerate(texts):
        parts.append(plot.text(left - 14, top + step * (i + 0.5), text, "end"))
    for score, coded, alone in means:
        i = names.index(score.model)
        y, color = top + step * texts.index(score.text) + 14 + 18 * i, plot.COLORS[i % len(plot.COLORS)]
        if coded.low is not None and coded.high is not None:
            parts.append(
                f'<line x1="{axis.at(coded.low):.1f}" y1="{y}" x2="{axis.at(coded.high):.1f}" y2="{y}" '
                f'stroke="{color}" stroke-width="3"/>'
            )
        parts.append(
            f'<circle cx="{axis.at(alone.value):.1f}" cy="{y}" r="4.5" fill="none" stroke="{color}" stroke-width="2"/>'
        )
        parts.append(plot.mark(axis.at(coded.value), y, i))
    return plot.svg(740, bottom + 30, "Bits per byte of each model on each text", parts)
