"""Deflate streams, opened into what they hold and a recipe that closes them again to the bit (format.md).

Never calls the zlib that is installed: other versions of it give other bits.
"""

from typing import Any, NamedTuple

from llmzip import native
from llmzip.deflate import fused, reference
from llmzip.deflate.estimate import guess
from llmzip.deflate.parameters import parse_head
from llmzip.deflate.state import State
from llmzip.errors import FormatError

engine: Any = fused if native.library is not None else reference

Data = bytes | bytearray | memoryview

__all__ = ["Opened", "State", "close_stream", "open_stream"]

DEAREST = 4  # a recipe takes at most this part of the stream


class Opened(NamedTuple):
    """A stream or a piece of one."""

    plain: bytes  # what it holds, from its start or from where the piece before left it
    recipe: bytes  # all that close_stream needs besides
    size: int  # bytes of the closed stream; one that is shared with the next piece belongs to that
    state: State | None  # where the next piece goes on; None: the stream has ended


def open_stream(
    data: Data, start: int = 0, *, max_plain: int, max_first: int = 0, before: State | None = None
) -> Opened | None:
    """The stream that begins at this byte, or its deflate blocks that hold no more than `max_plain`.

    Where not even the first of them does, those that hold no more than `max_first`.
    None: there is no valid one, or nothing that pays. What is given out has been closed again and compared.
    """
    data = memoryview(data).cast("B")
    stream = engine.inflate(data, start, max_plain, before)
    if stream is None and max_first > max_plain:
        stream = engine.inflate(data, start, max_first, before)
    if stream is None:
        return None
    size = (stream.at >> 3) - start
    recipe = guess(stream, size // DEAREST, before)
    if recipe is None:
        return None
    closed, state = close_stream(stream.plain, recipe, before)
    return Opened(stream.plain, recipe, size, state) if closed == data[start : start + size] else None


def close_stream(plain: Data, recipe: bytes, before: State | None = None) -> tuple[bytes, State | None]:
    """The stream, and the state of the next piece. FormatError, in bounded time, for a recipe that is damaged."""
    plain = memoryview(plain).cast("B")
    head, corrections = parse_head(recipe)
    if head.continued != (before is not None):
        raise FormatError("a recipe of a deflate stream stands in the wrong place")
    closed: tuple[bytes, State | None] = engine.read(plain, head, corrections, before)
    return closed
