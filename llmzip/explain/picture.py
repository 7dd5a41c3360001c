"""The beginning of a text in the colors of its surprise, and what was expected at its greatest, as a picture (SVG)."""

import unicodedata
from collections.abc import Iterator
from html import escape

from llmzip import plot
from llmzip.explain.account import Explanation, Stretch
from llmzip.explain.watching import UNIT_BITS

LEVELS = (1, 2, 4, 6, 9, 12, 16)  # bits from which a piece has the next color, as on the page
LABELS = ("under 1", "1", "2", "4", "6", "9", "12", "16 bits and more")
_COLUMNS, _ROWS = 76, 7  # of text
_WIDTH, _LINE, _LEFT = 9.0, 26.0, 20.0  # of a character, of a row, and the margin
_STYLE = """
  .mono { font: 15px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
  .b0 { fill: none; } .b1 { fill: #fff6d2; } .b2 { fill: #fee79b; } .b3 { fill: #feca5b; }
  .b4 { fill: #fda437; } .b5 { fill: #e4761d; } .b6 { fill: #b34708; } .b7 { fill: #6b2204; }
  .f6, .f7 { fill: #ffffff; } .bar { fill: #0b5cad; }
  @media (prefers-color-scheme: dark) {
    .b1 { fill: #2c2512; } .b2 { fill: #473513; } .b3 { fill: #6b4a11; }
    .b4 { fill: #8f5f10; } .b5 { fill: #c8861e; } .b6 { fill: #f2b442; } .b7 { fill: #ffe394; }
    .f3, .f4 { fill: #ffffff; } .f5, .f6, .f7 { fill: #131517; } .bar { fill: #7db9f0; }
  }
"""


def picture(found: Explanation) -> str:
    by_byte = f": {8 * found.n_on_disk / found.n_bytes:.2f} bits per byte" if found.n_bytes else ""
    parts = [plot.text(_LEFT, 30, f"{found.n_bytes} bytes in {found.n_on_disk}{by_byte}", kind="title"), *_legend(700)]
    y = 52.0
    if found.stretches:
        rows, shown = _rows(found.stretches[0])
        parts += rows
        y += _LINE * (1 + max((row for row, _ in shown), default=0)) + 12
        if found.surprises and found.surprises[0].stretch == 0:
            parts += _expected(found, y)
            y += 150
    return plot.svg(724, round(y), "A text, each piece colored by the bits that it cost", parts, _STYLE)


def level(cost: int) -> int:
    return sum(cost / (1 << UNIT_BITS) >= limit for limit in LEVELS)


def _legend(right: float) -> Iterator[str]:
    x = right
    for i, label in reversed(list(enumerate(LABELS))):
        width = 14 + 7 * len(label)
        x -= width
        yield f'<rect class="b{i}" x="{x:.0f}" y="16" width="{width}" height="20"/>'
        yield plot.text(x + width / 2, 31, label, "middle", f"f{i}")


def _rows(stretch: Stretch) -> tuple[list[str], list[tuple[int, int]]]:
    """Rows of pieces, each its own box, and where each piece stands (row, column)."""
    parts: list[str] = []
    places: list[tuple[int, int]] = []
    row = column = start = 0
    for length, cost in zip(stretch.pieces.lengths.tolist(), stretch.pieces.costs.tolist(), strict=True):
        piece = _shown(stretch.data[start : start + length])
        start += length
        if column + len(piece) > _COLUMNS and piece != "↵":
            row, column = row + 1, 0
        if row == _ROWS:
            break
        places.append((row, column))
        parts += _piece(piece, row, column, level(cost))
        column += len(piece)
        if piece.endswith("↵"):
            row, column = row + 1, 0
    return parts, places


def _piece(piece: str, row: int, column: int, of: int) -> Iterator[str]:
    x, y, width = _LEFT + column * _WIDTH, 52 + row * _LINE, len(piece) * _WIDTH
    yield f'<rect class="b{of}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_LINE - 2:.1f}"/>'
    words = escape(piece).replace(" ", "\N{NO-BREAK SPACE}")
    yield f'<text class="mono f{of}" x="{x:.1f}" y="{y + 17:.1f}" textLength="{width:.1f}">{words}</text>'


def _expected(found: Explanation, y: float) -> Iterator[str]:
    surprise = found.surprises[0]
    stretch = found.stretches[0]
    pieces, end = stretch.pieces, surprise.start + int(stretch.pieces.lengths[surprise.piece])
    name, bits = _shown(stretch.data[surprise.start : end]).strip(), surprise.cost / (1 << UNIT_BITS)
    yield plot.text(_LEFT, y + 8, f"Where “{name}” came, for {bits:.1f} bits, the model had expected")
    chosen = zip(pieces.likely[surprise.piece].tolist(), pieces.chances[surprise.piece].tolist(), strict=True)
    for i, (number, chance) in enumerate(chosen):
        at = y + 34 + 21 * i
        yield plot.text(_LEFT + 110, at, _shown(stretch.names[number]).replace(" ", "␣"), "end", "mono")
        yield f'<rect class="bar" x="{_LEFT + 124:.0f}" y="{at - 11:.0f}" width="{1 + 460 * chance:.1f}" height="12"/>'
        yield plot.text(_LEFT + 134 + 460 * chance, at, f"{100 * chance:.1f} %", kind="soft")


def _shown(data: bytes) -> str:
    text = data.decode("utf-8", "replace").replace("\n", "↵")
    return "".join("·" if unicodedata.category(c)[0] == "C" or c == "\ufffd" else c for c in text)
