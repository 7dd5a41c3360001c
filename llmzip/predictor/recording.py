"""What each decision cost, and who said what, for those who ask (`llmzip explain`).

Changes nothing that is coded. Twin of c/recording.h.
"""

import numpy as np

from llmzip.predictor.learning import clip
from llmzip.predictor.tables import SECONDS, SETS, constant_input, match_inputs, model_inputs

CONTEXTS_SAY, MATCHES_SAY, MODEL_SAYS = range(3)
PARTIES, PARTY_TOP = 3, 1 << 20

# A decision: in which byte of the body, which of it (END: the token ends before it), what came, what a one had of 2^24,
# the byte that the longest match expected or -1, and what each party added to the stretch of a one, in 1/256 bit.
RECORD = np.dtype(
    [
        ("at", np.int64),
        ("bit", np.int32),
        ("value", np.int32),
        ("ones", np.int32),
        ("expected", np.int32),
        ("said", np.int32, PARTIES),
    ],
    align=True,
)


def most_decisions(n_bytes: int) -> int:
    """Eight bits of each byte, and whether the token ends."""
    return 9 * n_bytes


def party_of(place: int, n_contexts: int) -> int:
    """Whose an input is, so many contexts in use. The constant counts as a context."""
    if place >= model_inputs(n_contexts):
        return MODEL_SAYS
    return MATCHES_SAY if match_inputs(n_contexts) <= place < constant_input(n_contexts) else CONTEXTS_SAY


def parties(weights: list[list[int]], seconds: list[list[int]], inputs: list[int], n_contexts: int) -> list[int]:
    """What each party adds to the stretch before it is limited."""
    sums = [0] * PARTIES
    for i in range(SETS):
        of_set, share = [0] * PARTIES, sum(row[i] for row in seconds)
        for j, (w, x) in enumerate(zip(weights[i], inputs, strict=True)):
            of_set[party_of(j, n_contexts)] += w * x
        for party in range(PARTIES):
            sums[party] += (of_set[party] >> 16) * share
    return [clip(_divided(each >> 16), PARTY_TOP) for each in sums]


def _divided(number: int) -> int:
    """By the rows of the second layer, towards zero as C does it."""
    return number // SECONDS if number >= 0 else -(-number // SECONDS)
