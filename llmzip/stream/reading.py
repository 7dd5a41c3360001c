"""LmzDecompressor and MemberReader: the content of an .lmz file as its bytes arrive, in bounded memory.

Knows the order of blocks; leaves bytes to `container` and content to `opening`.
"""

import hashlib
import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from llmzip import container, workers
from llmzip.blocks import Memory
from llmzip.container import Block, Header, Member
from llmzip.errors import FormatError, LlmzipError, TruncatedError, UnsupportedError
from llmzip.handles import flat
from llmzip.index import check_index, create_index
from llmzip.limits import UNLIMITED, Limits
from llmzip.models import Engine
from llmzip.models.source import MAX_THREADS, ModelSource
from llmzip.primitives import CONTENT_CHECK_SIZE
from llmzip.stream.opening import Opener, Place, Whole, parse_block, parse_note
from llmzip.stream.progress import Progress, SteadyProgress

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from llmzip.models import Model

CHUNK_SIZE = 1 << 16  # bytes of a file that are read at a time
AHEAD = 1 << 24  # that are kept at hand, where groups at hand are decoded side by side


class LmzDecompressor:
    """Reads one member. At its end `eof` becomes true, and `unused_data` holds what followed it.

    `model` is needed only to override the search for the one that the file names. `progress` is told bytes of the file
    and of content that are done, by whatever thread does them. A block that asks for more than the
    `limits` raises LimitExceeded before its payload is read. `side_by_side`: groups that are at hand are decoded by
    threads that go on between calls, so the object must not be taken through a fork.
    """

    def __init__(
        self,
        model: "Model | str | ModelSource | None" = None,
        *,
        engine: str = Engine.exact,
        device: str | None = None,
        threads: int | None = None,
        ignore_engine: bool = False,
        progress: Progress | None = None,
        limits: Limits = UNLIMITED,
        side_by_side: bool = False,
    ) -> None:
        if not isinstance(model, ModelSource):
            model = ModelSource(model, engine=engine, device=device, threads=threads)
        self._opener = Opener(model, ignore_engine, limits)
        self._side_by_side = side_by_side and limits.memory is None  # that bounds one group
        self._progress = SteadyProgress(progress)
        self._input = bytearray()
        self._number = 1  # of the member in its file
        self._n_in = self._n_out = 0  # in the whole file
        self._begin()

    def _begin(self) -> None:
        self._output = b""  # of the last block decoded, from _given on still to be given out
        self._given = 0
        self._member: Member | None = None
        self._header: Header | None = None  # of the block whose payload is awaited
        self._note: str | None = None
        self._memory = Memory(container.MIN_LINE_BITS)  # the first block of content begins another
        self._ahead: Iterator[bytes | LlmzipError] = iter(())  # contents of the next blocks, which others are decoding
        self._n_ahead = 0  # of them are to come
        self._digest = hashlib.sha256()
        self._shortfall = TruncatedError("file is empty")  # what to say if nothing more comes
        self._ended = False
        self.eof = False
        self.needs_input = not self._input

    @property
    def unused_data(self) -> bytes:
        """What followed the member in the input; empty before its end."""
        return bytes(self._input) if self.eof else b""

    def decompress(self, data: "Buffer", max_length: int = -1) -> bytes:
        """Take bytes of the file; return content.

        All that there is, or if `max_length` is not negative at most so many bytes, and of one block only.
        When there may be more content without more input, `needs_input` is false.
        """
        if self.eof:
            raise EOFError("Already at end of stream")
        self._input += flat(data)
        pieces = [self._pop_output(max_length)]
        stuck = False
        while not stuck and (max_length < 0 or (max_length > 0 and not pieces[-1])):
            stuck = not self._step()
            pieces.append(self._pop_output(max_length))
        self._update_state(stuck)
        return b"".join(pieces)

    def _pop_output(self, max_length: int) -> bytes:
        """Content that is ready."""
        end = len(self._output) if max_length < 0 else self._given + max_length
        piece = self._output[self._given : end]
        self._given += len(piece)
        return piece

    def check_eof(self) -> None:
        """Raise TruncatedError, which says what is missing, unless the member has ended."""
        if not self.eof:
            raise self._shortfall

    def _update_state(self, stuck: bool) -> None:
        """Say what the next call needs. `stuck`: nothing more can be made of the input at hand."""
        self.eof = self._ended and self._given == len(self._output)
        self.needs_input = stuck and not self.eof

    def _step(self) -> bool:
        """Take the next element off the input; False if the member has ended or the element is not all there."""
        if self._ended:
            return False
        try:
            if self._member is None:
                self._read_preamble()
            elif self._member.ended:
                self._read_index(self._member)
            else:
                self._read_block(self._member)
        except TruncatedError as error:
            self._shortfall = error
            return False
        return True

    def _read_preamble(self) -> None:
        preamble = container.parse_preamble(bytes(self._input[: container.PREAMBLE_SIZE]))
        self._drop(len(preamble.raw))
        self._member = Member(preamble)

    def _read_block(self, member: Member) -> None:
        header = self._next_header(member)
        place = Place(self._number, member.n_blocks + 1, self._n_out, header.n_bytes)
        if len(self._input) < header.block_size:
            raise TruncatedError(f"file ends in {place}")
        block = parse_block(bytes(self._input[: header.block_size]), header, place)
        if block.kind == container.NOTE:
            self._note = parse_note(block)
        else:
            self._output = self._open(member, block, header, place)
            self._given = 0
            self._digest.update(self._output)
        member.add_header(header)
        self._header = None
        self._drop(header.block_size)
        self._n_out += header.n_bytes
        self._ended = member.ended and not member.has_index
        self._report_progress(0)

    def _open(self, member: Member, block: Block, header: Header, place: Place) -> bytes:
        """The content of a block.

        Where a group begins and others are at hand as well, they are decoded side by side.
        """
        if not self._n_ahead and header.line_bits is not None:
            self._memory = Memory(header.line_bits)
            if self._side_by_side:
                self._decode_ahead(member)
        if self._n_ahead:
            content = next(self._ahead, FormatError(f"{place}: decoding it was broken off"))
            if isinstance(content, LlmzipError):
                self._ahead = itertools.chain([content], self._ahead)  # said again, if it is asked for again
                raise content
            self._n_ahead -= 1
            return content
        return self._opener.open(
            block,
            header,
            place,
            self._memory,
            fingerprint=member.fingerprint,
            note=self._note,
            progress=self._report_progress,
        )

    def _groups_at_hand(self, member: Member) -> list[list[Whole]]:
        """The blocks that are all in the input, by group, MAX_THREADS of them at most.

        What is wrong is told when its turn comes.
        """
        groups: list[list[Whole]] = []
        ahead, at, n_out = replace(member, entries=list(member.entries)), 0, self._n_out
        while not ahead.ended:
            try:
                header = ahead.parse_header(bytes(self._input[at : at + container.MAX_HEADER_SIZE]))
                self._opener.limits.check_size(n_out + header.n_bytes)
                place = Place(self._number, ahead.n_blocks + 1, n_out, header.n_bytes)
                block = parse_block(bytes(self._input[at : at + header.block_size]), header, place)
            except LlmzipError:
                break
            if header.line_bits is not None:
                if len(groups) == MAX_THREADS:
                    break
                groups.append([])
            groups[-1].append((block, header, place))
            ahead.add_header(header)
            at += header.block_size
            n_out += header.n_bytes
        return groups

    def _decode_ahead(self, member: Member) -> None:
        """Begin with all groups at hand, if there are several."""
        groups = self._groups_at_hand(member)
        if len(groups) < 2 or (n_threads := self._opener.source.n_threads) < 2:
            return
        groups = groups[:n_threads]
        if any(block.kind == container.MODEL for group in groups for block, _, _ in group):
            with suppress(LlmzipError):  # loaded once; an error is that of each block
                self._opener.source.to_decompress(member.fingerprint)
        memories = [
            Memory(group[0][1].line_bits or container.MIN_LINE_BITS, n_threads // len(groups)) for group in groups
        ]
        jobs = [
            partial(self._opener.open_all, group, memory, member.fingerprint, self._note)
            for group, memory in zip(groups, memories, strict=True)
        ]
        report, n_in, start = self._progress, self._n_in, self._n_out

        def tell(done: int) -> None:  # does not know this object: then that ends the threads where it is given up
            report(n_in, start + done)

        self._ahead, self._n_ahead = workers.run(jobs, len(jobs), tell), sum(map(len, groups))
        self._memory = memories[-1]  # for what follows when all of them are taken

    def _next_header(self, member: Member) -> Header:
        """The header of the next block, checked before its payload is awaited."""
        if self._header is None:
            try:
                header = member.parse_header(bytes(self._input[: container.MAX_HEADER_SIZE]))
            except (FormatError, UnsupportedError) as error:
                message = f"{error} (byte {self._n_in} of the file, content byte {self._n_out})"
                raise type(error)(message, hint=error.hint) from error
            self._opener.limits.check_size(self._n_out + header.n_bytes)
            memory = self._memory if header.line_bits is None else Memory(header.line_bits)
            self._opener.check(header, Place(self._number, member.n_blocks + 1, self._n_out, header.n_bytes), memory)
            self._header = header
        return self._header

    def _read_index(self, member: Member) -> None:
        """What was seen tells every byte of the index but, if the content is wrong, its content check."""
        seen = member.index(self._digest.digest()[:CONTENT_CHECK_SIZE])
        size = len(create_index(seen))
        if len(self._input) < size:
            raise TruncatedError("file ends in the index")
        check_index(bytes(self._input[:size]), seen)
        self._drop(size)
        self._ended = True
        self._report_progress(0)

    def _drop(self, n: int) -> None:
        del self._input[:n]
        self._n_in += n

    def _report_progress(self, n_in_block: int) -> None:
        self._progress(self._n_in, self._n_out + n_in_block)


class MemberReader:
    """The content of all members in their order, from anything that gives bytes: a pipe, a file, a socket.

    `read` is asked for at most so many bytes and may give fewer; none at all are the end. With `side_by_side`, groups
    at hand are decoded together, and what `is_here`, so that reading it does not wait, is read ahead. Zeros after a
    member up to the end of the file are padding, as tapes and block devices leave it. No byte is given out before its
    block is checked, and what is whole before an error can be had by `read1`, block by block.
    """

    def __init__(
        self,
        read: Callable[[int], bytes | None],
        source: ModelSource,
        *,
        ignore_engine: bool = False,
        limits: Limits = UNLIMITED,
        progress: Progress | None = None,
        side_by_side: bool = False,
        is_here: Callable[[], bool] = lambda: True,
    ) -> None:
        self._read, self._is_here = read, is_here
        self._member = LmzDecompressor(
            source, ignore_engine=ignore_engine, limits=limits, progress=progress, side_by_side=side_by_side
        )
        self._ready = bytearray()  # taken for a `read` that raised
        self._in_padding = False
        self._at_hand = AHEAD if self._member._side_by_side else 0
        self.n_out = 0  # bytes of content given out

    @property
    def n_in(self) -> int:
        """Bytes of the file that are used up."""
        return self._member._n_in

    def read(self, size: int = -1) -> bytes:
        """So many bytes of content, fewer only at the end; all if `size` is negative."""
        while size < 0 or len(self._ready) < size:
            piece = self._next(size - len(self._ready) if size >= 0 else sys.maxsize)
            if not piece:
                break
            self._ready += piece
        return self._pop_output(size)

    def read1(self, size: int = -1) -> bytes:
        """What is ready, at least one byte and at most `size` of one block; empty at the end."""
        if not self._ready and size:
            self._ready += self._next(size if size > 0 else sys.maxsize)
        return self._pop_output(size)

    def _pop_output(self, size: int) -> bytes:
        piece = bytes(self._ready if size < 0 else self._ready[:size])
        del self._ready[: len(piece)]
        self.n_out += len(piece)
        return piece

    def _next(self, size: int) -> bytes:
        """Content of one block; empty at the end."""
        while True:
            if self._member.eof and not self._begin_member():
                return b""
            data = self._look_ahead()
            if self._member.needs_input and not data:
                data = self._more()
            if content := self._member.decompress(data, size):
                return content

    def _look_ahead(self) -> bytes:
        """Bytes that will be needed, as far as they are here, so that there are groups to decode side by side."""
        found = bytearray()
        while (missing := self._at_hand - len(self._member._input) - len(found)) >= CHUNK_SIZE and self._is_here():
            data = self._chunk(missing)
            if not data:
                self._at_hand = 0
            found += data
        return bytes(found)

    def _more(self) -> bytes:
        """Bytes that the member needs."""
        data = self._chunk(CHUNK_SIZE)
        if not data:
            self._member.check_eof()
        return data

    def _chunk(self, size: int) -> bytes:
        data = self._read(size)
        if data is None:
            raise BlockingIOError("the file has no bytes at hand")
        return data

    def _begin_member(self) -> bool:
        """Go on to the member that follows, if there is one."""
        rest = self._member._input
        if not rest:
            rest += self._chunk(CHUNK_SIZE)
        if not rest:
            return False
        if rest[0] == 0 or self._in_padding:
            self._skip_padding(rest)
            return False
        container.check_continuation(bytes(rest[:2]), self._member._number)
        self._member._number += 1
        self._member._begin()
        return True

    def _skip_padding(self, rest: bytearray) -> None:
        self._in_padding = True
        while rest:
            if rest.count(0) < len(rest):
                container.check_continuation(b"\0", self._member._number)
            self._member._drop(len(rest))
            rest += self._chunk(CHUNK_SIZE)
