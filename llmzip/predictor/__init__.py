"""One predictor of bits: what a group of blocks has taught, contexts of bytes, matches, and a language model as one input (format.md, "Bits").

A `Predictor` is the memory of a group: it codes one body after another, each going on from what those before have taught. `native` computes;
without it, `reference` does, with the same integers, slowly.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from llmzip import native
from llmzip.predictor.prior import Prior, load
from llmzip.predictor.spelling import Spelling

__all__ = ["Predictor", "Spelling"]

STEP = 1 << 13  # bytes coded in one go: between two, Ctrl-C is heard


class Engine(Protocol):
    """One body at a time: `open`, then `code_bytes` or `code_step` until all lanes are `done`, then `payload` or `body`."""

    def open(self, sizes: list[int], *, with_model: bool, stride: int, body: bytes | None, payload: bytes | None) -> None: ...
    def code_bytes(self, n: int) -> None: ...
    def code_step(self, scores: NDArray[np.int16], ids: NDArray[np.int32]) -> None: ...
    def done(self) -> NDArray[np.int64]: ...
    def payload(self) -> bytes: ...
    def body(self) -> bytes: ...


class Predictor:
    """The adaptive coder of a group of at most `capacity` bytes, with 2^line_bits lines of 64 bytes.

    `strong`: the model is much better than the bundled one, on which the first weights were fitted; `prior`: others than those that are carried.

    A writer gives each body, a reader its payload; both then call `code_bytes` or `code_step` in the same order. `stride` is what the
    records of a body take, 0 for text. FormatError for a payload that no writer writes.
    """

    def __init__(self, capacity: int, line_bits: int, spelling: Spelling | None = None, *, strong: bool = False, prior: Prior | None = None) -> None:
        self.spelling, prior = spelling, prior or load(strong)
        if native.library is not None:
            from llmzip.predictor.fused import Fused

            self._engine: Engine = Fused(capacity, line_bits, spelling, prior)
        else:
            from llmzip.predictor.reference import Reference

            self._engine = Reference(capacity, line_bits, spelling, prior)

    def write(self, body: bytes, lanes: list[int] | None = None, *, stride: int = 0) -> None:
        """Open a body to be written; `lanes`: with the model, the bytes of each lane."""
        self._open(lanes or [len(body)], lanes is not None, stride, body, None)

    def read(self, payload: bytes, n_bytes: int, lanes: list[int] | None = None, *, stride: int = 0) -> None:
        """Open a body to be read."""
        self._open(lanes or [n_bytes], lanes is not None, stride, None, payload)

    def _open(self, sizes: list[int], with_model: bool, stride: int, body: bytes | None, payload: bytes | None) -> None:
        self._left = np.array(sizes, dtype=np.int64)
        self._sizes = self._left.copy()
        self._engine.open(sizes, with_model=with_model, stride=stride, body=body, payload=payload)

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Which lanes have not come to their end."""
        alive: NDArray[np.bool_] = self._engine.done() < self._sizes
        return alive

    @property
    def n_done(self) -> int:
        """Bytes of the body that are coded."""
        return int(self._engine.done().sum())

    def code_bytes(self, n: int) -> None:
        """Code the next n bytes of a body without a model."""
        self._engine.code_bytes(n)

    def code_step(self, scores: NDArray[np.int16], ids: NDArray[np.int32]) -> None:
        """Code a token for each lane that has not come to its end, from a row of scores for each lane (L, symbols).

        `ids` (L,): a writer's tokens, canonical ones; a reader finds them there afterwards.
        """
        self._engine.code_step(scores, ids)

    def payload(self) -> bytes:
        """What a writer wrote."""
        return self._engine.payload()

    def body(self) -> bytes:
        """What a reader found."""
        return self._engine.body()
