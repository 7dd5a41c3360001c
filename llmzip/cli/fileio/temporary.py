"""A file that is complete under its name, or not there.

Written under a temporary name, which is locked while we live.
"""

import contextlib
import errno
import hashlib
import os
from types import TracebackType
from typing import Self

from llmzip.cli.descriptors import Writer, read_some
from llmzip.cli.fileio.names import Refused, told_as
from llmzip.cli.fileio.outputs import Output
from llmzip.cli.fileio.sources import READ_SIZE
from llmzip.cli.fileio.status import copy_status, refusal
from llmzip.errors import LlmzipError

try:
    import fcntl
except ImportError:  # Windows: what a killed process has left stays
    fcntl = None  # type: ignore[assignment]


_MAX_TEMPORARIES = 1000


class FileOutput(Output):
    """A regular file: complete under its name, or not there.

    Errors of the system name it as the user does. The temporary file is locked while we live, so that the next who
    writes this output can tell one whose writer was killed.
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
            with told_as(self.name):
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
        with told_as(self.name):
            self._writer.write(data)

    def complete(self, like: os.stat_result | None) -> list[str]:
        assert self._descriptor is not None
        with told_as(self.name):
            self._writer.finish()
            refused = copy_status(self._descriptor, like)
            try:
                os.fsync(self._descriptor)
                self.is_safe = True
            except OSError as error:
                refused += [refusal(error, "cannot be made sure to be on the disk")]
        return refused

    def restart(self) -> None:
        """Read from the start what has been written."""
        assert self._descriptor is not None
        os.lseek(self._descriptor, 0, os.SEEK_SET)

    def read(self, size: int) -> bytes:
        assert self._descriptor is not None
        with told_as(self.name):
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
        with told_as(self.name):
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


def _sync_folder(folder: str) -> None:
    """Make the new name last. Not every system lets a folder be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
