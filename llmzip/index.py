"""The index: the sizes of the blocks, at the end of a member of several (docs/format.md, section 5).

Knows nothing of what is in a block.
"""

import binascii
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from llmzip.errors import FormatError, TruncatedError
from llmzip.primitives import CONTENT_CHECK_SIZE, END_MAGIC, create_varint, parse_varint

INDEX_KIND = 0
INDEX_END = struct.Struct("<I2s")  # size of the index so far, end magic


@dataclass(frozen=True, slots=True)
class IndexEntry:
    n_bytes: int  # content size; 0 for a note
    size: int  # bytes in the file
    begins_group: bool = False


@dataclass(frozen=True, slots=True)
class Index:
    entries: Sequence[IndexEntry]  # notes included, so that the sizes sum to the member less preamble and index
    content_check: bytes  # of the content of all blocks

    @property
    def n_bytes(self) -> int:
        return sum(entry.n_bytes for entry in self.entries)


def create_index(index: Index) -> bytes:
    body = bytearray([INDEX_KIND]) + create_varint(len(index.entries))
    for entry in index.entries:
        body += create_varint(entry.n_bytes) + create_varint(entry.size << 1 | entry.begins_group)
    body += create_varint(index.n_bytes) + index.content_check
    body += struct.pack("<I", binascii.crc32(body))
    return bytes(body) + INDEX_END.pack(len(body), END_MAGIC)


def parse_index(data: bytes) -> Index:
    """An index that is exactly `data`. Only well-formed: whether it is true of the member is for `check_index`."""
    if len(data) < INDEX_END.size + 4:
        raise TruncatedError("file ends in the index")
    body, crc = data[: -INDEX_END.size - 4], data[-INDEX_END.size - 4 : -INDEX_END.size]
    size, magic = INDEX_END.unpack(data[-INDEX_END.size :])
    if magic != END_MAGIC:
        raise FormatError("end magic of the index is wrong")
    if size != len(data) - INDEX_END.size:
        raise FormatError(f"size field of the index is {size}, not {len(data) - INDEX_END.size}")
    if binascii.crc32(body) != int.from_bytes(crc, "little"):
        raise FormatError("checksum of the index is wrong")
    try:
        return _parse_index_body(body)
    except TruncatedError as error:  # the index is all here: its count is the matter, not the file's end
        raise FormatError("index has fewer entries than it says") from error


def _parse_index_body(body: bytes) -> Index:
    if body[:1] != bytes([INDEX_KIND]):
        raise FormatError("index does not begin with its type")
    n_blocks, at = parse_varint(body, 1, "the block count of the index")
    entries = []
    for _ in range(n_blocks):  # ends with the bytes of `body`, however great the count
        n_bytes, at = parse_varint(body, at, "a content size in the index")
        size, at = parse_varint(body, at, "a block size in the index")
        entries.append(IndexEntry(n_bytes, size >> 1, bool(size & 1)))
    total, at = parse_varint(body, at, "the total size in the index")
    index = Index(entries, bytes(body[at:]))
    if len(index.content_check) != CONTENT_CHECK_SIZE:
        raise FormatError("index has bytes that it does not declare, or lacks some")
    if total != index.n_bytes:
        raise FormatError(f"total content size in the index is {total}, not {index.n_bytes}")
    return index


def check_index(data: bytes, seen: Index, *, check_content: bool = True) -> None:
    """Compare the index with what has been seen. `data` has the length that an index of these entries must have."""
    found = parse_index(data)
    if list(found.entries) != list(seen.entries):
        raise FormatError("index does not list the blocks that are there")
    if check_content and found.content_check != seen.content_check:
        raise FormatError("content check of the index is wrong")
