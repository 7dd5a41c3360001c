"""bzip2 streams, whole ones: in files of one or of many, and in anything else.

Opened by Python's own bz2, where that is installed, since what a stream holds is never in doubt; closed by llmzip's.
"""

from typing import NamedTuple

from llmzip import bzip2
from llmzip.errors import FormatError
from llmzip.openings.kinds import Kind

# Bytes that are looked at, and made, together: what follows a stream is copied no more than that, and what a block
# holds that is found wrong at its end is known.
STEP = 1 << 16


class Unpacked(NamedTuple):
    """What was made of a stream."""

    plain: bytes
    size: int  # bytes of the stream; 0: it is none, or holds more than it may, or is cut
    is_cut: bool = False  # by the end of the content


class Bzip2(Kind):
    """A stream from `BZh` on. Nothing of it is in the body. Field: its level."""

    name = "bzip2"
    is_deflated = False
    fields = ("level",)

    def wrap(self, head: bytes, plain: bytes, stream: bytes, fields: tuple[int, ...]) -> bytes:
        if not 1 <= fields[0] <= 9:
            raise FormatError("side information of a bzip2 stream is damaged")
        return bzip2.compress(plain, fields[0])

    def unpack(self, content: bytes, at: int, most: int) -> Unpacked:
        """What the stream that begins at `at` holds, up to `most` bytes."""
        try:
            from bz2 import BZ2Decompressor
        except ImportError:
            return Unpacked(b"", 0)
        decompressor, plain, end = BZ2Decompressor(), bytearray(), at
        while not decompressor.eof and len(plain) <= most:
            piece = content[end : end + STEP] if decompressor.needs_input else b""
            if decompressor.needs_input and not piece:
                return Unpacked(bytes(plain), 0, is_cut=True)
            end += len(piece)
            try:
                plain += decompressor.decompress(piece, min(STEP, most + 1 - len(plain)))
            except OSError:
                return Unpacked(bytes(plain), 0)
        is_whole = decompressor.eof and len(plain) <= most
        return Unpacked(bytes(plain), end - len(decompressor.unused_data) - at if is_whole else 0)

    def is_ours(self, stream: bytes, plain: bytes, level: int) -> bool:
        """Whether it will be closed to the very stream."""
        return bzip2.makes(stream, plain, level)


BZIP2 = Bzip2()
