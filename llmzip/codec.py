"""The core: one block of bytes to a model block and back, by one loop for both directions.

Knows protocols only: of models and tokenizers what `llmzip.models` and `llmzip.tokens` say, of coders what `llmzip.mixing` says.

L lanes of consecutive tokens advance together; step t codes token t of every lane that has one (format.md 6.2).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from llmzip.container import MAX_LANES, MAX_POSITIONS, MIN_WINDOW, MODEL, Block, Header, content_check, stored_block
from llmzip.errors import ChecksumError, FormatError, UnsupportedError
from llmzip.mixing import Coder, Mixer
from llmzip.models import Model, State
from llmzip.rangecoder import Decoder, Encoder

LANE_SIZE = 16384  # bytes; a cold start costs some 150 bits: under 1 % of what a lane of this size takes (lab-log.md)
ADAPTIVE_SIZE = 6 * (32 << 18) + (4 << 20) + (33 * 4 << 16) + (4 << 18) + (1 << 20)  # bytes: successors, biases, refining, matches, weights
CHUNK_ROWS = 256  # rows of scores that an encoder asks for at a time: 25 MB at V = 49 152, and what the kernels take in one go

Progress = Callable[[int], object]


class Lanes:
    """The ids of a block as (L, T), known beforehand or found step by step, and when to stop.

    `n_tokens` None: one lane, which ends when its ids spell `n_bytes` bytes. Each id spells a byte or more.
    """

    def __init__(self, ids: NDArray[np.int32], n_tokens: int | None, model: Model, n_bytes: int) -> None:
        self.ids = ids
        self.n_tokens = n_tokens
        self.n_bytes = n_bytes
        self._size = model.tokenizer.size
        self._found_tokens = self._found_bytes = 0

    @classmethod
    def cut(cls, tokens: NDArray[np.int32], lanes: int, model: Model, n_bytes: int) -> "Lanes":
        """Lanes that are known: N // L tokens each, one more for the first N mod L."""
        lanes_ids = np.full((lanes, -(-len(tokens) // lanes)), model.start_id, dtype=np.int32)
        for lane, part in enumerate(_split(tokens, lanes)):
            lanes_ids[lane, : len(part)] = part
        return cls(lanes_ids, len(tokens), model, n_bytes)

    @classmethod
    def blank(cls, lanes: int, n_tokens: int | None, model: Model, n_bytes: int) -> "Lanes":
        """Lanes to be found. A token spells at least one byte, so a lane has at most `n_bytes` of them."""
        n_steps = n_bytes if n_tokens is None else -(-n_tokens // lanes)
        return cls(np.zeros((lanes, n_steps), dtype=np.int32), n_tokens, model, n_bytes)  # no memory before it is written

    def alive(self, step: int) -> int:
        """How many lanes have a token at this step: all, the first few, or none."""
        lanes = len(self.ids)
        if self.n_tokens is None:
            return int(self._found_bytes < self.n_bytes)
        return min(lanes, max(0, self.n_tokens - step * lanes))

    def put(self, symbols: NDArray[np.int32]) -> None:
        """Count the symbols of a step, which are in `ids` already. FormatError as soon as they cannot be those of the block."""
        self._found_tokens += len(symbols)
        self._found_bytes += self._size(symbols)
        to_come = 0 if self.n_tokens is None else self.n_tokens - self._found_tokens
        if self._found_bytes + to_come > self.n_bytes:
            raise FormatError("the code stream spells more bytes than the block has")

    def done_bytes(self, step: int) -> int:
        """Bytes done, for a progress display."""
        if self.n_tokens is None:
            return self._found_bytes
        return self.n_bytes * min(step * len(self.ids), self.n_tokens) // self.n_tokens

    def joined(self, n_steps: int) -> NDArray[np.int32]:
        """All tokens in their order in the block."""
        n_tokens = n_steps if self.n_tokens is None else self.n_tokens
        lanes = len(self.ids)
        return np.concatenate([self.ids[i, : (n_tokens - i + lanes - 1) // lanes] for i in range(lanes)])


def _split(tokens: NDArray[np.int32], lanes: int) -> list[NDArray[np.int32]]:
    return list(np.array_split(tokens, lanes))  # the first N mod L parts are one longer


def transcode(
    model: Model,
    coder: Coder,
    lanes: Lanes,
    window: int,
    overlap: int,
    *,
    plain: bool = False,
    progress: Progress | None = None,
) -> int:
    """Code every token of the lanes, in (step, lane) order; return the number of steps. Encoder and decoder run this very loop."""
    state = model.open(len(lanes.ids), window)
    mixer = Mixer(lanes.ids, model.tokenizer.line_ends, plain=plain, threads=model.threads)
    chunk = coder.chunk if model.exact else 1
    step = 0
    while lanes.alive(step):
        last = _open_window(model, state, lanes.ids, step, overlap)
        end = min(lanes.ids.shape[1], step + window - (overlap if step else 0))
        while step < end and lanes.alive(step):
            n_ahead = min(chunk, end - step)
            scores = state.forward(np.concatenate([last, lanes.ids[:, step : step + n_ahead - 1]], axis=1))
            for ahead in range(n_ahead):
                alive = lanes.alive(step)
                lanes.put(mixer.code(scores[:alive, ahead], step, coder))
                step += 1
            last = lanes.ids[:, step - 1 : step]
            if progress is not None:
                progress(lanes.done_bytes(step))
    return step


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


def compress_block(
    model: Model,
    data: bytes,
    *,
    lanes: int | None = None,
    lane_size: int = LANE_SIZE,
    window: int | None = None,
    overlap: int | None = None,
    plain: bool = False,
    progress: Progress | None = None,
) -> Block:
    """The smaller of a model block and a stored block for these bytes. `plain`: without the adaptive layer.

    Raises ValueError for lanes, window or overlap outside the format's limits or the model's.
    """
    window, overlap = _coding(model, window, overlap, 1 if lanes is None else lanes)
    if not data:
        return stored_block(data)
    tokens = model.tokenizer.encode(data)
    n_lanes = min(lanes or choose_lanes(len(data), window, lane_size), len(tokens))
    encoder = Encoder(chunk=max(1, CHUNK_ROWS // n_lanes))
    transcode(model, encoder, Lanes.cut(tokens, n_lanes, model, len(data)), window, overlap, plain=plain, progress=progress)
    payload = encoder.payload()
    if len(payload) >= len(data):
        return stored_block(data)
    default = (window, overlap) == (model.window, model.overlap)
    return Block(
        kind=MODEL,
        n_bytes=len(data),
        payload=payload,
        content_check=content_check(data),
        lanes=n_lanes,
        n_tokens=len(tokens) if n_lanes > 1 else None,
        window=None if default else window,
        overlap=None if default else overlap,
        plain=plain,
    )


def memory_needed(header: Header, model: Model | None) -> int:
    """Bytes that decoding a model block takes at most: ids, the adaptive layer, and, if `model` is known, its positions and scores."""
    n_tokens = header.body_size if header.n_tokens is None else header.n_tokens
    needed = 8 * (n_tokens + header.lanes) + (0 if header.plain else ADAPTIVE_SIZE)
    if model is not None:
        window = model.window if header.window is None else header.window
        needed += model.state_bytes(header.lanes, min(window, -(-n_tokens // header.lanes) + 1))
        needed += 16 * header.lanes * model.tokenizer.n_symbols  # scores and weights
    return needed


def decode_block(model: Model, block: Block, progress: Progress | None = None) -> bytes:
    """What a model block codes, `n_bytes` of it. Comparing it with the content check is for the caller.

    Raises FormatError, or ChecksumError for another number of bytes, where the payload is not what was written.
    """
    try:
        window, overlap = _coding(model, block.window, block.overlap, block.lanes)
    except ValueError as error:
        raise UnsupportedError(str(error)) from error
    lanes = Lanes.blank(block.lanes, block.n_tokens, model, block.n_bytes)
    n_steps = transcode(model, Decoder(block.payload), lanes, window, overlap, plain=block.plain, progress=progress)
    tokens = lanes.joined(n_steps)
    if model.tokenizer.size(tokens) != block.n_bytes:
        raise ChecksumError("the decoded bytes are not the ones that were compressed")
    return model.tokenizer.decode(tokens)


def _coding(model: Model, window: int | None, overlap: int | None, lanes: int) -> tuple[int, int]:
    """Window and overlap with the model's defaults filled in, checked: they bound memory and time of both directions."""
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
