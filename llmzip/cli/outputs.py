"""Where results go, and what becomes of their sources."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from llmzip.cli import fileio
from llmzip.cli.display import Display, printable
from llmzip.cli.jobs import WARNING
from llmzip.errors import LlmzipError


@contextmanager
def result_file(
    name: str, display: Display, *, force: bool, source: fileio.Source | None = None
) -> Iterator[Callable[[bytes], None]]:
    """What writes a file that is made of others: refused before the work where it could do harm, there once whole."""
    with fileio.open_output(name, source, force=force, only_files=False, may_replace=display.may_replace) as output:

        def write(data: bytes) -> None:
            output.write(data)
            output.complete(None)
            output.publish()

        yield write


@dataclass(frozen=True)
class OutputPolicy:
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
            may_replace=display.may_replace,
        )

    def expects(self, name: str, derive: Callable[[str, str], str]) -> bool:
        """Whether a file of this name will have a result beside it, as far as its name tells."""
        try:
            return self.output is None and (self.force or not os.path.lexists(derive(name, self.suffix)))
        except LlmzipError:
            return False

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
