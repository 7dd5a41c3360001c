"""What the command line shows: messages, the progress line and tables.

Messages, questions and progress go to stderr, results to stdout. Knows nothing of files, models or typer.
"""

import contextlib
import io
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from unicodedata import category, combining, east_asian_width

from llmzip.errors import LlmzipError

if TYPE_CHECKING:
    from llmzip.api import BlockInfo, Info
    from llmzip.models.registry import ModelInfo

_REDRAW_SECONDS = 0.1
_ARROWS = str.maketrans({"→": "->", "…": "~"})


# --- values as text


def size_text(n_bytes: float) -> str:
    """812 B, 1.2 KiB, 131 KiB: three digits at most."""
    if n_bytes < 1024:
        return f"{n_bytes:.0f} B"
    value = float(n_bytes)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= 1024
        # 9.95 and 999.5 are where the rounding would add a digit
        if value < 9.95:
            return f"{value:.1f} {unit}"
        if value < 999.5:
            return f"{value:.0f} {unit}"
    return f"{value:.0f} {unit}"


def speed_text(bytes_per_second: float) -> str:
    """1.9 KB/s: speeds are decimal, as everywhere."""
    value, unit = bytes_per_second, "B/s"
    for larger in ("KB/s", "MB/s", "GB/s"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B/s" else f"{value:.1f} {unit}"


def duration_text(seconds: float) -> str:
    """00:31, 1:02:03."""
    minutes, second = divmod(max(0, round(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute:02}:{second:02}"


def rate_text(n_bytes_coded: int, n_bytes_content: int) -> str:
    """Bits of file for each byte of content."""
    return f"{8 * n_bytes_coded / n_bytes_content:.2f}" if n_bytes_content else "-"


def ratio_text(n_bytes_coded: int, n_bytes_content: int) -> str:
    """How many times smaller the file is than its content."""
    return f"{n_bytes_content / n_bytes_coded:.2f}" if n_bytes_coded else "-"


def printable(text: str) -> str:
    """A file name or a note can hold anything; a terminal must not be steered by it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def width(text: str) -> int:
    """Columns on a terminal: East Asian characters take two, marks that combine none."""
    return sum(
        0 if combining(c) or category(c) in ("Me", "Cf") else 2 if east_asian_width(c) in "WF" else 1 for c in text
    )


def _first_columns(text: str, columns: int) -> str:
    while width(text) > columns:
        text = text[:-1]
    return text


def _last_columns(text: str, columns: int) -> str:
    while text and width(text) > columns:
        text = text[1:]
    return text


def _pad(text: str, columns: int, *, left: bool) -> str:
    space = " " * (columns - width(text))
    return text + space if left else space + text


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: Sequence[int] = (0,)) -> Iterator[str]:
    """Lines of columns that line up: numbers to the right, `text_columns` to the left."""
    lines = [header, *rows]
    widths = [max(width(line[i]) for line in lines) for i in range(len(header))]
    for line in lines:
        cells = [_pad(c, w, left=i in text_columns) for i, (c, w) in enumerate(zip(line, widths, strict=True))]
        yield "  ".join(cells).rstrip()


# --- streams


def prepare_streams() -> None:
    """A file name that is not UTF-8 is escaped, never an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def on_terminal(stream: io.TextIOBase | object | None) -> bool:
    """Whether a standard stream is a terminal; a closed one is not."""
    isatty: Callable[[], bool] | None = getattr(stream, "isatty", None)
    try:
        return isatty is not None and isatty()
    except ValueError:  # closed
        return False


class Display:
    """Messages at the verbosity that was asked for. `quiet` twice mutes errors too; exit codes stay."""

    def __init__(self, *, quiet: int = 0, verbose: int = 0) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self.told_of_kernels = False  # that there are none: once is enough
        self._line: ProgressLine | None = None

    def result(self, line: str) -> None:
        """One line on stdout."""
        if sys.stdout is None:
            raise OSError("standard output is closed")
        print(line)

    def results(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.result(line)

    def error(self, what: str, *, name: str = "", hint: str = "") -> None:
        if self.quiet < 2:
            self._message(what, name, hint)

    def warning(self, what: str, *, name: str = "", hint: str = "") -> None:
        if self.quiet < 1:
            self._message(what, name, hint)

    def detail(self, what: str, *, name: str = "") -> None:
        """Shown with -v only."""
        if self.verbose and not self.quiet:
            self._message(what, name, "")

    def note(self, line: str) -> None:
        """One line of a slow command that says where it is."""
        if not self.quiet:
            self._write(f"{printable(line)}\n")

    def failed(self, error: BaseException, *, name: str = "") -> None:
        """What went wrong, for any of the errors that a user can meet."""
        if isinstance(error, LlmzipError):
            self.error(printable(str(error)), name=name, hint=printable(error.hint))
        elif isinstance(error, OSError):
            self.error(_os_error_text(error, name), name=name)
        elif isinstance(error, MemoryError):
            self.error("out of memory", name=name)
        else:
            self.error(printable(str(error)), name=name)

    def ask(self, question: str) -> bool:
        """Yes or no. No, unless there is a person at both ends."""
        if not (on_terminal(sys.stdin) and on_terminal(sys.stderr)):
            return False
        self._write(f"llmzip: {question} [y/N] ")
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def may_replace(self, name: str) -> bool:
        """Whether a person says that the file of this name may be replaced."""
        return self.ask(f"{printable(name)} exists; overwrite?")

    def progress(self, name: str, total_in: int | None, *, decoding: bool) -> "ProgressLine":
        """A progress line for one file, which draws nothing unless stderr is a terminal."""
        shown = on_terminal(sys.stderr) and not self.quiet
        self._line = ProgressLine(printable(name), total_in, decoding=decoding, write=self._write if shown else None)
        return self._line

    def _message(self, what: str, name: str, hint: str) -> None:
        if self._line is not None:
            self._line.end()
        self._write(f"llmzip: {printable(name)}: {what}\n" if name else f"llmzip: {what}\n")
        if hint:
            self._write(f"llmzip: hint: {hint}\n")

    @staticmethod
    def _write(text: str) -> None:
        if sys.stderr is None:  # closed by whoever started us: nobody to tell
            return
        encoding = getattr(sys.stderr, "encoding", None) or "ascii"
        try:
            text.encode(encoding)
        except UnicodeError:
            text = text.translate(_ARROWS)
        with contextlib.suppress(OSError):  # closed or full: a message lost is no reason to lose a result
            sys.stderr.write(text)
            sys.stderr.flush()


def _os_error_text(error: OSError, name: str) -> str:
    """The system's words, with the file they are about where that is not `name` itself."""
    what = error.strerror or str(error) or type(error).__name__
    what = what[:1].lower() + what[1:] if not what[:2].isupper() else what
    other = error.filename
    if isinstance(other, (str, bytes)) and os.fsdecode(other) not in (name, ""):
        return f"{what}: {printable(os.fsdecode(other))}"
    return what


class ProgressLine:
    """`name  42%  1.2 MiB → 131 KiB  0.86 bits/byte  1.9 KB/s  00:31`: last the time left, in the end that taken.

    Bytes of a file that is being written come out after the content that they stand for; of one that is being read,
    they are counted at the end of a block. So the rate is that of the content when they were counted, and the share of
    the work that is done is that of the content.
    """

    def __init__(self, name: str, total_in: int | None, *, decoding: bool, write: Callable[[str], None] | None) -> None:
        self._name = name
        self._decoding = decoding
        self._total_coded = total_in if decoding else None
        self._total_content = None if decoding else total_in
        self._write = write
        self._started = self._drawn = self._finished = time.monotonic()
        self._width = 0
        self._content = self._coded = 0
        self._content_then = 0  # content at the time when `_coded` was counted

    @property
    def shown(self) -> bool:
        return self._write is not None

    @property
    def n_content(self) -> int:
        """Bytes of content so far."""
        return self._content

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def status(self, what: str) -> None:
        """A word on what is going on outside of coding."""
        self._draw(f"{self._name}  {what}")

    def expect(self, n_bytes_content: int | None) -> None:
        """How much content a file that is being decoded has."""
        self._total_content = n_bytes_content

    def restart(self, moment: float | None = None) -> None:
        """Work begins now, or has begun then: what came before (loading a model) says nothing about the speed."""
        self._started = time.monotonic() if moment is None else moment

    def __call__(self, n_bytes_in: int, n_bytes_out: int, /) -> None:
        content, coded = (n_bytes_out, n_bytes_in) if self._decoding else (n_bytes_in, n_bytes_out)
        self._content = content
        if coded != self._coded:
            self._coded, self._content_then = coded, content
        now = time.monotonic()
        if self._write is not None and now - self._drawn >= _REDRAW_SECONDS:
            self._draw(self.text())
            self._drawn = now

    def finish(self, n_bytes_in: int, n_bytes_out: int) -> None:
        """The sizes in the end."""
        self._content, self._coded = (n_bytes_out, n_bytes_in) if self._decoding else (n_bytes_in, n_bytes_out)
        self._content_then = self._content
        self._finished = time.monotonic()

    def done(self) -> None:
        """Leave the finished line standing."""
        if self._write is not None:
            self._draw(self.text(finished=True))
            self._write("\n")
            self._width = 0

    def end(self) -> None:
        """Take an unfinished line away."""
        if self._write is not None and self._width:
            self._write("\r" + " " * self._width + "\r")
            self._width = 0

    def text(self, *, finished: bool = False) -> str:
        seconds = max((self._finished if finished else time.monotonic()) - self._started, 1e-3)
        total = None if finished else self._total_content
        parts = [self._name]
        if total:
            parts.append(f"{100 * min(1.0, self._content / total):.0f}%")
        parts += self._sizes(total, finished)
        parts.append(speed_text(self._content / seconds))
        if finished:
            parts.append(duration_text(seconds))
        elif total:
            parts.append(duration_text(seconds * (total / self._content - 1)) if self._content else "--:--")
        return "  ".join(parts)

    def _sizes(self, total: int | None, finished: bool) -> list[str]:
        """In, out and the rate, as far as they are known."""
        coded, content = self._coded, self._content_then
        if self._decoding and not finished:  # the decoder has read a block long before it has its content
            coded, content = self._total_coded or 0, total or 0
        content_text = size_text(self._content)
        if not finished and not (content and coded):
            return [content_text]
        if self._decoding:
            return [f"{size_text(coded)} → {content_text}", f"{rate_text(coded, content)} bits/byte"]
        return [f"{content_text} → {size_text(coded)}", f"{rate_text(coded, content)} bits/byte"]

    def _draw(self, text: str) -> None:
        if self._write is None:
            return
        columns = shutil.get_terminal_size().columns - 1
        if width(text) > columns:  # a wrapped line cannot be taken back: the name gives way, its end last
            rest = text.removeprefix(self._name)
            text = "…" + _last_columns(self._name, columns - 1 - width(rest)) + rest
            text = text if width(text) <= columns else _first_columns(text, columns)
        self._write("\r" + text + " " * max(0, self._width - width(text)))
        self._width = width(text)


# --- files and models as tables


def info_record(name: str, info: "Info") -> dict[str, Any]:
    """For --json: exact numbers under the names of the Python API."""
    return {
        "file": name,
        "ratio": round(info.n_bytes / info.n_bytes_on_disk, 4),
        "bits_per_byte": round(8 * info.n_bytes_on_disk / info.n_bytes, 4) if info.n_bytes else None,
        **asdict(info),
        "groups": [asdict(group) for group in info.groups],
    }


def info_lines(found: list[tuple[str, "Info"]], *, verbose: bool) -> Iterator[str]:
    """One line a file; below it what is bound to one engine, and with -v its blocks."""
    header = ["file", "content", "size", "ratio", "bits/byte", "model", "lanes", "blocks"]
    rows = [[printable(name), *_info_cells(info)] for name, info in found]
    if len(found) > 1:
        content, size = (sum(sizes) for sizes in zip(*((i.n_bytes, i.n_bytes_on_disk) for _, i in found), strict=True))
        rows.append(
            [
                "total",
                size_text(content),
                size_text(size),
                ratio_text(size, content),
                rate_text(size, content),
                "",
                "",
                "",
            ]
        )
    heading, *lines = table(header, rows, text_columns=(0, 5))
    yield heading
    details = [_info_details(info, verbose) for _, info in found] + [iter(())]
    for line, detail in zip(lines, details, strict=False):
        yield line
        yield from detail


def _info_cells(info: "Info") -> list[str]:
    from llmzip.models import known

    found = sorted({member.fingerprint for member in info.members if member.fingerprint})
    models = [f"{known.name_of(prefix) or 'unknown'} ({prefix})" for prefix in found]
    lanes = sorted({block.lanes for block in info.blocks if block.kind == "model"})
    return [
        size_text(info.n_bytes),
        size_text(info.n_bytes_on_disk),
        ratio_text(info.n_bytes_on_disk, info.n_bytes),
        rate_text(info.n_bytes_on_disk, info.n_bytes),
        ",".join(models) or "-",
        f"{lanes[0]}-{lanes[-1]}" if len(lanes) > 1 else str(lanes[0]) if lanes else "-",
        str(len(info.blocks)),
    ]


def _info_details(info: "Info", verbose: bool) -> Iterator[str]:
    for note in sorted({member.engine_note for member in info.members if member.engine_note}):
        yield "  bound to " + printable(", ".join(note.splitlines()))
    if verbose:
        header = [
            "member",
            "block",
            "kind",
            "content",
            "size",
            "bits/byte",
            "lanes",
            "window",
            "overlap",
            "transforms",
            "opened",
        ]
        rows = [_block_cells(i + 1, block) for member in info.members for i, block in enumerate(member.blocks)]
        yield from ("  " + line for line in table(header, rows, text_columns=(2, 9, 10)))


def _block_cells(number: int, block: "BlockInfo") -> list[str]:
    fields = (block.window, block.overlap)
    return [
        str(block.member),
        str(number) + ("*" if block.begins_group else ""),
        block.kind,
        str(block.n_bytes),
        str(block.n_bytes_on_disk),
        rate_text(block.n_bytes_on_disk, block.n_bytes),
        str(block.lanes),
        *("-" if value is None else str(value) for value in fields),
        ", ".join(block.transforms) or "-",
        _opened_text(block),
    ]


def _opened_text(block: "BlockInfo") -> str:
    """What was opened, and the bytes of the content after that."""
    if block.n_opened is None:
        return "-"
    return ", ".join(f"{n} {kind}" for kind, n in block.opened) + f": {block.n_opened}"


def models_lines(models: Iterable["ModelInfo"]) -> Iterator[str]:
    header = ["name", "parameters", "size", "license", "cached", "fingerprint", "source"]
    rows = [
        [
            printable(model.name),
            f"{model.parameters / 1e6:.1f} M",
            size_text(model.size),
            printable(model.license),
            "yes" if model.installed else "no",
            model.fingerprint[:8],
            printable(model.source),
        ]
        for model in models
    ]
    return table(header, rows, text_columns=(0, 3, 4, 5, 6))
