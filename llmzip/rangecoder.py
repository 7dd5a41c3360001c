"""The range coder: one `code` for both directions. The only module that imports constriction.

Knows nothing of models and tokens: it takes rows of scores and gives back the symbols. The encoder is told the symbols and returns them;
the decoder ignores what it is told and returns what it reads. After that line the two directions are the same program.
"""

from typing import Protocol

import constriction
import numpy as np
from numpy.typing import NDArray

from llmzip import cdf
from llmzip.errors import FormatError

# perfect=False: with integer weights that sum to 2**24 minus their number, the library rounds nothing and entry i gets exactly
# weight[i] + 1. perfect=True would decide the integers itself.
_FAMILY = constriction.stream.model.Categorical(perfect=False)


class Coder(Protocol):
    chunk: int  # how many steps ahead the symbols are known: scores may be asked for that many at a time

    def code(self, scores: NDArray[np.int16], symbols: NDArray[np.int32]) -> NDArray[np.int32]:
        """Code one symbol for each row of scores (R, n); return the symbols (R,)."""
        ...


class Encoder:
    """Writes symbols. `cost_bits` is the information content of everything written, from the very intervals coded."""

    def __init__(self, chunk: int = 1) -> None:
        self.chunk = chunk
        self.cost_bits = 0.0
        self._coder = constriction.stream.queue.RangeEncoder()

    def code(self, scores: NDArray[np.int16], symbols: NDArray[np.int32]) -> NDArray[np.int32]:
        tables = cdf.intervals(scores, symbols).reshape(-1, 3)  # all groups, then all members
        self._coder.encode(np.ones(len(tables), dtype=np.int32), _FAMILY, tables)
        self.cost_bits += cdf.TOTAL_BITS * len(tables) - float(np.log2(tables[:, 1] + 1).sum())
        return symbols

    def payload(self) -> bytes:
        """The code stream so far, without the zeros that a decoder reads after its end."""
        words: NDArray[np.uint32] = self._coder.get_compressed()
        return words.astype("<u4").tobytes().rstrip(b"\0")


class Decoder:
    """Reads symbols."""

    chunk = 1

    def __init__(self, payload: bytes) -> None:
        words = np.frombuffer(payload + bytes(-len(payload) % 4 + 8), dtype="<u4").astype(np.uint32)
        self._coder = constriction.stream.queue.RangeDecoder(words)

    def code(self, scores: NDArray[np.int16], symbols: NDArray[np.int32]) -> NDArray[np.int32]:
        groups = self._read(cdf.group_tables(scores))
        members = self._read(cdf.member_tables(scores, groups))
        found = groups * cdf.GROUP + members
        if int(found.max()) >= scores.shape[1]:
            raise FormatError("the code stream leads to a symbol that does not exist")
        return found

    def _read(self, tables: NDArray[np.float64]) -> NDArray[np.int32]:
        try:
            entries = self._coder.decode(_FAMILY, tables)
        except AssertionError as error:  # constriction's word for data that no encoder writes
            raise FormatError("the code stream is invalid") from error
        found: NDArray[np.int32] = entries.astype(np.int32) - 1
        if int(found.min()) < 0 or int(found.max()) >= tables.shape[1] - 2:
            raise FormatError("the code stream leads to a reserved interval")
        return found


