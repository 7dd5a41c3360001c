"""What content looks like: where in it there is text, and whether anything could be gained from it.

A cheap look at the bytes, no model.

Wrong guesses cost size or time, never bytes: what is called text is coded as bytes as well, and the smallest is kept.
"""

import numpy as np
from numpy.typing import NDArray

from llmzip.container import UTF16BE, UTF16LE

PIECE = 1024  # bytes: what is looked at as one
LOOK = 1 << 20  # bytes looked at in one go: bounds memory
SWITCH = 8  # pieces of the other kind that pay for another block: its bytes, and what is learnt anew
MAX_STRANGE = 0.015  # share of control characters in text; in random bytes it is 0.1
MIN_SPACES = 0.005  # share of spaces and line ends in UTF-16 text; ASCII seen as UTF-16 has none
MIN_RANDOM = 4096  # bytes: entropy is not known from fewer
RANDOM = 0.97  # share of the most entropy that so many different bytes can have; English has 0.7

_STRANGE = np.array([(b < 32 and b not in b"\0\b\t\n\v\f\r\x1b") or b == 127 for b in range(256)])


def runs(content: bytes) -> list[tuple[int, bool]]:
    """The stretches of `content` that are best coded on their own: the size of each, and whether it is text.

    By the cheapest division: a piece on the wrong side costs 1, a change of sides SWITCH.
    """
    ends, side = _divide(_votes(content).tolist())
    sizes = np.diff([0, *(end * PIECE for end in ends), len(content)])
    return [(int(size), side ^ bool(i % 2)) for i, size in enumerate(sizes)]


def _divide(votes: list[int]) -> tuple[list[int], bool]:
    """The pieces at which sides change, and the side of the first piece (true: text)."""
    came_over = []  # for (piece, side): whether the cheapest way to it is from the other side
    binary, text = 0, 0  # the least cost of being on either side now
    for vote in votes:
        came_over.append((text + SWITCH < binary, binary + SWITCH < text))
        binary, text = min(binary, text + SWITCH) + max(vote, 0), min(text, binary + SWITCH) + max(-vote, 0)
    side, ends = text <= binary, []
    for i in range(len(votes) - 1, 0, -1):  # back along the cheapest way
        if came_over[i][side]:
            side = not side
            ends.append(i)
    return ends[::-1], side


def is_text(content: bytes) -> bool:
    """Whether more of it can only be text than can only be binary, for what is coded on one side already."""
    return int(_votes(content).sum()) > 0


def utf16(content: bytes) -> int:
    """UTF16LE or UTF16BE if that is what the content looks like, else 0."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return UTF16LE if content[0] == 0xFF else UTF16BE
    for transform, kind in ((UTF16LE, "<u2"), (UTF16BE, ">u2")):
        units = np.frombuffer(content[: len(content) // 2 * 2], kind)
        if len(units) and _is_utf16(units[None, :])[0]:
            return transform
    return 0


def is_random(content: bytes) -> bool:
    """Whether the bytes that occur do so equally often.

    Encrypted, compressed, or such data in base64 or hexadecimal.
    """
    counts = np.bincount(np.frombuffer(content, np.uint8), minlength=256)
    shares = counts[counts > 0] / max(1, len(content))
    entropy = -float(shares @ np.log2(shares)) if len(shares) else 0.0
    return len(content) >= MIN_RANDOM and len(shares) > 1 and entropy > RANDOM * float(np.log2(len(shares)))


def _votes(content: bytes) -> NDArray[np.int64]:
    """For each piece 1: text, -1: binary, 0: could be either."""
    votes = [_votes_of_some(content[at : at + LOOK]) for at in range(0, len(content), LOOK)]
    return np.concatenate(votes) if votes else np.empty(0, np.int64)


def _votes_of_some(content: bytes) -> NDArray[np.int64]:
    padded = np.zeros(-(-len(content) // PIECE) * PIECE, dtype=np.uint8)
    padded[: len(content)] = np.frombuffer(content, np.uint8)
    pieces = padded.reshape(-1, PIECE)
    n_bytes = (pieces != 0).sum(axis=1)  # zeros are found in text archives, and in UTF-16
    n_strange = _STRANGE[pieces].sum(axis=1)
    text = n_strange <= MAX_STRANGE * n_bytes
    votes = np.where(text, 1, -1)
    votes[text & (n_bytes < PIECE // 16)] = 0
    for kind in ("<u2", ">u2"):
        votes[_is_utf16(pieces.view(kind))] = 1
    return votes


def _is_utf16(units: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """For each row whether it may be text: spaces, and next to no control or private characters."""
    spaces = (units == 0x20) | (units == 0x0A) | (units == 0x3001) | (units == 0x3002)
    strange = (units < 0x20) & (units != 0x0A) & (units != 0x0D) & (units != 0x09)
    strange |= (units > 0x7E) & (units < 0xA0) | (units >= 0xE000) & (units < 0xF900) | (units > 0xFFF0)
    n = units.shape[1]
    found: NDArray[np.bool_] = (spaces.sum(axis=1) >= MIN_SPACES * n) & (strange.sum(axis=1) <= MAX_STRANGE * n)
    return found
