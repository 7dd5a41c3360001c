"""Hugging Face folders: config.json, safetensors, tokenizer.json."""

import json
import mmap
import struct
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from llmzip.errors import ModelInvalid
from llmzip.models import checkpoint
from llmzip.models.config import LlamaConfig
from llmzip.models.convert.rope import Floats, Rope
from llmzip.models.convert.tensors import DEFAULTS, Label, Plan, convert, readable

HEADER_LIMIT = 100_000_000  # bytes of a safetensors header, as in the safetensors library
ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
STORED_TYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


class _SafetensorsWeights:
    """The tensors of some safetensors files, mapped.

    Read by hand, as numpy has no bfloat16 and torch is not wanted here.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._where: dict[str, tuple[mmap.mmap, int, dict[str, Any]]] = {}
        self._used: set[str] = set()
        for path in paths:
            self._add(path)

    def _add(self, path: Path) -> None:
        if not path.is_file():
            raise ModelInvalid(
                f"there are no weights in {path.parent}: {path.name} is missing", hint=_safetensors_hint(path.parent)
            )
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


def _hf_architecture(config: dict[str, Any]) -> str:
    """Its name, if all that it may vary is as plain as we compute it."""
    architectures = config.get("architectures")
    if not architectures:
        raise ModelInvalid(
            "config.json does not name the architecture",
            hint=f'add "architectures": ["NAME"] with one of {", ".join(ARCHITECTURES)}',
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
    return str(architectures[0])


def _hf_plan(config: dict[str, Any], has_own_head: bool) -> Plan:
    architecture = _hf_architecture(config)

    def integer(key: str, default: int | None = None) -> int:
        value = config.get(key)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**31:
            raise ModelInvalid(f"config.json: {key} is {value!r}")
        return value

    width, n_heads, n_vocab = integer("hidden_size"), integer("num_attention_heads"), integer("vocab_size")
    positions = integer("max_position_embeddings", 512)
    integer("num_hidden_layers")
    shape = LlamaConfig(
        n_layers=integer("num_hidden_layers"),
        width=width,
        n_heads=n_heads,
        n_kv_heads=integer("num_key_value_heads", n_heads),
        head_dim=integer("head_dim", 128 if architecture == "Qwen3ForCausalLM" else width // n_heads),
        hidden=integer("intermediate_size"),
        n_vocab=n_vocab,
        norm_eps=float(_decimal(config.get("rms_norm_eps", 1e-6), "rms_norm_eps")),
        tied=_hf_tied(config) and not has_own_head,
        qkv_bias=architecture == "Qwen2ForCausalLM",
        qk_norm=architecture == "Qwen3ForCausalLM",
        sliding_window=_hf_sliding_window(config, min(positions, checkpoint.MAX_POSITIONS)),
        max_window=positions,
        start_id=_hf_start_id(config, n_vocab),
        **(DEFAULTS | _hf_wishes(config)),
    )
    return Plan(shape, _hf_rope(config))


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
    with readable(folder):
        weights = _SafetensorsWeights(_hf_weight_files(folder))
        plan = _hf_plan(config, weights.has_own_head())
        return convert(plan, weights, tokenizer_json, out, Label(name, license, source))
