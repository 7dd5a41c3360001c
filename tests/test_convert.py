"""Conversion: the tensors mean what the source means, the same source gives the same fingerprint, and the unsupported
is refused.
"""

import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import float_logits, tiny_llama_folder
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize as quantize_gguf
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from llmzip.errors import ModelInvalid
from llmzip.models.checkpoint import fingerprint, read_checkpoint, write_checkpoint
from llmzip.models.convert import convert_gguf, convert_hf
from llmzip.models.convert.gguf import GGUF_NAMES
from llmzip.models.convert.rope import Rope, rope_tables
from llmzip.models.convert.tensors import quantize

LABEL: dict[str, Any] = {"name": "tiny", "license": "none", "source": "made on the spot"}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
}
CASES: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama untied": {"tied": False, "n_kv_heads": 4},
    "llama head_dim": {"head_dim": 32},
    "llama linear rope": {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}},
    "llama llama3 rope": {"rope_parameters": LLAMA3 | {"rope_theta": 500000.0}},
    "mistral window": {"architecture": "mistral", "sliding_window": 16},
    "qwen2": {"architecture": "qwen2"},
    "qwen2 window": {"architecture": "qwen2", "use_sliding_window": True, "sliding_window": 12, "max_window_layers": 0},
    "qwen3": {"architecture": "qwen3", "tied": False},
}


@pytest.mark.parametrize("case", CASES)
def test_logits_are_those_of_transformers(case: str, tmp_path: Path) -> None:
    source = tiny_llama_folder(tmp_path / "hf", seed=3, **CASES[case])
    convert_hf(source, tmp_path / "exact", **LABEL)
    config, tensors = read_checkpoint(tmp_path / "exact")
    assert config["start_id"] == 0 and config["max_window"] == 1024
    assert config["sliding_window"] == CASES[case].get("sliding_window", 0)
    model = AutoModelForCausalLM.from_pretrained(source, attn_implementation="eager", dtype=torch.float32).eval()
    with torch.no_grad():
        # the same rounded weights on both sides, so that only the meaning of the tensors is compared
        for parameter in model.parameters():
            if parameter.ndim == 2:
                weight, scale = quantize(parameter.numpy())
                parameter.copy_(torch.from_numpy(weight.astype(np.float32) * scale[:, None]))
        ids = [0, *np.random.default_rng(1).integers(1, config["n_vocab"], 80).tolist()]
        expected = model(torch.tensor([ids])).logits[0].numpy()
    found = float_logits(config, tensors, ids)
    assert np.abs(found - expected).max() < 2e-3 * np.abs(expected).max()
    assert (found.argmax(-1) == expected.argmax(-1)).mean() > 0.97


def test_same_source_same_fingerprint(tmp_path: Path) -> None:
    source = tiny_llama_folder(tmp_path / "hf", seed=1)
    first = convert_hf(source, tmp_path / "one", **LABEL)
    second = convert_hf(source, tmp_path / "two", name="other", license="another", source="elsewhere")
    assert first == second  # what is only told to people does not count
    assert (tmp_path / "one" / "model.safetensors").read_bytes() == (
        tmp_path / "two" / "model.safetensors"
    ).read_bytes()
    other = convert_hf(tiny_llama_folder(tmp_path / "hf2", seed=2), tmp_path / "three", **LABEL)
    assert other != first


def test_what_a_model_asks_for_is_kept(tmp_path: Path) -> None:
    source = tiny_llama_folder(tmp_path / "hf", n_layers=1)
    path = source / "config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps(settings | {"llmzip": {"digits": 1, "window": 64, "overlap": 8}}))
    convert_hf(source, tmp_path / "exact", **LABEL)
    config, _ = read_checkpoint(tmp_path / "exact")
    assert (config["digits"], config["window"], config["overlap"]) == (1, 64, 8)
    path.write_text(json.dumps(settings | {"llmzip": {"digits": 3}}))
    with pytest.raises(ModelInvalid, match="digits"):
        convert_hf(source, tmp_path / "exact", **LABEL)


def test_the_fingerprint_covers_all_that_is_computed_with(tmp_path: Path) -> None:
    convert_hf(tiny_llama_folder(tmp_path / "hf"), tmp_path / "exact", **LABEL)
    config, tensors = read_checkpoint(tmp_path / "exact")
    original = fingerprint(config, tensors)
    assert original.hex() == config["fingerprint"]
    assert fingerprint(config | {"start_id": 1}, tensors) != original
    assert fingerprint(config | {"name": "x"}, tensors) == original
    for name in ("embed.weight", "layers.1.qkv.scale", "rope.sin", "tokens.bytes", "tokens.ends"):
        changed = tensors[name].copy()
        changed.flat[7] += 1
        assert fingerprint(config, tensors | {name: changed}) != original, name


def test_stored_types_and_shards(tmp_path: Path) -> None:
    """bfloat16, two shards with an index: what torch reads is what is converted."""
    source = tiny_llama_folder(tmp_path / "hf")
    tensors = {name: tensor.bfloat16() for name, tensor in load_file(source / "model.safetensors").items()}
    save_file({name: tensor.float() for name, tensor in tensors.items()}, source / "model.safetensors")
    whole = convert_hf(source, tmp_path / "whole", **LABEL)
    (source / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for shard, part in shards.items():
        save_file({name: tensors[name] for name in part}, source / shard)
    weight_map = {name: shard for shard, part in shards.items() for name in part}
    (source / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert convert_hf(source, tmp_path / "sharded", **LABEL) == whole


def test_rows_of_zeros_and_of_tiny_numbers() -> None:
    weight = np.array([[0, 0, 0], [1e-45, -1e-45, 0], [-3, 1.5, 0.01], [3e38, -3e38, 0]], np.float32)
    rows, scale = quantize(weight)
    assert rows[0].tolist() == [0, 0, 0] and scale[0] == 0
    assert rows[2].tolist() == [-127, 64, 0] and rows[3].tolist() == [127, -127, 0]
    assert np.isfinite(scale).all() and np.abs(rows).max() <= 127


@pytest.mark.parametrize("theta", [10000.0, 100000.0, 1000000.0])
def test_rope_tables_are_the_nearest_float32(theta: float) -> None:
    cos, sin = rope_tables(Rope(Decimal(theta)), 64, 700)
    assert cos.shape == sin.shape == (700, 32) and cos.dtype == np.float32
    angle = np.arange(700)[:, None] * np.array([theta ** (-2 * pair / 64) for pair in range(32)])
    assert np.abs(cos - np.cos(angle)).max() < 6.1e-8 and np.abs(sin - np.sin(angle)).max() < 6.1e-8
    assert cos[1, 0] == np.float32(math.cos(1)) and sin[0, 5] == 0
    assert sin[3, 31] == np.float32(math.sin(3 * theta ** (-62 / 64)))


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"architectures": ["GPT2LMHeadModel"]},
        {"architectures": None},
        {"attention_bias": True},
        {"mlp_bias": True},
        {"hidden_act": "gelu"},
        {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4}},
        {"rope_parameters": {"rope_type": "llama3", "factor": 4.0, "rope_theta": 1e4}},
        {"rope_parameters": {"rope_type": "linear", "factor": 0.0, "rope_theta": 1e4}},
        {"rope_parameters": {"rope_type": "default", "rope_theta": "many"}},
        {"partial_rotary_factor": 0.5},
        {"quantization_config": {"bits": 4}},
        {"num_hidden_layers": 1},
        {"num_hidden_layers": 3},
        {"hidden_size": -64},
        {"vocab_size": 599},
        {"num_key_value_heads": 3},
        {"rms_norm_eps": None},
        {"max_position_embeddings": 4},
    ],
    ids=str,
)
def test_what_is_not_supported_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    source = tiny_llama_folder(tmp_path / "hf")
    edit_config(source, **changes)
    with pytest.raises(ModelInvalid):
        convert_hf(source, tmp_path / "exact", **LABEL)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["hf"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["model.layers.0.mlp.up_proj.weight", "model.norm.weight"])
def test_weights_that_are_not_numbers_are_refused(value: float, name: str, tmp_path: Path) -> None:
    source = tiny_llama_folder(tmp_path / "hf")
    tensors = load_file(source / "model.safetensors")
    tensors[name].view(-1)[5] = value
    save_file(tensors, source / "model.safetensors")
    with pytest.raises(ModelInvalid, match="NaN"):
        convert_hf(source, tmp_path / "exact", **LABEL)


@pytest.mark.parametrize("keep", [0, 4, 100, 20_000])
def test_cut_weights_are_refused(keep: int, tmp_path: Path) -> None:
    source = tiny_llama_folder(tmp_path / "hf")
    weights = source / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(ModelInvalid):
        convert_hf(source, tmp_path / "exact", **LABEL)


def test_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "exact"
    convert_hf(tiny_llama_folder(tmp_path / "hf"), folder, **LABEL)
    weights, settings = folder / "model.safetensors", folder / "model.json"
    good_weights, good_settings = weights.read_bytes(), settings.read_bytes()
    flipped = bytearray(good_weights)
    flipped[-1000] ^= 1
    for bad in (bytes(flipped), good_weights[:-1], b""):
        weights.write_bytes(bad)
        with pytest.raises(ModelInvalid):
            read_checkpoint(folder)
    weights.write_bytes(good_weights)
    parsed = json.loads(good_settings)
    for change in ({"start_id": 5}, {"digits": 3}, {"numerics": 2}, {"n_layers": 1}, {"window": 8.0}, {"more": 1}):
        settings.write_text(json.dumps(parsed | change))
        with pytest.raises(ModelInvalid):
            read_checkpoint(folder)
    settings.write_bytes(good_settings)
    config, tensors = read_checkpoint(folder)
    assert write_checkpoint(folder, config, tensors, b"{}").hex() == config["fingerprint"]  # replaces the folder
    assert read_checkpoint(folder)[0] == config


# ------------------------------------------------------------------ GGUF


def write_gguf(path: Path, folder: Path, architecture: str, *, pre: str = "smollm", quant: str = "F32") -> None:
    """A GGUF file as llama.cpp's converter makes it from a Hugging Face folder."""
    config = json.loads((folder / "config.json").read_text())
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    writer = GGUFWriter(path, architecture)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    vocab = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    specials = {token["id"] for token in tokenizer["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([token for token, _ in vocab])
    writer.add_token_types([3 if index in specials else 1 for _, index in vocab])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(0)
    kind = GGMLQuantizationType[quant]
    for name, tensor in load_file(folder / "model.safetensors").items():
        stem, _, suffix = name.rpartition(".")
        layer = ""
        if stem.startswith("model.layers."):
            index, _, stem = stem.removeprefix("model.layers.").partition(".")
            layer = f"blk.{index}."
        values = tensor.numpy()
        heads = {"self_attn.q_proj": "num_attention_heads", "self_attn.k_proj": "num_key_value_heads"}.get(stem)
        if architecture == "llama" and heads is not None:
            # llama.cpp, LlamaModel.permute
            n = config[heads]
            values = values.reshape(n, 2, values.shape[0] // n // 2, -1).swapaxes(1, 2).reshape(values.shape)
        if quant != "F32" and values.ndim == 2:
            values = quantize_gguf(np.ascontiguousarray(values), kind)
            writer.add_tensor(f"{layer}{GGUF_NAMES[stem]}.{suffix}", values, raw_dtype=kind)
        else:
            writer.add_tensor(f"{layer}{GGUF_NAMES[stem]}.{suffix}", np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_gguf_gives_what_the_folder_gives(architecture: str, tmp_path: Path) -> None:
    source = tiny_llama_folder(tmp_path / "hf", architecture=architecture, tied=architecture != "qwen3")
    write_gguf(tmp_path / "model.gguf", source, architecture)
    from_folder = convert_hf(source, tmp_path / "one", **LABEL)
    from_gguf = convert_gguf(tmp_path / "model.gguf", tmp_path / "two", **LABEL)
    _, expected = read_checkpoint(tmp_path / "one")
    _, found = read_checkpoint(tmp_path / "two")
    for name in expected:
        assert np.array_equal(expected[name], found[name]), name
    assert from_folder == from_gguf


def test_quantized_gguf_is_close_and_start_id_can_be_given(tmp_path: Path) -> None:
    source = tiny_llama_folder(tmp_path / "hf")
    write_gguf(tmp_path / "model.gguf", source, "llama", quant="Q8_0")
    convert_hf(source, tmp_path / "one", **LABEL)
    convert_gguf(tmp_path / "model.gguf", tmp_path / "two", start_id=7, **LABEL)
    _, expected = read_checkpoint(tmp_path / "one")
    config, found = read_checkpoint(tmp_path / "two")
    assert config["start_id"] == 7
    for name in ("layers.0.qkv", "embed"):
        a, b = (t[f"{name}.weight"] * t[f"{name}.scale"][:, None] for t in (expected, found))
        assert np.abs(a - b).max() < 0.02 * np.abs(a).max()


def test_gguf_that_cannot_be_rebuilt_is_refused(tmp_path: Path) -> None:
    source = tiny_llama_folder(tmp_path / "hf")
    write_gguf(tmp_path / "pre.gguf", source, "llama", pre="unheard-of")
    with pytest.raises(ModelInvalid, match="pre-tokenizer"):
        convert_gguf(tmp_path / "pre.gguf", tmp_path / "exact", **LABEL)
    write_gguf(tmp_path / "arch.gguf", source, "gemma")
    with pytest.raises(ModelInvalid, match="architecture"):
        convert_gguf(tmp_path / "arch.gguf", tmp_path / "exact", **LABEL)
    (tmp_path / "none.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelInvalid):
        convert_gguf(tmp_path / "none.gguf", tmp_path / "exact", **LABEL)
