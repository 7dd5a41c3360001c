"""Jobs side by side: results in the order of the jobs, and an end to all of them when one is not wanted any more."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

Result = TypeVar("Result")
Progress = Callable[[int], object]  # bytes that a job has done
Job = Callable[[Progress], Result]  # calls what it is given from time to time: there it is ended


class _Stopped(BaseException):
    """Nobody waits for this job any more."""


def run(jobs: Sequence[Job[Result]], n_threads: int, progress: Progress | None = None) -> Iterator[Result]:
    """The result of each job. `progress` gets the sum of what all have done, from any thread."""
    stop = threading.Event()
    done = [0] * len(jobs)

    def tell(number: int, n_bytes: int) -> None:
        if stop.is_set():
            raise _Stopped
        done[number] = n_bytes
        if progress is not None:
            progress(sum(done))

    executor = ThreadPoolExecutor(min(n_threads, len(jobs)))
    try:
        for future in [executor.submit(job, partial(tell, number)) for number, job in enumerate(jobs)]:
            yield future.result()
    finally:
        stop.set()
        executor.shutdown(cancel_futures=True)
