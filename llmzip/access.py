"""Random access: the content of a file at any offset, of which only the groups that are asked for are decoded.

Knows members and where blocks are; how they are coded is `stream`'s, how they are laid out `container`'s.
The objects are not thread-safe.
"""

from bisect import bisect_right
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from llmzip import container, filemap, workers
from llmzip.blocks import Memory
from llmzip.container import Header
from llmzip.errors import LlmzipError, naming
from llmzip.filemap import BlockEntry, MemberEntry
from llmzip.stream.opening import Opener, Place, parse_block

CACHE_SIZE = 1 << 26  # bytes of content that are kept: four groups of the default size
IN_ORDER = 3  # blocks that are read one after another: the next are wanted, too
AHEAD = 2  # groups that are decoded beside: one that is being read, and the next


class Contents:
    """Content of a mapped file at any offset, as far as the file is whole.

    The blocks of a group are decoded in their order, stored ones on their own. What was decoded last is kept, and what
    its group has learnt by then. Where blocks are read one after another, the next group is decoded beside.
    """

    def __init__(self, file: BinaryIO, start: int, opener: Opener) -> None:
        self._file = file
        self._opener = opener
        members, self._error = filemap.explore_file(file, start)
        self._blocks: list[tuple[MemberEntry, BlockEntry]] = [(m, b) for m in members for b in m.blocks if b.n_bytes]
        self._starts = [block.content_offset for _, block in self._blocks]
        self._numbers = {member.offset: i + 1 for i, member in enumerate(members)}
        self._n_bytes = sum(member.n_bytes for member in members)
        self._kept = _Kept(CACHE_SIZE if opener.limits.memory is None else 0)
        self._last = -1  # block that was read
        self._n_in_order = 0  # of those that were read last
        self._ahead: list[_Group] = []
        self._memory = Memory(container.MIN_LINE_BITS)
        self._next = -1  # the block that can go on from the memory

    def check(self, offset: int | None = None) -> int:
        """The size of the content. Raises the error that ends it if `offset` (None: the end) lies beyond it."""
        if self._error is not None and (offset is None or offset > self._n_bytes):
            raise type(self._error)(str(self._error), hint=self._error.hint) from self._error
        return self._n_bytes

    def read(self, offset: int, size: int) -> bytes:
        """Content from `offset` on, up to the end of its block; empty at or after the end."""
        if offset >= self._n_bytes:
            self.check()
            return b""
        i = bisect_right(self._starts, offset) - 1
        if i != self._last:
            self._n_in_order = self._n_in_order + 1 if i == self._last + 1 else 1
            if self._n_in_order >= IN_ORDER:
                self._look_ahead(i)
        content = self._content(i)
        self._last = i
        at = offset - self._starts[i]
        return content[at : at + size]

    def close(self) -> None:
        """Stop what is decoded beside."""
        while self._ahead:
            self._ahead.pop().results.stop()

    def _content(self, i: int) -> bytes:
        if (kept := self._kept.get(i)) is not None:
            return kept
        for group in self._ahead:
            if i in group.to_come and group.results.is_here():
                return self._take(group, i)
        return self._go_to(i)

    def _take(self, group: "_Group", i: int) -> bytes:
        """The content of block i of a group that is decoded beside. The memory of the group before it is given back."""
        self._memory, self._next = Memory(container.MIN_LINE_BITS), -1
        content = b""
        while i in group.to_come:
            result = group.results.next()
            if isinstance(result, LlmzipError):
                self.close()
                raise result
            content = result
            self._kept.put(group.to_come.start, content)
            group.to_come = group.to_come[1:]
        return content

    def _go_to(self, i: int) -> bytes:
        """Decode block i, after those of its group before it that are not decoded yet; stored ones need none."""
        header = self._enter(i)
        if header.kind != container.STORED:
            start = next(at for at in range(i, -1, -1) if self._blocks[at][1].begins_group)
            for at in range(self._next if start < self._next <= i else start, i):
                if (before := self._enter(at)).kind != container.STORED:
                    self._open(at, before)
        return self._open(i, header)

    def _enter(self, i: int) -> Header:
        """The header of block i. Where a group begins, its memory is made."""
        header = self._header(i)
        if header.line_bits is not None:
            self._memory, self._next = Memory(header.line_bits), i
        if header.kind == container.STORED and self._next == i:
            self._next = i + 1
        return header

    def _header(self, i: int) -> Header:
        member, entry = self._blocks[i]
        self._opener.limits.check_size(entry.content_offset + entry.n_bytes)
        with naming(self._place(i)):
            return filemap.read_header(self._file, member, entry)

    def _place(self, i: int) -> Place:
        member, entry = self._blocks[i]
        return Place(self._numbers[member.offset], entry.number, entry.content_offset, entry.n_bytes)

    def _block(self, i: int, header: Header) -> container.Block:
        entry = self._blocks[i][1]
        return parse_block(filemap.read_at(self._file, entry.offset, entry.size), header, self._place(i))

    def _open(self, i: int, header: Header) -> bytes:
        """The content of block i, which is stored, or goes on from the memory as it is."""
        member, place = self._blocks[i][0], self._place(i)
        self._opener.check(header, place, self._memory)
        block = self._block(i, header)
        if header.kind != container.STORED:
            self._next = -1  # until it has been decoded
        content = self._opener.open(
            block, header, place, self._memory, fingerprint=member.fingerprint, note=member.note
        )
        if header.kind != container.STORED:
            self._next = i + 1
        self._kept.put(i, content)
        return content

    def _look_ahead(self, i: int) -> None:
        """Begin to decode the next group beside, if there is a thread for it and no bound to the memory."""
        for group in [group for group in self._ahead if not group.to_come or group.to_come.stop <= i]:
            group.results.stop()
            self._ahead.remove(group)
        borders = (at for at in range(i + 1, len(self._blocks)) if self._blocks[at][1].begins_group)
        start, end = next(borders, None), next(borders, len(self._blocks))
        if start is None or len(self._ahead) == AHEAD or any(start in group.to_come for group in self._ahead):
            return
        if self._opener.limits.memory is None and self._opener.source.n_threads > 1 and self._kept.get(start) is None:
            with suppress(LlmzipError, RuntimeError):  # what is wrong is told when it is read; no more threads
                self._ahead.append(_Group(range(start, end), workers.Beside(self._decoding(range(start, end)))))

    def _decoding(self, numbers: range) -> workers.Job[bytes | LlmzipError]:
        """The job that decodes these blocks, which are read here: a file has one place."""
        headers = [self._header(at) for at in numbers]
        group = [
            (self._block(at, header), header, self._place(at)) for at, header in zip(numbers, headers, strict=True)
        ]
        member = self._blocks[numbers.start][0]
        memory = Memory(headers[0].line_bits or container.MIN_LINE_BITS, self._opener.source.n_threads // 2)
        return partial(self._opener.open_all, group, memory, member.fingerprint, member.note)


@dataclass
class _Group:
    """A group that is decoded beside."""

    to_come: range  # numbers of its blocks that have not been taken
    results: workers.Beside[bytes | LlmzipError]


class _Kept:
    """The contents of blocks that were decoded last."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._contents: OrderedDict[int, bytes] = OrderedDict()
        self._n_bytes = 0

    def get(self, i: int) -> bytes | None:
        if i not in self._contents:
            return None
        self._contents.move_to_end(i)
        return self._contents[i]

    def put(self, i: int, content: bytes) -> None:
        """Keep it, whatever its size; of the others what there is room for."""
        self._n_bytes += len(content) - len(self._contents.pop(i, b""))
        self._contents[i] = content
        while self._n_bytes > self._size and len(self._contents) > 1:
            self._n_bytes -= len(self._contents.popitem(last=False)[1])
