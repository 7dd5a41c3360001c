"""Inputs and outputs by the names that a user gives, refused before any work is done where it could do harm."""

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterable

from llmzip.cli.descriptors import descriptor_of
from llmzip.cli.display import on_terminal
from llmzip.cli.fileio.names import STDIO, Refused, Skipped, told_as
from llmzip.cli.fileio.outputs import DescriptorOutput, Output
from llmzip.cli.fileio.sources import Source
from llmzip.cli.fileio.temporary import FileOutput


def open_source(name: str, *, any_kind: bool = True, links: bool = True) -> Source:
    """Open an input: a link only if `links`, a pipe or device only if `any_kind`, a directory never."""
    if name == STDIO:
        if sys.stdin is None:
            raise OSError(errno.EBADF, "standard input is closed")
        return Source(name, sys.stdin.buffer, owned=False, named=False)
    followed = os.stat(name)
    if stat.S_ISDIR(followed.st_mode):
        raise Skipped("is a directory")
    if not links and os.path.islink(name):
        raise Skipped("is a symbolic link", hint="use -f to follow it")
    if not any_kind and not stat.S_ISREG(followed.st_mode):
        raise Skipped("is not a regular file", hint="use -c or -o FILE to read it")
    descriptor = descriptor_of(name)
    if descriptor is not None:
        return Source(name, os.fdopen(duplicate(descriptor), "rb", buffering=0), named=False)
    return Source(name, open(name, "rb", buffering=0))


def duplicate(descriptor: int) -> int:
    """A descriptor of our own for the same open file."""
    if descriptor < 3 and (sys.stdin, sys.stdout, sys.stderr)[descriptor] is None:
        raise OSError(errno.EBADF, f"descriptor {descriptor} is closed")
    return os.dup(descriptor)


def refuse_terminal_input(name: str) -> None:
    """Compressed data does not come from a keyboard."""
    if name == STDIO and on_terminal(sys.stdin):
        raise Refused("compressed data cannot be read from a terminal", hint="name a file, or see llmzip --help")


def open_output(
    name: str, source: Source | None, *, force: bool, only_files: bool, may_replace: Callable[[str], bool]
) -> Output:
    """The output of this name for this source, checked before any work is done. `may_replace` asks the user.

    `source` None: there are several, which whoever opens them compares (`refuse_as_output`).
    `only_files`: something that stays, because the source will not.
    """
    descriptor = descriptor_of(name)
    if descriptor is not None:
        _refuse_passing(name, only_files)
        refuse_same_file(source, os.fstat(descriptor))
        return DescriptorOutput(name, duplicate(descriptor), force=True, owned=True)
    try:
        status = os.stat(name)
    except FileNotFoundError:
        if os.path.islink(name):  # leads nowhere, but the name is taken
            _refuse_replacement(name, force, may_replace)
            return FileOutput(name, replace=True)
        return FileOutput(name, replace=force)
    if stat.S_ISDIR(status.st_mode):
        raise Refused(f"{name} is a directory", hint="name the output with -o FILE")
    refuse_same_file(source, status)
    if not stat.S_ISREG(status.st_mode):
        _refuse_passing(name, only_files)
        with told_as(name):
            opened = os.open(name, os.O_WRONLY | getattr(os, "O_CLOEXEC", 0))
        return DescriptorOutput(name, opened, force=True, owned=True)
    _refuse_replacement(name, force, may_replace)
    return FileOutput(name, replace=True)


def _refuse_passing(name: str, only_files: bool) -> None:
    if only_files:
        raise Refused(f"--rm needs an output that is a file, and {name} is none")


def _refuse_replacement(name: str, force: bool, may_replace: Callable[[str], bool]) -> None:
    if not force and not may_replace(name):
        raise Refused(f"{name} already exists", hint="use -f to overwrite it")


def open_stdout(source: Source, *, binary: bool, force: bool) -> Output:
    """Standard output for this source. `binary`: what comes is certainly not for a terminal."""
    if sys.stdout is None:
        raise OSError(errno.EBADF, "standard output is closed")
    if binary and not force and on_terminal(sys.stdout):
        raise Refused("compressed data is not written to a terminal", hint="use -o FILE, or -f to force it")
    sys.stdout.flush()
    descriptor = sys.stdout.fileno()
    refuse_same_file(source, os.fstat(descriptor))
    return DescriptorOutput("standard output", descriptor, force=force)


def refuse_as_output(sources: Iterable[Source], name: str | None) -> None:
    """Raise Refused if the output of this name, where it has one of its own, is one of the sources."""
    if name not in (None, STDIO) and os.path.exists(name):
        for source in sources:
            refuse_same_file(source, os.stat(name))


def refuse_same_file(source: Source | None, status: os.stat_result) -> None:
    if (
        source is not None
        and source.status is not None
        and stat.S_ISREG(status.st_mode)
        and os.path.samestat(source.status, status)
    ):
        raise Refused("input and output are the same file")
