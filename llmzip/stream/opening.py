"""The content of blocks, whoever has found them.

The model that they need, the limits that they must keep to, their names in errors.

Knows nothing of where the bytes come from.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmzip import blocks, container, workers
from llmzip.blocks import Memory
from llmzip.container import Block, Header
from llmzip.errors import (
    ChecksumError,
    FormatError,
    LimitExceeded,
    LlmzipError,
    TruncatedError,
    UnsupportedError,
    named,
    naming,
)
from llmzip.limits import UNLIMITED, Limits
from llmzip.models.source import ModelSource, check_engine

if TYPE_CHECKING:
    from llmzip.models import Model


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


Whole = tuple[Block, Header, Place]  # a block, and what is known of it


def parse_block(data: bytes, header: Header, place: Place) -> Block:
    """As `container.parse_block`; errors have the name of the block."""
    with naming("the note" if header.kind == container.NOTE else place):
        return container.parse_block(data, header)


def parse_note(block: Block) -> str:
    with naming("the note"):
        return container.parse_note(block)


@dataclass(frozen=True)
class Opener:
    """Opens the blocks of one file: knows where models come from, and what the file may ask for."""

    source: ModelSource
    ignore_engine: bool = False
    limits: Limits = UNLIMITED

    def check(self, header: Header, place: Place, memory: Memory, model: "Model | None" = None) -> None:
        """Raise LimitExceeded for a block that takes too much memory, which its header and those of its group tell."""
        if self.limits.memory is not None:
            with naming(place):
                self.limits.check_memory(blocks.memory_needed(header, model, memory))

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
                raise named(FormatError(str(error), hint=error.hint), place) from error
            except (ChecksumError, FormatError, UnsupportedError, LimitExceeded) as error:
                raise named(error, place) from error

    def open_all(
        self, group: list[Whole], memory: Memory, fingerprint: bytes, note: str | None, progress: workers.Progress
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
