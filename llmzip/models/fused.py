"""The exact Llama forward by the fused C kernels (CPU).

Same bits as `models/reference.py`, which is the definition in torch operations.

Knows nothing of bytes and of the coder. Weights are repacked once for the instruction set; K and V are kept as int8.
"""

import random
import sys
from ctypes import POINTER, byref, c_float, cast

import numpy as np
from numpy.typing import NDArray

from llmzip import native
from llmzip.models.checkpoint import Tensors
from llmzip.models.config import LlamaConfig

MAX_ROWS = 256  # rows of activations in flight: with their int8 digits they stay in a level-2 cache
HEAD_ROWS = 64  # as in _kernels.h
MAX_INNER = 66_000  # |sum| <= 255 * 127 * k < 2**31
MAX_HEAD_DIM = 512
# multiplications for each thread of a call: with fewer they wait for each other longer than they work (pocket takes
# 7 million a row, and is as fast on one thread as on two with 16 rows)
THREAD_SHARE = 1 << 25


def supports(config: LlamaConfig) -> str:
    """Why the kernels cannot take this model, or an empty string."""
    inner = max(config.width, config.hidden, config.n_heads * config.head_dim)
    if inner > MAX_INNER:
        return f"a layer has {inner} inputs, more than {MAX_INNER}"
    if config.head_dim > MAX_HEAD_DIM or config.head_dim % 2:
        return f"head_dim is {config.head_dim}, not an even number up to {MAX_HEAD_DIM}"
    return ""


def self_test(level: int, inner_sizes: set[int], digits: int, threads: int | None) -> bool:
    """Whether a level gives the exact sums on extreme and on random values, for each number of inputs in use."""
    chooser = random.Random(0)  # numpy.random takes longer to import than all of this to run
    for k in sorted(inner_sizes):
        weights = np.maximum(np.frombuffer(chooser.randbytes(96 * k), np.int8).reshape(96, k), -127)
        weights[0], weights[1], weights[2] = 127, -127, np.where(np.arange(k) % 2, 127, -127)
        drawn = np.frombuffer(chooser.randbytes(4 * 45 * k), np.int32).reshape(45, k)
        x = drawn.astype(np.float32) * np.float32(2.0**-30)  # whole tiles of lines, and rests of them
        x[0], x[1], x[2], x[3] = 1.0, -1.0, np.where(np.arange(k) % 2, 1.0, -1.0), 0.0
        x[4, 1:] *= np.float32(1e-3)
        if not np.array_equal(_linear(level, weights, x, digits, threads), _oracle(weights, x, digits)):
            return False
    return True


def best_exact_level(config: LlamaConfig, threads: int | None = None) -> int:
    """The fastest instruction set of this CPU that passes the self-test, or -1."""
    for level in reversed(native.levels):
        if self_test(level, config.inner_sizes, config.digits, threads):
            return level
    return -1


def _oracle(weights: NDArray[np.int8], x: NDArray[np.float32], digits: int) -> NDArray[np.float32]:
    """The definition of a linear layer with unit column scales, in numpy with int64 sums."""
    top = np.float32(16256 if digits == 2 else 127)
    largest = np.maximum(np.abs(x).max(axis=1, keepdims=True), np.float32(2.0**-60))
    q = np.rint(x * (top / largest)).astype(np.int64)
    out: NDArray[np.float32] = (q @ weights.T.astype(np.int64)).astype(np.float32) * (largest * (np.float32(1) / top))
    return out


def _linear(
    level: int, weights: NDArray[np.int8], x: NDArray[np.float32], digits: int, threads: int | None
) -> NDArray[np.float32]:
    assert native.library is not None
    rows = len(x)
    matrix = PackedMatrix(level, weights, np.ones(len(weights), dtype=np.float32), threads=threads)
    activations = ActivationBuffer(rows, matrix.struct.k_stride, digits)
    out = np.empty((rows, len(weights)), dtype=np.float32)
    native.library.llmzip_linear(
        level,
        matrix.struct,
        activations.struct,
        native.pointer(x),
        rows,
        native.pointer(out),
        native.clip_threads(threads),
    )
    return out


class PackedMatrix:
    """An int8 matrix (n, k) in the layout of one instruction set, with its scales.

    `struct` is what the kernels read.
    """

    def __init__(
        self,
        level: int,
        weights: NDArray[np.int8],
        scale: NDArray[np.float32],
        *,
        bias: NDArray[np.float32] | None = None,
        paired: bool = False,
        threads: int | None,
    ) -> None:
        assert native.library is not None
        n, k = weights.shape
        k_stride = -(-k // 4) * 4
        panels = -(-(n // 2) // 16) if paired else -(-n // 32)
        self._packed = np.empty(panels * 32 * k_stride, dtype=np.uint8)
        self._scale, self._bias = np.ascontiguousarray(scale), bias
        native.library.llmzip_pack(
            level,
            native.pointer(weights),
            n,
            k,
            k_stride,
            paired,
            native.pointer(self._packed),
            native.clip_threads(threads),
        )
        self.struct = native.Matrix(
            native.pointer(self._packed), native.pointer(self._scale), native.pointer(bias), n, k, k_stride
        )


class ActivationBuffer:
    """Room for the quantized activations of `rows` rows."""

    def __init__(self, rows: int, k_stride: int, digits: int) -> None:
        # Two int8 digits or one int16; the kernels compute whole tiles of 32 lines, and forget what comes from those
        # that nobody wrote
        self._lines = np.zeros((rows + 32) * k_stride * 2, dtype=np.uint8)
        self._scales = np.empty(rows, dtype=np.float32)
        self._sums = np.empty(rows, dtype=np.int64)
        self.struct = native.Activations(
            native.pointer(self._lines), native.pointer(self._scales), native.pointer(self._sums), digits
        )


class FusedLlama:
    """The weights of a model, packed for one instruction set. `threads`: see `native.clip_threads`."""

    def __init__(
        self, config: LlamaConfig, tensors: Tensors, entries: NDArray[np.int32], *, level: int, threads: int | None
    ) -> None:
        native.check_sizes("llmzip_layout", [*native.layout(), HEAD_ROWS, MAX_HEAD_DIM])
        self.config, self.level, self.threads = config, level, threads
        self._keep: list[object] = [tensors]
        layers = [self._layer(tensors, f"layers.{i}.", config) for i in range(config.n_layers)]
        self.n_entries = len(entries)
        self.n_weights = sum(tensor.size for name, tensor in tensors.items() if name.endswith(".weight"))
        escapes = np.flatnonzero(entries >= config.n_vocab).astype(np.int32)
        self._keep.append(escapes)
        self.struct = native.Model(
            layers=cast((native.Layer * len(layers))(*layers), POINTER(native.Layer)),
            embed=native.pointer(tensors["embed.weight"]),
            embed_scale=native.pointer(tensors["embed.scale"]),
            norm=native.pointer(tensors["norm"]),
            rope_cos=native.pointer(tensors["rope.cos"]),
            rope_sin=native.pointer(tensors["rope.sin"]),
            head=self._head(tensors, entries),
            escapes=native.pointer(escapes),
            norm_eps=config.norm_eps,
            n_layers=config.n_layers,
            n_escapes=len(escapes),
            n_vocab=config.n_vocab,
            width=config.width,
            n_heads=config.n_heads,
            n_kv_heads=config.n_kv_heads,
            head_dim=config.head_dim,
            hidden=config.hidden,
            sliding_window=config.sliding_window,
            start_id=config.start_id,
            digits=config.digits,
            to_log2=c_float(config.score_factor),
        )
        self._keep.append(layers)

    def _matrix(self, tensors: Tensors, name: str, *, paired: bool = False) -> native.Matrix:
        matrix = PackedMatrix(
            self.level,
            tensors[f"{name}.weight"],
            tensors[f"{name}.scale"],
            bias=tensors.get(f"{name}.bias"),
            paired=paired,
            threads=self.threads,
        )
        self._keep.append(matrix)
        return matrix.struct

    def _head(self, tensors: Tensors, entries: NDArray[np.int32]) -> native.Matrix:
        """Its rows in the order of the entries; those of escapes say nothing."""
        name = "embed" if self.config.tied else "head"
        rows = np.where(entries < self.config.n_vocab, entries, 0)
        parts = [f"{name}.{part}" for part in ("weight", "scale", "bias")]
        return self._matrix({part: tensors[part][rows] for part in parts if part in tensors}, name)

    def _layer(self, tensors: Tensors, prefix: str, config: LlamaConfig) -> native.Layer:
        return native.Layer(
            attn_norm=native.pointer(tensors[prefix + "attn_norm"]),
            mlp_norm=native.pointer(tensors[prefix + "mlp_norm"]),
            q_norm=native.pointer(tensors.get(prefix + "q_norm")),
            k_norm=native.pointer(tensors.get(prefix + "k_norm")),
            qkv=self._matrix(tensors, prefix + "qkv"),
            o=self._matrix(tensors, prefix + "o"),
            gate_up=self._matrix(tensors, prefix + "gate_up", paired=True),
            down=self._matrix(tensors, prefix + "down"),
        )


class FusedState:
    """The int8 cache of L lanes and the buffers of a forward. See `llmzip.models.State`."""

    def __init__(self, model: FusedLlama, lanes: int, window: int, threads: int | None = None) -> None:
        self._threads = threads or sys.maxsize  # at most
        self._model, self._lanes = model, lanes
        self._window, self._pos = window, 0
        self._rows = max(lanes, MAX_ROWS // lanes * lanes)
        self._make_cache(lanes, window)
        self._make_buffers(max(self._rows, lanes))

    def _make_cache(self, lanes: int, window: int) -> None:
        c = self._model.config
        capacity, dim = -(-window // 16) * 16, -(-c.head_dim // 16) * 16
        slots = c.n_layers * lanes * c.n_kv_heads
        # Zeros cost nothing until they are touched; what nobody wrote, up to two positions past the last, is read
        # but never used.
        self._k = np.zeros(slots * capacity * dim + 64, dtype=np.uint8)
        self._v = np.zeros((slots * capacity + 2) * dim + 64, dtype=np.int8)
        self._k_scale = np.zeros(slots * capacity, dtype=np.float32)
        self._v_scale = np.zeros(slots * capacity, dtype=np.float32)
        self._cache = native.Cache(
            native.pointer(self._k), native.pointer(self._v), native.pointer(self._k_scale),
            native.pointer(self._v_scale),
            lanes, capacity, dim,
        )  # fmt: skip

    def _make_buffers(self, rows: int) -> None:
        c = self._model.config
        attended = c.n_heads * c.head_dim
        inner = max(c.width, c.hidden, attended)
        self._x = np.empty((rows, c.width), dtype=np.float32)
        self._wide = np.empty((rows, max(c.hidden, attended + 2 * c.n_kv_heads * c.head_dim)), dtype=np.float32)
        self._attended = np.empty((rows, attended), dtype=np.float32)
        self._logits = np.empty((min(rows, HEAD_ROWS), self._model.n_entries), dtype=np.float32)
        self._activations = ActivationBuffer(rows, -(-inner // 4) * 4, c.digits)
        per_thread = -(-(max(self._cache.capacity, inner) + 32) // 16) * 16
        self._max_threads = min(self._threads, native.clip_threads(self._model.threads))
        native.check_rounding(self._max_threads)
        self._scratch = np.empty(self._max_threads * per_thread * 12, dtype=np.uint8)
        self._buffers = native.Buffers(
            native.pointer(self._x), native.pointer(self._wide), native.pointer(self._attended),
            native.pointer(self._logits),
            self._activations.struct, native.pointer(self._scratch), per_thread,
        )  # fmt: skip

    def reset(self) -> None:
        self._pos = 0

    def prompt(self, ids: NDArray[np.int32]) -> None:
        for part in self._parts(ids):
            self._advance(part, None)

    def forward(self, ids: NDArray[np.int32]) -> NDArray[np.int16]:
        parts = []
        for part in self._parts(ids):
            scores = np.empty((*part.shape, self._model.n_entries), dtype=np.int16)
            self._advance(part, scores)
            parts.append(scores)
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def look(self, ids: NDArray[np.int32], lanes: NDArray[np.int32], positions: NDArray[np.int32]) -> NDArray[np.int16]:
        scores = np.empty((len(ids), self._model.n_entries), dtype=np.int16)
        self._run(ids, lanes, positions, scores)
        return scores

    def _parts(self, ids: NDArray[np.int32]) -> list[NDArray[np.int32]]:
        steps = max(1, self._rows // self._lanes)
        return [np.ascontiguousarray(ids[:, i : i + steps], dtype=np.int32) for i in range(0, ids.shape[1], steps)]

    def _advance(self, ids: NDArray[np.int32], scores: NDArray[np.int16] | None) -> None:
        """All lanes together."""
        lanes, steps = ids.shape
        if lanes != self._lanes:
            raise ValueError("more lanes than this state was opened for, or fewer")
        positions = np.arange(self._pos, self._pos + steps, dtype=np.int32)
        self._run(ids, np.repeat(np.arange(lanes, dtype=np.int32), steps), np.tile(positions, lanes), scores)
        self._pos += steps

    def _run(
        self,
        ids: NDArray[np.int32],
        lanes: NDArray[np.int32],
        positions: NDArray[np.int32],
        scores: NDArray[np.int16] | None,
    ) -> None:
        assert native.library is not None
        if ids.size > len(self._x) or lanes[-1] >= self._lanes or positions[-1] >= self._window:
            raise ValueError("more lanes or positions than this state was opened for")
        rows = native.Rows(native.pointer(ids), native.pointer(lanes), native.pointer(positions), ids.size)
        native.library.llmzip_forward(
            self._model.level, byref(self._model.struct), byref(self._cache), byref(self._buffers),
            byref(rows), native.pointer(scores), self._threads_for(ids.size),
        )  # fmt: skip

    def _threads_for(self, rows: int) -> int:
        worth = max(1, rows * self._model.n_weights // THREAD_SHARE)
        return min(worth, self._max_threads, native.clip_threads(self._model.threads))
