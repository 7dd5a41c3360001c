"""What every source comes down to: a plan and float32 tensors, quantized and written as an exact checkpoint."""

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from llmzip.errors import ModelInvalid
from llmzip.models import checkpoint
from llmzip.models.config import LlamaConfig
from llmzip.models.convert.rope import Floats, Rope, rope_tables
from llmzip.tokens.vocabulary import spellings, token_table

# What a model may say otherwise. One digit is for models that were trained for it.
DEFAULTS = {"digits": 2, "window": checkpoint.DEFAULT_WINDOW, "overlap": checkpoint.DEFAULT_OVERLAP}


@dataclass
class Plan:
    """A model as its source describes it: `config.max_window` is how many positions that knows."""

    config: LlamaConfig
    rope: Rope


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


def quantize(weight: Floats, name: str = "weight") -> tuple[NDArray[np.int8], Floats]:
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


def _tensors(config: LlamaConfig, weights: Weights) -> checkpoint.Tensors:
    """The quantized tensors; what the source has beyond them is something that this format cannot express."""
    tensors: checkpoint.Tensors = {}
    width, head, n_q, n_kv = config.width, config.head_dim, config.n_heads, config.n_kv_heads

    def floats(name: str, size: int) -> Floats:
        vector = weights.get(name, (size,))
        if not np.isfinite(vector).all():
            raise ModelInvalid(f"tensor {name} holds a NaN or an infinity")
        return vector

    def linear(name: str, columns: int, parts: Sequence[tuple[str, int]]) -> None:
        joined = np.concatenate([weights.get(part, (rows, columns)) for part, rows in parts])
        tensors[f"{name}.weight"], tensors[f"{name}.scale"] = quantize(joined, parts[0][0])

    linear("embed", width, [("model.embed_tokens.weight", config.n_vocab)])
    if not config.tied:
        linear("head", width, [("lm_head.weight", config.n_vocab)])
    tensors["norm"] = floats("model.norm.weight", width)
    for index in range(config.n_layers):
        here, there = f"layers.{index}", f"model.layers.{index}"
        heads = [(f"{there}.self_attn.{kind}_proj", n * head) for kind, n in (("q", n_q), ("k", n_kv), ("v", n_kv))]
        tensors[f"{here}.attn_norm"] = floats(f"{there}.input_layernorm.weight", width)
        tensors[f"{here}.mlp_norm"] = floats(f"{there}.post_attention_layernorm.weight", width)
        linear(f"{here}.qkv", width, [(f"{part}.weight", rows) for part, rows in heads])
        if config.qkv_bias:
            tensors[f"{here}.qkv.bias"] = np.concatenate([floats(f"{part}.bias", rows) for part, rows in heads])
        if config.qk_norm:
            tensors[f"{here}.q_norm"] = floats(f"{there}.self_attn.q_norm.weight", head)
            tensors[f"{here}.k_norm"] = floats(f"{there}.self_attn.k_norm.weight", head)
        linear(f"{here}.o", n_q * head, [(f"{there}.self_attn.o_proj.weight", width)])
        linear(
            f"{here}.gate_up", width, [(f"{there}.mlp.{kind}_proj.weight", config.hidden) for kind in ("gate", "up")]
        )
        linear(f"{here}.down", config.hidden, [(f"{there}.mlp.down_proj.weight", width)])
    if unused := weights.unused():
        raise ModelInvalid(f"the model has a tensor that llmzip does not support: {unused[0]}")
    return tensors


@contextmanager
def readable(source: Path) -> Iterator[None]:
    """What strangers' files make of the parsers.

    Whatever the form that was not expected, it is the model that is at fault.

    OSError is not among them: a full disk is not.
    """
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, struct.error) as error:
        raise ModelInvalid(f"{source} has not the expected form: {error!r}") from error


def convert(plan: Plan, weights: Weights, tokenizer_json: bytes, out: Path, label: Label) -> bytes:
    for part, highest in checkpoint.HIGHEST.items():
        if not 1 <= getattr(plan.config, part) <= highest:
            raise ModelInvalid(f"the model has {part} {getattr(plan.config, part)}, not 1 to {highest}")
    if not checkpoint.LEAST_EPS <= plan.config.norm_eps < 1:
        raise ModelInvalid(f"the model has norm_eps {plan.config.norm_eps}")
    config = _settled(plan.config)
    tokenizer = checkpoint.parse_json(tokenizer_json, "tokenizer.json")
    token_bytes, token_ends = token_table(spellings(tokenizer, config.n_vocab))
    tensors = _tensors(config, weights)
    parameters = sum(t.size for name, t in tensors.items() if not name.endswith(".scale"))
    tensors["rope.cos"], tensors["rope.sin"] = rope_tables(plan.rope, config.head_dim, config.max_window)
    tensors["tokens.bytes"], tensors["tokens.ends"] = token_bytes, token_ends
    form = {
        "format": checkpoint.FORMAT,
        "numerics": checkpoint.NUMERICS,
        "architecture": checkpoint.ARCHITECTURE,
    }
    told = asdict(label) | {"parameters": parameters}
    return checkpoint.write_checkpoint(out, form | asdict(config) | told, tensors, tokenizer_json)


def _settled(config: LlamaConfig) -> LlamaConfig:
    """What an exact checkpoint says of a model that is described so."""
    positions = min(config.max_window, checkpoint.MAX_POSITIONS)
    window = min(config.window, positions)
    return replace(
        config,
        # by way of float32, so that 1e-5 is the same number whether it was stored in JSON or as a float32
        norm_eps=float(str(np.float32(config.norm_eps))),
        # a window that no position can reach beyond is none
        sliding_window=config.sliding_window if config.sliding_window < positions else 0,
        max_window=positions,
        window=window,
        overlap=config.overlap if window == config.window else min(config.overlap, window // 4),
    )
