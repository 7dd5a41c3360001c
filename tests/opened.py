"""Content with something to open in it, of each kind; and opening it as a whole, without what cuts it into blocks."""

import base64
import bz2
import gzip
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Iterable

from llmzip import openings
from llmzip.openings.fonts import GLYPH_KEY, PROGRAM_KEY, enciphered
from llmzip.openings.kinds import RAW

WORDS = [
    "stream",
    "window",
    "of",
    "the",
    "block",
    "and",
    "literal",
    "length",
    "a",
    "distance",
    "code",
    "tree",
    "is",
    "not",
    "to",
    "be",
    "read",
]


def prose(n_bytes: int, seed: int = 0) -> bytes:
    """Text that deflates to a third."""
    chance = random.Random(seed)
    lines: list[str] = []
    while sum(map(len, lines)) < n_bytes:
        lines.append(" ".join(chance.choices(WORDS, k=12)) + f" {chance.randrange(10**6)}.\n")
    return "".join(lines)[:n_bytes].encode()


def gzipped(plain: bytes, name: str = "") -> bytes:
    file = io.BytesIO()
    with gzip.GzipFile(name, "wb", 6, file, mtime=0) as packed:
        packed.write(plain)
    return file.getvalue()


class _Pipe(io.RawIOBase):
    """Cannot seek: so sizes come after what they are of."""

    def __init__(self, file: io.BytesIO) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        return self._file.write(data)


def zipped(entries: Iterable[tuple[str, bytes]], *, piped: bool = False, stored: str = "mimetype") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(_Pipe(file) if piped else file, "w", compresslevel=6) as archive:
        for name, data in entries:
            archive.writestr(
                zipfile.ZipInfo(name, (2024, 5, 1, 12, 0, 0)),
                data,
                zipfile.ZIP_STORED if name == stored else zipfile.ZIP_DEFLATED,
            )
    return file.getvalue()


def book(n_chapters: int = 12, *, piped: bool = False) -> bytes:
    chapters = [
        (f"OEBPS/chapter{i:02}.xhtml", b"<html>\n" + prose(900 + 31 * i, i) + b"</html>\n") for i in range(n_chapters)
    ]
    return zipped([("mimetype", b"application/epub+zip"), *chapters], piped=piped)


def pdf(n_objects: int = 10, line: bytes = b"\n") -> bytes:
    made = b"%PDF-1.4\n"
    for i in range(n_objects):
        stream = zlib.compress(prose(400 + 57 * i, i), 6)
        made += b"%d 0 obj\n<< /Length %d /Filter /FlateDecode >>\nstream%b%b\nendstream\nendobj\n" % (
            i,
            len(stream),
            line,
            stream,
        )
    return made + b"trailer\n%%EOF\n"


def font(n_glyphs: int = 20, seed: int = 0, segment: bool = False) -> bytes:
    """A program as in Type 1 fonts, enciphered from `eexec` on."""
    chance = random.Random(seed)
    shapes = [bytes(chance.choices(b"\x8b\x8c\x90\x05\x07\x08\x0e", k=chance.randrange(60))) for _ in range(n_glyphs)]
    glyphs = b"".join(
        b"/glyph%d %d RD %b ND\n" % (i, len(shape) + 4, enciphered(bytes(4) + shape, GLYPH_KEY))
        for i, shape in enumerate(shapes)
    )
    program = bytes(4) + b"dup /Private 8 dict dup begin %% literal\n" + glyphs + b"end mark currentfile closefile\n"
    coded = enciphered(program, PROGRAM_KEY)
    header = b"\x80\x02" + struct.pack("<I", len(coded)) if segment else b""
    return b"%!PS-AdobeFont-1.0\ncurrentfile eexec\r" + header + coded + b"0" * 64 + b"\ncleartomark\n"


def png(rows: bytes, width: int, chunk: int = 0) -> bytes:
    """Of grey pixels, as they are."""
    height = len(rows) // width
    data = zlib.compress(b"".join(b"\0" + rows[at : at + width] for at in range(0, len(rows), width)), 6)
    parts = [data[at : at + chunk] for at in range(0, len(data), chunk)] if chunk else [data]
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        *((b"IDAT", part) for part in parts),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks
    )


def drawing(width: int = 200, height: int = 60) -> bytes:
    return bytes((x * y >> 5) & 0xFF if y % 7 else 0x20 + x % 3 for y in range(height) for x in range(width))


def mail(attachment: bytes, end: bytes = b"\r\n") -> bytes:
    lines = base64.encodebytes(attachment).replace(b"\n", end)
    return b"Content-Transfer-Encoding: base64" + end * 2 + lines + end + b"--boundary--" + end


def notebook(image: bytes) -> bytes:
    cell = {"cell_type": "code", "outputs": [{"data": {"image/png": base64.encodebytes(image).decode()}}]}
    return json.dumps({"cells": [cell], "nbformat": 4}, indent=1).encode()


def page(image: bytes) -> bytes:
    return b'<p>text<img src="data:image/png;base64,' + base64.b64encode(image) + b'"></p>\n'


def kinds() -> dict[str, bytes]:
    """Content by name; each begins with the name of the kind that is found first in it."""
    epub = book()
    return {
        "gzip": gzipped(prose(5000)),
        "gzip with a name": gzipped(prose(5000), "notes.txt"),
        "gzip, two members": gzipped(prose(3000)) + gzipped(prose(2000, 1)),
        "zip": epub,
        "zip from a pipe": book(piped=True),
        "pdf": pdf(),
        "pdf, CR LF": pdf(line=b"\r\n"),
        "zlib": b"what stands before " * 9 + zlib.compress(prose(5000), 6) + b" and after",
        "pdf with a font": b"%PDF-1.5\n1 0 obj stream\n" + zlib.compress(font(), 9) + b"\nendstream endobj\n",
        "font": font(),
        "font in a segment": font(segment=True),
        "bzip2": bz2.compress(prose(5000)),
        "bzip2, two streams": bz2.compress(prose(3000), 1) + bz2.compress(prose(2000, 1)),
        "png": png(drawing(), 200),
        "png in chunks": png(drawing(), 200, chunk=500),
        "base64 in mail": mail(epub),
        "base64 in mail, LF": mail(epub, b"\n"),
        "base64 in a notebook": notebook(png(drawing(), 200)),
        "base64 in a page": page(png(drawing(), 200)),
        "base64 for URLs": b"token=" + base64.urlsafe_b64encode(prose(3000)).rstrip(b"=") + b"&x=1",
        "gzip of a mail with a book": gzipped(b"From x\n" + mail(epub, b"\n") * 2),
    }


def open_content(
    content: bytes,
    *,
    max_body: int,
    judge: openings.Judge = lambda plain, n_closed, row: True,
    before: openings.State | None = None,
) -> openings.Opening | None:
    """All that can be opened of the content, as a whole; None if nothing can.

    `before`: a stream goes on at its start, from this.
    """
    search = openings.Search(max_body, max_body, judge)
    nodes: list[openings.Node] = []
    if before is not None and (first := search.piece(content, before)):
        nodes.append(first)
    nodes += search.nodes(content, nodes[0].end if nodes else 0)
    while nodes and (
        len(content) + sum(node.n_body - node.size for node in nodes) > max_body
        or sum(node.n_nodes for node in nodes) > openings.MAX_NODES // 2
    ):
        nodes.pop()
    if not nodes:
        return None
    window = before.window if before is not None and nodes[0].kind is RAW else b""
    return openings.opening_of(content, nodes, window, window)
