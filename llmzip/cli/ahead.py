"""Small files, coded in threads beside the one whose turn it is, because each would keep but one core busy.

Only their content is coded ahead. In its turn each file is opened, refused, written and told about as if it had been
alone, so that neither their order nor what goes wrong with one shows in another.
"""

import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Generic, TypeVar

from llmzip import workers
from llmzip.cli import fileio
from llmzip.cli.display import ProgressLine
from llmzip.models.source import ModelSource, SharedSource
from llmzip.stream.progress import Progress

Result = TypeVar("Result")
Code = Callable[[ModelSource, bytes, Progress], Result]  # of a whole file


@dataclass(frozen=True)
class _Begun(Generic[Result]):
    job: workers.Beside[tuple[fileio.Identity, Result]]
    moment: float  # when it was begun


class Ahead(Generic[Result]):
    """What `code` makes of the next files that have at most `max_size` bytes, as many at a time as there are threads.

    `is_wanted` tells by a name whether its turn will need it.
    """

    def __init__(
        self,
        names: Sequence[str],
        model: ModelSource,
        code: Code[Result],
        is_wanted: Callable[[str], bool],
        max_size: int,
    ) -> None:
        self._n_threads = model.n_threads if len(names) > 1 else 1
        self._names = deque(names if self._n_threads > 1 else [])
        self._code = partial(code, SharedSource(model, max(1, self._n_threads // max(1, len(names)))))
        self._is_wanted, self._max_size = is_wanted, max_size
        self._begun: dict[str, _Begun[Result]] = {}
        self._turn: tuple[str, ProgressLine] | None = None

    def take(self, source: fileio.Source, line: ProgressLine) -> Result | None:
        """What was made of this file; None if it has to be done now: it was not begun, has changed, or has failed."""
        while self._names and self._names[0] != source.name:  # their turns have come to nothing
            self._stop(self._names.popleft())
        self._begin()
        if self._names:
            self._names.popleft()
        begun = self._begun.pop(source.name, None)
        if begun is None:
            return None
        line.restart(begun.moment)
        self._turn = source.name, line
        try:
            identity, result = begun.job.next()
        except Exception:  # is met again now, and told
            line.restart()
            return None
        finally:
            self._turn = None
        self._begin()
        return result if source.status is not None and identity == fileio.identity_of(source.status) else None

    def close(self) -> None:
        """Nothing of what was begun is wanted any more."""
        for name in list(self._begun):
            self._stop(name)

    def _stop(self, name: str) -> None:
        begun = self._begun.pop(name, None)
        if begun is not None:
            begun.job.stop()

    def _begin(self) -> None:
        """Begin with the first that are left, as many as there are threads. A large one gets all of them."""
        if not self._names or (self._names[0] not in self._begun and not self._suits(self._names[0])):
            return
        for name in islice(self._names, self._n_threads):
            if name not in self._begun and self._suits(name):
                try:
                    self._begun[name] = _Begun(workers.Beside(partial(self._job, name)), time.monotonic())
                except RuntimeError:  # no thread is to be had
                    return

    def _suits(self, name: str) -> bool:
        try:
            status = os.lstat(name)
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and 0 < status.st_size <= self._max_size and self._is_wanted(name)

    def _job(self, name: str, go_on: workers.Progress) -> Iterator[tuple[fileio.Identity, Result]]:
        def tell(n_in: int, n_out: int) -> None:
            go_on(n_in)
            turn = self._turn
            if turn is not None and turn[0] == name:
                turn[1](n_in, n_out)

        with open(name, "rb") as file:
            identity = fileio.identity_of(os.fstat(file.fileno()))
            content = file.read(self._max_size + 1)
            if len(content) > self._max_size or fileio.identity_of(os.fstat(file.fileno())) != identity:
                raise OSError("has changed while it was read")
        yield identity, self._code(content, tell)
