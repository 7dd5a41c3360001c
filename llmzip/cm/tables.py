"""What a coder of bytes is like before it has learnt anything (docs/format.md 3.5)."""

import numpy as np
from numpy.typing import NDArray

CONTEXTS = 12
INPUTS = 2 * CONTEXTS + 2  # two for each context, the match, a constant
SETS = (6 * 5 * 2, 256, 256 * 8)  # of the three mixers
UNTRIED = 5000  # the weight of an input, 0.08
LATEST_BITS = 20
REFINING_BITS = 16  # the byte before, and path


def first_histories() -> NDArray[np.uint32]:
    """Cells (CONTEXTS, 1024): probability of a one << 10 | observations, by zeros << 6 | ones << 2 | the last two bits."""
    zeros, ones, _ = np.ix_(np.arange(16), np.arange(16), np.arange(4))
    cells = np.broadcast_to((((4 * ones + 1) << 22) // (4 * zeros + 4 * ones + 2)) << 10, (16, 16, 4))
    return np.tile(cells.ravel(), (CONTEXTS, 1)).astype(np.uint32)


def first_match_cells() -> NDArray[np.uint32]:
    """Cells (36,) by length class: that the match is right."""
    length = np.arange(36)
    return ((((length + 1) << 22) // (length + 2)) << 10).astype(np.uint32)


def first_weights(sets: int) -> NDArray[np.int32]:
    """Mixer weights (sets, INPUTS)."""
    return np.full((sets, INPUTS), UNTRIED, dtype=np.int32)
