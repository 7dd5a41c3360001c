"""The adaptive layer by the C library: the arrays that it works on. Same integers as `mixing/reference.py`."""

from ctypes import byref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmzip import native
from llmzip.mixing import tables

SIZES = (
    tables.CONTEXTS, tables.SUCCESSORS, tables.INPUTS, len(tables.SETS), tables.SLOT_BITS, tables.SETS[2].bit_length() - 1,
    tables.REFINING_BITS, tables.BUCKETS,
)  # fmt: skip
_SUCCESSORS_INTS = 1 + tables.SUCCESSORS  # 32 bits each: a check and the entries


class Fused:
    """See `llmzip.mixing.Engine`. Shapes: L lanes, T steps, n symbols in G groups of 256, D decisions."""

    def __init__(
        self, depth: int, ids: NDArray[np.int32], line_ends: NDArray[np.bool_], plain: bool, threads: int | None
    ) -> None:
        native.check_sizes(1, SIZES)
        assert native.library is not None and ids.dtype == np.int32 and ids.flags.c_contiguous
        lanes, steps = ids.shape
        n_groups = 1 << (depth - 8)
        self._depth, self._n_symbols, self._threads = depth, len(line_ends), threads
        learnt = 0 if plain else 1  # no room for what is not learnt
        # Zeros cost nothing until they are touched.
        arrays: dict[str, NDArray[Any]] = {
            "exp2": tables.EXP2,
            "squash": tables.SQUASH,
            "reciprocal": tables.RECIPROCAL,
            "log2": tables.LOG2,
            "stretch": tables.STRETCH,
            "line_ends": np.ascontiguousarray(line_ends),
            "ids": ids,
            "bias": np.zeros(len(line_ends), dtype=np.int32),
            "grams": np.zeros(learnt * tables.CONTEXTS * _SUCCESSORS_INTS << tables.TABLE_BITS, dtype=np.uint32),
            "cells": tables.first_cells(),
            **{f"weights_{name}": tables.first_weights(sets) for name, sets in zip("abc", tables.SETS, strict=True)},
            "slots": np.zeros(learnt << tables.SLOT_BITS, dtype=np.int32),
            "refining": np.tile(tables.first_refining(), learnt << tables.REFINING_BITS),
            "latest": np.zeros(learnt << tables.TABLE_BITS, dtype=np.int32),
            "matches": np.zeros((lanes, 2), dtype=np.int32),
            "columns": np.zeros(lanes, dtype=np.int32),
            "weights": np.zeros((lanes, n_groups * 256), dtype=np.int32),
            "sums": np.zeros((lanes, n_groups), dtype=np.int64),
            "rows": np.zeros(lanes * native.library.llmzip_mix_row_bytes(), dtype=np.uint8),
            "nodes": np.zeros(lanes * depth * native.library.llmzip_mix_node_bytes(), dtype=np.uint8),
        }
        self._arrays = arrays  # kept alive
        self._struct = native.Mixing(
            n_symbols=len(line_ends), n_groups=n_groups, steps=steps, depth=depth, plain=plain, table_bits=tables.TABLE_BITS,
            **{name: native.pointer(array) for name, array in arrays.items()},
        )  # fmt: skip
        self._rows = 0

    def begin(self, scores: NDArray[np.int16], step: int) -> None:
        assert native.library is not None and scores.dtype == np.int16 and scores.shape[1] == self._n_symbols
        if scores.strides[1] != 2:
            scores = np.ascontiguousarray(scores)
        self._rows = len(scores)
        native.library.llmzip_mix_begin(
            native.best_level, byref(self._struct), scores.ctypes.data, scores.strides[0] // 2, self._rows, step,
            native.clip_threads(self._threads),
        )

    def predict(self, depth: int) -> NDArray[np.float64]:
        assert native.library is not None
        out = np.empty((self._rows, 2))
        native.library.llmzip_mix_predict(byref(self._struct), depth, out.ctypes.data)
        return out

    def accept(self, depth: int, bits: NDArray[np.int32]) -> None:
        assert native.library is not None
        native.library.llmzip_mix_accept(byref(self._struct), depth, bits.ctypes.data)

    def known(self, symbols: NDArray[np.int32]) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        assert native.library is not None
        symbols = np.ascontiguousarray(symbols)
        out = np.empty((self._depth * self._rows, 2))
        bits = np.empty(self._depth * self._rows, dtype=np.int32)
        native.library.llmzip_mix_known(byref(self._struct), symbols.ctypes.data, out.ctypes.data, bits.ctypes.data)
        return out, bits

    def end(self) -> bool:
        assert native.library is not None
        return bool(native.library.llmzip_mix_end(native.best_level, byref(self._struct), native.clip_threads(self._threads)))
