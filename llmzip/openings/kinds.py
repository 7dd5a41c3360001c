"""What streams stand in: zip entries, gzip members, zlib streams, the chunks of a PNG.

Each kind knows how to find one and how to put it back.

Of what stands around a stream, the *head* stays in the body, before what the stream holds; sizes and checksums that the
stream itself tells are left out.
"""

import binascii
import re
import struct
import zlib
from typing import NamedTuple

from llmzip.errors import FormatError

MIN_PLAIN = 24  # bytes of what a stream holds, below which it is not worth a place in the side information
MIN_UNMARKED = 64  # the same, of a zlib stream that nothing announces
MIN_CHUNK = 8  # bytes of the chunks of a PNG
MAX_NAME = 4096  # bytes of a name or a comment in a head
LOOKED_BACK = 1 << 12  # bytes before a stream in which it is looked for what tells of its rows

# The first bytes of zlib headers, each with those that may follow: 16 bits divisible by 31, without a dictionary.
ZLIB_HEADERS = {
    first: [second for second in range(256) if (first << 8 | second) % 31 == 0 and not second & 0x20]
    for first in range(0x08, 0x88, 0x10)
}
ZLIB_HEADER = b"(?:%b)" % b"|".join(
    re.escape(bytes([first, second])) for first, seconds in ZLIB_HEADERS.items() for second in seconds
)


class Stream(NamedTuple):
    """A deflate stream with what stands around it, as it was found."""

    fields: tuple[int, ...]
    head: bytes
    size: int  # bytes of the content, all together


class Kind:
    """`mark`: what the body has where one begins (its end, if `announced`); None: told by the distance alone."""

    name = "raw"
    mark: "re.Pattern[bytes] | None" = None
    announced = False
    is_deflated = True  # then it has a recipe
    fields: tuple[str, ...] = ()

    def head_size(self, data: bytes, at: int, fields: tuple[int, ...] = ()) -> int:
        """Bytes of the head at `at`, of the content without `fields`, or of the body. FormatError if there is none."""
        return 0

    def unwrap(self, head: bytes, plain: bytes, stream: bytes, tail: bytes, ended: bool) -> Stream | None:
        """What is left out of head and tail; None: it is not what it looked like."""
        return Stream((), head, len(head) + len(stream))

    def wrap(self, head: bytes, plain: bytes, stream: bytes, fields: tuple[int, ...]) -> bytes:
        """The inverse."""
        return head + stream

    def row(self, content: bytes, at: int) -> int:
        """Bytes of a row of what the stream at `at` holds, if what stands before it tells; 0: it does not.

        Only a hint of what records there may be.
        """
        return 0


class _Checked(Kind):
    """Of kinds that a checksum ends: the only field tells whether it is left out."""

    fields = ("tail",)

    def checksum(self, plain: bytes) -> bytes:
        raise NotImplementedError

    def is_likely(self, plain: bytes, stream: bytes, ended: bool) -> bool:
        """Whether it is believed without the right checksum."""
        return len(plain) >= MIN_UNMARKED

    def unwrap(self, head: bytes, plain: bytes, stream: bytes, tail: bytes, ended: bool) -> Stream | None:
        check = self.checksum(plain)
        if ended and tail[: len(check)] == check:
            return Stream((1,), head, len(head) + len(stream) + len(check))
        return Stream((0,), head, len(head) + len(stream)) if self.is_likely(plain, stream, ended) else None

    def wrap(self, head: bytes, plain: bytes, stream: bytes, fields: tuple[int, ...]) -> bytes:
        return head + stream + (self.checksum(plain) if fields[0] else b"")


class Gzip(_Checked):
    name = "gzip"
    mark = re.compile(rb"\x1f\x8b\x08[\x00-\x1f]", re.DOTALL)

    def head_size(self, data: bytes, at: int, fields: tuple[int, ...] = ()) -> int:
        if at + 10 > len(data):
            raise FormatError("a gzip header ends too early")
        flags, size = data[at + 3], 10
        if flags & 4:
            size += 2 + int.from_bytes(data[at + size : at + size + 2], "little")
        for flag in (8, 16):
            if flags & flag:
                end = data.find(b"\0", at + size, at + size + MAX_NAME)
                if end < 0:
                    raise FormatError("a name in a gzip header has no end")
                size = end + 1 - at
        return size + (2 if flags & 2 else 0)

    def checksum(self, plain: bytes) -> bytes:
        return struct.pack("<II", binascii.crc32(plain), len(plain) & 0xFFFFFFFF)


class Pdf(_Checked):
    """A zlib stream of an object in a PDF."""

    name = "pdf"
    mark = re.compile(rb"stream\r?\n(?=%b)" % ZLIB_HEADER)
    announced = True

    def head_size(self, data: bytes, at: int, fields: tuple[int, ...] = ()) -> int:
        return 2

    def checksum(self, plain: bytes) -> bytes:
        return zlib.adler32(plain).to_bytes(4, "big")

    def row(self, content: bytes, at: int) -> int:
        """By the dictionary of the object: of a predictor, of an image, of a table of references."""
        start = content.rfind(b"obj", max(0, at - LOOKED_BACK), at)
        dictionary = content[start:at] if start >= 0 else b""

        def value(name: bytes, default: int) -> int:
            found = re.search(rb"/%b\s+(\d{1,5})\b" % name, dictionary)
            return int(found[1]) if found else default

        predictor, bits = value(b"Predictor", 1), value(b"BitsPerComponent", 8)
        if predictor > 1:  # from 10 on each row begins with a byte that names a filter
            return (value(b"Columns", 1) * value(b"Colors", 1) * bits + 7) // 8 + (predictor >= 10)
        if re.search(rb"/Subtype\s*/Image\b", dictionary):
            colors = 4 if b"CMYK" in dictionary else 1 if re.search(b"Gray|Indexed|ImageMask", dictionary) else 3
            return (value(b"Width", 0) * colors * bits + 7) // 8
        widths = re.search(rb"/W\s*\[\s*(\d)\s+(\d)\s+(\d)\s*\]", dictionary)
        return sum(map(int, widths.groups())) if widths else 0


class Zlib(Pdf):
    """A zlib stream anywhere: short ones are believed for the sake of their checksum alone."""

    name = "zlib"
    mark = re.compile(ZLIB_HEADER)
    announced = False

    def is_likely(self, plain: bytes, stream: bytes, ended: bool) -> bool:
        return not ended and len(stream) >= 1 << 12 and len(plain) > len(stream)

    def row(self, content: bytes, at: int) -> int:
        return 0

    def unwrap(self, head: bytes, plain: bytes, stream: bytes, tail: bytes, ended: bool) -> Stream | None:
        return None if len(plain) < MIN_UNMARKED else super().unwrap(head, plain, stream, tail, ended)


class Zip(Kind):
    """An entry of a zip archive from its local header on. Field: where its checksum and sizes were."""

    name = "zip"
    mark = re.compile(rb"PK\x03\x04.{4}\x08\x00", re.DOTALL)
    fields = ("sizes",)
    # Kept; bytes 14 to 25 of the header; after the stream, with PK 7 8 and without.
    NOWHERE, IN_HEADER, DESCRIPTOR, BARE_DESCRIPTOR = range(4)
    SIGNATURE = b"PK\x07\x08"

    def head_size(self, data: bytes, at: int, fields: tuple[int, ...] = ()) -> int:
        size = 18 if fields and fields[0] == self.IN_HEADER else 30
        n_name, n_extra = data[at + size - 4 : at + size - 2], data[at + size - 2 : at + size]
        return size + int.from_bytes(n_name, "little") + int.from_bytes(n_extra, "little")

    def unwrap(self, head: bytes, plain: bytes, stream: bytes, tail: bytes, ended: bool) -> Stream | None:
        sizes, size = self._sizes(plain, stream), len(head) + len(stream)
        if ended and head[14:26] == sizes:
            return Stream((self.IN_HEADER,), head[:14] + head[26:], size)
        if ended and tail[:16] == self.SIGNATURE + sizes:
            return Stream((self.DESCRIPTOR,), head, size + 16)
        if ended and tail[:12] == sizes:
            return Stream((self.BARE_DESCRIPTOR,), head, size + 12)
        return Stream((self.NOWHERE,), head, size) if len(plain) >= MIN_UNMARKED else None

    def wrap(self, head: bytes, plain: bytes, stream: bytes, fields: tuple[int, ...]) -> bytes:
        sizes = self._sizes(plain, stream)
        if fields[0] == self.IN_HEADER:
            return head[:14] + sizes + head[14:] + stream
        if fields[0] == self.DESCRIPTOR:
            return head + stream + self.SIGNATURE + sizes
        if fields[0] == self.BARE_DESCRIPTOR:
            return head + stream + sizes
        return head + stream

    @staticmethod
    def _sizes(plain: bytes, stream: bytes) -> bytes:
        return struct.pack("<III", binascii.crc32(plain), len(stream) & 0xFFFFFFFF, len(plain) & 0xFFFFFFFF)


class Png(Kind):
    """The IDAT chunks of a PNG, from the type of the first on: one zlib stream in pieces of the same size.

    The length before that type is left out as well. Fields: the header of the zlib stream, and bytes of each chunk but
    the last (0: there is one).
    """

    name = "png"
    mark = re.compile(b"IDAT")
    fields = ("zlib", "chunk")
    TYPE = b"IDAT"
    CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # noqa: RUF012  # of each type of color

    def head_size(self, data: bytes, at: int, fields: tuple[int, ...] = ()) -> int:
        return len(self.TYPE)

    def wrap(self, head: bytes, plain: bytes, stream: bytes, fields: tuple[int, ...]) -> bytes:
        header, size = fields
        if header >> 16 or 0 < size < MIN_CHUNK:
            raise FormatError("side information of a PNG is damaged")
        data = header.to_bytes(2, "big") + stream + zlib.adler32(plain).to_bytes(4, "big")
        chunks = [data[at : at + size] for at in range(0, len(data), size)] if size else [data]
        return b"".join(self._chunk(chunk) for chunk in chunks)

    def _chunk(self, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + self.TYPE + data + struct.pack(">I", binascii.crc32(self.TYPE + data))

    def row(self, content: bytes, at: int) -> int:
        """By the header of the image; none of one that is interlaced."""
        start = content.rfind(b"IHDR", max(0, at - LOOKED_BACK), at)
        if start < 0 or start + 17 > at:
            return 0
        width, _, depth, color, _, _, is_interlaced = struct.unpack_from(">IIBBBBB", content, start + 4)
        return 0 if is_interlaced else 1 + (width * self.CHANNELS.get(color, 0) * depth + 7) // 8

    def joined(self, content: bytes, at: int) -> tuple[bytes, int, int] | None:
        """The zlib stream of the chunks that begin at `at`, the size of each but the last (0: one), where they end."""
        pieces: list[bytes] = []
        while content[at + 4 : at + 8] == self.TYPE:
            size = int.from_bytes(content[at : at + 4], "big")
            data = content[at + 8 : at + 8 + size]
            if content[at : at + size + 12] != self._chunk(data):
                break
            pieces.append(data)
            at += size + 12
        first = len(pieces[0]) if pieces else 0
        if first < MIN_CHUNK or any(len(piece) != first for piece in pieces[:-1]) or not 0 < len(pieces[-1]) <= first:
            return None
        return b"".join(pieces), first if len(pieces) > 1 else 0, at


RAW, GZIP, PDF, ZLIB, ZIP, PNG = Kind(), Gzip(), Pdf(), Zlib(), Zip(), Png()
