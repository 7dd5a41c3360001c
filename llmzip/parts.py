"""Files in parts: where a file is cut, so that workers need not talk, and how the coded parts become one file again.

Parts are cut where groups begin in text: joined into one member, they are the bytes that one machine would have
written.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from llmzip import container, filemap
from llmzip.coding import Coding
from llmzip.container import Block, Member
from llmzip.errors import ChecksumError, FormatError
from llmzip.filemap import BlockEntry, MemberEntry
from llmzip.index import create_index
from llmzip.primitives import CONTENT_CHECK_SIZE, content_check

Read = Callable[[int], bytes]  # so many bytes of content; fewer only at the end
Write = Callable[[bytes], object]


def cut(n_bytes: int, number: int, count: int, group_size: int = Coding.group_size) -> tuple[int, int]:
    """Where part `number` (from 1) of `count` begins and ends, by the size of the file alone. Parts may be empty."""
    if not 1 <= number <= count:
        raise ValueError(f"there is no part {number} of {count}")
    n_groups = -(-n_bytes // group_size)
    start, end = (n_groups * n // count * group_size for n in (number - 1, number))
    return min(start, n_bytes), min(end, n_bytes)


@dataclass(frozen=True)
class _Placed:
    """A block, and the file and member that it is in."""

    file: BinaryIO
    member: MemberEntry
    entry: BlockEntry

    def read(self) -> Block:
        return filemap.read_block(self.file, self.member, self.entry)


def concatenate(files: Sequence[BinaryIO], write: Write, read: Read | None = None) -> None:
    """The members of all files, one after another, after every header, index and payload check has been compared.

    `read` gives the content as it was, for every content check to be compared with it; None: they are not.
    """
    found = [filemap.walk_file(file) for file in files]
    for file, members in zip(files, found, strict=True):
        for placed in _blocks_of(file, members):
            block = placed.read()
            if read is not None:
                _content_of(block, placed, read)
    _check_end(read)
    for file, members in zip(files, found, strict=True):
        at, end = 0, members[-1].offset + members[-1].size
        while at < end:
            piece = filemap.read_at(file, at, min(filemap.READ_SIZE, end - at))
            write(piece)
            at += len(piece)


def merge(files: Sequence[BinaryIO], write: Write, read: Read) -> None:
    """One member of the blocks of all files, with one index. `read` gives the content: decoded, or as it was."""
    found = [(file, filemap.walk_file(file)) for file in files]
    placed = [block for file, members in found for block in _blocks_of(file, members) if block.entry.n_bytes]
    if len({(id(block.file), block.member.offset) for block in placed}) < 2:  # nothing to be merged
        file = placed[0].file if placed else files[0]
        concatenate([file], write, read)
        return
    fingerprint, note = _one_model([block.member for block in placed])
    preamble = container.create_preamble(fingerprint)
    member = Member(container.parse_preamble(preamble))
    digest = hashlib.sha256()
    write(preamble)
    if note is not None:
        write(_added(member, container.note_block(note), last=False))
    for i, one in enumerate(placed):
        block = one.read()
        content = _content_of(block, one, read)
        digest.update(content)
        line_bits = _line_bits(placed, i, block)
        block = replace(block, line_bits=line_bits, content_check=content_check(content), covered=b"")
        write(_added(member, block, last=i == len(placed) - 1))
    _check_end(read)
    write(create_index(member.index(digest.digest()[:CONTENT_CHECK_SIZE])))


def _blocks_of(file: BinaryIO, members: Sequence[MemberEntry]) -> Iterator[_Placed]:
    return (_Placed(file, member, entry) for member in members for entry in member.blocks)


def _one_model(members: Sequence[MemberEntry]) -> tuple[bytes, str | None]:
    """The fingerprint and the note of them all."""
    needing = [m for m in members if any(b.header and b.header.kind == container.MODEL for b in m.blocks)]
    fingerprints = {m.fingerprint for m in needing or members if m.fingerprint != container.NO_MODEL}
    if len(fingerprints) > 1:
        raise FormatError("the parts need different models: " + ", ".join(sorted(f.hex() for f in fingerprints)))
    if len({m.note for m in needing}) > 1:
        raise FormatError("the parts are bound to different engines")
    return next(iter(fingerprints), container.NO_MODEL), next((m.note for m in needing), None)


def _line_bits(placed: Sequence[_Placed], i: int, block: Block) -> int | None:
    """Of the memory that begins at block i, if that must be said: the first block of a member did so unsaid."""
    header = placed[i].entry.header
    assert header is not None
    if i == 0:
        return None if header.line_bits == container.line_bits_of(block.body_size) else header.line_bits
    if header.kind == container.STORED and not _is_gone_on_from(placed, i):
        return None
    return header.line_bits


def _is_gone_on_from(placed: Sequence[_Placed], i: int) -> bool:
    """Whether a coded block needs the group to begin at this one, which is stored."""
    for other in placed[i + 1 :]:
        if other.member is not placed[i].member or other.entry.begins_group:
            return False
        if other.entry.header is not None and other.entry.header.kind != container.STORED:
            return True
    return False


def _added(member: Member, block: Block, *, last: bool) -> bytes:
    data = container.create_block(block, last=last, before=member.next_before)
    member.add(block.kind, block.n_bytes, len(data), last, begins_group=block.line_bits is not None)
    return data


def _content_of(block: Block, placed: _Placed, read: Read) -> bytes:
    """The next bytes of the content, which must be those of the block."""
    content = read(block.n_bytes) if block.n_bytes else b""
    if not block.is_content(content):
        raise ChecksumError(
            f"block {placed.entry.number} of a part is not of this content",
            hint="are the parts all there, in their order?",
        )
    return content


def _check_end(read: Read | None) -> None:
    if read is not None and read(1):
        raise ChecksumError("the content goes on after the last part", hint="are the parts all there?")
