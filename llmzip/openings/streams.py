"""Deflate streams and their pieces, as `deflate` has them.

A piece is opened, and closed, with no more than the window that stands before it.
"""

from llmzip import deflate
from llmzip.deflate import Opened, State

WINDOW = 1 << 15  # bytes before a piece that it may refer to
FACTOR, MOST = 8, 1 << 24  # of the bytes that a piece is to hold; bytes that it may hold

__all__ = ["WINDOW", "Opened", "State", "close", "open"]


def open(data: bytes, start: int, max_plain: int, before: State | None = None) -> Opened | None:
    """What the stream at `start` holds, up to so many bytes; None: there is none, or it is not worth it.

    `before`: it goes on from there.

    Where not even its first block is so short, up to FACTOR times as many: what repeats itself is deflated to long
    blocks.
    """
    most = min(FACTOR * max_plain, MOST)
    return deflate.open_stream(data, start, max_plain=max_plain, max_first=most, before=before and before.alone)


def close(plain: bytes, recipe: bytes, window: bytes | None = None) -> tuple[bytes, bool]:
    """The stream, or the piece of it, that was opened, and whether it has ended.

    FormatError for a recipe that nobody writes.
    """
    stream, state = deflate.close_stream(plain, recipe, None if window is None else State(window))
    return stream, state is None
