"""Small checkpoints made on the spot, and a plain float forward over exact tensors, for all the tests."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

CONFIGS: dict[str, type[PretrainedConfig]] = {
    "llama": LlamaConfig,
    "mistral": MistralConfig,
    "qwen2": Qwen2Config,
    "qwen3": Qwen3Config,
}
WORDS = tuple("".join(random.Random(i).choices("aeioubdgklmnprstvzéß", k=7)) for i in range(50))


def tiny_tokenizer(path: Path, *, vocab: int = 600, seed: int = 0) -> Path:
    """A byte-level BPE tokenizer.json, trained on invented words.

    256 bytes, merges, one special token, `<|endoftext|>`, as id 0.
    """
    chooser = random.Random(seed)
    text = [" ".join(chooser.choices(WORDS, k=12)) + ".\n" for _ in range(300)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text, trainer)
    tokenizer.save(str(path))
    return path


def tiny_llama_folder(
    path: Path,
    *,
    seed: int = 0,
    architecture: str = "llama",
    n_layers: int = 2,
    width: int = 64,
    n_heads: int = 4,
    n_kv_heads: int = 2,
    hidden: int = 160,
    vocab: int = 600,
    tied: bool = True,
    **settings: Any,
) -> Path:
    """A Hugging Face folder with random weights and a tokenizer.json. Further `settings` go to the configuration."""
    path.mkdir(parents=True, exist_ok=True)
    tokenizer = tiny_tokenizer(path / "tokenizer.json", vocab=vocab, seed=seed)
    defaults: dict[str, Any] = {
        "max_position_embeddings": 1024,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "rope_theta": 10000.0,
    }
    if architecture == "qwen3":
        defaults["head_dim"] = width // n_heads
    config = CONFIGS[architecture](
        vocab_size=len(json.loads(tokenizer.read_text("utf-8"))["model"]["vocab"]),
        hidden_size=width,
        intermediate_size=hidden,
        num_hidden_layers=n_layers,
        num_attention_heads=n_heads,
        num_key_value_heads=n_kv_heads,
        tie_word_embeddings=tied,
        **(defaults | settings),
    )
    model = AutoModelForCausalLM.from_config(config).float()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            # norms around 1, biases small, matrices so that activations keep their size
            spread = 0.1 if parameter.ndim == 1 else 0.5 if "embed" in name else parameter.shape[1] ** -0.5
            parameter.copy_(noise * spread + (1.0 if name.endswith("norm.weight") else 0.0))
    model.save_pretrained(path)
    return path


def _linear(tensors: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    weight = tensors[f"{name}.weight"].astype(np.float64) * tensors[f"{name}.scale"][:, None]
    y: np.ndarray = x @ weight.T
    return y + tensors[f"{name}.bias"] if f"{name}.bias" in tensors else y


def _norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    normed: np.ndarray = x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight
    return normed


def _rotate(x: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    first, second = np.split(x, 2, axis=-1)  # x: (T, heads, head_dim)
    c, s = cos[:, None, :], sin[:, None, :]
    return np.concatenate([first * c - second * s, second * c + first * s], -1)


def float_logits(config: dict[str, Any], tensors: dict[str, np.ndarray], ids: list[int]) -> np.ndarray:
    """Logits (T, V) in float64: what the exact engine approximates."""
    n_q, n_kv, head, eps = config["n_heads"], config["n_kv_heads"], config["head_dim"], config["norm_eps"]
    length = len(ids)
    cos, sin = tensors["rope.cos"][:length].astype(np.float64), tensors["rope.sin"][:length].astype(np.float64)
    distance = np.arange(length)[:, None] - np.arange(length)[None, :]
    seen = distance >= 0
    if config["sliding_window"]:
        seen &= distance < config["sliding_window"]
    x = tensors["embed.weight"][ids].astype(np.float64) * tensors["embed.scale"][ids][:, None]
    for index in range(config["n_layers"]):
        layer = f"layers.{index}"
        h = _norm(x, tensors[f"{layer}.attn_norm"], eps)
        qkv = _linear(tensors, f"{layer}.qkv", h).reshape(length, n_q + 2 * n_kv, head)
        q, k, v = np.split(qkv, [n_q, n_q + n_kv], axis=1)
        if config["qk_norm"]:
            q, k = _norm(q, tensors[f"{layer}.q_norm"], eps), _norm(k, tensors[f"{layer}.k_norm"], eps)
        q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
        k, v = np.repeat(k, n_q // n_kv, 1), np.repeat(v, n_q // n_kv, 1)
        scores = np.where(seen, np.einsum("thd,shd->hts", q, k) / np.sqrt(head), -np.inf)
        p = np.exp(scores - scores.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        x = x + _linear(tensors, f"{layer}.o", np.einsum("hts,shd->thd", p, v).reshape(length, n_q * head))
        h = _norm(x, tensors[f"{layer}.mlp_norm"], eps)
        gate, up = np.split(_linear(tensors, f"{layer}.gate_up", h), 2, axis=-1)
        x = x + _linear(tensors, f"{layer}.down", gate / (1 + np.exp(-gate)) * up)
    x = _norm(x, tensors["norm"], eps)
    return _linear(tensors, "embed" if config["tied"] else "head", x)


def invented_text(n_words: int, seed: int = 0) -> bytes:
    """Of words that tiny tokenizers have as tokens.

    What even a model of random weights knows better than a coder of bytes, for the first kilobyte.
    """
    return " ".join(random.Random(seed).choices(WORDS, k=n_words)).encode()
