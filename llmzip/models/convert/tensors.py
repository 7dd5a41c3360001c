"""What every source comes down to: a plan and float32 tensors, quantized and written as an exact checkpoint."""

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from llmzip.errors import ModelInvalid
from llmzip.models import checkpoint
from llmzip.models.convert.rope import Floats, Rope, rope_tables
from llmzip.tokens.vocabulary import spellings, token_table


@dataclass
class Plan:
    """The sizes and switches of a model, by whatever keys its source calls them."""

    n_layers: int
    width: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    hidden: int
    n_vocab: int
    norm_eps: float
    tied: bool
    qkv_bias: bool
    qk_norm: bool
    sliding_window: int
    positions: int
    start_id: int
    rope: Rope
    digits: int = 2  # int8 digits per activation; one is for models that were trained for it
    window: int = checkpoint.DEFAULT_WINDOW
    overlap: int = checkpoint.DEFAULT_OVERLAP


@dataclass
class Label:
    """What people are told about a model."""

    name: str
    license: str
    source: str


class Weights(Protocol):
    """Tensors by their Hugging Face names, as float32; they remember which were asked for."""

    def get(self, name: str, shape: tuple[int, ...]) -> Floats: ...

    def unused(self) -> list[str]: ...


def quantise(weight: Floats, name: str = "weight") -> tuple[NDArray[np.int8], Floats]:
    """int8 rows and a float32 scale for each. Elementwise operations and maxima only."""
    largest = np.maximum(weight.max(axis=1), -weight.min(axis=1))
    if not np.isfinite(largest).all():
        raise ModelInvalid(f"tensor {name} holds a NaN or an infinity")
    scale = (largest / np.float32(127)).astype(np.float32)
    divisor = np.where(scale > 0, scale, np.float32(1))
    scaled = weight / divisor[:, None]
    np.rint(scaled, out=scaled)
    np.clip(scaled, -127, 127, out=scaled)
    scaled[scale == 0] = 0
    return scaled.astype(np.int8), scale


def _tensors(plan: Plan, weights: Weights) -> checkpoint.Tensors:
    """The quantised tensors; what the source has beyond them is something that this format cannot express."""
    tensors: checkpoint.Tensors = {}
    width, head, n_q, n_kv = plan.width, plan.head_dim, plan.n_heads, plan.n_kv_heads

    def floats(name: str, size: int) -> Floats:
        vector = weights.get(name, (size,))
        if not np.isfinite(vector).all():
            raise ModelInvalid(f"tensor {name} holds a NaN or an infinity")
        return vector

    def linear(name: str, columns: int, parts: Sequence[tuple[str, int]]) -> None:
        joined = np.concatenate([weights.get(part, (rows, columns)) for part, rows in parts])
        tensors[f"{name}.weight"], tensors[f"{name}.scale"] = quantise(joined, parts[0][0])

    linear("embed", width, [("model.embed_tokens.weight", plan.n_vocab)])
    if not plan.tied:
        linear("head", width, [("lm_head.weight", plan.n_vocab)])
    tensors["norm"] = floats("model.norm.weight", width)
    for index in range(plan.n_layers):
        here, there = f"layers.{index}", f"model.layers.{index}"
        heads = [(f"{there}.self_attn.{kind}_proj", n * head) for kind, n in (("q", n_q), ("k", n_kv), ("v", n_kv))]
        tensors[f"{here}.attn_norm"] = floats(f"{there}.input_layernorm.weight", width)
        tensors[f"{here}.mlp_norm"] = floats(f"{there}.post_attention_layernorm.weight", width)
        linear(f"{here}.qkv", width, [(f"{part}.weight", rows) for part, rows in heads])
        if plan.qkv_bias:
            tensors[f"{here}.qkv.bias"] = np.concatenate([floats(f"{part}.bias", rows) for part, rows in heads])
        if plan.qk_norm:
            tensors[f"{here}.q_norm"] = floats(f"{there}.self_attn.q_norm.weight", head)
            tensors[f"{here}.k_norm"] = floats(f"{there}.self_attn.k_norm.weight", head)
        linear(f"{here}.o", n_q * head, [(f"{there}.self_attn.o_proj.weight", width)])
        linear(f"{here}.gate_up", width, [(f"{there}.mlp.{kind}_proj.weight", plan.hidden) for kind in ("gate", "up")])
        linear(f"{here}.down", plan.hidden, [(f"{there}.mlp.down_proj.weight", width)])
    if unused := weights.unused():
        raise ModelInvalid(f"the model has a tensor that llmzip does not support: {unused[0]}")
    return tensors


@contextmanager
def readable(source: Path) -> Iterator[None]:
    """What strangers' files make of the parsers.

    Whatever the form that was not expected, it is the model that is the matter.

    OSError is not among them: a full disk is not.
    """
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, struct.error) as error:
        raise ModelInvalid(f"{source} has not the expected form: {error!r}") from error


def convert(plan: Plan, weights: Weights, tokenizer_json: bytes, out: Path, label: Label) -> bytes:
    for part, highest in checkpoint.HIGHEST.items():
        if not 1 <= getattr(plan, part) <= highest:
            raise ModelInvalid(f"the model has {part} {getattr(plan, part)}, not 1 to {highest}")
    if not checkpoint.LEAST_EPS <= plan.norm_eps < 1:
        raise ModelInvalid(f"the model has norm_eps {plan.norm_eps}")
    tokenizer = checkpoint.parse_json(tokenizer_json, "tokenizer.json")
    token_bytes, token_ends = token_table(spellings(tokenizer, plan.n_vocab))
    positions = min(plan.positions, checkpoint.MAX_POSITIONS)
    window = min(plan.window, positions)
    tensors = _tensors(plan, weights)
    parameters = sum(t.size for name, t in tensors.items() if not name.endswith(".scale"))
    tensors["rope.cos"], tensors["rope.sin"] = rope_tables(plan.rope, plan.head_dim, positions)
    tensors["tokens.bytes"], tensors["tokens.ends"] = token_bytes, token_ends
    config: checkpoint.Config = {
        "format": checkpoint.FORMAT,
        "numerics": checkpoint.NUMERICS,
        "architecture": checkpoint.ARCHITECTURE,
        "n_layers": plan.n_layers,
        "width": plan.width,
        "n_heads": plan.n_heads,
        "n_kv_heads": plan.n_kv_heads,
        "head_dim": plan.head_dim,
        "hidden": plan.hidden,
        "n_vocab": plan.n_vocab,
        # by way of float32, so that 1e-5 is the same number whether it was stored in JSON or as a float32
        "norm_eps": float(str(np.float32(plan.norm_eps))),
        "tied": plan.tied,
        "qkv_bias": plan.qkv_bias,
        "qk_norm": plan.qk_norm,
        # a window that no position can reach beyond is none
        "sliding_window": plan.sliding_window if plan.sliding_window < positions else 0,
        "max_window": positions,
        "digits": plan.digits,
        "start_id": plan.start_id,
        "window": window,
        "overlap": plan.overlap if window == plan.window else min(plan.overlap, window // 4),
        "name": label.name,
        "license": label.license,
        "source": label.source,
        "parameters": parameters,
    }
    return checkpoint.write_checkpoint(out, config, tensors, tokenizer_json)
