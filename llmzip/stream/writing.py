"""LmzCompressor: members of an .lmz file, block by block, in bounded memory.

Knows the order of blocks and which of them make a group; leaves bytes to `container` and coding to `blocks`.
"""

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Unpack

from llmzip import blocks, container, workers
from llmzip.coding import Coding, Options
from llmzip.container import Block, Member
from llmzip.cuts import Cutter
from llmzip.handles import flat
from llmzip.index import create_index
from llmzip.models import Engine
from llmzip.models.known import level_of
from llmzip.models.source import ModelSource
from llmzip.primitives import CONTENT_CHECK_SIZE
from llmzip.stream.groups import Group
from llmzip.stream.progress import Progress, SteadyProgress

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from llmzip.models import Model

# so many times greater may a block be that is not text: it decodes so much faster, and gains by it
BINARY_FACTOR = 8


class LmzCompressor:
    """Makes one or more members, block by block.

    Rather than call `llmzip.compress` in a loop, create one of these and pass its `model` to the next.
    `model` is a name, a folder, a loaded model, or None for that of the level; the first byte of content loads it.
    `level` is 1 to 9, fast to small, as on the command line; None is 5. `engine` is "exact" or "transformers".
    The options, or a `coding` that is not that of the level, say how in detail:
    `lanes` of a block are coded side by side; where that is not given, there is one for each `lane_size` bytes of it:
    small ones are fast, large ones come out smaller.
    Text and binary stretches go into blocks of their own; one that is not text may have eight times `block_size`.
    Blocks of a group of `group_size` bytes go on from each other: large ones are smaller, small ones can be read on
    their own. Its memory has at most 2^`line_bits` lines of 64 bytes.
    The model sees `window` tokens at once, `overlap` of which are from the window before. It is used where it makes
    `share` or less of a sample that is coded without.
    Deflate streams and base64 in the content are opened, unless `opens` is false: what they hold is coded.
    One block is held back, because only `flush` or `end_member` knows which is the last. `report` gets a line on each.
    `progress` is told bytes of content and of the file that are done, by whatever thread does them.
    """

    def __init__(
        self,
        model: "Model | str | ModelSource | None" = None,
        *,
        level: int | None = None,
        coding: Coding | None = None,
        engine: str = Engine.exact,
        device: str | None = None,
        threads: int | None = None,
        progress: Progress | None = None,
        report: Callable[[str], object] | None = None,
        **options: Unpack[Options],
    ) -> None:
        if not isinstance(model, ModelSource):
            model = ModelSource(model, level=level, engine=engine, device=device, threads=threads)
        self._source = model
        if coding is None:
            coding = Coding() if level is None else level_of(level).coding
        self._coding = coding = coding.but(**options)
        greatest = min(BINARY_FACTOR * coding.block_size, container.MAX_BLOCK_SIZE)
        self._cutter = Cutter(coding.block_size, greatest, opens=coding.opens)
        self._group: Group | None = None  # that the next block may go on from
        self._progress = SteadyProgress(progress)
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
        """Take content; return the bytes of the member that are ready, possibly none."""
        if self._flushed:
            raise ValueError("Compressor has been flushed")
        self.hold(data)
        if self._held:
            self._source.to_compress()  # a wrong name is told now, not at the end of the first block
        return b"".join(self._emit_blocks(last=False))

    def hold(self, data: "Buffer", /) -> None:
        """Take content, but do nothing with it yet."""
        self._held += flat(data)

    @property
    def batch_size(self) -> int:
        """Bytes that make a group for each thread: what is given in such pieces is coded side by side."""
        return self._source.n_threads * self._coding.group_size

    def end_member(self) -> bytes:
        """Finish the member, if there is content since the last one. Further content begins another."""
        return self._finish() if self._held or self._member is not None else b""

    def flush(self) -> bytes:
        """Finish the last member. Without any content, that is an empty one."""
        if self._flushed:
            raise ValueError("Repeated call to flush()")
        done = self.end_member() if self._n_members else self._finish()
        self._flushed = True
        return done

    def _finish(self) -> bytes:
        """The last block of the member, and the index."""
        done = list(self._emit_blocks(last=True))
        if self._member is None:
            done.append(self._add_block(container.stored_block(b""), b"", last=True))
        assert self._member is not None
        if self._member.has_index:
            done.append(create_index(self._member.index(self._digest.digest()[:CONTENT_CHECK_SIZE])))
            self._n_out += len(done[-1])
            self._progress(self._n_in, self._n_out)
        self._member, self._group, self._digest = None, None, hashlib.sha256()
        self._n_members += 1
        return b"".join(done)

    def _emit_blocks(self, *, last: bool) -> Iterator[bytes]:
        """Put held content into the member, block by block, as far as its blocks are known.

        Groups side by side, if there are several.

        If that raises, blocks are lost: nothing may follow, as if the member were whole.
        """
        if self._failed:
            raise ValueError("compressing has failed before")
        self._failed = True
        while groups := self._next_groups(last=last):
            model, start = self._source.to_compress(), self._n_in
            threads = max(1, self._source.n_threads // len(groups)) if len(groups) > 1 else None
            jobs = [partial(Group.code, group, model, threads=threads) for group in groups]
            n_out = self._n_out - sum(group.n_coded for group in groups)
            tell = partial(self._report_progress, groups, start, n_out)
            coded = workers.run(jobs, self._source.n_threads, tell) if len(jobs) > 1 else jobs[0](tell)
            for block, why in coded:
                content = bytes(self._held[: block.n_bytes])
                del self._held[: len(content)]
                start = self._n_in
                done = self._add_block(block, content, last=last and not self._held)
                if self._report is not None:
                    self._report(f"{len(content)} bytes from {start}: {blocks.describe(block, len(done))}; {why}")
                yield done
        self._failed = False

    def _report_progress(self, groups: list[Group], n_in: int, n_out: int, done: int) -> None:
        """How far these groups are, which began at so many bytes of content and of the file."""
        self._progress(n_in + done, n_out + sum(group.n_coded for group in groups))

    def _next_groups(self, *, last: bool) -> list[Group]:
        """The next blocks, by group: of one group, or of as many as there are threads, as far as they are known.

        The first may go on.
        """
        groups: list[Group] = []
        at = 0
        while not groups or len(groups) < self._source.n_threads:
            cuts, known = self._cutter.next(self._held, at, last=last)
            if not cuts:
                break
            for cut in cuts:
                if self._group is None or not self._group.has_room(cut):
                    is_first = self._member is None and self._group is None
                    if self._group is not None:
                        self._group.ended = True
                    self._group = Group(self._coding, min(known, self._coding.group_size), is_first)
                if not groups or groups[-1] is not self._group:
                    groups.append(self._group)
                self._group.add(bytes(self._held[at : at + cut.n_bytes]), cut)
                at += cut.n_bytes
        return groups

    def _add_block(self, block: Block, content: bytes, *, last: bool) -> bytes:
        done = self._whole_member(block, content) if last and self._member is None else b""
        if not done:
            done = b"" if self._member else self._begin(needs_model=block.kind == container.MODEL or not last)
            done += self._add(block, last)
        self._digest.update(content)
        self._n_in += len(content)
        self._n_out += len(done)
        self._progress(self._n_in, self._n_out)
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
        preamble = container.preamble_of(model.fingerprint if model else container.NO_MODEL)
        self._member = Member(preamble)
        if model is None or model.exact:
            return preamble.raw
        return preamble.raw + self._add(container.note_block(model.engine_note), last=False)

    def _add(self, block: Block, last: bool) -> bytes:
        assert self._member is not None
        done = container.create_block(block, last=last, before=self._member.next_before)
        self._member.add(block.kind, block.n_bytes, len(done), last, begins_group=block.line_bits is not None)
        return done
