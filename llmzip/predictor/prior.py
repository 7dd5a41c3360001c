"""What a memory holds before its first block: first values of all that is small.

They are fitted on a corpus by `llmzip.train.prior` and kept in prior.bin. A mode is what blocks are coded as: text
without a model, text with one, records. Each has tables of its own, but for the APMs.
"""

import lzma
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmzip.predictor import tables
from llmzip.predictor.spelling import Spelling
from llmzip.predictor.tables import (
    APMS,
    CONTEXTS,
    INPUTS,
    MODEL_APMS,
    SECOND_ROWS,
    SECONDS,
    SET_ROWS,
    SETS,
    SQUASH,
    STRETCH,
    TOP,
)

MODES = PLAIN, WITH_MODEL, RECORDS = range(3)
N_CONTEXTS = tables.TEXT_CONTEXTS, len(tables.WITH_MODEL), tables.RECORD_CONTEXTS  # in use in each
STRONG = 3  # made of WITH_MODEL
BIAS_STEP = 32
UNTRIED, TRUSTED = 2000, 24000  # first weights, where nothing is fitted: of what has to be learnt, and of the model
_MEAN_STEP, _STEP, _STRETCH_STEP, _LEAST_BIAS = 16, 6144, 32, 4
_CELLS = "histories", "run_cells", "match_cells", "model_cells"


@dataclass
class Mode:
    weights: NDArray[np.int32]  # (rows of all sets, INPUTS)
    seconds: NDArray[np.int32]  # (SECONDS, SECOND_ROWS, 16), SETS + 1 of them in use
    histories: NDArray[np.uint32]  # (HISTORY_SETS, CONTEXTS, 1024): what so many zeros and ones come to
    run_cells: NDArray[np.uint32]  # (8, CONTEXTS) that the byte that came last comes again, by its bits that have
    match_cells: NDArray[
        np.uint32
    ]  # (MATCHES, 64, 2, 2) by length, misses and kind of decision: that the match is right
    model_cells: NDArray[np.uint32]  # (64, 9, 4) by the model's stretch, decision and place in the token


@dataclass
class Prior:
    modes: tuple[Mode, ...]  # three, or four when it is complete
    biases: NDArray[np.int8]  # (APMS + MODEL_APMS, 2^APM_BITS): what a row of an APM adds to stretches, in BIAS_STEP

    def completed(self) -> "Prior":
        """With the mode of strong models."""
        return Prior((*self.modes[:STRONG], _strong(self.modes[WITH_MODEL])), self.biases)


def _first_apms() -> NDArray[np.uint32]:
    """Cells (256, BUCKETS) of a row whose bias is -128 and more."""
    stretches = np.arange(-4096, 4097, 256) + BIAS_STEP * np.arange(-128, 128)[:, None]
    return _cells(stretches) | np.uint32(tables.APM_FIRST)


def _cells(stretches: NDArray[Any]) -> NDArray[np.uint32]:
    return np.asarray(SQUASH[np.clip(stretches, -TOP, TOP) + TOP] >> 2 << 10, dtype=np.uint32)


FIRST_APMS = _first_apms()


def blank() -> Prior:
    """What is assumed where nothing is fitted."""
    return Prior(
        tuple(_blank_mode(mode) for mode in MODES), np.zeros((APMS + MODEL_APMS, 1 << tables.APM_BITS), dtype=np.int8)
    ).completed()


def _blank_mode(mode: int) -> Mode:
    row, model = np.zeros(INPUTS, dtype=np.int32), tables.model_inputs(N_CONTEXTS[mode])
    row[:model] = UNTRIED
    if mode == WITH_MODEL:
        row[model : model + tables.SAID_BY_MODEL] = UNTRIED
        row[model] = TRUSTED
    second = np.zeros(16, dtype=np.int32)
    second[:SETS] = (1 << 16) // SETS  # the mean of the sets
    zeros, ones = np.arange(1024) >> 6, np.arange(1024) >> 2 & 15
    histories = ((4 * ones + 1) << 22) // (4 * zeros + 4 * ones + 2) << 10
    length = np.arange(64)
    right = ((length + 1) << 22) // (length + 2) << 10
    said = SQUASH[TOP - 2048 + 32 + 64 * np.arange(64)] >> 2 << 10
    return Mode(
        np.tile(row, (sum(SET_ROWS), 1)),
        np.tile(second, (SECONDS, SECOND_ROWS, 1)),
        np.tile(histories.astype(np.uint32), (tables.HISTORY_SETS, CONTEXTS, 1)),
        np.full((8, CONTEXTS), 1 << 31, dtype=np.uint32),
        np.broadcast_to(right.astype(np.uint32)[None, :, None, None], (tables.MATCHES, 64, 2, 2)).copy(),
        np.repeat(said.astype(np.uint32), 36).reshape(64, 9, 4),
    )


def mode_of(stride: int, spelling: Spelling | None) -> int:
    if stride:
        return RECORDS
    return PLAIN if spelling is None else STRONG if spelling.strong else WITH_MODEL


@cache
def load() -> Prior:
    """The prior that the package carries."""
    return unpack(resources.files("llmzip.predictor").joinpath("prior.bin").read_bytes())


def _strong(mode: Mode) -> Mode:
    """For a model that is much better than the one that the others were fitted with.

    More is believed of it, and half as much of all else.
    """
    weights, model = mode.weights >> 1, tables.model_inputs(N_CONTEXTS[WITH_MODEL])
    weights[:, model] = np.minimum(mode.weights[:, model] * 8 // 5, tables.WEIGHT_TOP)
    return replace(mode, weights=weights)


# ---- prior.bin: xz of small integers, by which values differ from the means of their sets or from `blank`, in steps


def pack(prior: Prior) -> bytes:
    """The nearest that can be kept."""
    parts = [
        part
        for mode, first in zip(prior.modes[:STRONG], blank().modes, strict=False)
        for part in _pack_mode(mode, first)
    ]
    biases = np.where(np.abs(prior.biases.astype(np.int16)) < _LEAST_BIAS, 0, prior.biases).astype(np.int8)
    raw = b"".join(part.tobytes() for part in [*parts, biases])
    return lzma.compress(
        raw,
        check=lzma.CHECK_CRC32,
        filters=[{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "pb": 0}],
    )


def unpack(packed: bytes) -> Prior:
    prior, raw = blank(), _Raw(lzma.decompress(packed))
    for mode in prior.modes[:STRONG]:
        _unpack_mode(mode, raw)
    prior.biases = raw.take(np.dtype(np.int8), prior.biases.shape)
    return prior.completed()


class _Raw:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        found = np.frombuffer(self._data, dtype, math.prod(shape), self._at).reshape(shape)
        self._at += found.nbytes
        return found


def _pack_mode(mode: Mode, first: Mode) -> Iterator[NDArray[Any]]:
    for rows, sets in _rows_of(mode):
        means = [np.rint(each.mean(axis=0) / _MEAN_STEP) for each in np.split(rows, np.cumsum(sets)[:-1])]
        yield np.array(means, dtype="<i2")
        yield _int8((rows - _MEAN_STEP * np.repeat(means, sets, axis=0)) / _STEP)
    for name in _CELLS:
        cells, before = getattr(mode, name), getattr(first, name)
        yield _int8((STRETCH[cells >> 18] - STRETCH[before >> 18].astype(np.int32)) / _STRETCH_STEP)
        yield np.frexp(cells & 1023)[1].astype(np.uint8)  # bits of the count


def _unpack_mode(mode: Mode, raw: _Raw) -> None:
    for rows, sets in _rows_of(mode):
        means = raw.take(np.dtype("<i2"), (len(sets), rows.shape[1])).astype(np.int32) * _MEAN_STEP
        rows[:] = raw.take(np.dtype(np.int8), rows.shape)
        rows *= _STEP
        rows += np.repeat(means, sets, axis=0)
    for name in _CELLS:
        cells = getattr(mode, name)
        stretches = STRETCH[cells >> 18] + raw.take(np.dtype(np.int8), cells.shape).astype(np.int32) * _STRETCH_STEP
        counts = (1 << raw.take(np.dtype(np.uint8), cells.shape).astype(np.uint32)) >> 1
        cells[:] = _cells(stretches) | counts


def _rows_of(mode: Mode) -> tuple[tuple[NDArray[np.int32], tuple[int, ...]], ...]:
    """Rows that differ from the means of their sets, and how many a set has."""
    return (mode.weights, SET_ROWS), (mode.seconds.reshape(-1, 16), (SECOND_ROWS,) * SECONDS)


def _int8(x: NDArray[Any]) -> NDArray[np.int8]:
    return np.asarray(np.clip(np.rint(x), -127, 127), dtype=np.int8)
