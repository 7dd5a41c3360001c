"""The llmzip command: what is asked for. typer sees argv and nothing else.

A command function only reads its options and returns a job; `main` runs it outside of typer, which takes some
exceptions for its own (an EOFError is an abort to it, and a TruncatedError is an EOFError). --help, --version and
`info` import neither torch nor numpy.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from llmzip import __version__
from llmzip.cli import fileio, habits, jobs, listing, parts, ranges
from llmzip.cli.display import Display, on_terminal, prepare_streams, printable
from llmzip.cli.jobs import ERROR, INTERRUPTED, Compressing, Decompressing, Engine, Handling, Job, Reading, Testing
from llmzip.errors import LlmzipError
from llmzip.limits import Limits
from llmzip.stream import GROUP_SIZE, ModelSource


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

    return jobs.one_file(str(out), display, work)


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


def _size(text: str, greatest: str = "64M") -> int:
    """Bytes: 65536, 64K, 1M."""
    most = _n_bytes(greatest)
    found = _n_bytes(text)
    if found is None or most is None or not 1 <= found <= most:
        raise typer.BadParameter(f"{text!r} is not a size from 1 to {greatest}")
    return found


def _n_bytes(text: str) -> int | None:
    number, shift = text.upper().removesuffix("IB").removesuffix("B"), 0
    if number[-1:] in tuple("KMGT"):
        number, shift = number[:-1], 10 * ("KMGT".index(number[-1]) + 1)
    return int(number) << shift if number.isascii() and number.isdecimal() and len(number) < 20 else None


def _parsed(parse: Callable[[str], Any], text: str) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _reading(model: ModelSource, ignore_engine: bool, max_size: str | None, memory: str | None) -> Reading:
    size, most = (None if text is None else _size(text, "1024T") for text in (max_size, memory))
    return Reading(model, ignore_engine, Limits(size, most))


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
MaxSize = Annotated[str | None, typer.Option("--max-size", metavar="SIZE", help="Refuse a FILE of more content.")]
Memory = Annotated[
    str | None,
    typer.Option("--memory", metavar="SIZE", help="Refuse a block that takes more to decode, beside its model."),
]
Suffix = Annotated[str, typer.Option("-S", "--suffix", metavar=".SUF", help="Suffix of compressed files.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]


def _version(given: bool) -> None:
    if given:
        Display().result(f"llmzip {__version__}")
        raise typer.Exit()


def _license(given: bool) -> None:
    if given:
        Display().result("Apache License, Version 2.0")
        raise typer.Exit()


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    license: Annotated[
        bool, typer.Option("--license", "-L", callback=_license, is_eager=True, help="Print the license.")
    ] = False,
) -> None:
    pass


def _model_source(
    name: str | None, engine: Engine, device: str | None, threads: int, display: Display
) -> ModelSource:
    if engine is Engine.transformers and name is None:
        raise typer.BadParameter("--engine transformers needs -m FOLDER")
    return jobs.model_source(name, engine, device, threads, display)


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
    verify: Annotated[bool, typer.Option("--verify", help="Decode the result and compare it with the source.")] = False,
    level: Annotated[
        int | None,
        typer.Option(
            "-1...-9", "--level", min=1, max=9, show_default=False, help="Fast ... small: models, lanes; 5 if not given."
        ),
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
        int | None, typer.Option(metavar="N", min=0, help="Tokens that a window takes from the one before; at most half.")
    ] = None,
    block_size: Annotated[str, typer.Option(metavar="SIZE", help="Content of a block, up to 64M.")] = "1M",
    group_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Content that is coded in one: large is small; up to 64M, 16M if not given.")
    ] = None,
    part: Annotated[
        str | None, typer.Option("--part", metavar="K/N", help="Only part K of N, to FILE.K-of-N.lmz; see join.")
    ] = None,
    suffix: Suffix = fileio.SUFFIX,
    quiet: Quiet = 0,
    verbose: Verbose = 0,
) -> Job:
    """Compress each FILE to FILE.lmz."""
    names = files or [fileio.STDIO]
    handling = _handling(names, output, stdout, keep, force, rm, suffix)
    display = Display(quiet=quiet, verbose=verbose)
    coding = {"lanes": lanes, "window": window, "overlap": overlap, "group_size": group_size and _size(group_size)}
    parameters = jobs.parameters_of_level(level) if level else {}
    parameters |= {"block_size": _size(block_size)} | {key: value for key, value in coding.items() if value is not None}
    if level:
        model = model or (jobs.model_of_level(level, display) if engine is Engine.exact else None)
    if part is not None:
        if rm:
            raise typer.BadParameter("--rm would delete what the other parts need")
        numbers = _parsed(parts.parse_part, part)
        handling = parts.PartHandling.of(handling, numbers, parameters.get("group_size", GROUP_SIZE))
    source = _model_source(model, engine, device, threads, display)
    work = Compressing(display, source, handling, parameters, verify or rm)
    return lambda: work.each(names)


@app.command()
def decompress(
    files: Files = None,
    output: Output = None,
    stdout: Stdout = False,
    keep: Keep = False,
    force: Force = False,
    rm: Annotated[bool, typer.Option("--rm", help="Delete the source once the result is safe on the disk.")] = False,
    salvage: Annotated[
        bool, typer.Option("--salvage", help="Write what is whole of a damaged FILE; say what is not.")
    ] = False,
    span: Annotated[
        str | None, typer.Option("--range", metavar="A-B", help="Bytes A to B, from 0; A-, -N: the last. To stdout.")
    ] = None,
    lines: Annotated[
        str | None, typer.Option("--lines", metavar="A-B", help="Lines A to B, from 1; A-. To stdout.")
    ] = None,
    max_size: MaxSize = None,
    memory: Memory = None,
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
    wanted = _wanted(span, lines, rm or salvage)
    handling = _handling(names, output, stdout or (wanted is not None and output is None), keep, force, rm, suffix)
    if salvage and rm:
        raise typer.BadParameter("--rm would delete what --salvage could not read")
    display = Display(quiet=quiet, verbose=verbose)
    reading = _reading(_model_source(model, engine, device, threads, display), ignore_engine, max_size, memory)
    if wanted is not None:
        return lambda: jobs.each_coded(names, display, ranges.Extracting(display, reading, handling, wanted))
    work = Decompressing(display, reading, handling, salvage)
    return lambda: jobs.each_coded(names, display, work)


def _wanted(span: str | None, lines: str | None, others: bool) -> "ranges.Wanted | None":
    """What is asked for of the content, if not all of it."""
    if span is None and lines is None:
        return None
    if (span is not None and lines is not None) or others:
        raise typer.BadParameter("--range and --lines go neither together nor with --rm or --salvage")
    wanted: ranges.Wanted = (
        _parsed(ranges.Lines.parse, lines) if lines is not None else _parsed(ranges.Bytes.parse, span or "")
    )
    return wanted


@app.command()
def join(
    files: Annotated[list[str], typer.Argument(metavar="PART...", help="In their order.")],
    output: Output = None,
    stdout: Stdout = False,
    force: Force = False,
    one_index: Annotated[
        bool, typer.Option("--one-index", help="One member with one index, which takes decoding them, or --source.")
    ] = False,
    original: Annotated[
        str | None, typer.Option("--source", metavar="FILE", help="Compare each block with FILE, without decoding.")
    ] = None,
    max_size: MaxSize = None,
    memory: Memory = None,
    model: ModelName = None,
    engine: EngineName = Engine.exact,
    device: Device = None,
    threads: Threads = 0,
    ignore_engine: IgnoreEngine = False,
    quiet: Quiet = 0,
    verbose: Verbose = 0,
) -> Job:
    """Check the parts of a file and join them."""
    handling = _handling(files[:1], output, stdout or output is None, False, force, False, fileio.SUFFIX)
    display = Display(quiet=quiet, verbose=verbose)
    reading = _reading(_model_source(model, engine, device, threads, display), ignore_engine, max_size, memory)
    work = parts.Joining(display, reading, handling, one_index, original)
    return lambda: work(files)


@app.command()
def test(
    files: Annotated[list[str] | None, typer.Argument(metavar="FILE", help="- or none: stdin.")] = None,
    max_size: MaxSize = None,
    memory: Memory = None,
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
    source = _model_source(model, engine, device, threads, display)
    work = Testing(display, _reading(source, ignore_engine, max_size, memory))
    return lambda: jobs.each_coded(files or [fileio.STDIO], display, work)


@app.command()
def info(
    files: Annotated[list[str], typer.Argument(metavar="FILE")],
    json: Json = False,
    members: Annotated[
        bool, typer.Option("--members", help="List what is in a tar: decodes the groups that hold its headers.")
    ] = False,
    quiet: Quiet = 0,
    verbose: Verbose = 0,
) -> Job:
    """Show sizes, model and blocks of each FILE, from its headers alone."""
    display = Display(quiet=quiet, verbose=verbose)
    if members:
        return lambda: listing.show_members(files, display, as_json=json)
    return lambda: jobs.show_info(files, display, as_json=json)


@app.command()
def doctor(model: ModelName = None, device: Device = None, threads: Threads = 0) -> Job:
    """Say what this machine offers, and check that its arithmetic is exact."""
    return lambda: jobs.show_doctor(Display(), model, device, threads or None)


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
    return lambda: jobs.run_bench(file, n_bytes, lanes or None, rounds, model, threads or None)


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
    return None if context.invoked_subcommand else lambda: jobs.show_models(Display(), as_json=json)


@models_app.command()
def pull(name: Annotated[str, typer.Argument(metavar="NAME")], quiet: Quiet = 0) -> Job:
    """Fetch a model into the cache."""
    return lambda: jobs.pull_model(name, Display(quiet=quiet))


@models_app.command()
def remove(name: Annotated[str, typer.Argument(metavar="NAME")], quiet: Quiet = 0) -> Job:
    """Delete a model from the cache."""
    return lambda: jobs.remove_model(name, Display(quiet=quiet))


# --- main

# The base class of all errors in the arguments, wherever it lives: some versions of typer bring a click of their own.
_UsageError: Any = typer.BadParameter.__mro__[2]


def commands() -> dict[str, habits.Options]:
    """The commands with their options: whether each takes a value."""
    group: Any = typer.main.get_command(app)
    return {
        name: {
            spelled: not (option.is_flag or option.count)
            for option in command.params
            if hasattr(option, "is_flag")
            for spelled in (*option.opts, *option.secondary_opts)
        }
        for name, command in group.commands.items()
    }


def _parse(argv: Sequence[str]) -> Job | int:
    if not argv and on_terminal(sys.stdin) and on_terminal(sys.stdout):
        return _show_help
    try:
        words = habits.translate(argv, commands())
        # No variable of the environment turns on completion.
        parsed: Job | int | None = app(args=words, prog_name="llmzip", standalone_mode=False, complete_var="")
    except habits.Misused as error:
        Display().error(printable(str(error)), hint=printable(error.hint))
        return ERROR
    except _UsageError as error:
        _usage_error(error)
        return ERROR
    return parsed or 0


def _show_help() -> int:
    """Nobody has asked for it, so it is no result."""
    group: Any = typer.main.get_command(app)
    Display().note(group.get_help(group.make_context("llmzip", [], resilient_parsing=True)))
    return ERROR


def _usage_error(error: Any) -> None:
    what = str(error.format_message()).rstrip(".")
    what = what.removeprefix("Invalid value: ")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "llmzip"
    what = what[:1].lower() + what[1:]
    Display().error(printable(what), hint=f"see {command} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    prepare_streams()
    try:
        parsed = _parse(sys.argv[1:] if argv is None else argv)
        code = parsed if isinstance(parsed, int) else parsed()
        if sys.stdout is not None:
            sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        Display().error("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has enough
        fileio.silence(sys.stdout)
        return ERROR
    except (LlmzipError, OSError, MemoryError) as error:  # about no file; standard output that is full, for one
        Display().failed(error)
        fileio.silence(sys.stdout)
        return ERROR
    finally:
        fileio.silence_lost_messages()
    return code
