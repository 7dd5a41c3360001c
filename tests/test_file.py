"""llmzip.file: what a Python user of gzip and lzma expects of a file object, and random access by blocks."""

import array
import ctypes
import errno
import gc
import gzip
import io
import lzma
import mmap
import os
import pickle
import random
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coding import grouped, member_of, model_block
from damage import flips
from hypothesis import given, settings
from hypothesis import strategies as st

import llmzip
from llmzip import access, codec, container, filemap
from llmzip.coding import Options
from llmzip.errors import FormatError, LimitExceeded, LlmzipError, TruncatedError
from llmzip.models.toy import ToyModel
from llmzip.stream import LmzCompressor

MODEL = ToyModel()
TEXT = b"".join(MODEL.speak(51, line) + b"\n" for line in range(6))
SIZES: Options = {"block_size": 70, "group_size": 140}  # two blocks go on from each other
SMALL = llmzip.compress(TEXT, MODEL, **SIZES)


def reader(data: bytes = SMALL, **options: Any) -> llmzip.LmzFile:
    return llmzip.LmzFile(io.BytesIO(data), model=MODEL, **options)


class Pipe(io.RawIOBase):
    """Reads, and no more."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, n: int = -1) -> bytes:
        return self._data.read(min(n, 7))


def test_write_and_read_a_path(tmp_path: Path) -> None:
    path = tmp_path / "x.lmz"
    with llmzip.open(path, "wb", model=MODEL, **SIZES) as file:
        assert file.write(TEXT[:100]) == 100
        assert file.write(memoryview(TEXT)[100:]) == len(TEXT) - 100
        assert (file.tell(), file.mode, file.name) == (len(TEXT), "wb", str(path))
        assert (file.readable(), file.writable(), file.seekable()) == (False, True, False)
    assert path.read_bytes() == SMALL
    with llmzip.open(path, model=MODEL) as file:
        assert (file.readable(), file.writable(), file.seekable()) == (True, False, True)
        assert file.fileno() > 0
        assert file.read() == TEXT
        assert file.read() == b""
    assert file.closed


@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
def test_kinds_of_path(tmp_path: Path, kind: Any) -> None:
    path = kind(tmp_path / "x.lmz")
    with llmzip.LmzFile(path, "w", model=MODEL) as file:
        file.write(b"hello")
    with llmzip.LmzFile(path, "r", model=MODEL) as file:
        assert file.read() == b"hello"


def test_file_objects_stay_open() -> None:
    target = io.BytesIO(b"before")
    target.seek(0, io.SEEK_END)
    with llmzip.LmzFile(target, "w", model=MODEL, **SIZES) as file:
        file.write(TEXT)
    assert target.getvalue() == b"before" + SMALL
    target.seek(6)
    with llmzip.LmzFile(target, model=MODEL) as file:
        assert file.read(10) == TEXT[:10]
        file.seek(-5, io.SEEK_END)
        assert file.read() == TEXT[-5:]
        file.seek(0)
        assert file.read() == TEXT
    assert not target.closed


def test_append_is_another_member(tmp_path: Path) -> None:
    path = tmp_path / "x.lmz"
    for piece in (b"one ", b"", b"two"):
        with llmzip.open(path, "ab", model=MODEL) as file:
            file.write(piece)
    with llmzip.open(path, model=MODEL) as file:
        assert file.read() == b"one two"
    assert len(llmzip.get_info(path).members) == 3


def test_exclusive(tmp_path: Path) -> None:
    with llmzip.open(tmp_path / "x.lmz", "xb", model=MODEL):
        pass
    with pytest.raises(FileExistsError):
        llmzip.open(tmp_path / "x.lmz", "x", model=MODEL)


def test_text_mode(tmp_path: Path) -> None:
    path = tmp_path / "x.lmz"
    lines = ["the nation\n", "größer\n", "end"]
    with llmzip.open(path, "wt", model=MODEL, encoding="latin-1", newline="\n") as file:
        file.writelines(lines)
    with llmzip.open(path, "rt", model=MODEL, encoding="latin-1") as file:
        assert list(file) == lines


def test_lines_peek_and_readinto() -> None:
    file = reader()
    assert TEXT.startswith(file.peek(10))
    assert file.tell() == 0
    assert file.readline() == TEXT[:52]
    buffer = bytearray(20)
    assert file.readinto(buffer) == 20
    assert buffer == TEXT[52:72]
    assert TEXT[72:].startswith(file.read1()) and file.tell() > 72
    file.seek(52)
    assert list(file) == TEXT[52:].splitlines(keepends=True)


def test_read_from_a_pipe() -> None:
    with llmzip.LmzFile(Pipe(SMALL), model=MODEL) as file:
        assert not file.seekable()
        assert file.read() == TEXT
        with pytest.raises(io.UnsupportedOperation, match="does not support seeking"):
            file.seek(0)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_seek_like_a_plain_file(data: st.DataObject) -> None:
    plain = io.BytesIO(TEXT * 2)
    with reader(SMALL + llmzip.compress(b"") + llmzip.compress(TEXT, MODEL)) as file:
        for _ in range(6):
            whence = data.draw(st.sampled_from([io.SEEK_SET, io.SEEK_CUR, io.SEEK_END]))
            start = [0, plain.tell(), 2 * len(TEXT)][whence]
            offset = data.draw(st.integers(0, 2 * len(TEXT) + 20)) - start
            assert file.seek(offset, whence) == plain.seek(offset, whence)
            size = data.draw(st.integers(-1, 150))
            assert file.read(size) == plain.read(size)
            assert file.tell() == plain.tell()


def test_the_file_is_what_these_tests_need() -> None:
    found = llmzip.get_info(SMALL).blocks
    assert [(block.kind, block.n_bytes, block.begins_group) for block in found] == [
        ("model", 70, True), ("model", 70, False), ("model", 70, True), ("model", 70, False), ("model", 32, True),
    ]  # fmt: skip


def test_only_the_blocks_that_are_needed_are_decoded(decoded: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "CACHE_SIZE", 0)  # but for the last
    parts = [TEXT[at : at + 70] for at in range(0, len(TEXT), 70)]

    def read(at: int, size: int) -> list[int]:
        """Numbers of the blocks that are decoded for this."""
        decoded.clear()
        file.seek(at)
        assert file.read1(size) == TEXT[at : at + size]
        return [parts.index(part) for part in decoded]

    with reader(threads=1) as file:
        assert read(len(TEXT) - 1, 1) == [4]
        assert read(len(TEXT) - 3, 2) == [], "the block is kept"
        assert read(75, 5) == [0, 1], "what it goes on from comes first"
        assert read(5, 5) == [0], "backward in a group"
        assert read(80, 5) == [1], "forward from there"
        assert read(215, 5) == [2, 3] and read(150, 5) == [2] and read(139, 1) == [0, 1]


def test_what_is_stored_is_read_on_its_own(decoded: list[bytes]) -> None:
    """In the middle of a group, and at its start; those after it go on from those before."""
    parts = [TEXT[:60], bytes(range(40)), TEXT[60:130], bytes(range(50, 90)), TEXT[130:190]]
    made = grouped(
        parts,
        lambda part, memory: model_block(MODEL, part, memory) if part in TEXT else container.stored_block(part),
        {3},
    )
    content, starts = b"".join(parts), [0, 60, 100, 170, 210]
    data = member_of(made, parts, MODEL.fingerprint)
    assert llmzip.decompress(data, MODEL) == content
    needed = {0: {0}, 1: {1}, 2: {0, 2}, 3: {3}, 4: {4}}
    for seed in range(20):
        chance = random.Random(seed)
        with reader(data, threads=1) as file:
            for _ in range(6):
                i = chance.randrange(5)
                decoded.clear()
                file.seek(starts[i])
                assert file.read1(9) == content[starts[i] : starts[i] + 9]
                assert {parts.index(part) for part in decoded} <= needed[i]
    damaged = bytearray(data)
    damaged[data.index(made[0].payload)] ^= 1
    with reader(bytes(damaged)) as file:
        for i, part in enumerate(parts):
            file.seek(starts[i])
            if i in (0, 2):
                with pytest.raises(LlmzipError, match=r"^block 1 .*: payload check is wrong"):
                    file.read1(9)
            else:
                assert file.read1(9) == part[:9]


def test_negative_seek() -> None:
    with reader() as file:
        with pytest.raises(ValueError):
            file.seek(-1)
        with pytest.raises(ValueError):
            file.seek(-len(TEXT) - 1, io.SEEK_END)


def test_wrong_modes_and_arguments(tmp_path: Path) -> None:
    opened: Any = llmzip.open  # with arguments that no type checker lets through
    for mode in ("", "rw", "rb+", "bb", "q", "rtb"):
        with pytest.raises(ValueError, match="Invalid mode"):
            llmzip.open(tmp_path / "x", mode)
    for argument in ("encoding", "errors", "newline"):
        with pytest.raises(ValueError, match=f"Argument '{argument}' not supported in binary mode"):
            opened(tmp_path / "x", "rb", **{argument: "x"})
    for argument in ("block_size", "lanes", "window", "overlap", "group_size"):
        with pytest.raises(TypeError, match=f"{argument} is illegal in read mode"):
            opened(tmp_path / "x", "rb", **{argument: 8})
    with pytest.raises(TypeError, match="ignore_engine is illegal in write mode"):
        llmzip.open(tmp_path / "x", "wb", ignore_engine=True)
    with pytest.raises(TypeError, match="file must be"):
        opened(3)
    assert not (tmp_path / "x").exists()
    with pytest.raises(FileNotFoundError):
        llmzip.open(tmp_path / "x")


def test_wrong_direction_and_closed() -> None:
    file = reader()
    with pytest.raises(io.UnsupportedOperation, match="File not open for writing"):
        file.write(b"")
    file.close()
    file.close()
    with pytest.raises(ValueError, match="I/O operation on closed file"):
        file.read()
    writer = llmzip.LmzFile(io.BytesIO(), "w", model=MODEL)
    with pytest.raises(io.UnsupportedOperation, match="File not open for reading"):
        writer.read()
    with pytest.raises(io.UnsupportedOperation):
        writer.seek(0)
    with pytest.raises(TypeError):
        writer.write("text")  # type: ignore[arg-type]
    writer.close()


def test_damage() -> None:
    with pytest.raises(TruncatedError), reader(b"") as file:
        file.read()
    with pytest.raises(FormatError, match="after the end of member 1"), reader(SMALL + b"\0!") as file:
        file.read()
    for n in range(1, len(SMALL), 7):
        with pytest.raises(EOFError), reader(SMALL[:n]) as file:
            file.read()
        with pytest.raises(LlmzipError), reader(SMALL[:n]) as file:
            file.seek(-1, io.SEEK_END)


def test_good_blocks_before_a_bad_one_can_be_read() -> None:
    damaged = bytearray(SMALL)
    damaged[len(damaged) // 2] ^= 1
    with reader(bytes(damaged)) as file:
        assert file.read1(70) == TEXT[:70]
        with pytest.raises(LlmzipError):
            file.read()


@pytest.mark.long
def test_every_flipped_bit_by_random_access() -> None:
    outcomes = Counter[str]()
    for seed, flipped in enumerate(islice(flips(SMALL), 0, None, 5)):
        with reader(flipped) as file:
            order = list(range(0, len(TEXT), 70))
            random.Random(seed).shuffle(order)
            for at in order[:3]:
                try:
                    file.seek(at)
                    content = file.read1(70)
                except LlmzipError:
                    outcomes["error"] += 1
                    continue
                outcomes["content"] += 1
                assert content == TEXT[at : at + len(content)]
    assert outcomes["error"] and outcomes["content"], outcomes


def test_a_member_with_a_hole_is_not_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an error or an interrupt in compressing, closing must not make the file look whole."""

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    target = io.BytesIO()
    file = llmzip.LmzFile(target, "w", model=MODEL, **SIZES)
    file.write(TEXT[:100])
    with monkeypatch.context() as patch:
        patch.setattr(codec, "write_tokens", interrupt)
        with pytest.raises(KeyboardInterrupt):
            file.write(TEXT)
    with pytest.raises(ValueError, match="after an error"):
        file.write(b"more")
    file.close()
    with pytest.raises(TruncatedError):
        llmzip.decompress(target.getvalue(), MODEL)


def test_progress_over_members() -> None:
    told: list[tuple[int, int]] = []
    with reader(SMALL + SMALL, progress=lambda n_in, n_out: told.append((n_in, n_out))) as file:
        file.read()
    assert told == sorted(told)
    assert told[-1] == (2 * len(SMALL), 2 * len(TEXT))


# Writing to an existing file


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"model": "no such model"}, LlmzipError),
        ({"lanes": 5000}, ValueError),
        ({"window": 4}, ValueError),
        ({"overlap": 99999}, ValueError),
        ({"block_size": 0}, ValueError),
        ({"group_size": 0}, ValueError),
        ({"max_size": 1}, TypeError),
        ({"mode": "wt", "encoding": "no such encoding"}, LookupError),
    ],
)
def test_an_existing_file_is_not_emptied_by_what_cannot_be_written(tmp_path: Path, options: Any, error: Any) -> None:
    path = tmp_path / "x.lmz"
    path.write_bytes(b"precious")
    with pytest.raises(error), llmzip.open(path, **{"model": MODEL, "mode": "wb"} | options) as file:
        file.write(TEXT if isinstance(file, llmzip.LmzFile) else "text")
    gc.collect()
    assert path.read_bytes() == b"precious"


def test_an_existing_file_is_emptied_by_the_first_block(tmp_path: Path) -> None:
    path = tmp_path / "x.lmz"
    path.write_bytes(bytes(1000))
    file = llmzip.open(path, "wb", model=MODEL, **SIZES)
    file.write(TEXT[:60])
    assert path.read_bytes() == bytes(1000), "what is held is in no file, so the old one is kept"
    file.write(TEXT[60:])
    assert SMALL.startswith(path.read_bytes()) and path.stat().st_size > 0
    file.close()
    assert path.read_bytes() == SMALL
    llmzip.open(path, "wb", model=MODEL).close()
    assert path.read_bytes() == llmzip.compress(b"")


@pytest.mark.parametrize(
    ("old", "told"),
    [
        (b"plain text\n", "wrong magic"),
        (SMALL[:-1], "file ends in"),
        (SMALL[:100], "file ends in"),
        (SMALL + b"\n", "after the end of member 1"),
        (SMALL + bytes(10), "zeros after its last member"),
        (llmzip.compress(b"")[:3], "file ends in"),
    ],
)
def test_append_only_to_what_is_whole(tmp_path: Path, old: bytes, told: str) -> None:
    path = tmp_path / "x.lmz"
    path.write_bytes(old)
    with pytest.raises(FormatError, match=rf"cannot append to .*x\.lmz: .*{told}"):
        llmzip.open(path, "ab", model=MODEL)
    assert path.read_bytes() == old


def test_append_to_an_empty_file_and_to_a_device(tmp_path: Path) -> None:
    path = tmp_path / "x.lmz"
    path.touch()
    for _ in range(2):
        with llmzip.open(path, "ab", model=MODEL) as file:
            file.write(TEXT)
    assert llmzip.decompress(path.read_bytes(), MODEL) == TEXT * 2
    for mode in ("ab", "wb"):
        with llmzip.open(os.devnull, mode, model=MODEL) as file:
            file.write(TEXT)


# Flush


def test_what_is_flushed_can_be_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.lmz"
    with llmzip.open(path, "wb", model=MODEL, **SIZES) as file:
        file.flush()
        assert path.read_bytes() == b""
        for n in (10, 75, 200):
            file.write(TEXT[:n])
            for _ in range(2):
                file.flush()
                assert llmzip.decompress(path.read_bytes(), MODEL).endswith(TEXT[:n])
        size = path.stat().st_size
        assert file.tell() == 285
    assert path.stat().st_size == size, "closing adds nothing"
    assert [member.n_bytes for member in llmzip.get_info(path).members] == [10, 75, 200]
    with llmzip.open(path, "rt", model=MODEL) as text:
        assert text.read() == (TEXT[:10] + TEXT[:75] + TEXT[:200]).decode()


def test_flush_goes_through_a_text_file_and_to_the_file_object(tmp_path: Path) -> None:
    path = tmp_path / "x.lmz"
    with open(path, "wb") as target, llmzip.open(target, "wt", model=MODEL, encoding="utf-8") as file:
        file.write("the nation\n")
        file.flush()
        assert llmzip.decompress(path.read_bytes(), MODEL) == b"the nation\n"
        file.write("another\n")
    assert llmzip.decompress(path.read_bytes(), MODEL) == b"the nation\nanother\n"
    with llmzip.LmzFile(io.BytesIO(SMALL), model=MODEL) as reading:
        reading.flush()
    with pytest.raises(ValueError, match="closed file"):
        reading.flush()


def test_progress_goes_on_over_flushes() -> None:
    told: list[tuple[int, int]] = []
    target = io.BytesIO()
    with llmzip.LmzFile(target, "w", model=MODEL, progress=lambda n_in, n_out: told.append((n_in, n_out))) as file:
        for _ in range(3):
            file.write(TEXT)
            file.flush()
    assert told == sorted(told) and told[-1] == (3 * len(TEXT), len(target.getvalue()))


# File objects that write or read in part


class Trickle(io.RawIOBase):
    """A raw file that takes and gives a few bytes at a time."""

    def __init__(self, data: bytes = b"", step: int = 7) -> None:
        self.data = bytearray(data)
        self._step = step

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        taken = bytes(data)[: self._step]
        self.data += taken
        return len(taken)

    def readinto(self, buffer: Any) -> int:
        given = bytes(self.data[: min(self._step, len(buffer))])
        del self.data[: len(given)]
        buffer[: len(given)] = given
        return len(given)


def test_what_a_raw_file_takes_in_part_is_written_whole() -> None:
    target = Trickle()
    with llmzip.LmzFile(target, "w", model=MODEL, **SIZES) as file:
        file.write(TEXT)
    assert target.data == SMALL
    assert llmzip.LmzFile(Trickle(SMALL), model=MODEL).read() == TEXT


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """A raw file writes what still fits and says how much: the rest is tried, and then the error comes."""
    code = (
        "import random, resource, signal, sys, llmzip; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    with eval(sys.argv[2])(sys.argv[1]) as file: file.write(random.Random(1).randbytes(5000))\n"
        "except OSError as error: print(error.errno)"
    )
    for opening in ("lambda p: llmzip.open(p, 'wb')", "lambda p: llmzip.LmzFile(open(p, 'wb', buffering=0), 'w')"):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "x"), opening], capture_output=True, text=True
        )
        assert done.stdout == f"{errno.EFBIG}\n", done.stderr


@pytest.mark.skipif(not hasattr(os, "set_blocking"), reason="pipes that do not block")
def test_a_pipe_that_does_not_block_is_waited_for() -> None:
    """Both ways, with more than the pipe holds."""
    content = random.Random(1).randbytes(300_000)
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)

    def write() -> None:
        with open(writing, "wb", buffering=0) as raw, llmzip.LmzFile(raw, "w", block_size=50_000) as file:
            file.write(content)

    writer = threading.Thread(target=write)
    with open(reading, "rb", buffering=0) as raw, llmzip.LmzFile(raw) as file:
        writer.start()
        assert file.read() == content
    writer.join()


class NotReady(Trickle):
    """A raw file without a descriptor that is not ready after so many bytes."""

    def write(self, data: Any) -> Any:
        return super().write(data) if len(self.data) < 20 else None

    def readinto(self, buffer: Any) -> Any:
        return super().readinto(buffer) if len(self.data) > 20 else None


def test_a_file_that_cannot_be_waited_for_says_how_far_it_came() -> None:
    target = NotReady()
    file = llmzip.LmzFile(target, "w", model=MODEL)
    file.write(TEXT)
    with pytest.raises(BlockingIOError, match=r"took 21 of \d+ bytes") as caught:
        file.close()
    assert caught.value.characters_written == 21
    with pytest.raises(BlockingIOError):
        llmzip.LmzFile(NotReady(SMALL), model=MODEL).read()


def test_blocks_come_out_of_a_live_pipe_as_soon_as_they_are_whole() -> None:
    first = LmzCompressor(MODEL, block_size=60, group_size=60)
    start = first.compress(TEXT[:130])  # a block, and what may stand across its end
    assert start
    for buffering in (0, -1):
        reading, writing = os.pipe()
        with open(reading, "rb", buffering=buffering) as pipe, llmzip.LmzFile(pipe, model=MODEL) as file:
            os.write(writing, start)
            assert file.read1(100) == TEXT[:60]  # the pipe is open, and nothing more comes
            os.close(writing)
            with pytest.raises(TruncatedError):
                file.read1(100)


# File objects and buffers as others make them: what gzip and lzma take


class OnlyRead:
    """Has `read`, and no more; a negative size is not for it."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, n: int) -> bytes:
        assert n > 0
        return self._file.read(n)


class TellRaises(io.BytesIO):
    """Says that it can seek, and cannot: as some pipes and streams of network libraries."""

    def tell(self) -> int:
        raise OSError("no")


class WithoutSeekable(OnlyRead):
    """Of the time before `seekable`."""

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


class OtherBytes(io.BytesIO):
    """Gives another kind of bytes."""

    def read(self, n: int | None = -1) -> Any:
        return memoryview(bytearray(super().read(n)))

    read1 = read


class More(io.BytesIO):
    """Gives more than it was asked for."""

    def read(self, n: int | None = -1) -> bytes:
        return super().read(-1)

    read1 = read


class NameIsANumber(io.BytesIO):
    name = 3


READABLE: dict[str, Callable[[bytes], Any]] = {
    "BytesIO": io.BytesIO,
    "only read": OnlyRead,
    "without seekable": WithoutSeekable,
    "tell raises": TellRaises,
    "other bytes": OtherBytes,
    "more than asked for": More,
    "a number as name": NameIsANumber,
    "small pieces": Pipe,
    "raw": Trickle,
    "buffered": lambda data: io.BufferedReader(Trickle(data)),
    "temporary": lambda data: tempfile_of(data, tempfile.TemporaryFile()),
    "named temporary": lambda data: tempfile_of(data, tempfile.NamedTemporaryFile()),
    "spooled": lambda data: tempfile_of(data, tempfile.SpooledTemporaryFile()),
    "gzip": lambda data: gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(data))),
    "lzma": lambda data: lzma.LZMAFile(io.BytesIO(lzma.compress(data))),
    "llmzip": lambda data: llmzip.LmzFile(io.BytesIO(llmzip.compress(data, MODEL)), model=MODEL),
    "zip": lambda data: in_a_zip(data),
    "mmap": lambda data: mapped(data),
}


def tempfile_of(data: bytes, file: Any) -> Any:
    file.write(data)
    file.seek(0)
    return file


def in_a_zip(data: bytes) -> Any:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("x", data)
    return zipfile.ZipFile(made).open("x")


def mapped(data: bytes) -> Any:
    file = mmap.mmap(-1, len(data))
    file.write(data)
    file.seek(0)
    return file


OTHERS: list[Any] = [gzip, lzma]


@contextmanager
def opened(kind: str, data: bytes) -> Iterator[Any]:
    file = READABLE[kind](data)
    yield file
    if hasattr(file, "close"):
        file.close()


@pytest.mark.parametrize("kind", READABLE)
def test_reads_from_what_gzip_and_lzma_read_from(kind: str) -> None:
    taken = []
    for module in OTHERS:
        with opened(kind, module.compress(TEXT)) as source:
            try:
                taken.append(module.open(source).read() == TEXT)
            except (AttributeError, TypeError, AssertionError, gzip.BadGzipFile):
                taken.append(False)
    assert any(taken), "not a kind that says something of llmzip"
    with opened(kind, SMALL) as source, llmzip.open(source, model=MODEL) as file:
        assert file.read(100) == TEXT[:100]
        if file.seekable():
            file.seek(-5, io.SEEK_END)
            assert file.read() == TEXT[-5:]
            file.seek(100)
        assert file.read() == TEXT[100:]


class OnlyWrite:
    """Has `write`, and no more, and says nothing of how much it took."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: Any) -> None:
        self.data += bytes(data)


class SaysTrue(OnlyWrite):
    def write(self, data: Any) -> Any:
        super().write(data)
        return True


class SaysMore(OnlyWrite):
    """Counts something else than bytes taken, as writers do that encode."""

    def write(self, data: Any) -> Any:
        super().write(data)
        return 2 * len(data)


@pytest.mark.parametrize("kind", [OnlyWrite, SaysTrue, SaysMore])
def test_writes_to_what_gzip_and_lzma_write_to(kind: Any) -> None:
    for module in OTHERS:
        target = kind()
        with module.open(target, "wb") as file:
            file.write(TEXT)
        assert module.decompress(target.data) == TEXT
    target = kind()
    with llmzip.open(target, "wb", model=MODEL, **SIZES) as file:
        file.write(TEXT)
        file.flush()
    assert target.data == SMALL


@pytest.mark.parametrize("bad", [3, None, object(), ["x"]])
def test_what_is_no_file(bad: Any) -> None:
    for module in OTHERS:
        with pytest.raises(TypeError):
            module.open(bad, "rb")
    for mode in ("rb", "wb"):
        with pytest.raises(TypeError):
            llmzip.open(bad, mode)


def test_a_text_file_is_not_one_of_bytes() -> None:
    with pytest.raises(TypeError):
        llmzip.LmzFile(io.StringIO("text")).read()


class Structure(ctypes.Structure):
    _fields_ = (("a", ctypes.c_int32), ("b", ctypes.c_char * 4))


BUFFERS = {
    "bytes": TEXT,
    "bytearray": bytearray(TEXT),
    "memoryview": memoryview(TEXT),
    "part of a memoryview": memoryview(TEXT)[3:60],
    "empty": b"",
    "empty array": array.array("i"),
    "array of numbers": array.array("i", range(99)),
    "array of characters": array.array("B", TEXT),
    "memoryview of shorts": memoryview(TEXT[:100]).cast("H"),
    "memoryview of two dimensions": memoryview(TEXT[:100]).cast("B", (10, 10)),
    "memoryview of none": memoryview(b"abcdefgh").cast("q", ()),
    "ctypes array": (ctypes.c_uint16 * 7)(*range(7)),
    "ctypes structure": Structure(7, b"abcd"),
    "mmap": mapped(TEXT),
    "BytesIO": io.BytesIO(TEXT).getbuffer(),
    "numpy": np.arange(99),
    "numpy, big-endian": np.arange(99, dtype=">i4"),
    "numpy, three dimensions": np.arange(24).reshape(2, 3, 4),
    "numpy, none": np.array(3.5),
    "numpy, no elements": np.zeros((0, 3)),
    "numpy, records": np.zeros(5, dtype=[("a", "<i4"), ("b", "S3")]),
    "numpy, bool": np.ones(9, dtype=bool),
    "numpy scalar": np.float64(2.5),
    "pickle buffer": pickle.PickleBuffer(TEXT),
    # refused by the others, or by some; here the order of the elements is that of numpy's tobytes
    "every second byte": memoryview(TEXT)[::2],
    "backwards": memoryview(TEXT)[::-1],
    "numpy, transposed": np.arange(24).reshape(4, 6).T,
    "numpy, by columns": np.asfortranarray(np.arange(24).reshape(4, 6)),
    "numpy, with gaps": np.arange(60).reshape(6, 10)[:, ::3],
}


@pytest.mark.parametrize("name", BUFFERS)
def test_takes_the_buffers_that_gzip_and_lzma_take(name: str) -> None:
    buffer = BUFFERS[name]
    content = memoryview(buffer).tobytes()
    for module in OTHERS:
        target = io.BytesIO()
        try:
            with module.open(target, "wb") as file:
                file.write(buffer)
            assert module.decompress(target.getvalue()) == content
        except (BufferError, ValueError):
            assert not memoryview(buffer).c_contiguous
    made = llmzip.compress(buffer, MODEL)
    assert llmzip.decompress(made, MODEL) == content
    target = io.BytesIO()
    with llmzip.open(target, "wb", model=MODEL) as file:
        assert file.write(buffer) == len(content)
    assert target.getvalue() == made


@pytest.mark.parametrize(
    "kind",
    [bytearray, memoryview, lambda data: array.array("B", data), lambda data: np.frombuffer(data, np.uint8), mapped],
)
def test_compressed_data_in_any_buffer(kind: Any) -> None:
    assert llmzip.decompress(kind(SMALL), MODEL) == TEXT
    assert llmzip.get_info(kind(SMALL)).n_bytes == len(TEXT)
    assert llmzip.salvage(kind(SMALL), MODEL) == (TEXT, [])
    buffer = array.array("H", bytes(100))
    with reader() as file:
        assert file.readinto(buffer) == 100
    assert buffer.tobytes() == TEXT[:100]


@pytest.mark.parametrize("bad", ["text", 3, None, [1, 2]])
def test_what_has_no_bytes(bad: Any) -> None:
    for call in (llmzip.compress, gzip.compress, lzma.compress):
        with pytest.raises(TypeError):
            call(bad)
    with pytest.raises(TypeError), llmzip.LmzFile(io.BytesIO(), "w", model=MODEL) as file:
        file.write(bad)


# Files that are cut, padded or damaged, by random access

BLOCKS_OF_SMALL = [block.offset for block in filemap.map_file(io.BytesIO(SMALL))[0].blocks]


def readable_in_order(data: bytes) -> bytes:
    found = b""
    try:
        with reader(data) as file:
            while piece := file.read1(7):
                found += piece
    except LlmzipError:
        pass
    return found


@pytest.mark.long
def test_a_cut_file_can_be_sought_in_as_far_as_it_is_whole() -> None:
    for n in [*range(8, len(SMALL), 11), len(SMALL) - 1]:
        data = SMALL[:n]
        whole = readable_in_order(data)
        with reader(data) as file:
            for at in (len(whole) // 2, len(whole), 0, len(whole) // 3):
                assert file.seek(at) == at
                assert file.read1(7) == whole[at : at + 7] if at < len(whole) else True
            for seek in ((len(whole) + 1,), (0, io.SEEK_END), (-1, io.SEEK_END)):
                file.seek(len(whole) // 2)
                with pytest.raises(TruncatedError):
                    file.seek(*seek)
                assert file.tell() == len(whole) // 2, "a failed seek leaves it where it was"
            file.seek(len(whole))
            with pytest.raises(TruncatedError):
                file.read1(1)


@pytest.mark.parametrize("data", [SMALL[:-10], SMALL + b"\n", SMALL + bytes(9) + b"\n", SMALL + SMALL[:90]])
def test_after_a_failed_seek_reading_goes_on(data: bytes) -> None:
    whole = readable_in_order(data)
    assert len(whole) >= len(TEXT) - 70
    with reader(data) as file:
        found = file.read(10)
        for seek in ((0, io.SEEK_END), (1 << 40,)):
            with pytest.raises(LlmzipError):
                file.seek(*seek)
            assert file.tell() == len(found)
            found += file.read(5)
        with pytest.raises(LlmzipError):
            while piece := file.read1(9):
                found += piece
    assert found == whole


@pytest.mark.parametrize("n_zeros", [1, 5, 511, 70000])
def test_zeros_after_the_end_are_padding(n_zeros: int) -> None:
    for data, content in (
        (SMALL, TEXT),
        (SMALL + llmzip.compress(b"end\0\0"), TEXT + b"end\0\0"),
        (llmzip.compress(b""), b""),
    ):
        padded = data + bytes(n_zeros)
        assert llmzip.decompress(padded, MODEL) == content
        info = llmzip.get_info(padded)
        assert (info.n_bytes, info.n_bytes_on_disk) == (len(content), len(data))
        with reader(padded) as file:
            assert file.seek(0, io.SEEK_END) == len(content)
            file.seek(len(content) // 2)
            assert file.read() == content[len(content) // 2 :]


@pytest.mark.parametrize(("number", "lost"), [(1, (0, 1)), (2, (1,))])
def test_damaged_groups_can_be_gone_past(number: int, lost: tuple[int, ...]) -> None:
    """What goes on from a damaged block is lost with it, and the error names the block that is damaged."""
    damaged = bytearray(SMALL)
    damaged[BLOCKS_OF_SMALL[number - 1] + 20] ^= 1
    with reader(bytes(damaged)) as file:
        for _ in range(2):
            for i in (0, 1):
                file.seek(70 * i)
                if i in lost:
                    with pytest.raises(
                        LlmzipError, match=rf"block {number} .*content bytes {70 * number - 70} to {70 * number - 1}"
                    ):
                        file.read(1)
                else:
                    assert file.read(1) == TEXT[70 * i : 70 * i + 1]
            file.seek(140)
            assert file.read() == TEXT[140:]


def test_limits_of_random_access() -> None:
    with reader(max_size=150) as file:
        file.seek(75)
        assert file.read1(5) == TEXT[75:80]
        file.seek(145)
        with pytest.raises(LimitExceeded):
            file.read1(5)
    with pytest.raises(LimitExceeded), reader(memory=1) as file:
        file.read()
