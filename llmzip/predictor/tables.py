"""Every table, size and limit of the predictor, by integer arithmetic alone.

`fused` compares them with the C when it is loaded. Units: stretches in 1/256 bit; probabilities in 2^-24 (of the
coder), 2^-22 (of a cell) or 2^-16 (of a slot); weights in 2^-16.
"""

import numpy as np

from llmzip.predictor.logistic import LOG2, RECIPROCAL, SQUASH, TOP, log2_of, log2_of_each

__all__ = ["LOG2", "RECIPROCAL", "SQUASH", "STRETCH", "TOP", "log2_of"]

TEXT_CONTEXTS, TOKEN_CONTEXTS, RECORD_CONTEXTS = 38, 3, 32
CONTEXTS = TEXT_CONTEXTS + TOKEN_CONTEXTS
# contexts in use; the others would say what the model has said
WITH_MODEL = 0, 2, 3, 4, 7, 8, 10, 11, 13, 14, *range(18, 22), *range(27, 31), *range(32, CONTEXTS)
MATCHES, MASKED = 4, 2
MATCH_MINIMUM = (6, 14, 0, 4)
HISTORY_SETS, TOKEN_ENDS = 8, 4  # tables of what histories have come to; that of token ends
INPUTS = 128  # at most, a multiple of 16
SET_ROWS = 8 * 5 * 3, 256, 256 * 9, 512 * 3, 512, 16 * 16 * 4, 64 * 9, 2048, 512, 257 * 2, 256, 512
SETS = len(SET_ROWS)
SECONDS, SECOND_ROWS = 4, 320
APMS, MODEL_APMS = 5, 2
SAID_BY_MODEL = 2 + MODEL_APMS  # inputs
BUCKETS = 33  # of an APM, a bit of stretch apart
END = 8  # the decision after the eight bits: "the token ends here"
NO_MODEL = 32767
STACK = 64
GROUP = 64  # entries of a vocabulary whose weights are summed together
DONE, STARTS = 1, 2  # flags of a byte: coded; the first of a token
LATEST_BITS, APM_BITS = 20, 16
WAYS = 16  # contexts that have come once, looked at together

WEIGHT_TOP, SECOND_TOP = (1 << 18) - 1, 1 << 20
RATE_BITS, SECOND_RATE_BITS = 17, 18
# of the rate of weights, in 1/256, in the long run: with a model, without one
LASTING, PLAIN_LASTING = 256, 176
BOOST, BOOST_BYTES, RECORD_BOOST_BYTES, CONSTANT = 3, 1500, 32000, 256
# of 16: how much of what a weight set learns is its own error; up to the least error it learns nothing
OWN_SHARE, LEAST_ERROR, ERROR_TOP = 2, 512, 1 << 18
APM_FIRST = 6  # as many decisions the first value of an APM's cell counts for
SLOT_LIMIT, HISTORY_LIMIT, RUN_LIMIT, MATCH_LIMIT, MODEL_LIMIT, APM_LIMIT = 60, 1023, 1023, 400, 1000, 255
LONGEST, LONGEST_LOOK, MOST_MISSES, MASKED_LONGEST, MASKED_LENGTH = 65535, 400, 8, 60, 7

# log2(p / (1 - p)) of p = (i + 1/2) / 2^14: p and 1 - p are odd multiples of 2^-15, in one order and the other
_ODD = log2_of_each(np.arange(1, 2 << 14, 2))
STRETCH = np.clip(_ODD - _ODD[::-1], -TOP, TOP).astype(np.int16)


# Inputs, n contexts in use: n cells, n slots and n runs; two of each match; a constant; the model's.


def match_inputs(n: int) -> int:
    return 3 * n


def constant_input(n: int) -> int:
    return 3 * n + 2 * MATCHES


def model_inputs(n: int) -> int:
    return constant_input(n) + 1


def end_bits(line_bits: int) -> int:
    """Logarithm of the slots for token ends, of all contexts together."""
    return max(10, min(24, line_bits - 1))
