"""What may stand in a model's folder by accident or by malice.

It is loaded as transformers would, or refused with the reason and a hint.
"""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import float_logits, tiny_llama_folder, tiny_tokenizer
from safetensors import numpy as arrays
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import llmzip
from llmzip.errors import ModelInvalid
from llmzip.models import checkpoint, registry
from llmzip.models.causal import CausalModel
from llmzip.models.checkpoint import fingerprint, read_checkpoint, write_checkpoint
from llmzip.models.convert import convert_hf
from llmzip.models.llama import LlamaModel
from llmzip.models.magnitudes import Magnitudes

LABEL = {"name": "tiny", "license": "none", "source": "made on the spot"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to convert, and its conversion: each test takes copies."""
    path = tmp_path_factory.mktemp("made")
    convert_hf(tiny_llama_folder(path / "hf", n_layers=1), path / "exact", **LABEL)
    return path


@pytest.fixture
def source(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "hf", tmp_path / "hf"))


@pytest.fixture
def exact(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "exact", tmp_path / "exact"))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), encoding="utf-8")


def without(path: Path, key: str) -> None:
    path.write_text(
        json.dumps({k: v for k, v in json.loads(path.read_text("utf-8")).items() if k != key}), encoding="utf-8"
    )


def forge(folder: Path, tensors: dict[str, np.ndarray] | None = None, **changes: Any) -> None:
    """Other settings or weights under the right fingerprint, past the checks of the writer."""
    config, old = json.loads((folder / "model.json").read_text()), arrays.load_file(folder / "model.safetensors")
    changed, weights = config | changes, old | (tensors or {})
    arrays.save_file(weights, folder / "model.safetensors")
    (folder / "model.json").write_text(json.dumps(changed | {"fingerprint": fingerprint(changed, weights).hex()}))


# ------------------------------------------------------------------ what transformers would load


@pytest.mark.parametrize("same", [True, False])
def test_a_stored_head_counts_where_the_configuration_says_tied(same: bool, tmp_path: Path) -> None:
    source = tiny_llama_folder(tmp_path / "hf", n_layers=1, tied=False)
    edit(source / "config.json", tie_word_embeddings=True)
    if same:
        tensors = load_file(source / "model.safetensors")
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
        save_file(tensors, source / "model.safetensors", {"format": "pt"})
    convert_hf(source, tmp_path / "exact", **LABEL)
    config, tensors = read_checkpoint(tmp_path / "exact")
    assert config["tied"] == same
    ids = list(range(30))
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    with torch.no_grad():
        expected = model(torch.tensor([ids])).logits[0].numpy()
    found = float_logits(config, tensors, ids)
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("said", [False, None])
def test_no_head_and_no_word_of_tying_is_refused(said: bool | None, source: Path, tmp_path: Path) -> None:
    """transformers would make a head of random numbers."""
    if said is None:
        without(source / "config.json", "tie_word_embeddings")
    else:
        edit(source / "config.json", tie_word_embeddings=said)
    with pytest.raises(ModelInvalid, match=r"no tensor lm_head\.weight"):
        convert_hf(source, tmp_path / "exact", **LABEL)


def test_one_file_of_weights_comes_before_shards(source: Path, exact: Path, tmp_path: Path) -> None:
    (source / "model.safetensors.index.json").write_text('{"weight_map": {"x": "other.safetensors"}}')
    assert convert_hf(source, tmp_path / "again", **LABEL).hex() == checkpoint.read_config(exact)["fingerprint"]


# ------------------------------------------------------------------ hints


def pickled(source: Path) -> None:
    (source / "model.safetensors").rename(source / "pytorch_model.bin")


def pointer(source: Path) -> None:
    (source / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")


def no_tokenizer(source: Path) -> None:
    (source / "tokenizer.json").rename(source / "tokenizer.model")


def adapter(source: Path) -> None:
    (source / "adapter_config.json").write_text("{}")


@pytest.mark.parametrize(
    ("change", "word", "hint"),
    [
        (pickled, "weights", "save_pretrained"),
        (pointer, "git-lfs pointer", "git lfs pull"),
        (no_tokenizer, "tokenizer.json", "AutoTokenizer"),
        (adapter, "adapter", "merge_and_unload"),
        (lambda source: edit(source / "config.json", architectures=None), "architecture", "LlamaForCausalLM"),
        (
            lambda source: edit(source / "config.json", architectures=["GPT2LMHeadModel"]),
            "GPT2",
            "--engine transformers",
        ),
    ],
)
def test_the_hint_says_how_to_go_on(change: Any, word: str, hint: str, source: Path, tmp_path: Path) -> None:
    change(source)
    with pytest.raises(ModelInvalid, match=word) as caught:
        convert_hf(source, tmp_path / "exact", **LABEL)
    assert hint in caught.value.hint


def test_damaged_weights_have_a_hint_whatever_the_damage(exact: Path) -> None:
    weights = exact / "model.safetensors"
    good = weights.read_bytes()
    flipped = good[:-1000] + bytes([good[-1000] ^ 1]) + good[-999:]
    for bad in (b"", good[:-1], good[:500], b"\xff" * 100, flipped):
        weights.write_bytes(bad)
        with pytest.raises(ModelInvalid) as caught:
            read_checkpoint(exact)
        assert "again" in caught.value.hint
    pointer(exact)
    with pytest.raises(ModelInvalid, match="git-lfs"):
        read_checkpoint(exact)


# ------------------------------------------------------------------ odd forms


@pytest.mark.parametrize(
    "changes",
    [
        {"architectures": 1},
        {"architectures": {}},
        {"architectures": [["LlamaForCausalLM"]]},
        {"tie_word_embeddings": "false"},
        {"rms_norm_eps": 1e308},
        {"rms_norm_eps": float("nan")},
        {"rms_norm_eps": 1e-40},
        {"rope_parameters": {"rope_type": ["default"], "rope_theta": 1e4}},
        {"vocab_size": 2**31 - 1},
        {"num_hidden_layers": 3_000_000},
        {"hidden_size": 1.5},
        {"layer_types": [1], "sliding_window": 2, "use_sliding_window": True},
    ],
    ids=str,
)
def test_odd_configurations(changes: dict[str, Any], source: Path, tmp_path: Path) -> None:
    edit(source / "config.json", **changes)
    with pytest.raises(ModelInvalid):
        convert_hf(source, tmp_path / "exact", **LABEL)


@pytest.mark.parametrize(
    "text",
    [b"", b"null", b"[]", b'"x"', b"\xff\xfe", b"[" * 100_000, b"{", b'{"model": 5}', b'{"model": {"vocab": 7}}'],
)
def test_odd_tokenizers(text: bytes, source: Path, exact: Path, tmp_path: Path) -> None:
    """In a folder to convert, and in an exact one, where only encoding needs it."""
    (source / "tokenizer.json").write_bytes(text)
    with pytest.raises(ModelInvalid):
        convert_hf(source, tmp_path / "other", **LABEL)
    model = registry.load(str(exact))
    packed = llmzip.compress(b"some words to read " * 30, model)
    (exact / "tokenizer.json").write_bytes(text)
    model = registry.load(str(exact))
    assert llmzip.decompress(packed, model) == b"some words to read " * 30
    with pytest.raises(ModelInvalid, match="tokenizer"):
        llmzip.compress(b"some words to read " * 30, model)


@pytest.mark.parametrize(
    "token",
    [
        {"id": 1.5, "content": "x"},
        {"id": None, "content": "x"},
        {"content": "x"},
        {"id": 3, "content": "\ud800"},
        {"id": 3, "content": 7},
        5,
    ],
    ids=str,
)
def test_odd_added_tokens(token: Any, source: Path, tmp_path: Path) -> None:
    edit(source / "tokenizer.json", added_tokens=[token])
    with pytest.raises(ModelInvalid):
        convert_hf(source, tmp_path / "exact", **LABEL)


def test_ids_beyond_32_bits_are_no_matter(source: Path, tmp_path: Path) -> None:
    parsed = json.loads((source / "tokenizer.json").read_text("utf-8"))
    parsed["model"]["vocab"]["a"] = 2**32 - 1
    (source / "tokenizer.json").write_text(json.dumps(parsed))
    convert_hf(source, tmp_path / "exact", **LABEL)
    model = registry.load(str(tmp_path / "exact"))
    assert (
        llmzip.decompress(llmzip.compress(b"a banana and a bandana " * 9, model), model)
        == b"a banana and a bandana " * 9
    )


# ------------------------------------------------------------------ forged models


@pytest.mark.parametrize(
    "changes",
    [
        {"sliding_window": 2**31},
        {"sliding_window": 2**33 + 1},
        {"sliding_window": 1025},
        {"n_layers": 3_000_000},
        {"n_vocab": 2**31},
        {"width": 2**32 + 64},
        {"norm_eps": 1e-200},
        {"parameters": 10**300},
    ],
    ids=str,
)
def test_sizes_are_bounded_before_anything_is_done_with_them(changes: dict[str, Any], exact: Path) -> None:
    forge(exact, **changes)
    with pytest.raises(ModelInvalid, match=r"model\.json"):
        registry.load(str(exact))


def test_cuts_that_wrap_in_32_bits(exact: Path) -> None:
    ends = read_checkpoint(exact)[1]["tokens.ends"].copy()
    ends[3:6] = [2**31 - 1, -(2**31), -1]
    forge(exact, {"tokens.ends": ends})
    with pytest.raises(ModelInvalid, match=r"tokens\.ends"):
        registry.load(str(exact))


@pytest.mark.parametrize("value", [3e38, 1e30])
@pytest.mark.parametrize(
    "name",
    ["embed.scale", "norm", "rope.cos", "layers.0.attn_norm", "layers.0.mlp_norm", "layers.0.qkv.scale",
    "layers.0.o.scale",
     "layers.0.gate_up.scale", "layers.0.down.scale"],
)  # fmt: skip
def test_weights_that_may_overflow_are_refused(name: str, value: float, exact: Path) -> None:
    tensor = read_checkpoint(exact)[1][name].copy()
    tensor.flat[3] = value
    forge(exact, {name: tensor})
    with pytest.raises(ModelInvalid, match=r"bound|above 1"):
        registry.load(str(exact))


def test_the_bounds_hold_for_the_largest_weights_that_pass(exact: Path) -> None:
    """All weights and digits at their ends, and scales as large as the check lets through.

    Kernels and torch agree, on finite numbers.
    """
    config, tensors = read_checkpoint(exact)
    for tensor in tensors.values():
        if tensor.dtype == np.int8:
            tensor[:] = np.where(np.arange(tensor.shape[1]) % 3, 127, -127)

    def scaled(exponent: int) -> dict[str, np.ndarray]:
        grown = [name for name in tensors if name.endswith((".scale", "norm"))]
        return tensors | {name: np.full_like(tensors[name], 2.0**exponent) for name in grown}

    def passes(exponent: int) -> bool:
        try:
            Magnitudes(config, scaled(exponent)).check()
        except ModelInvalid:
            return False
        return True

    most = max(exponent for exponent in range(-30, 60) if passes(exponent))
    assert most > 0
    forge(exact, scaled(most))
    model = registry.load(str(exact))
    assert isinstance(model, LlamaModel)
    ids = np.arange(24, dtype=np.int32).reshape(1, 24)
    found, wanted = model.open(1, 24).forward(ids), model.open_reference(1, 24).forward(ids)
    assert np.array_equal(found, wanted) and (found.max(axis=-1) == 0).all()


# ------------------------------------------------------------------ the second engine, and full disks


class Bomb:
    def __reduce__(self) -> Any:
        return print, ("executed",)


def test_pickles_are_not_executed(source: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (source / "model.safetensors").unlink()
    (source / "pytorch_model.bin").write_bytes(pickle.dumps({"model.norm.weight": Bomb()}))
    with pytest.raises(ModelInvalid):
        CausalModel(source)
    assert "executed" not in capfd.readouterr().out


def test_code_of_a_model_is_not_executed(source: Path, capfd: pytest.CaptureFixture[str]) -> None:
    edit(
        source / "config.json",
        model_type="mine",
        auto_map={"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"},
    )
    (source / "code.py").write_text("print('executed')")
    with pytest.raises(ModelInvalid):
        CausalModel(source)
    assert "executed" not in capfd.readouterr().out


def test_a_model_without_a_cache_is_refused(tmp_path: Path) -> None:
    from transformers import RwkvConfig, RwkvForCausalLM

    settings = {
        "vocab_size": 600,
        "hidden_size": 32,
        "attention_hidden_size": 32,
        "num_hidden_layers": 2,
        "context_length": 64,
    }
    RwkvForCausalLM(RwkvConfig(**settings)).save_pretrained(tmp_path / "rwkv")
    tiny_tokenizer(tmp_path / "rwkv" / "tokenizer.json")
    with pytest.raises(ModelInvalid, match="token by token"):
        CausalModel(tmp_path / "rwkv")


def test_a_full_disk(exact: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for it. Nothing is left behind."""
    code = (
        "import sys, signal, resource; from pathlib import Path; from llmzip.models import checkpoint as c; "
        "import llmzip\n"
        "config, tensors = c.read_checkpoint(Path(sys.argv[1]))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try: c.write_checkpoint(Path(sys.argv[2]), config, tensors, b'{}')\n"
        "except llmzip.ModelError as error: print(error.hint)\n"
    )
    out = tmp_path / "made" / "model"
    done = subprocess.run([sys.executable, "-c", code, str(exact), str(out)], capture_output=True, text=True)
    assert done.stdout == "is the disk full?\n", done.stderr
    assert list(out.parent.iterdir()) == []


def test_an_older_model_is_replaced(exact: Path) -> None:
    config, tensors = read_checkpoint(exact)
    assert write_checkpoint(exact, config | {"start_id": 1}, tensors, b"{}").hex() != config["fingerprint"]
    assert read_checkpoint(exact)[0]["start_id"] == 1
    assert [entry.name for entry in exact.parent.iterdir() if entry.name.startswith(".")] == []
