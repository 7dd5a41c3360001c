"""What a model makes of a text, block by block: by itself, and with all that the predictor learns beside it."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmzip import codec, native
from llmzip.container import line_bits_of
from llmzip.explain.watching import UNIT_BITS, Watched
from llmzip.models import Model, State
from llmzip.teams import CHUNK_ROWS, Shape
from llmzip.tokens import places_of

BLOCK_SIZE = 1024  # bytes of text whose bits are summed: what the bootstrap draws


@dataclass(frozen=True)
class Score:
    """Bits of the blocks of a text, the last of which may be short."""

    model: str
    text: str
    n_bytes: int
    n_tokens: int
    coded: NDArray[np.float64]  # with contexts and matches, as in a file but for headers and checks
    alone: NDArray[np.float64]  # by the model alone, with the same windows
    harness: float | None  # bits of all, with the windows of lm-evaluation-harness; None: not asked for
    seconds: float  # of `coded` and `alone` together

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Bytes of each block."""
        starts = np.arange(0, self.n_bytes, BLOCK_SIZE)
        return np.minimum(BLOCK_SIZE, self.n_bytes - starts)


def score(
    model: Model, name: str, data: bytes, *, harness: bool = False, progress: Callable[[int], object] | None = None
) -> Score:
    """In one lane, from the first byte to the last, with the window and overlap of the model."""
    began = time.perf_counter()
    watched = Watched(line_bits_of(len(data)))
    watched.detailed = np.zeros(len(data), dtype=np.bool_)
    codec.write_tokens(
        watched, model, data, Shape(1, model.window, model.overlap, native.clip_threads(model.threads)), progress
    )
    tokens, starts = watched.spent.tokens(), np.arange(0, len(data), BLOCK_SIZE)
    assert tokens is not None
    coded = (watched.spent.costs + watched.spent.ends.astype(np.int64)) / (1 << UNIT_BITS)
    alone = np.zeros(len(data))
    alone[tokens.starts] = -np.log2(tokens.alone)
    seconds = time.perf_counter() - began
    found = harness_bits(model, data) if harness else None
    return Score(
        model.name,
        name,
        len(data),
        len(tokens.ids),
        np.add.reduceat(coded, starts),
        np.add.reduceat(alone, starts),
        found,
        seconds,
    )


def rolling_windows(ids: NDArray[np.int32], start_id: int, window: int) -> Iterator[tuple[NDArray[np.int32], int]]:
    """What lm-evaluation-harness shows a model for loglikelihood_rolling: ids, and how many of the last predict.

    The first window begins with the start token; each other one begins with what stands before it, the last one further
    back, so that it is full.
    """
    n = min(window, len(ids))
    yield np.concatenate([[start_id], ids[: n - 1]]).astype(np.int32), n
    while n < len(ids):
        new = min(window, len(ids) - n)
        n += new
        yield ids[n - window - 1 : n - 1], new


def harness_bits(model: Model, data: bytes, window: int | None = None) -> float:
    """Bits of the text by lm-evaluation-harness's definition: each token is predicted once, and nothing is learnt."""
    window = window or model.window
    [ids] = codec.tokenized(model, data, [len(data)])
    places = places_of(model.tokenizer.entries, model.tokenizer.n_symbols)
    state, bits, done = model.open(1, window), 0.0, 0
    for inputs, n in rolling_windows(ids, model.start_id, window):
        state.reset()
        if len(inputs) > n:
            state.prompt(inputs[None, : len(inputs) - n])
        for scores in _scores(model, state, inputs[len(inputs) - n :]):
            wanted = places[ids[done : done + len(scores)]]
            logarithms = scores.astype(np.float64) / 256
            bits += float((np.log2(np.exp2(logarithms).sum(axis=1)) - logarithms[np.arange(len(scores)), wanted]).sum())
            done += len(scores)
    return bits


def _scores(model: Model, state: State, ids: NDArray[np.int32]) -> Iterator[NDArray[np.int16]]:
    chunk = CHUNK_ROWS if model.exact else 1
    for at in range(0, len(ids), chunk):
        yield state.forward(ids[None, at : at + chunk])[0]
