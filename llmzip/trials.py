"""What a sample of a body says.

Whether anything is to be gained, how long its records are, whether a model earns its time.

Samples are coded in a memory of their own. Wrong guesses cost size or time, never bytes.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from llmzip import codec
from llmzip.container import line_bits_of
from llmzip.models import Model
from llmzip.predictor import Predictor
from llmzip.teams import Shape

SAMPLE_SIZE = 1 << 14  # bytes that what is not text is judged by
# coded share of a sample above which there is nothing to learn: noise takes 1.0043, bzip2 1.0022, a JPEG 0.998
HOPELESS = 1.0015
# of such a body that must be left, of what is no repeat, or it is coded for the sake of the repeats of before
HOPELESS_SHARE = 0.98
# bytes on which the model is tried, the last quarter of which counts: what comes before has been learnt by then
TRIAL_SIZE = 1 << 15
TRIAL_BITS = 20  # of their memories at most: more would take longer to clear than it is worth
TRIAL_SHARE = 8  # of the body at most: so much of its time is spent on trying
OPENED_SHARE = 0.98  # of what a stream holds: one of more bytes than that holds what cannot be made smaller
MIN_OPENED_TRIAL = 1 << 15  # bytes of what a stream holds, below which nothing is tried
# Twice the part that others spare a sample which takes half its size in a memory of its own.
TAUGHT = 0.2
# Of a picture that deflate made so many times smaller most is blank, which rows from a few places do not show, and a
# memory of its own has not learnt: what they say is up to seven times too much.
BLANK_SHARE, BLANK = 10, 3.0
ROWS, MAX_SAMPLE = 4, 1 << 17  # that a sample of known rows has, and bytes of it at most
KNOWN = 0.99  # of what a sample takes: a few rows show little of what they all are worth
MIN_TRIAL = 1 << 13  # bytes: below, the model nearly always earns its time


def is_hopeless(body: bytes) -> bool:
    """Whether nothing is to be gained: encrypted, or compressed already."""
    sample = _sample(body)
    return _coded_size(sample, 0) > HOPELESS * len(sample)


def is_better(changed: bytes, body: bytes) -> bool:
    """Whether a body is coded smaller when changed so, in bytes where they are."""
    return _coded_size(_sample(changed), 0) < _coded_size(_sample(body), 0)


def is_worth_opening(plain: bytes, n_closed: int, row: int = 0) -> bool:
    """Whether what a stream of so many bytes holds is coded smaller than they are, for what is not text.

    `row`: bytes of a row of it, 0 if that is not known.

    Short ones nearly always are, for the sake of what others like them have taught, and a sample says little of that.
    """
    if n_closed > OPENED_SHARE * len(plain):  # nothing was compressed
        return False
    if len(plain) < MIN_OPENED_TRIAL:
        return True
    size = max(SAMPLE_SIZE // 4, min(SAMPLE_SIZE, len(plain) // 16))
    sample = _stretches(plain, row) if row else _sample(plain, size)
    strides = _strides(sample, 1, row) if row or len(sample) == SAMPLE_SIZE else [0]
    share = min(_coded_size(sample, stride) for stride in strides) / len(sample)
    trust = BLANK if row and BLANK_SHARE * n_closed < len(plain) else 1.0
    return share * (1 - TAUGHT * max(0.0, 1 - share)) * len(plain) < trust * n_closed


def stride_of(body: bytes, row: int = 0) -> int:
    """Bytes of a record; 0 if none are found. `row`: what it may well be, if that is known."""
    sample = _sample(body, max(SAMPLE_SIZE, min(ROWS * row, len(body) // TRIAL_SHARE, MAX_SAMPLE)))
    sizes: dict[int, float] = {stride: _coded_size(sample, stride) for stride in _strides(sample, row=row)}
    if row in sizes and row:
        sizes[row] *= KNOWN
    return min(sizes, key=sizes.__getitem__)


def share_with_model(model: Model, body: bytes, shape: Shape) -> float:
    """In one lane: what a model makes of what is left without one: below 1 where it helps."""
    size = min(TRIAL_SIZE, max(MIN_TRIAL, len(body) // TRIAL_SHARE), len(body))
    start = (len(body) - size) // 2
    learnt, counted = body[start : start + size * 3 // 4], body[start + size * 3 // 4 : start + size]
    without, joined = (Predictor(line_bits_of(size, TRIAL_BITS)) for _ in range(2))
    codec.write_bytes(without, learnt, 0)
    shape = replace(shape, lanes=1)
    codec.write_tokens(joined, model, learnt, shape)
    return len(codec.write_tokens(joined, model, counted, shape)) / len(codec.write_bytes(without, counted, 0))


def _sample(body: bytes, size: int = SAMPLE_SIZE) -> bytes:
    """The middle of `body`, or all of it."""
    start = max(0, len(body) - size) // 2
    return body[start : start + size]


def _stretches(body: bytes, row: int) -> bytes:
    """Some rows from each quarter of a picture, which is not the same all over."""
    size = min(max(ROWS, SAMPLE_SIZE // 4 // row) * row, max(SAMPLE_SIZE // 2, len(body) // 16), MAX_SAMPLE // 4)
    return b"".join(body[at : at + size] for at in range(len(body) // 8, len(body), len(body) // 4))


@lru_cache(maxsize=8)
def _coded_size(sample: bytes, stride: int) -> int:
    """Kept for a while: what is worth trying, what helps and which stride is best are all asked of the same sample."""
    return len(codec.write_bytes(Predictor(line_bits_of(len(sample))), sample, stride))


def _strides(sample: bytes, most: int = 3, row: int = 0) -> list[int]:
    """None, and at most so many distances: a row, those at which most bytes are the same, what numbers mostly take."""
    data = np.frombuffer(sample, np.uint8)
    distances = np.arange(2, min(1024, len(data) // 4))
    same = np.array([np.count_nonzero(data[d:] == data[:-d]) / (len(data) - d) for d in distances])
    likely = distances[np.argsort(-same, kind="stable")[:2]].tolist()
    known = [row] if 1 < row <= codec.MAX_STRIDE else []
    return list(dict.fromkeys([0, *known, *([4] if most > 2 else []), *likely]))[: most + 1]
