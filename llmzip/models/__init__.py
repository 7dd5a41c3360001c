"""What the codec asks of a model. Concrete models are in the modules beside; the codec sees only these protocols."""

from __future__ import annotations  # numpy is for the annotations only: `llmzip info` must not import it

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llmzip.tokens import Tokenizer

SCORE_UNIT = 256  # scores are in 1/256 bit
STRONG = 1 << 25  # weights of a model, above which what is learnt while coding is worth less than what it says
ESCAPE_SCORE = -4096  # 2^-16 of the best symbol for each byte that the vocabulary lacks
LOWEST_SCORE = -32768  # int16


class Engine(StrEnum):
    """What runs a model."""

    exact = "exact"
    transformers = "transformers"


class State(Protocol):
    """The memory of L lanes that advance together. All lanes are at the same position."""

    def reset(self) -> None:
        """Forget everything: the next id is at position 0."""
        ...

    def prompt(self, ids: NDArray[np.int32]) -> None:
        """Read ids of shape (L, C) without giving scores."""
        ...

    def forward(self, ids: NDArray[np.int32]) -> NDArray[np.int16]:
        """Read ids of shape (L, C); return scores (L, C, entries) int16 for the symbol after each of them.

        In the order of the tokenizer's `entries`, in units of 1/256 bit, the best of each row 0, the others negative
        (format.md 6.1). A new array each time.
        """
        ...


@runtime_checkable
class ExactState(State, Protocol):
    """That of an exact model: places may be read in any number of calls, and read again."""

    def look(self, ids: NDArray[np.int32], lanes: NDArray[np.int32], positions: NDArray[np.int32]) -> NDArray[np.int16]:
        """Read a token at each of these places (n,); return scores (n, entries) as `forward` does.

        What comes before a place in its lane has been read, or is among them, in order. A token that was read there
        before is forgotten. Whoever looks keeps count of positions: `prompt` and `forward` then need a reset.
        """
        ...


class Model(Protocol):
    """A causal language model with its tokenizer."""

    name: str
    fingerprint: bytes  # 32 bytes; what it covers is in docs/exactness.md
    exact: bool  # same bits for every machine, and for every split of a sequence into calls of `forward`
    engine_note: str  # what a file of an engine that is not exact is bound to; empty for exact ones
    strong: bool  # more than STRONG weights (format.md 6.1)
    start_id: int  # read at position 0 of every window
    window: int  # default window and overlap, in tokens
    overlap: int
    max_window: int
    threads: int | None  # that the caller wants; None: one for each core. Never changes a bit of an exact model

    @property
    def tokenizer(self) -> Tokenizer: ...

    def open(self, lanes: int, window: int, threads: int | None = None) -> State:
        """A fresh state for this many lanes and at most this many positions, which uses at most so many of the model's
        threads.
        """
        ...

    def state_bytes(self, lanes: int, window: int) -> int:
        """Bytes of memory that such a state takes, about: what a header asks for is weighed before it is given."""
        ...
