"""The commands and their options.

A command function only reads its options and returns a job, which `main` runs outside of typer.
"""

from pathlib import Path
from typing import Annotated

import typer

from llmzip.cli import benching, fileio, listing, scoring, show
from llmzip.cli.compressing import CompressFile
from llmzip.cli.decompressing import CheckFile, DecompressFile
from llmzip.cli.display import Display
from llmzip.cli.explaining import Explaining
from llmzip.cli.jobs import Job, each_coded
from llmzip.cli.options import (
    Device,
    EngineName,
    Files,
    Force,
    IgnoreEngine,
    Json,
    Keep,
    MaxSize,
    Memory,
    ModelName,
    Output,
    Overwrite,
    Quiet,
    Stdout,
    Suffix,
    Threads,
    Verbose,
    parsed,
    policy_of,
    reading_of,
    size_of,
    source_of,
    wanted_of,
)
from llmzip.cli.parts import JoinParts, PartPolicy, parse_part
from llmzip.cli.ranges import ExtractRange
from llmzip.cli.sources import model_of_level
from llmzip.models import Engine
from llmzip.models.known import DEFAULT_LEVEL, level_of

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


def _version(given: bool) -> None:
    if given:
        from llmzip import __version__  # it is looked up among all packages that are installed

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


# What only `compress` takes.
Level = Annotated[
    int | None,
    typer.Option(
        "-1...-9",
        "--level",
        min=1,
        max=9,
        show_default=False,
        help="Fast ... small: models, lanes; 5 if not given.",
    ),
]
Lanes = Annotated[int | None, typer.Option(metavar="N", min=1, max=1024, help="Code in parallel: faster, larger.")]
Window = Annotated[int | None, typer.Option(metavar="N", min=8, max=32768, help="Tokens that the model sees at once.")]
Overlap = Annotated[
    int | None, typer.Option(metavar="N", min=0, help="Tokens that a window takes from the one before; at most half.")
]
BlockSize = Annotated[str, typer.Option(metavar="SIZE", help="Content of a block, up to 64M.")]
GroupSize = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Content that is coded in one: large is small; up to 64M, 16M if not given."),
]
NoOpen = Annotated[
    bool, typer.Option("--no-open", help="Leave closed what is inside: PDF, EPUB, DOCX, .gz, .bz2, .zip, ...")
]
PartOf = Annotated[
    str | None, typer.Option("--part", metavar="K/N", help="Only part K of N, to FILE.K-of-N.lmz; see join.")
]


@app.command()
def compress(
    files: Files = None,
    output: Output = None,
    stdout: Stdout = False,
    keep: Keep = False,
    force: Force = False,
    rm: Annotated[bool, typer.Option("--rm", help="Delete the source once the result decodes to it.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Decode the result and compare it with the source.")] = False,
    level: Level = None,
    model: ModelName = None,
    engine: EngineName = Engine.exact,
    device: Device = None,
    threads: Threads = 0,
    lanes: Lanes = None,
    window: Window = None,
    overlap: Overlap = None,
    block_size: BlockSize = "1M",
    group_size: GroupSize = None,
    no_open: NoOpen = False,
    part: PartOf = None,
    suffix: Suffix = fileio.SUFFIX,
    quiet: Quiet = 0,
    verbose: Verbose = 0,
) -> Job:
    """Compress each FILE to FILE.lmz."""
    names = files or [fileio.STDIO]
    policy = policy_of(names, output, stdout, keep, force, rm, suffix)
    display = Display(quiet=quiet, verbose=verbose)
    coding = level_of(level or DEFAULT_LEVEL).coding.but(
        block_size=size_of(block_size),
        group_size=None if group_size is None else size_of(group_size),
        lanes=lanes,
        window=window,
        overlap=overlap,
        opens=not no_open,
    )
    if part is not None:
        if rm:
            raise typer.BadParameter("--rm would delete what the other parts need")
        policy = PartPolicy.of(policy, parsed(parse_part, part), coding.group_size)
    if level and model is None and engine is Engine.exact:
        model = model_of_level(level, display)
    source = source_of(model, engine, device, threads, display)
    work = CompressFile(display, source, policy, coding, verify or rm)
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
    wanted = wanted_of(span, lines, takes_all=rm or salvage)
    policy = policy_of(names, output, stdout or (wanted is not None and output is None), keep, force, rm, suffix)
    if salvage and rm:
        raise typer.BadParameter("--rm would delete what --salvage could not read")
    display = Display(quiet=quiet, verbose=verbose)
    reading = reading_of(source_of(model, engine, device, threads, display), ignore_engine, max_size, memory)
    if wanted is not None:
        extract = ExtractRange(display, reading, policy, wanted)
        return lambda: each_coded(names, display, extract)
    work = DecompressFile(display, reading, policy, salvage)
    return lambda: work.each(names)


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
    policy = policy_of(files[:1], output, stdout or output is None, False, force, False, fileio.SUFFIX)
    display = Display(quiet=quiet, verbose=verbose)
    reading = reading_of(source_of(model, engine, device, threads, display), ignore_engine, max_size, memory)
    work = JoinParts(display, reading, policy, one_index, original)
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
    source = source_of(model, engine, device, threads, display)
    work = CheckFile(display, reading_of(source, ignore_engine, max_size, memory))
    return lambda: work.each(files or [fileio.STDIO])


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
    return lambda: show.show_info(files, display, as_json=json)


@app.command()
def explain(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A text, or an .lmz file; - is stdin.")],
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="PAGE", help="A page of all of it, or a picture (.svg).")
    ] = None,
    force: Overwrite = False,
    model: ModelName = None,
    engine: EngineName = Engine.exact,
    device: Device = None,
    threads: Threads = 0,
    ignore_engine: IgnoreEngine = False,
    json: Json = False,
    quiet: Quiet = 0,
) -> Job:
    """Show where the bits of FILE went, what surprised the model, and what it expected instead."""
    display = Display(quiet=quiet)
    source = source_of(model, engine, device, threads, display)
    work = Explaining(display, source, output, force, json, ignore_engine)
    return lambda: each_coded([file], display, work)


@app.command()
def score(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Texts.")],
    models: Annotated[
        list[str] | None,
        typer.Option("-m", "--model", metavar="NAME|PATH", help="Again for each; transformers:FOLDER for any other."),
    ] = None,
    size: Annotated[str | None, typer.Option(metavar="SIZE", help="Of the first bytes of each FILE.")] = None,
    harness: Annotated[bool, typer.Option("--harness", help="By the windows of lm-evaluation-harness, too.")] = False,
    plot: Annotated[str | None, typer.Option("--plot", metavar="SVG", help="Draw a chart.")] = None,
    force: Overwrite = False,
    device: Device = None,
    threads: Threads = 0,
    json: Json = False,
    quiet: Quiet = 0,
) -> Job:
    """Score models on texts: bits per byte, with intervals, and which is better (docs/score.md)."""
    n_bytes = None if size is None else size_of(size)
    work = scoring.Scoring(Display(quiet=quiet), models or ["pocket"], n_bytes, harness, device, threads or None, plot)
    return lambda: scoring.score_files(files, work, as_json=json, force=force)


@app.command()
def doctor(model: ModelName = None, device: Device = None, threads: Threads = 0) -> Job:
    """Say what this machine offers, and check that its arithmetic is exact."""
    return lambda: show.show_doctor(Display(), model, device, threads or None)


@app.command()
def bench(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="What to measure on.")],
    head: Annotated[str | None, typer.Option(metavar="SIZE", help="Of the first bytes of each FILE.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Medians are reported.")] = 1,
    ours: Annotated[
        list[str] | None,
        typer.Option("--llmzip", metavar="OPTIONS", help="Of compress; again for each that is to be measured."),
    ] = None,
    rivals: Annotated[
        str | None, typer.Option(metavar="NAMES", help="With commas; all that are installed if not given.")
    ] = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="Time of the processor: on a busy machine.")] = False,
    plot: Annotated[str | None, typer.Option("--plot", metavar="SVG", help="Draw ratio against speed.")] = None,
    force: Overwrite = False,
    json: Json = False,
    brief: Annotated[bool, typer.Option("--brief", help="Of several files, their sizes and the sums alone.")] = False,
    floats: Annotated[
        bool, typer.Option("--floats", help="Instead, the model against float32 transformers with the same weights.")
    ] = False,
    lanes: Annotated[int, typer.Option(min=0, help="With --floats; 0: as compress would choose.")] = 0,
    model: ModelName = None,
    threads: Threads = 0,
    quiet: Quiet = 0,
) -> Job:
    """Measure size, speed and memory against other programs; every file is decoded by a fresh process and compared."""
    n_bytes = None if head is None else size_of(head, "1024T")
    if floats:
        return lambda: benching.against_float32(
            files, n_bytes or 100_000, lanes or None, rounds, model, threads or None
        )
    options = [f"-T {threads} {each}" if threads else each for each in ours or [""]]
    names = None if rivals is None else [name for name in rivals.split(",") if name]
    work = benching.Benching(Display(quiet=quiet), options, names, model, n_bytes, rounds, cpu)
    return lambda: work.run(files, as_json=json, brief=brief, chart=plot, force=force)


@app.command()
def train(
    corpora: Annotated[list[str], typer.Argument(metavar="CORPUS[=WEIGHT]...", help="Files or folders of text.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="DIR", help="The model; DIR.work keeps what a run needs.")
    ],
    preset: Annotated[
        str, typer.Option("--preset", metavar="NAME", help="Size: pocket-small, pocket, pocket-large.")
    ] = "pocket",
    init: Annotated[str | None, typer.Option("--init", metavar="NAME|PATH", help="Go on from this model.")] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate", min=0, metavar="FACTOR", help="Multiply the learning rates. [default: 1; with --init 0.25]"
        ),
    ] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", min=0.1, help="About how long.")] = None,
    tokens: Annotated[int | None, typer.Option("--tokens", min=1, help="How many; repeatable to the bit.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    device: Device = None,
    threads: Threads = 0,
    force: Annotated[
        bool, typer.Option("-f", "--force", help="Replace a model that is at DIR; the cache keeps it.")
    ] = False,
    quiet: Quiet = 0,
) -> Job:
    """Train a model on your kind of text. The same command goes on with a run that was interrupted."""
    if (minutes is None) == (tokens is None):
        raise typer.BadParameter("say how long: --minutes or --tokens")
    options = {
        "preset": preset, "init": init, "minutes": minutes, "tokens": tokens, "rate": rate, "seed": seed,
        "device": device, "threads": threads or None, "force": force,
    }  # fmt: skip
    return lambda: show.train_model(corpora, out, options, Display(quiet=quiet))


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context, json: Json = False) -> Job | None:
    """List the models; pull or remove one."""
    return None if context.invoked_subcommand else lambda: show.show_models(Display(), as_json=json)


@models_app.command()
def pull(name: Annotated[str, typer.Argument(metavar="NAME")], quiet: Quiet = 0) -> Job:
    """Fetch a model into the cache."""
    return lambda: show.pull_model(name, Display(quiet=quiet))


@models_app.command()
def remove(name: Annotated[str, typer.Argument(metavar="NAME")], quiet: Quiet = 0) -> Job:
    """Delete a model from the cache."""
    return lambda: show.remove_model(name, Display(quiet=quiet))
