"""Conversion of Hugging Face folders and GGUF files to the exact checkpoint folder.

Order-free itself: elementwise numpy float32, maxima, and decimal and integer arithmetic for the rotary tables, so one source gives one
fingerprint on every machine. Knows nothing of torch, of caches, or of the engine that runs the result.
"""

import json
import mmap
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from math import ldexp
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from llmzip.errors import ModelInvalid
from llmzip.models import checkpoint
from llmzip.tokens.vocabulary import spellings, token_table

Floats = NDArray[np.float32]

PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899")
PRECISION = 70  # decimal digits of the rotary angles
FRACTION_BITS = 192  # of the fixed-point cosines: 4096 steps of the recurrence cost some 13 of them
HEADER_LIMIT = 100_000_000  # bytes of a safetensors header, as in the safetensors library


# ------------------------------------------------------------------ what every source comes down to


@dataclass
class Rope:
    """The rotary angles: base, and the scaling of its frequencies."""

    theta: Decimal
    scaling: str = "default"  # or "linear", "llama3", "factors"
    parameters: dict[str, Decimal] = field(default_factory=dict)
    factors: list[Decimal] = field(default_factory=list)  # for "factors": each frequency is divided by its own


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
    """A fixed-point number as a double whose cast to float32 rounds only once: cut to 52 bits, the rest kept as a sticky bit."""
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
def _readable(source: Path) -> Iterator[None]:
    """What strangers' files make of the parsers: whatever the form that was not expected, it is the model that is the matter.

    OSError is not among them: a full disk is not.
    """
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, struct.error) as error:
        raise ModelInvalid(f"{source} has not the expected form: {error!r}") from error


def _convert(plan: Plan, weights: Weights, tokenizer_json: bytes, out: Path, label: Label) -> bytes:
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


# ------------------------------------------------------------------ Hugging Face folders

ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
STORED_TYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


class _SafetensorsWeights:
    """The tensors of some safetensors files, mapped. Read by hand, as numpy has no bfloat16 and torch is not wanted here."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._where: dict[str, tuple[mmap.mmap, int, dict[str, Any]]] = {}
        self._used: set[str] = set()
        for path in paths:
            self._add(path)

    def _add(self, path: Path) -> None:
        if not path.is_file():
            raise ModelInvalid(f"there are no weights in {path.parent}: {path.name} is missing", hint=_safetensors_hint(path.parent))
        checkpoint.refuse_pointer(path)
        try:
            with path.open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            (size,) = struct.unpack_from("<Q", data)
            if size > HEADER_LIMIT:
                raise ValueError(f"header of {size} bytes")
            header = json.loads(data[8 : 8 + size])
            for name, entry in header.items():
                if name != "__metadata__":
                    begin, end = entry["data_offsets"]
                    shape, _ = list(entry["shape"]), entry["dtype"] in STORED_TYPES
                    if not all(type(size) is int for size in (begin, end, *shape)):
                        raise ValueError(f"tensor {name} has sizes that are no whole numbers")
                    if not 0 <= begin <= end <= len(data) - 8 - size:
                        raise ValueError(f"tensor {name} is outside the file")
                    self._where[name] = (data, 8 + size, entry)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error) as error:
            raise ModelInvalid(f"cannot read {path}: {error}") from error

    def has_own_head(self) -> bool:
        """Whether there is a head that is not the embedding over again."""
        return "lm_head.weight" in self._where and self._raw("lm_head.weight") != self._raw("model.embed_tokens.weight")

    def _raw(self, name: str) -> tuple[Any, bytes] | None:
        if name not in self._where:
            return None
        data, base, entry = self._where[name]
        begin, end = entry["data_offsets"]
        return entry["dtype"], data[base + begin : base + end]

    def get(self, name: str, shape: tuple[int, ...]) -> Floats:
        if name not in self._where:
            raise ModelInvalid(f"the model has no tensor {name}")
        self._used.add(name)
        data, base, entry = self._where[name]
        if tuple(entry["shape"]) != shape:
            raise ModelInvalid(f"tensor {name} has shape {tuple(entry['shape'])}, expected {shape}")
        if entry["dtype"] not in STORED_TYPES:
            raise ModelInvalid(
                f"tensor {name} is stored as {entry['dtype']}; float32, float16 and bfloat16 are supported"
            )
        stored = np.dtype(STORED_TYPES[entry["dtype"]])
        begin, end = entry["data_offsets"]
        count = int(np.prod(shape))
        if end - begin != count * stored.itemsize:
            raise ModelInvalid(f"tensor {name} has {end - begin} bytes for shape {shape}")
        raw = np.frombuffer(data, stored, count, base + begin).reshape(shape)
        if entry["dtype"] == "BF16":
            return (raw.astype(np.uint32) << 16).view(np.float32)
        return raw.astype(np.float32)

    def unused(self) -> list[str]:
        # old checkpoints store the rotary frequencies; a tied head may be stored twice
        spare = (name for name in self._where if not name.endswith("rotary_emb.inv_freq") and name != "lm_head.weight")
        return sorted(set(spare) - self._used)


def _safetensors_hint(folder: Path) -> str:
    if any(folder.glob("pytorch_model*.bin")) or any(folder.glob("*.pt")):
        return (
            "pickled weights are not read; transformers can write safetensors: "
            "AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(DIR)"
        )
    return "download *.safetensors of the model as well"


def _decimal(value: Any, what: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ModelInvalid(f"config.json: {what} is {value!r}")
    return Decimal(value)


def _hf_rope(config: dict[str, Any]) -> Rope:
    """From the keys of transformers 5 (`rope_parameters`) or of those before (`rope_theta`, `rope_scaling`)."""
    given = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(given, dict):
        raise ModelInvalid("config.json: the rope parameters are not an object")
    theta = _decimal(given.get("rope_theta", config.get("rope_theta", 10000.0)), "rope_theta")
    kind = given.get("rope_type", given.get("type", "default"))
    wanted = {
        "default": (),
        "linear": ("factor",),
        "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
    }
    if not isinstance(kind, str) or kind not in wanted:
        raise ModelInvalid(f"rope type {kind!r} is not supported; {', '.join(wanted)} are")
    if given.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0)) not in (None, 1, 1.0):
        raise ModelInvalid("partial rotary embedding is not supported")
    parameters = {key: _decimal(given.get(key), f"rope {key}") for key in wanted[kind]}
    if any(value <= 0 for value in parameters.values()):
        raise ModelInvalid("config.json: a rope parameter is not positive")
    return Rope(theta, kind, parameters)


def _hf_sliding_window(config: dict[str, Any], positions: int) -> int:
    """The one window of all layers, or 0. A window that is not shorter than the positions in use has no effect."""
    window = config.get("sliding_window") or 0
    if not config.get("use_sliding_window", config["architectures"][0] == "MistralForCausalLM"):
        return 0
    if not isinstance(window, int) or window >= positions:
        return 0
    kinds = config.get("layer_types")
    n_layers = config["num_hidden_layers"]
    if kinds is None and "use_sliding_window" in config:
        first = config.get("max_window_layers", 28)  # transformers' default; the layers from here on have the window
        kinds = ["full_attention" if layer < first else "sliding_attention" for layer in range(n_layers)]
    distinct = set(kinds or ["sliding_attention"])
    if distinct == {"full_attention"}:
        return 0
    if distinct != {"sliding_attention"}:
        raise ModelInvalid("a model with sliding-window attention in only some of its layers is not supported")
    return window


def _hf_start_id(config: dict[str, Any], n_vocab: int) -> int:
    for key in ("bos_token_id", "eos_token_id"):
        value = config.get(key)
        value = value[0] if isinstance(value, list) and value else value
        if isinstance(value, int) and 0 <= value < n_vocab:
            return value
    return 0


def _hf_tied(config: dict[str, Any]) -> bool:
    """Whether the embedding is the head, as far as the configuration says; no word of it means no, as in transformers.

    A head that is stored and is another one counts all the same: transformers loads it.
    """
    tied = config.get("tie_word_embeddings", False)
    if not isinstance(tied, bool):
        raise ModelInvalid(f"config.json: tie_word_embeddings is {tied!r}")
    return tied


def _hf_plan(config: dict[str, Any], has_own_head: bool) -> Plan:
    architectures = config.get("architectures")
    if not architectures:
        raise ModelInvalid(
            "config.json does not name the architecture", hint=f'add "architectures": ["NAME"] with one of {", ".join(ARCHITECTURES)}'
        )
    if not isinstance(architectures, list) or architectures[0] not in ARCHITECTURES:
        found = architectures[0] if isinstance(architectures, list) else architectures
        raise ModelInvalid(
            f"architecture {found} is not supported; {', '.join(ARCHITECTURES)} are",
            hint="--engine transformers runs others, in files that only the same machine and versions can read",
        )
    for key, plain in (
        ("hidden_act", "silu"),
        ("attention_bias", False),
        ("mlp_bias", False),
        ("quantization_config", None),
    ):
        if config.get(key, plain) != plain:
            raise ModelInvalid(f"config.json: {key} = {config[key]!r} is not supported")

    def integer(key: str, default: int | None = None) -> int:
        value = config.get(key)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**31:
            raise ModelInvalid(f"config.json: {key} is {value!r}")
        return value

    width, n_heads, n_vocab = integer("hidden_size"), integer("num_attention_heads"), integer("vocab_size")
    positions = integer("max_position_embeddings", 512)
    integer("num_hidden_layers")
    return Plan(
        n_layers=integer("num_hidden_layers"),
        width=width,
        n_heads=n_heads,
        n_kv_heads=integer("num_key_value_heads", n_heads),
        head_dim=integer("head_dim", 128 if architectures[0] == "Qwen3ForCausalLM" else width // n_heads),
        hidden=integer("intermediate_size"),
        n_vocab=n_vocab,
        norm_eps=float(_decimal(config.get("rms_norm_eps", 1e-6), "rms_norm_eps")),
        tied=_hf_tied(config) and not has_own_head,
        qkv_bias=architectures[0] == "Qwen2ForCausalLM",
        qk_norm=architectures[0] == "Qwen3ForCausalLM",
        sliding_window=_hf_sliding_window(config, min(positions, checkpoint.MAX_POSITIONS)),
        positions=positions,
        start_id=_hf_start_id(config, n_vocab),
        rope=_hf_rope(config),
        **_hf_wishes(config),
    )


def _hf_wishes(config: dict[str, Any]) -> dict[str, int]:
    """What a model asks of llmzip: an object `llmzip` in config.json, which `llmzip train` writes."""
    wishes = config.get("llmzip", {})
    known = ("digits", "window", "overlap")
    if not isinstance(wishes, dict) or not all(key in known and type(value) is int for key, value in wishes.items()):
        raise ModelInvalid(f"config.json: llmzip may hold whole numbers for {', '.join(known)}, and nothing else")
    return wishes


def _hf_weight_files(folder: Path) -> list[Path]:
    """One file, or the shards that an index names; where there are both, transformers takes the file."""
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.exists() or not index.exists():
        return [whole]
    names = set(checkpoint.read_json(index)["weight_map"].values())
    if any(Path(name).name != name for name in names):
        raise ModelInvalid(f"{index} names a file outside the folder")
    return [folder / name for name in sorted(names)]


def convert_hf(folder: Path, out: Path, *, name: str, license: str, source: str) -> bytes:
    """Convert a Hugging Face folder (config.json, safetensors, tokenizer.json); returns the fingerprint."""
    if (folder / "adapter_config.json").exists():
        raise ModelInvalid(
            f"{folder} holds an adapter, which transformers would load with the model",
            hint="merge it first: PeftModel.merge_and_unload(), then save_pretrained(DIR)",
        )
    config = checkpoint.read_json(folder / "config.json")
    if not (folder / "tokenizer.json").exists():
        raise ModelInvalid(
            f"{folder} has no tokenizer.json",
            hint="transformers can write it: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)",
        )
    tokenizer_json = checkpoint.read_file(folder / "tokenizer.json")
    with _readable(folder):
        weights = _SafetensorsWeights(_hf_weight_files(folder))
        plan = _hf_plan(config, weights.has_own_head())
        return _convert(plan, weights, tokenizer_json, out, Label(name, license, source))


# ------------------------------------------------------------------ GGUF files

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
        # llama.cpp rotates neighbouring channels, Hugging Face those half a head apart: its converter interleaves the halves
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
    return Plan(
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
        positions=positions,
        start_id=start_id,
        rope=_gguf_rope(file, head_dim),
    )


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
    """Convert a GGUF file with a byte-level vocabulary; returns the fingerprint. `start_id` overrides the file's own."""
    with _readable(path):
        file = _GgufFile(path)
        tokenizer_json = _gguf_tokenizer(file)
        plan = _gguf_plan(file, len(file.sequence("tokenizer.ggml.tokens")), start_id)
        return _convert(plan, file, tokenizer_json, out, Label(name, license, source))
