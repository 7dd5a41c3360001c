"""The work of the commands: on one file after another, and on what there is: files, models, this machine.

Knows nothing of argv, of the format or of what a model is. torch and numpy are imported by the first block that needs
a model.
"""

import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmzip.api import Info, get_info
from llmzip.cli import fileio
from llmzip.cli.display import Display, ProgressLine, info_lines, info_record, models_lines, printable
from llmzip.container import check_continuation, walk_file
from llmzip.errors import LlmzipError, ModelError
from llmzip.stream import LmzCompressor, LmzDecompressor, ModelSource

if TYPE_CHECKING:
    from llmzip.models import Model

ERROR, WARNING, INTERRUPTED = 1, 2, 130  # exit codes

Job = Callable[[], int]

# --- one file after another


class Stop(Exception):
    """An error that is not about one file, so that the next would fail too. Its cause tells."""


class Engine(StrEnum):
    exact = "exact"
    transformers = "transformers"


class TransformersSource(ModelSource):
    """A model folder, run by transformers."""

    def to_compress(self) -> "Model":
        if self._given is None or isinstance(self._given, str):
            from llmzip.models.causal import CausalModel

            assert self._given is not None
            model: Model = CausalModel(self._given, device=self._device, threads=self._threads)
            self._given = model
        return self._given


def model_source(name: str | None, engine: Engine, device: str | None, threads: int) -> ModelSource:
    """What loads each model once, when the first block of any of the files needs it."""
    kind = TransformersSource if engine is Engine.transformers else ModelSource
    return kind(name, device=device, threads=threads or None)


def model_of_level(level: int, display: Display) -> str:
    """The model of -1 to -9. Where it has not been pulled, the bundled one does it."""
    from llmzip.models import known

    name, _ = known.LEVELS[level]
    if known.is_installed(name):
        return name
    display.note(f"-{level} is for {name}, which is not installed; taking {known.DEFAULT_MODEL} (llmzip models pull {name})")
    return known.DEFAULT_MODEL


def lane_size_of_level(level: int) -> int:
    from llmzip.models import known

    return known.LEVELS[level][1]


@dataclass(frozen=True)
class Handling:
    """Where results go, and what may be done to files."""

    output: str | None  # fileio.STDIO: standard output; None: beside the source
    force: bool
    remove: bool
    suffix: str
    output_is_terminal: bool  # if it happens to be one: -o - was given

    def open_source(self, name: str) -> fileio.Source:
        explicit = self.output is not None
        links = self.force or (explicit and not self.remove)
        return fileio.open_source(name, any_kind=explicit, links=links)

    def open_output(self, source: fileio.Source, derive: Callable[[str, str], str], display: Display) -> fileio.Output:
        """The output for this source; `derive` makes a name out of the source's and the suffix."""
        output = self.output
        if output is None:
            output = fileio.STDIO if source.name == fileio.STDIO else derive(source.name, self.suffix)
        if output == fileio.STDIO:
            # Only a person who writes -f or -o - means the terminal.
            force = self.force or self.output_is_terminal
            return fileio.open_stdout(source, binary=derive is fileio.compressed_name, force=force)
        return fileio.open_output(
            output,
            source,
            force=self.force,
            may_replace=lambda name: display.ask(f"{printable(name)} exists; overwrite?"),
        )


def each_file(names: Iterable[str], display: Display, work: Callable[[str], None]) -> int:
    """Do the work on every file, whatever becomes of the others; the exit code is the worst of all."""
    codes = {0}
    for name in names:
        try:
            codes.add(one_file(name, display, work))
        except Stop as stop:
            assert stop.__cause__ is not None
            display.failed(stop.__cause__)
            return ERROR
    return ERROR if ERROR in codes else max(codes)


def one_file(name: str, display: Display, work: Callable[[str], None]) -> int:
    shown = fileio.shown(name, "standard input")
    try:
        work(name)
    except BrokenPipeError:
        raise
    except fileio.Skipped as error:
        display.warning(f"{error}, skipped", name=shown, hint=error.hint)
        return WARNING
    except (LlmzipError, OSError, MemoryError) as error:
        display.failed(error, name=shown)
        return ERROR
    except RuntimeError as error:  # torch has no class of its own for a full memory of the machine
        if "out of memory" not in str(error) and "allocate memory" not in str(error):
            raise
        display.failed(MemoryError(), name=shown)
        return ERROR
    return 0


@dataclass(frozen=True)
class Compressing:
    """`llmzip compress` for one file."""

    display: Display
    model: ModelSource
    handling: Handling
    parameters: dict[str, Any]  # of LmzCompressor

    def __call__(self, name: str) -> None:
        with (
            self.handling.open_source(name) as source,
            self.handling.open_output(source, fileio.compressed_name, self.display) as output,
        ):
            with self.display.progress(fileio.shown(name, "-"), source.size, decoding=False) as line:
                self._compress(source, output, line)
                output.complete(source.like)
                if self.handling.remove:
                    self._compare(source, output, line)
                output.publish()
                report(self.display, line, output)
            if self.handling.remove:
                fileio.delete(source)

    def _compress(self, source: fileio.Source, output: fileio.Output, line: ProgressLine) -> None:
        chunks = source.chunks()
        first = next(chunks, b"")
        coder = LmzCompressor(self._load(line) if first else None, progress=line, report=self._report(source), **self.parameters)
        n_in = n_out = 0
        try:
            for chunk in itertools.chain([first], chunks):
                coded = coder.compress(chunk)
                n_in += len(chunk)
                n_out += len(coded)
                output.write(coded)
            coded = coder.flush()
        except ValueError as error:
            if self.parameters.keys() <= {"block_size", "lane_size"}:
                raise
            raise Stop from error  # lanes, window or overlap do not fit the model
        output.write(coded)
        line.finish(n_in, n_out + len(coded))

    def _report(self, source: fileio.Source) -> Callable[[str], None] | None:
        """With -v, how each block was coded and why."""
        if not self.display.verbose:
            return None
        return lambda what: self.display.detail(what, name=fileio.shown(source.name, "-"))

    def _load(self, line: ProgressLine) -> "Model":
        line.status("loading the model")
        try:
            return self.model.to_compress()
        except (ModelError, OSError, ValueError) as error:
            raise Stop from error
        finally:
            line.restart()

    def _compare(self, source: fileio.Source, output: fileio.Output, line: ProgressLine) -> None:
        """Before the source goes: what is on the disk must decode to it."""
        assert isinstance(output, fileio.FileOutput)
        line.end()
        with self.display.progress(f"{source.name}  comparing", output.size(), decoding=True) as comparing:
            comparing.expect(source.size)
            decoding = Decoding(self.model, progress=comparing)
            same = fileio.same_content(source, decoding.content(output.read_back()))
        if not same:
            raise LlmzipError("what was written does not decode to the source, which is kept")


@dataclass(frozen=True)
class Decompressing:
    """`llmzip decompress` for one file."""

    display: Display
    model: ModelSource
    handling: Handling
    ignore_engine: bool

    def __call__(self, name: str) -> None:
        fileio.refuse_terminal_input(name)
        with (
            self.handling.open_source(name) as source,
            self.handling.open_output(source, fileio.plain_name, self.display) as output,
        ):
            with self.display.progress(fileio.shown(name, "-"), source.size, decoding=True) as line:
                decode(source, output, line, self.model, self.ignore_engine)
                output.complete(source.like)
                output.publish()
                report(self.display, line, output)
            if self.handling.remove:
                fileio.delete(source)


@dataclass(frozen=True)
class Testing:
    """`llmzip test` for one file."""

    display: Display
    model: ModelSource
    ignore_engine: bool

    def __call__(self, name: str) -> None:
        fileio.refuse_terminal_input(name)
        with fileio.open_source(name) as source:
            with self.display.progress(fileio.shown(name, "-"), source.size, decoding=True) as line:
                decode(source, fileio.Output(), line, self.model, self.ignore_engine)
                line.done()
        if self.display.verbose:
            self.display.result(f"{printable(fileio.shown(name, '-'))}: ok")


def decode(
    source: fileio.Source, output: fileio.Output, line: ProgressLine, model: ModelSource, ignore_engine: bool
) -> None:
    line.status("reading")
    line.expect(content_size(source))
    decoding = Decoding(model, ignore_engine=ignore_engine, progress=line)
    for piece in decoding.content(source.chunks()):
        output.write(piece)
    line.finish(decoding.n_in, decoding.n_out)


def content_size(source: fileio.Source) -> int | None:
    """What the headers say, where they can be read ahead; whether they are right is found on the way."""
    if not source.seekable():
        return None
    try:
        return sum(member.n_bytes for member in walk_file(source.file))
    except LlmzipError:
        return None
    finally:
        source.file.seek(0)


def report(display: Display, line: ProgressLine, output: fileio.Output) -> None:
    """What became of a file: the finished line on a terminal, with -v one everywhere."""
    if line.shown:
        line.done()
    else:
        display.detail(line.text(finished=True))


class Decoding:
    """The content of a file of any number of members."""

    def __init__(
        self, model: ModelSource, *, ignore_engine: bool = False, progress: ProgressLine | None = None
    ) -> None:
        self._model = model
        self._ignore_engine = ignore_engine
        self._progress = progress
        self.n_in = 0  # bytes of file in the members that are done
        self.n_out = 0  # bytes of content given out

    def content(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Verified content as it comes."""
        member: LmzDecompressor | None = None
        n_members = n_fed = 0
        for chunk in chunks:
            while chunk:
                if member is None:
                    check_continuation(chunk, n_members)
                    member, n_fed = self._open_member(), 0
                n_fed += len(chunk)
                yield from self._feed(member, chunk)
                chunk = b""
                if member.eof:
                    chunk = member.unused_data
                    n_members += 1
                    self.n_in += n_fed - len(chunk)
                    member = None
        if member is not None or not n_members:
            (member or self._open_member()).check_eof()

    def _feed(self, member: LmzDecompressor, chunk: bytes) -> Iterator[bytes]:
        while True:
            piece = member.decompress(chunk, fileio.READ_SIZE)
            self.n_out += len(piece)
            if piece:
                yield piece
            if member.eof or member.needs_input:
                return
            chunk = b""

    def _open_member(self) -> LmzDecompressor:
        return LmzDecompressor(
            self._model, ignore_engine=self._ignore_engine, progress=self._tell(self.n_in, self.n_out)
        )

    def _tell(self, n_in: int, n_out: int) -> Callable[[int, int], None]:
        """The progress of a member as progress of the file, of which this much came before."""

        def tell(n_bytes_in: int, n_bytes_out: int) -> None:
            if self._progress is not None:
                self._progress(n_in + n_bytes_in, n_out + n_bytes_out)

        return tell


# --- what there is: files, models, this machine


def show_info(names: list[str], display: Display, *, as_json: bool) -> int:
    found: list[tuple[str, Info]] = []

    def read(name: str) -> None:
        fileio.refuse_terminal_input(name)
        with fileio.open_source(name) as source:
            found.append((fileio.shown(name, "-"), get_info(source.random_access())))

    code = each_file(names, display, read)
    if as_json:
        display.result(json.dumps([info_record(name, info) for name, info in found], indent=2))
    elif found:
        display.results(info_lines(found, verbose=bool(display.verbose)))
    return code


def show_models(display: Display, *, as_json: bool) -> int:
    from llmzip.models import known, registry

    rows = list(registry.list_models())
    if as_json:
        display.result(json.dumps([asdict(row) for row in rows], indent=2, default=str))
        return 0
    display.results(models_lines(rows))
    display.note(f"cache: {known.cache_dir()}")
    return 0


def pull_model(name: str, display: Display) -> int:
    from llmzip.models import registry

    def work(name: str) -> None:
        registry.pull(name, echo=display.note)

    return one_file(name, display, work)


def remove_model(name: str, display: Display) -> int:
    from llmzip.models import registry

    return one_file(name, display, registry.remove)


def show_doctor(display: Display, model: str | None, device: str | None, threads: int | None) -> int:
    from llmzip.models.doctor import report

    try:
        for key, value in report(model, device, threads):
            display.result(f"{key:<20} {value}")
            sys.stdout.flush()  # the checks take a while
    except LlmzipError as error:
        display.failed(error)
        return ERROR
    return 0


def run_bench(file: str, size: int, lanes: int | None, rounds: int, model: str | None, threads: int | None) -> int:
    def measure(path: str) -> None:
        from llmzip.bench import speed

        speed.print_report(speed.run(model, Path(path), size=size, lanes=lanes, rounds=rounds, threads=threads))

    return one_file(file, Display(), measure)
