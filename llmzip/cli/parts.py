"""`compress --part` and `join`: a file in parts, each by a worker of its own, and the parts as one file."""

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from functools import partial
from typing import BinaryIO

from llmzip import parts
from llmzip.cli import fileio
from llmzip.cli.decompressing import Reading
from llmzip.cli.display import Display, ProgressLine
from llmzip.cli.fileio.opening import refuse_as_output
from llmzip.cli.jobs import one_file
from llmzip.cli.outputs import OutputPolicy
from llmzip.errors import LlmzipError

_OF = re.compile(r"\.(\d+)-of-(\d+)\.\w+$")


def parse_part(text: str) -> tuple[int, int]:
    """K/N."""
    number, slash, count = text.partition("/")
    if not (
        slash and number.isascii() and number.isdecimal() and count.isascii() and count.isdecimal() and len(count) < 10
    ):
        raise ValueError(f"{text!r} is not a part like 2/7")
    if not 1 <= int(number) <= int(count):
        raise ValueError(f"{text!r}: there is no such part")
    return int(number), int(count)


def part_name(name: str, number: int, count: int, suffix: str) -> str:
    """In the order of the parts, as a shell sorts them."""
    return f"{name}.{number:0{len(str(count))}}-of-{count}{suffix}"


class PartSource(fileio.Source):
    """A stretch of a regular file."""

    def __init__(self, name: str, file: BinaryIO, number: int, count: int, group_size: int) -> None:
        super().__init__(name, file)
        if self.like is None or self.status is None:
            raise fileio.Refused("--part takes regular files, and this is none")
        self._start, end = parts.cut(self.status.st_size, number, count, group_size)
        self.size = end - self._start
        self.restart()

    def restart(self) -> None:
        assert self.size is not None
        self.file.seek(self._start)
        self._left = self.size


@dataclass(frozen=True)
class PartPolicy(OutputPolicy):
    """As another, but of one part of each file."""

    number: int
    count: int
    group_size: int

    @classmethod
    def of(cls, policy: OutputPolicy, part: tuple[int, int], group_size: int) -> "PartPolicy":
        given = {field.name: getattr(policy, field.name) for field in fields(OutputPolicy)}
        return cls(**given, number=part[0], count=part[1], group_size=group_size)

    def expects(self, name: str, derive: Callable[[str, str], str]) -> bool:
        return False  # of the whole file

    def open_source(self, name: str) -> fileio.Source:
        if name == fileio.STDIO:
            raise fileio.Refused("--part needs a file, whose size is known")
        whole = super().open_source(name)
        try:
            return PartSource(name, whole.file, self.number, self.count, self.group_size)
        except BaseException:
            whole.close()
            raise

    def open_output(self, source: fileio.Source, derive: Callable[[str, str], str], display: Display) -> fileio.Output:
        def part_of(name: str, suffix: str) -> str:
            return part_name(name, self.number, self.count, suffix)

        return super().open_output(source, derive if self.output is not None else part_of, display)


@dataclass(frozen=True)
class JoinParts:
    """`llmzip join`."""

    display: Display
    reading: Reading
    policy: OutputPolicy
    one_index: bool
    original: str | None  # a file to compare the content with

    def __call__(self, names: Sequence[str]) -> int:
        return one_file(self.policy.output or fileio.STDIO, self.display, lambda _: self._join(names))

    def _join(self, names: Sequence[str]) -> int:
        _check_names(names)
        with ExitStack() as stack:
            sources = [stack.enter_context(fileio.open_source(name)) for name in names]
            original = stack.enter_context(fileio.open_source(self.original)) if self.original is not None else None
            refuse_as_output([*sources, original] if original is not None else sources, self.policy.output)
            output = stack.enter_context(self.policy.open_output(sources[0], fileio.compressed_name, self.display))
            files = [source.random_access() for source in sources]
            line = stack.enter_context(
                self.display.progress("joining", sum(source.size or 0 for source in sources), decoding=True)
            )
            read = None if original is None else partial(_all_of, original.read)
            if self.one_index:
                parts.merge(files, output.write, read or _decoded(files, self.reading, line))
            else:
                parts.concatenate(files, output.write, read)
            output.complete(None)
            output.publish()
        return 0


def _all_of(read: parts.Read, n: int) -> bytes:
    """So many bytes from what may give fewer at a time."""
    pieces = []
    while n and (piece := read(n)):
        pieces.append(piece)
        n -= len(piece)
    return b"".join(pieces)


def _decoded(files: Sequence[BinaryIO], reading: Reading, line: ProgressLine) -> parts.Read:
    """The content of all files, decoded: a place of its own in each, beside that of those who read the blocks."""
    rest = [(file, 0) for file in files]

    def coded(n: int) -> bytes:
        while rest:
            file, at = rest[0]
            file.seek(at)
            if data := file.read(n):
                rest[0] = file, at + len(data)
                return data
            del rest[0]
        return b""

    return reading.reader(coded, side_by_side=True, line=line).read


def _check_names(names: Sequence[str]) -> None:
    """Parts that were named by `compress --part` must be all there, in their order."""
    found = [match.groups() for name in names if (match := _OF.search(name))]
    if len(found) < len(names):
        return
    counts = {int(count) for _, count in found}
    numbers = [int(number) for number, _ in found]
    if len(counts) > 1 or numbers != list(range(1, counts.pop() + 1)):
        raise LlmzipError(
            "these are not all parts of one file, in their order: " + ", ".join("/".join(one) for one in found),
            hint="name FILE.1-of-N.lmz to FILE.N-of-N.lmz, each once",
        )
