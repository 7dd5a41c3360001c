"""The payload of cm blocks: context mixing over bytes, without a model (docs/format.md 3.5).

For what no language model knows: pictures, programs, tables of numbers, scripts that the vocabulary spells byte by byte. `native` computes;
without it, `reference` does, with the same integers, slowly.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from llmzip import native
from llmzip.cm import tables
from llmzip.container import create_varint, parse_varint
from llmzip.errors import FormatError, TruncatedError
from llmzip.rangecoder import Encoder

MAX_STRIDE = 4096  # bytes of a record
SAMPLE_SIZE = 1 << 14  # bytes that the stride is chosen on
HOPELESS = 1.004  # coded share of a sample above which there is nothing to learn: noise takes 1.0085, a JPEG 1.000
STEP = 1 << 13  # bytes coded in one go: between two, Ctrl-C is heard

Progress = Callable[[int], object]


class Engine(Protocol):
    """Codes the bytes of its `data` from the first to the last."""

    def write(self, n: int, encoder: Encoder) -> None: ...
    def read(self, n: int) -> None: ...


def create_payload(body: bytes, *, thorough: bool = True, progress: Progress | None = None) -> bytes:
    """Code `body`: as text, or, if `thorough`, by the records that a sample shows it to have."""
    sample = _sample(body)
    stride = min(_strides(sample), key=lambda stride: len(_code_of_sample(sample, stride))) if thorough else 0
    code = _code_of_sample(sample, stride) if sample == body else _encode(body, stride, progress)
    return create_varint(stride) + code


def is_hopeless(body: bytes) -> bool:
    """Whether a sample says that nothing is to be gained: encrypted, or compressed already."""
    sample = _sample(body)
    return len(_code_of_sample(sample, 0)) > HOPELESS * len(sample)


def is_better(changed: bytes, body: bytes) -> bool:
    """Whether a sample says that a body is coded smaller when changed so, in bytes where they are."""
    return len(_code_of_sample(_sample(changed), 0)) < len(_code_of_sample(_sample(body), 0))


def parse_payload(payload: bytes, n_bytes: int, progress: Progress | None = None) -> bytes:
    """The body, of exactly `n_bytes`. Raises FormatError for what no encoder writes."""
    try:
        stride, at = parse_varint(payload, 0, "the stride")
    except TruncatedError as error:
        raise FormatError("cm data is too short") from error
    if stride > MAX_STRIDE:
        raise FormatError(f"stride is {stride}, above {MAX_STRIDE}")
    buffer, data = _blank(n_bytes, stride)
    engine = _engine(buffer, data, stride, payload[at:])
    for step in range(0, n_bytes, STEP):
        engine.read(min(STEP, n_bytes - step))
        if progress is not None:
            progress(min(n_bytes, step + STEP))
    return data.tobytes()


def table_bits(n_bytes: int) -> int:
    """Logarithm of the lines of a context: some two for each byte, 32 MB at most."""
    return min(19, max(10, n_bytes.bit_length()))


def memory_needed(n_bytes: int) -> int:
    """Bytes of what is learnt of so long a body: its lines, and the tables that do not grow with it."""
    lines = tables.CONTEXTS * 64 << table_bits(n_bytes)
    return lines + (33 * 4 << tables.REFINING_BITS) + (4 << tables.LATEST_BITS) + (1 << 20)


def _sample(body: bytes) -> bytes:
    """The middle of `body`, or all of it."""
    start = max(0, len(body) - SAMPLE_SIZE) // 2
    return body[start : start + SAMPLE_SIZE]


@lru_cache(maxsize=8)
def _code_of_sample(sample: bytes, stride: int) -> bytes:
    """Kept for a while: what is worth trying, what helps and which stride is best are all asked of the same sample."""
    return _encode(sample, stride)


def _strides(sample: bytes) -> list[int]:
    """None, what numbers mostly take, and the distances at which most bytes are the same."""
    data = np.frombuffer(sample, np.uint8)
    distances = np.arange(2, min(1024, len(data) // 4))
    same = np.array([np.count_nonzero(data[d:] == data[:-d]) / (len(data) - d) for d in distances])
    likely = distances[np.argsort(-same, kind="stable")[:2]].tolist()
    return list(dict.fromkeys([0, 4, *likely]))


def _encode(body: bytes, stride: int, progress: Progress | None = None) -> bytes:
    buffer, data = _blank(len(body), stride)
    data[:] = np.frombuffer(body, np.uint8)
    engine, encoder = _engine(buffer, data, stride, None), Encoder()
    for step in range(0, len(body), STEP):
        engine.write(min(STEP, len(body) - step), encoder)
        if progress is not None:
            progress(min(len(body), step + STEP))
    return encoder.payload()


def _blank(n_bytes: int, stride: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Room for a body, and for the zeros before it that contexts look back to: all, and the body's part."""
    before = max(8, 2 * stride)
    buffer = np.zeros(before + n_bytes, dtype=np.uint8)
    return buffer, buffer[before:]


def _engine(buffer: NDArray[np.uint8], data: NDArray[np.uint8], stride: int, payload: bytes | None) -> Engine:
    if native.library is not None:
        from llmzip.cm.fused import Fused

        return Fused(data, stride, table_bits(len(data)), payload)
    from llmzip.cm.reference import Reference

    return Reference(data, stride, table_bits(len(data)), payload)
