"""Reversible transforms in front of the coder.

Content to a body that a model reads better, and back (docs/format.md 3.3).

Pure functions of bytes. `apply` gives the body and the *side information* that undoes what was done; `undo` takes any
bytes for both and raises FormatError, or gives bytes that the content check refuses, in bounded memory.
"""

import codecs
import io
import lzma
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmzip import repeats, segments
from llmzip.container import BOM, CRLF, MAX_BODY_GROWTH, PACK, REPEATS, UTF16BE, UTF16LE, X86
from llmzip.errors import FormatError, TruncatedError
from llmzip.primitives import Side, create_varint, parse_varint
from llmzip.repeats import Past

TEXT = UTF16LE | UTF16BE | BOM | CRLF  # what is done before repeats are looked for
UTF8_BOM = b"\xef\xbb\xbf"
MAX_LONE_ENDS = 1 << 16  # line ends that are no CR LF: so many numbers at most are held in memory
PIECE = 1 << 18  # bytes or symbols worked on at a time, where that takes many times their size on the way


Applied = tuple[bytes, bytes]  # body, side


def apply(data: bytes, wanted: int, past: Past | None = None) -> tuple[int, bytes, bytes]:
    """Mask, body and side information of those of the `wanted` transforms that can be applied to `data` and pay.

    `past`: what repeats may be of, beside the data itself.
    """
    mask, body, side = 0, data, b""
    for bit, (forward, _) in _TRANSFORMS.items():
        if not wanted & bit:
            continue
        applied = _without_repeats(body, past) if bit == REPEATS else forward(body)
        if applied is not None and applied[0]:
            mask |= bit
            body = applied[0]
            side = applied[1] + side  # in the order in which it will be read
    return mask, body, side


def _without_repeats(body: bytes, past: Past | None) -> Applied | None:
    """Short ones are left in text, of which the predictor makes less than a copy takes."""
    least = repeats.MIN_COPY_IN_TEXT if segments.is_text(body) else repeats.MIN_COPY
    return repeats.without(body, past, least)


class Undone(NamedTuple):
    content: bytes
    made: bytes  # what there was before repeats were left out: the next blocks of the group may have repeats of it


def undo(mask: int, body: bytes, side: bytes, n_bytes: int, past: Past | None = None) -> Undone:
    """The content, of `n_bytes`, unless body or side are damaged: then FormatError or other content."""
    reader = Side(side)
    limit = most_on_the_way(mask, n_bytes)
    made = body
    try:
        for bit, (_, inverse) in reversed(_TRANSFORMS.items()):
            if mask & bit:
                body = repeats.put_back(body, reader, limit, past) if bit == REPEATS else inverse(body, reader, limit)
            if bit == REPEATS:
                made = body
    except TruncatedError as error:  # the side information ends, not the file
        raise FormatError("side information is too short") from error
    reader.check_end()
    return Undone(body, made)


def join_sides(first: bytes, then: bytes) -> bytes:
    """The side information of OPEN, and that of the transforms after it."""
    return create_varint(len(first)) + first + then


def split_sides(side: bytes) -> tuple[bytes, bytes]:
    """The inverse. FormatError if they are not there."""
    try:
        size, at = parse_varint(side, 0, "the side information")
    except TruncatedError as error:
        raise FormatError("side information is too short") from error
    if at + size > len(side):
        raise FormatError("side information is too short")
    return side[at : at + size], side[at + size :]


def most_on_the_way(mask: int, n_bytes: int) -> int:
    """Bytes of anything between body and content: all steps but the last one, from UTF-8 to UTF-16, only add."""
    return (MAX_BODY_GROWTH if mask & (UTF16LE | UTF16BE) else 1) * n_bytes


def _check_limit(size: int, limit: int) -> None:
    if size > limit:
        raise FormatError("a transform makes more bytes than the block can have")


# UTF-16 to UTF-8


def _from_utf16(codec: str) -> Callable[[bytes], Applied | None]:
    def forward(data: bytes) -> Applied | None:
        head = _lone_low_surrogate(data, codec)
        tail = (len(data) - head) % 2
        if _is_high_surrogate(data[len(data) - tail - 2 : len(data) - tail], codec):
            tail += 2
        text = data[head : len(data) - tail]
        try:
            body = text.decode(codec).encode("utf-8")
        except UnicodeError:  # lone surrogates: the way back would not be exact
            return None
        ends = data[:head] + data[len(data) - tail :]
        return body, bytes([head << 2 | tail]) + ends

    return forward


def _to_utf16(codec: str) -> Callable[[bytes, Side, int], bytes]:
    def inverse(body: bytes, side: Side, limit: int) -> bytes:
        (ends,) = side.take(1)
        if ends >> 4:
            raise FormatError("side information of UTF-16 is damaged")
        head, tail = side.take(ends >> 2 & 3), side.take(ends & 3)
        _check_limit(len(body), limit)  # UTF-16 has two bytes at most for each of UTF-8
        decoder = codecs.getincrementaldecoder("utf-8")()
        content = io.BytesIO()
        content.write(head)
        try:
            for at in range(0, len(body), PIECE):  # in a string with one great character, each takes four bytes
                piece = body[at : at + PIECE]
                content.write(decoder.decode(piece, at + len(piece) == len(body)).encode(codec))
        except UnicodeError as error:
            raise FormatError(f"body that was UTF-16 is not UTF-8: {error}") from error
        content.write(tail)
        return content.getvalue()

    return inverse


def _unit(data: bytes, codec: str) -> int:
    return int.from_bytes(data, "little" if codec == "utf-16-le" else "big") if len(data) == 2 else 0


def _lone_low_surrogate(data: bytes, codec: str) -> int:
    """Bytes of the second half of a character whose first half the block before has."""
    return 2 if 0xDC00 <= _unit(data[:2], codec) < 0xE000 else 0


def _is_high_surrogate(data: bytes, codec: str) -> bool:
    return 0xD800 <= _unit(data, codec) < 0xDC00


# Byte order mark


def _without_bom(data: bytes) -> Applied | None:
    return (data[len(UTF8_BOM) :], b"") if data.startswith(UTF8_BOM) else None


def _with_bom(body: bytes, side: Side, limit: int) -> bytes:
    return UTF8_BOM + body


# CR LF to LF. A CR that stands alone stays; so does a lone LF, whose number among the LFs of the body goes into the
# side.


def _without_cr(data: bytes) -> Applied | None:
    n_pairs, n_ends = data.count(b"\r\n"), data.count(b"\n")
    n_lone = n_ends - n_pairs
    if n_pairs < 8 or n_lone > min(n_pairs // 16, MAX_LONE_ENDS):
        return None
    body = data.replace(b"\r\n", b"\n")
    return body, create_varint(n_lone) + _create_gaps(_lone_ends(data) if n_lone else [])


def _lone_ends(data: bytes) -> list[int]:
    content = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(content == ord("\n"))
    lone = (content[ends - 1] != ord("\r")) | (ends == 0)
    return [int(i) for i in np.flatnonzero(lone)]


def _create_gaps(numbers: list[int]) -> bytes:
    """Ascending numbers, each as the distance from the one before less one."""
    return b"".join(create_varint(b - a - 1) for a, b in zip([-1, *numbers], numbers, strict=False))


def _with_cr(body: bytes, side: Side, limit: int) -> bytes:
    n_ends, n_lone = body.count(b"\n"), side.varint()
    if n_lone > min(n_ends, MAX_LONE_ENDS):
        raise FormatError("side information has too many lone line ends")
    _check_limit(len(body) + n_ends - n_lone, limit)
    lone = _read_gaps(side, n_lone, n_ends)
    content = body.replace(b"\n", b"\r\n")
    if not n_lone:
        return content
    view, places = memoryview(content), _places(np.frombuffer(content, np.uint8), lone)
    pairs = zip([0, *places], [*(places - 1), len(content)], strict=True)  # without the CR that was put there
    return b"".join(view[start:end] for start, end in pairs)


def _read_gaps(side: Side, n: int, limit: int) -> NDArray[np.int64]:
    """What `_create_gaps` wrote: `n` ascending numbers below `limit`."""
    numbers = np.empty(n, dtype=np.int64)
    number = -1
    for i in range(n):
        number += side.varint() + 1
        if number >= limit:
            raise FormatError("side information names a line end that is not there")
        numbers[i] = number
    return numbers


def _places(content: NDArray[np.uint8], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the line ends of these ascending numbers are.

    Looked for piece by piece, for there may be as many as bytes.
    """
    found, before = [], 0
    for at in range(0, len(content), PIECE):
        ends = np.flatnonzero(content[at : at + PIECE] == ord("\n"))
        first, last = np.searchsorted(numbers, (before, before + len(ends)))
        found.append(ends[numbers[first:last] - before] + at)
        before += len(ends)
    return np.concatenate(found)


# Packing: few different bytes, as numbers of as many bits as they need


def _pack(data: bytes) -> Applied | None:
    content = np.frombuffer(data, np.uint8)
    alphabet = np.flatnonzero(np.bincount(content, minlength=256))
    if not 2 <= len(alphabet) <= 128:
        return None
    width = (len(alphabet) - 1).bit_length()
    code = np.zeros(256, dtype=np.uint8)
    code[alphabet] = np.arange(len(alphabet))
    pieces = [
        np.packbits(np.unpackbits(code[content[at : at + PIECE], None], axis=1)[:, -width:])
        for at in range(0, len(content), PIECE)
    ]
    body = b"".join(piece.tobytes() for piece in pieces)
    return body, _create_alphabet(alphabet) + bytes([8 * len(body) // width - len(data)])


def _create_alphabet(alphabet: NDArray[np.intp]) -> bytes:
    """Runs of consecutive bytes: how many runs, then for each how many bytes are left out and how many are in it."""
    runs = np.split(alphabet, np.flatnonzero(np.diff(alphabet) > 1) + 1)
    side, at = create_varint(len(runs)), 0
    for run in runs:
        side += create_varint(int(run[0]) - at) + create_varint(len(run))
        at = int(run[-1]) + 1
    return side


def _unpack(body: bytes, side: Side, limit: int) -> bytes:
    alphabet = np.array(_read_alphabet(side), dtype=np.uint8)
    width = (len(alphabet) - 1).bit_length()
    n_symbols = 8 * len(body) // width - side.take(1)[0]
    _check_limit(n_symbols, limit)
    table = np.zeros(1 << width, dtype=np.uint8)
    table[: len(alphabet)] = alphabet
    packed = np.frombuffer(body, np.uint8)
    weights = (1 << np.arange(width)[::-1]).astype(np.uint8)
    pieces = []
    for at in range(0, len(packed), PIECE // 8 * width):  # PIECE symbols
        bits = np.unpackbits(packed[at : at + PIECE // 8 * width])
        pieces.append(table[bits[: len(bits) // width * width].reshape(-1, width) @ weights].tobytes())
    return b"".join(pieces)[: max(0, n_symbols)]


def _read_alphabet(side: Side) -> list[int]:
    alphabet: list[int] = []
    at = 0
    for _ in range(side.varint()):
        at += side.varint()
        n = side.varint()
        if n == 0 or at + n > 256:
            raise FormatError("alphabet of the packing is damaged")
        alphabet += range(at, at + n)
        at += n
    if not 2 <= len(alphabet) <= 128:
        raise FormatError(f"alphabet of the packing has {len(alphabet)} bytes, not 2 to 128")
    return alphabet


# Machine code


def _filter_x86(data: bytes) -> Applied:
    """Branches of x86 code with their targets absolute instead of relative (BCJ), so that all calls of a function are
    the same bytes.
    """
    return _code_and_decode(data, with_filter=True, then_with_filter=False), b""


def _unfilter_x86(body: bytes, side: Side, limit: int) -> bytes:
    return _code_and_decode(body, with_filter=False, then_with_filter=True)


def _code_and_decode(data: bytes, *, with_filter: bool, then_with_filter: bool) -> bytes:
    """liblzma gives its filter in front of a coder only: so the coder is undone."""
    coder = {"id": lzma.FILTER_LZMA1, "preset": 0, "dict_size": 4096}
    chains = [[{"id": lzma.FILTER_X86}, coder] if used else [coder] for used in (with_filter, then_with_filter)]
    coded = lzma.compress(data, format=lzma.FORMAT_RAW, filters=chains[0])
    return lzma.decompress(coded, format=lzma.FORMAT_RAW, filters=chains[1])


_TRANSFORMS: dict[int, tuple[Callable[[bytes], Applied | None], Callable[[bytes, Side, int], bytes]]] = {
    UTF16LE: (_from_utf16("utf-16-le"), _to_utf16("utf-16-le")),
    UTF16BE: (_from_utf16("utf-16-be"), _to_utf16("utf-16-be")),
    BOM: (_without_bom, _with_bom),
    CRLF: (_without_cr, _with_cr),
    REPEATS: (repeats.without, repeats.put_back),
    PACK: (_pack, _unpack),
    X86: (_filter_x86, _unfilter_x86),
}
