"""The llmzip command: what is asked for (typer sees argv and nothing else), and the work on one file after another.

A command function only reads its options and returns a job; `main` runs it outside of typer, which takes some
exceptions for its own (an EOFError is an abort to it, and a TruncatedError is an EOFError). torch and numpy are
imported by the first block that needs a model: --help, --version and `info` never do. Knows nothing of the format or
of what a model is.
"""

import itertools
import json
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmzip import __version__
from llmzip.api import Info, get_info
from llmzip.cli import fileio
from llmzip.cli.display import Display, ProgressLine, info_lines, info_record, models_lines, prepare_streams, printable
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
    if engine is Engine.transformers and name is None:
        raise typer.BadParameter("--engine transformers needs -m FOLDER")
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


def train_model(corpora: list[str], out: Path, options: dict[str, Any], display: Display) -> int:
    from llmzip.train import run
    from llmzip.train.corpus import Source

    line = display.progress(str(out), None, decoding=False)
    told = [0.0]

    def progress(text: str) -> None:
        if line.shown:
            line.status(text)
        elif time.monotonic() - told[0] > 60:  # into a log
            told[0] = time.monotonic()
            display.note(text)

    def say(text: str) -> None:
        line.end()
        display.note(text)

    def work(name: str) -> None:
        sources = [Source.parse(corpus) for corpus in corpora]
        run.train(sources, Path(name), say=say, progress=progress, **options)
        line.end()
        display.note(f"{name} is trained: llmzip compress -m {name} FILE")

    return one_file(str(out), display, work)


# --- argv

app = typer.Typer(
    name="llmzip",
    help="Lossless file compression driven by a language model.",
    epilog="Exit codes: 0 done, 1 error, 2 warning (a file was skipped), 130 interrupted.",
    add_completion=False,
    rich_markup_mode=None,  # rich takes a good part of a second to import
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
models_app = typer.Typer(rich_markup_mode=None, help="List the models; pull or remove one.")
app.add_typer(models_app, name="models")


def _size(text: str) -> int:
    """Bytes: 65536, 64K, 1M."""
    number, unit = text.upper().removesuffix("IB").removesuffix("B"), 1
    if number[-1:] in ("K", "M"):
        number, unit = number[:-1], 1 << (10 if number[-1] == "K" else 20)
    if not number.isascii() or not number.isdecimal() or not 1 <= int(number) * unit <= 1 << 26:
        raise typer.BadParameter(f"{text!r} is not a size from 1 to 64M")
    return int(number) * unit


Files = Annotated[list[str] | None, typer.Argument(metavar="FILE", help="- or none: stdin to stdout.")]
Output = Annotated[str | None, typer.Option("-o", "--output", metavar="FILE", help="Write to FILE; - is stdout.")]
Stdout = Annotated[bool, typer.Option("-c", "--stdout", help="Write to stdout.")]
Keep = Annotated[bool, typer.Option("-k", "--keep", help="Keep the source (the default).")]
Force = Annotated[bool, typer.Option("-f", "--force", help="Overwrite; follow links; write to a terminal.")]
Quiet = Annotated[
    int,
    typer.Option("-q", "--quiet", count=True, help="No progress, no warnings; twice: no errors.", show_default=False),
]
Verbose = Annotated[int, typer.Option("-v", "--verbose", count=True, help="Say more.", show_default=False)]
ModelName = Annotated[str | None, typer.Option("-m", "--model", metavar="NAME|PATH", help="The model.")]
Device = Annotated[str | None, typer.Option("--device", metavar="NAME", help="cpu, cuda, cuda:1, ...")]
Threads = Annotated[
    int,
    typer.Option(
        "-T", "--threads", min=0, metavar="N", show_default=False, help="Threads; 0: all cores. Never changes the file."
    ),
]
EngineName = Annotated[
    Engine, typer.Option("--engine", help="exact: decodable on every machine. transformers: any model, here only.")
]
IgnoreEngine = Annotated[bool, typer.Option("--ignore-engine", help="Try to decode what another engine has written.")]
Suffix = Annotated[str, typer.Option("-S", "--suffix", metavar=".SUF", help="Suffix of compressed files.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]


def _version(given: bool) -> None:
    if given:
        print(f"llmzip {__version__}")
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


def _handling(
    files: list[str], output: str | None, stdout: bool, keep: bool, force: bool, remove: bool, suffix: str
) -> Handling:
    """Refuses options that contradict each other."""
    if output is not None and output != fileio.STDIO and stdout:
        raise typer.BadParameter("-c and -o FILE are two outputs")
    if output == "":
        raise typer.BadParameter("-o needs the name of a file")
    if output is not None and output != fileio.STDIO and len(files) > 1:
        raise typer.BadParameter("-o FILE takes one input")
    if suffix in ("", ".") or "/" in suffix:
        raise typer.BadParameter(f"{suffix!r} cannot be a suffix")
    target = fileio.STDIO if stdout else output
    if remove:
        if keep:
            raise typer.BadParameter("--rm and -k contradict each other")
        if target == fileio.STDIO or fileio.STDIO in files:
            raise typer.BadParameter("--rm needs a file on both sides")
    return Handling(target, force, remove, suffix, output_is_terminal=output == fileio.STDIO)


@app.command()
def compress(
    files: Files = None,
    output: Output = None,
    stdout: Stdout = False,
    keep: Keep = False,
    force: Force = False,
    rm: Annotated[bool, typer.Option("--rm", help="Delete the source once the result decodes to it.")] = False,
    level: Annotated[
        int | None,
        typer.Option("-1...-9", "--level", min=1, max=9, help="Fast ... small: models and lanes; 5 if not given.", show_default=False),
    ] = None,
    model: ModelName = None,
    engine: EngineName = Engine.exact,
    device: Device = None,
    threads: Threads = 0,
    lanes: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=1024, help="Code in parallel: faster, larger.")
    ] = None,
    window: Annotated[
        int | None, typer.Option(metavar="N", min=8, max=32768, help="Tokens that the model sees at once.")
    ] = None,
    overlap: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Tokens that a window takes from the one before.")
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Without the adaptive layer: larger; shows what it is worth.")] = False,
    block_size: Annotated[str, typer.Option(metavar="SIZE", help="Content of a block, up to 64M.")] = "1M",
    suffix: Suffix = fileio.SUFFIX,
    quiet: Quiet = 0,
    verbose: Verbose = 0,
) -> Job:
    """Compress each FILE to FILE.lmz."""
    names = files or [fileio.STDIO]
    handling = _handling(names, output, stdout, keep, force, rm, suffix)
    display = Display(quiet=quiet, verbose=verbose)
    coding = {"lanes": lanes, "window": window, "overlap": overlap, "plain": plain or None}
    parameters = {"block_size": _size(block_size)} | {key: value for key, value in coding.items() if value is not None}
    if level:
        parameters["lane_size"] = lane_size_of_level(level)
        model = model or (model_of_level(level, display) if engine is Engine.exact else None)
    work = Compressing(display, model_source(model, engine, device, threads), handling, parameters)
    return lambda: each_file(names, display, work)


@app.command()
def decompress(
    files: Files = None,
    output: Output = None,
    stdout: Stdout = False,
    keep: Keep = False,
    force: Force = False,
    rm: Annotated[bool, typer.Option("--rm", help="Delete the source after success.")] = False,
    model: ModelName = None,
    engine: EngineName = Engine.exact,
    device: Device = None,
    threads: Threads = 0,
    ignore_engine: IgnoreEngine = False,
    suffix: Suffix = fileio.SUFFIX,
    quiet: Quiet = 0,
    verbose: Verbose = 0,
) -> Job:
    """Decompress each FILE.lmz to FILE."""
    names = files or [fileio.STDIO]
    handling = _handling(names, output, stdout, keep, force, rm, suffix)
    display = Display(quiet=quiet, verbose=verbose)
    work = Decompressing(display, model_source(model, engine, device, threads), handling, ignore_engine)
    return lambda: each_file(names, display, work)


@app.command()
def test(
    files: Files = None,
    model: ModelName = None,
    engine: EngineName = Engine.exact,
    device: Device = None,
    threads: Threads = 0,
    ignore_engine: IgnoreEngine = False,
    quiet: Quiet = 0,
    verbose: Verbose = 0,
) -> Job:
    """Decode each FILE and compare its checksums; write nothing."""
    display = Display(quiet=quiet, verbose=verbose)
    work = Testing(display, model_source(model, engine, device, threads), ignore_engine)
    return lambda: each_file(files or [fileio.STDIO], display, work)


@app.command()
def info(
    files: Annotated[list[str], typer.Argument(metavar="FILE")],
    json: Json = False,
    quiet: Quiet = 0,
    verbose: Verbose = 0,
) -> Job:
    """Show sizes, model and blocks of each FILE, from its headers alone."""
    display = Display(quiet=quiet, verbose=verbose)
    return lambda: show_info(files, display, as_json=json)


@app.command()
def doctor(model: ModelName = None, device: Device = None, threads: Threads = 0) -> Job:
    """Say what this machine offers, and check that its arithmetic is exact."""
    return lambda: show_doctor(Display(), model, device, threads or None)


@app.command()
def bench(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The text to measure on.")],
    size: Annotated[str, typer.Option(metavar="SIZE", help="Of its first bytes.")] = "100000",
    lanes: Annotated[int, typer.Option("--lanes", min=0, help="0: as compress would choose.")] = 0,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Medians are reported.")] = 3,
    model: ModelName = None,
    threads: Threads = 0,
) -> Job:
    """Measure speed and quality against float32 transformers with the same weights, windows and lanes, in one run."""
    n_bytes = _size(size)
    return lambda: run_bench(file, n_bytes, lanes or None, rounds, model, threads or None)


@app.command()
def train(
    corpora: Annotated[list[str], typer.Argument(metavar="CORPUS[=WEIGHT]...", help="Files or folders of text.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="The model; DIR.work keeps what a run needs.")],
    preset: Annotated[str, typer.Option("--preset", metavar="NAME", help="Size: pocket-small, pocket, pocket-large.")] = "pocket",
    init: Annotated[str | None, typer.Option("--init", metavar="NAME|PATH", help="Go on from this model.")] = None,
    rate: Annotated[float | None, typer.Option("--rate", min=0, metavar="FACTOR", help="Multiply the learning rates. [default: 1; with --init 0.25]")] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", min=0.1, help="About how long.")] = None,
    tokens: Annotated[int | None, typer.Option("--tokens", min=1, help="How many; repeatable to the bit.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    device: Device = None,
    threads: Threads = 0,
    force: Annotated[bool, typer.Option("-f", "--force", help="Replace a model that is at DIR; the cache keeps it.")] = False,
    quiet: Quiet = 0,
) -> Job:
    """Train a model on your kind of text. The same command goes on with a run that was interrupted."""
    if (minutes is None) == (tokens is None):
        raise typer.BadParameter("say how long: --minutes or --tokens")
    options = {
        "preset": preset, "init": init, "minutes": minutes, "tokens": tokens, "rate": rate, "seed": seed, "device": device, "threads": threads or None, "force": force,
    }  # fmt: skip
    return lambda: train_model(corpora, out, options, Display(quiet=quiet))


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context, json: Json = False) -> Job | None:
    """List the models; pull or remove one."""
    return None if context.invoked_subcommand else lambda: show_models(Display(), as_json=json)


@models_app.command()
def pull(name: Annotated[str, typer.Argument(metavar="NAME")], quiet: Quiet = 0) -> Job:
    """Fetch a model into the cache."""
    return lambda: pull_model(name, Display(quiet=quiet))


@models_app.command()
def remove(name: Annotated[str, typer.Argument(metavar="NAME")], quiet: Quiet = 0) -> Job:
    """Delete a model from the cache."""
    return lambda: remove_model(name, Display(quiet=quiet))


# --- main


def _end(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)


def _clean_up_on_signals() -> None:
    """Being told to end must run the clean-up too, as an interrupt does. A signal that is ignored (nohup) stays so."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _end)


# The base class of all errors in the arguments, wherever it lives: some versions of typer bring a click of their own.
_UsageError: Any = typer.BadParameter.__mro__[2]


_LEVEL = re.compile(r"-[ckfqv]*(?P<level>[1-9])[ckfqv]*")


def _with_levels(argv: Sequence[str]) -> Iterator[str]:
    """-9 and -9c as --level 9 and -c: click has no options that are numbers."""
    words = iter(argv)
    for word in words:
        if word == "--":
            yield from (word, *words)
        elif match := _LEVEL.fullmatch(word):
            yield from ("--level", match["level"])
            if others := word[1:].replace(match["level"], ""):
                yield f"-{others}"
        else:
            yield word


def _parse(argv: Sequence[str]) -> Job | int:
    try:
        # No variable of the environment turns on completion.
        parsed: Job | int | None = app(args=list(_with_levels(argv)), prog_name="llmzip", standalone_mode=False, complete_var="")
    except _UsageError as error:
        _usage_error(error)
        return ERROR
    return parsed or 0


def _usage_error(error: Any) -> None:
    what = str(error.format_message()).rstrip(".")
    what = what.removeprefix("Invalid value: ")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "llmzip"
    what = what[:1].lower() + what[1:]
    hint = "to compress a file: llmzip compress FILE" if what.startswith("no such command") else f"see {command} --help"
    Display().error(printable(what), hint=hint)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    prepare_streams()
    _clean_up_on_signals()
    try:
        parsed = _parse(sys.argv[1:] if argv is None else argv)
        code = parsed if isinstance(parsed, int) else parsed()
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        Display().error("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has enough
        fileio.silence_stdout()
        return ERROR
    except (LlmzipError, OSError, MemoryError) as error:  # about no file; standard output that is full, for one
        Display().failed(error)
        fileio.silence_stdout()
        return ERROR
    return code


if __name__ == "__main__":
    sys.exit(main())
