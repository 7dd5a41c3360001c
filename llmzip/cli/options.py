"""Options that several commands take, and what must be true of their values. typer sees argv and nothing else."""

from collections.abc import Callable
from typing import Annotated, TypeVar

import typer

from llmzip.cli import fileio
from llmzip.cli.decompressing import Reading
from llmzip.cli.display import Display
from llmzip.cli.outputs import OutputPolicy
from llmzip.cli.ranges import Bytes, Lines, Wanted
from llmzip.cli.sources import ToldSource
from llmzip.limits import Limits
from llmzip.models import Engine
from llmzip.models.source import ModelSource

Value = TypeVar("Value")

Files = Annotated[list[str] | None, typer.Argument(metavar="FILE", help="- or none: stdin to stdout.")]
Output = Annotated[str | None, typer.Option("-o", "--output", metavar="FILE", help="Write to FILE; - is stdout.")]
Stdout = Annotated[bool, typer.Option("-c", "--stdout", help="Write to stdout.")]
Keep = Annotated[bool, typer.Option("-k", "--keep", help="Keep the source (the default).")]
Force = Annotated[bool, typer.Option("-f", "--force", help="Overwrite; follow links; write to a terminal.")]
Overwrite = Annotated[bool, typer.Option("-f", "--force", help="Overwrite.")]
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


def size_of(text: str, greatest: str = "64M") -> int:
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


def parsed(parse: Callable[[str], Value], text: str) -> Value:
    """What a text of argv says; a ValueError is one of who wrote it."""
    try:
        return parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def wanted_of(span: str | None, lines: str | None, *, takes_all: bool) -> Wanted | None:
    """What is asked for of the content, if not all of it. `takes_all`: another option needs all of it."""
    if span is None and lines is None:
        return None
    if (span is not None and lines is not None) or takes_all:
        raise typer.BadParameter("--range and --lines go neither together nor with --rm or --salvage")
    return parsed(Lines.parse, lines) if lines is not None else parsed(Bytes.parse, span or "")


def reading_of(model: ModelSource, ignore_engine: bool, max_size: str | None, memory: str | None) -> Reading:
    size, most = (None if text is None else size_of(text, "1024T") for text in (max_size, memory))
    return Reading(model, ignore_engine, Limits(size, most))


def source_of(name: str | None, engine: Engine, device: str | None, threads: int, display: Display) -> ModelSource:
    """What loads each model once, when the first block of any of the files needs it."""
    if engine is Engine.transformers and name is None:
        raise typer.BadParameter("--engine transformers needs -m FOLDER")
    return ToldSource(name, display, engine=engine, device=device, threads=threads or None)


def policy_of(
    files: list[str], output: str | None, stdout: bool, keep: bool, force: bool, remove: bool, suffix: str
) -> OutputPolicy:
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
    return OutputPolicy(target, force, remove, suffix, output_is_terminal=output == fileio.STDIO)
