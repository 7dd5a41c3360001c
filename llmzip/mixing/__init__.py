"""The adaptive layer: what a block has taught so far, mixed with the model's scores into the probabilities that are coded (format.md 6.3).

Knows nothing of models, tokens and coders: rows of scores come in, symbols go out, and the coder is a function. Every symbol is `depth` binary
decisions, from the root of a tree whose leaves are the symbols to one of them. `native` computes; without it, `reference` does, with the same integers.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from llmzip import native
from llmzip.errors import FormatError

GROUP = 256


class Coder(Protocol):
    """One of the two directions of the range coder."""

    chunk: int  # how many steps ahead the symbols are known: scores may be asked for that many at a time

    @property
    def reads(self) -> bool:
        """Whether it finds the bits, rather than being told them."""
        ...

    def code(self, tables: NDArray[np.float64], bits: NDArray[np.int32]) -> NDArray[np.int32]:
        """Code bits (n,) by tables (n, 2); return the bits."""
        ...


class Engine(Protocol):
    """One step of all rows: `begin`, then either `known`, or `predict` and `accept` for each depth, then `end`."""

    def begin(self, scores: NDArray[np.int16], step: int) -> None: ...
    def predict(self, depth: int) -> NDArray[np.float64]: ...
    def accept(self, depth: int, bits: NDArray[np.int32]) -> None: ...
    def known(self, symbols: NDArray[np.int32]) -> tuple[NDArray[np.float64], NDArray[np.int32]]: ...

    def end(self) -> bool:
        """Write the symbols into the history and learn from them; false, and nothing is learnt, where there is no such symbol."""
        ...


class Mixer:
    """The adaptive layer of one block.

    `ids` (L, T) int32, C-contiguous, is the history: the symbol of every lane and step is written there as it is coded. `plain` leaves out all that
    adapts: then the model's scores alone decide. `line_ends` (n,) tells which of the n symbols have a line end in them. `threads`: see
    `native.clip_threads`.
    """

    def __init__(
        self, ids: NDArray[np.int32], line_ends: NDArray[np.bool_], *, plain: bool = False, threads: int | None = None
    ) -> None:
        self._ids = ids
        n_symbols = len(line_ends)
        self.depth = depth_of(n_symbols)
        if native.library is not None:
            from llmzip.mixing.fused import Fused

            self._engine: Engine = Fused(self.depth, ids, line_ends, plain, threads)
        else:
            from llmzip.mixing.reference import Reference

            self._engine = Reference(self.depth, ids, line_ends, plain)

    def code(self, scores: NDArray[np.int16], step: int, coder: Coder) -> NDArray[np.int32]:
        """Code one symbol for each row of scores (R, n), those of lanes 0 to R - 1 at this step, and learn from them; return them (R,)."""
        rows = len(scores)
        self._engine.begin(scores, step)
        if coder.reads:
            for depth in range(self.depth):
                tables = self._engine.predict(depth)
                self._engine.accept(depth, coder.code(tables, np.empty(0, dtype=np.int32)))
        else:
            coder.code(*self._engine.known(self._ids[:rows, step]))
        if not self._engine.end():
            raise FormatError("the code stream leads to a symbol that does not exist")
        return self._ids[:rows, step]


def depth_of(n_symbols: int) -> int:
    """Decisions to a symbol: those to its group of 256, then eight."""
    return (-(-n_symbols // GROUP) - 1).bit_length() + 8
