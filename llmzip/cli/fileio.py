"""The files of the command line: their names, and all that keeps a user's data safe. Every call of the system is here.

A file is written under a temporary name beside its place and gets its name when it is complete, so that there is never
a part of one; nothing is overwritten or deleted unasked. Knows nothing of models, of the format or of typer.
"""

import contextlib
import errno
import io
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import BinaryIO, Self

from llmzip.cli.display import on_terminal
from llmzip.errors import LlmzipError

SUFFIX = ".lmz"
STDIO = "-"  # as a name: standard input or output
READ_SIZE = 1 << 16

# What text has no use for, and a terminal may obey: all control characters but \t \n \f \r.
_STEERING = bytes(b for b in (*range(32), 127) if b not in b"\t\n\f\r")


class Refused(LlmzipError):
    """Not done because it could harm data or a terminal; the user may insist."""


class Skipped(LlmzipError):
    """Nothing to do for this file: a warning, no error."""


# --- names


def compressed_name(name: str, suffix: str) -> str:
    if _has_suffix(name, suffix):
        raise Skipped(f"already has the suffix {suffix}", hint="use -c or -o FILE to compress it again")
    return name + suffix


def plain_name(name: str, suffix: str) -> str:
    if not _has_suffix(name, suffix):
        raise Refused(f"does not end in {suffix}", hint="name the output with -o FILE")
    return name[: -len(suffix)]


def _has_suffix(name: str, suffix: str) -> bool:
    return name.endswith(suffix) and os.path.basename(name) != suffix


def shown(name: str, standard: str) -> str:
    """A name for messages."""
    return standard if name == STDIO else name


# --- reading


class Source:
    """An input, open for reading. `size` is None where it cannot be known beforehand."""

    def __init__(self, name: str, file: BinaryIO, *, owned: bool) -> None:
        self.name = name
        self.file = file
        self._owned = owned
        try:
            self.status: os.stat_result | None = os.fstat(file.fileno())
        except OSError:  # no descriptor behind it
            self.status = None
        regular = self.status is not None and stat.S_ISREG(self.status.st_mode)
        self.size = self.status.st_size if regular and self.status is not None else None
        self.like = self.status if regular and owned else None  # whose times and permissions the result takes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._owned:
            self.file.close()

    def chunks(self) -> Iterator[bytes]:
        while chunk := self.file.read(READ_SIZE):
            yield chunk

    def seekable(self) -> bool:
        """Whether it can be read more than once, from the start."""
        return self.size is not None and self._owned

    def random_access(self) -> BinaryIO:
        """The file, or what comes out of a pipe, all in memory."""
        return self.file if self.seekable() else io.BytesIO(self.file.read())

    def unchanged(self) -> bool:
        """Whether the name still leads to the very bytes that were read."""
        then, now = self.status, os.stat(self.name)
        return then is not None and _identity(then) == _identity(now)


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def open_source(name: str, *, any_kind: bool = True, links: bool = True) -> Source:
    """Open an input: a link only if `links`, a pipe or device only if `any_kind`, a directory never."""
    if name == STDIO:
        if sys.stdin is None:
            raise OSError(errno.EBADF, "standard input is closed")
        return Source(name, sys.stdin.buffer, owned=False)
    followed = os.stat(name)
    if stat.S_ISDIR(followed.st_mode):
        raise Skipped("is a directory")
    if not links and os.path.islink(name):
        raise Skipped("is a symbolic link", hint="use -f to follow it")
    if not any_kind and not stat.S_ISREG(followed.st_mode):
        raise Skipped("is not a regular file", hint="use -c or -o FILE to read it")
    return Source(name, open(name, "rb"), owned=True)


def refuse_terminal_input(name: str) -> None:
    """Compressed data does not come from a keyboard."""
    if name == STDIO and on_terminal(sys.stdin):
        raise Refused("compressed data cannot be read from a terminal", hint="name a file, or see --help")


# --- writing


class Output:
    """Where the bytes of one result go. This one goes nowhere: for tests, and the root of the others."""

    name = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def write(self, data: bytes) -> None:
        pass

    def complete(self, like: os.stat_result | None) -> None:
        """Everything is written: make it last, with the times and permissions of the source."""

    def publish(self) -> None:
        """Give it its name."""


class StdoutOutput(Output):
    """Standard output. What is not text stays off a terminal unless forced."""

    name = "standard output"

    def __init__(self, *, force: bool) -> None:
        if sys.stdout is None:
            raise OSError(errno.EBADF, "standard output is closed")
        self._guarded = on_terminal(sys.stdout) and not force

    def write(self, data: bytes) -> None:
        if self._guarded and len(data.translate(None, _STEERING)) < len(data):
            raise Refused(
                "the content is not text and would be written to a terminal", hint="use -o FILE, or -f to force it"
            )
        if data:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()


class DeviceOutput(Output):
    """A device or pipe that has a name: written as it is, never replaced."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> Self:
        self._file = open(self.name, "wb", buffering=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]


class FileOutput(Output):
    """A regular file: complete under its name, or not there."""

    def __init__(self, name: str, *, replace: bool) -> None:
        self.name = name
        self._replace = replace
        # A link that is overwritten goes on to be a link: so the temporary file is made beside what it leads to.
        self._path = os.path.realpath(name) if replace else name
        self._folder = os.path.dirname(self._path) or os.curdir
        self._temporary: str | None = None

    def __enter__(self) -> Self:
        # Known before it is made: a signal that comes in between finds it.
        self._temporary = os.path.join(self._folder, f".llmzip-{secrets.token_hex(8)}.tmp")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        try:
            self._file = os.fdopen(os.open(self._temporary, flags, 0o600), "w+b")
        except BaseException as error:
            self._discard()
            if isinstance(error, OSError):
                error.filename = self.name  # the name that the user knows
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with contextlib.suppress(OSError):  # a full disk once more: the first error is the one to tell
                self._file.close()
        finally:
            self._discard()

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def complete(self, like: os.stat_result | None) -> None:
        self._file.flush()
        descriptor = self._file.fileno()
        if like is None:
            os.chmod(descriptor, 0o666 & ~_umask())
        else:
            _copy_status(descriptor, like)
        os.fsync(descriptor)

    def size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def read_back(self) -> Iterator[bytes]:
        """What has been written, from the start."""
        self._file.seek(0)
        while chunk := self._file.read(READ_SIZE):
            yield chunk

    def publish(self) -> None:
        assert self._temporary is not None
        self._file.close()
        if self._replace:
            os.replace(self._temporary, self._path)
        else:
            _rename_new(self._temporary, self._path)
        self._discard()
        _sync_folder(self._folder)

    def _discard(self) -> None:
        """Once published, the temporary name is gone or is a second name of the file."""
        if self._temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._temporary)
            self._temporary = None


def _rename_new(old: str, new: str) -> None:
    """Rename, unless a file of the new name has appeared in the meantime."""
    try:
        os.link(old, new)  # unlike a rename, never replaces
    except FileExistsError:
        raise Refused(f"{new} already exists", hint="use -f to overwrite it") from None
    except OSError:  # no links on this file system: hold the name with an empty file
        try:
            os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            raise Refused(f"{new} already exists", hint="use -f to overwrite it") from None
        os.replace(old, new)


def _umask() -> int:
    mask = os.umask(0o077)  # there is no other way to read it
    os.umask(mask)
    return mask


def _copy_status(descriptor: int, like: os.stat_result) -> None:
    """Owner where we may, permissions, times. Set-id bits are never copied."""
    mode = stat.S_IMODE(like.st_mode) & 0o777
    if hasattr(os, "fchown"):
        with contextlib.suppress(OSError):
            os.fchown(descriptor, like.st_uid, -1)
        try:
            os.fchown(descriptor, -1, like.st_gid)
        except OSError:  # another group must not get rights that were given to this one
            others = mode & 0o007 & (mode >> 3)
            mode = mode & 0o700 | others << 3 | others
    os.chmod(descriptor, mode)
    os.utime(descriptor, ns=(like.st_atime_ns, like.st_mtime_ns))


def _sync_folder(folder: str) -> None:
    """Make the new name last. Not every system lets a folder be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def open_output(name: str, source: Source, *, force: bool, may_replace: Callable[[str], bool]) -> Output:
    """The output of this name for this source, checked before any work is done. `may_replace` asks the user."""
    try:
        status = os.stat(name)
    except FileNotFoundError:
        if os.path.islink(name):  # leads nowhere, but the name is taken
            _refuse_replacement(name, force, may_replace)
            return FileOutput(name, replace=True)
        return FileOutput(name, replace=False)
    if stat.S_ISDIR(status.st_mode):
        raise Refused(f"{name} is a directory", hint="name the output with -o FILE")
    refuse_same_file(source, status)
    if not stat.S_ISREG(status.st_mode):
        return DeviceOutput(name)
    _refuse_replacement(name, force, may_replace)
    return FileOutput(name, replace=True)


def _refuse_replacement(name: str, force: bool, may_replace: Callable[[str], bool]) -> None:
    if not force and not may_replace(name):
        raise Refused(f"{name} already exists", hint="use -f to overwrite it")


def open_stdout(source: Source, *, binary: bool, force: bool) -> Output:
    """Standard output for this source. `binary`: what comes is certainly not for a terminal."""
    if binary and not force and on_terminal(sys.stdout):
        raise Refused("compressed data is not written to a terminal", hint="use -o FILE, or -f to force it")
    output = StdoutOutput(force=force)
    with contextlib.suppress(OSError):  # no descriptor behind it
        refuse_same_file(source, os.fstat(sys.stdout.fileno()))
    return output


def refuse_same_file(source: Source, status: os.stat_result) -> None:
    if source.status is not None and stat.S_ISREG(status.st_mode) and os.path.samestat(source.status, status):
        raise Refused("input and output are the same file")


# --- deleting and comparing


def same_content(source: Source, decoded: Iterator[bytes]) -> bool:
    """Whether the source, read once more from the start, is exactly this."""
    source.file.seek(0)
    for piece in decoded:
        if source.file.read(len(piece)) != piece:
            return False
    return not source.file.read(1)


def delete(source: Source) -> None:
    """Remove a source whose result is safe on the disk."""
    if not source.unchanged():
        raise Refused("has changed while it was read, and is kept")
    os.unlink(source.name)


def silence_stdout() -> None:
    """Nobody reads any more: keep the interpreter from complaining about it when it flushes at its end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)
