"""The text that is in a file: unpacked, decoded to UTF-8, without what is no text.

What is left out is named, never passed over in silence.

Packed files are known by their first bytes, whatever their names. Memory does not depend on the size of a file.
"""

import bz2
import codecs
import gzip
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llmzip
from llmzip import container, primitives, segments
from llmzip.errors import LlmzipError

CHUNK = 1 << 20  # bytes of text looked at in one go
MOSTLY_NUL = 0.25  # share of NULs above which they cannot be the ends of documents
CONTROLS = bytes({*range(1, 32)} - {*b"\b\t\n\v\f\r\x1b"})
FEW_STRAY = 0.01  # share of bytes that are not UTF-8 and may be left out without a word

Warn = Callable[[str], None]


def _open_zstd(path: Path) -> Any:
    """Part of Python from 3.14 on; before that of two packages, neither of which llmzip depends on."""
    for module, name in (("compression.zstd", "open"), ("backports.zstd", "open"), ("zstandard", "open")):
        try:
            found = __import__(module, fromlist=[name])
        except ImportError:
            continue
        return getattr(found, name)(path, "rb")
    raise LlmzipError(
        f"{path} is packed with zstd, which needs a package", hint="pip install zstandard, or unpack it first"
    )


PACKED: tuple[tuple[bytes, Callable[[Path], Any]], ...] = (
    (b"\x1f\x8b\x08", gzip.open),
    (b"\xfd7zXZ\0", lzma.open),
    (b"BZh", bz2.open),
    (b"\x28\xb5\x2f\xfd", _open_zstd),
    (primitives.MAGIC, llmzip.open),
)
BZIP2_BLOCK = b"1AY&SY"  # what follows "BZh9"; "BZh" alone may begin a text
BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins with that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
DAMAGES = (EOFError, zlib.error, lzma.LZMAError, OSError, LlmzipError)


def read(path: Path, warn: Warn) -> Iterator[bytes]:
    """The text of a file in UTF-8, in pieces. `warn` gets a sentence for whatever could not be read or is no text."""
    n_text = n_left_out = n_stray = 0
    chunks = _chunks(path, warn)
    first = next(chunks, b"")
    mark, encoding = _encoding(first)
    decoder = codecs.getincrementaldecoder(encoding)("ignore")
    for chunk in _and_then(first[len(mark) :], chunks):
        text, left_out = (chunk, 0) if encoding != "utf-8" else _only_text(chunk)
        decoded = decoder.decode(text).encode("utf-8", "ignore")
        n_left_out += left_out
        n_text += len(text)
        n_stray += len(text) - len(decoded) if encoding == "utf-8" else 0
        yield decoded
    if n_left_out:
        whole = n_left_out + n_text
        warn(
            f"{path} is not text, and is left out"
            if not n_text
            else f"{path}: {n_left_out} of {whole} bytes are not text, and are left out"
        )
    if n_stray > FEW_STRAY * n_text:
        warn(f"{path}: {n_stray} of {n_text} bytes are not UTF-8, and are left out")


def _and_then(first: bytes, others: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from others


def _encoding(head: bytes) -> tuple[bytes, str]:
    """(byte order mark, encoding) of a text that begins so."""
    for mark, name in BOMS:
        if head.startswith(mark):
            return mark, name
    kind = 0 if _is_plain(head) else segments.utf16(head)
    return b"", {container.UTF16LE: "utf-16-le", container.UTF16BE: "utf-16-be"}.get(kind, "utf-8")


def _is_plain(head: bytes) -> bool:
    """Whether it is text in UTF-8, with some NULs as the ends of documents.

    ASCII may look like UTF-16 in an Asian script.
    """
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    n_controls = len(head) - len(head.translate(None, CONTROLS))
    return head.count(0) <= MOSTLY_NUL * len(head) and n_controls <= segments.MAX_STRANGE * len(head)


def _only_text(chunk: bytes) -> tuple[bytes, int]:
    """(the stretches of a chunk that look like text, how many bytes do not)."""
    kept, at = [], 0
    for size, is_text in segments.runs(chunk):
        stretch = chunk[at : at + size]
        at += size
        if is_text and stretch.count(0) <= MOSTLY_NUL * size:
            kept.append(stretch)
    return b"".join(kept), len(chunk) - sum(map(len, kept))


def _chunks(path: Path, warn: Warn) -> Iterator[bytes]:
    """The unpacked bytes, each piece but the last of CHUNK bytes. Ends, with a warning, where a file is damaged."""
    pending = bytearray()
    n_bytes = 0
    stream = None
    try:
        stream = _opened(path)
        while piece := stream.read1(CHUNK) if hasattr(stream, "read1") else stream.read(CHUNK):
            n_bytes += len(piece)
            pending += piece
            while len(pending) >= CHUNK:
                yield bytes(pending[:CHUNK])
                del pending[:CHUNK]
    except DAMAGES as error:
        if isinstance(error, LlmzipError) and stream is None:
            raise
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        warn(
            f"{path} cannot be read to its end ({reason}): the {n_bytes} bytes before are used"
            if n_bytes
            else f"{path} cannot be read ({reason}), and is left out"
        )
    finally:
        if stream is not None:
            stream.close()
    if pending:
        yield bytes(pending)


def _opened(path: Path) -> Any:
    with open(path, "rb") as file:
        head = file.read(16)
    for magic, opener in PACKED:
        if head.startswith(magic) and (magic != b"BZh" or head[4:10] == BZIP2_BLOCK):
            return opener(path)
    return open(path, "rb")


def files(path: Path, warn: Warn) -> list[Path]:
    """The files of a source, in an order that does not depend on the file system."""
    if not path.is_dir():
        return [path]

    def unreadable(error: OSError) -> None:
        warn(f"{error.filename} cannot be read ({error.strerror}), and is left out")

    walked = os.walk(path, onerror=unreadable)
    return sorted(file for folder, _, names in walked for name in names if (file := Path(folder, name)).is_file())
