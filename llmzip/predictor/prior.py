"""What a memory holds before its first block: first values of all that is small, fitted on a corpus by `llmzip.train.prior` and kept in prior.bin.

A mode is what blocks are coded as: text without a model, text with one, records. Each has tables of its own, but for the APMs.
"""

import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from llmzip.predictor import tables
from llmzip.predictor.tables import APMS, BUCKETS, CONTEXTS, INPUTS, MATCHES, MODEL_APMS, SECOND_ROWS, SECONDS, SET_ROWS, SETS, SQUASH, TOP

MODES = PLAIN, WITH_MODEL, RECORDS = range(3)
BIAS_BITS = 16  # logarithm of the rows of an APM that have a bias of their own
BIAS_STEP = 32
UNTRIED, TRUSTED = 2000, 24000  # first weights, where nothing is fitted: of what has to be learnt, and of the model
_WEIGHT_STEP, _MEAN_STEP, _STRETCH_STEP, _COUNT_STEP = 512, 16, 32, 4


@dataclass
class Mode:
    weights: NDArray[np.int32]  # (rows of all sets, INPUTS)
    seconds: NDArray[np.int32]  # (SECONDS, SECOND_ROWS, 16), SETS + 1 of them in use
    histories: NDArray[np.uint32]  # (2, CONTEXTS, 1024): what so many zeros and ones come to; of bits, of token ends
    match_cells: NDArray[np.uint32]  # (MATCHES, 64, 2, 2) by length, misses and kind of decision: that the match is right
    model_cells: NDArray[np.uint32]  # (64, 9, 4) by the model's stretch, decision and place in the token


@dataclass
class Prior:
    modes: tuple[Mode, ...]
    curves: NDArray[np.int16]  # (APMS + MODEL_APMS, BUCKETS): what a stretch of -4096, -3840 ... 4096 comes to
    biases: NDArray[np.int8]  # (APMS + MODEL_APMS, 2^BIAS_BITS): what a row adds, in BIAS_STEP

    def apms(self, of_model: bool, bits: int) -> NDArray[np.uint32]:
        """Cells (count * 2^bits * BUCKETS,) of all APMs, or of those of the model."""
        which = range(APMS, APMS + MODEL_APMS) if of_model else range(APMS)
        return np.concatenate([self.apm(i, np.arange(1 << bits)) for i in which]).ravel()

    def apm(self, which: int, rows: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Cells (rows, BUCKETS) of an APM."""
        shifted = self.curves[which] + BIAS_STEP * np.arange(-128, 128)[:, None]
        cells = (SQUASH[np.clip(shifted, -TOP, TOP) + TOP] >> 2 << 10).astype(np.uint32) | tables.APM_FIRST
        found: NDArray[np.uint32] = cells[self.biases[which, rows].astype(np.int16) + 128]
        return found


def blank() -> Prior:
    """What is assumed where nothing is fitted."""
    curves = np.tile(np.arange(-4096, 4097, 256, dtype=np.int16), (APMS + MODEL_APMS, 1))
    return Prior(tuple(_blank_mode() for _ in MODES), curves, np.zeros((len(curves), 1 << BIAS_BITS), dtype=np.int8))


def _blank_mode() -> Mode:
    row = np.full(INPUTS, UNTRIED, dtype=np.int32)
    row[tables.CONSTANT_INPUT + 1 : tables.TOKEN_INPUTS] = 0
    row[tables.MODEL_INPUTS] = TRUSTED
    row[tables.MODEL_INPUTS + 2 + MODEL_APMS :] = 0
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
        np.tile(histories.astype(np.uint32), (2, CONTEXTS, 1)),
        np.broadcast_to(right.astype(np.uint32)[None, :, None, None], (MATCHES, 64, 2, 2)).copy(),
        np.repeat(said.astype(np.uint32), 36).reshape(64, 9, 4),
    )


def mode_of(stride: int, with_model: bool) -> int:
    return RECORDS if stride else WITH_MODEL if with_model else PLAIN


@cache
def load() -> Prior:
    return blank()
