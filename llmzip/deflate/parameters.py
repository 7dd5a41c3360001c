"""How a stream was made: what the producer's level, memory and window come to.

And how a recipe says it (docs/format.md).
"""

from typing import NamedTuple

from llmzip.errors import FormatError, TruncatedError
from llmzip.primitives import create_varint, parse_varint

DEFAULT, FILTERED, HUFFMAN, RUNS, FIXED_CODES = range(5)  # strategies
SHIFTED, OF_THREE, OF_FOUR, FOLDED = range(4)  # hashes
SYNC, FULL_FLUSH, FRESH = range(3)  # flushes; FRESH: begun anew, with the window as a dictionary
ZLIB, GZIP, GZIP_CUTTING = range(3)  # rules of blocks

WINDOW = 32768
LOOKAHEAD = 262  # bytes of it that zlib leaves unused
EXACT, LAST, CONTINUED, FREE, SPECIAL, TAIL = (1 << bit for bit in range(6))  # the shape of a recipe


class Parameters(NamedTuple):
    """The same fields as in c/parser.h."""

    good: int
    lazy: int
    nice: int
    chain: int
    fast: int = 0  # 1: nothing is put off, and long matches are not inserted; 2: their last byte is
    too_far: int = 4096  # for a match of three bytes
    max_distance: int = WINDOW - LOOKAHEAD
    strategy: int = DEFAULT
    rule: int = ZLIB
    limit: int = 16383  # tokens of a block
    hash: int = SHIFTED
    hash_bits: int = 15
    any: int = 0  # the first position may be a match, and the farthest one at any step
    window_bits: int = 15
    flush: int = SYNC


# The largest value of each field, and the smallest.
MOST = Parameters(
    512, 512, 258, 1 << 15, 2, 1 << 15, WINDOW, FIXED_CODES, GZIP_CUTTING, 1 << 26, FOLDED, 17, 1, 15, FRESH
)
LEAST = Parameters(1, 0, 3, 1, 0, 0, 1, 0, 0, 1, 0, 8, 0, 9, 0)

LEVELS = (  # of zlib, then three that Microsoft Office has
    Parameters(4, 4, 8, 4, 1, WINDOW),
    Parameters(4, 5, 16, 8, 1, WINDOW),
    Parameters(4, 6, 32, 32, 1, WINDOW),
    Parameters(4, 4, 16, 16),
    Parameters(8, 16, 32, 32),
    Parameters(8, 16, 128, 128),
    Parameters(8, 32, 128, 256),
    Parameters(32, 128, 258, 1024),
    Parameters(32, 258, 258, 4096),
    Parameters(4, 4, 258, 128),
    Parameters(4, 4, 128, 32),
    Parameters(4, 4, 128, 16, 1, WINDOW),
)
MEMORIES = range(1, 10)


def with_memory(parameters: Parameters, memory: int) -> Parameters:
    return parameters._replace(hash_bits=memory + 7, limit=(1 << memory + 6) - 1)


def with_level(parameters: Parameters, level: Parameters) -> Parameters:
    """With all that levels differ in."""
    fields = ("good", "lazy", "nice", "chain", "fast", "too_far")
    return parameters._replace(**{field: getattr(level, field) for field in fields})


def _of_gzip(level: int) -> Parameters:
    return LEVELS[level - 1]._replace(rule=GZIP_CUTTING if level > 2 else GZIP, limit=32767)


def _greedy(nice: int, chain: int, **others: int) -> Parameters:
    return Parameters(8, 2, nice, chain, too_far=WINDOW, any=1, max_distance=WINDOW, **others)


_FOUR = {"hash": OF_FOUR, "hash_bits": 16}
OTHERS = (
    *(LEVELS[level - 1]._replace(**_FOUR) for level in range(1, 10)),  # Chromium's zlib and so Node's, zlib-ng
    *(LEVELS[level - 1]._replace(**_FOUR, any=1, max_distance=WINDOW) for level in range(2, 10)),  # Go
    _greedy(32, 2, hash=OF_FOUR, hash_bits=15),  # libdeflate 1
    _greedy(32, 32, hash=OF_THREE, hash_bits=17),  # 7-Zip 1
    _greedy(258, 100, hash=OF_THREE, hash_bits=15),  # fflate
    Parameters(32, 258, 200, 128, too_far=8191, hash=OF_THREE, hash_bits=15),  # miniz
    LEVELS[8]._replace(too_far=WINDOW),  # zlib-ng 9
    Parameters(258, 0, 258, 1, 1, too_far=8191, max_distance=WINDOW, hash=FOLDED, hash_bits=12, any=1),  # miniz 1
    Parameters(4, 4, 8, 4, 2, too_far=WINDOW, hash=OF_FOUR, hash_bits=16),  # zlib-ng 2
)
PRESETS: tuple[Parameters, ...] = (
    *(with_memory(level, memory) for level in LEVELS for memory in MEMORIES),
    *(_of_gzip(level) for level in range(1, 10)),
    *OTHERS,
)
FIRST_OF_GZIP = len(LEVELS) * len(MEMORIES)
_NUMBERS = {parameters: i for i, parameters in enumerate(PRESETS)}


def with_window(parameters: Parameters, window_bits: int) -> Parameters:
    """As the writer of a smaller window makes it."""
    if window_bits == 15:
        return parameters
    return parameters._replace(window_bits=window_bits, max_distance=(1 << window_bits) - LOOKAHEAD)


class Head(NamedTuple):
    """What stands at the head of a recipe."""

    parameters: Parameters
    exact: bool  # nothing follows: all is as predicted
    last: bool  # the stream ends
    tail: bool = False  # an exact one ends with a flush
    continued: bool = False  # from the middle of a stream:
    lead: int = 1  # the bits before its first block that share a byte with it, below a one
    reach: int = 0  # and how far back the producer's window reaches

    def record(self) -> bytes:
        p = self.parameters
        plain = p._replace(strategy=DEFAULT, flush=SYNC, window_bits=15, max_distance=WINDOW - LOOKAHEAD)
        special = bytes([p.window_bits - 8 | p.strategy << 3 | p.flush << 6])
        shape = EXACT * self.exact | LAST * self.last | CONTINUED * self.continued | TAIL * self.tail
        if p in _NUMBERS:
            record = bytes([_NUMBERS[p]])
        elif plain in _NUMBERS and with_window(plain, p.window_bits).max_distance == p.max_distance:
            shape |= SPECIAL
            record = bytes([_NUMBERS[plain]]) + special
        else:
            shape |= FREE
            record = b"".join(map(create_varint, p))
        if self.continued:
            record += bytes([self.lead]) + create_varint(self.reach)
        return bytes([shape]) + record


def parse_head(recipe: bytes) -> tuple[Head, bytes]:
    """And what follows it. Raises FormatError."""
    try:
        head, at = _parse_head(recipe)
    except (IndexError, TruncatedError) as error:
        raise FormatError("a recipe of a deflate stream is too short") from error
    if head.exact and at != len(recipe):
        raise FormatError("a recipe of a deflate stream is too long")
    return head, recipe[at:]


def _parse_head(recipe: bytes) -> tuple[Head, int]:
    shape, at = recipe[0], 1
    no_tail = shape & TAIL and shape & (EXACT | LAST) != EXACT | LAST
    if shape >= 2 * TAIL or shape & (FREE | SPECIAL) == FREE | SPECIAL or no_tail:
        raise FormatError("a recipe of a deflate stream has a shape that does not exist")
    if shape & FREE:
        fields = []
        for _ in Parameters._fields:
            field, at = parse_varint(recipe, at, "a recipe of a deflate stream")
            fields.append(field)
        parameters = Parameters(*fields)
    else:
        if recipe[1] >= len(PRESETS):
            raise FormatError("a recipe of a deflate stream has parameters that do not exist")
        parameters, at = PRESETS[recipe[1]], 2
    if shape & SPECIAL:
        special, at = recipe[2], 3
        parameters = with_window(parameters, 8 + (special & 7))._replace(strategy=special >> 3 & 7, flush=special >> 6)
    lead, reach = 1, 0
    if shape & CONTINUED:
        lead = recipe[at]
        reach, at = parse_varint(recipe, at + 1, "a recipe of a deflate stream")
    if any(not low <= value <= high for low, value, high in zip(LEAST, parameters, MOST, strict=True)):
        raise FormatError("a recipe of a deflate stream has parameters that do not exist")
    if (parameters.hash == SHIFTED and parameters.hash_bits > 16) or lead == 0 or reach > 2 * WINDOW:
        raise FormatError("a recipe of a deflate stream has parameters that do not exist")
    exact, last, tail, continued = (bool(shape & flag) for flag in (EXACT, LAST, TAIL, CONTINUED))
    return Head(parameters, exact, last, tail, continued, lead, reach), at
