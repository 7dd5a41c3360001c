"""The work of the commands: on one file after another, and on what there is: files, models, this machine.

Knows nothing of argv, of the format or of what a model is. torch and numpy are imported by the first block that needs
a model.
"""

import importlib.util
import io
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmzip.api import Info, get_info
from llmzip.cli import fileio
from llmzip.cli.display import Display, ProgressLine, info_lines, info_record, models_lines, printable
from llmzip.damage import Damage, salvage
from llmzip.errors import LimitExceeded, LlmzipError, ModelError
from llmzip.filemap import walk_file
from llmzip.limits import UNLIMITED, Limits
from llmzip.models.source import ModelSource
from llmzip.stream import LmzCompressor, LmzDecompressor, MemberReader

if TYPE_CHECKING:
    from llmzip.models import Model

ERROR, WARNING, INTERRUPTED = 1, 2, 130  # exit codes

Job = Callable[[], int]
Work = Callable[[str], int | None]  # on the file of that name; the exit code, if it is not 0

_LESS_MEMORY = "fewer --lanes, a smaller --window or a smaller --block-size need less"

# --- one file after another


class Stop(Exception):
    """An error that is not about one file, so that the next would fail too. Its cause tells."""


def warn_of_slow_kernels(display: Display) -> None:
    """One word where the same bits take a hundred times as long: at once where there are no kernels, later where they are no good."""
    native = sys.modules.get("llmzip.native")  # not imported for this: it takes a while, and not every block needs it
    missing = importlib.util.find_spec("llmzip._kernels") is None if native is None else native.library is None
    if missing and not display.told_of_kernels and os.environ.get("LLMZIP_KERNELS") != "none":
        display.told_of_kernels = True
        why = "there are none" if native is None else printable(native.why_no_library)
        display.warning(
            f"the compiled kernels are missing, so that this takes some hundred times as long ({why})",
            hint="install llmzip again with a C compiler at hand",
        )


class Engine(StrEnum):
    exact = "exact"
    transformers = "transformers"


class ToldSource(ModelSource):
    """What is compressed with is kept, so that its files find it again; with -v, where a model was found."""

    def __init__(self, name: str | None, display: Display, *, device: str | None, threads: int | None) -> None:
        super().__init__(name, device=device, threads=threads)
        self._display = display

    def to_compress(self) -> "Model":
        is_named = isinstance(self._given, str)
        model = super().to_compress()
        if is_named:
            keep_model(model, self._display)
        return model

    def to_decompress(self, fingerprint: bytes) -> "Model":
        is_new = self._given is None and fingerprint not in self._loaded
        model = super().to_decompress(fingerprint)
        if is_new:
            self._display.detail(f"the model {printable(model.name)} is in {folder_text(model)}")
        return model


def keep_model(model: "Model", display: Display) -> None:
    """A model of the user's own goes into the cache: files that name it can be decoded when its folder is gone."""
    from llmzip.models import known, registry

    if getattr(model, "folder", None) is None:
        return
    models = known.models_dir()
    before = set(models.iterdir()) if models is not None and models.is_dir() else set()
    kept = registry.keep(model)
    if kept is None:
        display.warning(
            f"the model {printable(model.name)} cannot be kept in the cache; its files need it: {folder_text(model)}",
            hint="keep that folder, or set LLMZIP_CACHE to a folder that can be written",
        )
    elif models is not None and kept.parent == models and kept not in before:
        display.note(f"the model {model.name} is kept in {kept}: its files will find it there")


def folder_text(model: "Model") -> str:
    return printable(str(getattr(model, "folder", "no folder")))


class TransformersSource(ModelSource):
    """A model folder, run by transformers."""

    def to_compress(self) -> "Model":
        if self._given is None or isinstance(self._given, str):
            from llmzip.models.causal import CausalModel

            assert self._given is not None
            model: Model = CausalModel(self._given, device=self._device, threads=self._threads)
            self._given = model
        return self._given


def model_source(name: str | None, engine: Engine, device: str | None, threads: int, display: Display) -> ModelSource:
    """What loads each model once, when the first block of any of the files needs it."""
    if engine is Engine.transformers:
        return TransformersSource(name, device=device, threads=threads or None)
    return ToldSource(name, display, device=device, threads=threads or None)


def model_of_level(level: int, display: Display) -> str:
    """The model of -1 to -9. Where it has not been pulled, the bundled one does it."""
    from llmzip.models import known

    name = known.LEVELS[level].model
    if known.is_installed(name):
        return name
    display.note(
        f"-{level} is for {name}, which is not installed; taking {known.DEFAULT_MODEL} (llmzip models pull {name})"
    )
    return known.DEFAULT_MODEL


def parameters_of_level(level: int) -> dict[str, Any]:
    """Of LmzCompressor, but for the model."""
    from llmzip.models import known

    chosen = known.LEVELS[level]
    return {name: getattr(chosen, name) for name in ("lane_size", "line_bits", "group_size", "share")}


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
        source = fileio.open_source(name, any_kind=explicit, links=links)
        if self.remove:
            try:
                source.check_removable(force=self.force)
            except LlmzipError:
                source.close()
                raise
        return source

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
            only_files=self.remove,
            may_replace=lambda name: display.ask(f"{printable(name)} exists; overwrite?"),
        )

    def settle(self, source: fileio.Source, output: fileio.Output, refused: list[str], display: Display) -> int:
        """The result has its name: say what could not be done, and remove the source if that was asked for."""
        for what in refused:
            display.warning(f"{printable(output.name)} {what}", name=fileio.shown(source.name, "standard input"))
        if not self.remove:
            if source.changed_while_read():
                name = fileio.shown(source.name, "standard input")
                display.warning(
                    "has changed while it was read; what was added since the start was not taken", name=name
                )
                return WARNING
        elif output.is_safe or self.force:
            fileio.delete(source)
        else:
            display.warning(
                "is kept, because its result may not be safe on the disk",
                name=source.name,
                hint="use -f to remove it all the same",
            )
        return WARNING if refused else 0


def each_file(names: Iterable[str], display: Display, work: Work, *, less_memory: str = "") -> int:
    """Do the work on every file, whatever becomes of the others; the exit code is the worst of all."""
    codes = {0}
    for name in names:
        try:
            codes.add(one_file(name, display, work, less_memory=less_memory))
        except Stop as stop:
            assert stop.__cause__ is not None
            display.failed(stop.__cause__)
            return ERROR
    return ERROR if ERROR in codes else max(codes)


def each_coded(names: Iterable[str], display: Display, work: Work, *, less_memory: str = "") -> int:
    """The same, of work that codes."""
    warn_of_slow_kernels(display)
    code = each_file(names, display, work, less_memory=less_memory)
    warn_of_slow_kernels(display)
    return code


def one_file(name: str, display: Display, work: Work, *, less_memory: str = "") -> int:
    """The work on one file, and what went wrong told. `less_memory` says what to do if there is not enough of it."""
    shown = fileio.shown(name, "standard input")
    try:
        return work(name) or 0
    except BrokenPipeError:
        raise
    except fileio.Skipped as error:
        display.warning(f"{error}, skipped", name=shown, hint=error.hint)
        return WARNING
    except MemoryError:
        display.error("out of memory", name=shown, hint=less_memory)
        return ERROR
    except (LlmzipError, OSError) as error:
        display.failed(error, name=shown)
        return ERROR
    except RuntimeError as error:  # torch has no class of its own for a full memory of the machine
        if "out of memory" not in str(error) and "allocate memory" not in str(error):
            raise
        display.error("out of memory", name=shown, hint=less_memory)
        return ERROR


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
class Compressing:
    """`llmzip compress` for one file."""

    display: Display
    model: ModelSource
    handling: Handling
    parameters: dict[str, Any]  # of LmzCompressor
    verify: bool  # decode and compare, as is always done before a source is removed

    def each(self, names: list[str]) -> int:
        return each_coded(names, self.display, self, less_memory=_LESS_MEMORY)

    def __call__(self, name: str) -> int:
        with (
            self.handling.open_source(name) as source,
            self.handling.open_output(source, fileio.compressed_name, self.display) as output,
        ):
            with self.display.progress(fileio.shown(name, "-"), source.size, decoding=False) as line:
                later = isinstance(output, fileio.FileOutput) and source.seekable()
                self._compress(source, output, line, Check(self.model) if self.verify and not later else None)
                refused = output.complete(source.like)
                if self.verify and later:
                    self._compare(source, output, line)
                output.publish()
                report(self.display, line)
            return self.handling.settle(source, output, refused, self.display)

    def _compress(self, source: fileio.Source, output: fileio.Output, line: ProgressLine, check: Check | None) -> None:
        chunks = source.chunks()
        first = next(chunks, b"")
        coder = LmzCompressor(
            self._load(line) if first else None, progress=line, report=self._report(source), **self.parameters
        )
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
        except ValueError as error:
            if self.parameters.keys() & {"lanes", "window", "overlap"}:
                raise Stop from error  # they do not fit the model
            raise
        if check is not None:
            check.finish()
        line.finish(n_in, n_out)

    def _report(self, source: fileio.Source) -> Callable[[str], None] | None:
        """With -v, how each block was coded and why."""
        if not self.display.verbose:
            return None
        return lambda what: self.display.detail(what, name=fileio.shown(source.name, "-"))

    def _load(self, line: ProgressLine) -> "Model":
        line.status("loading the model")
        try:
            model = self.model.to_compress()
            warn_of_slow_kernels(self.display)
            return model
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


@dataclass(frozen=True)
class Reading:
    """How files are decoded."""

    model: ModelSource
    ignore_engine: bool = False
    limits: Limits = field(default=UNLIMITED)

    def decode(self, source: fileio.Source, output: fileio.Output, line: ProgressLine) -> None:
        """All of a file: block by block, as soon as each is whole and checked."""
        line.status("reading")
        if line.shown:
            line.expect(content_size(source))
        reader = MemberReader(
            source.read,
            self.model,
            ignore_engine=self.ignore_engine,
            limits=self.limits,
            progress=line,
            side_by_side=source.size is not None,  # what comes through a pipe is given out as it comes
        )
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
class Decompressing:
    """`llmzip decompress` for one file."""

    display: Display
    reading: Reading
    handling: Handling
    salvage: bool

    def __call__(self, name: str) -> int:
        fileio.refuse_terminal_input(name)
        damages: list[Damage] = []
        with (
            self.handling.open_source(name) as source,
            self.handling.open_output(source, fileio.plain_name, self.display) as output,
        ):
            with self.display.progress(fileio.shown(name, "-"), source.size, decoding=True) as line:
                if self.salvage:
                    damages = self._salvage(source, output, line)
                else:
                    self.reading.decode(source, output, line)
                refused = output.complete(source.like)
                if self.handling.remove:
                    output.check_written()
                output.publish()
                report(self.display, line)
            code = self.handling.settle(source, output, refused, self.display)
        return WARNING if damages else code

    def _salvage(self, source: fileio.Source, output: fileio.Output, line: ProgressLine) -> list[Damage]:
        damages = self.reading.salvage(source, output, line)
        for damage in damages:
            self.display.warning(printable(damage_text(damage)), name=fileio.shown(source.name, "standard input"))
        if damages and not line.n_content:
            raise LlmzipError("nothing of it is whole")
        return damages


@dataclass(frozen=True)
class Testing:
    """`llmzip test` for one file."""

    display: Display
    reading: Reading

    def __call__(self, name: str) -> int:
        fileio.refuse_terminal_input(name)
        with fileio.open_source(name) as source:
            with self.display.progress(fileio.shown(name, "-"), source.size, decoding=True) as line:
                try:
                    self.reading.decode(source, fileio.Output(), line)
                except (LimitExceeded, ModelError):
                    raise
                except LlmzipError as error:
                    return self._tell(source, line, error)
                line.done()
        if self.display.verbose:
            self.display.result(f"{printable(fileio.shown(name, '-'))}: ok")
        return 0

    def _tell(self, source: fileio.Source, line: ProgressLine, error: LlmzipError) -> int:
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
        return sum(member.n_bytes for member in walk_file(source.file))
    except LlmzipError:
        return None
    finally:
        source.restart()


def report(display: Display, line: ProgressLine) -> None:
    """What became of a file: the finished line on a terminal, with -v one everywhere."""
    if line.shown:
        line.done()
    else:
        display.detail(line.text(finished=True))


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

    def work(name: str) -> None:
        registry.remove(name)
        display.note(f"{name} is removed; files that were compressed with it need it to be decoded")

    return one_file(name, display, work)


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
