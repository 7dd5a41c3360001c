"""The float network that is trained: Llama-shaped, exported to a Hugging Face folder that the exact engine converts.

Shapes: B rows, T steps, D width, H heads, K kv heads, V vocabulary. Source: Touvron et al. 2023 (Llama), Shazeer 2020
(SwiGLU), Su et al. 2021 (RoPE), Beltagy et al. 2020 (sliding window). Knows nothing of text, of optimizers and of files
other than the exported folder.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from llmzip.models.checkpoint import Config, Tensors

EPS = 1e-5
ROPE_THETA = 10_000.0


@dataclass(frozen=True)
class Shape:
    """Sizes in elements, windows in tokens."""

    n_layers: int
    width: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    hidden: int
    n_vocab: int
    sliding_window: int
    window: int  # of the exact engine: tokens in its cache
    overlap: int
    tied: bool

    @classmethod
    def of_checkpoint(cls, config: Config) -> "Shape":
        """The shape of an exact checkpoint; what it may have beyond this network is refused by `Network.load`."""
        return cls(**{name: config[name] for name in cls.__dataclass_fields__})


def _int8(x: Tensor) -> Tensor:
    """x as the exact engine's one-digit rows have it, the gradient passed straight through (Bengio et al. 2013)."""
    scale = x.detach().abs().amax(-1, keepdim=True).clamp_min(2.0**-60) * (1 / 127)
    return x + (torch.round(x / scale) * scale - x).detach()


class Linear(nn.Module):
    """A matrix (N, K) in float32, applied in `dtype`; with `int8` set it sees what the exact engine will see."""

    def __init__(self, n: int, k: int, *, std: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n, k) * std)
        self.int8 = False

    def forward(self, x: Tensor) -> Tensor:
        weight: Tensor = self.weight
        if self.int8:
            x, weight = _int8(x), _int8(weight)
        return F.linear(x.to(torch.bfloat16), weight.to(torch.bfloat16))


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        s = self.shape = shape
        std = s.width**-0.5
        self.attn_norm, self.mlp_norm = (nn.Parameter(torch.ones(s.width)) for _ in range(2))
        self.qkv = Linear((s.n_heads + 2 * s.n_kv_heads) * s.head_dim, s.width, std=std)
        self.o = Linear(s.width, s.n_heads * s.head_dim, std=0.0)  # a layer begins as the identity
        self.gate_up = Linear(2 * s.hidden, s.width, std=std)
        self.down = Linear(s.width, s.hidden, std=0.0)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, visible: Tensor) -> Tensor:
        """x (B, T, D) float32 -> (B, T, D) float32."""
        s = self.shape
        h = F.rms_norm(x, (s.width,), self.attn_norm, EPS)
        qkv = self.qkv(h).unflatten(-1, (-1, s.head_dim)).transpose(1, 2)  # (B, H + 2 K, T, head_dim)
        q, k, v = torch.split(qkv, [s.n_heads, s.n_kv_heads, s.n_kv_heads], dim=1)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        a = F.scaled_dot_product_attention(q, k, v, attn_mask=visible, enable_gqa=s.n_heads != s.n_kv_heads)
        x = x + self.o(a.transpose(1, 2).flatten(2)).float()
        h = F.rms_norm(x, (s.width,), self.mlp_norm, EPS)
        gate, up = self.gate_up(h).chunk(2, dim=-1)
        out: Tensor = x + self.down(F.silu(gate) * up).float()
        return out


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position of (..., T, head_dim), halves paired as in the Hugging Face layout."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x.dtype)


class Network(nn.Module):
    """Ids in, loss out."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed = nn.Parameter(torch.randn(shape.n_vocab, shape.width) * 0.02)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.n_layers))
        self.norm = nn.Parameter(torch.ones(shape.width))
        self.head = None if shape.tied else Linear(shape.n_vocab, shape.width, std=0.0)
        self.int8 = False

    def forward(self, ids: Tensor) -> Tensor:
        """ids (B, T) -> logits (B, T, V)."""
        s = self.shape
        steps = torch.arange(ids.shape[1], device=ids.device)
        frequencies = ROPE_THETA ** (-torch.arange(0, s.head_dim, 2, device=ids.device) / s.head_dim)
        angles = steps[:, None] * frequencies
        cos, sin = angles.cos().to(torch.bfloat16), angles.sin().to(torch.bfloat16)
        distance = steps[:, None] - steps[None, :]
        visible = (distance >= 0) & (distance < (s.sliding_window or ids.shape[1]))
        embed: Tensor = _int8(self.embed) if self.int8 else self.embed
        x = F.embedding(ids, embed)
        for layer in self.layers:
            x = layer(x, cos, sin, visible)
        x = F.rms_norm(x, (s.width,), self.norm, EPS)
        if self.head is None:
            return F.linear((_int8(x) if self.int8 else x).to(torch.bfloat16), embed.to(torch.bfloat16))
        logits: Tensor = self.head(x)
        return logits

    def loss(self, ids: Tensor) -> Tensor:
        """Mean cross-entropy in nats of ids (B, T + 1), each from those before it."""
        logits = self(ids[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())

    def set_int8(self, on: bool) -> None:
        """Whether to train for one int8 digit per activation (quantization-aware training)."""
        self.int8 = on
        for module in self.modules():
            if isinstance(module, Linear):
                module.int8 = on

    def matrices(self) -> list[nn.Parameter]:
        """The hidden matrices, which Muon is for; all else is for AdamW."""
        return [parameter for parameter in self.layers.parameters() if parameter.ndim == 2]

    def load(self, tensors: Tensors) -> None:
        """The weights of an exact checkpoint, scales multiplied in."""
        own = {"embed": self.embed, "norm": self.norm}
        own |= {name.removesuffix(".weight"): parameter for name, parameter in self.named_parameters()}
        given = {
            name.removesuffix(".weight"): tensor * tensors[name.removesuffix("weight") + "scale"][:, None]
            if tensor.dtype == np.int8
            else tensor
            for name, tensor in tensors.items()
            if not name.startswith(("rope.", "tokens.")) and not name.endswith(".scale")
        }
        if own.keys() != given.keys():
            raise ValueError(f"the model has {sorted(own.keys() ^ given.keys())[0]}, which training does not know")
        with torch.no_grad():
            for name, tensor in given.items():
                own[name].copy_(torch.from_numpy(np.ascontiguousarray(tensor)))

    def export(self, folder: Path, tokenizer_json: bytes, *, start_id: int, digits: int) -> None:
        """Write a Hugging Face folder, which transformers, too, can load (as Llama, or Mistral where there is a sliding
        window).
        """
        s = self.shape
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in self._hugging_face()}, folder / "model.safetensors")
        (folder / "tokenizer.json").write_bytes(tokenizer_json)
        kind = "mistral" if s.sliding_window else "llama"
        config = {
            "architectures": [f"{kind.capitalize()}ForCausalLM"],
            "model_type": kind,
            "hidden_size": s.width,
            "intermediate_size": s.hidden,
            "num_hidden_layers": s.n_layers,
            "num_attention_heads": s.n_heads,
            "num_key_value_heads": s.n_kv_heads,
            "head_dim": s.head_dim,
            "vocab_size": s.n_vocab,
            "max_position_embeddings": s.window,
            "rms_norm_eps": EPS,
            "rope_theta": ROPE_THETA,
            "tie_word_embeddings": s.tied,
            "hidden_act": "silu",
            "bos_token_id": start_id,
            "eos_token_id": start_id,
            "torch_dtype": "float32",
            "llmzip": {"digits": digits, "window": s.window, "overlap": s.overlap},
        }
        if s.sliding_window:
            config["sliding_window"] = s.sliding_window
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")

    def _hugging_face(self) -> list[tuple[str, Tensor]]:
        s = self.shape
        named = [("model.embed_tokens.weight", self.embed.detach()), ("model.norm.weight", self.norm.detach())]
        if self.head is not None:
            named.append(("lm_head.weight", self.head.weight.detach()))
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            prefix = f"model.layers.{index}"
            sizes = [s.n_heads * s.head_dim, s.n_kv_heads * s.head_dim, s.n_kv_heads * s.head_dim]
            q, k, v = torch.split(layer.qkv.weight.detach(), sizes)
            gate, up = layer.gate_up.weight.detach().chunk(2)
            named += [
                (f"{prefix}.input_layernorm.weight", layer.attn_norm.detach()),
                (f"{prefix}.post_attention_layernorm.weight", layer.mlp_norm.detach()),
                (f"{prefix}.self_attn.q_proj.weight", q),
                (f"{prefix}.self_attn.k_proj.weight", k),
                (f"{prefix}.self_attn.v_proj.weight", v),
                (f"{prefix}.self_attn.o_proj.weight", layer.o.weight.detach()),
                (f"{prefix}.mlp.gate_proj.weight", gate),
                (f"{prefix}.mlp.up_proj.weight", up),
                (f"{prefix}.mlp.down_proj.weight", layer.down.weight.detach()),
            ]
        return named
