"""The predictor by the C library: the arrays that it works on. Same integers as `predictor/reference.py`."""

import ctypes
from ctypes import POINTER, Structure, byref, c_int, c_int32, c_int64, c_uint64, c_void_p
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmzip import native
from llmzip.errors import FormatError
from llmzip.predictor import tables
from llmzip.predictor.coder import PAST_END
from llmzip.predictor.prior import FIRST_APMS, Mode, Prior, mode_of
from llmzip.predictor.recording import PARTIES, PARTY_TOP, RECORD, most_decisions
from llmzip.predictor.spelling import Spelling

_LANE_BYTES, _LINE_BYTES, _END_BYTES = 2144, 64, 8
_BEFORE = 64  # zeros before the first byte of a group
_AFTER = 8  # and zeros after the last
_ROOM = 24  # bytes that a byte takes at the very worst: eight bits or nine of 2^-20
_FULL = -2


class _Coder(Structure):
    _fields_ = (
        ("low", c_uint64),
        ("range", c_uint64),
        ("point", c_uint64),
        ("bytes", c_void_p),
        ("at", c_int64),
        ("size", c_int64),
        ("reads", c_int32),
        ("past", c_int32),
    )


class _Spelling(Structure):
    _fields_ = (
        ("ids", c_void_p),
        ("starts", c_void_p),
        ("lengths", c_void_p),
        ("bytes", c_void_p),
        ("id_lengths", c_void_p),
        ("weights", c_void_p),
        ("sums", c_void_p),
        ("n", c_int64),
    )


class _Predictor(Structure):
    _fields_ = (
        *((name, c_void_p) for name in (
            "squash", "reciprocal", "stretch", "log2", "lines", "once", "ends", "histories", "run_cells", "match_cells",
            "model_cells", "apms", "first_apms", "biases", "weights", "seconds", "latest", "followers", "followers1",
            "followers3", "data", "flags", "lanes",
        )),
        *((name, c_int64) for name in ("n_lanes", "stride", "n_coded")),
        *((name, c_int32) for name in ("line_bits", "end_bits", "with_model")),
        ("coder", _Coder),
        ("spelling", _Spelling),
        ("records", c_void_p),
        ("n_records", c_int64),
    )  # fmt: skip


_LAYOUT = (
    ctypes.sizeof(_Predictor), _LANE_BYTES, _LINE_BYTES, _END_BYTES, RECORD.itemsize, PARTIES, PARTY_TOP, 16,
    _Predictor.coder.offset, _Predictor.spelling.offset, tables.TEXT_CONTEXTS, tables.TOKEN_CONTEXTS,
    tables.RECORD_CONTEXTS, len(tables.WITH_MODEL), tables.MATCHES, tables.HISTORY_SETS, tables.TOKEN_ENDS,
    tables.INPUTS, tables.SETS, tables.SECONDS, tables.SECOND_ROWS, tables.APMS, tables.MODEL_APMS, tables.BUCKETS,
    tables.TOP, tables.WEIGHT_TOP, tables.SECOND_TOP, tables.RATE_BITS, tables.SECOND_RATE_BITS, tables.BOOST,
    tables.BOOST_BYTES, tables.RECORD_BOOST_BYTES, tables.SLOT_LIMIT, tables.HISTORY_LIMIT, tables.RUN_LIMIT,
    tables.MATCH_LIMIT, tables.MODEL_LIMIT, tables.APM_LIMIT, tables.LASTING, tables.PLAIN_LASTING, tables.LATEST_BITS,
    tables.APM_BITS, tables.WAYS, PAST_END, tables.LONGEST, tables.LONGEST_LOOK, tables.MOST_MISSES,
    tables.MASKED_LONGEST, tables.MASKED_LENGTH, tables.STACK, tables.GROUP, *tables.SET_ROWS,
    tables.OWN_SHARE, tables.LEAST_ERROR, tables.ERROR_TOP,
)  # fmt: skip


@cache
def _functions() -> ctypes.CDLL:
    step = c_int, POINTER(_Predictor), c_void_p, c_int64, c_void_p, c_int64, c_int64, c_int64
    return native.declared(
        "predictor",
        _LAYOUT,
        open=(None, POINTER(_Predictor), c_void_p, c_int64, c_int),
        bytes=(c_int, POINTER(_Predictor), c_int64),
        step=step,
        finish=(c_int64, POINTER(_Predictor)),
    )


class Fused:
    """See `llmzip.predictor.Engine`."""

    def __init__(self, line_bits: int, prior: Prior) -> None:
        self._library = _functions()
        self._prior = prior
        self._used = _BEFORE
        self._data, self._flags = (np.zeros(_BEFORE + _AFTER, dtype=np.uint8) for _ in range(2))
        end_bits = tables.end_bits(line_bits)
        # Zeros cost nothing until they are touched.
        arrays: dict[str, NDArray[Any]] = {
            "squash": tables.SQUASH,
            "reciprocal": tables.RECIPROCAL,
            "stretch": tables.STRETCH,
            "log2": tables.LOG2,
            "lines": _aligned(16 << line_bits, np.dtype(np.uint32)),
            "once": _aligned(4 << line_bits, np.dtype(np.uint32)),
            "ends": np.zeros(2 << end_bits, dtype=np.uint32),
            "apms": np.zeros(prior.biases.size * tables.BUCKETS, dtype=np.uint32),
            "first_apms": FIRST_APMS,
            "biases": prior.biases,
            "latest": np.zeros(tables.MATCHES << tables.LATEST_BITS, dtype=np.int32),
            "followers": np.zeros(1 << 16, dtype=np.uint32),
            "followers1": np.zeros(1 << 8, dtype=np.uint32),
            "followers3": np.zeros(1 << 16, dtype=np.uint32),
        }
        self._struct = _Predictor(
            line_bits=line_bits, end_bits=end_bits, **{name: native.pointer(each) for name, each in arrays.items()}
        )
        self._arrays = arrays  # kept alive
        self.modes: dict[int, Mode] = {}
        self._records: NDArray[np.void] | None = None

    def open(
        self, sizes: list[int], spelling: Spelling | None, stride: int, body: bytes | None, payload: bytes | None
    ) -> None:
        ends = self._used + np.cumsum(sizes)
        self._make_room(sum(sizes))
        if spelling is not None:
            self._spell(spelling)
        self._start, self._used = self._used, self._used + sum(sizes)
        self._payload: bytes | None = None
        assert spelling is not None or len(sizes) == 1
        self._lanes = np.zeros((len(sizes), _LANE_BYTES), dtype=np.uint8)
        places = self._lanes.view(np.int64)
        places[:, 0], places[:, 1] = ends - sizes, ends
        self._starts, self._at = places[:, 0], places[:, 2]
        if body is not None:
            self._data[self._start : self._used] = np.frombuffer(body, np.uint8)
            self._code = np.empty(_ROOM * len(body) + 64, dtype=np.uint8)
        else:
            assert payload is not None
            self._code = np.frombuffer(payload, np.uint8) if payload else np.zeros(1, dtype=np.uint8)
        self._struct.lanes, self._struct.n_lanes = self._lanes.ctypes.data, len(sizes)
        self._struct.stride, self._struct.with_model = stride, spelling is not None
        for name, array in vars(self._mode(mode_of(stride, spelling))).items():
            setattr(self._struct, name, native.pointer(array))
        self._library.llmzip_predictor_open(
            byref(self._struct), self._code.ctypes.data, len(self._code), payload is not None
        )

    def _mode(self, mode: int) -> Mode:
        """The tables of a mode, which are made when its first block comes."""
        if mode not in self.modes:
            first = self._prior.modes[mode]
            self.modes[mode] = Mode(**{name: _copied(array) for name, array in vars(first).items()})
        return self.modes[mode]

    def _make_room(self, n: int) -> None:
        """For so many bytes more."""
        if self._used + n + _AFTER > len(self._data):
            room = max(2 * self._used, self._used + n) + _AFTER
            before = self._data, self._flags
            self._data, self._flags = (np.zeros(room, dtype=np.uint8) for _ in range(2))
            for new, old in zip((self._data, self._flags), before, strict=True):
                new[: self._used] = old[: self._used]
        self._struct.data, self._struct.flags = native.pointer(self._data), native.pointer(self._flags)

    def _spell(self, spelling: Spelling) -> None:
        """With this vocabulary from now on."""
        named = {name: getattr(spelling, name) for name in ("ids", "starts", "lengths", "bytes", "id_lengths")}
        n, self._longest = len(spelling.ids), int(spelling.lengths.max())
        n_groups = -(-n // tables.GROUP)
        named |= {
            "weights": np.zeros(n_groups * tables.GROUP, dtype=np.uint32),
            "sums": np.zeros(n_groups, dtype=np.int64),
        }
        self._arrays |= {f"spelling.{name}": each for name, each in named.items()}
        self._struct.spelling = _Spelling(n=n, **{name: native.pointer(each) for name, each in named.items()})

    def record(self) -> None:
        self._records = np.empty(0, dtype=RECORD)

    def recorded(self) -> NDArray[np.void]:
        assert self._records is not None
        records = self._records[: self._struct.n_records].copy()
        records["at"] -= self._start
        return records

    def _make_records(self, n_bytes: int) -> None:
        """Room for the decisions of so many bytes, if somebody asks what they are."""
        if self._records is not None:
            if len(self._records) < (n := most_decisions(n_bytes)):
                self._records = np.empty(n, dtype=RECORD)
            self._struct.records, self._struct.n_records = self._records.ctypes.data, 0

    def code_bytes(self, n: int) -> None:
        self._make_records(n)
        _check(self._library.llmzip_predictor_bytes(byref(self._struct), n))

    def code_step(self, scores: NDArray[np.int16], ids: NDArray[np.int32], first: int) -> None:
        assert (
            scores.dtype == np.int16
            and scores.strides[1] == 2
            and ids.dtype == np.int32
            and scores.shape[0] == len(ids)
        )
        assert 0 <= first <= len(self._lanes) - len(ids)
        self._make_records(len(ids) * self._longest)
        rows, places = (scores.ctypes.data, scores.strides[0] // 2), (ids.ctypes.data, ids.strides[0] // 4)
        _check(self._library.llmzip_predictor_step(byref(self._struct), *rows, *places, first, len(ids)))

    def done(self) -> NDArray[np.int64]:
        found: NDArray[np.int64] = self._at - self._starts
        return found

    def body(self) -> bytes:
        return self._data[self._start : self._used].tobytes()

    def n_written(self) -> int:
        return int(self._struct.coder.at)

    def payload(self) -> bytes:
        if self._payload is None:  # finishing is done once
            n = self._library.llmzip_predictor_finish(byref(self._struct))
            self._payload = self._code[:n].tobytes()
        return self._payload


def _check(result: int) -> None:
    assert result != _FULL
    if result < 0:
        raise FormatError("the code stream is invalid")


def _copied(array: NDArray[Any]) -> NDArray[Any]:
    copy = _aligned(array.size, array.dtype)
    copy[:] = array.ravel()
    return copy


def _aligned(count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros from the start of a line of the processor's cache."""
    room = np.zeros(count + 15, dtype=dtype)
    start = -room.ctypes.data % 64 // 4
    return room[start : start + count]
