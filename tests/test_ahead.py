"""Small files side by side: nothing shows but the time."""

import os
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from commands import Run, names

from llmzip.cli import fileio
from llmzip.cli.ahead import Ahead, Code
from llmzip.cli.decompressing import Reading
from llmzip.cli.display import Display
from llmzip.errors import EngineMismatch
from llmzip.limits import Limits
from llmzip.models.source import ModelSource, SharedSource
from llmzip.models.toy import ToyModel
from llmzip.stream.progress import Progress

NAMES = [f"file {i}" for i in range(7)]


@pytest.fixture
def files(run: Run, tmp_path: Path) -> list[str]:
    for i, name in enumerate(NAMES):
        (tmp_path / name).write_bytes(ToyModel().speak(150 + 25 * i, seed=i))
    (tmp_path / NAMES[2]).write_bytes(b"")
    (tmp_path / NAMES[4]).write_bytes(os.urandom(350))
    return NAMES


def contents(folder: Path, suffix: str = "") -> dict[str, bytes]:
    return {name: (folder / f"{name}{suffix}").read_bytes() for name in NAMES}


def without_times(messages: str) -> list[list[str]]:
    """The words of each line, but for the last ones of those that end with a speed and a time."""
    return [line.split()[:-3] if "bits/byte  " in line else line.split() for line in messages.splitlines()]


def test_the_same_files_and_messages_whatever_the_threads(run: Run, files: list[str], tmp_path: Path) -> None:
    before = contents(tmp_path)
    found = []
    for threads in ("1", "2", "5"):
        done = run("compress", "-m", "toy", "-T", threads, "-v", "--block-size", "100", "-f", *files)
        assert done.code == 0
        found.append((contents(tmp_path, ".lmz"), without_times(done.err)))
    assert found[0] == found[1] == found[2]
    for threads in ("1", "3"):
        for name in files:
            (tmp_path / name).unlink(missing_ok=True)
        coded = [f"{name}.lmz" for name in files]
        assert run("decompress", "-T", threads, *coded).code == 0 and contents(tmp_path) == before
        told = run("test", "-T", threads, "-v", *coded)
        assert told.code == 0 and told.out.decode() == "".join(f"{name}: ok\n" for name in coded)


def test_sources_are_removed_once_compared(run: Run, files: list[str], tmp_path: Path) -> None:
    before = contents(tmp_path)
    assert run("compress", "-m", "toy", "-T", "3", "--rm", *files).code == 0
    assert names(tmp_path) == {f"{name}.lmz" for name in files}
    assert run("decompress", "-T", "3", "--rm", *(f"{name}.lmz" for name in files)).code == 0
    assert names(tmp_path) == set(files) and contents(tmp_path) == before


def test_what_goes_wrong_is_told_in_its_turn_and_once(run: Run, files: list[str], tmp_path: Path) -> None:
    coded = [f"{name}.lmz" for name in files]
    assert run("compress", "-m", "toy", *files).code == 0
    data = (tmp_path / coded[3]).read_bytes()
    (tmp_path / coded[3]).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    (tmp_path / files[1]).write_bytes(b"stays")
    for name in (files[0], *files[2:]):
        (tmp_path / name).unlink()
    done = run("decompress", "-T", "3", "missing.lmz", *coded)
    assert done.code == 1 and [line.split(": ")[1] for line in done.err.splitlines() if "hint" not in line] == [
        "missing.lmz", coded[1], coded[3],
    ]  # fmt: skip
    assert (tmp_path / files[1]).read_bytes() == b"stays" and not (tmp_path / files[3]).exists()
    done = run("test", "-T", "3", *coded)
    assert done.code == 1 and done.err.count("file 3.lmz") == len(done.err.splitlines())


def test_not_where_memory_is_limited(run: Run, files: list[str], tmp_path: Path) -> None:
    assert run("compress", "-m", "toy", *files).code == 0
    coded = [f"{name}.lmz" for name in files]
    for limits, is_ahead in ((Limits(max_size=5000), True), (Limits(memory=1 << 30), False)):
        with closing(Reading(ModelSource(threads=2), limits=limits).ahead(coded, lambda name: True)) as work:
            assert (take(work, coded[0]) is not None) == is_ahead


# --- by itself


def ahead(code: Code[bytes], n_threads: int = 3, max_size: int = 1000) -> Ahead[bytes]:
    return Ahead(NAMES, ModelSource(threads=n_threads), code, lambda name: name != NAMES[5], max_size)


def take(work: Ahead[bytes], name: str) -> bytes | None:
    with fileio.open_source(name) as source, Display().progress(name, None, decoding=False) as line:
        return work.take(source, line)


def test_each_is_coded_once_and_no_more_than_there_are_threads(run: Run, files: list[str], tmp_path: Path) -> None:
    coded: list[bytes] = []
    at_work, most = threading.Semaphore(3), []

    def code(model: ModelSource, content: bytes, progress: Progress) -> bytes:
        most.append(at_work.acquire(blocking=False))
        coded.append(content)
        at_work.release()
        return content[::-1]

    (tmp_path / files[3]).write_bytes(bytes(1001))  # too large
    with closing(ahead(code)) as work:
        for name in files:
            content = (tmp_path / name).read_bytes()
            assert take(work, name) == (None if name in (files[2], files[3], files[5]) else content[::-1]), name
    assert len(coded) == 4 and all(most)


@pytest.mark.parametrize("change", [lambda path: path.write_bytes(b"other"), lambda path: os.utime(path, (1, 1))])
def test_a_file_that_changes_before_its_turn_is_coded_in_it(
    run: Run, files: list[str], tmp_path: Path, change: Callable[[Path], object]
) -> None:
    read = threading.Semaphore(0)

    def code(model: ModelSource, content: bytes, progress: Progress) -> bytes:
        read.release()
        return content

    with closing(ahead(code, n_threads=2)) as work:
        assert take(work, files[0]) is not None
        for _ in range(2):  # the second has been read, too
            read.acquire()
        change(tmp_path / files[1])
        assert take(work, files[1]) is None


def test_what_fails_is_done_again_in_its_turn(run: Run, files: list[str]) -> None:
    def code(model: ModelSource, content: bytes, progress: Progress) -> bytes:
        raise MemoryError

    with closing(ahead(code)) as work:
        assert [take(work, name) for name in files] == [None] * len(files)


def test_a_file_that_is_named_twice_or_not_met_in_its_turn(run: Run, files: list[str]) -> None:
    named = [NAMES[0], NAMES[1], NAMES[0], NAMES[3]]
    work: Ahead[bytes] = Ahead(named, ModelSource(threads=4), lambda model, content, _: content, bool, 1000)
    with closing(work):
        assert take(work, NAMES[0]) and take(work, NAMES[0]) and take(work, NAMES[3])
        assert take(work, NAMES[6]) is None  # nobody has said so


def test_all_end_when_nothing_is_wanted_any_more(run: Run, files: list[str]) -> None:
    begun = threading.Semaphore(0)

    def code(model: ModelSource, content: bytes, progress: Progress) -> bytes:
        begun.release()
        while True:
            progress(0, 0)

    before = threading.active_count()
    work = ahead(code)
    work._begin()
    for _ in range(2):  # of the first three, one is empty
        begun.acquire()
    assert threading.active_count() == before + 2
    work.close()
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(60)
    assert threading.active_count() <= before


def test_a_model_that_is_not_exact_is_not_shared() -> None:
    model = ToyModel()
    assert SharedSource(ModelSource(model), 1).to_compress().fingerprint == model.fingerprint
    model.exact = False
    with pytest.raises(EngineMismatch):
        SharedSource(ModelSource(model), 1).to_compress()
