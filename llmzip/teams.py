"""Every token of a body, predicted and coded: lanes in teams, and threads that predict one while another is coded.

Coding goes token by token in (step, lane) order, and is done by one thread at a time. What may be predicted follows
from the ids that are known: a writer knows all of them, a reader those that are coded. Threads change time, never
bytes.

Knows protocols only, as `codec` does.
"""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from llmzip import native, workers
from llmzip.guesser import MOST, Costs, Guesser
from llmzip.models import ExactState, Model, State
from llmzip.predictor import Predictor

# rows of scores that an encoder asks for at a time: 25 MB at V = 49 152, and what the kernels take in one go
CHUNK_ROWS = 256
CHUNKS_AHEAD = 2  # that a team is predicted before it is coded
MAX_TEAMS = 4  # more threads would wait for the one that codes
MIN_TEAM = 4  # lanes of a reader's: with fewer, passing them from thread to thread takes longer than it saves
MAX_GUESSED = 7  # lanes up to which tokens are guessed: more keep the processor busy without

Progress = Callable[[int], object]  # bytes of the body that are done
Ids = NDArray[np.int32]
Scores = NDArray[np.int16]


@dataclass(frozen=True)
class Shape:
    """How a body is coded with a model: its lanes and windows, and threads, which change no byte."""

    lanes: int
    window: int
    overlap: int
    threads: int = 1


def transcode(
    model: Model, memory: Predictor, ids: Ids, shape: Shape, *, known: bool, progress: Progress | None = None
) -> None:
    """Code every token of the open body, in (step, lane) order. Encoder and decoder run this very loop.

    `ids` (L, T): the tokens of each lane, `known`, or found step by step. Of a few lanes that are not, some tokens are
    guessed, and predicted with those that are known.
    """
    n_threads = shape.threads if model.exact else 1
    n_teams = max(1, min(n_threads, MAX_TEAMS, shape.lanes // (1 if known else MIN_TEAM)))
    n_beside = n_teams - 1 or int(known and n_threads > 1)
    shape = replace(shape, threads=max(1, n_threads // n_teams - (n_teams == 1) * n_beside))
    teams: list[Team | GuessingTeam] = []
    if known or not model.exact or shape.lanes > MAX_GUESSED or native.library is None:
        for part in pairwise(shape.lanes * i // n_teams for i in range(n_teams + 1)):
            # not exact: the same calls in both directions
            teams.append(Team(model, ids, slice(*part), shape, known=known and model.exact))
    else:
        teams.append(GuessingTeam(model, memory, ids, shape))
    work = _Work(memory, ids, teams, progress)
    workers.together(work.run, n_beside, work.end)


class _Work:
    """What there is to do for a body, for any thread that is free: the next team is coded, others are predicted."""

    def __init__(
        self, memory: Predictor, ids: Ids, teams: "list[Team | GuessingTeam]", progress: Progress | None
    ) -> None:
        self._memory, self._ids, self._teams, self._progress = memory, ids, teams, progress
        self._lock = threading.Lock()  # entered at once: a Condition can be left taken by Ctrl-C on the way in
        self._changed = threading.Condition(self._lock)
        self._step = self._turn = 0  # what is coded next, and the number of the team
        self._coding = self._ended = False

    def run(self) -> None:
        """Take part until all is done, or something fails in one of the threads."""
        try:
            while (job := self._next()) is not None:
                job()
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """Nothing more is to be done, by any thread."""
        self._ended = True
        with self._lock:
            self._changed.notify_all()

    def _next(self) -> Callable[[], None] | None:
        """What is to be done now, waited for; None at the end."""
        with self._lock:
            while not self._ended:
                if not self._coding and self._teams[self._turn].is_ready(self._step):
                    self._coding = True
                    return self._code
                if free := [team for team in self._teams if not team.busy and team.may_predict(self._step)]:
                    team = min(free, key=lambda team: team.end)
                    team.busy = True
                    return partial(self._predict, team)
                self._changed.wait(1)  # a second Ctrl-C may come before the first has woken all
        return None

    def _predict(self, team: "Team | GuessingTeam") -> None:
        team.predict(self._step)
        with self._lock:
            team.busy = False
            self._changed.notify_all()

    def _code(self) -> None:
        """Code as far as there are scores."""
        goes_on = True
        while goes_on and not self._ended:
            team, step = self._teams[self._turn], self._step
            self._memory.code_step(team.scores(step), self._ids[team.lanes, step], team.lanes.start)
            is_last = team is self._teams[-1]
            over = is_last and (step + 1 == self._ids.shape[1] or not self._memory.alive.any())
            with self._lock:
                team.coded(step)
                self._turn, self._step = (0, step + 1) if is_last else (self._turn + 1, step)
                self._ended |= over
                goes_on = not over and self._teams[self._turn].is_ready(self._step)
                self._changed.notify_all()
        if self._progress is not None:
            self._progress(self._memory.n_done)
        with self._lock:
            self._coding = False
            self._changed.notify_all()


class Team:
    """Lanes of a body that are predicted together."""

    def __init__(self, model: Model, ids: Ids, lanes: slice, shape: Shape, *, known: bool) -> None:
        self.lanes = lanes
        self.busy = False  # it is being predicted
        self.end = 0  # the step up to which it is
        self._start = 0  # that of the first of the rows
        self._rows: deque[Scores] = deque()  # (lanes, steps, symbols) each
        self._most = CHUNKS_AHEAD if known else 1
        self._forwards = _forwards(model, ids[lanes], shape, max(1, CHUNK_ROWS // shape.lanes) if known else 1)
        self._n_steps = ids.shape[1]

    def may_predict(self, step: int) -> bool:
        """Whether there is something to predict now, where `step` is the next to be coded."""
        return len(self._rows) < self._most and self.end < self._n_steps

    def predict(self, step: int) -> None:
        """Some steps more, in whatever thread; others may look meanwhile."""
        rows = next(self._forwards)
        self._rows.append(rows)
        self.end += rows.shape[1]

    def is_ready(self, step: int) -> bool:
        """Whether there are scores of this step."""
        return step < self.end

    def scores(self, step: int) -> Scores:
        """A row for each lane (L, symbols)."""
        return self._rows[0][:, step - self._start]

    def coded(self, step: int) -> None:
        """The ids of this step are known now."""
        if step + 1 == self._start + self._rows[0].shape[1]:
            self._rows.popleft()
            self._start = step + 1


class GuessingTeam:
    """All lanes of a block that is read, a few: what may come next is predicted in the calls that must be made."""

    def __init__(self, model: Model, memory: Predictor, ids: Ids, shape: Shape) -> None:
        n = shape.lanes
        self.lanes = slice(0, n)
        self.busy, self.end = False, 0  # one thread does all
        self._model, self._memory, self._ids, self._shape = model, memory, ids, shape
        state = model.open(n, shape.window, shape.threads)
        assert isinstance(state, ExactState)
        self._state = state
        self._guesser, self._costs = Guesser(n), Costs()
        self._start = self._end = self._n_before = 0  # steps of the window, and what of its positions comes before them
        self._places = np.arange(shape.window, dtype=np.int32)
        self._first = [0] * n  # the step of the first of its rows,
        self._until = [0] * n  # and the step up to which they hold: of a lane at its end, any
        self._ready = 0  # the least of these
        self._guesses: list[list[int]] = [[] for _ in range(n)]
        self._rows = [np.empty((0, 0), dtype=np.int16)] * n

    def may_predict(self, step: int) -> bool:
        """It is asked only where there are no scores."""
        return True

    def predict(self, step: int) -> None:
        if step == self._end:
            self._begin_window(step)
        self._look(step)
        self._ready = min(self._until)

    def is_ready(self, step: int) -> bool:
        return step < self._ready

    def scores(self, step: int) -> Scores:
        """A row for each lane (L, symbols)."""
        rows = [rows[min(step - first, len(rows) - 1)] for rows, first in zip(self._rows, self._first, strict=True)]
        return rows[0][None] if len(rows) == 1 else np.stack(rows)

    def _begin_window(self, step: int) -> None:
        self._last = _open_window(self._model, self._state, self._ids, step, self._shape.overlap)[:, 0].tolist()
        self._n_before = min(step, self._shape.overlap)
        self._start, self._end = step, step + self._shape.window - (self._shape.overlap if step else 0)

    def _look(self, step: int) -> None:
        """Predict this step where it is missing, and those that follow if the guesses are right."""
        began = time.perf_counter()
        missing = [lane for lane, until in enumerate(self._until) if until <= step]
        worth, most = self._costs.worth(len(missing)), min(MOST, self._end - 1 - step, self._ids.shape[1] - 1 - step)
        ids: list[int] = []
        for lane in missing:
            self._guesses[lane] = self._guesser.guess(lane, most, worth)
            ids += [self._last[lane], *self._guesses[lane]]
        counts = [1 + len(self._guesses[lane]) for lane in missing]
        position = self._n_before + step - self._start
        positions = [self._places[position : position + n] for n in counts]
        rows = self._state.look(
            np.array(ids, np.int32),
            np.repeat(np.array(missing, np.int32), counts),
            positions[0] if len(positions) == 1 else np.concatenate(positions),
        )
        for lane, n, end in zip(missing, counts, accumulate(counts), strict=True):
            self._rows[lane], self._first[lane], self._until[lane] = rows[end - n : end], step, step + n
        self._costs.add(len(ids), time.perf_counter() - began)

    def coded(self, step: int) -> None:
        """The ids of this step are known now."""
        self._last = self._ids[:, step].tolist()
        for lane, (token, goes_on) in enumerate(zip(self._last, self._memory.alive.tolist(), strict=True)):
            if self._until[lane] == sys.maxsize:
                continue
            self._guesser.see(lane, token)
            at = step - self._first[lane]
            if at < len(self._guesses[lane]) and self._guesses[lane][at] != token:
                self._until[lane] = step + 1
            if not goes_on:
                self._until[lane] = sys.maxsize
        self._ready = min(self._until)


def _forwards(model: Model, ids: Ids, shape: Shape, chunk: int) -> Iterator[Scores]:
    """Scores (L, up to `chunk` steps, symbols), each after the ids before it: known when it is asked for"""
    state = model.open(len(ids), shape.window, shape.threads)
    step = 0
    while step < ids.shape[1]:
        last = _open_window(model, state, ids, step, shape.overlap)
        end = min(ids.shape[1], step + shape.window - (shape.overlap if step else 0))
        while step < end:
            n_ahead = min(chunk, end - step)
            yield state.forward(np.concatenate([last, ids[:, step : step + n_ahead - 1]], axis=1))
            step += n_ahead
            last = ids[:, step - 1 : step]


def _open_window(model: Model, state: State, ids: Ids, step: int, overlap: int) -> Ids:
    """Start a window: the model's start token, then the last `overlap` tokens of each lane.

    Returns the id that is to be read next, (L, 1).
    """
    state.reset()
    start = np.full((len(ids), 1), model.start_id, dtype=np.int32)
    prompt = np.concatenate([start, ids[:, max(0, step - overlap) : step]], axis=1)
    if prompt.shape[1] > 1:
        state.prompt(prompt[:, :-1])
    return prompt[:, -1:]
