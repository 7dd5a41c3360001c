"""Deflate streams by the C library: the arrays that it works on. Same bytes as `deflate/reference.py`."""

import ctypes
from ctypes import POINTER, Structure, byref, c_int32, c_int64, c_void_p
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmzip import native
from llmzip.deflate import corrections as twin
from llmzip.deflate.inflate import STEPS_ALWAYS, STEPS_EACH, STEPS_OF_BLOCK
from llmzip.deflate.parameters import LOOKAHEAD, WINDOW, Head, Parameters
from llmzip.deflate.state import State
from llmzip.errors import FormatError

_AFTER = 8  # bytes after the plain text that may be read
_GROW, _TOO_MUCH = -4, -6
_ROOM = 1 << 16  # of the first look at a stream
_BLOCK = np.dtype(
    [("header", "<i8"), *((name, "<i4") for name in ("type", "padding", "n_tokens", "first", "length", "final"))]
)


class _Parameters(Structure):
    _fields_ = tuple((name, c_int32) for name in Parameters._fields)


class _Inflation(Structure):
    _fields_ = (
        ("data", c_void_p),
        ("size", c_int64),
        ("at", c_int64),
        ("x", c_void_p),
        ("start", c_int32),
        ("n", c_int32),
        ("room", c_int32),
        ("tokens", c_void_p),
        ("n_tokens", c_int32),
        ("token_room", c_int32),
        ("blocks", c_void_p),
        ("n_blocks", c_int32),
        ("block_room", c_int32),
        ("most", c_int32),
        ("padding", c_int32),
    )


class _Job(Structure):
    _fields_ = (
        ("parameters", _Parameters),
        *((name, c_int32) for name in ("window", "n", "base", "last", "silent", "tail", "lead", "padding")),
        *((name, c_void_p) for name in ("x", "marks", "head", "links", "all_head", "all_links", "data")),
        ("size", c_int64),
        ("blocks", c_void_p),
        ("tokens", c_void_p),
        ("n_blocks", c_int64),
        *((name, c_void_p) for name in ("code", "out", "marks_after")),
        *((name, c_int64) for name in ("code_size", "out_size", "steps")),
        *((name, c_int32) for name in ("base_after", "lead_after")),
    )


_LAYOUT = (
    ctypes.sizeof(_Parameters), _BLOCK.itemsize, ctypes.sizeof(_Inflation), ctypes.sizeof(_Job), _Job.base_after.offset,
    twin.CELLS, twin.NUMBER, twin.CELL_LIMIT, twin.ALL_BITS, STEPS_EACH, STEPS_ALWAYS, STEPS_OF_BLOCK,
    twin.MOST_LOOKS, twin.MOST_RANKS, LOOKAHEAD,
)  # fmt: skip


@cache
def _functions() -> ctypes.CDLL:
    return native.declared(
        "deflate",
        _LAYOUT,
        inflate=(c_int64, POINTER(_Inflation)),
        misses=(c_int64, POINTER(_Job), c_int64, c_int64),
        write=(c_int64, POINTER(_Job)),
        read=(c_int64, POINTER(_Job)),
    )


def _bytes(data: Any) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8) if len(data) else np.zeros(1, np.uint8)


class _Work:
    """A job and its arrays."""

    def __init__(self, x: NDArray[np.uint8], n: int, before: State | None) -> None:
        window = before.window if before else b""
        self._arrays: dict[str, NDArray[Any]] = {
            "x": x,
            "head": np.empty(1 << 17, np.int32),
            "links": np.empty(WINDOW, np.int32),
            "all_head": np.empty(1 << twin.ALL_BITS, np.int32),
            "all_links": np.empty(WINDOW, np.int32),
        }
        if before and before.marks is not None:
            self._arrays["marks"] = _bytes(before.marks)
        self.job = _Job(window=len(window), n=n, lead=1)
        self.point(**self._arrays)

    def point(self, **arrays: NDArray[Any]) -> None:
        self._arrays |= arrays
        for name, array in arrays.items():
            setattr(self.job, name, array.ctypes.data)

    def set(self, parameters: Parameters, *, last: bool, reach: int) -> None:
        self.job.parameters = _Parameters(*parameters)
        self.job.last, self.job.base = last, self.job.window - reach


class Stream:
    """A stream, or a piece of one, as tokens and blocks."""

    def __init__(self, s: _Inflation, last: bool, before: State | None, **arrays: NDArray[Any]) -> None:
        self.last, self.at, self._before = last, int(s.at), before
        self.blocks, self.tokens = arrays["blocks"][: s.n_blocks], arrays["tokens"][: s.n_tokens]
        empty = (self.blocks["length"] == 0) & (self.blocks["final"] == 0) & (self.blocks["type"] < 2)
        self.flushes = np.flatnonzero(empty)
        self.plain = arrays["x"][s.start : s.n].tobytes()
        self._reach = before.reach if before else 0
        self._work = _Work(arrays["x"], s.n, before)
        self._work.point(data=arrays["data"], blocks=self.blocks, tokens=arrays["tokens"])
        job = self._work.job
        job.size, job.n_blocks, job.padding = s.size, s.n_blocks, s.padding
        job.lead = before.lead if before else 1

    def misses(self, parameters: Parameters, n_tokens: int, stop: int) -> int:
        """Of the first so many tokens, how many a producer with these parameters would not have made.

        Counting ends at `stop`.
        """
        self._work.set(parameters, last=self.last, reach=self._reach)
        return int(_functions().llmzip_deflate_misses(byref(self._work.job), n_tokens, stop))

    def is_exact(self, parameters: Parameters, *, tail: bool) -> bool:
        """Whether a producer with these parameters would have made just this stream. Raises TooSlow."""
        self._work.set(parameters, last=self.last, reach=self._reach)
        self._work.job.silent, self._work.job.tail = True, tail
        result = _functions().llmzip_deflate_write(byref(self._work.job))
        if result == _TOO_MUCH:
            raise twin.TooSlow
        return bool(result == 0)

    def corrections(self, parameters: Parameters, most: int) -> bytes | None:
        """What such a producer would have made otherwise, if it takes `most` bytes or less."""
        if most < 0:
            return None
        self._work.set(parameters, last=self.last, reach=self._reach)
        code = np.empty(most + 64, np.uint8)  # what the coder holds back, and the zeros that it leaves out
        self._work.point(code=code)
        job = self._work.job
        job.silent, job.tail, job.code_size = False, False, len(code)
        n = _functions().llmzip_deflate_write(byref(job))
        return code[:n].tobytes() if 0 <= n <= most else None


def inflate(data: Any, start: int, most: int, before: State | None) -> Stream | None:
    """The stream at this byte, or so much of it that its plain text is not longer than `most`; None: there is none."""
    source, window = _bytes(data), before.window if before else b""
    room = min(_ROOM, most + 2 * LOOKAHEAD)
    while True:
        blocks = (STEPS_EACH * room + STEPS_ALWAYS) // STEPS_OF_BLOCK + 1
        arrays: dict[str, NDArray[Any]] = {
            "data": source,
            "x": np.empty(len(window) + room + _AFTER, np.uint8),
            "tokens": np.empty(room, np.uint32),
            "blocks": np.empty(blocks, _BLOCK),
        }
        arrays["x"][: len(window)] = _bytes(window)[: len(window)]
        s = _Inflation(
            start=len(window), n=len(window), room=len(window) + room, token_room=room, block_room=blocks, most=most
        )
        s.size, s.at = len(data), 8 * start + (before.lead.bit_length() - 1 if before else 0)
        for name in ("data", "x", "tokens", "blocks"):
            setattr(s, name, arrays[name].ctypes.data)
        result = _functions().llmzip_deflate_inflate(byref(s))
        if result >= 0:
            return Stream(s, bool(result), before, **arrays)
        if result != _GROW or room >= most + 2 * LOOKAHEAD:
            return None
        room = min(8 * room, most + 2 * LOOKAHEAD)


def read(plain: Any, head: Head, corrections: bytes, before: State | None) -> tuple[bytes, State | None]:
    """The bytes of the stream, and how it goes on. Raises FormatError."""
    window = before.window if before else b""
    x = np.empty(len(window) + len(plain) + _AFTER, np.uint8)
    x[: len(window)] = _bytes(window)[: len(window)]
    x[len(window) : len(window) + len(plain)] = _bytes(plain)[: len(plain)]
    work = _Work(x, len(window) + len(plain), before)
    work.set(head.parameters, last=head.last, reach=head.reach)
    out = np.empty(twin.most_bytes(len(plain)), np.uint8)
    tokens, marks = np.empty(len(plain) + 1, np.uint32), np.empty(WINDOW, np.uint8)
    work.point(out=out, tokens=tokens, marks_after=marks, code=_bytes(corrections))
    job = work.job
    job.silent, job.tail, job.lead = head.exact, head.tail, head.lead
    job.out_size, job.code_size = len(out), len(corrections)
    n = _functions().llmzip_deflate_read(byref(job))
    if n < 0:
        raise FormatError("the corrections of a deflate stream are invalid")
    if head.last:
        return out[:n].tobytes(), None
    after = x[max(0, job.n - WINDOW) : job.n].tobytes()
    state = State(
        after, int(job.lead_after), int(job.n - job.base_after), marks[: len(after)].tobytes(), head.parameters
    )
    return out[:n].tobytes(), state
