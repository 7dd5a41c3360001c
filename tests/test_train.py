"""Training: what is learnt, resumed, exported, and refused."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from llmzip import compress, decompress
from llmzip.errors import LlmzipError
from llmzip.models import registry
from llmzip.models.checkpoint import read_checkpoint
from llmzip.models.convert import convert_hf
from llmzip.models.llama import LlamaModel
from llmzip.tokens import places_of
from llmzip.train import run
from llmzip.train.corpus import Source
from llmzip.train.network import Network, Shape

TINY = Shape(
    n_layers=2, width=32, n_heads=2, n_kv_heads=1, head_dim=16, hidden=48, n_vocab=400,
    sliding_window=24, window=64, overlap=16, tied=True,
)  # fmt: skip
BATCH_TOKENS = 512
TRAIN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
import test_train
say = lambda text: print("at work", flush=True)
test_train.train_tiny(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), progress=say)
"""


def log_lines(n: int, seed: int = 0) -> bytes:
    rng = np.random.default_rng(seed)
    words = [b"open", b"close", b"read", b"write", b"flush", b"retry"]
    return b"".join(
        b"2026-01-%02d worker-%d %s block %d\n"
        % (rng.integers(1, 29), rng.integers(9), words[rng.integers(6)], rng.integers(999))
        for _ in range(n)
    )


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is trained is kept in the cache: not in that of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMZIP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def train_tiny(corpus: Path, out: Path, tokens: int, **options: object) -> Path:
    run.PRESETS["tiny"], run.BATCH_TOKENS = TINY, BATCH_TOKENS
    run.SAVE_SECONDS = 0  # after each step: a kill finds something
    settings: dict[str, Any] = {
        "preset": "tiny",
        "tokens": tokens,
        "threads": 1,
        "say": lambda text: None,
        "progress": lambda text: None,
    }
    made: Path = run.train([Source.parse(str(corpus))], out, **(settings | options))
    return made


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "log.txt"
    path.write_bytes(log_lines(6000))
    return path


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny(corpus, tmp_path_factory.mktemp("trained") / "model", 40 * BATCH_TOKENS)


def bits_per_byte(path: Path | str, text: bytes) -> float:
    """What the model itself expects the text to take.

    What is learnt while it is coded would make up for most of what the model lacks.
    """
    model = registry.load(str(path))
    ids = model.tokenizer.encode(text)[None, :]
    places = places_of(model.tokenizer.entries, model.tokenizer.n_symbols)
    start = np.array([[model.start_id]], dtype=np.int32)
    state, window, bits = model.open(1, model.window), model.window, 0.0
    for at in range(0, ids.shape[1], window):
        part = ids[:, at : at + window]
        state.reset()
        weights = np.exp2(state.forward(np.concatenate([start, part[:, :-1]], axis=1))[0].astype(np.float64) / 256)
        found = weights[np.arange(part.shape[1]), places[part[0]]]
        bits -= float(np.log2(found / weights.sum(axis=1)).sum())
    return bits / len(text)


def test_it_learns_and_round_trips(trained: Path) -> None:
    unseen = log_lines(200, seed=1)
    model = registry.load(str(trained))
    packed = compress(unseen, model)
    assert decompress(packed, model) == unseen
    assert 8 * len(packed) / len(unseen) < 3.0  # the lines hold some 2 bits a byte; uniform tokens would take 4 or more
    config, _ = read_checkpoint(trained)
    assert config["digits"] == 1 and config["sliding_window"] == 24 and (trained / "README.md").exists()


def test_every_byte_has_a_token(trained: Path) -> None:
    model = registry.load(str(trained))
    everything = bytes(range(256)) * 3
    assert decompress(compress(everything, model), model) == everything
    assert isinstance(model, LlamaModel) and model.tokenizer.escaped == b""


@pytest.mark.long
def test_a_run_that_was_killed_goes_on_to_the_same_model(corpus: Path, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", TRAIN, str(corpus), str(out), str(40 * BATCH_TOKENS), here]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    work = out.with_name("model.work")
    assert process.stdout is not None and process.stdout.readline() == b"at work\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not out.exists() and (work / "checkpoint.pt").exists()
    with pytest.raises(LlmzipError, match="other settings"):
        train_tiny(corpus, out, 41 * BATCH_TOKENS)
    train_tiny(corpus, out, 40 * BATCH_TOKENS)
    assert read_checkpoint(out)[0]["fingerprint"] == read_checkpoint(trained)[0]["fingerprint"]
    steps = [json.loads(line)["step"] for line in (work / "curve.jsonl").read_text().splitlines()]
    assert steps[0] == 10 and steps[-1] == 40


@pytest.mark.long
def test_adapting_a_model_makes_its_text_smaller(trained: Path, tmp_path: Path) -> None:
    other = b"".join(line[::-1].strip() + b"\n" for line in log_lines(6000, seed=2).splitlines())
    path = tmp_path / "other"
    path.mkdir()
    (path / "log.txt").write_bytes(other[: len(other) // 2])
    adapted = train_tiny(path, tmp_path / "adapted", 30 * BATCH_TOKENS, init=str(trained))
    unseen = other[-8000:]
    assert bits_per_byte(adapted, unseen) < 0.8 * bits_per_byte(trained, unseen)


def test_the_export_is_what_transformers_computes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    for sliding in (0, 24):
        network = Network(Shape(**(asdict(TINY) | {"sliding_window": sliding, "n_vocab": 300})))
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        folder = tmp_path / f"hf{sliding}"
        network.export(folder, b"{}", start_id=0, digits=1)
        theirs = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").float()
        ids = torch.randint(0, 300, (2, 60))
        with torch.no_grad():
            a, b = network(ids).float(), theirs(ids).logits
        assert (a - b).std() < 0.03 * b.std()  # bfloat16 against float32


def test_load_gives_back_what_was_exported(trained: Path, tmp_path: Path) -> None:
    config, tensors = read_checkpoint(trained)
    network = Network(Shape.of_checkpoint(config))
    network.load(tensors)
    network.export(tmp_path / "hf", (trained / "tokenizer.json").read_bytes(), start_id=config["start_id"], digits=1)
    convert_hf(tmp_path / "hf", tmp_path / "again", name="again", license="x", source="x")
    _, again = read_checkpoint(tmp_path / "again")
    for name, tensor in tensors.items():
        close = np.abs(tensor.astype(np.float64) - again[name].astype(np.float64)).max()
        assert close <= (0 if tensor.dtype == np.int8 else 1e-6), name


@pytest.mark.parametrize("argument", ["nowhere", "nowhere=2", "EMPTY", "LOG=x", "LOG=0", "LOG=inf", "LOG=nan"])
def test_sources_that_cannot_be(argument: str, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    argument = argument.replace("LOG", str(corpus)).replace("EMPTY", str(tmp_path / "empty"))
    with pytest.raises(LlmzipError):
        Source.parse(argument)


def test_a_weight_is_read(corpus: Path) -> None:
    assert Source.parse(f"{corpus}=2.5") == Source(corpus, 2.5)
    assert Source.parse(str(corpus)).weight == pytest.approx(os.path.getsize(corpus) / 1e6)
