"""The C library `_kernels` through ctypes: finding it, and choosing the instruction set.

Absent, everything works without it.

Knows nothing of models but the C structures that `models/fused.py` fills. The kernels give the same bits as their numpy
and torch twins.
"""

import ctypes
import importlib.util
import os
import sys
import threading
from collections.abc import Sequence
from ctypes import POINTER, Structure, c_double, c_float, c_int, c_int32, c_int64, c_void_p
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmzip import workers
from llmzip.errors import LlmzipError

LEVELS = ("portable", "avx2", "avx512-vnni", "amx", "neon")  # instruction sets, in the order of the C enum


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
        ("escapes", c_void_p),
        ("norm_eps", c_double),
        ("n_escapes", c_int64),
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
        ("dim", c_int32),
    )


class Rows(Structure):
    _fields_ = (("ids", c_void_p), ("lanes", c_void_p), ("positions", c_void_p), ("n", c_int64))


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


STRUCTS: tuple[type[Structure], ...] = (Matrix, Layer, Model, Cache, Rows, Activations, Buffers)
# of the functions and of what they expect, as in _kernels.c: raised with every change that a size does not show
VERSION = 8
MORE_THREADS = 16  # than cores are allowed up to here, for tests of exactness on small machines; waiting threads cost
MOST_THREADS = max(MORE_THREADS, os.cpu_count() or 1)  # asked once: it takes 20 us


def _find() -> str:
    """The file of the library. Raises OSError, which says why there is none to use."""
    if os.environ.get("LLMZIP_KERNELS") == "none":
        raise OSError("switched off by LLMZIP_KERNELS")
    spec = importlib.util.find_spec("llmzip._kernels")  # it is no module, but has the name of one
    if spec is None or spec.origin is None:
        raise OSError("llmzip was installed without its compiled kernels: it found no C compiler")
    return spec.origin


def _load(path: str) -> ctypes.CDLL:
    """Raises OSError or AttributeError where the file is no library, or not the one that belongs to this code."""
    # Threads that wait should sleep: a forward has hundreds of barriers, and on a busy machine spinning costs 50 times
    # the speed. The library for threads reads this when it is loaded; nobody else is to see it.
    before = os.environ.get("GOMP_SPINCOUNT")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    try:
        library = ctypes.CDLL(path)
    finally:
        if before is None:
            del os.environ["GOMP_SPINCOUNT"]
    library.llmzip_layout.restype = POINTER(c_int64)
    theirs = library.llmzip_layout()
    if theirs[1] != VERSION or layout() != theirs[1 : 1 + len(layout())]:
        raise OSError("the compiled kernels belong to another version of llmzip")
    _declare(library)
    return library


def layout() -> list[int]:
    """What the C library says of itself, too: version, number of structures, their sizes."""
    return [VERSION, len(STRUCTS), *map(ctypes.sizeof, STRUCTS)]


def _declare(library: ctypes.CDLL) -> None:
    """Types of arguments and results."""
    library.llmzip_rounding.argtypes, library.llmzip_rounding.restype = [c_int], c_int
    library.llmzip_pack.argtypes = [c_int, c_void_p, c_int64, c_int64, c_int64, c_int, c_void_p, c_int]
    library.llmzip_pack.restype = None
    library.llmzip_linear.argtypes = [
        c_int, POINTER(Matrix), POINTER(Activations), c_void_p, c_int64, c_void_p, c_int,
    ]  # fmt: skip
    library.llmzip_linear.restype = None
    library.llmzip_forward.argtypes = [
        c_int, POINTER(Model), POINTER(Cache), POINTER(Buffers), POINTER(Rows), c_void_p, c_int,
    ]  # fmt: skip
    library.llmzip_forward.restype = None


def _levels(library: ctypes.CDLL | None) -> list[int]:
    """The levels that this CPU has, best last: up to the one that LLMZIP_KERNELS asks for (the exactness tests do)."""
    if library is None:
        return []
    wanted = os.environ.get("LLMZIP_KERNELS", "")
    last = LEVELS.index(wanted) if wanted in LEVELS else len(LEVELS) - 1
    here = int(library.llmzip_levels())
    return [level for level in range(last + 1) if here >> level & 1]


def _load_or_say_why() -> tuple[ctypes.CDLL | None, str]:
    try:
        return _load(_find()), ""
    except (OSError, AttributeError) as error:
        return None, str(error)


def check_sizes(layout: str, sizes: Sequence[int]) -> None:
    """Compare sizes of structures and arrays that the C code has in its own constants.

    `layout`: the function that tells them, how many first.

    Raises LlmzipError: with other sizes it would write beyond the arrays.
    """
    theirs = getattr(library, layout)
    theirs.restype = POINTER(c_int64)
    found = theirs()
    if found[: 1 + len(sizes)] != [len(sizes), *sizes]:
        raise LlmzipError(
            "the compiled kernels belong to another version of llmzip",
            hint="install llmzip again: pip install --force-reinstall",
        )


def declared(part: str, sizes: Sequence[int], **functions: tuple[Any, ...]) -> ctypes.CDLL:
    """The library, functions `llmzip_PART_NAME` of a part declared: what each gives, then what it takes.

    The part's layout, as `check_sizes` takes it, is compared with `sizes`. There must be a library.
    """
    assert library is not None
    check_sizes(f"llmzip_{part}_layout", sizes)
    for name, (gives, *takes) in functions.items():
        function = getattr(library, f"llmzip_{part}_{name}")
        function.restype, function.argtypes = gives, takes
    return library


def check_rounding(threads: int = 1) -> None:
    """Raise LlmzipError in a process that rounds otherwise than to the nearest: its scores would be those of no other.

    Looks at this thread, and at so many of the library's: each has the mode that the one that started it had then.
    """
    one, half = 1.0, 2.0**-53  # of the last bit of 1
    up, down, even = one + half, -one - half, (one + 2 * half) + half
    if (up, down, even) != (1.0, -1.0, 1.0 + 2.0**-51) or (
        library is not None and not library.llmzip_rounding(threads)
    ):
        raise LlmzipError(
            "this process has changed how floating-point numbers are rounded, "
            "so nothing it wrote could be decoded elsewhere",
            hint="restore the default, rounding to nearest (fesetround), before llmzip is used, "
            "or run llmzip in a process of its own",
        )


# --- threads


def _has_openmp() -> bool:
    """Whether GCC's library for threads, which others use, too, is in this process; Clang's survives a fork."""
    try:
        with open("/proc/self/maps", "rb") as maps:
            return b"libgomp" in maps.read()
    except OSError:
        return False


def _is_forked() -> bool:
    """Whether this process has been forked and has started no program since (PF_FORKNOEXEC of Linux)."""
    try:
        with open("/proc/self/stat", "rb") as stat:
            return bool(int(stat.read().rpartition(b")")[2].split()[6]) & 0x40)
    except (OSError, ValueError, IndexError):
        return False


class _Pool:
    """What is known of the threads of the library, which it shares with torch and others that are loaded before."""

    def __init__(self) -> None:
        self.shared = _has_openmp()
        self.lost = self.shared and _is_forked()  # others may have started threads before the fork
        self.process = 0  # that has started threads of ours
        self.of_thread = threading.local()  # .n: how many a thread that calls has for sure

    def after_fork(self) -> None:
        self.lost = self.lost or self.shared or self.process != 0 or "torch" in sys.modules


def clip_threads(wanted: int | None) -> int:
    """How many threads a call of the library uses, if a caller wants so many; None or 0: one for each core at hand.

    No more than the cores (or MORE_THREADS), and no more than the system lets this process start. A child of fork has
    none of the threads that its parent has started, and would wait for them for ever: it gets one. Never changes a bit.
    Raises ValueError for a negative number.
    """
    if wanted is not None and wanted < 0:
        raise ValueError("threads must be 0 or more")
    n = min(wanted or _n_cores(), MOST_THREADS)
    # a fork by other means than Python's is seen by its number
    if n == 1 or _pool.lost or _pool.process not in (0, os.getpid()):
        return 1
    if n > getattr(_pool.of_thread, "n", 1):
        n = _n_startable(n)
    if n > 1:
        _pool.of_thread.n, _pool.process = n, os.getpid()
    return n


def _n_cores() -> int:
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _n_startable(n: int) -> int:
    """Up to `n`: the library would end the process if it could not start them."""
    end = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(n - 1):
            thread = threading.Thread(target=end.wait, daemon=True)
            thread.start()
            started.append(thread)
    except (RuntimeError, MemoryError):
        n = 1 + len(started) // 2  # other programs of this user start some, too
    finally:
        end.set()
        for thread in started:
            thread.join()
    workers.wait_until_gone(thread.native_id for thread in started)  # until then they count
    return n


_pool = _Pool()  # before the library is loaded, which brings a library for threads with it
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.after_fork)
library, why_no_library = _load_or_say_why()  # the reason is empty if there is one
levels = _levels(library)


def pointer(array: NDArray[np.generic] | None) -> int | None:
    """Address of a C-contiguous array; the caller keeps the array alive."""
    if array is None:
        return None
    assert array.flags.c_contiguous
    return array.ctypes.data
