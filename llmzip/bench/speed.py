"""Speed and size against float32 transformers with the very same weights, windows and lanes, as ratios within one run.

The rival is the exact checkpoint's own weights, dequantized into a transformers model, so that both do the same work:
prompts and windows included. Machines are noisy: each pair is timed in turn, and medians of the ratios are reported.
"""

import json
import resource
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from llmzip import codec, native
from llmzip.container import line_bits_of
from llmzip.models import registry
from llmzip.models.checkpoint import Tensors
from llmzip.models.config import LlamaConfig
from llmzip.models.llama import LlamaModel
from llmzip.predictor import Predictor
from llmzip.teams import CHUNK_ROWS, Shape
from llmzip.tokens import places_of


def float_model(config: LlamaConfig, tensors: Tensors) -> Any:
    """The same weights as float32 in transformers' LlamaForCausalLM, or MistralForCausalLM where there is a sliding
    window.
    """
    c = config
    kind, more = ("Mistral", {"sliding_window": c.sliding_window}) if c.sliding_window else ("Llama", {})
    hf = getattr(transformers, f"{kind}Config")(
        vocab_size=c.n_vocab, hidden_size=c.width, intermediate_size=c.hidden, num_hidden_layers=c.n_layers,
        num_attention_heads=c.n_heads, num_key_value_heads=c.n_kv_heads, head_dim=c.head_dim, rms_norm_eps=c.norm_eps,
        max_position_embeddings=c.max_window, tie_word_embeddings=c.tied,
        rope_parameters={"rope_type": "default", "rope_theta": _theta(tensors)}, **more,
    )  # fmt: skip
    model = getattr(transformers, f"{kind}ForCausalLM")(hf)
    model.load_state_dict(dict(_float_weights(c, tensors)), strict=False)
    return model.eval()


def _theta(tensors: Tensors) -> float:
    """The rotary base, read back from the second frequency of the tables."""
    half = tensors["rope.cos"].shape[1]
    angle = float(np.arctan2(np.float64(tensors["rope.sin"][1, 1]), np.float64(tensors["rope.cos"][1, 1])))
    return float(round(angle ** -float(half)))


def _float_weights(c: LlamaConfig, tensors: Tensors) -> Iterator[tuple[str, torch.Tensor]]:
    def dense(name: str) -> torch.Tensor:
        return torch.from_numpy(tensors[f"{name}.weight"].astype(np.float32) * tensors[f"{name}.scale"][:, None])

    yield "model.embed_tokens.weight", dense("embed")
    yield "lm_head.weight", dense("embed" if c.tied else "head")
    yield "model.norm.weight", torch.from_numpy(tensors["norm"])
    kv = c.n_kv_heads * c.head_dim
    for i in range(c.n_layers):
        ours, theirs = f"layers.{i}.", f"model.layers.{i}."
        parts = zip("qkv", torch.split(dense(ours + "qkv"), [c.n_heads * c.head_dim, kv, kv]), strict=True)
        for letter, part in parts:
            yield f"{theirs}self_attn.{letter}_proj.weight", part
        for kind, part in zip(("gate", "up"), dense(ours + "gate_up").chunk(2), strict=True):
            yield f"{theirs}mlp.{kind}_proj.weight", part
        yield f"{theirs}self_attn.o_proj.weight", dense(ours + "o")
        yield f"{theirs}mlp.down_proj.weight", dense(ours + "down")
        yield f"{theirs}input_layernorm.weight", torch.from_numpy(tensors[ours + "attn_norm"])
        yield f"{theirs}post_attention_layernorm.weight", torch.from_numpy(tensors[ours + "mlp_norm"])


@dataclass(frozen=True)
class Lanes:
    """What the codec shows a model: (L, T) ids, and where they are tokens of a lane. The others come after its end."""

    ids: NDArray[np.int32]
    real: NDArray[np.bool_]

    @classmethod
    def cut(cls, model: LlamaModel, data: bytes, n: int) -> "Lanes":
        parts = codec.tokenized(model, data, codec.lane_sizes(len(data), n))
        real = np.arange(max(map(len, parts))) < np.array([[len(part)] for part in parts])
        ids = np.full(real.shape, model.start_id, dtype=np.int32)
        ids[real] = np.concatenate(parts)
        return cls(ids, real)

    @property
    def n_tokens(self) -> int:
        return int(self.real.sum())

    def windows(self, model: LlamaModel) -> Iterator[tuple[NDArray[np.int32], slice]]:
        """(L, C) ids of each window, and the steps that its last rows predict.

        Those before them are a prompt that predicts nothing.
        """
        step, n_steps = 0, self.ids.shape[1]
        while step < n_steps:
            context = min(step, model.overlap)
            end = min(n_steps, step + model.window - context)
            start = np.full((len(self.ids), 1), model.start_id, dtype=np.int32)
            yield np.concatenate([start, self.ids[:, step - context : end - 1]], axis=1), slice(step, end)
            step = end

    def first(self, n_steps: int) -> "Lanes":
        return Lanes(self.ids[:, :n_steps], self.real[:, :n_steps])


@torch.inference_mode()
def float_bits(rival: Any, model: LlamaModel, lanes: Lanes, batch: int) -> float:
    """Cross-entropy in bits of all tokens in float32, by one forward a window, `batch` lanes at a time."""
    bits = 0.0
    truth = torch.from_numpy(np.where(lanes.real, lanes.ids, -100)).long()  # -100: not counted
    for inputs, steps in lanes.windows(model):
        for at in range(0, len(inputs), batch):
            part = torch.from_numpy(inputs[at : at + batch]).long()
            logits = rival(input_ids=part, logits_to_keep=steps.stop - steps.start).logits
            wanted = truth[at : at + batch, steps].flatten()
            bits += float(
                torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted, ignore_index=-100, reduction="sum")
            )
    return bits / float(np.log(2))


def model_bits(model: LlamaModel, lanes: Lanes) -> float:
    """The same of the scores of our integers: what the model itself makes of the tokens, nothing learnt."""
    bits, chunk = 0.0, max(1, CHUNK_ROWS // len(lanes.ids))
    places = places_of(model.tokenizer.entries, model.tokenizer.n_symbols)
    state = model.open(len(lanes.ids), model.window)
    for inputs, steps in lanes.windows(model):
        state.reset()
        prompt = inputs.shape[1] - (steps.stop - steps.start)
        if prompt:
            state.prompt(inputs[:, :prompt])
        for at in range(0, inputs.shape[1] - prompt, chunk):
            scores = torch.from_numpy(state.forward(inputs[:, prompt + at : prompt + at + chunk]))
            logarithms = torch.log_softmax(scores.double() * (np.log(2) / 256), dim=-1).numpy()
            part = slice(steps.start + at, steps.start + at + scores.shape[1])
            found = np.take_along_axis(logarithms, places[lanes.ids[:, part, None]], axis=2)[:, :, 0]
            bits -= float(found[lanes.real[:, part]].sum())
    return bits / float(np.log(2))


@torch.inference_mode()
def float_steps(rival: Any, model: LlamaModel, lanes: Lanes, limit: int) -> None:
    """A key-value-cache loop over the first `limit` steps, all lanes at once: what a decoder of floats must do."""
    for inputs, steps in lanes.windows(model):
        past, prompt = None, inputs.shape[1] - (steps.stop - steps.start)
        if prompt:
            past = rival(input_ids=torch.from_numpy(inputs[:, :prompt]).long(), use_cache=True, logits_to_keep=1).cache
        for column in inputs.T[prompt:]:
            out = rival(input_ids=torch.from_numpy(column[:, None]).long(), cache=past, use_cache=True)
            past = out.cache
            out.logits[:, -1].argmax(-1)
            limit -= 1
            if not limit:
                return


class Timed(Predictor):
    """A predictor that knows how long it has worked."""

    seconds = 0.0

    def code_step(self, *arguments: Any, **named: Any) -> None:
        began = time.perf_counter()
        super().code_step(*arguments, **named)
        self.seconds += time.perf_counter() - began


@dataclass(frozen=True)
class Coded:
    """A block that was written, and read again."""

    payload: bytes
    write_seconds: float
    read_seconds: float
    write_predictor: float  # seconds of the predictor and its coder in these
    read_predictor: float


def code(model: LlamaModel, data: bytes, lanes: int) -> Coded:
    """All that the codec does, tokenizer included."""
    writer, reader = (Timed(line_bits_of(len(data))) for _ in range(2))
    shape = Shape(lanes, model.window, model.overlap, native.clip_threads(model.threads))
    began = time.perf_counter()
    payload = codec.write_tokens(writer, model, data, shape)
    written = time.perf_counter()
    assert codec.read_tokens(reader, model, payload, len(data), shape) == data
    return Coded(payload, written - began, time.perf_counter() - written, writer.seconds, reader.seconds)


def run(
    name: str | None, path: Path, *, size: int, lanes: int | None, rounds: int, threads: int | None
) -> dict[str, Any]:
    """Measure one file; the result is one JSON object, whose figures docs/cli.md explains."""
    data = path.read_bytes()[:size]
    model = registry.load(name, threads=threads)
    assert isinstance(model, LlamaModel)
    torch.set_num_threads(native.clip_threads(threads))
    n_lanes = min(lanes or codec.choose_lanes(len(data), model.window), len(data))
    shown = Lanes.cut(model, data, n_lanes)
    rival = float_model(model.config, model.tensors)
    runs = [_round(model, rival, data, shown) for _ in range(rounds)]
    median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    in_float, in_model = float_bits(rival, model, shown, 8), model_bits(model, shown)
    coded = median.pop("coded_bits")
    return {
        "file": path.name, "bytes": len(data), "tokens": shown.n_tokens, "lanes": n_lanes, "window": model.window,
        "overlap": model.overlap,
        "kernels": model.kernels, "threads": native.clip_threads(threads), "rounds": rounds,
        **{k: round(v, 3) for k, v in median.items()},
        "coded_bits": int(coded), "model_bits": round(in_model, 1), "float32_bits": round(in_float, 1),
        "coded_over_float32": round(coded / in_float, 5), "model_over_float32": round(in_model / in_float, 5),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }  # fmt: skip


def _round(model: LlamaModel, rival: Any, data: bytes, lanes: Lanes) -> dict[str, float]:
    """Ours and theirs in turn. Ours is the whole of writing and reading a payload, theirs is the model alone."""
    ours = code(model, data, len(lanes.ids))
    n, n_steps = lanes.n_tokens, min(lanes.ids.shape[1], 96)
    first = lanes.first(model.window)
    began = time.perf_counter()
    float_bits(rival, model, first, 8)
    forward = time.perf_counter()
    float_steps(rival, model, lanes, n_steps)
    stepped = time.perf_counter()
    encode, decode = n / ours.write_seconds, n / ours.read_seconds
    # Their forward is timed on the first window, all of whose rows are coded; later ones also pay for a prompt, as ours
    # do
    prompted = sum(inputs.size - len(inputs) * (steps.stop - steps.start) for inputs, steps in lanes.windows(model))
    theirs_encode = first.ids.size / (forward - began) / (1 + prompted / lanes.ids.size)
    theirs_decode = len(lanes.ids) * n_steps / (stepped - forward)
    return {
        "compress_kb_s": len(data) / 1000 / ours.write_seconds, "decompress_kb_s": len(data) / 1000 / ours.read_seconds,
        "compress_tokens_s": encode, "decompress_tokens_s": decode,
        "compress_in_predictor": ours.write_predictor / ours.write_seconds,
        "decompress_in_predictor": ours.read_predictor / ours.read_seconds,
        "float32_forward_tokens_s": theirs_encode, "float32_steps_tokens_s": theirs_decode,
        "compress_ratio": encode / theirs_encode, "decompress_ratio": decode / theirs_decode,
        "coded_bits": 8 * len(ours.payload),
    }  # fmt: skip


def print_report(result: dict[str, Any]) -> None:
    for key, value in result.items():
        print(f"{key:<26} {value}")
    print(json.dumps(result))
