"""Type 1 fonts, as TeX puts them into PDF: a program whose second half is enciphered, and each glyph in it once more.

The ciphers and their keys are those of Adobe's "Type 1 Font Format", chapter 7; who knows the keys sees text and short
programs that are much like each other. Putting back is the cipher itself: any bytes lead back.
"""

import re
from collections.abc import Callable, Iterator

from llmzip.openings.kinds import Kind

PROGRAM_KEY, GLYPH_KEY = 55665, 4330
FACTOR, STEP = 52845, 22719
MAX_FONT = 1 << 20  # bytes of what is enciphered
LOOKED_AT = 32  # of them, by which one is known, but for the first ones, which may be anything
N_RANDOM = 4
END = re.compile(rb"closefile[\r\n]?")
# How many bytes of a glyph follow; the names of the operator are those that nearly all fonts use.
GLYPH = re.compile(rb" ([0-9]{1,5}) (?:RD|-\|) ")
TEXT = bytes(range(0x20, 0x7F)) + b"\t\r\n"


class Font(Kind):
    """What is enciphered in a font: from after `eexec`, in a .pfb from after the header of its segment, to its end."""

    name = "font"
    mark = re.compile(rb"eexec(?:\r\n|[\t\n\r ])(?:\x80\x02[\0-\xff]{4})?")
    announced = True
    is_deflated = False

    def found(self, content: bytes, at: int, reach: int) -> bytes | None:
        """What is enciphered from `at` on, before `reach`; None: no font that is whole."""
        program = deciphered(content[at:reach], PROGRAM_KEY)
        end = END.search(program)
        return None if end is None else _with_glyphs(program[: end.end()], deciphered)

    def begins(self, content: bytes, at: int) -> bool:
        """Whether one does at `at`, by its first bytes."""
        first = deciphered(content[at : at + LOOKED_AT], PROGRAM_KEY)[N_RANDOM:]
        return len(first) > 0 and not first.translate(None, TEXT)

    def reach(self, content: bytes, at: int, most: int) -> int:
        """Where one that begins at `at` ends at the latest: where the next begins, or after so many bytes."""
        following = self.mark.search(content, at, at + most)
        return following.start() if following else at + most

    def wrap(self, head: bytes, plain: bytes, stream: bytes, fields: tuple[int, ...]) -> bytes:
        return enciphered(_with_glyphs(plain, enciphered), PROGRAM_KEY)


def enciphered(data: bytes, key: int) -> bytes:
    made = bytearray(len(data))
    for i, byte in enumerate(data):
        made[i] = byte = byte ^ key >> 8
        key = (byte + key) * FACTOR + STEP & 0xFFFF
    return bytes(made)


def deciphered(data: bytes, key: int) -> bytes:
    made = bytearray(len(data))
    for i, byte in enumerate(data):
        made[i] = byte ^ key >> 8
        key = (byte + key) * FACTOR + STEP & 0xFFFF
    return bytes(made)


def _with_glyphs(program: bytes, changed: Callable[[bytes, int], bytes]) -> bytes:
    """The program, its glyphs changed. What tells where they are is not in them: so it is the same both ways."""
    pieces, at = [], 0
    for start, end in _glyphs(program):
        pieces += [program[at:start], changed(program[start:end], GLYPH_KEY)]
        at = end
    return b"".join([*pieces, program[at:]])


def _glyphs(program: bytes) -> Iterator[tuple[int, int]]:
    at = 0
    while (found := GLYPH.search(program, at)) and found.end() + int(found[1]) <= len(program):
        at = found.end() + int(found[1])
        yield found.end(), at


FONT = Font()
