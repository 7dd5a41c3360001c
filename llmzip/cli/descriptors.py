"""Bytes through descriptors of the system: every one of them, or an error. Waits where a descriptor would rather not.

Whether a read or write may block belongs to the open file, which others share: any of them can have changed it.
"""

import contextlib
import io
import os
import re
import select
import sys
from typing import Any, TextIO, cast

HOLE_SIZE = 1 << 12  # zeros that are left out of a file at a time: the usual size of the blocks of file systems

_ZEROS = bytes(HOLE_SIZE)
_MAX_LINKS = 40


def read_some(descriptor: int, size: int) -> bytes:
    """What is there, at most `size` bytes; empty only at the end."""
    while True:
        try:
            return os.read(descriptor, size)
        except BlockingIOError:
            select.select([descriptor], [], [])


def write_all(descriptor: int, data: "bytes | memoryview") -> None:
    """Every byte, however few the system takes at a time."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            select.select([], [descriptor], [])


class Writer:
    """Writes to a descriptor. `sparse`: zeros become holes; it must be a regular file and stand at its end."""

    def __init__(self, descriptor: int, *, sparse: bool) -> None:
        self._descriptor = descriptor
        self._sparse = sparse
        self._at = os.lseek(descriptor, 0, os.SEEK_CUR) if sparse else 0
        self._in_hole = False

    def write(self, data: bytes) -> None:
        if not self._sparse:
            write_all(self._descriptor, data)
            return
        view, start, at = memoryview(data), 0, 0
        while at < len(data):
            n = min(HOLE_SIZE - self._at % HOLE_SIZE, len(data) - at)
            # The first comparison spares nearly all others.
            self._in_hole = data[at] == 0 and data[at : at + n] == _ZEROS
            if self._in_hole:
                write_all(self._descriptor, view[start:at])
                os.lseek(self._descriptor, HOLE_SIZE, os.SEEK_CUR)
                start = at + n
            at += n
            self._at += n
        write_all(self._descriptor, view[start:])

    def finish(self) -> None:
        """A hole at the end is a matter of the size of the file."""
        if self._in_hole:
            os.ftruncate(self._descriptor, self._at)
            self._in_hole = False


class _Patient(io.RawIOBase):
    """A descriptor as a raw file that never writes a part and never has no room."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: Any, /) -> int:
        write_all(self._descriptor, data)
        return len(data)


def make_stdout_patient() -> None:
    """Standard output loses what a short write leaves where Python runs unbuffered, and has no patience otherwise."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        raw = _Patient(sys.stdout.fileno())
        encoding, errors = sys.stdout.encoding, sys.stdout.errors
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=raw.isatty())


def open_standard_descriptors() -> None:
    """Put /dev/null where 0, 1 or 2 is closed: the next file that is opened would become it, and get its messages."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def descriptor_of(name: str) -> int | None:
    """The descriptor that a name like /dev/stdout, /dev/fd/3 or /proc/self/fd/3 means, links to them included."""
    own = re.compile(rf"(?:/dev/fd|/proc/{os.getpid()}(?:/task/[0-9]+)?/fd)/([0-9]+)")
    for _ in range(_MAX_LINKS):
        folder, last = os.path.split(name)
        name = os.path.join(os.path.realpath(folder), last)
        if match := own.fullmatch(name):
            return int(match[1])
        try:
            name = os.path.join(os.path.dirname(name), os.readlink(name))
        except OSError:
            return None
    return None


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
