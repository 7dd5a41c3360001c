"""The C library `_kernels` through ctypes: finding it, choosing the instruction set, and the coder's tables. Absent, everything works without it.

Knows nothing of models but the C structures that `models/fused.py` fills. The kernels give the same bits as their numpy and torch twins.
"""

import ctypes
import importlib.util
import os
from ctypes import POINTER, Structure, c_double, c_float, c_int, c_int32, c_int64, c_void_p

import numpy as np
from numpy.typing import NDArray

LEVELS = ("portable", "avx2", "avx512-vnni", "amx")  # instruction sets, in the order of the C enum

GROUPS, MEMBERS, INTERVALS = range(3)


class Matrix(Structure):
    _fields_ = (
        ("packed", c_void_p),
        ("scale", c_void_p),
        ("bias", c_void_p),
        ("n", c_int64),
        ("k", c_int64),
        ("k_stride", c_int64),
    )


class Layer(Structure):
    _fields_ = (
        ("attn_norm", c_void_p),
        ("mlp_norm", c_void_p),
        ("q_norm", c_void_p),
        ("k_norm", c_void_p),
        ("qkv", Matrix),
        ("o", Matrix),
        ("gate_up", Matrix),
        ("down", Matrix),
    )


class Model(Structure):
    _fields_ = (
        ("layers", POINTER(Layer)),
        ("embed", c_void_p),
        ("embed_scale", c_void_p),
        ("norm", c_void_p),
        ("rope_cos", c_void_p),
        ("rope_sin", c_void_p),
        ("head", Matrix),
        ("norm_eps", c_double),
        ("n_layers", c_int64),
        ("n_vocab", c_int64),
        ("width", c_int32),
        ("n_heads", c_int32),
        ("n_kv_heads", c_int32),
        ("head_dim", c_int32),
        ("hidden", c_int32),
        ("sliding_window", c_int32),
        ("start_id", c_int32),
        ("digits", c_int32),
        ("to_log2", c_float),
    )


class Cache(Structure):
    _fields_ = (
        ("k", c_void_p),
        ("v", c_void_p),
        ("k_scale", c_void_p),
        ("v_scale", c_void_p),
        ("lanes", c_int64),
        ("capacity", c_int64),
        ("pos", c_int64),
        ("dim", c_int32),
    )


class Activations(Structure):
    _fields_ = (("lines", c_void_p), ("scales", c_void_p), ("sums", c_void_p), ("digits", c_int32))


class Buffers(Structure):
    _fields_ = (
        ("x", c_void_p),
        ("wide", c_void_p),
        ("attended", c_void_p),
        ("logits", c_void_p),
        ("activations", Activations),
        ("scratch", c_void_p),
        ("scratch_floats", c_int64),
    )


def _load() -> ctypes.CDLL | None:
    spec = importlib.util.find_spec("llmzip._kernels")
    if os.environ.get("LLMZIP_KERNELS") == "none" or spec is None or spec.origin is None:
        return None
    # Threads that wait should sleep: a forward has hundreds of barriers, and on a busy machine spinning costs 50 times the speed.
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    library = ctypes.CDLL(spec.origin)
    library.llmzip_coder_tables.argtypes = [
        c_int, c_int, c_void_p, c_int64, c_int64, c_int64, c_void_p, c_void_p, c_void_p, c_int,
    ]  # fmt: skip
    library.llmzip_coder_tables.restype = None
    library.llmzip_pack.argtypes = [c_int, c_void_p, c_int64, c_int64, c_int64, c_int, c_void_p, c_int]
    library.llmzip_pack.restype = None
    library.llmzip_linear.argtypes = [
        c_int, POINTER(Matrix), POINTER(Activations), c_void_p, c_int64, c_void_p, c_int,
    ]  # fmt: skip
    library.llmzip_linear.restype = None
    library.llmzip_forward.argtypes = [
        c_int, POINTER(Model), POINTER(Cache), POINTER(Buffers), c_void_p, c_int64, c_int64, c_int64, c_void_p, c_int,
    ]  # fmt: skip
    library.llmzip_forward.restype = None
    return library


def _level(library: ctypes.CDLL | None) -> int:
    """The best level that this CPU has, or the lower one that LLMZIP_KERNELS asks for (the exactness tests do)."""
    if library is None:
        return -1
    best = int(library.llmzip_best_level())
    wanted = os.environ.get("LLMZIP_KERNELS", "")
    return min(best, LEVELS.index(wanted)) if wanted in LEVELS else best


library = _load()
best_level = _level(library)
n_threads = max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def set_threads(threads: int) -> None:
    """Threads that the kernels use. Changes no bit."""
    global n_threads
    n_threads = max(1, threads)


def pointer(array: NDArray[np.generic] | None) -> int | None:
    """Address of a C-contiguous array; the caller keeps the array alive."""
    if array is None:
        return None
    assert array.flags.c_contiguous
    return array.ctypes.data


def _coder_tables(
    what: int, scores: NDArray[np.int16], symbols: NDArray[np.int32] | None, exp2: NDArray[np.int32], out: NDArray[np.float64]
) -> NDArray[np.float64]:
    assert library is not None and scores.dtype == np.int16
    rows, n = scores.shape
    if scores.strides[1] != 2:
        scores = np.ascontiguousarray(scores)
    if symbols is not None:
        symbols = np.ascontiguousarray(symbols, dtype=np.int32)
    library.llmzip_coder_tables(
        best_level, what, scores.ctypes.data, scores.strides[0] // 2, rows, n, pointer(symbols), pointer(exp2), pointer(out), n_threads
    )
    return out


def group_tables(scores: NDArray[np.int16], exp2: NDArray[np.int32]) -> NDArray[np.float64]:
    rows, n = scores.shape
    return _coder_tables(GROUPS, scores, None, exp2, np.empty((rows, -(-n // 256) + 2)))


def member_tables(scores: NDArray[np.int16], groups: NDArray[np.int32], exp2: NDArray[np.int32]) -> NDArray[np.float64]:
    return _coder_tables(MEMBERS, scores, groups, exp2, np.empty((len(scores), 258)))


def intervals(scores: NDArray[np.int16], symbols: NDArray[np.int32], exp2: NDArray[np.int32]) -> NDArray[np.float64]:
    return _coder_tables(INTERVALS, scores, symbols, exp2, np.empty((2, len(scores), 3)))
