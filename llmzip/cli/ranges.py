"""`decompress --range` and `--lines`: a stretch of the content, for which no more is decoded than it takes.

Bytes of a file with random access cost the groups that they are in, up to the last of them. No index knows lines: they
are counted from the start, and decoding ends with the last that is wanted.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

from llmzip.access import Contents
from llmzip.cli import fileio
from llmzip.cli.decompressing import Reading
from llmzip.cli.display import Display
from llmzip.cli.jobs import report
from llmzip.cli.outputs import OutputPolicy
from llmzip.errors import LlmzipError
from llmzip.stream.opening import Opener

Read1 = Callable[[int], bytes]  # at least one byte and at most so many; none at the end


def _numbers(text: str, what: str) -> tuple[int | None, int | None]:
    """A-B, A-, -B: each a number that may be missing."""
    first, dash, last = text.partition("-")
    if (
        not dash
        or not (first or last)
        or not all(n.isascii() and n.isdecimal() and len(n) < 20 for n in (first, last) if n)
    ):
        raise ValueError(f"{text!r} is not a range of {what} like 10-20 or 10-")
    numbers = int(first) if first else None, int(last) if last else None
    if numbers[0] is not None and numbers[1] is not None and numbers[1] < numbers[0]:
        raise ValueError(f"{text!r} ends before it begins")
    return numbers


@dataclass(frozen=True)
class Bytes:
    """Bytes `first` to `last` of the content, both included, from 0, as in HTTP. No `first`: so many at the end."""

    first: int | None
    last: int | None

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(*_numbers(text, "bytes"))

    def from_map(self, contents: Contents) -> Iterator[bytes]:
        """By random access."""
        if self.first is None:
            end = contents.check()
            at = max(0, end - (self.last or 0))
        else:
            at, end = self.first, 1 << 63 if self.last is None else self.last + 1
            if contents.check(at) <= at:
                raise LlmzipError(f"the content has only {contents.check(at)} bytes")
        while at < end and (piece := contents.read(at, end - at)):
            at += len(piece)
            yield piece

    def from_start(self, read1: Read1) -> Iterator[bytes]:
        """Of what can only be read in order."""
        if self.first is None:
            yield from self._at_end(read1)
            return
        at = 0
        while (self.last is None or at <= self.last) and (piece := read1(fileio.READ_SIZE)):
            here = piece[max(0, self.first - at) : None if self.last is None else self.last + 1 - at]
            at += len(piece)
            if here:
                yield here
        if at <= self.first:
            raise LlmzipError(f"the content has only {at} bytes")

    def _at_end(self, read1: Read1) -> Iterator[bytes]:
        kept, size = bytearray(), self.last or 0
        while piece := read1(fileio.READ_SIZE):
            kept += piece
            del kept[: max(0, len(kept) - size)]
        yield bytes(kept)


@dataclass(frozen=True)
class Lines:
    """Lines `first` to `last` of the content, both included, from 1. A line ends with LF, or with the content."""

    first: int
    last: int | None

    @classmethod
    def parse(cls, text: str) -> Self:
        first, last = _numbers(text, "lines")
        if not first:
            raise ValueError(f"{text!r}: the first line is 1")
        return cls(first, last)

    def from_start(self, read1: Read1) -> Iterator[bytes]:
        line, begun = 1, False  # the number of the line that the next byte is in, and whether it has others
        found = False
        while (self.last is None or line <= self.last) and (piece := read1(fileio.READ_SIZE)):
            start = _end_of(piece, self.first - line)
            end = len(piece) if self.last is None else _end_of(piece, self.last + 1 - line)
            line, begun = line + piece.count(b"\n"), not piece.endswith(b"\n")
            if start < end:
                found = True
                yield piece[start:end]
        if not found:
            raise LlmzipError(f"the content has only {line if begun else line - 1} lines")


def _end_of(piece: bytes, n_lines: int) -> int:
    """Where so many lines have ended; the end of the piece if it has fewer."""
    at = 0
    for _ in range(n_lines):
        at = piece.find(b"\n", at) + 1
        if not at:
            return len(piece)
    return at


Wanted = Bytes | Lines


@dataclass(frozen=True)
class ExtractRange:
    """The work of `--range` or `--lines` on one file."""

    display: Display
    reading: Reading
    policy: OutputPolicy
    wanted: Wanted

    def __call__(self, name: str) -> int:
        fileio.refuse_terminal_input(name)
        with (
            self.policy.open_source(name) as source,
            self.policy.open_output(source, fileio.plain_name, self.display) as output,
            self.display.progress(fileio.shown(name, "-"), source.size, decoding=True) as line,
        ):
            n_out = 0
            for piece in self._pieces(source):
                output.write(piece)
                n_out += len(piece)
                line(0, n_out)
            output.complete(None)
            output.publish()
            line.finish(source.size or 0, n_out)
            report(self.display, line)
        return 0

    def _pieces(self, source: fileio.Source) -> Iterator[bytes]:
        if isinstance(self.wanted, Bytes) and source.seekable():
            opener = Opener(self.reading.model, self.reading.ignore_engine, self.reading.limits)
            contents = Contents(source.file, source.file.tell(), opener)
            try:
                yield from self.wanted.from_map(contents)
            finally:
                contents.close()
            return
        reader = self.reading.reader(source.read, side_by_side=source.size is not None, line=None)
        yield from self.wanted.from_start(reader.read1)
