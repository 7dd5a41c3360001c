"""Jobs side by side: their results in order, as they come, and an end to all when they are not wanted any more."""

import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Generic, TypeVar

Result = TypeVar("Result")
Progress = Callable[[int], object]  # bytes that a job has done
Job = Callable[[Progress], Iterable[Result]]  # calls what it is given from time to time: there it is ended


class _Stopped(BaseException):
    """Nobody waits for this job any more."""


class _Ended:
    """What a job says last: that it has come to its end, or what it has raised."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def together(take_part: Callable[[], None], n_beside: int, end: Callable[[], None]) -> None:
    """Call this in so many threads beside this one, and in this one. Raises what it raises in any of them.

    `end` makes those that take part stop: for what is raised here, as by Ctrl-C, between their start and their end.
    By this one alone where no others can be started: while the interpreter ends, or at a limit of the system.
    """
    if not n_beside:
        take_part()
        return
    started: list[int | None] = []
    try:
        with ThreadPoolExecutor(n_beside) as executor:
            others: list[Future[None]] = []

            def begin() -> None:
                started.append(threading.get_native_id())
                take_part()

            try:
                with suppress(RuntimeError):
                    others.extend(executor.submit(begin) for _ in range(n_beside))
                take_part()
            except BaseException:
                end()
                raise
        for other in others:
            other.result()
    finally:
        wait_until_gone(started)


def _started(executor: Executor) -> int | None:
    """What the system calls a thread of it; None where none can be started."""
    try:
        return executor.submit(threading.get_native_id).result()
    except RuntimeError:
        return None


def wait_until_gone(native_ids: Iterable[int | None]) -> None:
    """Wait for the system to be done with threads that Python has joined, which takes a moment more.

    Until then they count, and libraries that they used may hold locks: a child of fork would find those locked for
    ever (torch's MKL, which gives back its buffers then).
    """
    left = [f"/proc/self/task/{native_id}" for native_id in native_ids]
    for _ in range(10_000):
        if not any(map(os.path.exists, left)):
            break
        time.sleep(1e-4)


def run(jobs: Sequence[Job[Result]], n_threads: int, progress: Progress | None = None) -> Generator[Result, None, None]:
    """The results of the first job, then those of the second, and so on.

    `progress` gets the sum of what all have done, from any thread.
    """
    stop = threading.Event()
    done = [0] * len(jobs)

    def tell(number: int, n_bytes: int) -> None:
        if stop.is_set():
            raise _Stopped
        done[number] = n_bytes
        if progress is not None:
            progress(sum(done))

    told = [partial(job, partial(tell, number)) for number, job in enumerate(jobs)]
    executor = ThreadPoolExecutor(min(n_threads, len(jobs)))
    queues: list[SimpleQueue[Result | _Ended]] = [SimpleQueue() for _ in jobs]
    try:
        if _started(executor) is None:
            for job in told:
                yield from job()
            return
        for job, queue in zip(told, queues, strict=True):
            with suppress(RuntimeError):  # no more threads: those that there are do it
                executor.submit(_fill, queue, job)
        for queue in queues:
            while not isinstance(result := queue.get(), _Ended):
                yield result
            if result.error is not None:
                raise result.error
    finally:
        # Does not wait for the threads: one that is given up is collected by any thread, which may hold what they need
        # to end.
        stop.set()
        executor.shutdown(wait=False, cancel_futures=True)


class Beside(Generic[Result]):
    """One job in a thread beside, begun at once. Raises RuntimeError where none can be started.

    It does not outlast the main thread: a program ends although nobody has stopped it.
    """

    def __init__(self, job: Job[Result]) -> None:
        self._stop = threading.Event()
        self._queue: SimpleQueue[Result | _Ended] = SimpleQueue()
        self._process = os.getpid()
        threading.Thread(target=_fill, args=(self._queue, partial(job, partial(_go_on, self._stop)))).start()

    def is_here(self) -> bool:
        """Whether the thread is one of this process: a child of fork has none."""
        return self._process == os.getpid()

    def next(self) -> Result:
        """The next result, waited for. Raises what the job has raised."""
        result = self._queue.get()
        if isinstance(result, _Ended):
            raise result.error or StopIteration
        return result

    def stop(self) -> None:
        """Nothing of it is wanted any more. Does not wait."""
        self._stop.set()


def _go_on(stop: threading.Event, n_bytes: int) -> None:
    if stop.is_set() or not threading.main_thread().is_alive():
        raise _Stopped


def _fill(queue: "SimpleQueue[Result | _Ended]", job: Callable[[], Iterable[Result]]) -> None:
    try:
        for result in job():
            queue.put(result)
        queue.put(_Ended())
    except BaseException as error:
        queue.put(_Ended(error))
