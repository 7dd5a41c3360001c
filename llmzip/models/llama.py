"""The exact engine: a Llama-shaped model from an exact checkpoint folder, on the fused kernels or on torch operations, with the same bits.

Implements `llmzip.models.Model`. Imports torch only where torch computes.
"""

from pathlib import Path

from llmzip import native
from llmzip.errors import ModelInvalid
from llmzip.models import State
from llmzip.models.checkpoint import TOKENIZER_FILE, read_checkpoint
from llmzip.models.config import LlamaConfig
from llmzip.tokens.vocabulary import Vocabulary


class LlamaModel:
    """A loaded model. `kernels` says what computes it and why.

    device: "cpu" (default), "cuda", "cuda:1" ... ; threads: CPU threads. Neither changes a bit of any score.
    Raises ModelInvalid for a damaged folder or a model beyond a bound of the arithmetic.
    """

    exact = True
    engine_note = ""

    def __init__(self, folder: Path, *, device: str | None = None, threads: int | None = None) -> None:
        values, tensors = read_checkpoint(folder)
        self.config = LlamaConfig.of(values)
        self.config.check_bounds()
        self.name = str(values.get("name") or folder.name)
        self.fingerprint = bytes.fromhex(values["fingerprint"])
        self.tokenizer = Vocabulary(tensors["tokens.bytes"], tensors["tokens.ends"], folder / TOKENIZER_FILE)
        self.start_id, self.window, self.overlap = self.config.start_id, self.config.window, self.config.overlap
        self.max_window = self.config.max_window
        self.device = device or "cpu"
        if threads is not None:
            native.set_threads(threads)
        self.kernels, self._engine = self._choose(tensors, threads)

    def open(self, lanes: int, window: int) -> State:
        if window > self.max_window:
            raise ValueError(f"window must be at most {self.max_window} tokens for {self.name}")
        state: State = self._open_state(self._engine, self.tokenizer.n_symbols, lanes, window)
        return state

    def _choose(self, tensors, threads):  # type: ignore[no-untyped-def]
        if self.device == "cpu":
            from llmzip.models import fused

            reason = fused.supports(self.config) or ("" if native.library else "no compiled kernels here")
            level = -1 if reason else fused.best_exact_level(self.config)
            if level >= 0:
                self._open_state = fused.FusedState
                engine = fused.FusedLlama(self.config, tensors, level=level, threads=native.n_threads)
                return f"fused {native.LEVELS[level]}: exact in the self-test", engine
            reason = reason or "the fused kernels failed their self-test"
        else:
            reason = f"device {self.device}"
        return self._choose_reference(tensors, threads, reason)

    def _choose_reference(self, tensors, threads, reason):  # type: ignore[no-untyped-def]
        import torch

        from llmzip.models import reference

        if threads is not None:
            torch.set_num_threads(threads)
        try:
            engine = reference.ReferenceLlama(self.config, tensors, device=self.device)
        except (RuntimeError, AssertionError) as error:  # torch's words for a device that is not there
            raise ModelInvalid(f"device {self.device}: {str(error).splitlines()[0]}") from error
        self._open_state = reference.ReferenceState
        return f"torch operations ({reason}); {engine.why}", engine
