"""Random access beyond the single block: what is kept, what is decoded ahead, readers in other processes."""

import io
import multiprocessing
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

import llmzip
from llmzip import access, blocks, workers
from llmzip.coding import Options
from llmzip.errors import LlmzipError
from llmzip.models.toy import ToyModel

MODEL = ToyModel()
TEXT = b"".join(MODEL.speak(60, line) + b"\n" for line in range(12))
SIZES: Options = {"block_size": 40, "group_size": 120}  # three blocks a group
FILE = llmzip.compress(TEXT, MODEL, **SIZES)
N_BLOCKS = -(-len(TEXT) // 40)
PARTS = [TEXT[at : at + 40] for at in range(0, len(TEXT), 40)]


def reader(data: bytes = FILE, **options: Any) -> llmzip.LmzFile:
    return llmzip.LmzFile(io.BytesIO(data), model=MODEL, **options)


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """Numbers of the blocks that are decoded, and whether in the main thread."""
    found: list[tuple[int, bool]] = []
    decompress = blocks.decompress

    def noting(*arguments: Any) -> bytes:
        content = decompress(*arguments)
        found.append((PARTS.index(content), threading.current_thread() is threading.main_thread()))
        return content

    monkeypatch.setattr(blocks, "decompress", noting)
    return found


def at_block(file: llmzip.LmzFile, i: int) -> None:
    file.seek(40 * i)
    assert file.read1(40) == PARTS[i]


def test_a_group_that_was_decoded_is_kept(decodings: list[tuple[int, bool]]) -> None:
    with reader(threads=1) as file:
        at_block(file, 5)
        assert [i for i, _ in decodings] == [3, 4, 5]
        decodings.clear()
        for i in (3, 5, 4, 3):
            at_block(file, i)
        assert decodings == []


def test_what_is_kept_is_bounded(decodings: list[tuple[int, bool]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "CACHE_SIZE", 80)
    with reader(threads=1) as file:
        for i in (2, 1, 2, 1, 5, 1):
            at_block(file, i)
    assert [i for i, _ in decodings] == [0, 1, 2, 3, 4, 5, 0, 1]


def test_with_a_bound_to_the_memory_nothing_is_kept_or_decoded_ahead(decodings: list[tuple[int, bool]]) -> None:
    with reader(threads=4, memory=1 << 30) as file:
        file.seek(1)
        assert file.read() == TEXT[1:]
        at_block(file, 1)
    assert [i for i, _ in decodings] == [*range(N_BLOCKS), 0, 1] and all(main for _, main in decodings)


def test_what_is_read_in_order_is_decoded_ahead_once(decodings: list[tuple[int, bool]]) -> None:
    with reader(threads=4) as file:
        file.seek(1)
        assert file.read() == TEXT[1:]
    assert sorted(i for i, _ in decodings) == list(range(N_BLOCKS))
    assert [i for i, main in decodings if main] == [0, 1, 2]


def test_reading_here_and_there_decodes_nothing_ahead(decodings: list[tuple[int, bool]]) -> None:
    with reader(threads=4) as file:
        for i in (9, 2, 3, 12, 13, 0):
            at_block(file, i)
    assert all(main for _, main in decodings)


def test_damage_ahead_is_told_when_it_is_read() -> None:
    info = llmzip.get_info(FILE)
    for spoiled in (3, 4, 8):
        block = info.blocks[spoiled]
        data = bytearray(FILE)
        data[block.file_offset + block.n_bytes_on_disk - 1] ^= 1  # its content check
        with reader(bytes(data), threads=4) as file:
            file.seek(1)
            assert file.read(40 * spoiled - 1) == TEXT[1 : 40 * spoiled]
            for _ in range(2):
                with pytest.raises(LlmzipError, match=f"^block {spoiled + 1} "):
                    file.read(1)
            at_block(file, 6 if spoiled < 6 else 0)


def test_what_is_decoded_beside_ends_with_the_file() -> None:
    before = threading.active_count()
    stopped = threading.Event()

    def job(tell: workers.Progress) -> list[int]:
        try:
            while True:
                tell(1)
        finally:
            stopped.set()

    beside = workers.Beside(job)
    beside.stop()
    assert stopped.wait(60)
    with reader(threads=4) as file:
        file.seek(1)
        file.read(100)
    for thread in threading.enumerate()[before:]:
        thread.join(60)
    assert threading.active_count() <= before


# --- pickle


def test_a_reader_of_a_path_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.lmz").write_bytes(FILE)
    monkeypatch.chdir(tmp_path)
    with llmzip.LmzFile("x.lmz", model="toy", max_size=len(TEXT)) as file:
        for skip in (0, 100):
            file.read(skip)
            packed = pickle.dumps(file)
            monkeypatch.chdir("/")
            with pickle.loads(packed) as again:
                assert (again.tell(), again.read()) == (skip, TEXT[skip:])
        file.seek(3)
        assert pickle.loads(pickle.dumps(file)).read(5) == TEXT[3:8]
    with pytest.raises(ValueError, match="closed"):
        pickle.dumps(file)


def test_a_reader_goes_to_another_process(tmp_path: Path) -> None:
    (tmp_path / "x.lmz").write_bytes(FILE)
    with llmzip.LmzFile(tmp_path / "x.lmz", model="toy") as file, multiprocessing.get_context("spawn").Pool(1) as pool:
        file.seek(50)
        assert pool.apply(llmzip.LmzFile.read, (file, 50)) == TEXT[50:100]
        assert file.read(10) == TEXT[50:60]


def test_what_cannot_be_opened_anew_is_not_pickled(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="no reader of a path"):
        pickle.dumps(reader())
    with (
        llmzip.LmzFile(tmp_path / "x.lmz", "w", model="toy") as file,
        pytest.raises(TypeError, match="no reader of a path"),
    ):
        pickle.dumps(file)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_of_fork_decodes_for_itself() -> None:
    with reader(threads=4) as file:
        file.seek(1)
        assert file.read(130) == TEXT[1:131]
        child = os.fork()
        if not child:
            os._exit(0 if file.read() == TEXT[131:] else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert file.read() == TEXT[131:]
