"""The slow twin of models/ops.py.

Each operation of the exact arithmetic in numpy scalars and Python integers, in the order of docs/exactness.md.

Sums are Python integers, so no bound matters here; every float step is one numpy float32 or float64 operation.
"""

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

F = np.float32
TINY = F(2.0**-60)
COEFFICIENTS = [float.fromhex(c) for c in (
    "0x1.c541740000000p-13", "0x1.46d64c0000000p-10", "0x1.3d0b920000000p-7",
    "0x1.c689120000000p-5", "0x1.ebfd580000000p-3", "0x1.62e42c0000000p-1", "0x1p+0",
)]  # fmt: skip


def quantize(row: NDArray[Any], top: float) -> tuple[list[int], Any]:
    m = max(F(np.abs(row).max()), TINY)
    inverse = F(top) / m
    return [int(np.rint(F(v) * inverse)) for v in row], m * F(1 / top)


def exp2(d: Any) -> np.float32:
    whole = math.floor(d)
    f = F(d) - F(whole)
    p = F(COEFFICIENTS[0])
    for coefficient in COEFFICIENTS[1:]:
        p = F(p * f)
        p = F(p + F(coefficient))
    return F(np.ldexp(p, whole))  # exact: a power of two


def rmsnorm(row: NDArray[Any], weight: NDArray[Any], eps: float) -> NDArray[Any]:
    m = max(F(np.abs(row).max()), TINY)
    to_int = F(32767) / m
    squares = sum(int(np.rint(F(v) * to_int)) ** 2 for v in row)
    unit = np.float64(m) * (1 / 32767)
    mean = np.float64(squares) * unit
    mean = mean * unit
    mean = mean * (1 / len(row))
    mean = mean + eps
    inverse = F(np.float64(1) / np.sqrt(mean))
    return np.array([F(F(v) * inverse) * F(w) for v, w in zip(row, weight, strict=True)], dtype=F)


def linear(row: NDArray[Any], weight: NDArray[Any], scale: NDArray[Any], digits: int) -> NDArray[Any]:
    q, row_scale = quantize(row, 16256 if digits == 2 else 127)
    sums = [sum(a * int(b) for a, b in zip(q, w, strict=True)) for w in weight]
    return np.array([F(F(s) * row_scale) * F(c) for s, c in zip(sums, scale, strict=True)], dtype=F)


def attend(q: NDArray[Any], keys: NDArray[Any], values: NDArray[Any], factor: float) -> NDArray[Any]:
    """One query over all keys (P, D) and values (P, D)."""
    q8, q_scale = quantize(q, 127)
    q_scale = q_scale * F(factor)
    k = [quantize(row, 127) for row in keys]
    v = [quantize(row, 127) for row in values]
    s = [F(F(sum(a * b for a, b in zip(q8, k8, strict=True))) * ks) * q_scale for k8, ks in k]
    best = max(s)
    e = [int(np.rint(exp2(max(F(x - best), F(-30))) * F(65536))) for x in s]
    b = [F(x) * vs for x, (_, vs) in zip(e, v, strict=True)]
    top = max(max(b), TINY)
    c = [int(np.rint(x * (F(32767) / top))) for x in b]
    total = F(sum(c))
    share = F(32640) / max(total, F(1))
    p = [int(np.rint(F(x) * share)) for x in c]
    unit = total * F(1 / 32640)
    unit = unit * (top * F(1 / 32767))
    unit = unit / F(sum(e))
    return np.array([F(sum(x * v8[d] for x, (v8, _) in zip(p, v, strict=True))) * unit for d in range(len(q))], dtype=F)


def swiglu(gate: NDArray[Any], up: NDArray[Any]) -> NDArray[Any]:
    out = []
    for g, u in zip(gate, up, strict=True):
        t = min(max(F(g) * F(float.fromhex("-0x1.715476p+0")), F(-30)), F(30))
        out.append(F(F(g) * (F(1) / F(exp2(t) + F(1)))) * F(u))
    return np.array(out, dtype=F)


@functools.cache
def round_exp2(f: int) -> int:
    """round(2**(22 + f/256)), by the integer 256th root of 2**(256*k + f) at 64 extra bits."""
    bits = 64
    target = 1 << (256 * (22 + bits) + f)
    low, high = 1 << (22 + bits), 1 << (23 + bits)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**256 <= target else (low, middle)
    return ((low >> (bits - 1)) + 1) >> 1
