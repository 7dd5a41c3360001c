"""Whole files at once: `compress`, `decompress`, `salvage` and `get_info`.

Knows nothing of how; that is in `stream`, `damage` and `container`.
"""

import builtins
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Unpack, cast

from llmzip import container, damage, filemap
from llmzip.coding import Options
from llmzip.damage import Damage
from llmzip.errors import LlmzipError
from llmzip.file import FileArgument
from llmzip.filemap import BlockEntry, MemberEntry
from llmzip.handles import flat
from llmzip.limits import Limits
from llmzip.models import Engine
from llmzip.models.source import ModelSource
from llmzip.stream import LmzCompressor, MemberReader, Progress

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from llmzip.models import Model


def compress(
    data: "Buffer",
    model: "Model | str | None" = None,
    *,
    level: int | None = None,
    engine: str = Engine.exact,
    device: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    **options: Unpack[Options],
) -> bytes:
    """Compress `data` into one member. The arguments are those of LmzCompressor.

    Every call loads the model. In a loop, load it once (`llmzip.models.registry.load`, or `LmzCompressor.model`) and
    pass it as `model`.
    """
    compressor = LmzCompressor(
        model, level=level, engine=engine, device=device, threads=threads, progress=progress, **options
    )
    return compressor.compress(data) + compressor.flush()


def decompress(
    data: "Buffer",
    model: "Model | str | None" = None,
    *,
    engine: str = Engine.exact,
    device: str | None = None,
    threads: int | None = None,
    ignore_engine: bool = False,
    max_size: int | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
) -> bytes:
    """Return the content of all members of `data`, joined.

    The file names its model; `model` only overrides the search for it. `max_size` (bytes of content) and `memory`
    (bytes that decoding a block may take, in addition to the model) limit what an untrusted file can demand.
    Raises FormatError for bytes other than zeros after the last member, TruncatedError for data that ends early, such
    as no data at all, and LimitExceeded before anything beyond the limits is decoded.
    """
    source = ModelSource(model, engine=engine, device=device, threads=threads)
    limits = Limits(max_size, memory)
    read = io.BytesIO(flat(data)).read
    reader = MemberReader(
        read, source, ignore_engine=ignore_engine, limits=limits, progress=progress, side_by_side=True
    )
    return reader.read()


def salvage(
    file: "FileArgument | Buffer",
    /,
    model: "Model | str | None" = None,
    *,
    engine: str = Engine.exact,
    device: str | None = None,
    threads: int | None = None,
    ignore_engine: bool = False,
    max_size: int | None = None,
    memory: int | None = None,
    doubtful: bool = False,
) -> tuple[bytes, list[Damage]]:
    """Return what is intact in a damaged file, joined, and a list of what is not; `file` is that of `get_info`.

    Without damage, it returns what `decompress` does, and never a byte of a block that fails its check. `doubtful` also
    returns what follows a damaged header in a truncated file, which may belong to an .lmz file stored in this one.
    """
    source = ModelSource(model, engine=engine, device=device, threads=threads)
    with _opened(file) as opened:
        limits = Limits(max_size, memory)
        pieces = list(damage.salvage(opened, source, ignore_engine=ignore_engine, limits=limits, doubtful=doubtful))
    whole = b"".join(piece for piece in pieces if not isinstance(piece, Damage))
    return whole, [piece for piece in pieces if isinstance(piece, Damage)]


@contextmanager
def _opened(file: "FileArgument | Buffer") -> Iterator[BinaryIO]:
    """A file with random access, from where it is."""
    if isinstance(file, (str, os.PathLike)):
        with builtins.open(file, "rb") as opened:
            yield opened
    elif hasattr(file, "read"):
        yield cast(BinaryIO, file)
    else:
        yield io.BytesIO(flat(cast("Buffer", file)))


@dataclass(frozen=True, slots=True)
class BlockInfo:
    """One block of content."""

    member: int  # from 1
    kind: str  # "stored", "model" or "cm"
    n_bytes: int  # of content
    n_bytes_on_disk: int  # header and checks included
    lanes: int
    window: int | None  # None: the default of the model
    overlap: int | None
    begins_group: bool  # the others go on from the block before
    transforms: tuple[str, ...]  # of the content before it was coded, in their order
    n_opened: int | None  # bytes of the content after what is deflated in it was opened; None: nothing was
    opened: tuple[tuple[str, int], ...]  # kinds of what was opened, and how many of each
    file_offset: int  # of its header
    content_offset: int  # in the content of the whole file


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """Blocks that go on from each other: the least that is decoded for a part of them."""

    member: int  # from 1
    n_blocks: int
    n_bytes: int  # of content
    n_bytes_on_disk: int
    file_offset: int
    content_offset: int


@dataclass(frozen=True, slots=True)
class MemberInfo:
    n_bytes: int
    n_bytes_on_disk: int
    fingerprint: str  # the start of the model's, in hex; empty if no model is needed
    engine_note: str | None  # the engine that the member is bound to; None for exact arithmetic
    blocks: tuple[BlockInfo, ...]


@dataclass(frozen=True, slots=True)
class Info:
    """What a file says of itself. Not that its content is whole: nothing coded has been read."""

    n_bytes: int
    n_bytes_on_disk: int
    members: tuple[MemberInfo, ...]

    @property
    def blocks(self) -> tuple[BlockInfo, ...]:
        return tuple(block for member in self.members for block in member.blocks)

    @property
    def groups(self) -> tuple[GroupInfo, ...]:
        runs: list[list[BlockInfo]] = []
        for block in self.blocks:
            if block.begins_group:
                runs.append([])
            runs[-1].append(block)
        return tuple(map(_group_info, runs))

    @property
    def fingerprint(self) -> str:
        """Of the first member that needs a model; empty if none does."""
        return next((member.fingerprint for member in self.members if member.fingerprint), "")

    @property
    def engine_note(self) -> str | None:
        """Of the first member that has one."""
        return next((member.engine_note for member in self.members if member.engine_note is not None), None)


def _group_info(blocks: list[BlockInfo]) -> GroupInfo:
    first = blocks[0]
    return GroupInfo(
        member=first.member,
        n_blocks=len(blocks),
        n_bytes=sum(block.n_bytes for block in blocks),
        n_bytes_on_disk=sum(block.n_bytes_on_disk for block in blocks),
        file_offset=first.file_offset,
        content_offset=first.content_offset,
    )


def get_info(file: "FileArgument | Buffer", /) -> Info:
    """Return what is in an .lmz file, from its headers and from what they say was opened.

    `file` is a path (str or PathLike), a file object with random access, or the bytes of a file.
    """
    with _opened(file) as opened:
        walked = filemap.walk_file(opened, opened.tell())
        members = tuple(_member_info(opened, member, i + 1) for i, member in enumerate(walked))
    return Info(
        n_bytes=sum(member.n_bytes for member in members),
        n_bytes_on_disk=sum(member.n_bytes_on_disk for member in members),
        members=members,
    )


def _member_info(file: BinaryIO, member: MemberEntry, number: int) -> MemberInfo:
    return MemberInfo(
        n_bytes=member.n_bytes,
        n_bytes_on_disk=member.size,
        fingerprint="" if member.fingerprint == container.NO_MODEL else member.fingerprint.hex(),
        engine_note=member.note,
        blocks=tuple(_block_info(file, block, number) for block in member.blocks),
    )


def _block_info(file: BinaryIO, block: BlockEntry, member: int) -> BlockInfo:
    header = block.header
    assert header is not None  # a walk reads them all
    return BlockInfo(
        member=member,
        kind=container.KIND_NAMES[header.kind],
        n_bytes=block.n_bytes,
        n_bytes_on_disk=block.size,
        lanes=header.lanes,
        window=header.window,
        overlap=header.overlap,
        begins_group=block.begins_group,
        transforms=container.transform_names(header.mask),
        n_opened=header.n_opened,
        opened=_opened_kinds(file, block.offset + header.size, header.n_side) if header.n_opened is not None else (),
        file_offset=block.offset,
        content_offset=block.content_offset,
    )


def _opened_kinds(file: BinaryIO, offset: int, n_side: int) -> tuple[tuple[str, int], ...]:
    from llmzip import openings, transforms

    try:
        return openings.list_side(transforms.split_sides(filemap.read_at(file, offset, n_side))[0])
    except LlmzipError:  # damaged: that is for `test` to tell
        return ()
