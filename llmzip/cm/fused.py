"""Context mixing over bytes by the C library: the arrays that it works on. Same integers as `cm/reference.py`."""

from ctypes import byref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmzip import native
from llmzip.cm import tables
from llmzip.errors import FormatError
from llmzip.mixing.tables import BUCKETS, RECIPROCAL, SQUASH, STRETCH, first_refining
from llmzip.rangecoder import INVALID, TOO_EARLY, Encoder, words_of

SIZES = (tables.CONTEXTS, tables.INPUTS, len(tables.SETS), tables.LATEST_BITS, BUCKETS)


class Fused:
    """See `llmzip.cm.Engine`. `data` is preceded by the zeros that contexts look back to. `payload` None: it is known, and to be written."""

    def __init__(self, data: NDArray[np.uint8], stride: int, table_bits: int, payload: bytes | None) -> None:
        native.check_sizes(2, SIZES)
        words = None if payload is None else words_of(payload)
        # Zeros cost nothing until they are touched.
        arrays: dict[str, NDArray[Any]] = {
            "squash": SQUASH,
            "reciprocal": RECIPROCAL,
            "stretch": STRETCH,
            "data": data,
            "lines": _whole_lines(tables.CONTEXTS << table_bits),
            "histories": tables.first_histories(),
            "match_cells": tables.first_match_cells(),
            **{f"weights_{name}": tables.first_weights(sets) for name, sets in zip("abc", tables.SETS, strict=True)},
            "refining": np.tile(first_refining(), 1 << tables.REFINING_BITS),
            "latest": np.zeros(1 << tables.LATEST_BITS, dtype=np.int32),
        }
        self._arrays = arrays, words  # kept alive
        self._struct = native.Cm(
            stride=stride, table_bits=table_bits, words=native.pointer(words), range=(1 << 64) - 1,
            **{name: native.pointer(array) for name, array in arrays.items()},
        )  # fmt: skip
        if words is not None:
            self._struct.point = int(words[0]) << 32 | int(words[1])
            self._struct.n_words, self._struct.next_word = len(words), 2

    def write(self, n: int, encoder: Encoder) -> None:
        assert native.library is not None
        decisions = np.empty((8 * n, 2))
        bits = np.empty(8 * n, dtype=np.int32)
        native.library.llmzip_cm_code(byref(self._struct), n, decisions.ctypes.data, bits.ctypes.data)
        encoder.code(decisions, bits)

    def read(self, n: int) -> None:
        assert native.library is not None
        result = native.library.llmzip_cm_code(byref(self._struct), n, None, None)
        if result < 0:
            raise FormatError(TOO_EARLY if result == -2 else INVALID)


def _whole_lines(count: int) -> NDArray[np.uint32]:
    """Zeros, 16 to a line, each in one line of the processor's cache."""
    room = np.zeros(count * 16 + 15, dtype=np.uint32)
    start = -room.ctypes.data % 64 // 4
    return room[start : start + count * 16]
