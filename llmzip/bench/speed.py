"""Speed and quality against float32 transformers with the very same weights, windows and lanes, as ratios within one run.

The rival is the exact checkpoint's own weights, dequantised into a transformers model, so that both do the same work: prompts and windows
included. Machines are noisy: each pair is timed in turn, and medians of the ratios are reported.
"""

import json
import resource
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from llmzip import codec, native
from llmzip.models import registry
from llmzip.models.checkpoint import Tensors
from llmzip.models.config import LlamaConfig
from llmzip.models.llama import LlamaModel
from llmzip.rangecoder import Encoder


def float_model(config: LlamaConfig, tensors: Tensors) -> Any:
    """The same weights as float32 in transformers' LlamaForCausalLM, or MistralForCausalLM where there is a sliding window."""
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


def windows(model: LlamaModel, ids: NDArray[np.int32]) -> Iterator[tuple[NDArray[np.int32], int]]:
    """What the codec shows the model: (L, C) ids of each window, and how many of its first rows are a prompt that predicts nothing."""
    step, n_steps = 0, ids.shape[1]
    while step < n_steps:
        context = min(step, model.overlap)
        end = min(n_steps, step + model.window - context)
        start = np.full((len(ids), 1), model.start_id, dtype=np.int32)
        yield np.concatenate([start, ids[:, step - context : end - 1]], axis=1), context
        step = end


@torch.inference_mode()
def float_forward(rival: Any, model: LlamaModel, ids: NDArray[np.int32], batch: int) -> float:
    """Cross-entropy in bits of all tokens, by one forward a window, `batch` lanes at a time."""
    bits, step = 0.0, 0
    for inputs, prompt in windows(model, ids):
        coded = inputs.shape[1] - prompt
        for lane in range(0, len(ids), batch):
            part = torch.from_numpy(inputs[lane : lane + batch]).long()
            logits = rival(input_ids=part, logits_to_keep=coded).logits
            truth = torch.from_numpy(ids[lane : lane + batch, step : step + coded]).long()
            bits += float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="sum"))
        step += coded
    return bits / float(np.log(2))


@torch.inference_mode()
def float_steps(rival: Any, model: LlamaModel, ids: NDArray[np.int32], limit: int) -> int:
    """A key-value-cache loop over the first `limit` steps, all lanes at once: what a decoder of floats must do. Returns the tokens."""
    for inputs, prompt in windows(model, ids):
        past = None
        if prompt:
            past = rival(input_ids=torch.from_numpy(inputs[:, :prompt]).long(), use_cache=True, logits_to_keep=1).cache
        for column in inputs.T[prompt:]:
            out = rival(input_ids=torch.from_numpy(column[:, None]).long(), cache=past, use_cache=True)
            past = out.cache
            out.logits[:, -1].argmax(-1)
            limit -= 1
            if not limit:
                return len(ids)
    return len(ids)


def run(name: str | None, path: Path, *, size: int, lanes: int | None, rounds: int, threads: int | None) -> dict[str, Any]:
    """Measure one file; the result is one JSON object."""
    data = path.read_bytes()[:size]
    model = registry.load(name, threads=threads)
    assert isinstance(model, LlamaModel)
    torch.set_num_threads(native.clip_threads(threads))
    tokens = model.tokenizer.encode(data)
    n_lanes = lanes or codec.choose_lanes(len(data), model.window)
    ids = np.stack([part[: len(tokens) // n_lanes] for part in np.array_split(tokens, n_lanes)])
    rival = float_model(model.config, model._tensors)
    steps = min(ids.shape[1], 96)
    runs = [_round(model, rival, data, ids, n_lanes, steps) for _ in range(rounds)]
    median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    encoder = Encoder(chunk=codec.CHUNK_ROWS // n_lanes, counting=True)
    codec.transcode(model, encoder, codec.Lanes.cut(ids.reshape(-1), n_lanes, model, len(data)), model.window, model.overlap, plain=True)
    float_bits = float_forward(rival, model, ids, 8)
    return {
        "file": path.name, "bytes": len(data), "tokens": len(tokens), "lanes": n_lanes, "window": model.window, "overlap": model.overlap,
        "kernels": model.kernels, "threads": native.clip_threads(threads), "rounds": rounds, **{k: round(v, 3) for k, v in median.items()},
        "coded_bits": round(encoder.cost_bits, 1), "float32_bits": round(float_bits, 1),
        "coded_over_float32": round(encoder.cost_bits / float_bits, 5),
        "payload_over_coded_bytes": round(len(encoder.payload()) - encoder.cost_bits / 8, 2),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }  # fmt: skip


def _round(model: LlamaModel, rival: Any, data: bytes, ids: NDArray[np.int32], lanes: int, steps: int) -> dict[str, float]:
    """Ours and theirs in turn. Ours is the whole of compressing and decompressing, coder and adaptive layer included; theirs is the model alone."""
    began = time.perf_counter()
    block = codec.compress_block(model, data, lanes=lanes)
    compressed = time.perf_counter()
    assert codec.decode_block(model, block) == data
    decompressed = time.perf_counter()
    plain = codec.compress_block(model, data, lanes=lanes, plain=True)
    plain_compressed = time.perf_counter()
    assert codec.decode_block(model, plain) == data
    plain_decompressed = time.perf_counter()
    float_forward(rival, model, ids[:, : model.window], 8)
    forward = time.perf_counter()
    float_steps(rival, model, ids, steps)
    stepped = time.perf_counter()
    n = ids.size
    first = ids[:, : model.window].size
    encode, decode = n / (compressed - began), n / (decompressed - compressed)
    # Their forward is timed on the first window, all of whose rows are coded; later ones also pay for a prompt, as ours do
    prompts = 1 + sum(p * len(w) for w, p in windows(model, ids)) / n
    theirs_encode = first / (forward - plain_decompressed) / prompts
    theirs_decode = len(ids) * steps / (stepped - forward)
    return {
        "compress_kb_s": len(data) / 1000 / (compressed - began),
        "decompress_kb_s": len(data) / 1000 / (decompressed - compressed),
        "compress_tokens_s": encode, "decompress_tokens_s": decode,
        "float32_forward_tokens_s": theirs_encode, "float32_steps_tokens_s": theirs_decode,
        "compress_over_plain": (compressed - began) / (plain_compressed - decompressed),
        "decompress_over_plain": (decompressed - compressed) / (plain_decompressed - plain_compressed),
        "compress_ratio": encode / theirs_encode, "decompress_ratio": decode / theirs_decode,
    }  # fmt: skip


def print_report(result: dict[str, Any]) -> None:
    for key, value in result.items():
        print(f"{key:<26} {value}")
    print(json.dumps(result))
