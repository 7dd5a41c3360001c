"""`llmzip decompress` and `llmzip test` for one file."""

import io
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial

from llmzip.api import get_info
from llmzip.cli import fileio
from llmzip.cli.ahead import Ahead
from llmzip.cli.display import Display, ProgressLine, printable
from llmzip.cli.jobs import ERROR, WARNING, each_coded, report
from llmzip.cli.outputs import OutputPolicy
from llmzip.damage import Damage, salvage
from llmzip.errors import LimitExceeded, LlmzipError, ModelError
from llmzip.limits import UNLIMITED, Limits
from llmzip.models.source import ModelSource
from llmzip.stream import MemberReader
from llmzip.stream.progress import Progress

# bytes of a file and of its content, up to which it is decoded beside others: of one group
_SMALL_FILE = _SMALL_CONTENT = 1 << 24


@dataclass(frozen=True)
class Reading:
    """How files are decoded."""

    model: ModelSource
    ignore_engine: bool = False
    limits: Limits = field(default=UNLIMITED)

    def reader(
        self,
        read: Callable[[int], bytes],
        *,
        side_by_side: bool,
        line: Progress | None,
        is_here: Callable[[], bool] = lambda: True,
    ) -> MemberReader:
        """The content of what `read` gives. See `MemberReader`."""
        return MemberReader(
            read,
            self.model,
            ignore_engine=self.ignore_engine,
            limits=self.limits,
            progress=line,
            side_by_side=side_by_side,
            is_here=is_here,
        )

    def ahead(self, names: list[str], is_wanted: Callable[[str], bool]) -> Ahead[bytes]:
        """Small files, decoded beside the one whose turn it is; not where all memory that may be taken is for one."""
        names = names if self.limits.memory is None else []
        return Ahead(names, self.model, self._content, is_wanted, _SMALL_FILE)

    def _content(self, model: ModelSource, coded: bytes, progress: Progress) -> bytes:
        """All of a file, which may not be much: it is held until its turn comes."""
        Limits(max_size=_SMALL_CONTENT).check_size(get_info(coded).n_bytes)
        beside = replace(self, model=model)
        return beside.reader(io.BytesIO(coded).read, side_by_side=False, line=progress).read()

    def decode(
        self, source: fileio.Source, output: fileio.Output, line: ProgressLine, ahead: Ahead[bytes] | None = None
    ) -> None:
        """All of a file: block by block, as soon as each is whole and checked."""
        if ahead is not None and (content := ahead.take(source, line)) is not None:
            assert source.size is not None
            output.write(content)
            line.finish(source.size, len(content))
            return
        line.status("reading")
        if line.shown:
            line.expect(content_size(source))
        reader = self.reader(source.read, side_by_side=True, line=line, is_here=source.is_here)
        while piece := reader.read1(fileio.READ_SIZE):
            output.write(piece)
        line.finish(reader.n_in, reader.n_out)

    def salvage(self, source: fileio.Source, output: fileio.Output, line: ProgressLine) -> list[Damage]:
        """What is whole of a file, and what is not."""
        line.status("reading")
        damages: list[Damage] = []
        n_out = 0
        file = source.random_access()
        for piece in salvage(file, self.model, ignore_engine=self.ignore_engine, limits=self.limits):
            if isinstance(piece, Damage):
                damages.append(piece)
                continue
            output.write(piece)
            n_out += len(piece)
            line(0, n_out)
        line.finish(file.seek(0, io.SEEK_END), n_out)
        return damages


def damage_text(damage: Damage) -> str:
    """What is wrong with which bytes."""
    content = "unknown bytes"
    if damage.content_start is not None:
        end = "on" if damage.content_end is None else f"to {damage.content_end}"
        content = f"bytes {damage.content_start} {end}"
    return f"{damage.error} (bytes {damage.file_start} to {damage.file_end} of the file; {content} of its content)"


@dataclass(frozen=True)
class DecompressFile:
    """`llmzip decompress` for one file."""

    display: Display
    reading: Reading
    policy: OutputPolicy
    salvage: bool

    def each(self, names: list[str]) -> int:
        def is_wanted(name: str) -> bool:
            return not self.salvage and self.policy.expects(name, fileio.plain_name)

        with closing(self.reading.ahead(names, is_wanted)) as ahead:
            return each_coded(names, self.display, partial(self._one, ahead))

    def _one(self, ahead: Ahead[bytes], name: str) -> int:
        fileio.refuse_terminal_input(name)
        damages: list[Damage] = []
        with (
            self.policy.open_source(name) as source,
            self.policy.open_output(source, fileio.plain_name, self.display) as output,
        ):
            with self.display.progress(fileio.shown(name, "-"), source.size, decoding=True) as line:
                if self.salvage:
                    damages = self._salvage(source, output, line)
                else:
                    self.reading.decode(source, output, line, ahead)
                refused = output.complete(source.like)
                if self.policy.remove:
                    output.check_written()
                output.publish()
                report(self.display, line)
            code = self.policy.settle(source, output, refused, self.display)
        return WARNING if damages else code

    def _salvage(self, source: fileio.Source, output: fileio.Output, line: ProgressLine) -> list[Damage]:
        damages = self.reading.salvage(source, output, line)
        for damage in damages:
            self.display.warning(printable(damage_text(damage)), name=fileio.shown(source.name, "standard input"))
        if damages and not line.n_content:
            raise LlmzipError("nothing of it is whole")
        return damages


@dataclass(frozen=True)
class CheckFile:
    """`llmzip test` for one file."""

    display: Display
    reading: Reading

    def each(self, names: list[str]) -> int:
        with closing(self.reading.ahead(names, lambda name: True)) as ahead:
            return each_coded(names, self.display, partial(self._one, ahead))

    def _one(self, ahead: Ahead[bytes], name: str) -> int:
        fileio.refuse_terminal_input(name)
        with fileio.open_source(name) as source:
            with self.display.progress(fileio.shown(name, "-"), source.size, decoding=True) as line:
                try:
                    self.reading.decode(source, fileio.Output(), line, ahead)
                except (LimitExceeded, ModelError):
                    raise
                except LlmzipError as error:
                    return self._report_damage(source, line, error)
                line.done()
        if self.display.verbose:
            self.display.result(f"{printable(fileio.shown(name, '-'))}: ok")
        return 0

    def _report_damage(self, source: fileio.Source, line: ProgressLine, error: LlmzipError) -> int:
        """Where it is damaged, as far as it can be read a second time."""
        damages = []
        if source.seekable():
            source.restart()
            damages = self.reading.salvage(source, fileio.Output(), line)
        if not damages:
            raise error
        for damage in damages:
            self.display.error(printable(damage_text(damage)), name=source.name)
        return ERROR


def content_size(source: fileio.Source) -> int | None:
    """What the headers say, where they can be read ahead; whether they are right is found on the way."""
    if not source.seekable():
        return None
    try:
        return get_info(source.file).n_bytes
    except LlmzipError:
        return None
    finally:
        source.restart()
