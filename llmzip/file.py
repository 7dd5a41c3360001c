"""`open` and LmzFile: .lmz files as Python files, with random access by blocks.

Where blocks are is a matter of `access`; how they are compressed is `stream`'s, how they are laid out `container`'s.
The objects are not thread-safe.
"""

import atexit
import builtins
import io
import os
import stat
import sys
import warnings
import weakref
from contextlib import ExitStack, suppress
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Literal, Protocol, Unpack, cast, overload

from llmzip import container, filemap, handles
from llmzip.access import Contents
from llmzip.coding import Options
from llmzip.errors import FormatError, LlmzipError
from llmzip.limits import Limits
from llmzip.models import Engine
from llmzip.models.source import ModelSource
from llmzip.stream import CHUNK_SIZE, LmzCompressor, MemberReader, Progress
from llmzip.stream.opening import Opener

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from llmzip.models import Model


class Readable(Protocol):
    def read(self, n: int, /) -> bytes | None: ...


class Writable(Protocol):
    def write(self, data: Any, /) -> int | None: ...


FileArgument = str | bytes | os.PathLike[str] | os.PathLike[bytes] | IO[bytes] | Readable | Writable

NOBODY = -1  # as a process: what is written now is for no one to finish


class _RawReader(io.RawIOBase):
    """Reads in order, as from a pipe and with every check of the format, until a seek asks for random access."""

    def __init__(self, file: BinaryIO, opener: Opener, progress: Progress | None) -> None:
        self._file = file
        self._opener = opener
        self._seekable = handles.can_seek(file)
        self._start = file.tell() if self._seekable else 0
        read = handles.reader(file)
        self._members = MemberReader(
            read, opener.source, ignore_engine=opener.ignore_engine, limits=opener.limits, progress=progress
        )
        self._map: Contents | None = None
        self._blocks: Contents | None = None  # the map, once it is what is read by
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._seekable

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
            offset += self._mapped().check()
        elif whence != io.SEEK_SET:
            raise ValueError(f"Invalid value for whence: {whence}")
        if offset < 0:
            raise ValueError(f"negative seek position {offset}")
        if offset != self._position:
            blocks = self._mapped()
            blocks.check(offset)
            self._blocks = blocks
        self._position = offset
        return offset

    def close(self) -> None:
        if self._map is not None:
            self._map.close()
        super().close()

    def _mapped(self) -> Contents:
        """Where the blocks are. Leaves the file where it was, for what is read in order."""
        if self._map is None:
            before = self._file.tell()
            try:
                self._map = Contents(self._file, self._start, self._opener)
            finally:
                self._file.seek(before)
        return self._map


class LmzFile(io.BufferedIOBase):
    """An .lmz file as a binary file object.

    `file` is a path, or a file object, which stays open when this is closed. Modes: "r", "w", "x" (must not exist) and
    "a" (append a member, to an .lmz file that is whole), each with or without "b". Members that follow each other read
    as one. `seek` decodes only the blocks that are then read. "w" empties a file when there are bytes to write.
    A reader of a path can be pickled: it is opened anew, by its absolute path, where it was; `progress` stays behind.

    A writer that nobody closes is finished when it is collected or the program ends, with a ResourceWarning. In a child
    of fork it is only closed, unless the child has written to it.
    """

    _file: BinaryIO | None = None  # of the class: __del__ looks at it even where __init__ was not reached

    def __init__(
        self,
        file: FileArgument,
        /,
        mode: str = "r",
        *,
        model: "Model | str | None" = None,
        level: int | None = None,
        engine: str = Engine.exact,
        device: str | None = None,
        threads: int | None = None,
        ignore_engine: bool = False,
        max_size: int | None = None,
        memory: int | None = None,
        progress: Progress | None = None,
        **options: Unpack[Options],
    ) -> None:
        self._closes_file = False
        self._reader: io.BufferedReader | None = None
        self._compressor: LmzCompressor | None = None
        self._n_written = 0
        self._process = os.getpid()  # the one that finishes the file: that has opened it, or has written to it last
        self._text: weakref.ref[io.TextIOWrapper] | None = None
        self._at_exit = self._to_be_emptied = False
        self._mode = _plain_mode(mode)
        if self._mode == "r":
            _refuse("read", level=level, **options)
            source = ModelSource(model, engine=engine, device=device, threads=threads)
            opener = Opener(source, ignore_engine, Limits(max_size, memory))
        else:
            _refuse("write", ignore_engine=ignore_engine or None, max_size=max_size, memory=memory)
            self._compressor = LmzCompressor(
                model, level=level, engine=engine, device=device, threads=threads, progress=progress, **options
            )
        self._reading = {
            "model": model, "engine": engine, "device": device, "threads": threads,
            "ignore_engine": ignore_engine, "max_size": max_size, "memory": memory,
        }  # fmt: skip
        self._open_file(file)
        if self._mode == "r":
            raw = _RawReader(self._open_handle(), opener, progress)
            self._reader = io.BufferedReader(raw, CHUNK_SIZE)

    def _open_file(self, file: FileArgument) -> None:
        if isinstance(file, (str, bytes, os.PathLike)):
            self._closes_file = True
            self._path = os.path.abspath(os.fspath(file))
            if self._mode == "r":
                self._file = builtins.open(file, "rb")
                return
            if self._mode == "a":
                _check_whole(file)
            # Without a buffer, of which a child of fork would write its copy; and emptied later, by _put.
            self._file = cast(BinaryIO, builtins.open(file, self._mode + "b", buffering=0, opener=_open_as_it_is))
            self._to_be_emptied = self._mode == "w" and stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
        elif hasattr(file, "read") or hasattr(file, "write"):
            self._file = cast(BinaryIO, file)
        else:
            raise TypeError("file must be a str, bytes, file or PathLike object")
        if self._mode != "r":
            _writers.add(self)

    def __reduce__(self) -> tuple[object, ...]:
        reader = self._open_reader() if self._mode == "r" else None
        if reader is None or not self._closes_file:
            raise TypeError("cannot pickle an LmzFile that is no reader of a path")
        return _open_again, (self._path, self._reading, reader.tell())

    def close(self) -> None:
        """Finish the member when writing. Does nothing when already closed."""
        if self._file is None:
            return
        try:
            if self._reader is not None:
                self._reader.close()
            elif self._compressor is not None and self._is_ours():
                compressor, self._compressor = self._compressor, None
                self._put(compressor.flush())
        finally:
            file, self._file = self._file, None
            self._reader = self._compressor = None
            _writers.discard(self)
            if self._closes_file:
                file.close()

    def __del__(self) -> None:
        if self._file is None:
            return
        unfinished = self._compressor is not None and self._is_ours()
        self.close()
        if unfinished:
            warnings.warn(f"unclosed file {self!r}", ResourceWarning, source=self, stacklevel=2)

    def flush(self) -> None:
        """Finish a member of what was written so far and give it to the file, so that it can be read whatever happens.

        What is written then begins another member, which knows nothing of this one. A log of 1000 lines, 97 KB, takes
        5.5 KB if it is never flushed, 7.8 KB every 100 lines, 15 KB every 10 lines, 48 KB and 16 ms a line each line.
        So put a `logging.handlers.MemoryHandler` before the handler that writes.
        """
        file = self._open_handle()
        if self._compressor is None or not self._is_ours():
            return
        compressor, self._compressor = self._compressor, None
        self._put(compressor.end_member())
        self._compressor = compressor
        if hasattr(file, "flush"):
            file.flush()

    def _is_ours(self) -> bool:
        """Whether this process is to finish the file. A child of fork is not, unless it has written to it."""
        return self._process == os.getpid()

    def _finish_at_exit(self) -> None:
        """Finish what nobody closed. What comes while the interpreter shuts down, `_put_late` takes."""
        self._flush_text()  # what it holds comes here
        compressor, self._compressor = self._compressor, None
        if compressor is None:
            return
        if not self._is_ours():
            self._process = NOBODY  # and what comes now was written before the fork: the parent has it, too
            return
        self._at_exit = True
        self._put(compressor.flush())
        warnings.warn(f"unclosed file {self!r}", ResourceWarning, source=self, stacklevel=2)

    def _take_text(self) -> None:
        """In a child of fork: put what the text file around this one holds to what this one holds, and is not ours."""
        if self._compressor is not None:
            process, self._process = self._process, NOBODY
            self._flush_text()
            self._process = process

    def _flush_text(self) -> None:
        text = self._text() if self._text is not None else None
        try:
            attached = text is not None and text.buffer is self
        except ValueError:  # that it has been detached
            return
        if text is not None and attached:
            text.flush()

    def _put(self, data: bytes) -> None:
        """Write to the file; the first time, empty it."""
        if not data:
            return
        file = self._open_handle()
        if self._to_be_emptied:
            file.truncate(0)
            self._to_be_emptied = False
        handles.write_all(file, data)

    def _put_late(self, content: bytes) -> None:
        """Write a member of stored blocks: nothing can be imported any more, and this needs nothing."""
        for at in range(0, len(content), container.MAX_BLOCK_SIZE):
            block = container.stored_block(content[at : at + container.MAX_BLOCK_SIZE])
            preamble = container.create_preamble()
            self._put(preamble + container.create_block(block, last=True, before=preamble))

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
        """Compress. What is written reaches the file block by block, and the last of it by `flush` or `close`."""
        self._open_handle()
        if self._mode == "r":
            raise io.UnsupportedOperation("File not open for writing")
        content = handles.flat(data)
        if self._process == NOBODY:
            if self._compressor is not None:
                self._compressor.hold(content)
        elif self._at_exit:
            self._put_late(bytes(content))
        elif self._compressor is None:
            raise ValueError("write to a file after an error in compressing")
        else:
            self._process = os.getpid()
            # Gone while it works: if it raises, the member has a hole, and must not be finished as if it were whole.
            compressor, self._compressor = self._compressor, None
            self._put(compressor.compress(content))
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


def _open_again(path: str | bytes, reading: dict[str, Any], position: int) -> LmzFile:
    file = LmzFile(path, **reading)
    file.seek(position)
    return file


_writers: weakref.WeakSet[LmzFile] = weakref.WeakSet()  # that are open


@atexit.register
def _finish_writers() -> None:
    """While everything still works that compressing needs. One that fails does not keep the others from it."""
    with ExitStack() as stack:
        stack.callback(_keep_interrupt)
        for file in list(_writers):
            stack.callback(file._finish_at_exit)


def _keep_interrupt() -> None:
    """A program that Ctrl-C has ended dies of SIGINT, which tells its shell to stop as well; CPython forgets that it
    has to as soon as anything runs `exec`, as modules do that are imported for the last blocks. So remind it."""
    if issubclass(getattr(sys, "last_type", None) or Exception, KeyboardInterrupt):
        with suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")


def _take_texts() -> None:
    for file in list(_writers):
        file._take_text()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_take_texts)


def _open_as_it_is(path: str, flags: int) -> int:
    return os.open(path, flags & ~os.O_TRUNC, 0o666)


def _check_whole(path: "str | bytes | os.PathLike[str] | os.PathLike[bytes]") -> None:
    """Refuse to append to what is no whole .lmz file: nobody would find the member."""
    if not os.path.isfile(path) or os.path.getsize(path) == 0:
        return
    with builtins.open(path, "rb") as file:
        try:
            members = filemap.map_file(file)
        except LlmzipError as error:
            hint = "append to a whole .lmz file; llmzip decompress --salvage saves what is whole of this one"
            raise FormatError(f"cannot append to {os.fsdecode(path)}: {error}", hint=hint) from error
        if members[-1].offset + members[-1].size < filemap.end_of(file):
            message = f"cannot append to {os.fsdecode(path)}: there are zeros after its last member"
            raise FormatError(message, hint="cut them off")


def _plain_mode(mode: str) -> str:
    plain = mode.removesuffix("b") if isinstance(mode, str) else ""
    if plain not in ("r", "w", "x", "a"):
        raise ValueError(f"Invalid mode: {mode!r}")
    return plain


def _refuse(mode: str, **arguments: object) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise TypeError(f"{name} is illegal in {mode} mode")


class _Opening(Options, total=False):
    """What `open` takes by name in either mode, for type checkers."""

    model: "Model | str | None"
    level: int | None
    engine: str
    device: str | None
    threads: int | None
    ignore_engine: bool
    max_size: int | None
    memory: int | None
    progress: Progress | None


@overload
def lmz_open(
    file: FileArgument,
    /,
    mode: Literal["r", "rb", "w", "wb", "x", "xb", "a", "ab"] = "rb",
    **options: Unpack[_Opening],
) -> LmzFile: ...


@overload
def lmz_open(
    file: FileArgument,
    /,
    mode: Literal["rt", "wt", "xt", "at"],
    *,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    **options: Unpack[_Opening],
) -> io.TextIOWrapper: ...


@overload
def lmz_open(
    file: FileArgument,
    /,
    mode: str = "rb",
    *,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    **options: Unpack[_Opening],
) -> LmzFile | io.TextIOWrapper: ...


def lmz_open(
    file: FileArgument,
    /,
    mode: str = "rb",
    *,
    model: "Model | str | None" = None,
    level: int | None = None,
    engine: str = Engine.exact,
    device: str | None = None,
    threads: int | None = None,
    ignore_engine: bool = False,
    max_size: int | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    **options: Unpack[Options],
) -> LmzFile | io.TextIOWrapper:
    """Open an .lmz file in binary mode ("rb", "wb", "xb", "ab") or text mode ("rt", "wt", "xt", "at").

    Only writing needs a `model`: a name, a folder or a loaded model; None is the model of the level. See LmzFile.
    """
    _check_mode(mode, encoding=encoding, errors=errors, newline=newline)
    binary = LmzFile(
        file,
        mode.replace("t", ""),
        model=model,
        level=level,
        engine=engine,
        device=device,
        threads=threads,
        ignore_engine=ignore_engine,
        max_size=max_size,
        memory=memory,
        progress=progress,
        **options,
    )
    return _as_text(binary, encoding, errors, newline) if "t" in mode else binary


def _check_mode(mode: str, **of_text: str | None) -> None:
    if "t" in mode:
        if "b" in mode:
            raise ValueError(f"Invalid mode: {mode!r}")
    else:
        for name, value in of_text.items():
            if value is not None:
                raise ValueError(f"Argument {name!r} not supported in binary mode")


def _as_text(binary: LmzFile, encoding: str | None, errors: str | None, newline: str | None) -> io.TextIOWrapper:
    try:
        text = io.TextIOWrapper(binary, io.text_encoding(encoding), errors, newline)
    except BaseException:
        binary._compressor = None  # nothing is to be written
        binary.close()
        raise
    binary._text = weakref.ref(text)
    return text


open = lmz_open  # as the other compression modules name it; here the builtin is builtins.open
