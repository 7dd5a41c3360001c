"""The core: a body to a payload and back, with a model or without, in the memory of its group. One loop for both directions.

Knows protocols only: of models and tokenizers what `llmzip.models` and `llmzip.tokens` say, of the coder what `llmzip.predictor` says.

With a model, the body is cut into L lanes of consecutive bytes that advance together; step t codes token t of every lane that has one
(format.md 6.2).
"""

import weakref
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from llmzip.container import MAX_LANES, MAX_POSITIONS, MIN_WINDOW, Header, create_varint, parse_varint
from llmzip.errors import FormatError, TruncatedError
from llmzip.models import Model, State
from llmzip.predictor import Predictor, Spelling
from llmzip.tokens import Tokenizer

LANE_SIZE = 16384  # bytes; a cold start costs some 150 bits: under 1 % of what a lane of this size takes (lab-log.md)
CHUNK_ROWS = 256  # rows of scores that an encoder asks for at a time: 25 MB at V = 49 152, and what the kernels take in one go
MAX_STRIDE = 4096  # bytes of a record
STEP = 1 << 13  # bytes coded in one go: between two, Ctrl-C is heard

Progress = Callable[[int], object]  # bytes of the body that are done

_spellings: "weakref.WeakKeyDictionary[Tokenizer, Spelling]" = weakref.WeakKeyDictionary()


def spelling_of(tokenizer: Tokenizer) -> Spelling:
    """Made once for each tokenizer: it sorts the vocabulary."""
    if tokenizer not in _spellings:
        _spellings[tokenizer] = Spelling(tokenizer.spelled)
    return _spellings[tokenizer]


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


def write_tokens(
    memory: Predictor, model: Model, body: bytes, lanes: int, window: int, overlap: int, progress: Progress | None = None
) -> bytes:
    """The payload of a model block: the code stream."""
    spelling = spelling_of(model.tokenizer)
    sizes = lane_sizes(len(body), lanes)
    ends = np.cumsum(sizes).tolist()
    parts = [spelling.canonical(model.tokenizer.encode(body[end - n : end])) for end, n in zip(ends, sizes, strict=True)]
    ids = np.full((lanes, max(map(len, parts))), model.start_id, dtype=np.int32)
    for lane, part in enumerate(parts):
        ids[lane, : len(part)] = part
    memory.write(body, sizes, spelling)
    transcode(model, memory, ids, window, overlap, chunk=max(1, CHUNK_ROWS // lanes) if model.exact else 1, progress=progress)
    return memory.payload()


def read_tokens(
    memory: Predictor,
    model: Model,
    payload: bytes,
    n_bytes: int,
    lanes: int,
    window: int,
    overlap: int,
    progress: Progress | None = None,
) -> bytes:
    """The body of a model block, of exactly `n_bytes`. Raises FormatError for what no writer writes."""
    sizes = lane_sizes(n_bytes, lanes)
    ids = np.zeros((lanes, max(sizes)), dtype=np.int32)  # a token spells a byte or more; no memory before it is written
    memory.read(payload, n_bytes, sizes, spelling_of(model.tokenizer))
    transcode(model, memory, ids, window, overlap, chunk=1, progress=progress)
    return memory.body()


def lane_sizes(n_bytes: int, lanes: int) -> list[int]:
    """Bytes of each lane: n // L, one more for the first n mod L."""
    return [n_bytes // lanes + (lane < n_bytes % lanes) for lane in range(lanes)]


def transcode(
    model: Model,
    memory: Predictor,
    ids: NDArray[np.int32],
    window: int,
    overlap: int,
    *,
    chunk: int,
    progress: Progress | None = None,
) -> None:
    """Code every token of the open body, in (step, lane) order. Encoder and decoder run this very loop.

    `ids` (L, T): the tokens of each lane, known, or found step by step; scores are asked for `chunk` steps at a time, as far as they are known.
    """
    state = model.open(len(ids), window)
    step = 0
    while memory.alive.any():
        last = _open_window(model, state, ids, step, overlap)
        end = min(ids.shape[1], step + window - (overlap if step else 0))
        while step < end and memory.alive.any():
            n_ahead = min(chunk, end - step)
            scores = state.forward(np.concatenate([last, ids[:, step : step + n_ahead - 1]], axis=1))
            for ahead in range(n_ahead):
                found = ids[:, step].copy()
                memory.code_step(scores[:, ahead], found)
                ids[:, step] = found
                step += 1
            last = ids[:, step - 1 : step]
            if progress is not None:
                progress(memory.n_done)


def _open_window(model: Model, state: State, ids: NDArray[np.int32], step: int, overlap: int) -> NDArray[np.int32]:
    """Start a window: the model's start token, then the last `overlap` tokens of each lane. Returns the id that is to be read next, (L, 1)."""
    state.reset()
    start = np.full((len(ids), 1), model.start_id, dtype=np.int32)
    prompt = np.concatenate([start, ids[:, max(0, step - overlap) : step]], axis=1)
    if prompt.shape[1] > 1:
        state.prompt(prompt[:, :-1])
    return prompt[:, -1:]


def choose_lanes(n_bytes: int, window: int, lane_size: int = LANE_SIZE) -> int:
    """Lanes of about `lane_size` bytes for a block, from its size alone: never from this machine."""
    return max(1, min(-(-n_bytes // lane_size), MAX_POSITIONS // window, 256))


def coding_of(model: Model, window: int | None, overlap: int | None, lanes: int) -> tuple[int, int]:
    """Window and overlap with the model's defaults filled in, checked: they bound memory and time of both directions.

    Raises ValueError for lanes, window or overlap outside the format's limits or the model's.
    """
    if overlap is None:
        overlap = model.overlap if window is None else min(model.overlap, window // 4)
    window = model.window if window is None else window
    if not MIN_WINDOW <= window <= model.max_window:
        raise ValueError(f"window must be {MIN_WINDOW} to {model.max_window} tokens for {model.name}")
    if not 0 <= overlap <= window // 2:
        raise ValueError(f"overlap must be at most {window // 2}, half the window")
    most = min(MAX_LANES, MAX_POSITIONS // window)
    if not 1 <= lanes <= most:
        raise ValueError(f"lanes must be 1 to {most} with a window of {window}")
    return window, overlap


def memory_needed(header: Header, model: Model | None) -> int:
    """Bytes that decoding a model block takes at most beside the memory of its group: ids and, if `model` is known, its positions and scores."""
    needed = 4 * (header.body_size + header.lanes)
    if model is not None:
        window = model.window if header.window is None else header.window
        n_steps = -(-header.body_size // header.lanes)
        needed += model.state_bytes(header.lanes, min(window, n_steps + 1)) + 8 * model.tokenizer.n_symbols
    return needed
