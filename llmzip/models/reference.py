"""The exact Llama forward in torch operations.

The definition that the fused kernels are held to, and the engine of every device but the CPU.

Straight-line: read `ReferenceState._run` from top to bottom. Knows nothing of bytes and of the coder.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmzip.models import ESCAPE_SCORE, SCORE_UNIT, ops
from llmzip.models.checkpoint import Tensors
from llmzip.models.config import LlamaConfig

MAX_ROWS = 256  # rows of activations in flight, when the lanes allow


class ReferenceLlama:
    """The weights on a device."""

    def __init__(self, config: LlamaConfig, tensors: Tensors, *, device: str, threads: int | None = None) -> None:
        self.config, self.threads = config, threads
        self.device = torch.device(device)
        if self.device.type == "meta":
            raise RuntimeError("it computes nothing")
        with ops.threads_of_torch(threads):
            self.tensors: dict[str, Tensor] = {
                name: torch.from_numpy(array).to(self.device)
                for name, array in tensors.items()
                if not name.startswith("tokens.")
            }
            self.matmul, self.why = ops.choose_matmul(self.device, config.inner_sizes)

    def linear(self, x: Tensor, name: str, factor: float = 1.0) -> Tensor:
        t = self.tensors
        return ops.linear(
            x, t[f"{name}.weight"], t[f"{name}.scale"], t.get(f"{name}.bias"), self.config.digits, self.matmul, factor
        )


class ReferenceState:
    """The cache of L lanes. See `llmzip.models.State`."""

    def __init__(self, model: ReferenceLlama, entries: NDArray[np.int32], lanes: int, window: int) -> None:
        c = model.config
        self._model, self._lanes, self._window = model, lanes, window
        self._is_token = entries < c.n_vocab
        self._tokens = torch.from_numpy(entries[self._is_token]).to(model.device)
        shape = (c.n_layers, lanes, c.n_kv_heads, window)
        with ops.threads_of_torch(model.threads):  # many zeros are written by many
            self._k, self._v = (
                torch.zeros((*shape, c.head_dim), dtype=torch.int8, device=model.device) for _ in range(2)
            )
            self._k_scale, self._v_scale = (torch.zeros(shape, device=model.device) for _ in range(2))
        self._pos = 0

    def reset(self) -> None:
        self._pos = 0

    def prompt(self, ids: NDArray[np.int32]) -> None:
        with ops.threads_of_torch(self._model.threads):
            for part in self._parts(ids):
                self._advance(part)

    def forward(self, ids: NDArray[np.int32]) -> NDArray[np.int16]:
        with ops.threads_of_torch(self._model.threads):
            return np.concatenate([self._scores(self._advance(part), *part.shape) for part in self._parts(ids)], axis=1)

    def look(self, ids: NDArray[np.int32], lanes: NDArray[np.int32], positions: NDArray[np.int32]) -> NDArray[np.int16]:
        """One lane after the other: this is the definition, the kernels are fast."""
        found = []
        with ops.threads_of_torch(self._model.threads):
            for part in np.split(np.arange(len(ids)), np.flatnonzero(np.diff(lanes)) + 1):
                lane, begin = int(lanes[part[0]]), int(positions[part[0]])
                found.append(self._scores(self._run(ids[None, part], slice(lane, lane + 1), begin), 1, len(part))[0])
        return np.concatenate(found)

    def _parts(self, ids: NDArray[np.int32]) -> list[NDArray[np.int32]]:
        steps = max(1, MAX_ROWS // self._lanes)
        return [ids[:, i : i + steps] for i in range(0, ids.shape[1], steps)]

    def _advance(self, ids: NDArray[np.int32]) -> Tensor:
        """All lanes together."""
        if len(ids) != self._lanes:
            raise ValueError("more lanes than this state was opened for, or fewer")
        self._pos += ids.shape[1]
        return self._run(ids, slice(0, self._lanes), self._pos - ids.shape[1])

    @torch.inference_mode()
    def _run(self, ids: NDArray[np.int32], of: slice, begin: int) -> Tensor:
        """Read ids (L, C) of these lanes from a position on; return the last hidden rows (L * C, width)."""
        c, t, linear = self._model.config, self._model.tensors, self._model.linear
        lanes, steps = ids.shape
        end = begin + steps
        if of.stop > self._lanes or end > self._window:
            raise ValueError("more lanes or positions than this state was opened for")
        rows = torch.from_numpy(np.where(ids < c.n_vocab, ids, c.start_id).reshape(-1)).long().to(self._model.device)
        cos, sin = t["rope.cos"][begin:end], t["rope.sin"][begin:end]
        visible = self._visible(begin, end)

        x = t["embed.weight"][rows].float() * t["embed.scale"][rows, None]
        for i in range(c.n_layers):
            layer = f"layers.{i}."
            h = ops.rmsnorm(x, t[layer + "attn_norm"], c.norm_eps)
            qkv = linear(h, layer + "qkv").reshape(lanes, steps, -1, c.head_dim).transpose(1, 2)  # (L, H + 2 KV, C, D)
            q, k, v = torch.split(qkv, [c.n_heads, c.n_kv_heads, c.n_kv_heads], dim=1)
            if layer + "q_norm" in t:
                q = ops.rmsnorm(q, t[layer + "q_norm"], c.norm_eps)
                k = ops.rmsnorm(k, t[layer + "k_norm"], c.norm_eps)
            q, k = ops.rotate(q, cos, sin), ops.rotate(k, cos, sin)
            self._store(i, of, begin, end, k, v)
            a = ops.attention(
                q, self._k[i, of, :, :end], self._k_scale[i, of, :, :end], self._v[i, of, :, :end],
                self._v_scale[i, of, :, :end],
                visible, ops.float32(c.score_factor),
            )  # fmt: skip
            x = x + linear(a.transpose(1, 2).reshape(lanes * steps, -1), layer + "o")
            h = ops.rmsnorm(x, t[layer + "mlp_norm"], c.norm_eps)
            gate, up = linear(h, layer + "gate_up").chunk(2, dim=-1)
            x = x + linear(ops.swiglu(gate, up), layer + "down")
        return ops.rmsnorm(x, t["norm"], c.norm_eps)

    @torch.inference_mode()
    def _scores(self, hidden: Tensor, lanes: int, steps: int) -> NDArray[np.int16]:
        head = "embed" if self._model.config.tied else "head"
        # int16 units from here: logits times 256 log2(e), folded into the row scale
        logits = self._model.linear(hidden, head, factor=SCORE_UNIT * ops.LOG2_E)
        out = np.full((len(logits), len(self._is_token)), ESCAPE_SCORE, dtype=np.int16)
        out[:, self._is_token] = ops.to_scores(logits[:, self._tokens]).cpu().numpy()
        return out.reshape(lanes, steps, -1)

    def _store(self, layer: int, of: slice, begin: int, end: int, k: Tensor, v: Tensor) -> None:
        for cache, scales, rows in ((self._k, self._k_scale, k), (self._v, self._v_scale, v)):
            q, scale = ops.quantize(rows, 127)
            cache[layer, of, :, begin:end] = q.to(torch.int8)
            scales[layer, of, :, begin:end] = scale[..., 0]

    def _visible(self, begin: int, end: int) -> Tensor:
        """(C, P): which positions a step sees."""
        now = torch.arange(begin, end, device=self._model.device)[:, None]
        then = torch.arange(end, device=self._model.device)[None, :]
        visible = then <= now
        sliding = self._model.config.sliding_window
        return visible & (then > now - sliding) if sliding else visible
