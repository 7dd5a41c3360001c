"""The exact checkpoint folder: names, shapes and types of its tensors, its fingerprint, reading and writing it.

A folder holds `model.safetensors`, `model.json` (canonical JSON) and `tokenizer.json` (used for encoding only, so it is
not fingerprinted: what the ids spell is in the tensors). Knows nothing of torch, of the arithmetic that is done with
the tensors, or of where they came from.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from llmzip.errors import ModelError, ModelInvalid
from llmzip.models.config import LlamaConfig
from llmzip.models.magnitudes import check_magnitudes
from llmzip.models.staging import place, staging

FORMAT = 1
NUMERICS = 1
ARCHITECTURE = "llama"
MAX_POSITIONS = 4096
DEFAULT_WINDOW = 1024
DEFAULT_OVERLAP = 256

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "model.json"
TOKENIZER_FILE = "tokenizer.json"

LFS_POINTER = b"version https://git-lfs"
DAMAGED_HINT = "remove the model and pull, convert or train it again"

# Highest sizes. All of them go into 32 bits in the C, and into the names and shapes that a folder is checked against.
MAX_INNER = 1 << 17
HIGHEST = {
    "n_layers": 1024,
    "width": MAX_INNER - 1,
    "n_heads": 1 << 12,
    "n_kv_heads": 1 << 12,
    "head_dim": 1040,
    "hidden": MAX_INNER - 1,
    "n_vocab": 1 << 20,
}
LEAST_EPS = 2.0**-120  # with it 1 / sqrt(eps) stays far from the largest float32

# What the scores depend on, and its type; all of it is in the fingerprint.
COMPUTED_KEYS: dict[str, type] = {"format": int, "numerics": int, "architecture": str} | get_type_hints(LlamaConfig)
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
    for key, highest in HIGHEST.items():
        if not 1 <= config[key] <= highest:
            raise ModelInvalid(f"{CONFIG_FILE}: {key} is {config[key]}, not 1 to {highest}")
    sound = (
        config["n_heads"] % config["n_kv_heads"] == 0
        and config["head_dim"] % 2 == 0
        and config["n_heads"] * config["head_dim"] < MAX_INNER
        and LEAST_EPS <= config["norm_eps"] < 1
        and config["digits"] in (1, 2)
        and 0 <= config["start_id"] < config["n_vocab"]
        and 8 <= config["window"] <= config["max_window"] <= MAX_POSITIONS
        and 0 <= config["overlap"] <= config["window"] // 2
        and 0 <= config["sliding_window"] <= config["max_window"]
        and 0 <= config["parameters"] < 1 << 62
    )
    if not sound:
        raise ModelInvalid(
            f"{CONFIG_FILE}: heads, norm_eps, digits, start_id or the window sizes are out of their bounds"
        )
    if not re.fullmatch(r"[0-9a-f]{64}", config["fingerprint"]):
        raise ModelInvalid(f"{CONFIG_FILE}: the fingerprint is not 64 hexadecimal digits")


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
    check_magnitudes(config, tensors)
    ends = tensors["tokens.ends"].astype(np.int64)  # differences of int32 may wrap
    if ends[0] < 0 or (np.diff(ends) < 0).any() or ends[-1] != tensors["tokens.bytes"].size:
        raise ModelInvalid("tokens.ends does not cut tokens.bytes into tokens")


def read_file(path: Path) -> bytes:
    """A regular file's bytes: what is a pipe or a device by accident would never end. Raises ModelInvalid."""
    try:
        if not path.is_file():
            raise ModelInvalid(f"{path} is missing or is no regular file")
        return path.read_bytes()
    except OSError as error:
        raise ModelInvalid(f"cannot read {path}: {error.strerror}") from error


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises ModelInvalid."""
    return parse_json(read_file(path), path.name)


def parse_json(text: bytes, what: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelInvalid(f"{what} is not JSON: {str(error) or type(error).__name__}") from error
    if not isinstance(parsed, dict):
        raise ModelInvalid(f"{what} is not a JSON object")
    return parsed


def refuse_pointer(path: Path) -> None:
    """Raise ModelInvalid where a clone without git-lfs left its note of where the weights are."""
    try:
        with path.open("rb") as file:
            is_pointer = file.read(len(LFS_POINTER)) == LFS_POINTER
    except OSError as error:
        raise ModelInvalid(f"cannot read {path}: {error.strerror}") from error
    if is_pointer:
        raise ModelInvalid(
            f"{path} is a git-lfs pointer, not the weights",
            hint="run `git lfs pull` in that folder, or download the file",
        )


def read_config(folder: Path) -> Config:
    """The checked `model.json` of a folder, without touching the weights."""
    config = read_json(folder / CONFIG_FILE)
    check_config(config)
    return config


def read_checkpoint(folder: Path) -> tuple[Config, Tensors]:
    """Configuration and tensors of a folder, checked against each other and against the fingerprint."""
    config = read_config(folder)
    path = folder / WEIGHTS_FILE
    refuse_pointer(path)
    try:
        tensors: Tensors = load_file(path)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        # the last four: types that numpy lacks, such as bfloat16
        raise ModelInvalid(f"cannot read {path}: {error}", hint=DAMAGED_HINT) from error
    try:
        check_tensors(config, tensors)
    except ModelInvalid as error:
        raise ModelInvalid(f"{folder}: {error}", hint=DAMAGED_HINT) from error
    if fingerprint(config, tensors).hex() != config["fingerprint"]:
        raise ModelInvalid(f"{folder} is damaged: it does not have the fingerprint that it names", hint=DAMAGED_HINT)
    return config, tensors


def write_checkpoint(folder: Path, config: Mapping[str, Any], tensors: Tensors, tokenizer_json: bytes) -> bytes:
    """Write a folder, whole or not at all, replacing an older model. Sets the fingerprint and returns it.

    Raises ModelInvalid where something else than a model is there, ModelError where it cannot be written.
    """
    digest = fingerprint(config, tensors)
    complete = dict(config) | {"fingerprint": digest.hex()}
    check_config(complete)
    check_tensors(complete, tensors)
    with staging(folder.parent, folder.name) as made:
        try:
            save_file({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}, made / WEIGHTS_FILE)
        except SafetensorError as error:
            raise ModelError(f"cannot write the model to {folder}: {error}", hint="is the disk full?") from error
        (made / TOKENIZER_FILE).write_bytes(tokenizer_json)
        (made / CONFIG_FILE).write_bytes(canonical_json(complete) + b"\n")
        put(made, folder)
    return digest


def put(made: Path, folder: Path) -> None:
    """Move a staging folder that holds a whole model to its name. A sound one of the same model and tokenizer stays."""
    print_of = read_config(made)["fingerprint"]

    def same(there: Path) -> bool:
        if not {entry.name for entry in there.iterdir()} <= {WEIGHTS_FILE, CONFIG_FILE, TOKENIZER_FILE}:
            raise ModelInvalid(
                f"{folder} holds other things than a model", hint="choose another name, or remove the folder"
            )
        return is_sound(there, print_of) and _tokenizer(there) == _tokenizer(made)

    for entry in made.iterdir():  # save_file and mkdtemp give their own, narrower modes
        entry.chmod(0o644)
    made.chmod(0o755)
    place(made, folder, same)


def is_sound(folder: Path, print_of: str) -> bool:
    """Whether a folder holds the whole model of this fingerprint (hex)."""
    try:
        return bool(read_checkpoint(folder)[0]["fingerprint"] == print_of)
    except ModelInvalid:
        return False


def _tokenizer(folder: Path) -> bytes:
    try:
        return (folder / TOKENIZER_FILE).read_bytes()
    except OSError:
        return b""
