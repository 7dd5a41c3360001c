"""The exact checkpoint folder: names, shapes and types of its tensors, its fingerprint, reading and writing it.

A folder holds `model.safetensors`, `model.json` (canonical JSON) and `tokenizer.json` (used for encoding only, so it is not fingerprinted:
what the ids spell is in the tensors). Knows nothing of torch, of the arithmetic that is done with the tensors, or of where they came from.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from llmzip.errors import ModelInvalid

FORMAT = 1
NUMERICS = 1
ARCHITECTURE = "llama"
MAX_POSITIONS = 4096
DEFAULT_WINDOW = 1024
DEFAULT_OVERLAP = 256

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "model.json"
TOKENIZER_FILE = "tokenizer.json"

# What the scores depend on, and its type; all of it is in the fingerprint.
COMPUTED_KEYS: dict[str, type] = {
    "format": int,
    "numerics": int,
    "architecture": str,
    "n_layers": int,
    "width": int,
    "n_heads": int,
    "n_kv_heads": int,
    "head_dim": int,
    "hidden": int,
    "n_vocab": int,
    "norm_eps": float,
    "tied": bool,
    "qkv_bias": bool,
    "qk_norm": bool,
    "sliding_window": int,
    "max_window": int,
    "digits": int,
    "start_id": int,
    "window": int,
    "overlap": int,
}
# What is only told to people; none of it is in the fingerprint.
DESCRIPTIVE_KEYS: dict[str, type] = {"name": str, "license": str, "source": str, "parameters": int, "fingerprint": str}

Config = dict[str, Any]
Tensors = dict[str, NDArray[Any]]


def canonical_json(value: Mapping[str, Any]) -> bytes:
    """One spelling for one value: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def fingerprint(config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """SHA-256 over everything that the scores and the spelling of ids depend on."""
    computed = {key: config[key] for key in COMPUTED_KEYS}
    digest = hashlib.sha256(f"llmzip numerics {NUMERICS}\n".encode())
    digest.update(canonical_json(computed) + b"\n")
    for name in sorted(tensors):
        little = np.ascontiguousarray(tensors[name], dtype=tensors[name].dtype.newbyteorder("<"))
        shape = "x".join(str(size) for size in little.shape)
        digest.update(f"{name} {little.dtype.name} {shape}\n".encode())
        digest.update(hashlib.sha256(little.reshape(-1).view(np.uint8).data).digest())
    return digest.digest()


def expected_tensors(config: Mapping[str, Any]) -> dict[str, tuple[str, tuple[int | None, ...]]]:
    """The dtype and shape of each tensor of such a model; None is a size that the configuration does not tell."""
    width, hidden, vocab, head = (config[key] for key in ("width", "hidden", "n_vocab", "head_dim"))
    n_q, n_kv = config["n_heads"], config["n_kv_heads"]
    expected: dict[str, tuple[str, tuple[int | None, ...]]] = {}

    def floats(name: str, *shape: int) -> None:
        expected[name] = ("float32", shape)

    def linear(name: str, rows: int, columns: int) -> None:
        expected[f"{name}.weight"] = ("int8", (rows, columns))
        floats(f"{name}.scale", rows)

    linear("embed", vocab, width)
    if not config["tied"]:
        linear("head", vocab, width)
    floats("norm", width)
    for index in range(config["n_layers"]):
        layer = f"layers.{index}"
        floats(f"{layer}.attn_norm", width)
        floats(f"{layer}.mlp_norm", width)
        linear(f"{layer}.qkv", (n_q + 2 * n_kv) * head, width)
        if config["qkv_bias"]:
            floats(f"{layer}.qkv.bias", (n_q + 2 * n_kv) * head)
        if config["qk_norm"]:
            floats(f"{layer}.q_norm", head)
            floats(f"{layer}.k_norm", head)
        linear(f"{layer}.o", width, n_q * head)
        linear(f"{layer}.gate_up", 2 * hidden, width)
        linear(f"{layer}.down", width, hidden)
    floats("rope.cos", config["max_window"], head // 2)
    floats("rope.sin", config["max_window"], head // 2)
    expected["tokens.bytes"] = ("uint8", (None,))
    expected["tokens.ends"] = ("int32", (vocab,))
    return expected


def check_config(config: Mapping[str, Any]) -> None:
    """Raise ModelInvalid for a missing or unknown key, a wrong type, or sizes that cannot be."""
    for key, kind in (COMPUTED_KEYS | DESCRIPTIVE_KEYS).items():
        # bool is an int to isinstance, and an integral norm_eps would have another canonical spelling
        if type(config.get(key)) is not kind:
            raise ModelInvalid(f"{CONFIG_FILE}: {key} is missing or is not of type {kind.__name__}")
    unknown = sorted(config.keys() - COMPUTED_KEYS.keys() - DESCRIPTIVE_KEYS.keys())
    if unknown:
        raise ModelInvalid(f"{CONFIG_FILE}: unknown key {unknown[0]}")
    for key, known in (("format", FORMAT), ("numerics", NUMERICS), ("architecture", ARCHITECTURE)):
        if config[key] != known:
            raise ModelInvalid(f"{CONFIG_FILE}: {key} is {config[key]!r}, this llmzip knows {known!r}")
    for key in ("n_layers", "width", "n_heads", "n_kv_heads", "head_dim", "hidden", "n_vocab"):
        if config[key] < 1:
            raise ModelInvalid(f"{CONFIG_FILE}: {key} is {config[key]}")
    sound = (
        config["n_heads"] % config["n_kv_heads"] == 0
        and config["head_dim"] % 2 == 0
        and 0 < config["norm_eps"] < 1
        and config["digits"] in (1, 2)
        and config["sliding_window"] >= 0
        and 0 <= config["start_id"] < config["n_vocab"]
        and 8 <= config["window"] <= config["max_window"] <= MAX_POSITIONS
        and 0 <= config["overlap"] < config["window"]
    )
    if not sound:
        raise ModelInvalid(f"{CONFIG_FILE}: heads, norm_eps, digits, start_id or the window sizes are out of their bounds")


def check_tensors(config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
    """Raise ModelInvalid where the tensors are not those of the configuration."""
    expected = expected_tensors(config)
    if wrong := sorted(expected.keys() ^ tensors.keys()):
        raise ModelInvalid(f"tensor {wrong[0]} is {'missing' if wrong[0] in expected else 'not one of this format'}")
    for name, (dtype, shape) in expected.items():
        tensor = tensors[name]
        fits = len(shape) == tensor.ndim and all(a in (None, b) for a, b in zip(shape, tensor.shape, strict=True))
        if tensor.dtype.name != dtype or not fits:
            raise ModelInvalid(f"tensor {name} is {tensor.dtype.name} {tensor.shape}, expected {dtype} {shape}")
        if dtype == "float32" and not np.isfinite(tensor).all():
            raise ModelInvalid(f"tensor {name} holds a NaN or an infinity")
        if name.endswith(".scale") and (tensor < 0).any():
            raise ModelInvalid(f"tensor {name} holds a negative scale")
        if dtype == "int8" and tensor.min() < -127:
            raise ModelInvalid(f"tensor {name} holds -128, beyond the bound of the exact sums")
    ends = tensors["tokens.ends"]
    if ends[0] < 0 or (np.diff(ends) < 0).any() or ends[-1] != tensors["tokens.bytes"].size:
        raise ModelInvalid("tokens.ends does not cut tokens.bytes into tokens")


def read_config(folder: Path) -> Config:
    """The checked `model.json` of a folder, without touching the weights."""
    path = folder / CONFIG_FILE
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelInvalid(f"cannot read {path}: {error}") from error
    if not isinstance(config, dict):
        raise ModelInvalid(f"{path} is not a JSON object")
    check_config(config)
    return config


def read_checkpoint(folder: Path) -> tuple[Config, Tensors]:
    """Configuration and tensors of a folder, checked against each other and against the fingerprint."""
    config = read_config(folder)
    path = folder / WEIGHTS_FILE
    try:
        tensors: Tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelInvalid(f"cannot read {path}: {error}") from error
    check_tensors(config, tensors)
    if fingerprint(config, tensors).hex() != config["fingerprint"]:
        raise ModelInvalid(
            f"{folder} is damaged: it does not have the fingerprint that it names",
            hint="remove the model and pull it again",
        )
    return config, tensors


def write_checkpoint(folder: Path, config: Mapping[str, Any], tensors: Tensors, tokenizer_json: bytes) -> bytes:
    """Write a folder, whole or not at all, replacing an older one. Sets the fingerprint and returns it."""
    digest = fingerprint(config, tensors)
    complete = dict(config) | {"fingerprint": digest.hex()}
    check_config(complete)
    check_tensors(complete, tensors)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        save_file({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}, staging / WEIGHTS_FILE)
        (staging / TOKENIZER_FILE).write_bytes(tokenizer_json)
        (staging / CONFIG_FILE).write_bytes(canonical_json(complete) + b"\n")
        for entry in staging.iterdir():  # save_file and mkdtemp give their own, narrower modes
            entry.chmod(0o644)
        staging.chmod(0o755)
        # A folder cannot be renamed onto a full one. Between the two steps there is no model, never half of one.
        if folder.exists():
            shutil.rmtree(folder)
        os.rename(staging, folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return digest
