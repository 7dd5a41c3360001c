"""The second engine: any causal language model that transformers can load, in floating point.

The only module that imports transformers.

Floats make no promise across machines, so this engine is not exact: the encoder takes the very steps of the decoder
(all lanes in lockstep, one batch shape, one token at a time), and the file carries a note of everything that the bits
may hang on. A decoder with another note refuses.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from llmzip import native
from llmzip.errors import EngineMismatch, ModelInvalid
from llmzip.models import ESCAPE_SCORE, LOWEST_SCORE, SCORE_UNIT, STRONG
from llmzip.models.checkpoint import parse_json
from llmzip.models.ops import threads_of_torch
from llmzip.tokens.vocabulary import Vocabulary, spellings, token_table

_LOG2_E = 1.4426950408889634


class CausalModel:
    """A model from a local Hugging Face folder (config.json, weights, tokenizer.json).

    Implements `llmzip.models.Model`.

    Raises ModelInvalid when transformers cannot load the folder, or it has no tokenizer.json.
    """

    exact = False

    def __init__(self, folder: str | Path, *, device: str | None = None, threads: int | None = None) -> None:
        folder = Path(folder)
        self.device = device or "cpu"
        self.threads = threads
        self._n_threads = native.clip_threads(threads)
        if not (folder / "config.json").is_file():
            raise ModelInvalid(f"{folder} is no Hugging Face model folder: it has no config.json")
        try:
            with threads_of_torch(self._n_threads):
                self._model = transformers.AutoModelForCausalLM.from_pretrained(
                    folder, dtype=torch.float32, local_files_only=True, trust_remote_code=False
                )
                self._model.to(self.device).eval()
            tokenizer_json = (folder / "tokenizer.json").read_bytes()
        except Exception as error:  # of transformers, torch, pickle, safetensors and whatever they call
            raise ModelInvalid(f"{folder}: {_first_line(error)}") from error
        config = self._model.config
        n_vocab = int(config.vocab_size)
        table = token_table(spellings(parse_json(tokenizer_json, "tokenizer.json"), n_vocab))
        self.tokenizer = Vocabulary(*table, folder / "tokenizer.json")
        self.name = folder.name
        self.max_window = min(4096, int(getattr(config, "max_position_embeddings", None) or 1024))
        self.window = min(512, self.max_window)
        self.overlap = self.window // 4
        self.start_id = self._start(config, n_vocab)
        self.fingerprint = self._fingerprint(folder, table)
        self.strong = sum(each.numel() for each in self._model.parameters()) > STRONG
        self.engine_note = self._note()
        self._try()

    def open(self, lanes: int, window: int, threads: int | None = None) -> "CausalState":
        return CausalState(self, lanes)

    def _try(self) -> None:
        """Two tokens, one after the other: not every model has a cache that can be handed on."""
        ids = np.full((1, 1), self.start_id, dtype=np.int32)
        try:
            self.step(ids, self.step(ids, None)[1])
        except Exception as error:
            raise ModelInvalid(
                f"{self.name}: transformers cannot run it token by token: {_first_line(error)}"
            ) from error

    def state_bytes(self, lanes: int, window: int) -> int:
        """As for attention with a head of keys and values to each of queries, in float32."""
        config = self._model.config.get_text_config()
        return (
            8
            * lanes
            * window
            * int(getattr(config, "num_hidden_layers", 32))
            * int(getattr(config, "hidden_size", 4096))
        )

    @staticmethod
    def _start(config: Any, n_vocab: int) -> int:
        for value in (config.bos_token_id, config.eos_token_id):
            if isinstance(value, int) and 0 <= value < n_vocab:
                return value
        return 0

    def _fingerprint(self, folder: Path, table: tuple[NDArray[np.uint8], NDArray[np.int32]]) -> bytes:
        """SHA-256 over the configuration, the weight files and the bytes of the tokens."""
        digest = hashlib.sha256(b"llmzip transformers 1\n")
        for path in sorted([folder / "config.json", *folder.glob("*.safetensors"), *folder.glob("*.bin")]):
            with path.open("rb") as file:
                digest.update(f"{path.name}\n".encode() + hashlib.file_digest(file, "sha256").digest())
        for array in table:
            digest.update(hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest())
        return digest.digest()

    def _note(self) -> str:
        """What the bits of this engine may hang on, one per line, sorted (format.md 3.1)."""
        cuda = self.device.startswith("cuda")
        facts = {
            "device": torch.cuda.get_device_name(self.device) if cuda else "cpu",
            "dtype": "float32",
            "isa": "cuda" if cuda else torch.backends.cpu.get_cpu_capability(),
            "threads": 0 if cuda else self._n_threads,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }
        return "\n".join(["engine=transformers", *(f"{key}={value}" for key, value in sorted(facts.items()))])

    @torch.inference_mode()
    def step(self, ids: NDArray[np.int32], past: Any) -> tuple[torch.Tensor, Any]:
        """Read ids (L, C) after `past`; return the logits after the last of them (L, V) float32, and the new past."""
        if native.clip_threads(self.threads) != self._n_threads:
            raise EngineMismatch(
                f"{self.name} was loaded with {self._n_threads} threads, of which a child of fork has none",
                hint="load the model in the child, or start it with the method spawn",
            )
        plain = np.where(ids < self.tokenizer.n_vocab, ids, self.start_id)
        with threads_of_torch(self._n_threads):
            result = self._model(
                input_ids=torch.from_numpy(plain).long().to(self.device), cache=past, use_cache=True, logits_to_keep=1
            )
        return result.logits[:, -1].float(), result.cache


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class CausalState:
    """The key-value cache of L lanes. See `llmzip.models.State`."""

    def __init__(self, model: CausalModel, lanes: int) -> None:
        self._model = model
        self._lanes = lanes
        self._past: Any = None

    def reset(self) -> None:
        self._past = None

    def prompt(self, ids: NDArray[np.int32]) -> None:
        _, self._past = self._model.step(ids, self._past)

    def forward(self, ids: NDArray[np.int32]) -> NDArray[np.int16]:
        assert ids.shape == (self._lanes, 1), "one batch shape and one token at a time, in both directions"
        logits, self._past = self._model.step(ids, self._past)
        with threads_of_torch(self._model._n_threads):
            return self._scores(logits)

    def _scores(self, logits: torch.Tensor) -> NDArray[np.int16]:
        if not bool(torch.isfinite(logits).all()):
            raise ModelInvalid(f"{self._model.name}: the model gives scores that are no numbers")
        tokenizer = self._model.tokenizer
        is_token = tokenizer.entries < tokenizer.n_vocab
        tokens = logits[:, torch.from_numpy(tokenizer.entries[is_token]).to(logits.device)]
        units = (tokens - tokens.amax(-1, keepdim=True)) * (SCORE_UNIT * _LOG2_E)
        scores = np.full((self._lanes, 1, len(tokenizer.entries)), ESCAPE_SCORE, dtype=np.int16)
        scores[:, 0, is_token] = units.round().clamp_min(LOWEST_SCORE).to(torch.int16).cpu().numpy()
        return scores
