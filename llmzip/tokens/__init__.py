"""Bytes to token ids and back. Total: every byte string has an id sequence. Knows nothing of models."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


def in_order(spelled: list[bytes]) -> NDArray[np.int32]:
    """The symbols that spell something, in the order of what they spell, of equal ones the lowest first."""
    return np.array(sorted((i for i, each in enumerate(spelled) if each), key=spelled.__getitem__), dtype=np.int32)


def places_of(entries: NDArray[np.int32], n_symbols: int) -> NDArray[np.int64]:
    """The inverse: where each symbol is among the entries; 0 for those that are not."""
    places = np.zeros(n_symbols, dtype=np.int64)
    places[entries] = np.arange(len(entries))
    return places


class Tokenizer(Protocol):
    """What the codec needs to know of a vocabulary.

    Ids 0 .. n_vocab-1 are the model's tokens; ids n_vocab .. n_symbols-1 are escape symbols, one for each byte value
    that no token spells, in ascending order of the byte.
    """

    n_vocab: int
    n_symbols: int

    @property
    def spelled(self) -> list[bytes]:
        """The bytes of each symbol; empty for those that spell nothing."""
        ...

    @property
    def entries(self) -> NDArray[np.int32]:
        """`in_order(spelled)`: the symbols that a model gives scores for, in the order of these."""
        ...

    def encode(self, data: bytes) -> NDArray[np.int32]:
        """Ids whose bytes, joined, are exactly `data`. Never fails, never loses a byte."""
        ...

    def decode(self, ids: NDArray[np.int32]) -> bytes:
        """The joined bytes of `ids`. Raises FormatError for an id that spells nothing (only damage leads there)."""
        ...

    def size(self, ids: NDArray[np.int32]) -> int:
        """len(decode(ids)), without building it."""
        ...
