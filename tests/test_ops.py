"""Each operation of the exact arithmetic against the slow twin, bit for bit, and the bounds on extreme values."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
import torch
from numpy.typing import NDArray

from llmzip.errors import ModelInvalid
from llmzip.models import fused, ops
from llmzip.models.checkpoint import expected_tensors
from llmzip.models.config import LlamaConfig

rng = np.random.default_rng(1)


def rows(n: int, k: int, scale: float = 1.0) -> NDArray[Any]:
    x = (rng.standard_normal((n, k)) * scale * np.exp(rng.standard_normal((n, 1)))).astype(np.float32)
    x[0] = 0
    x[1, 0] = 1e30 if scale > 1 else 1e4
    return x


def same(got: Any, expected: Any) -> None:
    assert np.array_equal(np.asarray(got).view(np.int32), np.asarray(expected, dtype=np.float32).view(np.int32))


def test_exp2_is_the_twin_and_is_accurate() -> None:
    d = np.concatenate([np.linspace(-30, 30, 4001), -rng.random(2000) * 30]).astype(np.float32)
    got = ops.exp2(torch.from_numpy(d)).numpy()
    same(got, [oracle.exp2(x) for x in d])
    assert np.abs(got / np.exp2(d.astype(np.float64)) - 1).max() < 3e-7


def test_the_document_has_every_constant_and_tensor() -> None:
    """docs/exactness.md: whoever writes a decoder of it has to guess nothing."""
    text = (Path(__file__).parents[1] / "docs" / "exactness.md").read_text("utf-8")
    *coefficients, log2_e = map(float.fromhex, re.findall(r"0x1\.[0-9a-f]+p[+-]\d+", text))
    assert coefficients == list(ops.EXP2_COEFFICIENTS) and log2_e == ops.LOG2_E
    quoted = set(re.findall(r"`([a-z_.]+)`", text))
    config = {field.name: 1 for field in dataclasses.fields(LlamaConfig)} | {"tied": False}
    for name in expected_tensors(config):
        assert re.sub(r"\.(weight|scale)$", "", name).replace("layers.0", "layers.i") in quoted, name


def test_exp2_of_whole_numbers_is_exact() -> None:
    d = torch.arange(-30, 31, dtype=torch.float32)
    assert torch.equal(ops.exp2(d), torch.tensor([2.0**i for i in range(-30, 31)]))


def test_rmsnorm() -> None:
    x, w = rows(6, 48), rng.standard_normal(48).astype(np.float32)
    same(ops.rmsnorm(torch.from_numpy(x), torch.from_numpy(w), 1e-5), [oracle.rmsnorm(r, w, 1e-5) for r in x])


@pytest.mark.parametrize("digits", [1, 2])
@pytest.mark.parametrize("k", [48, 1041, 2100])
def test_linear(digits: int, k: int) -> None:
    x, w = rows(4, k), rng.integers(-127, 128, (5, k)).astype(np.int8)
    w[0], w[1] = 127, -127
    x[2] = 1.0
    scale = rng.random(5).astype(np.float32)
    got = ops.linear(torch.from_numpy(x), torch.from_numpy(w), torch.from_numpy(scale), None, digits, ops.float_mm)
    same(got, [oracle.linear(r, w, scale, digits) for r in x])


def test_attention_with_grouped_queries() -> None:
    lanes, heads, kv_heads, positions, dim = 2, 4, 2, 9, 16
    q = rng.standard_normal((lanes, heads, 1, dim)).astype(np.float32) * 3
    k = rng.standard_normal((lanes, kv_heads, positions, dim)).astype(np.float32)
    v = rng.standard_normal((lanes, kv_heads, positions, dim)).astype(np.float32) * np.exp(
        rng.standard_normal((1, 1, positions, 1))
    ).astype(np.float32)
    (k8, ks), (v8, vs) = (ops.quantize(torch.from_numpy(x), 127) for x in (k, v))
    visible = torch.ones((1, positions), dtype=torch.bool)
    got = ops.attention(
        torch.from_numpy(q), k8.to(torch.int8), ks[..., 0], v8.to(torch.int8), vs[..., 0], visible, ops.float32(0.36)
    )
    for lane in range(lanes):
        for head in range(heads):
            same(got[lane, head, 0], oracle.attend(q[lane, head, 0], k[lane, head // 2], v[lane, head // 2], 0.36))


def test_swiglu() -> None:
    g, u = rows(3, 64, 8.0), rows(3, 64)
    same(ops.swiglu(torch.from_numpy(g), torch.from_numpy(u)), [oracle.swiglu(a, b) for a, b in zip(g, u, strict=True)])


def test_a_kernel_that_saturates_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def saturating(
        a: torch.Tensor, b: torch.Tensor
    ) -> torch.Tensor:  # what oneDNN does without VNNI: pairs of products in int16
        pairs = ((a.float() + 128)[:, :, None] * b.float()[None]).reshape(a.shape[0], -1, 2, b.shape[1]).sum(2)
        return (pairs.clamp(-32768, 32767).sum(1) - 128 * b.float().sum(0)).to(torch.int32)

    assert not ops._exact(saturating, torch.device("cpu"), 64)
    assert ops._exact(ops.float_mm, torch.device("cpu"), 2600)
    monkeypatch.setattr(ops, "int_mm", saturating)
    assert ops.choose_matmul(torch.device("cpu"), {64})[0] is ops.float_mm


def config(**changes: Any) -> LlamaConfig:
    values = dict(
        n_layers=1, width=64, n_heads=4, n_kv_heads=2, head_dim=16, hidden=128, n_vocab=300, norm_eps=1e-5, tied=True,
        qkv_bias=False, qk_norm=False, sliding_window=0, max_window=512, digits=2, start_id=0, window=128, overlap=32,
    )  # fmt: skip
    return LlamaConfig(**{**values, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden": 1 << 17},
        {"head_dim": 1042},
        {"head_dim": 15},
        {"n_kv_heads": 3},
        {"max_window": 40000},
        {"digits": 3},
    ],
)
def test_a_model_beyond_a_bound_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelInvalid):
        config(**changes).check_bounds()


def test_a_model_beyond_the_kernels_goes_to_torch() -> None:
    assert not fused.supports(config())
    assert fused.supports(config(hidden=70_000)) and fused.supports(config(head_dim=600))
