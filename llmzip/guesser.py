"""Which tokens may come next, and how many of them are worth a try.

A reader predicts several at once and keeps what proves right. Guesses change time, never content: they may come from
anywhere, a clock included. In C (`_guesser.c`), because a token takes a reader some microseconds only.
"""

import ctypes
from ctypes import POINTER, Structure, byref, c_double, c_int32, c_int64, c_void_p
from functools import cache

import numpy as np

from llmzip import native

SLOTS, LONGEST, SHARES = 1 << 17, 6, 4 * 4  # of what followed, tokens of a context, orders x streaks: as in _guesser.c
MOST = 15  # guesses for a lane at a time
FADES = 0.98  # what a call's time is worth after the next one


class _Guesser(Structure):
    _fields_ = (
        ("followed", c_void_p),
        ("contexts", c_void_p),
        ("right", c_double * SHARES),
        ("tried", c_double * SHARES),
    )


@cache
def _functions() -> ctypes.CDLL:
    return native.declared(
        "guesser",
        [ctypes.sizeof(_Guesser), SLOTS, LONGEST, SHARES],
        see=(None, POINTER(_Guesser), c_int64, c_int32),
        guess=(c_int64, POINTER(_Guesser), c_int64, c_int64, c_double, c_void_p),
    )


class Guesser:
    """What followed the longest context of tokens that was seen before in any lane, and how often it was right."""

    def __init__(self, lanes: int) -> None:
        self._library = _functions()
        self._followed = np.full(SLOTS, -1, dtype=np.int32)
        self._contexts = np.full((lanes, LONGEST), -1, dtype=np.int32)
        self._guesses = np.empty(MOST, dtype=np.int32)
        self._struct = _Guesser(native.pointer(self._followed), native.pointer(self._contexts))
        self._struct.right[:], self._struct.tried[:] = [1.0] * SHARES, [2.0] * SHARES
        self._to, self._into = byref(self._struct), native.pointer(self._guesses)

    def see(self, lane: int, token: int) -> None:
        """The next token of a lane is known."""
        self._library.llmzip_guesser_see(self._to, lane, token)

    def guess(self, lane: int, most: int, worth: float) -> list[int]:
        """Tokens that may come next, at most so many (MOST), each as likely right as it must be to be `worth` it."""
        n = self._library.llmzip_guesser_guess(self._to, lane, min(most, MOST), worth, self._into)
        guesses: list[int] = self._guesses[:n].tolist()
        return guesses


class Costs:
    """What a call takes: a part for the call, and one for each of its rows, as measured here and now."""

    def __init__(self) -> None:
        self._sums = [0.0] * 5  # of calls, rows, rows squared, seconds, rows times seconds

    def add(self, rows: int, seconds: float) -> None:
        new = (1.0, rows, rows * rows, seconds, rows * seconds)
        self._sums = [FADES * old + each for old, each in zip(self._sums, new, strict=True)]

    def worth(self, lanes: int) -> float:
        """How likely right a guess must be, in a call on so many lanes, to bring more than it takes."""
        n, rows, squares, seconds, products = self._sums
        spread = n * squares - rows * rows
        if n == 0 or spread < n * n / 100:
            return 0.3  # not known yet
        row = max(0.0, (n * products - rows * seconds) / spread)
        call = max(0.0, (seconds - row * rows) / n)
        return lanes * row / (call + lanes * row) if row else 0.0
