"""How large a number can get in a model.

That the arithmetic never leaves the finite float32 is shown here, for each model that is loaded.

From infinities on, nothing is exact: conversion to integers is undefined in C, and kernels and torch operations differ.
Knows nothing of files.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmzip.errors import ModelInvalid

# 40 powers of two below the end of float32: above every factor of an intermediate product (docs/exactness.md)
LARGEST = 2.0**88


class Magnitudes:
    """Upper bounds of what each step gives, by the largest of each tensor. They hold for every input."""

    def __init__(self, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
        self._config, self._tensors = config, tensors

    def check(self) -> None:
        """Raise ModelInvalid for the first step that may become larger than LARGEST."""
        config = self._config
        for table in ("rope.cos", "rope.sin"):
            if self._largest(table) > 1:
                raise ModelInvalid(f"tensor {table} holds a number above 1")
        x = self._limited("embed", 127 * self._largest("embed.scale"))
        for index in range(config["n_layers"]):
            layer = f"layers.{index}."
            x = self._limited(layer + "o", x + self._linear(layer + "o", self._attention(layer)))
            gate_up = self._linear(layer + "gate_up", self._norm(layer + "mlp_norm", config["width"]))
            product = self._limited(layer + "gate_up", gate_up * gate_up)
            x = self._limited(layer + "down", x + self._linear(layer + "down", product))
        head = "embed" if config["tied"] else "head"
        self._limited(head, 512 * self._linear(head, self._norm("norm", config["width"])))  # 256 log2(e) is below 512

    def _attention(self, layer: str) -> float:
        """A weighted mean of values; the weights come from scores that must be finite as well."""
        config = self._config
        qkv = self._linear(layer + "qkv", self._norm(layer + "attn_norm", config["width"]))
        q = k = qkv
        if config["qk_norm"]:
            q, k = (self._norm(f"{layer}{part}_norm", config["head_dim"]) for part in "qk")
        rotated = 2 * q * 2 * k  # cos and sin are at most 1
        self._limited(layer + "qkv", 2 * math.sqrt(config["head_dim"]) * rotated)  # log2(e) is below 2
        return 2 * qkv

    def _norm(self, name: str, width: int) -> float:
        """A row of mean square 1 has no element above the root of its width; 2 is for the roundings."""
        return self._limited(name, 2 * math.sqrt(width) * self._largest(name))

    def _linear(self, name: str, largest: float) -> float:
        inputs = self._tensors[f"{name}.weight"].shape[1]
        bias = self._largest(f"{name}.bias") if f"{name}.bias" in self._tensors else 0.0
        return self._limited(name, 2 * largest * 127 * inputs * self._largest(f"{name}.scale") + bias)

    def _largest(self, name: str) -> float:
        return float(np.abs(self._tensors[name]).max())

    def _limited(self, name: str, bound: float) -> float:
        if not bound <= LARGEST:
            raise ModelInvalid(
                f"numbers as large as {bound:.0e} may come out of {name}: beyond the bound of the exact arithmetic"
            )
        return bound


def check_magnitudes(config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
    """Raise ModelInvalid for weights with which a sum or product might leave the finite numbers."""
    Magnitudes(config, tensors).check()
