"""The core: a body to a payload and back, with a model or without, in the memory of its group.

One loop for both directions.

Knows protocols only: of models and tokenizers what `llmzip.models` and `llmzip.tokens` say, of the coder what
`llmzip.predictor` says.

With a model, the body is cut into L lanes of consecutive bytes that advance together; step t codes token t of every
lane that has one (format.md 6.2).
"""

import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from llmzip import workers
from llmzip.coding import Coding, CodingError
from llmzip.container import MAX_LANES, MAX_POSITIONS, MIN_WINDOW, Header
from llmzip.errors import FormatError, TruncatedError
from llmzip.guesser import MOST, Costs, Guesser
from llmzip.models import ExactState, Model, State
from llmzip.predictor import Predictor, Spelling
from llmzip.primitives import create_varint, parse_varint
from llmzip.tokens import Tokenizer

# rows of scores that an encoder asks for at a time: 25 MB at V = 49 152, and what the kernels take in one go
CHUNK_ROWS = 256
MAX_GUESSED = 7  # lanes up to which tokens are guessed: more keep the processor busy without
MIN_TEAM = 4  # lanes: with fewer, passing them from thread to thread takes longer than it saves
MAX_STRIDE = 4096  # bytes of a record
STEP = 1 << 13  # bytes coded in one go: between two, Ctrl-C is heard

Progress = Callable[[int], object]  # bytes of the body that are done

_spellings: "weakref.WeakKeyDictionary[Tokenizer, Spelling]" = weakref.WeakKeyDictionary()


def spelling_of(model: Model) -> Spelling:
    """Made once for each tokenizer: it sorts the vocabulary."""
    if model.tokenizer not in _spellings:
        _spellings[model.tokenizer] = Spelling(model.tokenizer.spelled, strong=model.strong)
    return _spellings[model.tokenizer]


# Without a model


def write_bytes(memory: Predictor, body: bytes, stride: int, progress: Progress | None = None) -> bytes:
    """The payload of a cm block: `stride`, what a record takes or 0 for text, and the code stream."""
    memory.write(body, stride=stride)
    _code_bytes(memory, len(body), progress)
    return create_varint(stride) + memory.payload()


def read_bytes(memory: Predictor, payload: bytes, n_bytes: int, progress: Progress | None = None) -> bytes:
    """The body of a cm block, of exactly `n_bytes`. Raises FormatError for what no writer writes."""
    try:
        stride, at = parse_varint(payload, 0, "the stride")
    except TruncatedError as error:
        raise FormatError("cm data is too short") from error
    if stride > MAX_STRIDE:
        raise FormatError(f"stride is {stride}, above {MAX_STRIDE}")
    memory.read(payload[at:], n_bytes, stride=stride)
    _code_bytes(memory, n_bytes, progress)
    return memory.body()


def _code_bytes(memory: Predictor, n_bytes: int, progress: Progress | None) -> None:
    for at in range(0, n_bytes, STEP):
        memory.code_bytes(min(STEP, n_bytes - at))
        if progress is not None:
            progress(memory.n_done)


# With a model


@dataclass(frozen=True)
class Shape:
    """How a body is coded with a model: its lanes and windows, and threads, which change no byte."""

    lanes: int
    window: int
    overlap: int
    threads: int = 1


def write_tokens(memory: Predictor, model: Model, body: bytes, shape: Shape, progress: Progress | None = None) -> bytes:
    """The payload of a model block: the code stream."""
    sizes = lane_sizes(len(body), shape.lanes)
    parts = tokenized(model, body, sizes)
    ids = np.zeros((shape.lanes, max(map(len, parts))), dtype=np.int32)
    for lane, part in enumerate(parts):
        ids[lane, : len(part)] = part
    memory.write(body, sizes, spelling_of(model))
    transcode(model, memory, ids, shape, known=True, progress=progress)
    return memory.payload()


def read_tokens(
    memory: Predictor, model: Model, payload: bytes, n_bytes: int, shape: Shape, progress: Progress | None = None
) -> bytes:
    """The body of a model block, of exactly `n_bytes`. Raises FormatError for what no writer writes."""
    sizes = lane_sizes(n_bytes, shape.lanes)
    # a token spells a byte or more; no memory before it is written
    ids = np.zeros((shape.lanes, max(sizes)), dtype=np.int32)
    memory.read(payload, n_bytes, sizes, spelling_of(model))
    transcode(model, memory, ids, shape, known=False, progress=progress)
    return memory.body()


def tokenized(model: Model, body: bytes, sizes: list[int]) -> list[NDArray[np.int32]]:
    """The ids of each lane, of so many bytes, as a reader finds them."""
    spelling, ends = spelling_of(model), np.cumsum(sizes).tolist()
    return [spelling.canonical(model.tokenizer.encode(body[end - n : end])) for end, n in zip(ends, sizes, strict=True)]


def lane_sizes(n_bytes: int, lanes: int) -> list[int]:
    """Bytes of each lane: n // L, one more for the first n mod L."""
    return [n_bytes // lanes + (lane < n_bytes % lanes) for lane in range(lanes)]


def transcode(
    model: Model,
    memory: Predictor,
    ids: NDArray[np.int32],
    shape: Shape,
    *,
    known: bool,
    progress: Progress | None = None,
) -> None:
    """Code every token of the open body, in (step, lane) order. Encoder and decoder run this very loop.

    `ids` (L, T): the tokens of each lane, `known`, or found step by step. With two threads and more, tokens that are
    known are predicted beside the coding of those before them; of others, the lanes are two teams: one is predicted
    while the other is coded. Of a few lanes, some tokens are guessed, and predicted with those that are known.
    """
    beside = shape.threads > 1 and model.exact and (known or shape.lanes >= 2 * MIN_TEAM)
    n_teams = 2 if beside and not known else 1
    with workers.beside() if beside else nullcontext() as executor:
        bounds = [shape.lanes * i // n_teams for i in range(n_teams + 1)]
        teams: list[_Team | _GuessingTeam]
        if known or not model.exact or shape.lanes > MAX_GUESSED or beside:
            teams = [_Team(model, ids, slice(*part), shape, known, executor) for part in pairwise(bounds)]
        else:
            teams = [_GuessingTeam(model, memory, ids, shape)]
        for step in range(ids.shape[1]):
            for team in teams:
                memory.code_step(team.scores(step), ids[team.lanes, step], team.lanes.start)
                team.coded(step)
            if progress is not None:
                progress(memory.n_done)
            if not memory.alive.any():
                return


class _Team:
    """Lanes of a block that are predicted together.

    Scores are asked for as soon as the ids are known that they follow.
    """

    def __init__(
        self, model: Model, ids: NDArray[np.int32], lanes: slice, shape: Shape, known: bool, executor: Executor | None
    ) -> None:
        self.lanes = lanes
        self._known, self._executor = known, executor
        # not exact: the same calls in both directions
        chunk = max(1, CHUNK_ROWS // shape.lanes) if known and model.exact else 1
        threads = max(1, shape.threads - 1) if executor is not None else shape.threads
        self._forwards = _forwards(model, ids[lanes], shape, chunk, threads)
        self._rows = np.empty((lanes.stop - lanes.start, 0, 0), dtype=np.int16)  # from the step _start on
        self._start = 0
        self._next: Future[NDArray[np.int16] | None] | None = None
        self._ask()

    def _ask(self) -> None:
        if self._executor is not None:
            self._next = self._executor.submit(self._forward)

    def _forward(self) -> NDArray[np.int16] | None:
        return next(self._forwards, None)

    def scores(self, step: int) -> NDArray[np.int16]:
        """A row for each lane (L, symbols)."""
        if step == self._start + self._rows.shape[1]:
            rows = self._next.result() if self._next is not None else self._forward()
            assert rows is not None
            self._rows, self._start, self._next = rows, step, None
        return self._rows[:, step - self._start]

    def coded(self, step: int) -> None:
        """The ids of this step are known now."""
        if self._next is None and (self._known or step + 1 == self._start + self._rows.shape[1]):
            self._ask()


class _GuessingTeam:
    """All lanes of a block that is read, a few: what may come next is predicted in the calls that must be made."""

    def __init__(self, model: Model, memory: Predictor, ids: NDArray[np.int32], shape: Shape) -> None:
        n = shape.lanes
        self.lanes = slice(0, n)
        self._model, self._memory, self._ids, self._shape = model, memory, ids, shape
        state = model.open(n, shape.window, shape.threads)
        assert isinstance(state, ExactState)
        self._state = state
        self._guesser, self._costs = Guesser(n), Costs()
        self._start = self._end = self._n_before = 0  # steps of the window, and what of its positions comes before them
        self._first = [0] * n  # the step of the first of its rows,
        self._until = [0] * n  # and the step up to which they hold
        self._guesses: list[list[int]] = [[] for _ in range(n)]
        self._rows = [np.empty((0, 0), dtype=np.int16)] * n

    def scores(self, step: int) -> NDArray[np.int16]:
        """A row for each lane (L, symbols)."""
        if step == self._end:
            self._begin_window(step)
        if missing := [i for i in np.flatnonzero(self._memory.alive).tolist() if self._until[i] <= step]:
            self._look(step, missing)
        rows = [rows[min(step - first, len(rows) - 1)] for rows, first in zip(self._rows, self._first, strict=True)]
        return rows[0][None] if len(rows) == 1 else np.stack(rows)

    def _begin_window(self, step: int) -> None:
        self._last = _open_window(self._model, self._state, self._ids, step, self._shape.overlap)[:, 0]
        self._n_before = min(step, self._shape.overlap)
        self._start, self._end = step, step + self._shape.window - (self._shape.overlap if step else 0)

    def _look(self, step: int, missing: list[int]) -> None:
        """Predict this step of these lanes, and those that follow if the guesses are right."""
        worth, most = self._costs.worth(len(missing)), min(MOST, self._end - 1 - step, self._ids.shape[1] - 1 - step)
        ids: list[int] = []
        for lane in missing:
            self._guesses[lane] = self._guesser.guess(lane, most, worth)
            ids += [int(self._last[lane]), *self._guesses[lane]]
        counts = [1 + len(self._guesses[lane]) for lane in missing]
        position = self._n_before + step - self._start
        positions = np.concatenate([np.arange(position, position + n, dtype=np.int32) for n in counts])
        began = time.perf_counter()
        rows = self._state.look(np.array(ids, np.int32), np.repeat(np.array(missing, np.int32), counts), positions)
        self._costs.add(len(ids), time.perf_counter() - began)
        for lane, n, end in zip(missing, counts, accumulate(counts), strict=True):
            self._rows[lane], self._first[lane], self._until[lane] = rows[end - n : end], step, step + n

    def coded(self, step: int) -> None:
        """The ids of this step are known now."""
        self._last = self._ids[:, step]
        for lane, token in enumerate(self._last.tolist()):
            if self._until[lane] > step:
                self._guesser.see(lane, token)
                at = step - self._first[lane]
                if at < len(self._guesses[lane]) and self._guesses[lane][at] != token:
                    self._until[lane] = step + 1


def _forwards(
    model: Model, ids: NDArray[np.int32], shape: Shape, chunk: int, threads: int
) -> Iterator[NDArray[np.int16]]:
    """Scores (L, up to `chunk` steps, symbols), each after the ids before it: known when it is asked for"""
    state = model.open(len(ids), shape.window, threads)
    step = 0
    while step < ids.shape[1]:
        last = _open_window(model, state, ids, step, shape.overlap)
        end = min(ids.shape[1], step + shape.window - (shape.overlap if step else 0))
        while step < end:
            n_ahead = min(chunk, end - step)
            yield state.forward(np.concatenate([last, ids[:, step : step + n_ahead - 1]], axis=1))
            step += n_ahead
            last = ids[:, step - 1 : step]


def _open_window(model: Model, state: State, ids: NDArray[np.int32], step: int, overlap: int) -> NDArray[np.int32]:
    """Start a window: the model's start token, then the last `overlap` tokens of each lane.

    Returns the id that is to be read next, (L, 1).
    """
    state.reset()
    start = np.full((len(ids), 1), model.start_id, dtype=np.int32)
    prompt = np.concatenate([start, ids[:, max(0, step - overlap) : step]], axis=1)
    if prompt.shape[1] > 1:
        state.prompt(prompt[:, :-1])
    return prompt[:, -1:]


def choose_lanes(n_bytes: int, window: int, lane_size: int = Coding.lane_size) -> int:
    """Lanes of about `lane_size` bytes for a block, from its size alone: never from this machine."""
    return max(1, min(-(-n_bytes // lane_size), MAX_POSITIONS // window, 256))


def coding_of(model: Model, window: int | None, overlap: int | None, lanes: int) -> tuple[int, int]:
    """Window and overlap with the model's defaults filled in, checked: they bound memory and time of both directions.

    Raises CodingError for lanes, window or overlap outside the format's limits or the model's.
    """
    if overlap is None:
        overlap = model.overlap if window is None else min(model.overlap, window // 4)
    window = model.window if window is None else window
    if not MIN_WINDOW <= window <= model.max_window:
        raise CodingError(f"window must be {MIN_WINDOW} to {model.max_window} tokens for {model.name}")
    if not 0 <= overlap <= window // 2:
        raise CodingError(f"overlap must be at most {window // 2}, half the window")
    most = min(MAX_LANES, MAX_POSITIONS // window)
    if not 1 <= lanes <= most:
        raise CodingError(f"lanes must be 1 to {most} with a window of {window}")
    return window, overlap


def memory_needed(header: Header, model: Model | None) -> int:
    """Bytes that decoding a model block takes at most beside the memory of its group.

    Ids and, if `model` is known, its positions and scores.
    """
    needed = 4 * (header.body_size + header.lanes)
    if model is not None:
        window = model.window if header.window is None else header.window
        n_steps = -(-header.body_size // header.lanes)
        needed += model.state_bytes(header.lanes, min(window, n_steps + 1)) + 8 * model.tokenizer.n_symbols
    return needed
