"""Damaged files: what of them is whole, and where they are not.

A block is given out only if its content check holds, and only from a place to which the file itself leads: by the
headers before it, by the index of its member, or, where neither is left, by headers that lead from there to the end of
the file. Other whole blocks may belong to an .lmz file that is stored in this one. (A file that is cut just where such
a stored one ends, and damaged before it, cannot be told from one whose last member that is.)
"""

import hashlib
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from llmzip import container, filemap, primitives
from llmzip.blocks import Memory
from llmzip.container import (
    BEGINS_GROUP,
    CM,
    HAS_TRANSFORMS,
    LAST,
    MODEL,
    NOTE,
    PREAMBLE_SIZE,
    STORED,
    TYPE_BITS,
    Header,
    Member,
    Preamble,
)
from llmzip.errors import FormatError, LimitExceeded, LlmzipError, TruncatedError, naming
from llmzip.filemap import is_padding, read_at
from llmzip.index import INDEX_END, Index, IndexEntry, check_index, create_index, parse_index
from llmzip.limits import UNLIMITED, Limits
from llmzip.models.source import ModelSource
from llmzip.stream.opening import Opener, Place, parse_block, parse_note

SEARCH_SIZE = 1 << 20  # bytes that are searched at a time
MAX_INDEX_ENTRIES = 1 << 20  # of an index that is looked for: more blocks than that has no file that one mends
REPAIRED_SIZE = 24  # bytes of a header of which one may be wrong
MAX_BLOCK = 1 << 28  # bytes in the file, above what any block has
MAX_REREAD = 8  # times the size of the file: what is read of possible indexes, so that no file makes us read for ever


@dataclass(frozen=True)
class Damage:
    """A damaged stretch of a file. Ranges are half-open, in bytes of the file and of its content."""

    file_start: int
    file_end: int
    content_start: int | None  # None: not known, because there is damage of unknown length before
    content_end: int | None  # None: not known
    error: LlmzipError


Pieces = Generator[bytes | Damage, None, int]  # returns where in the file it has come to


def salvage(
    file: BinaryIO,
    source: ModelSource,
    *,
    ignore_engine: bool = False,
    limits: Limits = UNLIMITED,
    doubtful: bool = False,
) -> Iterator[bytes | Damage]:
    """All that is whole in a file with random access, in its order, and a Damage for each stretch that is not.

    In a file that is cut and has a damaged header as well, what comes after that is given out only if `doubtful`: it
    may be of an .lmz file that is stored in the very block that is cut.
    Raises LimitExceeded where there is more content than `limits` allow.
    """
    return _Salvage(file, Opener(source, ignore_engine, limits), doubtful).pieces()


class _Salvage:
    """One way through a file from its start to its end."""

    def __init__(self, file: BinaryIO, opener: Opener, doubtful: bool) -> None:
        self._file = file
        self._opener = opener
        self._start = file.tell()
        self._end = filemap.end_of(file)
        self._content: int | None = 0  # where in the content the next block begins
        self._n_out = 0
        self._n_members = 0
        self._note: str | None = None  # of this member, as are these:
        self._whole = True
        self._digest = hashlib.sha256()
        self._memory = Memory(container.MIN_LINE_BITS)  # of this group
        self._trail = _Trail(file, self._end, doubtful)

    def pieces(self) -> Iterator[bytes | Damage]:
        at = self._start
        while self._n_members == 0 or (at < self._end and not is_padding(self._file, at)):
            at = yield from self._member(at)

    def _read(self, at: int, n: int) -> bytes:
        return read_at(self._file, at, min(n, self._end - at))

    def _damage(self, start: int, end: int, n_bytes: int | None, error: LlmzipError) -> Damage:
        """What is lost here, and the content goes on after it."""
        self._whole = False
        before = self._content
        self._content = None if before is None or n_bytes is None else before + n_bytes
        return Damage(start, end, before, self._content, error)

    def _member(self, offset: int) -> Pieces:
        self._n_members += 1
        self._note, self._whole, self._digest = None, True, hashlib.sha256()
        preamble, broken = None, None
        try:
            start = self._read(offset, PREAMBLE_SIZE)
            container.check_continuation(start, self._n_members - 1)
            preamble = container.parse_preamble(start)
            if preamble.short:
                return (yield from self._short(offset, preamble))
            container.parse_header(self._read(offset + PREAMBLE_SIZE, container.MAX_HEADER_SIZE), start)
        except LimitExceeded:
            raise
        except LlmzipError as error:
            broken = error
        if broken is not None and (mended := self._mended(offset)) is not None:
            yield self._damage(offset, offset + PREAMBLE_SIZE, 0, broken)
            preamble = mended
        if broken is not None and preamble is None:
            return (yield from self._after_damage(offset, offset, Member(self._likely_preamble(offset)), broken))
        assert preamble is not None
        return (yield from self._blocks(offset, offset + PREAMBLE_SIZE, Member(preamble)))

    def _blocks(self, offset: int | None, at: int, member: Member) -> Pieces:
        """Block after block, as headers lead. `offset`: where the member begins; None: blocks of it are missing."""
        while not member.ended:
            told = at  # up to where damage has been told
            try:
                header = member.parse_header(self._read(at, container.MAX_HEADER_SIZE))
            except LlmzipError as error:
                repaired = self._repaired(at, member)
                if repaired is None:
                    return (yield from self._after_damage(offset, at, member, error))
                header, told = repaired, at + repaired.size
                yield self._damage(at, told, 0, error)
            number = member.n_blocks + 1 if offset is not None else None
            yield from self._block(at, header, number, member.fingerprint, told)
            member.add_header(header)
            at += header.block_size
            if at > self._end:
                return self._end
        return (yield from self._index(at, member, complete=offset is not None))

    def _short(self, offset: int, preamble: Preamble) -> Pieces:
        """A short member has one check for everything: where it is wrong, no size in it is known."""
        at = offset + len(preamble.raw)
        try:
            header = Member(preamble).parse_header(self._read(at, container.MAX_HEADER_SIZE))
            end = at + header.block_size
            (piece,) = self._block(at, header, 1, preamble.fingerprint)
        except LimitExceeded:
            raise
        except LlmzipError as error:
            end, piece = self._end + 1, self._damage(offset, offset, None, error)
        if isinstance(piece, Damage):
            self._content = None
            if end > self._end or not self._trail.begins_member(end):
                end, _ = self._trail.find_header(offset)
            piece = replace(piece, file_start=offset, file_end=end, content_end=None)
        yield piece
        return end

    def _block(
        self, at: int, header: Header, number: int | None, fingerprint: bytes, told: int | None = None
    ) -> Iterator[bytes | Damage]:
        """The content of one block, or its damage, from `told` on if its header is not whole."""
        end = at + header.block_size
        if header.line_bits is not None:
            self._memory = Memory(header.line_bits)
        place = Place(self._n_members, number, self._content, header.n_bytes)
        self._opener.limits.check_size(self._n_out + header.n_bytes)
        try:
            if end > self._end:
                raise TruncatedError(f"file ends in {place}")
            block = parse_block(self._read(at, header.block_size), header, place)
            if block.kind == NOTE:
                self._note = parse_note(block)
                return
            self._opener.check(header, place, self._memory)
            content = self._opener.open(block, header, place, self._memory, fingerprint=fingerprint, note=self._note)
        except LlmzipError as error:
            if header.kind != STORED:
                self._memory.spoil()
            yield self._damage(told or at, min(end, self._end), None if end > self._end else header.n_bytes, error)
            return
        self._digest.update(content)
        self._n_out += len(content)
        if self._content is not None:
            self._content += len(content)
        yield content

    def _index(self, at: int, member: Member, *, complete: bool) -> Pieces:
        """The index, if there must be one. With it no content is lost."""
        if complete and not member.has_index:
            return at
        try:
            if not complete:
                return self._trail.index_end(at)
            seen = member.index(self._digest.digest()[: primitives.CONTENT_CHECK_SIZE])
            end = at + len(create_index(seen))
            if end > self._end:
                raise TruncatedError("file ends in the index")
            check_index(self._read(at, end - at), seen, check_content=self._whole)
        except LlmzipError as error:
            if not complete:
                end, _ = self._trail.find_header(at)
            end = min(end, self._end)
            yield self._damage(at, end, 0, error)
        return end

    def _after_damage(self, offset: int | None, at: int, member: Member, error: LlmzipError) -> Pieces:
        """Go on after what cannot be read at `at`: where the index of this member says, or where headers are found."""
        if offset is not None and (found := self._trail.find_index(offset, at)) is not None:
            return (yield from self._by_index(offset, at, member.preamble, *found))
        self._memory.spoil()
        next_at, preamble = self._trail.find_header(at)
        yield self._damage(at, next_at, None, error)
        if next_at == self._end:
            return self._end
        if preamble is not None:
            return next_at
        rest = Member(member.preamble, entries=[IndexEntry(0, 0)], n_blocks=1)
        return (yield from self._blocks(None, next_at, rest))

    def _by_index(self, offset: int, at: int, preamble: Preamble, index: Index, end: int) -> Pieces:
        """The blocks from `at` on, each where the index has it."""
        place, number = offset + PREAMBLE_SIZE, 0
        for i, entry in enumerate(index.entries):
            number += entry.n_bytes > 0
            if place >= at:
                try:
                    data = self._read(place, container.MAX_HEADER_SIZE)
                    with naming(f"block {number}" if entry.n_bytes else "the note"):
                        header = container.parse_header(data, b"" if i else preamble.raw, first=number == 1)
                        if (header.n_bytes, header.block_size) != (entry.n_bytes, entry.size):
                            raise FormatError("index does not tell its sizes")
                except LlmzipError as error:
                    self._memory.spoil()
                    yield self._damage(place if i else at, place + entry.size, entry.n_bytes, error)
                else:
                    yield from self._block(place, header, number, preamble.fingerprint)
            place += entry.size
        return end

    def _mended(self, offset: int) -> Preamble | None:
        """A preamble with which the check of the first header holds, which covers both."""
        data = self._read(offset + PREAMBLE_SIZE, container.MAX_HEADER_SIZE)
        for fingerprint in self._fingerprints(offset):
            preamble = container.preamble_of(fingerprint)
            try:
                container.parse_header(data, preamble.raw)
            except LlmzipError:
                continue
            return preamble
        return None

    def _repaired(self, at: int, member: Member) -> Header | None:
        """The header that is here but for one byte, if with one the checks of header and payload hold."""
        data = self._read(at, container.MAX_HEADER_SIZE)
        for i in range(min(REPAIRED_SIZE, len(data))):
            for byte in range(256):
                try:
                    header = member.parse_header(data[:i] + bytes([byte]) + data[i + 1 :])
                    if header.size > i:
                        container.parse_block(self._read(at, header.block_size), header)
                        return header
                except LlmzipError:
                    continue
        return None

    def _likely_preamble(self, offset: int) -> Preamble:
        return container.preamble_of(self._fingerprints(offset)[0])

    def _fingerprints(self, offset: int) -> list[bytes]:
        """What a damaged preamble may have named: what it names, the model at hand, none."""
        found = [container.NO_MODEL]
        try:
            found.insert(0, self._opener.source.to_compress().fingerprint)
        except (LlmzipError, OSError):  # no model here: what is stored needs none
            pass
        named = self._read(offset, PREAMBLE_SIZE)[-container.FINGERPRINT_SIZE :]
        return [named, *found] if len(named) == container.FINGERPRINT_SIZE else found


class _Trail:
    """Where a file goes on after a place that cannot be read: looks at headers and indexes alone."""

    # What can begin a member, and the kind bytes of blocks with content: but for model blocks, of two flags at most.
    _STARTS = re.compile(
        b"\xfc(?=[%s])|[%s]"
        % (
            re.escape(primitives.MAGIC[1:] + bytes(container.SHORT_FORMS)),
            re.escape(
                bytes(
                    kind
                    for kind in range(256)
                    if kind & TYPE_BITS == MODEL
                    or (
                        kind & TYPE_BITS in (STORED, CM)
                        and not kind & ~(TYPE_BITS | LAST | HAS_TRANSFORMS | BEGINS_GROUP)
                    )
                )
            ),
        ),
        re.DOTALL,
    )

    def __init__(self, file: BinaryIO, end: int, doubtful: bool) -> None:
        self._file = file
        self._end = end
        self._doubtful = doubtful
        self._n_reread = 0
        self._dead: set[int] = set()  # headers that lead nowhere

    def _read(self, at: int, n: int) -> bytes:
        return read_at(self._file, at, max(0, min(n, self._end - at)))

    def _chunks(self, at: int, overlap: int) -> Iterator[tuple[int, bytes]]:
        """From `at` on, each with its place, and the first bytes of the next."""
        while at < self._end:
            yield at, self._read(at, SEARCH_SIZE + overlap)
            at += SEARCH_SIZE

    def find_index(self, offset: int, at: int) -> tuple[Index, int] | None:
        """The index of the member that begins at `offset`, after `at`, and where it ends.

        Its checksum and its sizes, which lead back to the start of the member, leave no doubt.
        """
        for place, chunk in self._chunks(at, len(primitives.END_MAGIC) - 1):
            for match in re.finditer(re.escape(primitives.END_MAGIC), chunk):
                end = place + match.end()
                if end < at + INDEX_END.size:
                    continue
                size, _ = INDEX_END.unpack(self._read(end - INDEX_END.size, INDEX_END.size))
                begin = end - INDEX_END.size - size
                if begin < at or self._n_reread + size > MAX_REREAD * self._end:
                    continue
                self._n_reread += size
                try:
                    index = parse_index(self._read(begin, end - begin))
                except LlmzipError:
                    continue
                if sum(entry.size for entry in index.entries) == begin - offset - PREAMBLE_SIZE:
                    return index, end
        return None

    def find_header(self, after: int) -> tuple[int, Preamble | None]:
        """The next place from which headers lead to the end of the file; its preamble, if a member begins there.

        `after`: where what cannot be read begins. No such place: the end of the file. Headers that lead to where the
        file is cut may lie in the very block that is cut, unless that has to be another.
        """
        may_be_cut = self._doubtful or self._end - after > MAX_BLOCK
        skip_to = after + 1
        for place, chunk in self._chunks(after + 1, container.MAX_HEADER_SIZE):
            for match in self._STARTS.finditer(chunk, 0, min(len(chunk), SEARCH_SIZE)):
                here = place + match.start()
                if here < skip_to:
                    continue
                data = chunk[match.start() : match.start() + container.MAX_HEADER_SIZE]
                try:
                    preamble = container.parse_preamble(data) if data[0] == primitives.MAGIC[0] else None
                    if preamble is None and container.parse_header(data).n_bytes == 0:
                        continue
                except LlmzipError:
                    continue
                leads, stop = self._follow(here, inside=preamble is None, may_be_cut=may_be_cut)
                if leads:
                    return here, preamble
                if preamble is not None:
                    skip_to = stop  # a whole .lmz file inside a block
        return self._end, None

    def _follow(self, at: int, *, inside: bool, may_be_cut: bool) -> tuple[bool, int]:
        """Whether headers lead from here to the end, and how far. `inside`: a member; else it begins here."""
        passed: list[int] = []
        n_blocks = int(inside)  # of this member: a block that does not begin one is not its first
        try:
            while inside or (at < self._end and not is_padding(self._file, at)):
                if at in self._dead:
                    return False, at
                passed.append(at)
                at, header = self._past_block(at, inside=inside)
                inside = not header.last
                n_blocks += header.kind != NOTE
                if not inside:
                    at = self.index_end(at) if n_blocks > 1 else at
                    n_blocks = 0
            leads = at == self._end or may_be_cut  # zeros at the end may be padding, or stand for what was cut off
            at = self._end
        except TruncatedError:
            leads, at = may_be_cut, self._end
        except LlmzipError:
            leads = False
        if not leads:
            self._dead.update(passed)
        return leads, at

    def _past_block(self, at: int, *, inside: bool) -> tuple[int, Header]:
        """Where a block ends that begins here, with its member unless `inside` one, and its header."""
        if inside:
            header = container.parse_header(self._read(at, container.MAX_HEADER_SIZE))
        else:
            member = Member(container.parse_preamble(self._read(at, PREAMBLE_SIZE)))
            at += len(member.preamble.raw)
            header = member.parse_header(self._read(at, container.MAX_HEADER_SIZE))
        if at + header.block_size > self._end:
            raise TruncatedError("file ends in a block")
        return at + header.block_size, header

    def begins_member(self, at: int) -> bool:
        """Whether a member may begin here, or the file end."""
        return at == self._end or container.begins_member(self._read(at, 2)) or is_padding(self._file, at)

    def index_end(self, at: int) -> int:
        """Where the index ends that begins here. FormatError: it is none or damaged; TruncatedError: it is cut."""
        data = self._read(at, 1 + primitives.MAX_VARINT_SIZE)
        n_entries, _ = primitives.parse_varint(data, 1, "the index")
        if n_entries > MAX_INDEX_ENTRIES:
            raise FormatError("not an index")
        data = self._read(at, 64 + 2 * primitives.MAX_VARINT_SIZE * n_entries)
        place = 1
        for _ in range(2 * n_entries + 2):
            _, place = primitives.parse_varint(data, place, "the index")
        place += primitives.CONTENT_CHECK_SIZE + 4 + INDEX_END.size
        if len(data) < place:
            raise TruncatedError("file ends in the index")
        parse_index(data[:place])
        return at + place
