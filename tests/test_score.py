"""llmzip.score: bits that are those of the coder, intervals that hold, and the definition of lm-evaluation-harness."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
import transformers
from checkpoints import invented_text, tiny_llama_folder, tiny_tokenizer
from coding import model_block
from commands import Run

from llmzip.blocks import Memory
from llmzip.container import line_bits_of
from llmzip.models.causal import CausalModel
from llmzip.models.convert import convert_hf
from llmzip.models.llama import LlamaModel
from llmzip.models.toy import ToyModel
from llmzip.score.compare import MIN_BLOCKS, comparisons, mean_of
from llmzip.score.measure import BLOCK_SIZE, Score, harness_bits, rolling_windows, score
from llmzip.score.show import chart, record, sentences

MODEL = ToyModel()
TEXT = invented_text(500)
WINDOW = 40


# --- the definition of lm-evaluation-harness, by transformers alone


def windows_of_the_harness(tokens: list[int], prefix: int, longest: int) -> Iterator[tuple[list[int], list[int]]]:
    """Context, continuation: disjoint windows of `get_rolling_token_windows` with a context of 1."""
    first = min(longest, len(tokens))
    yield [prefix], tokens[:first]
    done = first
    while done < len(tokens):
        n = min(len(tokens) - done, longest)
        end = done + n
        context, continuation = tokens[end - longest - 1 : end - 1], tokens[end - n : end]
        yield context[: len(context) - (len(continuation) - 1)], continuation
        done = end


@torch.inference_mode()
def harness_by_transformers(folder: Path, text: str, longest: int, *, special: bool = True) -> float:
    """bits_per_byte: -(sum of log-likelihoods of all tokens) / bytes of the text / ln 2.

    `special`: tokens that spell nothing, the first and those that fill the vocabulary up, have their share.
    """
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    tokens, total = tokenizer.encode(text, add_special_tokens=False), 0.0
    for context, continuation in windows_of_the_harness(tokens, 0, longest):
        whole = (context + continuation)[-(longest + 1) :]
        logits = model(input_ids=torch.tensor([whole[:-1]])).logits[0, -len(continuation) :]
        if not special:
            logits[:, 0] = logits[:, len(tokenizer) :] = -torch.inf
        found = torch.log_softmax(logits.double(), dim=-1)
        total += float(found[torch.arange(len(continuation)), torch.tensor(continuation)].sum())
    return -total / len(text.encode()) / float(np.log(2))


def random_folder(path: Path, kind: str) -> Path:
    torch.manual_seed(0)
    ids = {"vocab_size": 600, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    if kind == "llama":
        return tiny_llama_folder(path)
    if kind == "gpt2":
        config: Any = transformers.GPT2Config(n_positions=128, n_embd=32, n_layer=2, n_head=2, **ids)
    else:
        config = transformers.MambaConfig(hidden_size=32, num_hidden_layers=2, state_size=8, **ids)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():  # not all tokens as likely as each other
        for parameter in model.parameters():
            parameter.mul_(3)
    model.save_pretrained(path)
    tiny_tokenizer(path / "tokenizer.json")
    return path


@pytest.mark.parametrize("kind", ["gpt2", "mamba", "llama"])
def test_it_agrees_with_lm_evaluation_harness(kind: str, tmp_path: Path) -> None:
    folder = random_folder(tmp_path / kind, kind)
    for n_words in (6, 45):  # in one window, and in several
        text = invented_text(n_words).decode()
        theirs, spelling = (harness_by_transformers(folder, text, WINDOW, special=each) for each in (True, False))
        model = CausalModel(folder, threads=1)
        ours = harness_bits(model, text.encode(), WINDOW) / len(text.encode())
        assert ours == pytest.approx(spelling, rel=1e-3) and ours == pytest.approx(theirs, rel=0.01) and theirs > 0.5
        if n_words == 6:  # where one window holds all, the windows of the codec are those of the harness
            whole = score(model, "x", text.encode())
            assert whole.alone.sum() / whole.n_bytes == pytest.approx(spelling, rel=1e-3)
        if kind == "llama":
            convert_hf(folder, tmp_path / f"exact{n_words}", name="tiny", license="none", source="test")
            exact = harness_bits(LlamaModel(tmp_path / f"exact{n_words}"), text.encode(), WINDOW) / len(text.encode())
            assert exact == pytest.approx(theirs, rel=0.02)  # its weights are rounded


def test_windows_are_those_of_the_harness() -> None:
    tokens = list(range(1, 101))
    for n in (1, 39, 40, 41, 80, 81, 100):
        theirs = [(context + rest[:-1], len(rest)) for context, rest in windows_of_the_harness(tokens[:n], 0, WINDOW)]
        ours = [(ids.tolist(), new) for ids, new in rolling_windows(np.array(tokens[:n], np.int32), 0, WINDOW)]
        assert ours == theirs
        assert sum(new for _, new in ours) == n


# --- bits


def test_bits_are_those_of_the_coder() -> None:
    found = score(MODEL, "text", TEXT)
    memory = Memory(line_bits_of(len(TEXT)))
    payload = model_block(MODEL, TEXT, memory).payload
    assert 0 <= 8 * len(payload) - found.coded.sum() < 40
    assert len(found.coded) == len(found.alone) == len(found.sizes) == -(-len(TEXT) // BLOCK_SIZE)
    assert found.sizes.sum() == found.n_bytes == len(TEXT) and found.n_tokens == len(MODEL.tokenizer.encode(TEXT))
    assert found.alone.sum() > found.coded.sum() > 0 and found.harness is None


def test_the_model_alone_is_its_scores() -> None:
    text = b"the rain in the plain"
    ids, place = MODEL.tokenizer.encode(text), list(MODEL.tokenizer.entries)
    inputs = np.concatenate([[MODEL.start_id], ids[:-1]]).astype(np.int32)
    scores = MODEL.open(1, 64).forward(inputs[None])[0].astype(np.float64) / 256
    chances = np.exp2(scores) / np.exp2(scores).sum(axis=1, keepdims=True)
    wanted = -np.log2([chances[i, place.index(each)] for i, each in enumerate(ids)]).sum()
    found = score(MODEL, "text", text, harness=True)
    assert found.alone.sum() == pytest.approx(wanted, rel=1e-5) and found.harness == pytest.approx(wanted, rel=1e-5)


# --- intervals


def test_an_interval_holds_the_mean_as_often_as_it_says() -> None:
    rng, hits = np.random.default_rng(1), 0
    for seed in range(100):
        bits = rng.gamma(4, 500, 60)
        mean = mean_of(bits, np.full(60, 1024), seed)
        assert mean.low is not None and mean.high is not None and mean.low < mean.value < mean.high
        hits += mean.low < 2000 / 1024 < mean.high
    assert 86 <= hits <= 100


def test_few_blocks_have_no_interval() -> None:
    few = np.ones(MIN_BLOCKS - 1)
    assert mean_of(few, few.astype(np.int64)).low is None
    assert mean_of(np.ones(MIN_BLOCKS), np.ones(MIN_BLOCKS, dtype=np.int64)).low == 1


def made(model: str, text: str, coded: Any) -> Score:
    bits = np.asarray(coded, dtype=np.float64)
    return Score(model, text, BLOCK_SIZE * len(bits), 10, bits, bits * 1.1, None, 1.0)


def test_pairs_are_told_apart_where_means_are_not() -> None:
    rng = np.random.default_rng(0)
    blocks = rng.gamma(4, 500, 40)  # blocks differ more than models do
    one, other, same = (
        made("a", "t", blocks),
        made("b", "t", blocks + 20 + rng.normal(0, 5, 40)),
        made("c", "t", rng.permutation(blocks)),
    )
    ab, ac, bc = comparisons([one, other, same])
    assert mean_of(one.coded, one.sizes).high > mean_of(other.coded, other.sizes).low  # type: ignore[operator]
    assert ab.better(ab.coded) == "a" and ab.coded.value == pytest.approx(-20 / 1024, rel=0.1)
    assert ac.better(ac.coded) is None and (ac.first, ac.second) == ("a", "c") and bc.first == "b"
    said = list(sentences([one, other, same]))
    assert said[0].startswith("on t: a is better by 0.01") and "a and c cannot be told apart" in said[1]


def test_texts_together() -> None:
    rng = np.random.default_rng(0)
    scores = [
        made(model, text, rng.gamma(4, 500, 12) + more) for text in "xyz" for model, more in (("a", 0), ("b", 900))
    ]
    found = comparisons(scores)
    assert [each.text for each in found] == ["x", "y", "z", "all"]
    sums = {model: sum(each.coded.sum() for each in scores if each.model == model) for model in "ab"}
    assert (
        found[-1].coded.value == pytest.approx((sums["a"] - sums["b"]) / (36 * BLOCK_SIZE))
        and found[-1].better(found[-1].coded) == "a"
    )


# --- the command


@pytest.mark.long
def test_the_command(run: Run) -> None:
    Path("x").write_bytes(TEXT[:1500])
    Path("y").write_bytes(TEXT[1500:2500])
    done = run("score", "x", "y", "-m", "toy", "--harness", "--plot", "plot.svg")
    assert done.code == 0
    lines = done.out.decode().splitlines()
    assert lines[0].split() == [
        "text",
        "model",
        "bytes",
        "tokens",
        "bits/byte",
        "95",
        "%",
        "model",
        "alone",
        "95",
        "%",
        "harness",
        "seconds",
    ]
    assert [line.split()[:3] for line in lines[1:]] == [["x", "toy", "1500"], ["y", "toy", "1000"]]
    root = ElementTree.parse("plot.svg").getroot()
    assert root.tag.endswith("svg") and root.get("role") == "img"
    assert run("score", "x", "none", "-m", "toy").code == 1
    assert run("score", "x", "-m", "toy", "--size", "700", "--json").out.count(b'"bytes": 700') == 1


def test_a_picture_replaces_nothing_unasked(run: Run) -> None:
    Path("x").write_bytes(TEXT[:1500])
    Path("y").write_bytes(TEXT[1500:2500])
    assert run("score", "y", "-m", "toy", "--plot", "plot.svg").code == 0
    drawn = Path("plot.svg").read_bytes()
    refused = run("score", "x", "-m", "toy", "--plot", "plot.svg")
    assert refused.code == 1 and "already exists" in refused.err and Path("plot.svg").read_bytes() == drawn
    assert run("score", "x", "-m", "toy", "--plot", "plot.svg", "-f").code == 0
    assert Path("plot.svg").read_bytes() != drawn
    assert "the same file" in run("score", "y", "x", "-m", "toy", "--plot", "x", "-f").err
    assert Path("x").read_bytes() == TEXT[:1500]
    assert run("score", "none", "-m", "toy", "--plot", "nothing.svg").code == 1 and not Path("nothing.svg").exists()


def test_exact_and_floats_of_the_same_folder(run: Run, tmp_path: Path) -> None:
    folder = tiny_llama_folder(tmp_path.parent / "hf")
    Path("x").write_bytes(TEXT[:400])
    found = json.loads(run("score", "x", "-m", str(folder), "-m", f"transformers:{folder}", "--json").out)
    one, other = found["scores"]
    assert one["model"] != other["model"] and one["alone"]["bits_per_byte"] == pytest.approx(
        other["alone"]["bits_per_byte"], rel=0.02
    )
    assert {each["text"] for each in found["comparisons"]} == {"x"} and found["comparisons"][0]["coded"][
        "better"
    ] is None


def test_chart_and_record_of_the_same() -> None:
    scores = [made("a <b>", "t & u", np.linspace(100, 900, 20)), made("c", "t & u", np.linspace(200, 900, 20))]
    assert "a &lt;b&gt;" in chart(scores) and ElementTree.fromstring(chart(scores)) is not None
    found = record(scores)
    assert (
        found["scores"][0]["coded"]["bits_per_byte"] == round(500 / 1024, 5) and json.loads(json.dumps(found)) == found
    )
