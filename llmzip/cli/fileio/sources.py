"""Inputs: reading them, and deleting them once there is a result."""

import contextlib
import io
import os
import select
import stat
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, Self

from llmzip.cli.descriptors import read_some
from llmzip.cli.fileio.names import Refused, Skipped
from llmzip.cli.fileio.status import special_bits

READ_SIZE = 1 << 16
MOMENT = 0.005  # seconds

Identity = tuple[int, int, int, int]


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

    def is_here(self) -> bool:
        """Whether reading does not wait, for there is something, or the end. A pipe is given a moment to be filled."""
        if self.size is not None or self._descriptor is None:
            return True
        try:
            return bool(select.select([self._descriptor], [], [], MOMENT)[0])
        except (OSError, ValueError):  # Windows asks sockets alone, and some systems no descriptor above 1023
            return False

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
        return then is not None and identity_of(then) == identity_of(now)

    def changed_while_read(self) -> bool:
        """Whether a regular file has another size by now than when it was opened, or another time of writing."""
        if self.size is None or self._descriptor is None or self.status is None:
            return False
        return identity_of(self.status) != identity_of(os.fstat(self._descriptor))

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
        if lost := special_bits(self.like):
            raise Skipped(f"has {lost} set, which its result would not", hint="use -f to do it all the same")


def identity_of(status: os.stat_result) -> Identity:
    """What tells whether a file is still the one that was read."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


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
