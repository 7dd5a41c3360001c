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
from types import TracebackType
from typing import Protocol, Self

from llmzip.errors import LlmzipError

_REDRAW_SECONDS = 0.1
_ARROWS = str.maketrans({"→": "->", "…": "~"})


class Sizes(Protocol):
    """Told after every piece of work: bytes read and bytes written so far, of the whole file."""

    def __call__(self, n_bytes_in: int, n_bytes_out: int, /) -> None: ...


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


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: Sequence[int] = (0,)) -> Iterator[str]:
    """Lines of columns that line up: numbers to the right, `text_columns` to the left."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    for line in lines:
        cells = [c.ljust(w) if i in text_columns else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))]
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
        self._line: ProgressLine | None = None

    def result(self, line: str) -> None:
        """One line on stdout."""
        if sys.stdout is None:
            raise OSError("standard output is closed")
        print(line)

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
            self.error("out of memory", name=name, hint="fewer --lanes or a smaller --window need less")
        else:
            self.error(printable(str(error)), name=name)

    def ask(self, question: str) -> bool:
        """Yes or no. No, unless there is a person at both ends."""
        if not (on_terminal(sys.stdin) and on_terminal(sys.stderr)):
            return False
        self._write(f"llmzip: {question} [y/N] ")
        return sys.stdin.readline().strip().lower() in ("y", "yes")

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
        with contextlib.suppress(BrokenPipeError):
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
    """`name  42%  1.2 MiB → 131 KiB  0.86 bits/byte  1.9 KB/s  00:31`: the last is the time left, at the end the time taken."""

    def __init__(self, name: str, total_in: int | None, *, decoding: bool, write: Callable[[str], None] | None) -> None:
        self._name = name
        self._total_in = total_in
        self._decoding = decoding
        self._write = write
        self._started = self._drawn = time.monotonic()
        self._width = 0
        self._n_in = self._n_out = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end()

    def status(self, what: str) -> None:
        """A word on what is going on before the first byte."""
        self._draw(f"{self._name}  {what}")

    def restart(self) -> None:
        """Work begins now: what came before (loading a model) says nothing about the speed."""
        self._started = time.monotonic()

    def __call__(self, n_bytes_in: int, n_bytes_out: int, /) -> None:
        self._n_in, self._n_out = n_bytes_in, n_bytes_out
        now = time.monotonic()
        if self._write is not None and now - self._drawn >= _REDRAW_SECONDS:
            self._draw(self.text())
            self._drawn = now

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
        seconds = max(time.monotonic() - self._started, 1e-3)
        coded, content = (self._n_in, self._n_out) if self._decoding else (self._n_out, self._n_in)
        parts = [self._name, f"{size_text(self._n_in)} → {size_text(self._n_out)}", f"{rate_text(coded, content)} bits/byte",
                 speed_text(content / seconds)]
        if finished:
            parts.append(duration_text(seconds))
        elif self._total_in:
            done = min(1.0, self._n_in / self._total_in)
            parts.insert(1, f"{100 * done:.0f}%")
            parts.append(duration_text(seconds / done - seconds) if done else "--:--")
        return "  ".join(parts)

    def _draw(self, text: str) -> None:
        if self._write is None:
            return
        columns = shutil.get_terminal_size().columns - 1
        if len(text) > columns:  # a wrapped line cannot be taken back: the name gives way, its end last
            over = len(text) - columns + 1
            text = "…" + text[over:] if over < len(self._name) else text[:columns]
        self._write("\r" + text + " " * max(0, self._width - len(text)))
        self._width = len(text)


def lines(display: Display, texts: Iterable[str]) -> None:
    """Several lines on stdout."""
    for text in texts:
        display.result(text)
