"""File objects and buffers as others make them: with `read` or `write` alone, in part, or not yet; of any shape.

Knows nothing of .lmz files.
"""

import errno
import io
import selectors
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from typing_extensions import Buffer


def flat(data: "Buffer") -> memoryview:
    """The bytes of an object that has some, whatever its shape and format, in the order of its elements."""
    view = memoryview(data)
    return view if view.format == "B" and view.ndim == 1 and view.contiguous else memoryview(view.tobytes())


def can_seek(file: BinaryIO) -> bool:
    """Whether one can go to any place of the file. Objects need have no more than `read` or `write`."""
    try:
        if not (file.seekable() if hasattr(file, "seekable") else hasattr(file, "seek")):
            return False
        file.tell()
    except (AttributeError, OSError):  # a pipe that says it can, or an object that lacks one of them
        return False
    return True


def reader(file: BinaryIO) -> Callable[[int], bytes]:
    """A function that reads what there is, up to so many bytes, and waits while there is nothing yet; empty at the end.

    Raises BlockingIOError where a file has no bytes at hand and no descriptor to wait for.
    """
    read: Callable[[int], Any] = getattr(file, "read1", None) or file.read

    def read_some(n: int) -> bytes:
        while (data := read(n)) is None:
            if not _wait(file, selectors.EVENT_READ):
                raise BlockingIOError(errno.EAGAIN, "the file has no bytes at hand")
        if isinstance(data, str):
            raise TypeError("a file of bytes is needed, not of text")
        return bytes(data)

    return read_some


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write every byte. A raw file may take a part of them, or none until it is ready.

    Raises BlockingIOError, which says how many were written, where there is no descriptor to wait for.
    """
    view = memoryview(data)
    while view:
        n: Any = file.write(view)
        if n is None and not isinstance(file, io.RawIOBase):  # as many objects that are no files say: all of it
            return
        if not n:
            if not _wait(file, selectors.EVENT_WRITE):
                done = len(data) - len(view)
                raise BlockingIOError(errno.EAGAIN, f"the file took {done} of {len(data)} bytes", done)
        elif isinstance(n, bool) or not isinstance(n, int) or n >= len(view):
            return
        else:
            view = view[n:]


def _wait(file: BinaryIO, event: int) -> bool:
    """Wait until a file that does not block is ready; False where one cannot."""
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(file, event)
            selector.select()
    except (AttributeError, TypeError, ValueError, OSError):  # no descriptor, or none of a kind that can be waited for
        return False
    return True
