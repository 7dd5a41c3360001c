"""The files of the command line: their names, and all that keeps a user's data safe.

A file is written under a temporary name beside its place and gets its name when it is complete, so that there is never
a part of one; nothing is overwritten or deleted unasked. Knows nothing of models, of the format or of typer.
"""

import contextlib
import errno
import hashlib
import io
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import BinaryIO, Self, TextIO, cast

from llmzip.cli.descriptors import Writer, descriptor_of, read_some
from llmzip.cli.display import on_terminal
from llmzip.errors import LlmzipError

try:
    import fcntl
except ImportError:  # Windows: what a killed process has left stays
    fcntl = None  # type: ignore[assignment]

SUFFIX = ".lmz"
STDIO = "-"  # as a name: standard input or output
READ_SIZE = 1 << 16

# What text has no use for, and a terminal may obey: all control characters but \t \n \f \r, and those above 127.
_STEERING = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f\x7f]|\xc2[\x80-\x9f]")
_STEERING_8_BIT = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")  # where a terminal takes each byte for a character

_MAX_TEMPORARIES = 1000
_NOT_HERE = {
    errno.EPERM,
    errno.EACCES,
    errno.EINVAL,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EROFS,
    errno.ENOTTY,
}


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
    """An input, open for reading. `size` is None where it cannot be known beforehand.

    A regular file is read as far as it went when it was opened: a log may grow faster than it is coded.
    """

    def __init__(self, name: str, file: BinaryIO, *, owned: bool = True, named: bool = True) -> None:
        self.name = name
        self.file = file
        self._owned = owned  # and closed in the end
        self._descriptor: int | None = None
        self.status: os.stat_result | None = None
        with contextlib.suppress(OSError):  # no descriptor behind it
            self._descriptor = file.fileno()
            self.status = os.fstat(self._descriptor)
        regular = self.status is not None and stat.S_ISREG(self.status.st_mode)
        # Files of /proc say that they are empty.
        self.size = self.status.st_size or None if regular and self.status is not None else None
        self.like = self.status if regular and named else None  # whose times and permissions the result takes
        self._left = self.size
        if self.size is not None and self._descriptor is not None:
            self._left = max(0, self.size - os.lseek(self._descriptor, 0, os.SEEK_CUR))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._owned:
            self.file.close()

    def read(self, size: int) -> bytes:
        """What is there, at most `size` bytes; empty at the end."""
        if self._left is not None:
            size = min(size, self._left)
        if self._descriptor is None:
            return self.file.read(size)
        data = read_some(self._descriptor, size) if size else b""
        if self._left is not None:
            self._left -= len(data)
        return data

    def chunks(self) -> Iterator[bytes]:
        while chunk := self.read(READ_SIZE):
            yield chunk

    def seekable(self) -> bool:
        """Whether it can be read more than once, from the start."""
        return self.like is not None and self.size is not None

    def restart(self) -> None:
        """Read from the start again."""
        self.file.seek(0)
        self._left = self.size

    def random_access(self) -> BinaryIO:
        """The file, or what comes out of a pipe, all in memory."""
        return self.file if self.seekable() else io.BytesIO(b"".join(self.chunks()))

    def unchanged(self) -> bool:
        """Whether the name still leads to the very bytes that were read."""
        then, now = self.status, os.stat(self.name)
        return then is not None and _identity(then) == _identity(now)

    def changed_while_read(self) -> bool:
        """Whether a regular file has another size by now than when it was opened, or another time of writing."""
        if self.size is None or self._descriptor is None or self.status is None:
            return False
        return _identity(self.status) != _identity(os.fstat(self._descriptor))

    def check_removable(self, *, force: bool) -> None:
        """Raise unless it may be deleted by its name, once there is a result."""
        if self.like is None:
            raise Refused("--rm takes regular files, and this is none")
        if force:
            return
        if self.like.st_nlink > 1:
            raise Skipped(
                f"has {self.like.st_nlink - 1} other name(s) that --rm would leave", hint="use -f to do it all the same"
            )
        if lost := _special_bits(self.like):
            raise Skipped(f"has {lost} set, which its result would not", hint="use -f to do it all the same")


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _special_bits(status: os.stat_result) -> str:
    bits = {stat.S_ISUID: "the set-user-ID bit", stat.S_ISGID: "the set-group-ID bit", stat.S_ISVTX: "the sticky bit"}
    return ", ".join(name for bit, name in bits.items() if status.st_mode & bit)


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
        return Source(name, os.fdopen(_duplicate(descriptor), "rb", buffering=0), named=False)
    return Source(name, open(name, "rb", buffering=0))


def _duplicate(descriptor: int) -> int:
    """A descriptor of our own for the same open file."""
    if descriptor < 3 and (sys.stdin, sys.stdout, sys.stderr)[descriptor] is None:
        raise OSError(errno.EBADF, f"descriptor {descriptor} is closed")
    return os.dup(descriptor)


def refuse_terminal_input(name: str) -> None:
    """Compressed data does not come from a keyboard."""
    if name == STDIO and on_terminal(sys.stdin):
        raise Refused("compressed data cannot be read from a terminal", hint="name a file, or see llmzip --help")


# --- writing


class Output:
    """Where the bytes of one result go. This one goes nowhere: for tests, and the root of the others."""

    name = ""
    is_safe = False  # whether it is known to be on a disk

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def write(self, data: bytes) -> None:
        pass

    def complete(self, like: os.stat_result | None) -> list[str]:
        """Make it last, with the times and permissions of the source. Returns what of that was refused."""
        return []

    def check_written(self) -> None:
        """Raise unless what can be read back is what was written."""

    def publish(self) -> None:
        """Give it its name."""


class DescriptorOutput(Output):
    """What is open already, as standard output is: written from where it stands, never replaced.

    What is not text stays off a terminal unless forced.
    """

    def __init__(self, name: str, descriptor: int, *, force: bool, owned: bool = False) -> None:
        self.name = name
        self._descriptor = descriptor
        self._owned = owned
        self._guard = None if force or not os.isatty(descriptor) else _terminal_guard()
        self._last = b""  # byte: what steers may come in two pieces
        with _told_as(name):
            self._writer = Writer(descriptor, sparse=_takes_holes(descriptor))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._owned:
            os.close(self._descriptor)

    def write(self, data: bytes) -> None:
        if self._guard is not None and self._guard.search(self._last + data):
            raise Refused(
                "the content is not text and would be written to a terminal", hint="use -o FILE, or -f to force it"
            )
        self._last = data[-1:]
        with _told_as(self.name):
            self._writer.write(data)

    def complete(self, like: os.stat_result | None) -> list[str]:
        with _told_as(self.name):
            self._writer.finish()
        return []


def _terminal_guard() -> re.Pattern[bytes]:
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "")
    return _STEERING if encoding == "utf8" else _STEERING_8_BIT


def _takes_holes(descriptor: int) -> bool:
    """Whether it is a regular file at whose end we stand. (What appends moves to the end by itself.)"""
    status = os.fstat(descriptor)
    if fcntl is None or not stat.S_ISREG(status.st_mode) or fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND:
        return False
    return os.lseek(descriptor, 0, os.SEEK_CUR) == status.st_size


class FileOutput(Output):
    """A regular file: complete under its name, or not there.

    Errors of the system name it as the user does. The temporary file is locked while we live, so that the next who writes
    this output can tell one whose writer was killed.
    """

    def __init__(self, name: str, *, replace: bool) -> None:
        self.name = name
        self._replace = replace
        # A link that is overwritten goes on to be a link: so the temporary file is made beside what it leads to.
        self._path = os.path.realpath(name) if replace else name
        self._folder = os.path.dirname(self._path) or os.curdir
        self._temporary: str | None = None
        self._descriptor: int | None = None
        self._digest = hashlib.sha256()

    def __enter__(self) -> Self:
        try:
            with _told_as(self.name):
                self._create()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with contextlib.suppress(OSError):  # a full disk once more: the first error is the one to tell
                self._close()
        finally:
            self._discard()

    def _create(self) -> None:
        """The temporary file, under the first name of its kind that is free, or that a killed process has left."""
        key = hashlib.sha256(os.fsencode(os.path.basename(self._path))).hexdigest()[:16]
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        for number in range(_MAX_TEMPORARIES):
            name = os.path.join(self._folder, f".llmzip-{key}-{number}.tmp")
            _remove_left_over(name)
            try:
                self._descriptor = os.open(name, flags, 0o600)
            except FileExistsError:
                continue
            self._temporary, self._status = name, os.fstat(self._descriptor)
            _temporaries.add(name)
            if _lock(self._descriptor) and os.fstat(self._descriptor).st_nlink:
                self._writer = Writer(self._descriptor, sparse=True)
                return
            self._close()  # taken for a left-over in the moment before it was locked
            self._discard()
        raise FileExistsError(errno.EEXIST, "too many temporary files for it", self.name)

    def write(self, data: bytes) -> None:
        self._digest.update(data)
        with _told_as(self.name):
            self._writer.write(data)

    def complete(self, like: os.stat_result | None) -> list[str]:
        assert self._descriptor is not None
        with _told_as(self.name):
            self._writer.finish()
            refused = _copy_status(self._descriptor, like)
            try:
                os.fsync(self._descriptor)
                self.is_safe = True
            except OSError as error:
                refused += [_refusal(error, "cannot be made sure to be on the disk")]
        return refused

    def restart(self) -> None:
        """Read from the start what has been written."""
        assert self._descriptor is not None
        os.lseek(self._descriptor, 0, os.SEEK_SET)

    def read(self, size: int) -> bytes:
        assert self._descriptor is not None
        with _told_as(self.name):
            return read_some(self._descriptor, size)

    def size(self) -> int:
        assert self._descriptor is not None
        return os.fstat(self._descriptor).st_size

    def check_written(self) -> None:
        self.restart()
        digest = hashlib.sha256()
        while chunk := self.read(READ_SIZE):
            digest.update(chunk)
        if digest.digest() != self._digest.digest():
            raise LlmzipError(
                f"{self.name} does not read back as it was written", hint="this disk loses data; nothing was deleted"
            )

    def publish(self) -> None:
        assert self._temporary is not None
        with _told_as(self.name):
            if self._replace:
                os.replace(self._temporary, self._path)
            else:
                _rename_new(self._temporary, self._path)
            self._discard()
            self._close()
        _sync_folder(self._folder)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _discard(self) -> None:
        """Take the temporary name away, if it is still ours: once published, it is free for others."""
        if self._temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(self._status, os.lstat(self._temporary)):
                    os.unlink(self._temporary)
            _temporaries.discard(self._temporary)
            self._temporary = None


_temporaries: set[str] = set()  # of outputs that are not complete


def discard_temporaries() -> None:
    """For a process that ends at once."""
    for name in list(_temporaries):
        with contextlib.suppress(OSError):
            os.unlink(name)


def _lock(descriptor: int) -> bool:
    """Whether nobody else holds it. Without locks here, nobody takes a file for a left-over either."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _remove_left_over(name: str) -> None:
    """Delete a temporary file whose writer is dead: then nobody has it locked."""
    if fcntl is None or not os.path.lexists(name):
        return
    with contextlib.suppress(OSError):  # another user's, or no locks here: it stays
        descriptor = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.lstat(name)):
                os.unlink(name)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _told_as(name: str) -> Iterator[None]:
    """Errors of the system name the file that the user knows, and not a temporary one or none."""
    try:
        yield
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            error.filename, error.filename2 = name, None
        raise


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


def _copy_status(descriptor: int, like: os.stat_result | None) -> list[str]:
    """Owner where we may, permissions, times. Set-id bits are never copied. What was refused."""
    refused = []
    mode = 0o666 & ~_umask() if like is None else _copy_owner(descriptor, like)
    try:
        os.chmod(descriptor, mode)
    except OSError as error:
        refused.append(_refusal(error, "has other permissions than it should have"))
    if like is not None:
        try:
            os.utime(descriptor, ns=(like.st_atime_ns, like.st_mtime_ns))
        except OSError as error:
            refused.append(_refusal(error, "has other times than its source"))
        if lost := _special_bits(like):
            refused.append(f"does not have {lost} of its source")
    return refused


def _copy_owner(descriptor: int, like: os.stat_result) -> int:
    """The permissions that go with what could be done."""
    mode = stat.S_IMODE(like.st_mode) & 0o777
    if hasattr(os, "fchown"):
        with contextlib.suppress(OSError):
            os.fchown(descriptor, like.st_uid, -1)
        try:
            os.fchown(descriptor, -1, like.st_gid)
        except OSError:  # another group must not get rights that were given to this one
            others = mode & 0o007 & (mode >> 3)
            mode = mode & 0o700 | others << 3 | others
    return mode


def _refusal(error: OSError, what: str) -> str:
    """The words for something that a file system cannot do; anything else is an error."""
    if error.errno not in _NOT_HERE:
        raise error
    return f"{what}: {(error.strerror or str(error)).lower()}"


def _sync_folder(folder: str) -> None:
    """Make the new name last. Not every system lets a folder be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def open_output(
    name: str, source: Source, *, force: bool, only_files: bool, may_replace: Callable[[str], bool]
) -> Output:
    """The output of this name for this source, checked before any work is done. `may_replace` asks the user.

    `only_files`: something that stays, because the source will not.
    """
    descriptor = descriptor_of(name)
    if descriptor is not None:
        _refuse_passing(name, only_files)
        refuse_same_file(source, os.fstat(descriptor))
        return DescriptorOutput(name, _duplicate(descriptor), force=True, owned=True)
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
        with _told_as(name):
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


def refuse_same_file(source: Source, status: os.stat_result) -> None:
    if source.status is not None and stat.S_ISREG(status.st_mode) and os.path.samestat(source.status, status):
        raise Refused("input and output are the same file")


# --- deleting and comparing


def same_content(source: Source, decoded: Iterator[bytes]) -> bool:
    """Whether the source, read once more from the start, is exactly this."""
    source.restart()
    for piece in decoded:
        view = memoryview(piece)
        while view:
            read = source.read(len(view))
            if not read or read != view[: len(read)]:
                return False
            view = view[len(read) :]
    return not source.read(1)


def delete(source: Source) -> None:
    """Remove a source whose result is safe on the disk."""
    if not source.unchanged():
        raise Refused("has changed while it was read, and is kept")
    os.unlink(source.name)


def silence(stream: TextIO | None) -> None:
    """Nobody reads it any more: keep the interpreter from complaining about it when it flushes at its end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, cast(TextIO, stream).fileno())
        os.close(descriptor)


def silence_lost_messages() -> None:
    """What could not be told is still in the buffer, and is no reason for another exit code."""
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except (OSError, ValueError):
        silence(sys.stderr)
