"""The core: a body to a payload and back, with a model or without, in the memory of its group.

One loop for both directions.

Knows protocols only: of models and tokenizers what `llmzip.models` and `llmzip.tokens` say, of the coder what
`llmzip.predictor` says.

With a model, the body is cut into L lanes of consecutive bytes that advance together; step t codes token t of every
lane that has one (format.md 6.2).
"""

import weakref

import numpy as np
from numpy.typing import NDArray

from llmzip.coding import Coding, CodingError
from llmzip.container import MAX_LANES, MAX_POSITIONS, MIN_WINDOW, Header
from llmzip.errors import FormatError, TruncatedError
from llmzip.models import Model
from llmzip.predictor import Predictor, Spelling
from llmzip.primitives import create_varint, parse_varint
from llmzip.teams import Progress, Shape, transcode
from llmzip.tokens import Tokenizer

MAX_STRIDE = 1 << 16  # bytes of a record
STEP = 1 << 13  # bytes coded in one go: between two, Ctrl-C is heard

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
