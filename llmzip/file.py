"""`open` and LmzFile: .lmz files as Python files, with random access by blocks.

Knows members and where blocks are; how they are compressed is `stream`'s, how they are laid out `container`'s. The
objects are not thread-safe.
"""

import builtins
import io
import os
from bisect import bisect_right
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from llmzip import container
from llmzip.container import BlockEntry, MemberEntry
from llmzip.limits import Limits
from llmzip.stream import BLOCK_SIZE, CHUNK_SIZE, LmzCompressor, MemberReader, ModelSource, Opener, Place, Progress

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from llmzip.models import Model

FileArgument = str | bytes | os.PathLike[str] | os.PathLike[bytes] | IO[bytes]


class _Blocks:
    """Content of a mapped file at any offset. Keeps the last block that it decoded."""

    def __init__(self, file: BinaryIO, start: int, opener: Opener) -> None:
        self._file = file
        self._opener = opener
        members = container.map_file(file, start)
        self._blocks: list[tuple[MemberEntry, BlockEntry]] = [(m, b) for m in members for b in m.blocks if b.n_bytes]
        self._starts = [block.content_offset for _, block in self._blocks]
        self._numbers = {member.offset: i + 1 for i, member in enumerate(members)}
        self.n_bytes = sum(member.n_bytes for member in members)
        self._cached = -1
        self._content = b""

    def read(self, offset: int, size: int) -> bytes:
        """Content from `offset` on, up to the end of its block; empty at or after the end."""
        if offset >= self.n_bytes:
            return b""
        i = bisect_right(self._starts, offset) - 1
        if i != self._cached:
            self._content = self._open(*self._blocks[i])
            self._cached = i
        at = offset - self._starts[i]
        return self._content[at : at + size]

    def _open(self, member: MemberEntry, entry: BlockEntry) -> bytes:
        place = Place(self._numbers[member.offset], entry.number, entry.content_offset, entry.n_bytes)
        header = container.read_header(self._file, member, entry)
        self._opener.limits.check_size(entry.content_offset + header.n_bytes)
        self._opener.check(header, place)
        block = container.read_block(self._file, member, entry)
        return self._opener.open(block, header, place, fingerprint=member.fingerprint, note=member.note)


class _RawReader(io.RawIOBase):
    """Reads in order, as from a pipe and with every check of the format, until a seek asks for random access."""

    def __init__(self, file: BinaryIO, opener: Opener, progress: Progress | None) -> None:
        self._file = file
        self._opener = opener
        self._start = file.tell() if _can_seek(file) else 0
        self._members = MemberReader(
            file.read, opener.source, ignore_engine=opener.ignore_engine, limits=opener.limits, progress=progress
        )
        self._blocks: _Blocks | None = None
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return _can_seek(self._file)

    def readinto(self, buffer: "Buffer") -> int:
        view = memoryview(buffer).cast("B")
        if len(view) == 0:
            return 0
        if self._blocks is None:
            data = self._members.read1(len(view))
        else:
            data = self._blocks.read(self._position, len(view))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if not self.seekable():
            raise io.UnsupportedOperation("The underlying file object does not support seeking")
        if whence == io.SEEK_CUR:
            offset += self._position
        elif whence == io.SEEK_END:
            offset += self._mapped().n_bytes
        elif whence != io.SEEK_SET:
            raise ValueError(f"Invalid value for whence: {whence}")
        if offset < 0:
            raise ValueError(f"negative seek position {offset}")
        if offset != self._position:
            self._mapped()
        self._position = offset
        return offset

    def _mapped(self) -> _Blocks:
        if self._blocks is None:
            self._blocks = _Blocks(self._file, self._start, self._opener)
        return self._blocks


def _can_seek(file: BinaryIO) -> bool:
    """File-like objects need have no more than read or write."""
    return bool(hasattr(file, "seekable") and file.seekable())


class LmzFile(io.BufferedIOBase):
    """An .lmz file as a binary file object.

    `file` is a path, or a file object, which stays open when this is closed. Modes: "r", "w", "x" (must not exist) and
    "a" (append a member), each with or without "b". Members that follow each other read as one. `seek` decodes only the
    blocks that are then read.
    """

    _file: BinaryIO | None = None  # of the class: __del__ calls close even where __init__ was not reached

    def __init__(
        self,
        file: FileArgument,
        /,
        mode: str = "r",
        *,
        model: "Model | str | None" = None,
        block_size: int | None = None,
        lanes: int | None = None,
        window: int | None = None,
        overlap: int | None = None,
        device: str | None = None,
        threads: int | None = None,
        ignore_engine: bool = False,
        max_size: int | None = None,
        memory: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._closes_file = False
        self._reader: io.BufferedReader | None = None
        self._compressor: LmzCompressor | None = None
        self._n_written = 0
        self._mode = _plain_mode(mode)
        if self._mode == "r":
            _refuse_write_arguments(block_size=block_size, lanes=lanes, window=window, overlap=overlap)
        else:
            for name, value in (("ignore_engine", ignore_engine or None), ("max_size", max_size), ("memory", memory)):
                if value is not None:
                    raise TypeError(f"{name} is illegal in write mode")
            self._compressor = LmzCompressor(
                model,
                block_size=BLOCK_SIZE if block_size is None else block_size,
                lanes=lanes,
                window=window,
                overlap=overlap,
                device=device,
                threads=threads,
                progress=progress,
            )
        self._open_file(file)
        if self._mode == "r":
            opener = Opener(ModelSource(model, device=device, threads=threads), ignore_engine, Limits(max_size, memory))
            raw = _RawReader(self._open_handle(), opener, progress)
            self._reader = io.BufferedReader(raw, CHUNK_SIZE)

    def _open_file(self, file: FileArgument) -> None:
        if isinstance(file, (str, bytes, os.PathLike)):
            self._file = cast(BinaryIO, builtins.open(file, self._mode + "b"))
            self._closes_file = True
        elif hasattr(file, "read") or hasattr(file, "write"):
            self._file = cast(BinaryIO, file)
        else:
            raise TypeError("file must be a str, bytes, file or PathLike object")

    def close(self) -> None:
        """Finish the member when writing. Does nothing when already closed."""
        if self._file is None:
            return
        try:
            if self._reader is not None:
                self._reader.close()
            elif self._compressor is not None:
                self._file.write(self._compressor.flush())
        finally:
            file, self._file = self._file, None
            self._reader = self._compressor = None
            if self._closes_file:
                file.close()

    def _open_handle(self) -> BinaryIO:
        if self._file is None:
            raise ValueError("I/O operation on closed file")
        return self._file

    def _open_reader(self) -> io.BufferedReader:
        self._open_handle()
        if self._reader is None:
            raise io.UnsupportedOperation("File not open for reading")
        return self._reader

    @property
    def closed(self) -> bool:
        return self._file is None

    @property
    def name(self) -> str | bytes | int:
        return cast("str | bytes | int", self._open_handle().name)

    @property
    def mode(self) -> str:
        return self._mode + "b"

    def fileno(self) -> int:
        return self._open_handle().fileno()

    def readable(self) -> bool:
        self._open_handle()
        return self._reader is not None

    def writable(self) -> bool:
        self._open_handle()
        return self._mode != "r"

    def seekable(self) -> bool:
        self._open_handle()
        return self._reader is not None and self._reader.seekable()

    def read(self, size: int | None = -1, /) -> bytes:
        return self._open_reader().read(size)

    def read1(self, size: int = -1, /) -> bytes:
        return self._open_reader().read1(CHUNK_SIZE if size < 0 else size)

    def readinto(self, buffer: "Buffer", /) -> int:
        return self._open_reader().readinto(buffer)

    def readinto1(self, buffer: "Buffer", /) -> int:
        return self._open_reader().readinto1(buffer)

    def readline(self, size: int | None = -1, /) -> bytes:
        return self._open_reader().readline(size)

    def peek(self, size: int = 0, /) -> bytes:
        """Content ahead without going past it; empty only at the end."""
        return self._open_reader().peek(size)

    def write(self, data: "Buffer", /) -> int:
        """Compress. What is written reaches the file block by block, and the last of it when the file is closed."""
        file = self._open_handle()
        if self._mode == "r":
            raise io.UnsupportedOperation("File not open for writing")
        if self._compressor is None:
            raise ValueError("write to a file after an error in compressing")
        content = memoryview(data).cast("B")
        # Gone while it works: if it raises, the member has a hole, and close must not finish it as if it were whole.
        compressor, self._compressor = self._compressor, None
        file.write(compressor.compress(content))
        self._compressor = compressor
        self._n_written += len(content)
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        reader = self._open_reader()
        if not reader.seekable():
            raise io.UnsupportedOperation("The underlying file object does not support seeking")
        return reader.seek(offset, whence)

    def tell(self) -> int:
        self._open_handle()
        return self._reader.tell() if self._reader is not None else self._n_written


def _plain_mode(mode: str) -> str:
    plain = mode.removesuffix("b") if isinstance(mode, str) else ""
    if plain not in ("r", "w", "x", "a"):
        raise ValueError(f"Invalid mode: {mode!r}")
    return plain


def _refuse_write_arguments(**arguments: int | None) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise TypeError(f"{name} is illegal in read mode")


def lmz_open(
    file: FileArgument,
    /,
    mode: str = "rb",
    *,
    model: "Model | str | None" = None,
    block_size: int | None = None,
    lanes: int | None = None,
    window: int | None = None,
    overlap: int | None = None,
    device: str | None = None,
    threads: int | None = None,
    ignore_engine: bool = False,
    max_size: int | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
) -> LmzFile | io.TextIOWrapper:
    """Open an .lmz file in binary mode ("rb", "wb", "xb", "ab") or text mode ("rt", "wt", "xt", "at").

    A model is needed for writing only: None is the default one, else a name, a folder or a loaded model. See LmzFile.
    """
    if "t" in mode:
        if "b" in mode:
            raise ValueError(f"Invalid mode: {mode!r}")
    else:
        for name, value in (("encoding", encoding), ("errors", errors), ("newline", newline)):
            if value is not None:
                raise ValueError(f"Argument {name!r} not supported in binary mode")
    binary = LmzFile(
        file,
        mode.replace("t", ""),
        model=model,
        block_size=block_size,
        lanes=lanes,
        window=window,
        overlap=overlap,
        device=device,
        threads=threads,
        ignore_engine=ignore_engine,
        max_size=max_size,
        memory=memory,
        progress=progress,
    )
    if "t" not in mode:
        return binary
    return io.TextIOWrapper(binary, io.text_encoding(encoding), errors, newline)


open = lmz_open  # as the other compression modules name it; here the builtin is builtins.open
