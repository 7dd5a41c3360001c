"""llmzip.workers: results in order, errors in their turn, and nobody waits for what is given up."""

import ctypes
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from llmzip import workers


def counting(n: int, progress: workers.Progress) -> Iterator[int]:
    for i in range(n):
        progress(i + 1)
        yield i


def test_results_in_the_order_of_the_jobs() -> None:
    told: list[int] = []
    jobs = [lambda progress, n=n: counting(n, progress) for n in (3, 0, 5, 1)]
    for n_threads in (1, 3):
        assert list(workers.run(jobs, n_threads, told.append)) == [0, 1, 2, 0, 1, 2, 3, 4, 0]
        assert max(told) == 9


def test_an_error_comes_after_what_was_before_it() -> None:
    def failing(progress: workers.Progress) -> Iterator[int]:
        yield 7
        raise KeyError("lost")

    results = workers.run([failing, lambda progress: counting(2, progress)], 2)
    assert next(results) == 7
    with pytest.raises(KeyError, match="lost"):
        next(results)


def test_giving_up_does_not_wait() -> None:
    """The garbage collector may do it in any thread, which may hold a lock that ending takes: that was a hang."""
    go = threading.Event()

    def waiting(progress: workers.Progress) -> Iterator[int]:
        yield 1
        go.wait(60)
        yield 2

    results = workers.run([waiting, waiting], 2)
    assert next(results) == 1
    closing = threading.Thread(target=results.close)
    closing.start()
    closing.join(20)
    waited = closing.is_alive()
    go.set()
    closing.join()
    assert not waited


def test_a_job_that_is_given_up_ends_when_it_tells() -> None:
    ended = threading.Event()

    def endless(progress: workers.Progress) -> Iterator[int]:
        try:
            while True:
                progress(1)
                yield 1
        finally:
            ended.set()

    results = workers.run([endless, endless], 2)
    next(results)
    results.close()
    assert ended.wait(30)


def test_where_no_thread_starts_it_is_done_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_started", lambda executor: None)
    assert list(workers.run([lambda progress: counting(2, progress)] * 2, 2)) == [0, 1, 0, 1]


def test_together_with_no_other_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object, job: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ThreadPoolExecutor, "submit", refuse)
    taken: list[int] = []
    workers.together(lambda: taken.append(threading.get_native_id()), 2, lambda: None)
    assert taken == [threading.get_native_id()]


def test_what_is_raised_before_this_thread_takes_part_ends_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by Ctrl-C, while they are started."""
    ended, started = threading.Event(), threading.Event()
    submit = ThreadPoolExecutor.submit

    def interrupted(self: Any, job: Any) -> Any:
        submit(self, job)
        assert started.wait(30)
        raise KeyboardInterrupt

    def take_part() -> None:
        started.set()
        assert ended.wait(30)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        workers.together(take_part, 1, ended.set)


def _meet(barrier: threading.Barrier) -> None:
    barrier.wait(30)


def test_together_all_take_part_and_an_error_of_any_is_told() -> None:
    barrier = threading.Barrier(3)
    workers.together(lambda: _meet(barrier), 2, lambda: None)

    def fail() -> None:
        if barrier.wait(30) == 1:
            raise MemoryError

    with pytest.raises(MemoryError):
        workers.together(fail, 2, lambda: None)


@pytest.mark.skipif(sys.platform != "linux", reason="threads are told by /proc")
@pytest.mark.parametrize("fails", [False, True])
def test_a_thread_beside_is_gone_afterwards(fails: bool) -> None:
    """And not only joined: what it holds of a library's locks, a child of fork would wait for."""
    libc, key = ctypes.CDLL(None), ctypes.c_uint()
    assert libc.pthread_key_create(ctypes.byref(key), libc.usleep) == 0  # called with the value as a thread ends

    def end_late() -> int:
        assert libc.pthread_setspecific(key, ctypes.c_void_p(20_000)) == 0
        return threading.get_native_id()

    threads: list[int] = []

    def take_part() -> None:
        if threading.current_thread() is threading.main_thread():
            return
        threads.append(end_late())
        assert Path(f"/proc/self/task/{threads[0]}").exists()
        1 // (not fails)

    with pytest.raises(ZeroDivisionError) if fails else nullcontext():
        workers.together(take_part, 1, lambda: None)
    (thread,) = threads
    assert not Path(f"/proc/self/task/{thread}").exists()
