"""Groups of blocks as they are written: one memory, one block after another."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from llmzip import blocks, container, workers
from llmzip.blocks import Memory
from llmzip.coding import Coding
from llmzip.container import Block
from llmzip.cuts import Cut

if TYPE_CHECKING:
    from llmzip.models import Model

LARGE_SIZE = 1 << 20  # bytes of content: above, a group has several blocks
MOST_COUNTED = 4  # bytes of a body, for each byte of content, that count for the size of a group
LARGE_SHARE = 0.9  # of the share, for such a group: what its blocks have in common helps, whoever codes them


class Group:
    """Blocks that are coded one after another in one memory."""

    def __init__(self, coding: Coding, n_bytes: int, is_first: bool) -> None:
        self._coding = coding
        self._line_bits = container.line_bits_of(n_bytes, coding.line_bits)
        self._is_first = is_first  # of its member
        self._least = LARGE_SHARE if n_bytes > LARGE_SIZE else 1.0  # of the share that the model is held to
        self._memory: Memory | None = None
        self._blocks: list[tuple[bytes, Cut]] = []  # content and how it is cut, of those that are to be coded
        # Bytes of bodies, as they are; those that count; and as many as transforms may make of them.
        self._n_bodies = self._n_counted = self._n_most = 0
        self.n_coded = 0  # bytes that blocks have come to, the one that is being coded as far as it is
        self.ended = False  # no block is to come but those

    def has_room(self, cut: Cut) -> bool:
        """Whether a block may go on from those that are there.

        Bodies count, for they fill the memory; but one of many times its content is nearly all repeats, which do not.
        """
        n_bodies, n_counted, n_most = self._sums_with(cut)
        size = self._coding.group_size
        return n_counted <= size and n_bodies <= MOST_COUNTED * size and n_most <= container.MAX_GROUP_SIZE

    def add(self, content: bytes, cut: Cut) -> None:
        self._blocks.append((content, cut))
        self._n_bodies, self._n_counted, self._n_most = self._sums_with(cut)

    def _sums_with(self, cut: Cut) -> tuple[int, int, int]:
        n_most = container.MAX_BODY_GROWTH * max(cut.n_body, cut.n_bytes) + len(cut.window)
        n_counted = min(cut.n_body, MOST_COUNTED * cut.n_bytes)
        return self._n_bodies + cut.n_body, self._n_counted + n_counted, self._n_most + n_most

    def code(
        self, model: "Model", progress: workers.Progress, threads: int | None = None
    ) -> Iterator[tuple[Block, str]]:
        """The blocks, each with why it is so. `progress` is told bytes of all that are to be coded."""
        done, coded = 0, self.n_coded

        def tell(n: int) -> None:
            assert self._memory is not None
            self.n_coded = coded + self._memory.n_written
            progress(done + n)

        while self._blocks:
            content, cut = self._blocks.pop(0)
            begins = self._memory is None
            if self._memory is None:
                self._memory = Memory(self._line_bits)
            self._memory.threads = threads
            held = replace(self._coding, share=self._coding.share * self._least)
            opening = cut.opening(content, self._memory.window)
            choice = blocks.compress(model, content, cut.is_text, self._memory, held, opening=opening, progress=tell)
            block = choice.block
            if cut.is_text and block.kind == container.CM:
                self._least = 0.0  # what is known of a group by then is worth more than the model (lab-log.md)
            is_default = self._is_first and self._line_bits == container.line_bits_of(block.body_size)
            if block.kind == container.STORED and (begins or choice.spoils):
                self._memory = None  # the next one that is coded begins the group, or another
            elif begins and not is_default:
                block = replace(block, line_bits=self._line_bits)
            self._is_first = False
            done += len(content)
            coded += len(block.payload)
            self.n_coded = coded
            progress(done)
            yield block, choice.why
        if self.ended:
            self._memory = None
