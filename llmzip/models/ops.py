"""Order-free operations on torch tensors: the definition of the exact arithmetic (docs/exactness.md).

A result has the same bits on every device, for every batch shape and thread count, because each function uses only
  - single IEEE-754 operations that are correctly rounded, each one its own tensor operation (no addcmul, no division by
    a Python scalar), and
  - sums over integers, held in a type in which every partial sum is exact; the bound is stated beside each.

Shapes: R rows, K inputs, N outputs, L lanes, H heads, C steps, P positions.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from llmzip import native

TINY = 2.0**-60  # least divisor; keeps a row of zeros finite
LOG2_E = float.fromhex("0x1.715476p+0")  # float32
EXP2_COEFFICIENTS = tuple(  # 2**f on [0, 1), minimax, float32; the constant term is 1
    float.fromhex(c)
    for c in (
        "0x1.c541740000000p-13", "0x1.46d64c0000000p-10", "0x1.3d0b920000000p-7",
        "0x1.c689120000000p-5", "0x1.ebfd580000000p-3", "0x1.62e42c0000000p-1",
    )
)  # fmt: skip
SPLIT = 1040  # 127 * 127 * 1040 < 2**24 and 16256 * 127 * 1040 < 2**31
MASS = 32640.0  # what the integer probabilities of a row sum to

IntMatmul = Callable[[Tensor, Tensor], Tensor]


@contextmanager
def threads_of_torch(wanted: int | None) -> Iterator[None]:
    """Let torch use so many threads (see `native.clip_threads`), and as many as before afterwards.

    They are the process's, not ours.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(native.clip_threads(wanted))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def float32(value: float) -> float:
    """The float32 nearest to a Python float, as a Python float."""
    return float(torch.tensor(value, dtype=torch.float32))


def divide(numerator: float, denominator: Tensor) -> Tensor:
    """numerator / denominator as a division of tensors: by a scalar CUDA would multiply with the reciprocal."""
    return torch.full_like(denominator, numerator) / denominator


def max_abs(x: Tensor) -> Tensor:
    """Largest magnitude of each row, at least TINY: (..., n) -> (..., 1)."""
    return x.abs().amax(-1, keepdim=True).clamp_min(TINY)


def quantize(x: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """Rows as integers -top .. top, held in float32, and the scale of each row: x ~ q * scale."""
    m = max_abs(x)
    return torch.round(x * divide(top, m)), m * float32(1 / top)


def exp2(d: Tensor) -> Tensor:
    """2**d for |d| <= 120, float32: a polynomial on the fraction, the whole part added to the exponent's bits."""
    whole = torch.floor(d)
    f = d - whole
    p = torch.full_like(f, EXP2_COEFFICIENTS[0])
    for coefficient in (*EXP2_COEFFICIENTS[1:], 1.0):
        p = p * f
        p = p + coefficient
    return (p.view(torch.int32) + whole.to(torch.int32) * (1 << 23)).view(torch.float32)


def rmsnorm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x**2) + eps) * weight, rows of float32.

    The squares are summed as integers of 2**-15 of the row's largest.
    """
    m = max_abs(x)
    q = torch.round(x * divide(32767, m)).double()
    squares = (q * q).sum(-1, keepdim=True)  # integers, <= 2**30 * n < 2**53
    unit = m.double() * (1 / 32767)
    mean = squares * unit
    mean = mean * unit
    mean = mean * (1 / x.shape[-1])
    mean = mean + eps
    inverse = divide(1.0, torch.sqrt(mean)).float()
    return x * inverse * weight


def int_mm(a: Tensor, b: Tensor) -> Tensor:
    """int8 (R, K) x int8 (K, N) -> int32 by torch's own kernel.

    Exact only where the self-test says so: without VNNI it saturates.
    """
    if not a.is_cuda:
        return torch._int_mm(a, b)
    rows = a.shape[0]
    if rows <= 16:  # cuBLAS takes more than 16 rows
        a = torch.nn.functional.pad(a, (0, 0, 0, 17 - rows))
    return torch._int_mm(a, b)[:rows]


def float_mm(a: Tensor, b: Tensor) -> Tensor:
    """int8 (R, K) x int8 (K, N) -> int32 through float32, always exact: every partial sum is below 2**24."""
    total = torch.zeros((a.shape[0], b.shape[1]), dtype=torch.int32, device=a.device)
    for begin in range(0, a.shape[1], SPLIT):
        part = slice(begin, begin + SPLIT)
        total += (a[:, part].float() @ b[part].float()).to(torch.int32)  # |sum| <= 127 * 127 * 1040 < 2**24
    return total


def linear(
    x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None, digits: int, matmul: IntMatmul, factor: float = 1.0
) -> Tensor:
    """Rows (R, K) float32 times an int8 matrix (N, K) with one float32 scale per output: (R, N) float32.

    `factor` multiplies the row scales.
    """
    q, row_scale = quantize(x, 16256 if digits == 2 else 127)
    if factor != 1.0:
        row_scale = row_scale * factor
    transposed = weight.t()
    if digits == 2:
        high = torch.floor((q + 64) * (1 / 128))  # exact: a power of two
        low = q - high * 128
        high_sum, low_sum = matmul(high.to(torch.int8), transposed), matmul(low.to(torch.int8), transposed)
        if weight.shape[1] <= SPLIT:
            total = (high_sum * 128 + low_sum).float()  # |sum| <= 16256 * 127 * 1040 < 2**31
        else:
            total = (high_sum.double() * 128 + low_sum.double()).float()  # < 2**53
    else:
        total = matmul(q.to(torch.int8), transposed).float()
    y = total * row_scale * scale
    return y if bias is None else y + bias


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position of (..., C, head_dim) by tables (C, head_dim / 2), halves paired as in Hugging Face's layout."""
    first, second = x.chunk(2, dim=-1)
    a, b = first * cos, second * sin
    c, d = second * cos, first * sin
    return torch.cat([a - b, c + d], dim=-1)


def attention(
    q: Tensor, k: Tensor, k_scale: Tensor, v: Tensor, v_scale: Tensor, visible: Tensor, factor: float
) -> Tensor:
    """Softmax attention with grouped queries.

    q (L, H, C, D) float32; k, v (L, KV, P, D) int8 with scales (L, KV, P); visible (C, P) bool; factor log2(e)/sqrt(D)
    -> (L, H, C, D) float32.
    """
    lanes, heads, steps, dim = q.shape
    kv_heads, positions = k.shape[1], k.shape[2]
    q8, q_scale = quantize(q, 127)
    grouped = (lanes, kv_heads, heads // kv_heads * steps, dim)
    dots = q8.reshape(grouped) @ k.float().transpose(-1, -2)  # |sum| <= 127 * 127 * D < 2**24
    s = dots.reshape(lanes, kv_heads, -1, steps, positions) * k_scale[:, :, None, None]
    s = s * (q_scale * factor).reshape(lanes, kv_heads, -1, steps, 1)
    s = s.masked_fill(~visible, -torch.inf)
    d = (s - s.amax(-1, keepdim=True)).clamp_min(-30.0)
    e = torch.round(exp2(d) * 65536.0).masked_fill(~visible, 0.0)
    mass = e.to(torch.int64).sum(-1, keepdim=True).float()  # <= 2**16 * P < 2**31
    b = e * v_scale[:, :, None, None]
    top = max_abs(b)
    c = torch.round(b * divide(32767, top))
    total = c.to(torch.int64).sum(-1, keepdim=True).float()  # <= 2**15 * P < 2**30
    p = torch.round(c * divide(MASS, total.clamp_min(1.0)))
    out = p.reshape(lanes, kv_heads, -1, positions) @ v.float()  # |sum| <= 127 * (32640 + P / 2) < 2**24
    unit = total * float32(1 / MASS)
    unit = unit * (top * float32(1 / 32767))
    unit = unit / mass
    out = out.reshape(lanes, kv_heads, -1, steps, dim) * unit
    return out.reshape(lanes, heads, steps, dim)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up with our own sigmoid."""
    t = (gate * -LOG2_E).clamp(-30.0, 30.0)
    return gate * divide(1.0, exp2(t) + 1.0) * up


def to_scores(logits: Tensor) -> Tensor:
    """Logits in 1/256 bit (R, V) float32 -> int16 scores, the best of each row 0."""
    d = logits - logits.amax(-1, keepdim=True)
    return torch.round(d.clamp_min(-32768.0)).to(torch.int16)


def choose_matmul(device: torch.device, inner_sizes: set[int]) -> tuple[IntMatmul, str]:
    """The fastest matmul that is exact on extreme values at these numbers of inputs, and why it was chosen."""
    if torch.backends.cuda.matmul.allow_tf32 or torch.get_float32_matmul_precision() != "highest":
        torch.set_float32_matmul_precision("highest")  # TF32 keeps 11 bits: the sums would not be exact
    for k in sorted(inner_sizes):
        if not _exact(int_mm, device, k):
            return float_mm, f"float32 in pieces of {SPLIT}: torch's int8 kernel is wrong or missing here at {k} inputs"
    return int_mm, "torch's int8 kernel: exact in the self-test"


def _exact(matmul: IntMatmul, device: torch.device, k: int) -> bool:
    generator = torch.Generator().manual_seed(0)
    for rows in (1, 5, 17, 64):
        a = torch.randint(-127, 128, (rows, k), generator=generator, dtype=torch.int8)
        b = torch.randint(-127, 128, (k, 64), generator=generator, dtype=torch.int8)
        a[0], b[:, 0], b[:, 1] = 127, 127, -127
        a[-1] = -127 if rows > 1 else 127
        truth = (a.double() @ b.double()).to(torch.int32)  # |sum| < 2**53
        try:
            got = matmul(a.to(device), b.t().contiguous().t().to(device)).cpu()
        except RuntimeError:  # no such kernel for this device or shape
            return False
        if not torch.equal(got, truth):
            return False
    return True
