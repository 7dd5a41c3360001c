"""`llmzip compress` for one file. torch and numpy are imported by the first block that needs a model."""

import itertools
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from llmzip.cli import fileio
from llmzip.cli.ahead import Ahead
from llmzip.cli.display import Display, ProgressLine
from llmzip.cli.jobs import Stop, each_coded, report, warn_of_slow_kernels
from llmzip.cli.outputs import OutputPolicy
from llmzip.coding import Coding, CodingError
from llmzip.errors import LlmzipError, ModelError
from llmzip.models.source import ModelSource
from llmzip.stream import LmzCompressor, LmzDecompressor, MemberReader
from llmzip.stream.progress import Progress

Coded = tuple[bytes, list[str]]  # a file, and what is said of its blocks

_LESS_MEMORY = "fewer --lanes, a smaller --window or a smaller --block-size need less"


class Check:
    """Decodes what is written as it goes, and compares it with what it was made of: where it cannot be read back."""

    def __init__(self, model: ModelSource) -> None:
        self._decoder = LmzDecompressor(model)
        self._content = bytearray()  # that has not come back yet

    def content(self, data: bytes) -> None:
        self._content += data

    def coded(self, data: bytes) -> None:
        decoded = self._decoder.decompress(data) if data else b""
        if not self._content.startswith(decoded):
            raise LlmzipError("what was written does not decode to the source")
        del self._content[: len(decoded)]

    def finish(self) -> None:
        self._decoder.check_eof()
        if self._content:
            raise LlmzipError("what was written does not decode to all of the source")


@dataclass(frozen=True)
class CompressFile:
    """`llmzip compress` for one file."""

    display: Display
    model: ModelSource
    policy: OutputPolicy
    coding: Coding
    verify: bool  # decode and compare, as is always done before a source is removed

    def each(self, names: list[str]) -> int:
        is_wanted = partial(self.policy.expects, derive=fileio.compressed_name)
        with closing(Ahead(names, self.model, self._code, is_wanted, self.coding.group_size)) as ahead:
            return each_coded(names, self.display, partial(self._one, ahead), less_memory=_LESS_MEMORY)

    def _code(self, model: ModelSource, content: bytes, progress: Progress) -> Coded:
        said: list[str] = []
        coder = LmzCompressor(model, coding=self.coding, progress=progress, report=said.append)
        coder.hold(content)
        return coder.flush(), said

    def _one(self, ahead: Ahead[Coded], name: str) -> int:
        with (
            self.policy.open_source(name) as source,
            self.policy.open_output(source, fileio.compressed_name, self.display) as output,
        ):
            with self.display.progress(fileio.shown(name, "-"), source.size, decoding=False) as line:
                later = isinstance(output, fileio.FileOutput) and source.seekable()
                if not self._take(ahead, source, output, line):
                    self._compress(source, output, line, Check(self.model) if self.verify and not later else None)
                refused = output.complete(source.like)
                if self.verify and later:
                    self._compare(source, output, line)
                output.publish()
                report(self.display, line)
            return self.policy.settle(source, output, refused, self.display)

    def _take(self, ahead: Ahead[Coded], source: fileio.Source, output: fileio.Output, line: ProgressLine) -> bool:
        """Whether the file has been coded beside others; then it is written."""
        if not (source.size and isinstance(output, fileio.FileOutput)):
            return False
        self._load(line)
        taken = ahead.take(source, line)
        if taken is None:
            return False
        coded, said = taken
        if (report := self._report(source)) is not None:
            for what in said:
                report(what)
        output.write(coded)
        line.finish(source.size, len(coded))
        return True

    def _compress(self, source: fileio.Source, output: fileio.Output, line: ProgressLine, check: Check | None) -> None:
        chunks = source.chunks()
        first = next(chunks, b"")
        if first:
            self._load(line)
        coder = LmzCompressor(self.model, coding=self.coding, progress=line, report=self._report(source))
        n_in = n_out = 0
        try:
            batch = coder.batch_size if first and source.size is not None else 0
            n_held = 0
            for chunk in itertools.chain([first], chunks, [b""]):
                coder.hold(chunk)
                n_in, n_held = n_in + len(chunk), n_held + len(chunk)
                coded = b""
                if not chunk:
                    coded = coder.flush()
                elif n_held >= batch:
                    coded, n_held = coder.compress(b""), 0
                n_out += len(coded)
                if check is not None:
                    check.content(chunk)
                    check.coded(coded)
                output.write(coded)
                if not chunk:
                    break
        except CodingError as error:
            raise Stop from error
        if check is not None:
            check.finish()
        line.finish(n_in, n_out)

    def _report(self, source: fileio.Source) -> Callable[[str], None] | None:
        """With -v, how each block was coded and why."""
        if not self.display.verbose:
            return None
        return lambda what: self.display.detail(what, name=fileio.shown(source.name, "-"))

    def _load(self, line: ProgressLine) -> None:
        line.status("loading the model")
        try:
            self.model.to_compress()
            warn_of_slow_kernels(self.display)
        except (ModelError, OSError, ValueError) as error:
            raise Stop from error
        finally:
            line.restart()

    def _compare(self, source: fileio.Source, output: fileio.Output, line: ProgressLine) -> None:
        """What is on the disk must decode to the source."""
        assert isinstance(output, fileio.FileOutput)
        line.end()
        with self.display.progress(f"{source.name}  comparing", output.size(), decoding=True) as comparing:
            comparing.expect(source.size)
            output.restart()
            reader = MemberReader(output.read, self.model, progress=comparing, side_by_side=True)
            same = fileio.same_content(source, iter(lambda: reader.read1(fileio.READ_SIZE), b""))
        if not same:
            raise LlmzipError("what was written does not decode to the source, which is kept")
