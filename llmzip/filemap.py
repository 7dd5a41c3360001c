"""Where the blocks of a file with random access are: found by its indexes, or by a walk over the headers.

Reads no payload but the notes, unless it is asked for a block.
"""

import io
from dataclasses import dataclass, replace
from typing import BinaryIO

from llmzip.container import (
    MAX_HEADER_SIZE,
    NOTE,
    PREAMBLE_SIZE,
    Block,
    Header,
    Member,
    Preamble,
    check_continuation,
    parse_block,
    parse_header,
    parse_header_in,
    parse_note,
    parse_preamble,
)
from llmzip.errors import FormatError, LlmzipError, TruncatedError, UnsupportedError, naming
from llmzip.index import INDEX_END, Index, check_index, create_index, parse_index
from llmzip.primitives import END_MAGIC

READ_SIZE = 1 << 20  # a declared size is believed only so far ahead of the bytes that are really there


@dataclass(frozen=True, slots=True)
class BlockEntry:
    """Where one block of content is."""

    number: int  # in its member, from 1
    offset: int  # of the header in the file
    size: int  # in the file
    content_offset: int  # in the content of the whole file
    n_bytes: int  # of content
    begins_group: bool
    header: Header | None  # None: known from the index only


@dataclass(frozen=True, slots=True)
class MemberEntry:
    offset: int
    size: int
    preamble: Preamble
    note: str | None
    blocks: tuple[BlockEntry, ...]

    @property
    def fingerprint(self) -> bytes:
        return self.preamble.fingerprint

    @property
    def n_bytes(self) -> int:
        return sum(block.n_bytes for block in self.blocks)


def map_file(file: BinaryIO, start: int = 0) -> list[MemberEntry]:
    """Where the blocks are.

    From the indexes, last member first; from the headers for all that comes before a member without one.
    """
    members, error = explore_file(file, start)
    if error is not None:
        raise error
    return members


def explore_file(file: BinaryIO, start: int = 0) -> tuple[list[MemberEntry], LlmzipError | None]:
    """Where the blocks are as far as the file is whole, and the error that tells why no farther; as `map_file`."""
    end = end_of(file)
    at = _before_padding(file, start, end)
    indexed: list[MemberEntry] = []
    while at > start and (member := _member_by_index(file, start, at)) is not None:
        indexed.append(member)
        at = member.offset
    walked: list[MemberEntry] = []
    error = None
    if at > start or not indexed:
        walked, error = _walk(file, start, at if indexed else end)
    members = walked if error is not None else walked + indexed[::-1]
    return _with_content_offsets(members), error


def walk_file(file: BinaryIO, start: int = 0) -> list[MemberEntry]:
    """Where the blocks are, with all their headers, and the indexes compared with them.

    Reads no payload but the notes.
    """
    members, error = _walk(file, start, end_of(file))
    if error is not None:
        raise error
    return _with_content_offsets(members)


def _before_padding(file: BinaryIO, start: int, end: int) -> int:
    """Where the zeros at the end of the file begin. (The last of them may belong to a block.)"""
    size = INDEX_END.size
    while end > start:
        at = max(start, end - size)
        if kept := len(read_at(file, at, end - at).rstrip(b"\0")):
            return at + kept
        end, size = at, min(2 * size, READ_SIZE)
    return end


def is_padding(file: BinaryIO, at: int) -> bool:
    """Whether there are zeros, and nothing else, from here to the end of the file."""
    file.seek(at)
    size = 1
    while piece := file.read(size):
        if piece.count(0) < len(piece):
            return False
        size = READ_SIZE
    return size > 1


def read_header(file: BinaryIO, member: MemberEntry, entry: BlockEntry) -> Header:
    """Read the header of one block of a mapped file."""
    data = read_at(file, entry.offset, MAX_HEADER_SIZE)
    header = parse_header_in(member.preamble, data, _before(member, entry.offset), first=entry.number == 1)
    listed = entry.n_bytes, entry.size, entry.begins_group
    if (header.n_bytes, header.block_size, header.line_bits is not None) != listed:
        raise FormatError("index does not tell its sizes")
    if header.kind == NOTE:
        raise FormatError("it is a note, and the index has content there")
    return header


def read_block(file: BinaryIO, member: MemberEntry, entry: BlockEntry) -> Block:
    """Read one block of a mapped file."""
    header = read_header(file, member, entry)
    return parse_block(read_at(file, entry.offset, entry.size), header)


def end_of(file: BinaryIO) -> int:
    """The size of the file."""
    file.seek(0, io.SEEK_END)
    return file.tell()  # some objects do not say where `seek` has come to


def _before(member: MemberEntry, offset: int) -> bytes:
    """What the header check covers before the header."""
    return member.preamble.raw if offset == member.offset + PREAMBLE_SIZE else b""


def read_at(file: BinaryIO, offset: int, n: int) -> bytes:
    """Up to `n` bytes.

    In pieces, so that a size that a damaged file declares is not allocated before the bytes turn up.
    """
    file.seek(offset)
    pieces = []
    while n > 0:
        piece = file.read(min(n, READ_SIZE))
        if not piece:
            break
        pieces.append(piece)
        n -= len(piece)
    return b"".join(pieces)


def _member_by_index(file: BinaryIO, start: int, end: int) -> MemberEntry | None:
    """The member that ends at `end`, or None if no valid index leads to it."""
    if end - start < PREAMBLE_SIZE + INDEX_END.size:
        return None
    size, magic = INDEX_END.unpack(read_at(file, end - INDEX_END.size, INDEX_END.size))
    index_offset = end - INDEX_END.size - size
    if magic != END_MAGIC or index_offset < start + PREAMBLE_SIZE:
        return None
    try:
        index = parse_index(read_at(file, index_offset, end - index_offset))
        offset = index_offset - sum(entry.size for entry in index.entries) - PREAMBLE_SIZE
        if offset < start:
            return None
        preamble = parse_preamble(read_at(file, offset, PREAMBLE_SIZE))
        return _member_of_index(file, offset, end, preamble, index)
    except (FormatError, TruncatedError, UnsupportedError):
        return None  # not an index, or a damaged one: the walk tells which


def _member_of_index(file: BinaryIO, offset: int, end: int, preamble: Preamble, index: Index) -> MemberEntry:
    blocks: list[BlockEntry] = []
    note = None
    at = offset + PREAMBLE_SIZE
    for i, entry in enumerate(index.entries):
        if entry.n_bytes:
            blocks.append(BlockEntry(len(blocks) + 1, at, entry.size, 0, entry.n_bytes, entry.begins_group, None))
        elif i == 0:
            note = _read_note(file, at, parse_header(read_at(file, at, MAX_HEADER_SIZE), preamble.raw))
        else:
            raise FormatError("index lists an empty block")
        at += entry.size
    if len(blocks) < 2 or not blocks[0].begins_group:
        raise FormatError("index of a member of one block, or of none that begins a group")
    return MemberEntry(offset, end - offset, preamble, note, tuple(blocks))


def _read_note(file: BinaryIO, offset: int, header: Header) -> str:
    if header.kind != NOTE:
        raise FormatError("first block has no content and is not a note")
    with naming("the note"):
        return parse_note(parse_block(read_at(file, offset, header.block_size), header))


def _walk(file: BinaryIO, start: int, end: int) -> tuple[list[MemberEntry], LlmzipError | None]:
    members: list[MemberEntry] = []
    error = None
    while error is None and (not members or (start < end and not is_padding(file, start))):
        member, error = _walk_member(file, start, end, len(members))
        if member is not None:
            members.append(member)
            start += member.size
    return members, error


def _walk_member(file: BinaryIO, offset: int, end: int, n_before: int) -> tuple[MemberEntry | None, LlmzipError | None]:
    """A member as far as it is whole, and the error that tells why no farther."""
    start = read_at(file, offset, min(PREAMBLE_SIZE, end - offset))
    try:
        check_continuation(start, n_before)
        preamble = parse_preamble(start)
    except LlmzipError as error:
        return None, error
    member = Member(preamble)
    note = None
    blocks: list[BlockEntry] = []
    at = offset + len(preamble.raw)
    broken = None
    try:
        while not member.ended:
            header = member.parse_header(read_at(file, at, min(MAX_HEADER_SIZE, end - at)))
            if at + header.block_size > end:
                raise TruncatedError(f"file ends in {member.where}")
            if header.kind == NOTE:
                note = _read_note(file, at, header)
            else:
                begins = header.line_bits is not None
                blocks.append(BlockEntry(member.n_blocks + 1, at, header.block_size, 0, header.n_bytes, begins, header))
            member.add_header(header)
            at += header.block_size
        at += _check_index_at(file, at, end, member)
    except LlmzipError as error:
        broken = error
    return MemberEntry(offset, at - offset, preamble, note, tuple(blocks)), broken


def _check_index_at(file: BinaryIO, at: int, end: int, member: Member) -> int:
    """Compare the index that must be here, if one must, with the headers; its size."""
    if not member.has_index:
        return 0
    size = len(create_index(member.index()))
    if at + size > end:
        raise TruncatedError("file ends in the index")
    check_index(read_at(file, at, size), member.index(), check_content=False)
    return size


def _with_content_offsets(members: list[MemberEntry]) -> list[MemberEntry]:
    placed = []
    content_offset = 0
    for member in members:
        blocks = []
        for block in member.blocks:
            blocks.append(replace(block, content_offset=content_offset))
            content_offset += block.n_bytes
        placed.append(replace(member, blocks=tuple(blocks)))
    return placed
