"""The binary range coder in Python integers: knows bits and their probabilities, nothing else. Twin of c/coder.h.

Its stream is that of constriction's `RangeEncoder` with 32-bit words, a 64-bit state and probabilities of 24 bits, as
big-endian words.
"""

from llmzip.errors import FormatError

TOTAL_BITS = 24
PAST_END = 8  # words of zeros that a reader takes after the end
_MASK = (1 << 64) - 1


class Writer:
    """Writes bits."""

    reads = False

    def __init__(self) -> None:
        self._low, self._range, self._words = (
            0,
            _MASK,
            0,
        )  # low: all that was ever written, and the state as its last 64 bits

    def code(self, p: int, bit: int) -> int:
        """A bit whose ones have p of 2^24, above the zeros. Returns it."""
        scale, zeros = self._range >> TOTAL_BITS, (1 << TOTAL_BITS) - p
        if bit:
            self._low += scale * zeros
        self._range = scale * (p if bit else zeros)
        if self._range >> 32 == 0:
            self._low <<= 32
            self._range <<= 32
            self._words += 1
        return bit

    @property
    def n_bytes(self) -> int:
        """What has come out so far."""
        return 4 * self._words

    def payload(self) -> bytes:
        """The shortest string that leads a reader here, zeros at its end left out, but no more than a reader adds."""
        size, last = 4 * self._words + 8, self._low + self._range - 1
        zeros = next(n for n in range(64, -1, -8) if -(-self._low >> n) << n <= last)
        code = (-(-self._low >> zeros) << zeros).to_bytes(size, "big").rstrip(b"\0")
        return code.ljust(size - 4 * PAST_END, b"\0")


class Reader:
    """Reads bits. Raises FormatError for what no writer writes, and PAST_END words after the end at the latest."""

    reads = True

    def __init__(self, payload: bytes) -> None:
        self._payload, self._at = payload, 8
        self._offset, self._range = (
            int.from_bytes(payload[:8].ljust(8, b"\0"), "big"),
            _MASK,
        )  # of the point in the interval
        self._past = 0

    def code(self, p: int, bit: int = 0) -> int:
        """A bit whose ones have p of 2^24. What it is told is ignored."""
        scale, zeros = self._range >> TOTAL_BITS, (1 << TOTAL_BITS) - p
        quantile = self._offset // scale
        if quantile >> TOTAL_BITS:
            raise FormatError("the code stream is invalid")
        bit = int(quantile >= zeros)
        self._offset -= scale * zeros if bit else 0
        self._range = scale * (p if bit else zeros)
        if self._range >> 32 == 0:
            self._past += self._at >= len(self._payload)
            if self._past > PAST_END:
                raise FormatError("the code stream ends too early")
            word = int.from_bytes(self._payload[self._at : self._at + 4].ljust(4, b"\0"), "big")
            self._at += 4
            self._offset = self._offset << 32 | word
            self._range <<= 32
        return bit
