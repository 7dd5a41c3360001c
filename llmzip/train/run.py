"""A training run: prepare, step, look at held-out text, save, export. It can be killed at any moment and goes on from where it last saved.

All state is in `OUT.work/`: ids, tokenizer, checkpoint, the curve; `OUT` is the finished model. The same seed gives the same model on one
machine, whether or not the run was interrupted: a batch depends on (seed, step) alone.
"""

import io
import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from llmzip.api import compress
from llmzip.errors import LlmzipError
from llmzip.models import checkpoint, registry
from llmzip.models.convert import convert_hf
from llmzip.train import tokenizer as bpe
from llmzip.train.corpus import Corpus, Source, append_line, sample, write_atomically
from llmzip.train.network import Network, Shape

PRESETS = {
    "pocket": Shape(
        n_layers=4, width=320, n_heads=5, n_kv_heads=1, head_dim=64, hidden=832, n_vocab=8192,
        sliding_window=256, window=2048, overlap=256, tied=True,
    ),
    "pocket-small": Shape(
        n_layers=4, width=256, n_heads=4, n_kv_heads=1, head_dim=64, hidden=640, n_vocab=4096,
        sliding_window=256, window=2048, overlap=256, tied=True,
    ),
    "pocket-large": Shape(
        n_layers=8, width=512, n_heads=8, n_kv_heads=2, head_dim=64, hidden=1344, n_vocab=8192,
        sliding_window=512, window=2048, overlap=512, tied=True,
    ),
}  # fmt: skip
BATCH_TOKENS = 4096  # small: on a CPU tokens are dear, and small batches learn most from each
LENGTH = 256  # of a row, at first; twice that in the last part, so that the sliding window is seen to slide
LONG = 0.3  # of the steps, the last ones: rows of twice the length
MUON_RATE, ADAM_RATE = 0.02, 0.004
ADAPT = 0.25  # of these rates, where a trained model goes on
WARM_UP = 0.01  # of the steps
DECAY = 0.5  # of the steps, the last ones: linearly to zero
INT8 = 0.25  # of the steps, the last ones: quantisation-aware
START_ID = 0
SAMPLE_BYTES = 24_000_000  # for the tokenizer
SAVE_SECONDS, LOOK_SECONDS, TELL_STEPS = 120, 600, 10
LOOK_BYTES = 8192  # of each source, while training
TIMED = (5, 15)  # the steps that tell how many fit into the minutes
ROOM = 0.9  # of these minutes: the last steps are slower
WORTH_COMPILING = 4_000_000, 5.0  # tokens, minutes

Say = Callable[[str], None]


def train(
    sources: list[Source],
    out: Path,
    *,
    preset: str = "pocket",
    init: str | None = None,
    tokens: int | None = None,
    minutes: float | None = None,
    rate: float | None = None,
    seed: int = 0,
    device: str | None = None,
    threads: int | None = None,
    say: Say,
    progress: Say,
) -> Path:
    """Train a model on `sources` and write it to the folder `out`; goes on with a run that was interrupted. Returns `out`.

    `preset` or `init` (the name or path of a model to go on from) says what is trained, `tokens` or `minutes` how long. `rate` multiplies the
    learning rates; without it they are those of training from nothing, or a quarter of them with `init`.
    """
    if preset not in PRESETS:
        raise LlmzipError(f"no preset is called {preset}", hint=", ".join(PRESETS))
    if threads:
        torch.set_num_threads(threads)
    work = out.with_name(out.name + ".work")
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    if init is None:
        text = _tokenizer(work, sources, PRESETS[preset].n_vocab, say)
        tokenizer = Tokenizer.from_str(text)
        network = Network(replace(PRESETS[preset], n_vocab=tokenizer.get_vocab_size()))
        start_id = START_ID
    else:
        network, text, start_id = _from_model(init)
        tokenizer = Tokenizer.from_str(text)
    corpus = Corpus(work / "ids", sources, tokenizer, start_id, say)
    say(f"{corpus.n_tokens / 1e6:.1f} M tokens to train on, {sum(p.numel() for p in network.parameters()) / 1e6:.2f} M parameters")
    run = Run(network.to(_device(device)), corpus, work, text, start_id, seed=seed, say=say, progress=progress)
    run.adapting = init is not None
    run.rate = rate or (ADAPT if run.adapting else 1.0)
    run.resume(
        {
            "sources": [f"{source.path.resolve()}={source.weight}" for source in sources],
            "init": init, "preset": preset, "rate": run.rate, "seed": seed, "tokens": tokens, "minutes": minutes,
        }
    )  # fmt: skip
    run.to_the_end(tokens, minutes)
    return run.finish(out)


class Run:
    """The state of a run: network, optimisers, step."""

    def __init__(
        self, network: Network, corpus: Corpus, work: Path, tokenizer_json: str, start_id: int, *, seed: int, say: Say, progress: Say
    ) -> None:
        self._network, self._corpus, self._work, self._seed = network, corpus, work, seed
        self.rate = 1.0  # times the learning rates
        self.adapting = False  # a trained model goes on: quantisation-aware from the first step
        self._say, self._progress = say, progress
        self._tokenizer, self._start_id = tokenizer_json, start_id
        self._device = network.norm.device
        matrices = network.matrices()
        theirs = {id(parameter) for parameter in matrices}
        others = [parameter for parameter in network.parameters() if id(parameter) not in theirs]
        self._optimisers = [
            torch.optim.Muon(matrices, lr=MUON_RATE, weight_decay=0.05),
            torch.optim.AdamW(others, lr=ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
        ]
        self._step = self._n_steps = 0
        self._settings: dict[str, object] = {}
        self._loss: Callable[[Tensor], Tensor] = network.loss

    def resume(self, settings: dict[str, object]) -> None:
        """Take up the checkpoint of a run with the same settings, if there is one."""
        self._settings = settings
        path = self._work / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, map_location=self._device, weights_only=True)
        if state["settings"] != settings:
            raise LlmzipError(
                f"{self._work} holds a run with other settings", hint="give the same command to go on with it, or remove that folder"
            )
        self._network.load_state_dict(state["network"])
        for optimiser, saved in zip(self._optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self._step, self._n_steps = state["step"], state["n_steps"]
        self._say(f"going on from step {self._step} of {self._n_steps}")

    def to_the_end(self, tokens: int | None, minutes: float | None) -> None:
        """All steps that are left. How many there are is said by `tokens`, or found out early from `minutes`."""
        if not self._n_steps and tokens:
            self._n_steps = max(1, tokens // BATCH_TOKENS)
        if (tokens or 0) >= WORTH_COMPILING[0] or (minutes or 0) >= WORTH_COMPILING[1]:
            self._loss = _compiled(self._network)
        begin = saved = looked = told = time.monotonic()
        told_at = self._step
        try:
            while not self._n_steps or self._step < self._n_steps:
                loss = self._one_step()
                now = time.monotonic()
                if not self._n_steps:
                    if self._step == TIMED[0]:
                        timed = now
                    if self._step == TIMED[1]:
                        assert minutes is not None
                        each = (now - timed) / (TIMED[1] - TIMED[0])
                        self._n_steps = self._step + max(1, int((minutes * 60 - (now - begin)) / each * ROOM))
                elif self._step % TELL_STEPS == 0:
                    self._tell(float(loss), (now - told) / (self._step - told_at))
                    told, told_at = now, self._step
                if now - saved > SAVE_SECONDS:
                    self.save()
                    saved = now
                if now - looked > LOOK_SECONDS:
                    self.look(LOOK_BYTES)
                    looked = told = time.monotonic()
                    told_at = self._step
        except BaseException:  # interrupted, too: nothing is lost
            self.save()
            raise
        self.save()

    def _one_step(self) -> Tensor:
        """One batch; its mean loss in nats a token."""
        part = self._step / self._n_steps if self._n_steps else 0.0
        if (self.adapting or part >= 1 - INT8) and not self._network.int8:
            self._network.set_int8(True)
        warm = min(1.0, (self._step + 1) / max(10.0, WARM_UP * self._n_steps))
        rate = self.rate * warm * min(1.0, (1 - part) / DECAY)
        for optimiser, base in zip(self._optimisers, (MUON_RATE, ADAM_RATE), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = base * rate
        length = LENGTH * (2 if part >= 1 - LONG else 1)
        batch = self._corpus.batch(self._seed, self._step, BATCH_TOKENS // length, length)
        loss = self._loss(torch.from_numpy(batch).to(self._device))
        loss.backward()  # type: ignore[no-untyped-call]
        for optimiser in self._optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self._step += 1
        return loss.detach()

    def _tell(self, loss: float, seconds: float) -> None:
        left = int(seconds * (self._n_steps - self._step))
        speed = BATCH_TOKENS / seconds
        append_line(self._work / "curve.jsonl", {"step": self._step, "loss": round(loss, 5)})
        self._progress(
            f"step {self._step}/{self._n_steps}  {loss / math.log(2):.3f} bits/token  {speed / 1000:.1f} k tokens/s  "
            f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"
        )

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        buffer = io.BytesIO()
        state = {
            "settings": self._settings,
            "network": self._network.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self._optimisers],
            "step": self._step,
            "n_steps": self._n_steps,
        }
        torch.save(state, buffer)
        write_atomically(self._work / "checkpoint.pt", buffer.getvalue())

    def look(self, limit: int) -> list[tuple[str, int, int]]:
        """(source, bytes, compressed bytes) of held-out text, by the exact engine, from whole files."""
        folder = self._work / "exact"
        self._export(folder)
        model = registry.load(str(folder))
        rows = []
        for source, text in self._corpus.held_out(limit):
            rows.append((source.name, len(text), len(compress(text, model))))
        shares = [source.weight for source in self._corpus.sources]
        bits = [8 * packed / n_bytes for _, n_bytes, packed in rows]
        mean = sum(share * each for share, each in zip(shares, bits, strict=True)) / sum(shares)
        append_line(self._work / "held-out.jsonl", {"step": self._step, "bits_per_byte": round(mean, 4), "rows": rows})
        self._say(f"held out: {mean:.4f} bits/byte (exact engine, by weight of the sources)")
        return rows

    def _export(self, folder: Path) -> None:
        network = self._network
        network.export(self._work / "float", self._tokenizer.encode(), start_id=self._start_id, digits=1)
        convert_hf(self._work / "float", folder, name=folder.name, license="yours", source="llmzip train")

    def finish(self, out: Path) -> Path:
        """Export, measure on all held-out text, write the model card."""
        rows = self.look(1 << 16)
        staging = self._work / out.name
        self._export(staging)
        config = checkpoint.read_config(staging)
        (staging / "README.md").write_text(self._card(out.name, config, rows))
        if out.exists():
            os.replace(out, self._work / f"replaced-{int(time.time())}")
        os.replace(staging, out)
        return out

    def _card(self, name: str, config: checkpoint.Config, rows: list[tuple[str, int, int]]) -> str:
        tokens = self._step * BATCH_TOKENS
        lines = [
            f"# {name}",
            "",
            f"A model for llmzip, made by `llmzip train`. {config['parameters']:,} parameters, {config['n_vocab']} tokens in the vocabulary,",
            f"{config['n_layers']} layers of width {config['width']}, a sliding window of {config['sliding_window']} tokens, one int8 digit per activation.",
            f"Fingerprint `{config['fingerprint']}`. Tokens seen: {tokens:,}. Seed {self._seed}.",
            "",
            "| source | weight | held-out bytes | compressed | bits/byte |",
            "|---|---|---|---|---|",
        ]
        for source, (kind, n_bytes, packed) in zip(self._corpus.sources, rows, strict=True):
            lines.append(f"| {kind} | {source.weight:g} | {n_bytes} | {packed} | {8 * packed / n_bytes:.3f} |")
        return "\n".join(lines) + "\n"


def _compiled(network: Network) -> Callable[[Tensor], Tensor]:
    """torch.compile fuses the many small operations; on a CPU it needs a C++ compiler."""
    if network.norm.device.type == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
        return network.loss
    compiled: Callable[[Tensor], Tensor] = torch.compile(network.loss)
    return compiled


def _device(name: str | None) -> torch.device:
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def _tokenizer(work: Path, sources: list[Source], n_vocab: int, say: Say) -> str:
    path = work / "tokenizer.json"
    if not path.exists():
        say("training the tokenizer")
        write_atomically(path, bpe.train(sample(sources, SAMPLE_BYTES), n_vocab).to_str().encode())
    return path.read_text()


def _from_model(name: str) -> tuple[Network, str, int]:
    """A network with the weights of an exact model, its tokenizer and its start id."""
    folder = registry.locate(name)
    config, tensors = checkpoint.read_checkpoint(folder)
    if config["qkv_bias"] or config["qk_norm"]:
        raise LlmzipError(f"{name} is not of the shape that training knows", hint="start from the bundled model, or from none")
    network = Network(Shape.of_checkpoint(config))
    network.load(tensors)
    return network, (folder / checkpoint.TOKENIZER_FILE).read_text("utf-8"), config["start_id"]

