"""What a caller is told of how far the work is."""

import threading
from collections.abc import Callable

Progress = Callable[[int, int], object]  # bytes in, bytes out: cumulative


class SteadyProgress:
    """Tells progress, from whatever thread: one call at a time, and never less than before."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._n_in = self._n_out = 0
        self._lock = threading.RLock()  # a signal may come while it is held, and its handler close a file

    def __call__(self, n_in: int, n_out: int) -> None:
        if self._progress is None:
            return
        with self._lock:
            self._n_in, self._n_out = max(self._n_in, n_in), max(self._n_out, n_out)
            self._progress(self._n_in, self._n_out)
