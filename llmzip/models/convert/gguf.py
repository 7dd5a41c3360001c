"""GGUF files with a byte-level vocabulary. The library of that name reads them; no other module imports it."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from llmzip.errors import ModelInvalid
from llmzip.models import checkpoint
from llmzip.models.config import LlamaConfig
from llmzip.models.convert.rope import Floats, Rope
from llmzip.models.convert.tensors import DEFAULTS, Label, Plan, convert, readable

GGUF_ARCHITECTURES = ("llama", "qwen2", "qwen3")
GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4  # token types of GGUF


def _byte_level(use_regex: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


# How llama.cpp's names for pre-tokenizers are spelled in a tokenizer.json. What is not here is refused.
PRE_TOKENIZERS: dict[str, list[dict[str, Any]]] = {
    "gpt-2": [_byte_level(True)],
    "smollm": [{"type": "Digits", "individual_digits": True}, _byte_level(True)],
    "qwen2": [_split(WORDS % ""), _byte_level(False)],
    "llama-bpe": [_split(WORDS % "{1,3}"), _byte_level(False)],
}


class _GgufFile:
    """The fields and tensors of a GGUF file; tensors by their Hugging Face names, rows of q and k in their order."""

    def __init__(self, path: Path) -> None:
        from gguf import GGUFReader  # late: only conversions need it

        checkpoint.refuse_pointer(path)
        try:
            self._reader = GGUFReader(path)
        except OSError as error:
            raise ModelInvalid(f"cannot read {path}: {error}") from error
        self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}
        self._used: set[str] = set()
        self.architecture = self.text("general.architecture")
        if self.architecture not in GGUF_ARCHITECTURES:
            raise ModelInvalid(
                f"GGUF architecture {self.architecture} is not supported; {', '.join(GGUF_ARCHITECTURES)} are"
            )
        self.n_heads = self.integer(f"{self.architecture}.attention.head_count")
        self.n_kv_heads = self.integer(f"{self.architecture}.attention.head_count_kv", self.n_heads)

    def field(self, key: str, default: Any = None) -> Any:
        entry = self._reader.get_field(key)
        return default if entry is None else entry.contents()

    def integer(self, key: str, default: int | None = None) -> int:
        value = self.field(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ModelInvalid(f"GGUF field {key} is {value!r}, not one whole number")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self.field(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ModelInvalid(f"GGUF field {key} is {value!r}, not a number")
        return float(value)

    def text(self, key: str, default: str | None = None) -> str:
        value = self.field(key, default)
        if not isinstance(value, str):
            raise ModelInvalid(f"GGUF field {key} is {value!r}, not text")
        return value

    def sequence(self, key: str) -> list[Any]:
        value = self.field(key)
        if not isinstance(value, list):
            raise ModelInvalid(f"GGUF field {key} is missing")
        return value

    def has(self, name: str) -> bool:
        return name in self._tensors

    def stored(self, name: str, shape: tuple[int, ...]) -> Floats:
        from gguf.quants import dequantize

        tensor = self._tensors.get(name)
        if tensor is None:
            raise ModelInvalid(f"the GGUF file has no tensor {name}")
        self._used.add(name)
        found = tuple(int(size) for size in reversed(tensor.shape))  # GGUF names the fastest dimension first
        if found != shape:
            raise ModelInvalid(f"tensor {name} has shape {found}, expected {shape}")
        try:
            values = dequantize(tensor.data, tensor.tensor_type)
        except (NotImplementedError, ValueError, KeyError) as error:
            raise ModelInvalid(f"tensor {name}: type {tensor.tensor_type.name} cannot be read") from error
        return np.asarray(values, np.float32).reshape(shape)

    def get(self, name: str, shape: tuple[int, ...]) -> Floats:
        stem, _, kind = name.rpartition(".")
        layer, prefix = "", "model.layers."
        if stem.startswith(prefix):
            index, _, stem = stem.removeprefix(prefix).partition(".")
            layer = f"blk.{index}."
        weight = self.stored(f"{layer}{GGUF_NAMES[stem]}.{kind}", shape)
        heads = {"self_attn.q_proj": self.n_heads, "self_attn.k_proj": self.n_kv_heads}.get(stem)
        if self.architecture != "llama" or heads is None:
            return weight
        # llama.cpp rotates neighbouring channels, Hugging Face those half a head apart: its converter interleaves the
        # halves
        return np.ascontiguousarray(weight.reshape(heads, -1, 2, *shape[1:]).swapaxes(1, 2)).reshape(shape)

    def unused(self) -> list[str]:
        return sorted(self._tensors.keys() - self._used)


def _gguf_rope(file: _GgufFile, head_dim: int) -> Rope:
    architecture = file.architecture
    rope = Rope(Decimal(file.number(f"{architecture}.rope.freq_base", 10000.0)))
    kind = file.text(f"{architecture}.rope.scaling.type", "none")
    if kind not in ("none", "linear"):
        raise ModelInvalid(f"rope scaling {kind!r} is not supported")
    if file.integer(f"{architecture}.rope.dimension_count", head_dim) != head_dim:
        raise ModelInvalid("partial rotary embedding is not supported")
    factor = file.number(f"{architecture}.rope.scaling.factor", file.number(f"{architecture}.rope.scale_linear", 1.0))
    if factor <= 0:
        raise ModelInvalid(f"rope scaling factor {factor} is not positive")
    if kind == "linear" and factor != 1:
        rope.scaling, rope.parameters = "linear", {"factor": Decimal(factor)}
    if file.has("rope_freqs.weight"):  # how converters store Llama 3.1's scaling
        if rope.scaling != "default":
            raise ModelInvalid("two rope scalings at once are not supported")
        factors = file.stored("rope_freqs.weight", (head_dim // 2,)).tolist()
        if any(not factor > 0 for factor in factors):
            raise ModelInvalid("rope_freqs.weight holds a factor that is not positive")
        rope.scaling, rope.factors = "factors", [Decimal(factor) for factor in factors]
    return rope


def _gguf_plan(file: _GgufFile, n_vocab: int, start_id: int | None) -> Plan:
    architecture = file.architecture
    width = file.integer(f"{architecture}.embedding_length")
    head_dim = file.integer(f"{architecture}.attention.key_length", width // max(1, file.n_heads))
    if file.integer(f"{architecture}.attention.value_length", head_dim) != head_dim:
        raise ModelInvalid("keys and values of different sizes are not supported")
    if file.integer(f"{architecture}.expert_count", 0):
        raise ModelInvalid("mixtures of experts are not supported")
    positions = file.integer(f"{architecture}.context_length")
    if 0 < file.integer(f"{architecture}.attention.sliding_window", 0) < min(positions, checkpoint.MAX_POSITIONS):
        raise ModelInvalid("sliding-window attention in GGUF files is not supported")
    if start_id is None:
        start_id = file.integer("tokenizer.ggml.bos_token_id", file.integer("tokenizer.ggml.eos_token_id", 0))
    shape = LlamaConfig(
        n_layers=file.integer(f"{architecture}.block_count"),
        width=width,
        n_heads=file.n_heads,
        n_kv_heads=file.n_kv_heads,
        head_dim=head_dim,
        hidden=file.integer(f"{architecture}.feed_forward_length"),
        n_vocab=n_vocab,
        norm_eps=file.number(f"{architecture}.attention.layer_norm_rms_epsilon"),
        tied=not file.has("output.weight"),
        qkv_bias=architecture == "qwen2",
        qk_norm=architecture == "qwen3",
        sliding_window=0,
        max_window=positions,
        start_id=start_id,
        **DEFAULTS,
    )
    return Plan(shape, _gguf_rope(file, head_dim))


def _gguf_tokenizer(file: _GgufFile) -> bytes:
    """A tokenizer.json with the vocabulary, the merges and the pre-tokenizer that the file names."""
    kind, pre = file.text("tokenizer.ggml.model", "none"), file.text("tokenizer.ggml.pre", "none")
    if kind != "gpt2" or pre not in PRE_TOKENIZERS:
        raise ModelInvalid(
            f"GGUF tokenizer {kind!r} with pre-tokenizer {pre!r} cannot be rebuilt exactly",
            hint="convert the Hugging Face folder of the model instead",
        )
    tokens, types = file.sequence("tokenizer.ggml.tokens"), file.sequence("tokenizer.ggml.token_type")
    if len(tokens) != len(types):
        raise ModelInvalid("GGUF tokens and token types differ in number")
    special = {i: type_ == CONTROL for i, type_ in enumerate(types) if type_ in (CONTROL, USER_DEFINED)}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": tokens[i], "special": flag} for i, flag in special.items()],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": PRE_TOKENIZERS[pre]},
        "post_processor": None,
        "decoder": _byte_level(True),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": pre == "llama-bpe",
            "vocab": {token: i for i, token in enumerate(tokens) if types[i] == NORMAL},
            "merges": [merge.split(" ") for merge in file.sequence("tokenizer.ggml.merges")],
        },
    }
    return json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def convert_gguf(path: Path, out: Path, *, name: str, license: str, source: str, start_id: int | None = None) -> bytes:
    """Convert a GGUF file with a byte-level vocabulary; returns the fingerprint.

    `start_id` overrides the file's own.
    """
    with readable(path):
        file = _GgufFile(path)
        tokenizer_json = _gguf_tokenizer(file)
        plan = _gguf_plan(file, len(file.sequence("tokenizer.ggml.tokens")), start_id)
        return convert(plan, file, tokenizer_json, out, Label(name, license, source))
