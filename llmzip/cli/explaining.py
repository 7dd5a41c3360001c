"""`llmzip explain`: where the bits of a file went, as a page, a picture, JSON, or in color on a terminal."""

import codecs
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmzip.cli import fileio
from llmzip.cli.display import Display, ProgressLine, printable
from llmzip.cli.outputs import result_file
from llmzip.models.source import ModelSource
from llmzip.stream import LmzCompressor

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from llmzip.explain.account import Explanation, Stretch

_LINES = 12  # of the text that a terminal is shown
_PLACES = 10
# Of the levels of surprise, as on the page: brighter is more surprising, whoever looks at it.
_STYLES = (
    "",
    "black on #fff6d2",
    "black on #fee79b",
    "black on #feca5b",
    "black on #fda437",
    "black on #e4761d",
    "white on #b34708",
    "white on #6b2204",
)


@dataclass(frozen=True)
class Explaining:
    """`llmzip explain` for one file."""

    display: Display
    model: ModelSource
    output: str | None
    force: bool
    as_json: bool
    ignore_engine: bool = False

    def __call__(self, name: str) -> int:
        shown = fileio.shown(name, "-")
        with fileio.open_source(name) as source:
            if self.output is None:
                self._show(shown, self._explain(shown, b"".join(source.chunks())))
                return 0
            with result_file(self.output, self.display, force=self.force, source=source) as write:
                found = self._explain(shown, b"".join(source.chunks()))
                write("".join(self._written(shown, found)).encode("utf-8", "surrogatepass"))
        return 0

    def _explain(self, name: str, data: bytes) -> "Explanation":
        """Of an .lmz file as it is, by its name or its headers; of anything else, of what compressing it makes."""
        from llmzip.explain import explain, is_packed

        content = None
        if not name.endswith(fileio.SUFFIX) and not is_packed(data):
            with self.display.progress(f"{name}  compressing", len(data), decoding=False) as line:
                content, data = data, self._compressed(data, line)
        with self.display.progress(
            f"{name}  explaining", len(data) if content is None else len(content), decoding=False
        ) as line:
            return explain(
                data,
                self.model,
                content=content,
                ignore_engine=self.ignore_engine,
                progress=(lambda done: line(done, 0)) if line.shown else None,
            )

    def _compressed(self, data: bytes, line: ProgressLine) -> bytes:
        model = None
        if data:
            line.status("loading the model")
            model = self.model.to_compress()
            line.restart()
        coder = LmzCompressor(model, progress=line)
        return coder.compress(data) + coder.flush()

    def _written(self, name: str, found: "Explanation") -> Iterator[str]:
        if self.as_json:
            from llmzip.explain.record import record

            yield from json.JSONEncoder().iterencode(record(name, found))
            yield "\n"
        elif self.output is not None and self.output.endswith(".svg"):
            from llmzip.explain.picture import picture

            yield picture(found)
        else:
            from llmzip.explain.page import page

            yield page(os.path.basename(name), found)

    def _show(self, name: str, found: "Explanation") -> None:
        if self.as_json:
            for piece in self._written(name, found):
                sys.stdout.write(piece)
            return
        from rich.console import Console

        columns = min(110, shutil.get_terminal_size((100, 24)).columns)
        show(Console(file=sys.stdout, width=columns, highlight=False, soft_wrap=False), name, found)


# --- on a terminal


def show(console: "Console", name: str, found: "Explanation") -> None:
    from rich.text import Text

    by_byte = f", {8 * found.n_on_disk / found.n_bytes:.3f} bits per byte" if found.n_bytes else ""
    console.print(
        Text(
            f"{printable(name)}: {found.n_bytes} bytes of content, {found.n_on_disk} in the file{by_byte}", style="bold"
        )
    )
    if found.model:
        console.print(Text(f"model: {printable(found.model)}"))
    console.print()
    console.print(_parts_table(found))
    if not found.stretches:
        return
    console.print()
    console.print(_legend())
    console.print(_beginning(found.stretches[0], console.width))
    if found.surprises:
        console.print()
        console.print(_places_table(found))
    console.print(Text("-o PAGE.html makes a page of all of it", style="dim"))


def _parts_table(found: "Explanation") -> "Table":
    from rich.table import Table

    from llmzip.explain.account import PARTS
    from llmzip.explain.watching import BYTE

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("part")
    table.add_column("bytes", justify="right")
    table.add_column("share", justify="right")
    table.add_column("what it is", style="dim")
    for part, what in PARTS.items():
        if found.parts[part]:
            n_bytes = found.parts[part] / BYTE
            table.add_row(part, f"{n_bytes:.2f}", f"{100 * n_bytes / found.n_on_disk:.1f} %", what)
    table.add_row("all", f"{found.n_on_disk}.00", "100.0 %", "the size of the file", style="bold")
    return table


def _legend() -> "Text":
    from rich.text import Text

    from llmzip.explain.picture import LABELS

    legend = Text("a piece of: ")
    for low, style in zip(LABELS, _STYLES, strict=True):
        legend.append(f" {low} ", style=style)
    return legend


def _style(cost: int) -> str:
    from llmzip.explain.picture import level

    return _STYLES[level(cost)]


def _beginning(stretch: "Stretch", columns: int) -> "Text":
    """Pieces in color, for some lines."""
    from rich.text import Text

    text, start, lines, column = Text(), 0, 0, 0
    decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a character may be of several pieces
    for length, cost in zip(stretch.pieces.lengths.tolist(), stretch.pieces.costs.tolist(), strict=True):
        piece = _printable(decoder.decode(stretch.data[start : start + length]))
        start += length
        text.append(piece, style=_style(cost))
        for character in piece:
            column = 0 if character == "\n" else column + 1
            if column in (0, columns):
                lines, column = lines + 1, 0
        if lines >= _LINES:
            text.append(" …")
            break
    return text


def _visible(data: bytes) -> str:
    return _printable(data.decode("utf-8", "replace"))


def _printable(text: str) -> str:
    """What cannot steer a terminal; line ends stay."""
    return "".join(
        c if c.isprintable() or c == "\n" else "·" for c in text.replace("\t", "    ").replace("\ufffd", "·")
    )


def _places_table(found: "Explanation") -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=None,
        padding=(0, 2, 0, 0),
        header_style="bold",
        title="the most surprising places",
        title_justify="left",
        title_style="",
    )
    table.add_column("bits", justify="right")
    table.add_column("place", no_wrap=True)
    table.add_column("what was expected instead", no_wrap=True)
    for surprise in found.surprises[:_PLACES]:
        stretch = found.stretches[surprise.stretch]
        end, bits = surprise.start + int(stretch.pieces.lengths[surprise.piece]), surprise.cost / (1 << 24)
        place = Text(_line(stretch.data[max(0, surprise.start - 24) : surprise.start]))
        place.append(_line(stretch.data[surprise.start : end]), style=_style(surprise.cost))
        place.append(_line(stretch.data[end : end + 12]))
        table.add_row(f"{bits:.1f}", place, Text(", ".join(_expected(stretch, surprise.piece))))
    return table


def _line(data: bytes) -> str:
    return _visible(data).replace("\n", "↵")


def _expected(stretch: "Stretch", piece: int) -> Iterator[str]:
    is_token = stretch.pieces.alone[piece] == stretch.pieces.alone[piece]  # no NaN
    found: Any = zip(stretch.pieces.likely[piece].tolist(), stretch.pieces.chances[piece].tolist(), strict=True)
    for number, chance in list(found)[:3]:
        if number >= 0 and chance >= 0.001:
            name = stretch.names[number]
            ends = (
                _line(name) if is_token else " to ".join(dict.fromkeys(f"{byte:02x}" for byte in (name[0], name[-1])))
            )
            yield f"{ends!r} {100 * chance:.0f} %" if is_token else f"{ends} {100 * chance:.0f} %"
