"""Compress and decompress in pieces, in bounded memory: one member of an .lmz file, as it grows or arrives.

Knows the order of blocks and which model they need; knows nothing of files, and leaves bytes to `container` and coding
to `codec`. Imports neither torch nor numpy before a block needs a model. The objects are not thread-safe.
"""

import hashlib
import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from llmzip import blocks, container, primitives, workers
from llmzip.blocks import Coding, Memory
from llmzip.container import Block, Header, Member
from llmzip.errors import (
    ChecksumError,
    EngineMismatch,
    FormatError,
    LimitExceeded,
    LlmzipError,
    ModelNotFound,
    TruncatedError,
    UnsupportedError,
)
from llmzip.handles import flat
from llmzip.index import check_index, create_index
from llmzip.limits import UNLIMITED, Limits

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from llmzip.models import Model

BLOCK_SIZE = 1 << 20  # default content size of a block: what one seek decodes, and what one damaged byte costs
CHUNK_SIZE = 1 << 16  # bytes of a file that are read at a time
GROUP_SIZE = 1 << 24  # default content size of a group
LINE_BITS = 22  # of its memory at most: 256 MiB
MAX_THREADS = 8  # groups that are coded side by side at most: each takes the memory of one
MAX_GROUP_CONTENT = 1 << 26  # bytes: bodies may be longer, and the last block goes beyond it
LARGE_SHARE = 0.9  # of SHARE, for a group of several blocks: what they have in common helps, whoever codes them
SHARE = 0.97  # what the model must make of a sample that is coded without it, for its time
MAX_CHUNK_SIZE = 1 << 23  # that a long file is read in: groups that are at hand are decoded side by side. A pipe gives what it has
BINARY_FACTOR = 8  # so many times greater may a block be that is not text: it decodes so much faster, and gains by it

Progress = Callable[[int, int], object]  # bytes in, bytes out: cumulative


class _Told:
    """Tells progress, from whatever thread: one call at a time, and never less than before."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._n_in = self._n_out = 0
        self._lock = threading.RLock()  # a signal may come while it is held, and its handler close a file

    def __call__(self, n_in: int, n_out: int) -> None:
        if self._progress is None:
            return
        with self._lock:
            self._n_in, self._n_out = max(self._n_in, n_in), max(self._n_out, n_out)
            self._progress(self._n_in, self._n_out)


class ModelSource:
    """The model that a caller gave, named or left open: found when the first block needs it, and kept.

    One source can serve many members, so that each model is loaded once.
    """

    def __init__(
        self, model: "Model | str | None" = None, *, device: str | None = None, threads: int | None = None
    ) -> None:
        self._given = model
        self._default: Model | None = None
        self._device = device
        self._threads = threads
        self._loaded: dict[bytes, Model] = {}  # by the start of the fingerprint that a file holds

    @cached_property
    def n_threads(self) -> int:
        """Groups that are coded side by side."""
        from llmzip import native

        return min(MAX_THREADS, native.clip_threads(self._threads))

    def to_compress(self) -> "Model":
        """The given model, or the one of that name, or the default."""
        if self._given is not None and not isinstance(self._given, str):
            return self._given
        if self._given is None and self._default is not None:
            return self._default
        from llmzip.models import registry

        model = registry.load(self._given, device=self._device, threads=self._threads)
        if self._given is None:
            self._default = model  # not as given: what a file needs may be another
        else:
            self._given = model
        return model

    def to_decompress(self, fingerprint: bytes) -> "Model":
        """The model that a member names by the start of its fingerprint. A given one must be that one."""
        if self._given is not None:
            return _check_fingerprint(self.to_compress(), fingerprint)
        if fingerprint not in self._loaded:
            from llmzip.models import registry

            self._loaded[fingerprint] = registry.find(fingerprint, device=self._device, threads=self._threads)
        return self._loaded[fingerprint]


def _check_fingerprint(model: "Model", fingerprint: bytes) -> "Model":
    found = model.fingerprint[: container.FINGERPRINT_SIZE]
    if found != fingerprint:
        raise ModelNotFound(
            f"the file needs the model {fingerprint.hex()}, and {model.name} is {found.hex()}",
            hint="leave the choice of the model to the file",
        )
    return model


def check_engine(model: "Model", note: str | None) -> None:
    """Refuse a file that another engine wrote: its scores would differ from ours in some last bit, sooner or later."""
    ours = None if model.exact else model.engine_note
    if note == ours:
        return
    if note is None:
        message = f"the file was written with exact arithmetic, and this engine is not exact ({_one_line(ours)})"
    elif ours is None:
        message = f"the file was written by an engine that is not exact ({_one_line(note)}), and this one is exact"
    else:
        theirs_only = [line for line in note.splitlines() if line not in ours.splitlines()]
        ours_only = [line for line in ours.splitlines() if line not in note.splitlines()]
        message = f"the file was written with {', '.join(theirs_only)}; this engine has {', '.join(ours_only)}"
    raise EngineMismatch(message, hint="decompress with the engine that wrote it, or try with --ignore-engine (ignore_engine=True)")


def _one_line(note: str | None) -> str:
    return ", ".join((note or "").splitlines())


@dataclass(frozen=True)
class Place:
    """Which block of a file it is, in words for messages."""

    member: int  # from 1
    block: int | None  # in its member, from 1; None: not known, in a damaged file
    content_start: int | None  # in the content of the whole file; None: not known
    n_bytes: int  # of content

    def __str__(self) -> str:
        member = f" of member {self.member}" if self.member > 1 else ""
        block = "a block" if self.block is None else f"block {self.block}"
        if self.content_start is None or not self.n_bytes:
            return block + member
        return f"{block}{member} (content bytes {self.content_start} to {self.content_start + self.n_bytes - 1})"


_Whole = tuple[Block, Header, Place]  # a block, and what is known of it


@dataclass(frozen=True)
class Opener:
    """Opens the blocks of one file: knows where models come from, and what the file may ask for."""

    source: ModelSource
    ignore_engine: bool = False
    limits: Limits = UNLIMITED

    def check(self, header: Header, place: Place, memory: Memory, model: "Model | None" = None) -> None:
        """Raise LimitExceeded for a block that takes too much memory, which its header and those of its group tell."""
        if self.limits.memory is not None:
            try:
                self.limits.check_memory(blocks.memory_needed(header, model, memory))
            except LimitExceeded as error:
                raise named(error, place) from error

    def open(
        self,
        block: Block,
        header: Header,
        place: Place,
        memory: Memory,
        *,
        fingerprint: bytes,
        note: str | None,
        progress: Callable[[int], object] | None = None,
    ) -> bytes:
        """The content of a block, compared with its content check. `fingerprint` and `note` are its member's."""
        with memory.at_stake(block):
            model = None
            if block.kind == container.MODEL:
                model = self.source.to_decompress(fingerprint)
                if not self.ignore_engine:
                    check_engine(model, note)
            self.check(header, place, memory, model)
            try:
                return blocks.decompress(block, model, memory, progress)
            except TruncatedError as error:  # the payload is all here: it is what it codes that ends too early
                raise FormatError(f"{place}: {error}", hint=error.hint) from error
            except (ChecksumError, FormatError, UnsupportedError, LimitExceeded) as error:
                raise named(error, place) from error

    def open_all(
        self, group: list[_Whole], memory: Memory, fingerprint: bytes, note: str | None, progress: workers.Progress
    ) -> Iterator[bytes | LlmzipError]:
        """The contents of all blocks of a group, or what is wrong with each. `progress` is told bytes of all."""
        done = 0

        def tell(n: int) -> None:
            progress(done + n)

        for block, header, place in group:
            content: bytes | LlmzipError
            try:
                content = self.open(block, header, place, memory, fingerprint=fingerprint, note=note, progress=tell)
            except LlmzipError as error:
                content = error
            done += header.n_bytes
            progress(done)
            yield content


def named(error: LlmzipError, place: "Place | str") -> LlmzipError:
    """The error of what does not know which block it works on, with the name of that."""
    return type(error)(f"{place}: {error}", hint=error.hint)


class _Group:
    """Blocks that are coded one after another in one memory."""

    def __init__(self, line_bits: int, n_bytes: int, is_first: bool) -> None:
        self._line_bits = container.line_bits_of(n_bytes, line_bits)
        self._is_first = is_first  # of its member
        self._least = LARGE_SHARE if n_bytes > BLOCK_SIZE else 1.0  # of the share that the model is held to
        self._memory: Memory | None = None
        self._blocks: list[tuple[bytes, bool]] = []  # content and whether it is text, of those that are to be coded
        self.n_bytes = 0  # of content
        self.ended = False  # no block is to come but those

    def add(self, content: bytes, is_text: bool) -> None:
        self._blocks.append((content, is_text))
        self.n_bytes += len(content)

    def code(
        self, model: "Model", coding: Coding, progress: workers.Progress, threads: int | None = None
    ) -> Iterator[tuple[Block, str]]:
        """The blocks, each with why it is so. `progress` is told bytes of all that are to be coded."""
        done = 0

        def tell(n: int) -> None:
            progress(done + n)

        while self._blocks:
            content, is_text = self._blocks.pop(0)
            begins = self._memory is None
            if self._memory is None:
                self._memory = Memory(self._line_bits)
            self._memory.threads = threads
            held = replace(coding, share=coding.share * self._least)
            choice = blocks.compress(model, content, is_text, self._memory, held, progress=tell)
            block = choice.block
            if is_text and block.kind == container.CM:
                self._least = 0.0  # what is known of a group by then is worth more than the model (lab-log.md)
            is_default = self._is_first and self._line_bits == container.line_bits_of(block.body_size)
            if block.kind == container.STORED and (begins or choice.spoils):
                self._memory = None  # the next one that is coded begins the group, or another
            elif begins and not is_default:
                block = replace(block, line_bits=self._line_bits)
            self._is_first = False
            done += len(content)
            progress(done)
            yield block, choice.why
        if self.ended:
            self._memory = None


class LmzCompressor:
    """Makes a member, block by block, or several.

    Build one, and give its `model` to the next, rather than call `llmzip.compress` in a loop.
    `model` is a name, a folder, a loaded model, or None for the default one; it is loaded when the first byte comes.
    Where `lanes` is not given, there is one for each `lane_size` bytes of a block: small ones are fast, large ones come out smaller.
    Text and binary stretches go into blocks of their own; one that is not text may have eight times `block_size`.
    Blocks of a group of `group_size` bytes go on from each other: large ones are smaller, small ones can be read on their own.
    Its memory has at most 2^`line_bits` lines of 64 bytes. The model is used where it makes `share` or less of a sample that is coded without.
    One block is held back, because only `flush` or `end_member` knows which is the last. `report` gets a line on each.
    """

    def __init__(
        self,
        model: "Model | str | None" = None,
        *,
        block_size: int = BLOCK_SIZE,
        lanes: int | None = None,
        lane_size: int | None = None,
        window: int | None = None,
        overlap: int | None = None,
        group_size: int = GROUP_SIZE,
        line_bits: int = LINE_BITS,
        share: float = SHARE,
        device: str | None = None,
        threads: int | None = None,
        progress: Progress | None = None,
        report: Callable[[str], object] | None = None,
    ) -> None:
        if not 1 <= block_size <= container.MAX_BLOCK_SIZE:
            raise ValueError(f"block_size must be 1 to {container.MAX_BLOCK_SIZE}")
        self._source = ModelSource(model, device=device, threads=threads)
        self._block_size = self._look_ahead = block_size
        self._greatest = min(BINARY_FACTOR * block_size, container.MAX_BLOCK_SIZE)
        if lane_size is not None and lane_size < 1:
            raise ValueError("lane_size must be 1 or more bytes")
        if not 1 <= group_size <= MAX_GROUP_CONTENT:
            raise ValueError(f"group_size must be 1 to {MAX_GROUP_CONTENT}")
        if not container.MIN_LINE_BITS <= line_bits <= container.MAX_LINE_BITS:
            raise ValueError(f"line_bits must be {container.MIN_LINE_BITS} to {container.MAX_LINE_BITS}")
        self._coding = Coding(lanes, lane_size, window, overlap, share)
        self._group_size, self._line_bits = group_size, line_bits
        self._group: _Group | None = None  # that the next block may go on from
        self._told = _Told(progress)
        self._report = report
        self._held = bytearray()  # content that is in no block yet
        self._member: Member | None = None  # None until the first block: then it is known whether a model is needed
        self._digest = hashlib.sha256()
        self._n_in = self._n_out = 0
        self._n_members = 0  # that are finished
        self._flushed = self._failed = False

    @property
    def model(self) -> "Model":
        """The model, loaded now if it is not yet: for the next compressor to share."""
        return self._source.to_compress()

    def compress(self, data: "Buffer", /) -> bytes:
        """Take content; return what of the member is ready, which may be nothing."""
        if self._flushed:
            raise ValueError("Compressor has been flushed")
        self.hold(data)
        if self._held:
            self._source.to_compress()  # a wrong name is told now, not at the end of the first block
        return b"".join(self._take(last=False))

    def hold(self, data: "Buffer", /) -> None:
        """Take content and do nothing with it yet."""
        self._held += flat(data)

    @property
    def batch_size(self) -> int:
        """Bytes that make a group for each thread: what is given in such pieces is coded side by side."""
        return self._source.n_threads * self._group_size

    def end_member(self) -> bytes:
        """Finish the member, if there is content since the last one. What comes after it begins another."""
        return self._finish() if self._held or self._member is not None else b""

    def flush(self) -> bytes:
        """Finish the last member; the only one, if there is no content, is empty."""
        if self._flushed:
            raise ValueError("Repeated call to flush()")
        done = self.end_member() if self._n_members else self._finish()
        self._flushed = True
        return done

    def _finish(self) -> bytes:
        """The last block of the member, and the index."""
        done = list(self._take(last=True))
        if self._member is None:
            done.append(self._add_block(container.stored_block(b""), b"", last=True))
        assert self._member is not None
        if self._member.has_index:
            done.append(create_index(self._member.index(self._digest.digest()[: primitives.CONTENT_CHECK_SIZE])))
            self._n_out += len(done[-1])
            self._tell(self._n_in)
        self._member, self._group, self._digest = None, None, hashlib.sha256()
        self._n_members += 1
        return b"".join(done)

    def _take(self, *, last: bool) -> Iterator[bytes]:
        """Put held content into the member, block by block, as far as its blocks are known: groups side by side, if there are several.

        If that raises, blocks are lost: nothing may follow, as if the member were whole.
        """
        if self._failed:
            raise ValueError("compressing has failed before")
        self._failed = True
        while groups := self._next_groups(last=last):
            model, start = self._source.to_compress(), self._n_in
            threads = max(1, self._source.n_threads // len(groups)) if len(groups) > 1 else None
            jobs = [partial(_Group.code, group, model, self._coding, threads=threads) for group in groups]

            def tell(done: int, start: int = start) -> None:
                self._tell(start + done)

            coded = workers.run(jobs, self._source.n_threads, tell) if len(jobs) > 1 else jobs[0](tell)
            for block, why in coded:
                content = bytes(self._held[: block.n_bytes])
                del self._held[: len(content)]
                start = self._n_in
                done = self._add_block(block, content, last=last and not self._held)
                if self._report is not None:
                    self._report(f"{len(content)} bytes from {start}: {blocks.describe(block)}, {len(done)} bytes; {why}")
                yield done
        self._failed = False

    def _next_groups(self, *, last: bool) -> list["_Group"]:
        """The next blocks, by group: of one group, or of as many as there are threads, as far as they are known. The first may go on."""
        groups: list[_Group] = []
        at = 0
        while not groups or len(groups) < self._source.n_threads:
            runs, known = self._next_runs(at, last=last)
            if not runs:
                break
            for n_bytes, is_text in runs:
                if self._group is None or self._group.n_bytes + n_bytes > self._group_size:
                    is_first = self._member is None and self._group is None
                    if self._group is not None:
                        self._group.ended = True
                    self._group = _Group(self._line_bits, min(known, self._group_size), is_first)
                if not groups or groups[-1] is not self._group:
                    groups.append(self._group)
                self._group.add(bytes(self._held[at : at + n_bytes]), is_text)
                at += n_bytes
        return groups

    def _next_runs(self, at: int, *, last: bool) -> tuple[list[tuple[int, bool]], int]:
        """Sizes of the next blocks, from `at` in what is held, and whether they are text; and how much content there is at least.

        Depends on the content alone, not on the pieces in which it comes: decided once there is more of it than is looked at.
        `last`: there will be no more.
        """
        while (n_left := len(self._held) - at) and (last or n_left > self._look_ahead):
            from llmzip import segments

            window = bytes(self._held[at : at + self._look_ahead])
            runs = segments.runs(window)
            more = n_left > len(window)
            if more and self._look_ahead < self._greatest and runs != [(len(window), True)]:
                self._look_ahead = self._greatest
                continue
            self._look_ahead = self._block_size
            if more and len(runs) > 1:
                runs.pop()  # it may be longer than what is seen of it
            return [cut for n_bytes, is_text in runs for cut in self._cut(n_bytes, is_text)], sys.maxsize if more else n_left
        return [], 0

    def _cut(self, n_bytes: int, is_text: bool) -> Iterator[tuple[int, bool]]:
        size = self._block_size if is_text else self._greatest
        for at in range(0, n_bytes, size):
            yield min(size, n_bytes - at), is_text

    def _add_block(self, block: Block, content: bytes, *, last: bool) -> bytes:
        done = self._whole_member(block, content) if last and self._member is None else b""
        if not done:
            done = b"" if self._member else self._begin(needs_model=block.kind == container.MODEL or not last)
            done += self._add(block, last)
        self._digest.update(content)
        self._n_in += len(content)
        self._n_out += len(done)
        self._tell(self._n_in)
        return done

    def _whole_member(self, block: Block, content: bytes) -> bytes:
        """The short form, if there is one for this only block."""
        fingerprint = container.NO_MODEL
        if block.kind == container.MODEL:
            model = self._source.to_compress()
            if not model.exact:  # it needs a note
                return b""
            fingerprint = model.fingerprint
        member = container.create_short(block, content, fingerprint)
        if member:
            self._member = Member(container.parse_preamble(member))
            self._member.add(block.kind, block.n_bytes, len(member), last=True)
        return member or b""

    def _begin(self, needs_model: bool) -> bytes:
        """The preamble, and the note of an engine that is not exact."""
        model = self._source.to_compress() if needs_model else None
        preamble = container.create_preamble(model.fingerprint if model else container.NO_MODEL)
        self._member = Member(container.parse_preamble(preamble))
        if model is None or model.exact:
            return preamble
        return preamble + self._add(container.note_block(model.engine_note), last=False)

    def _add(self, block: Block, last: bool) -> bytes:
        assert self._member is not None
        done = container.create_block(block, last=last, before=self._member.next_before)
        self._member.add(block.kind, block.n_bytes, len(done), last, begins_group=block.line_bits is not None)
        return done

    def _tell(self, n_in: int) -> None:
        self._told(n_in, self._n_out)  # blocks may be coded some time before they are put out


class LmzDecompressor:
    """Reads one member. After it `eof` is true, and `unused_data` has what followed it.

    `model` is needed only to override the search for the one that the file names. A block that asks for more than the
    `limits` raises LimitExceeded before its payload is read. `side_by_side`: groups that are at hand are decoded by threads that
    go on between calls, so the object must not be taken through a fork.
    """

    def __init__(
        self,
        model: "Model | str | ModelSource | None" = None,
        *,
        device: str | None = None,
        threads: int | None = None,
        ignore_engine: bool = False,
        progress: Progress | None = None,
        limits: Limits = UNLIMITED,
        side_by_side: bool = False,
    ) -> None:
        if not isinstance(model, ModelSource):
            model = ModelSource(model, device=device, threads=threads)
        self._opener = Opener(model, ignore_engine, limits)
        self._side_by_side = side_by_side
        self._told = _Told(progress)
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
        pieces = [self._give(max_length)]
        stuck = False
        while not stuck and (max_length < 0 or (max_length > 0 and not pieces[-1])):
            stuck = not self._step()
            pieces.append(self._give(max_length))
        self._settle(stuck)
        return b"".join(pieces)

    def _give(self, max_length: int) -> bytes:
        """Content that is ready."""
        end = len(self._output) if max_length < 0 else self._given + max_length
        piece = self._output[self._given : end]
        self._given += len(piece)
        return piece

    def check_eof(self) -> None:
        """Raise TruncatedError, saying what is missing, unless the member has ended."""
        if not self.eof:
            raise self._shortfall

    def _settle(self, stuck: bool) -> None:
        """Say what the next call needs. `stuck`: nothing more can be made of the input at hand."""
        self.eof = self._ended and self._given == len(self._output)
        self.needs_input = stuck and not self.eof

    def _step(self) -> bool:
        """Take the next element off the input; False if the member has ended or the element is not all there."""
        if self._ended:
            return False
        try:
            if self._member is None:
                self._take_preamble()
            elif self._member.ended:
                self._take_index(self._member)
            else:
                self._take_block(self._member)
        except TruncatedError as error:
            self._shortfall = error
            return False
        return True

    def _take_preamble(self) -> None:
        preamble = container.parse_preamble(bytes(self._input[: container.PREAMBLE_SIZE]))
        self._drop(len(preamble.raw))
        self._member = Member(preamble)

    def _take_block(self, member: Member) -> None:
        header = self._next_header(member)
        place = Place(self._number, member.n_blocks + 1, self._n_out, header.n_bytes)
        if len(self._input) < header.block_size:
            raise TruncatedError(f"file ends in {place}")
        block = container.parse_block(bytes(self._input[: header.block_size]), header, str(place))
        if block.kind == container.NOTE:
            self._note = container.parse_note(block)
        else:
            self._output = self._open(member, block, header, place)
            self._given = 0
            self._digest.update(self._output)
        member.add_header(header)
        self._header = None
        self._drop(header.block_size)
        self._n_out += header.n_bytes
        self._ended = member.ended and not member.has_index
        self._tell(0)

    def _open(self, member: Member, block: Block, header: Header, place: Place) -> bytes:
        """The content of a block. Where a group begins and others are at hand as well, they are decoded side by side."""
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
            block, header, place, self._memory, fingerprint=member.fingerprint, note=self._note, progress=self._tell
        )

    def _groups_at_hand(self, member: Member) -> list[list[_Whole]]:
        """The blocks that are all in the input, by group, MAX_THREADS of them at most. What is wrong is told when its turn comes."""
        groups: list[list[_Whole]] = []
        ahead, at, n_out = replace(member, entries=list(member.entries)), 0, self._n_out
        while self._opener.limits.memory is None and not ahead.ended:
            try:
                header = ahead.parse_header(bytes(self._input[at : at + container.MAX_HEADER_SIZE]))
                self._opener.limits.check_size(n_out + header.n_bytes)
                place = Place(self._number, ahead.n_blocks + 1, n_out, header.n_bytes)
                block = container.parse_block(bytes(self._input[at : at + header.block_size]), header, str(place))
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
        memories = [Memory(group[0][1].line_bits or container.MIN_LINE_BITS, n_threads // len(groups)) for group in groups]
        jobs = [
            partial(self._opener.open_all, group, memory, member.fingerprint, self._note)
            for group, memory in zip(groups, memories, strict=True)
        ]
        told, n_in, start = self._told, self._n_in, self._n_out

        def tell(done: int) -> None:  # does not know this object: then that ends the threads where it is given up
            told(n_in, start + done)

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

    def _take_index(self, member: Member) -> None:
        """What was seen tells every byte of the index but, if the content is wrong, its content check."""
        seen = member.index(self._digest.digest()[: primitives.CONTENT_CHECK_SIZE])
        size = len(create_index(seen))
        if len(self._input) < size:
            raise TruncatedError("file ends in the index")
        check_index(bytes(self._input[:size]), seen)
        self._drop(size)
        self._ended = True
        self._tell(0)

    def _drop(self, n: int) -> None:
        del self._input[:n]
        self._n_in += n

    def _tell(self, n_in_block: int) -> None:
        self._told(self._n_in, self._n_out + n_in_block)


class MemberReader:
    """The content of all members in their order, from anything that gives bytes: a pipe, a file, a socket.

    `read` is asked for at most so many bytes and may give fewer; none at all are the end. Zeros after a member up to
    the end of the file are padding, as tapes and block devices leave it. No byte is given out before its block is
    checked, and what is whole before an error can be had by `read1`, block by block.
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
    ) -> None:
        self._read = read
        self._member = LmzDecompressor(
            source, ignore_engine=ignore_engine, limits=limits, progress=progress, side_by_side=side_by_side
        )
        self._ready = bytearray()  # taken for a `read` that raised
        self._in_padding = False
        self._chunk_size = CHUNK_SIZE
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
        return self._give(size)

    def read1(self, size: int = -1) -> bytes:
        """What is ready, at least one byte and at most `size` of one block; empty at the end."""
        if not self._ready and size:
            self._ready += self._next(size if size > 0 else sys.maxsize)
        return self._give(size)

    def _give(self, size: int) -> bytes:
        piece = bytes(self._ready if size < 0 else self._ready[:size])
        del self._ready[: len(piece)]
        self.n_out += len(piece)
        return piece

    def _next(self, size: int) -> bytes:
        """Content of one block; empty at the end."""
        while True:
            if self._member.eof and not self._begin_member():
                return b""
            if data := self._member.decompress(self._more() if self._member.needs_input else b"", size):
                return data

    def _more(self) -> bytes:
        """Bytes that the member needs."""
        data = self._chunk()
        if not data:
            self._member.check_eof()
        return data

    def _chunk(self) -> bytes:
        data = self._read(self._chunk_size)
        if self._member._side_by_side:
            self._chunk_size = min(2 * self._chunk_size, MAX_CHUNK_SIZE)
        if data is None:
            raise BlockingIOError("the file has no bytes at hand")
        return data

    def _begin_member(self) -> bool:
        """Go on to the member that follows, if there is one."""
        rest = self._member._input
        if not rest:
            rest += self._chunk()
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
            rest += self._chunk()
