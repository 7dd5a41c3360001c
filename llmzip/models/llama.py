"""The exact engine: a Llama-shaped model from an exact checkpoint folder, on the fused kernels or on torch operations,
with the same bits.

Implements `llmzip.models.Model`. Imports torch only where torch computes.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from llmzip import native
from llmzip.errors import ModelInvalid
from llmzip.models import STRONG, State
from llmzip.models.checkpoint import TOKENIZER_FILE, read_checkpoint
from llmzip.models.config import LlamaConfig
from llmzip.models.fused import FusedLlama, FusedState, best_exact_level, supports
from llmzip.tokens.vocabulary import Vocabulary

if TYPE_CHECKING:
    from llmzip.models.reference import ReferenceLlama


class LlamaModel:
    """A loaded model. `kernels` says what computes it and why.

    device: "cpu" (default), "cuda", "cuda:1" ... ; threads: CPU threads. Neither changes a bit of any score.
    Raises ModelInvalid for a damaged folder or a model beyond a bound of the arithmetic.
    """

    exact = True
    engine_note = ""

    def __init__(self, folder: Path, *, device: str | None = None, threads: int | None = None) -> None:
        native.check_rounding(native.clip_threads(threads))
        self.folder = folder  # what `registry.keep` copies
        values, self.tensors = read_checkpoint(folder)
        self.config = LlamaConfig.of(values)
        self.config.check_bounds()
        self.name = str(values.get("name") or folder.name)
        self.fingerprint = bytes.fromhex(values["fingerprint"])
        self.strong = sum(each.size for name, each in self.tensors.items() if name.endswith(".weight")) > STRONG
        self.tokenizer = Vocabulary(self.tensors["tokens.bytes"], self.tensors["tokens.ends"], folder / TOKENIZER_FILE)
        self.start_id, self.window, self.overlap = self.config.start_id, self.config.window, self.config.overlap
        self.max_window = self.config.max_window
        self.device = device or "cpu"
        self.threads = threads
        self._reference: ReferenceLlama | None = None
        self._fused, self.kernels = self._choose()

    def open(self, lanes: int, window: int, threads: int | None = None) -> State:
        native.check_rounding()
        self._check_window(window)
        if self._fused is None:
            return self.open_reference(lanes, window)
        return FusedState(self._fused, lanes, window, threads)

    def open_reference(self, lanes: int, window: int, threads: int | None = None) -> State:
        """A state on torch operations, whatever the kernels chosen: the same scores."""
        from llmzip.models.reference import ReferenceState

        self._check_window(window)
        return ReferenceState(self._load_reference(), self.tokenizer.entries, lanes, window)

    def state_bytes(self, lanes: int, window: int) -> int:
        c = self.config
        element = 1 if self._fused is not None else 4  # int8, and the float32 of torch
        position = 2 * (element * -(-c.head_dim // 16) * 16 + 4)
        row = 4 * (2 * c.width + c.hidden + 3 * c.n_heads * c.head_dim) + 2 * max(c.inner_sizes)
        return (
            c.n_layers * c.n_kv_heads * lanes * -(-window // 16) * 16 * position
            + (lanes + 288) * row
            + 64 * 4 * c.n_vocab
        )

    def _check_window(self, window: int) -> None:
        if window > self.max_window:
            raise ValueError(f"window must be at most {self.max_window} tokens for {self.name}")

    def _choose(self) -> tuple[FusedLlama | None, str]:
        """The fused kernels of the best level that is exact here, or nothing; and the reason."""
        reason = f"device {self.device}" if self.device != "cpu" else supports(self.config)
        if not reason and native.library is None:
            reason = native.why_no_library
        level = -1 if reason else best_exact_level(self.config, self.threads)
        if level >= 0:
            fused = FusedLlama(self.config, self.tensors, self.tokenizer.entries, level=level, threads=self.threads)
            return fused, f"fused, {native.LEVELS[level]}: exact in the self-test"
        reference = self._load_reference()
        return None, f"torch operations ({reason or 'the fused kernels failed their self-test'}); {reference.why}"

    def _load_reference(self) -> "ReferenceLlama":
        if self._reference is None:
            try:
                from llmzip.models.reference import ReferenceLlama
            except ImportError as error:
                why = native.why_no_library or "the compiled kernels cannot take this model"
                raise ModelInvalid(
                    f"torch is needed to run {self.name} and cannot be imported ({error}); {why}",
                    hint="install a C compiler and llmzip again, or torch",
                ) from error
            try:
                self._reference = ReferenceLlama(self.config, self.tensors, device=self.device, threads=self.threads)
            except (RuntimeError, AssertionError) as error:  # torch's words for a device that is not there
                raise ModelInvalid(f"device {self.device}: {str(error).splitlines()[0]}") from error
        return self._reference
