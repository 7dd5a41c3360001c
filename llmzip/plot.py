"""Charts as SVG, light and dark by themselves. Knows axes and marks, nothing of what they stand for."""

import math
from collections.abc import Iterable, Sequence
from html import escape

# Okabe and Ito's colors, which color-blind people tell apart; marks have shapes besides.
COLORS = ["#0072b2", "#d55e00", "#009e73", "#8a5fbf", "#b07d00", "#56b4e9", "#cc79a7", "#5b5b5b"]
STYLE = """
  text { font: 13px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1b1b1a; }
  .title { font-weight: 600; font-size: 15px; } .soft { fill: #5a5852; font-size: 12px; }
  .ground { fill: #ffffff; } .grid { stroke: #e3e0da; }
  .front { stroke: #8b8880; fill: none; stroke-width: 2; stroke-dasharray: 5 4; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e9e7e2; } .soft { fill: #aaa79e; } .ground { fill: #131517; }
    .grid { stroke: #2b2f33; } .front { stroke: #8f8c84; }
  }
"""
SHAPES = 6


def svg(width: int, height: int, label: str, inside: Iterable[str], style: str = "") -> str:
    body = "\n".join(inside)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(label)}">\n'
        f"<style>{STYLE}{style}</style>\n"
        f'<rect class="ground" width="{width}" height="{height}" rx="6"/>\n{body}\n</svg>\n'
    )


def text(x: float, y: float, what: str, anchor: str = "start", kind: str = "") -> str:
    of = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{of}>{escape(what)}</text>'


def line(x0: float, y0: float, x1: float, y1: float, kind: str) -> str:
    return f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" class="{kind}"/>'


def mark(x: float, y: float, number: int, *, large: bool = False) -> str:
    """A shape and color by number."""
    r, color = (7 if large else 5), COLORS[number % len(COLORS)]
    corners: dict[int, list[tuple[float, float]]] = {
        1: [(-r, -r), (r, -r), (r, r), (-r, r)],
        2: [(0, -1.3 * r), (1.3 * r, 0), (0, 1.3 * r), (-1.3 * r, 0)],
        3: [(0, -1.2 * r), (1.2 * r, r), (-1.2 * r, r)],
        4: [(0, 1.2 * r), (1.2 * r, -r), (-1.2 * r, -r)],
        5: [(-r, -r / 2), (r, -r / 2), (r, r / 2), (-r, r / 2)],
    }
    points = corners.get(number % SHAPES)
    if points is None:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}" fill="{color}"/>'
    return f'<polygon points="{" ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in points)}" fill="{color}"/>'


class Axis:
    """Values to places; `log`: by their logarithms."""

    def __init__(
        self, values: Sequence[float], start: float, end: float, *, log: bool = False, zero: bool = False
    ) -> None:
        self._log, self._start, self._end = log, start, end
        low, high = (min(values), max(values)) if values else (1.0, 2.0)
        if log:
            self._low, self._high = math.log10(low) - 0.15, math.log10(high) + 0.25
        else:
            room = (high - low or abs(high) or 1) * 0.08
            self._low, self._high = 0 if zero else low - room, high + room

    def at(self, value: float) -> float:
        place = math.log10(value) if self._log else value
        return self._start + (place - self._low) / (self._high - self._low) * (self._end - self._start)

    def ticks(self) -> list[float]:
        if self._log:
            found = [m * 10.0**e for e in range(math.floor(self._low), math.ceil(self._high) + 1) for m in (1, 3)]
            return [each for each in found if self._low <= math.log10(each) <= self._high]
        step = 10.0 ** math.floor(math.log10((self._high - self._low) / 4))
        step = next(
            each for each in (step, 2 * step, 2.5 * step, 5 * step, 10 * step) if (self._high - self._low) / each <= 6
        )
        return [step * i for i in range(math.ceil(self._low / step), math.floor(self._high / step) + 1)]


def number(value: float) -> str:
    """12, 0.3, 1 000: as on an axis."""
    return f"{value:,.0f}".replace(",", "\u202f") if value >= 10 or value == int(value) else f"{value:.3g}"
