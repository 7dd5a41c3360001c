"""The dimensions of a Llama-shaped model, and the bounds of the exact arithmetic at these dimensions.

Knows nothing of files and tensors.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from llmzip.errors import ModelInvalid


@dataclass(frozen=True)
class LlamaConfig:
    """Field for field what `model.json` says (docs/exactness.md); sizes in elements, windows in tokens.

    The one list of them: a checkpoint's keys and what a conversion plans are made from it.
    """

    n_layers: int
    width: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    hidden: int
    n_vocab: int
    norm_eps: float
    tied: bool  # the embedding is the head
    qkv_bias: bool
    qk_norm: bool
    sliding_window: int  # 0: a position sees all before it
    max_window: int  # rows of the rotary tables
    digits: int  # int8 digits per activation, 1 or 2
    start_id: int
    window: int
    overlap: int

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "LlamaConfig":
        return cls(**{field.name: values[field.name] for field in fields(cls)})

    @property
    def score_factor(self) -> float:
        """log2(e) / sqrt(head_dim): attention scores are powers of two."""
        return 1.4426950408889634 / math.sqrt(self.head_dim)

    @property
    def inner_sizes(self) -> set[int]:
        """Numbers of inputs of the linear layers."""
        return {self.width, self.hidden, self.n_heads * self.head_dim}

    def check_bounds(self) -> None:
        """Refuse what would overflow a sum of the reference forward.

        The fused kernels check their own, narrower bounds.

        Raises ModelInvalid, naming the dimension.
        """
        inner = max(self.inner_sizes)
        _require(inner < 1 << 17, f"a layer has {inner} inputs: 127 * 127 * inputs must stay below 2**31")
        _require(self.head_dim <= 1040, f"head_dim is {self.head_dim}: 127 * 127 * head_dim must stay below 2**24")
        _require(self.head_dim % 2 == 0, f"head_dim is {self.head_dim}: rotary positions need an even number")
        _require(self.n_heads % self.n_kv_heads == 0, "the number of heads is no multiple of the number of kv heads")
        _require(
            self.max_window <= 1 << 15, f"max_window is {self.max_window}: 2**16 * positions must stay below 2**31"
        )
        _require(self.n_vocab <= 1 << 20, f"the vocabulary has {self.n_vocab} tokens: the coder takes 2**20")
        _require(self.digits in (1, 2), f"{self.digits} digits: 1 or 2")
        _require(self.window <= self.max_window, "the window does not fit the rotary tables")
        _require(0 <= self.overlap <= self.window // 2, "overlap is more than half the window")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ModelInvalid(message)
