"""Base64, as it stands in mail (lines), in JSON (lines whose ends are escaped) and in data URIs (one line)."""

import binascii
import re
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from llmzip.errors import FormatError
from llmzip.openings.kinds import Kind, Stream

MIN_LINE = 40  # bytes
MIN_LETTERS = 32  # different ones of 64: text of few letters, as of genes or in hexadecimal, is none of ours
LOOKED_AT = 1024  # bytes in which these are counted
ENDS = (b"", b"\n", b"\r\n", b"\\n", b"\\r\\n")
STANDARD, FOR_URLS = rb"A-Za-z0-9+/", rb"A-Za-z0-9_\-"


class Base64(Kind):
    """Fields: bytes of a line (0: one line), the number of its end in ENDS, 1 for the alphabet of URLs + 2 without
    padding.
    """

    name = "base64"
    is_deflated = False
    fields = ("line", "end", "spelling")

    def wrap(self, head: bytes, plain: bytes, stream: bytes, fields: tuple[int, ...]) -> bytes:
        line, end, spelling = fields
        if end >= len(ENDS) or spelling > 3 or (line and line < MIN_LINE) or bool(line) != bool(end):
            raise FormatError("side information of base64 is damaged")
        text = binascii.b2a_base64(plain, newline=False)
        if spelling & 1:
            text = text.translate(bytes.maketrans(b"+/", b"-_"))
        if spelling & 2:
            text = text.rstrip(b"=")
        return ENDS[end].join(text[at : at + line] for at in range(0, len(text), line)) if line else text

    def texts(self, content: bytes, at: int) -> Iterator[tuple[bytes, int, int]]:
        """What may be the base64 that begins at `at`, the longest first, with its line and end."""
        first = _FIRST.match(content, at)
        if first is None or len(set(content[at : at + LOOKED_AT])) < MIN_LETTERS:
            return
        end = next((i for i in range(len(ENDS) - 1, 0, -1) if content.startswith(ENDS[i], first.end())), 0)
        if not end or first[0].endswith(b"="):  # the only line, or the last of what is none of ours as a whole
            yield first[0], 0, 0
            return
        line = len(first[0])
        found = _lines(line, end).match(content, at)
        assert found is not None  # the first line, at least
        whole = content[at : found.end("whole")].removesuffix(ENDS[end])  # that belongs to what follows
        for text in [found[0], whole] if found.end() > found.end("whole") else [whole]:  # a shorter line may be none
            yield (text, line, end) if len(text) > line else (text, 0, 0)

    def decoded(self, text: bytes, line: int, end: int) -> tuple[bytes, Stream] | None:
        """What this text holds; None: it is none, or of no such shape."""
        letters = text.replace(ENDS[end], b"") if end else text
        spelling = 1 if b"-" in letters or b"_" in letters else 0
        missing = -len(letters) % 4
        spelling |= 2 if missing else 0
        if spelling & 1:
            letters = letters.translate(bytes.maketrans(b"-_", b"+/"))
        try:
            plain = binascii.a2b_base64(letters + b"=" * missing)
        except binascii.Error:
            return None
        found = Stream((line, end, spelling), b"", len(text))
        return (plain, found) if self.wrap(b"", plain, b"", found.fields) == text else None


_FIRST = re.compile(rb"(?:[%b]{%d,}|[%b]{%d,})={0,2}" % (STANDARD, MIN_LINE, FOR_URLS, MIN_LINE))


_LETTERS = np.array([chr(byte) in "+/-_" or (byte < 128 and chr(byte).isalnum()) for byte in range(256)])


def runs(content: bytes) -> list[int]:
    """Where letters of base64 begin that are enough for a line."""
    letters = np.zeros(len(content) + 2, dtype=np.bool_)
    letters[1:-1] = _LETTERS[np.frombuffer(content, np.uint8)]
    edges = np.flatnonzero(letters[1:] != letters[:-1])
    starts, ends = edges[::2], edges[1::2]
    found: list[int] = starts[ends - starts >= MIN_LINE].tolist()
    return found


@lru_cache(maxsize=64)
def _lines(line: int, end: int) -> "re.Pattern[bytes]":
    letters = rb"[A-Za-z0-9+/_\-]"
    ending = re.escape(ENDS[end])
    return re.compile(rb"(?P<whole>(?:%b{%d}%b)++)(?:%b{1,%d}={0,2})?" % (letters, line, ending, letters, line))


BASE64 = Base64()
