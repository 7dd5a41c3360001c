"""Outputs: where the bytes of a result go."""

import os
import re
import stat
import sys
from types import TracebackType
from typing import Self

from llmzip.cli.descriptors import Writer
from llmzip.cli.fileio.names import Refused, told_as

try:
    import fcntl
except ImportError:  # Windows: what a killed process has left stays
    fcntl = None  # type: ignore[assignment]


# What text has no use for, and a terminal may obey: all control characters but \t \n \f \r, and those above 127.
_STEERING = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f\x7f]|\xc2[\x80-\x9f]")
_STEERING_8_BIT = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")  # where a terminal takes each byte for a character


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
        with told_as(name):
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
        with told_as(self.name):
            self._writer.write(data)

    def complete(self, like: os.stat_result | None) -> list[str]:
        with told_as(self.name):
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
