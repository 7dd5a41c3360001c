"""Rotary embedding: the angles that a model wants, as tables that no libm has a part in."""

from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from math import ldexp

import numpy as np
from numpy.typing import NDArray

from llmzip.errors import ModelInvalid

Floats = NDArray[np.float32]

PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899")
PRECISION = 70  # decimal digits of the rotary angles
FRACTION_BITS = 192  # of the fixed-point cosines: 4096 steps of the recurrence cost some 13 of them


@dataclass
class Rope:
    """The rotary angles: base, and the scaling of its frequencies."""

    theta: Decimal
    scaling: str = "default"  # or "linear", "llama3", "factors"
    parameters: dict[str, Decimal] = field(default_factory=dict)
    factors: list[Decimal] = field(default_factory=list)  # for "factors": each frequency is divided by its own


def _frequencies(rope: Rope, head_dim: int) -> list[Decimal]:
    """The angle per position of each pair of channels."""
    log = rope.theta.ln()
    plain = [(-log * (2 * pair) / head_dim).exp() for pair in range(head_dim // 2)]
    p = rope.parameters
    if rope.scaling == "linear":
        return [frequency / p["factor"] for frequency in plain]
    if rope.scaling == "factors":
        return [frequency / factor for frequency, factor in zip(plain, rope.factors, strict=True)]
    if rope.scaling == "llama3":
        return [_llama3(frequency, p) for frequency in plain]
    return plain


def _llama3(frequency: Decimal, p: dict[str, Decimal]) -> Decimal:
    """Llama 3.1's scaling: long waves are stretched, short ones stay, those between are mixed."""
    turns = p["original_max_position_embeddings"] * frequency / (2 * PI)  # in the original context
    if turns < p["low_freq_factor"]:
        return frequency / p["factor"]
    if turns > p["high_freq_factor"]:
        return frequency
    smooth = (turns - p["low_freq_factor"]) / (p["high_freq_factor"] - p["low_freq_factor"])
    return (1 - smooth) * frequency / p["factor"] + smooth * frequency


def _fixed_cos_sin(angle: Decimal) -> tuple[int, int]:
    """cos and sin as integers over 2^FRACTION_BITS, by the Taylor series (the angles are at most 1)."""
    x = int((angle * (1 << FRACTION_BITS)).to_integral_value())
    sums, term, order = [0, 0], 1 << FRACTION_BITS, 0
    while term:
        sums[order % 2] += term if order % 4 < 2 else -term
        order += 1
        term = (term * x >> FRACTION_BITS) // order
    return sums[0], sums[1]


def _nearest(value: int) -> float:
    """A fixed-point number as a double whose cast to float32 rounds only once.

    Cut to 52 bits, the rest kept as a sticky bit.
    """
    magnitude = abs(value)
    shift = max(0, magnitude.bit_length() - 52)
    kept = magnitude >> shift
    if kept << shift != magnitude:
        kept |= 1
    return ldexp(kept if value >= 0 else -kept, shift - FRACTION_BITS)


def rope_tables(rope: Rope, head_dim: int, positions: int) -> tuple[Floats, Floats]:
    """cos and sin of shape (positions, head_dim / 2), each the float32 nearest to the true value; no libm involved."""
    if head_dim < 2 or head_dim % 2 or not (rope.theta.is_finite() and rope.theta > 1):
        raise ModelInvalid(f"rotary embedding with base {rope.theta} over {head_dim} channels is not supported")
    with localcontext() as context:
        context.prec = PRECISION
        angles = _frequencies(rope, head_dim)
        if any(not 0 <= angle <= 1 for angle in angles):
            raise ModelInvalid("rotary frequencies outside 0 to 1 are not supported")
        ones = [_fixed_cos_sin(angle) for angle in angles]
    half = 1 << (FRACTION_BITS - 1)
    tables = np.empty((2, head_dim // 2, positions), np.float64)
    for pair, (cos1, sin1) in enumerate(ones):
        cos, sin = 1 << FRACTION_BITS, 0
        for position in range(positions):
            tables[0, pair, position] = _nearest(cos)
            tables[1, pair, position] = _nearest(sin)
            cos, sin = (
                (cos * cos1 - sin * sin1 + half) >> FRACTION_BITS,
                (sin * cos1 + cos * sin1 + half) >> FRACTION_BITS,
            )
    rounded = tables.transpose(0, 2, 1).astype(np.float32)
    return np.ascontiguousarray(rounded[0]), np.ascontiguousarray(rounded[1])
