"""bzip2 streams by the C library: the arrays that it works on. Same bytes as `bzip2/reference.py`."""

import ctypes
from collections.abc import Iterator
from ctypes import POINTER, Structure, byref, c_int32, c_int64, c_uint32, c_uint64, c_void_p
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmzip import native
from llmzip.bzip2 import reference as twin

OF_EACH, OF_ALL = 27, 1 << 14  # bytes of memory: for each of a block (24 MB at level 9), and for all of them
_BYTES = 256
_FIXED = 1 << 13  # bytes of a block besides symbols and selectors: 6 codes of 258 lengths, 33 bits each, take 6400


class _Job(Structure):
    _fields_ = (
        ("plain", c_void_p),
        ("n", c_int64),
        ("at", c_int64),
        *((name, c_void_p) for name in ("block", "column", "types", "selectors", "out")),
        *((name, c_void_p) for name in ("order", "texts", "buckets")),
        ("symbols", c_void_p),
        ("held", c_uint64),
        ("n_held", c_int32),
        ("level", c_int32),
        ("check", c_uint32),
        ("padding", c_uint32),
    )


_LAYOUT = (
    ctypes.sizeof(_Job), _Job.padding.offset, twin.UNIT, twin.RESERVED, twin.MIN_RUN, twin.MAX_RUN, twin.SYMBOLS,
    twin.TABLES, twin.MOST_LENGTH,
)  # fmt: skip


@cache
def _functions() -> ctypes.CDLL:
    return native.declared("bzip2", _LAYOUT, next=(c_int64, POINTER(_Job)))


def blocks(plain: memoryview, level: int) -> Iterator[bytes]:
    """What follows the header of the stream, block by block."""
    most = min(twin.UNIT * level, len(plain) + len(plain) // twin.MIN_RUN + 1)  # bytes of a block
    arrays: dict[str, NDArray[Any]] = {
        "plain": np.frombuffer(plain, np.uint8) if len(plain) else np.zeros(1, np.uint8),
        "block": np.empty(most, np.uint8),
        "column": np.empty(most, np.uint8),
        "types": np.empty(2 * most, np.uint8),
        "selectors": np.empty(most // twin.GROUP + 1, np.uint8),
        # a symbol takes up to MOST_LENGTH bits, and a selector up to TABLES for GROUP of them
        "out": np.empty((most + 1) * (twin.MOST_LENGTH + 1) // 8 + _FIXED, np.uint8),
        "order": np.empty(most, np.int32),
        "texts": np.empty(3 * most, np.int32),
        "buckets": np.empty(max(_BYTES, most // 2), np.int32),
        "symbols": np.empty(most + 1, np.uint16),
    }
    job = _Job(n=len(plain), level=level)
    for name, array in arrays.items():
        setattr(job, name, array.ctypes.data)
    ended = False
    while not ended:
        ended = job.at == job.n
        size = _functions().llmzip_bzip2_next(byref(job))
        yield arrays["out"][:size].tobytes()
