"""Deflate streams and their pieces: what `deflate` says, in the terms of openings. A piece goes on from what stands before it, and from nothing else."""

from llmzip import deflate
from llmzip.deflate import Opened

WINDOW = 1 << 15  # bytes before a piece that it may refer to


def open(data: bytes, start: int, max_plain: int, window: bytes | None = None) -> Opened | None:
    """What the stream at `start` holds, up to so many bytes; None: there is none, or it is not worth it. `window`: it goes on from these bytes."""
    before = None if window is None else deflate.State(window)
    return deflate.open_stream(data, start, max_plain=max_plain, before=before)


def close(plain: bytes, recipe: bytes, window: bytes | None = None) -> tuple[bytes, bool]:
    """The stream, or the piece of it, that was opened, and whether it has ended. FormatError for a recipe that nobody writes."""
    stream, state = deflate.close_stream(plain, recipe, None if window is None else deflate.State(window))
    return stream, state is None
