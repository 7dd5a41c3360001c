"""The range coder: one `code` for both directions. The only module that imports constriction.

Knows nothing of models and tokens: bits go through it, each with its two probabilities. The encoder is told the bits and returns them;
the decoder ignores what it is told and returns what it reads. Implements `llmzip.mixing.Coder`.
"""

import constriction
import numpy as np
from numpy.typing import NDArray

from llmzip.errors import FormatError
from llmzip.mixing.tables import TOTAL_BITS

# perfect=False: with two integers that sum to 2**24 - 2, the library rounds nothing and bit i gets exactly table[i] + 1 of 2**24.
# perfect=True would decide the integers itself.
_FAMILY = constriction.stream.model.Categorical(perfect=False)

COUNTED = 1024  # decisions whose information is counted in one go: one by one it would take as long as to decode them
INVALID = "the code stream is invalid"
TOO_EARLY = "the code stream ends too early"


class Encoder:
    """Writes bits. With `counting`, `cost_bits` is the information content of everything written, from the very intervals coded."""

    reads = False

    def __init__(self, chunk: int = 1, *, counting: bool = False) -> None:
        self.chunk = chunk
        self.cost_bits = 0.0
        self._counting = counting
        self._coder = constriction.stream.queue.RangeEncoder()

    def code(self, tables: NDArray[np.float64], bits: NDArray[np.int32]) -> NDArray[np.int32]:
        self._coder.encode(bits, _FAMILY, tables)
        if self._counting:
            self.cost_bits += _information(tables, bits)
        return bits

    def payload(self) -> bytes:
        """The shortest string of bytes that leads a decoder here: big-endian words, and zeros after the end.

        At most the two words of the state are cut, never one that has been written: so a decoder knows where it must stop.
        """
        words: NDArray[np.uint32] = self._coder.get_compressed()
        n_words, (lower, width) = self._coder.pos()
        end = 8 * (n_words * 4 + 8)  # bits: the state has two words after those written
        sealed: int = int.from_bytes(words.astype(">u4").tobytes(), "big") << (end - 32 * len(words))
        first = sealed - (sealed - int(lower)) % (1 << 64)  # of the interval, as a fraction of 2**end
        last = first + int(width) - 1
        zeros = next(n for n in range(64, -1, -8) if -(-first >> n) << n <= last)
        shortest: int = -(-first >> zeros)  # rounded up to so many zeros
        return shortest.to_bytes((end - zeros) // 8, "big")


class Decoder:
    """Reads bits. Raises FormatError for data that no encoder writes, and, soon after, for data that has come to its end.

    The library does not tell how many words it has read, so the information in what it found is counted. With s words read after the
    two of the state, log2(range) = 64 + 32 s - information - what rounding lost, and at least 32: so the information is at most 32 (s + 1).
    An encoder that has written n words has a decoder read n + 2, and leaves n or more in the payload; `words_of` puts two more after them.
    """

    reads = True
    chunk = 1

    def __init__(self, payload: bytes) -> None:
        words = words_of(payload)
        self._coder = constriction.stream.queue.RangeDecoder(words)
        self._bits_left = 32.0 * (len(words) - 1) + 1  # one for the rounding of the sums
        self._found: list[tuple[NDArray[np.float64], NDArray[np.int32]]] = []  # not counted yet
        self._n_found = 0

    def code(self, tables: NDArray[np.float64], bits: NDArray[np.int32]) -> NDArray[np.int32]:
        try:
            found: NDArray[np.int32] = self._coder.decode(_FAMILY, tables).astype(np.int32, copy=False)
        except AssertionError as error:  # constriction's word for data that no encoder writes
            raise FormatError(INVALID) from error
        self._found.append((tables, found))
        self._n_found += len(found)
        if self._n_found >= COUNTED:
            self._count()
        return found

    def _count(self) -> None:
        tables = np.concatenate([tables for tables, _ in self._found])
        bits = np.concatenate([bits for _, bits in self._found])
        self._bits_left -= _information(tables, bits)
        self._found, self._n_found = [], 0
        if self._bits_left < 0:
            raise FormatError(TOO_EARLY)


def _information(tables: NDArray[np.float64], bits: NDArray[np.int32]) -> float:
    """Bits, from the very intervals coded."""
    return TOTAL_BITS * len(bits) - float(np.log2(tables[np.arange(len(bits)), bits] + 1).sum())


def words_of(payload: bytes) -> NDArray[np.uint32]:
    """The words that a decoder may read: with zeros after the end, as many as an encoder cuts off at most."""
    return np.frombuffer(payload + bytes(-len(payload) % 4 + 8), dtype=">u4").astype(np.uint32)
