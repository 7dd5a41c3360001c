"""One predictor of bits (format.md 7).

It knows what a group of blocks has taught, contexts of bytes, matches, and a language model as one input. A `Predictor`
is the memory of a group: it codes one body after another, each going on from what those before have taught. `native`
computes; without it, `reference` does, with the same integers, slowly.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from llmzip import native
from llmzip.predictor import tables
from llmzip.predictor.prior import Prior, load
from llmzip.predictor.spelling import Spelling

__all__ = ["Predictor", "Spelling", "memory_needed"]


class Engine(Protocol):
    """One body at a time: `open`, `code_bytes` or `code_step` until all lanes are `done`, then `payload` or `body`."""

    def open(
        self, sizes: list[int], spelling: Spelling | None, stride: int, body: bytes | None, payload: bytes | None
    ) -> None: ...
    def code_bytes(self, n: int) -> None: ...
    def code_step(self, scores: NDArray[np.int16], ids: NDArray[np.int32], first: int) -> None: ...
    def done(self) -> NDArray[np.int64]: ...
    def n_written(self) -> int: ...
    def payload(self) -> bytes: ...
    def body(self) -> bytes: ...
    def record(self) -> None: ...
    def recorded(self) -> NDArray[np.void]: ...


def memory_needed(line_bits: int) -> int:
    """Bytes of what a group learns, beside its bodies."""
    apms = (tables.APMS + tables.MODEL_APMS) * tables.BUCKETS * 4 << tables.APM_BITS
    matches = tables.MATCHES * 4 << tables.LATEST_BITS
    return (80 << line_bits) + (8 << tables.end_bits(line_bits)) + apms + matches + (24 << 20)


class Predictor:
    """The adaptive coder of a group, with 2^line_bits lines of 64 bytes.

    A writer gives each body, a reader its payload; both then call `code_bytes` or, with a model, `code_step` in the
    same order.
    """

    def __init__(self, line_bits: int, prior: Prior | None = None) -> None:
        prior = prior or load()
        if native.library is not None:
            from llmzip.predictor.fused import Fused

            self._engine: Engine = Fused(line_bits, prior)
        else:
            from llmzip.predictor.reference import Reference

            self._engine = Reference(line_bits, prior)

    def write(
        self, body: bytes, lanes: list[int] | None = None, spelling: Spelling | None = None, *, stride: int = 0
    ) -> None:
        """Open a body to be written.

        With the spelling of a model: the bytes of each lane; without: what its records take, 0 for text.
        """
        self._open(lanes or [len(body)], spelling, stride, body, None)

    def read(
        self,
        payload: bytes,
        n_bytes: int,
        lanes: list[int] | None = None,
        spelling: Spelling | None = None,
        *,
        stride: int = 0,
    ) -> None:
        """Open a body to be read. FormatError, while it is coded, for a payload that no writer writes."""
        self._open(lanes or [n_bytes], spelling, stride, None, payload)

    def _open(
        self, sizes: list[int], spelling: Spelling | None, stride: int, body: bytes | None, payload: bytes | None
    ) -> None:
        self._sizes = np.array(sizes, dtype=np.int64)
        self._engine.open(sizes, spelling, stride, body, payload)

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Which lanes have not come to their end."""
        alive: NDArray[np.bool_] = self._engine.done() < self._sizes
        return alive

    @property
    def n_done(self) -> int:
        """Bytes of the body that are coded."""
        return int(self._engine.done().sum())

    @property
    def n_written(self) -> int:
        """Bytes that a writer has put out so far: a few less than what they will come to."""
        return self._engine.n_written()

    def code_bytes(self, n: int) -> None:
        """Code the next n bytes of a body without a model."""
        self._engine.code_bytes(n)

    def code_step(self, scores: NDArray[np.int16], ids: NDArray[np.int32], first: int = 0) -> None:
        """Code a token for each lane, from the first on, that has not come to its end.

        `scores` (L, symbols): a row for each lane.
        `ids` (L,): a writer's tokens, canonical ones; a reader finds them there afterwards.
        """
        self._engine.code_step(scores, ids, first)

    def payload(self) -> bytes:
        """What a writer wrote."""
        return self._engine.payload()

    def body(self) -> bytes:
        """What a reader found."""
        return self._engine.body()

    def record(self) -> None:
        """From now on, say what has been decided. It costs time, and changes no byte."""
        self._engine.record()

    def recorded(self) -> NDArray[np.void]:
        """The decisions of the last call of `code_bytes` or `code_step`, in their order.

        Each is a `recording.RECORD`; `at`: in the body.
        """
        return self._engine.recorded()
