"""bzip2 streams, made as libbz2 makes them, to the bit (format.md 9).

Never calls the libbz2 that is installed: closing must not depend on it.
"""

from itertools import chain
from typing import Any

from llmzip import native
from llmzip.bzip2 import fused, reference

engine: Any = fused if native.library is not None else reference

Data = bytes | bytearray | memoryview

__all__ = ["compress", "makes", "memory_needed"]


def compress(plain: Data, level: int) -> bytes:
    """The stream of these bytes, in blocks of `level` (1 to 9) times 100 000."""
    return b"".join(_pieces(plain, level))


def makes(stream: Data, plain: Data, level: int) -> bool:
    """Whether this is the stream of these bytes. Does no more work than up to the first block that is another."""
    stream, at = memoryview(stream), 0
    for piece in _pieces(plain, level):
        if stream[at : at + len(piece)] != piece:
            return False
        at += len(piece)
    return at == len(stream)


def memory_needed(n_bytes: int) -> int:
    """Bytes of memory that the C library takes for the stream of so many, besides the stream."""
    return fused.OF_EACH * min(n_bytes + n_bytes // 4, 9 * reference.UNIT) + fused.OF_ALL


def _pieces(plain: Data, level: int) -> chain[bytes]:
    if not 1 <= level <= 9:
        raise ValueError("level must be 1 to 9")
    return chain([b"BZh%d" % level], engine.blocks(memoryview(plain).cast("B"), level))
