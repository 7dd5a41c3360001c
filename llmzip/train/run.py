"""A training run: prepare, step, look at held-out text, save, export.

It can be killed at any moment and goes on from where it last saved.

All state is in `OUT.work/`: ids, tokenizer, checkpoint, the curve; `OUT` is the finished model. The same seed gives the
same model on one machine, whether or not the run was interrupted: a batch depends on (seed, step) alone.
"""

import hashlib
import io
import math
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer
from torch import Tensor

from llmzip.api import compress
from llmzip.errors import LlmzipError
from llmzip.models import checkpoint, registry
from llmzip.models.convert import convert_hf
from llmzip.tokens.vocabulary import Vocabulary
from llmzip.train import tokenizer as bpe
from llmzip.train.corpus import HELD_OUT_BYTES, STDIN, Corpus, Encode, Source, Texts, append_line, is_pipe
from llmzip.train.network import Network, Shape
from llmzip.train.place import CARD, Place, keep, signed_card, write_atomically

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
INT8 = 0.25  # of the steps, the last ones: quantization-aware
START_ID = 0
SAMPLE_BYTES = 24_000_000  # for the tokenizer
SAVE_SECONDS, LOOK_SECONDS, TELL_STEPS = 120, 600, 10
LOOK_BYTES = 8192  # of each source, while training
TIMED = (5, 15)  # the steps that tell how many fit into the minutes
ROOM = 0.9  # of these minutes: the last steps are slower
ROOM_EACH = 32  # bytes on the disk for each parameter: two checkpoints with optimizers, the model in float and exact
MAX_SEED = (1 << 63) - 1
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
    force: bool = False,
    say: Say,
    progress: Say,
) -> Path:
    """Train a model on `sources` and write it to the folder `out`; goes on with a run that was interrupted.

    Returns `out`.

    `preset` or `init` (the name or path of a model to go on from) says what is trained, `tokens` or `minutes` how long.
    `rate` multiplies the learning rates; without it they are those of training from nothing, or a quarter of them with
    `init`. `force` replaces a model that is at `out`, which the cache then keeps.
    """
    _check(sources, preset, seed)
    where = _device(device)
    if threads:
        torch.set_num_threads(threads)
    base = None if init is None else Base.of(init)
    adaptation = ADAPT if base else 1.0
    with Place(out, [source.path for source in sources if not is_pipe(source.path)], force=force) as place:
        sources = _spooled(sources, place.work / "stdin")
        settings: dict[str, object] = {
            "sources": [[source.digest(), source.weight] for source in sources],
            "init": base and base.fingerprint, "preset": preset, "rate": rate or adaptation, "seed": seed,
            "tokens": tokens, "minutes": minutes,
        }  # fmt: skip
        place.begin(settings, say)
        torch.manual_seed(seed)
        network, words, corpus = _prepared(place, sources, base, PRESETS[preset], say)
        manner = Manner(seed, rate or adaptation, adapting=base is not None)
        run = Run(network.to(where), corpus, place, words, manner, say=say, progress=progress)
        run.resume(settings)
        run.to_the_end(tokens, minutes)
        run.finish()
    return out


def _check(sources: list[Source], preset: str, seed: int) -> None:
    if preset not in PRESETS:
        raise LlmzipError(f"no preset is called {preset}", hint=", ".join(PRESETS))
    if not 0 <= seed <= MAX_SEED:
        raise LlmzipError(f"the seed is not from 0 to {MAX_SEED}")
    if sum(source.path == STDIN for source in sources) > 1:
        raise LlmzipError("standard input can be read only once")


def _prepared(
    place: Place, sources: list[Source], base: "Base | None", preset: Shape, say: Say
) -> tuple[Network, "Words", Corpus]:
    """What is trained, how text becomes its ids, and the ids of the sources."""
    texts = Texts(place.work / "text", sources, say)
    network, words = base.start() if base else _from_nothing(place.work, texts, preset, say)
    n_parameters = sum(p.numel() for p in network.parameters())
    place.room_for(n_parameters * ROOM_EACH)
    corpus = words.corpus(place.work / "ids", texts, network.shape.n_vocab)
    place.end_reading()
    say(f"{corpus.n_tokens / 1e6:.1f} M tokens to train on, {n_parameters / 1e6:.2f} M parameters")
    return network, words, corpus


@dataclass(frozen=True)
class Words:
    """How the text becomes ids."""

    tokenizer_json: str
    start_id: int
    encode: Encode

    @property
    def key(self) -> str:
        return hashlib.sha256(self.tokenizer_json.encode()).hexdigest()

    def corpus(self, folder: Path, texts: Texts, n_vocab: int) -> Corpus:
        """The ids of these texts. Found again by the tokenizer alone: the work folder knows its sources."""
        return Corpus(folder, texts, self.encode, self.key, n_vocab, self.start_id)


@dataclass(frozen=True)
class Base:
    """A trained model to go on from."""

    fingerprint: str
    config: checkpoint.Config
    tensors: checkpoint.Tensors
    folder: Path

    @classmethod
    def of(cls, name: str) -> "Base":
        folder = registry.locate(name)
        config, tensors = checkpoint.read_checkpoint(folder)
        if config["qkv_bias"] or config["qk_norm"]:
            raise LlmzipError(
                f"{name} is not of the shape that training knows", hint="start from the bundled model, or from none"
            )
        return cls(config["fingerprint"], config, tensors, folder)

    def start(self) -> tuple[Network, Words]:
        """Its weights, and its words as they are coded with it: an added token or a normalizer is none of them."""
        network = Network(Shape.of_checkpoint(self.config))
        network.load(self.tensors)
        path = self.folder / checkpoint.TOKENIZER_FILE
        vocabulary = Vocabulary(self.tensors["tokens.bytes"], self.tensors["tokens.ends"], path)

        def encode(pieces: list[str]) -> list[list[int]]:
            return [vocabulary.encode(piece.encode()).tolist() for piece in pieces]

        return network, Words(path.read_text("utf-8"), self.config["start_id"], encode)


def _from_nothing(work: Path, texts: Texts, shape: Shape, say: Say) -> tuple[Network, Words]:
    """A network that has learnt nothing; a tokenizer made from a sample of the texts, or found in the work folder."""
    path = work / "tokenizer.json"
    try:
        text = path.read_bytes().decode()
        tokenizer = Tokenizer.from_str(text)
    except Exception:  # not there, or damaged: the library raises Exception itself. Made again, it is the same
        texts.read()  # here, so that its errors do not pass through the library
        say("training the tokenizer")
        text = bpe.train(texts.sample(SAMPLE_BYTES), shape.n_vocab).to_str()
        write_atomically(path, text.encode())
        tokenizer = Tokenizer.from_str(text)

    def encode(pieces: list[str]) -> list[list[int]]:
        return [each.ids for each in tokenizer.encode_batch_fast(pieces, add_special_tokens=False)]

    return Network(replace(shape, n_vocab=tokenizer.get_vocab_size())), Words(text, START_ID, encode)


def _spooled(sources: list[Source], folder: Path) -> list[Source]:
    if any(is_pipe(source.path) for source in sources):
        folder.mkdir(exist_ok=True)
    return [source.spooled(folder / str(index)) for index, source in enumerate(sources)]


@dataclass(frozen=True)
class Manner:
    """How a run trains."""

    seed: int
    rate: float  # times the learning rates
    adapting: bool  # a trained model goes on: quantization-aware from the first step


class Run:
    """The state of a run: network, optimizers, step."""

    def __init__(
        self,
        network: Network,
        corpus: Corpus,
        place: Place,
        words: Words,
        manner: Manner,
        *,
        say: Say,
        progress: Say,
    ) -> None:
        self._network, self._corpus, self._place = network, corpus, place
        self._work, self._words = place.work, words
        self._manner = manner
        self._say, self._progress = say, progress
        self._device = network.norm.device
        matrices = network.matrices()
        theirs = {id(parameter) for parameter in matrices}
        others = [parameter for parameter in network.parameters() if id(parameter) not in theirs]
        self._optimizers = [
            torch.optim.Muon(matrices, lr=MUON_RATE, weight_decay=0.05),
            torch.optim.AdamW(others, lr=ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
        ]
        self._step = self._n_steps = 0
        self._whole = True  # not in the midst of a step
        self._settings: dict[str, object] = {}
        self._loss: Callable[[Tensor], Tensor] = network.loss

    def resume(self, settings: dict[str, object]) -> None:
        """Take up the checkpoint of a run with the same settings, if there is one."""
        self._settings = settings | {"tokenizer": self._words.key}
        path = self._work / "checkpoint.pt"
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location=self._device, weights_only=True)
            if state["settings"] != self._settings:
                raise LlmzipError(f"{path} is of another run", hint=f"remove the folder {self._work.name}")
            self._network.load_state_dict(state["network"])
            for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
        except LlmzipError:
            raise
        except Exception as error:  # of many kinds, from zip files, pickles and shapes
            raise LlmzipError(
                f"{path} is damaged", hint=f"remove the folder {self._work.name}; the training begins anew"
            ) from error
        self._step, self._n_steps = state["step"], state["n_steps"]
        self._say(f"going on from step {self._step} of {self._n_steps}")

    def to_the_end(self, tokens: int | None, minutes: float | None) -> None:
        """All steps that are left. How many there are is said by `tokens`, or found out early from `minutes`."""
        if not self._n_steps and tokens:
            self._n_steps = max(1, tokens // BATCH_TOKENS)
        if (tokens or 0) >= WORTH_COMPILING[0] or (minutes or 0) >= WORTH_COMPILING[1]:
            self._loss = _compiled(self._network)
        begin = saved = looked = told = timed = time.monotonic()
        told_at = first = self._step
        try:
            while not self._n_steps or self._step < self._n_steps:
                self._whole = False
                with _undisturbed():
                    loss = self._one_step()
                    self._whole = True
                now = time.monotonic()
                if not self._n_steps:
                    if self._step - first == TIMED[0]:
                        timed = now
                    if self._step - first == TIMED[1]:
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
        except BaseException:  # interrupted, too: nothing is lost. Half a step would be another model
            if self._whole:
                self.save()
            raise
        self.save()

    def _one_step(self) -> Tensor:
        """One batch; its mean loss in nats a token."""
        part = self._step / self._n_steps if self._n_steps else 0.0
        if (self._manner.adapting or part >= 1 - INT8) and not self._network.int8:
            self._network.set_int8(True)
        warm = min(1.0, (self._step + 1) / max(10.0, WARM_UP * self._n_steps))
        rate = self._manner.rate * warm * min(1.0, (1 - part) / DECAY)
        for optimizer, base in zip(self._optimizers, (MUON_RATE, ADAM_RATE), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = base * rate
        length = LENGTH * (2 if part >= 1 - LONG else 1)
        batch = self._corpus.batch(self._manner.seed, self._step, BATCH_TOKENS // length, length)
        loss = self._loss(torch.from_numpy(batch).to(self._device))
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
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
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "step": self._step,
            "n_steps": self._n_steps,
        }
        torch.save(state, buffer)
        try:
            write_atomically(self._work / "checkpoint.pt", buffer.getvalue())
        except OSError as error:
            raise LlmzipError(
                f"cannot save to {self._work}: {error.strerror}",
                hint="what was saved before is whole; make room and give the same command to go on from it",
            ) from error

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
        text = self._words.tokenizer_json.encode()
        try:
            self._network.export(self._work / "float", text, start_id=self._words.start_id, digits=1)
            convert_hf(self._work / "float", folder, name=self._place.name, license="yours", source="llmzip train")
        except (OSError, SafetensorError) as error:
            raise LlmzipError(
                f"cannot write to {self._work}: {getattr(error, 'strerror', None) or error}",
                hint="the checkpoint is whole; make room and give the same command to go on from it",
            ) from error

    def finish(self) -> None:
        """Export, measure on all held-out text, write the model card, put the model into place and into the cache."""
        rows = self.look(HELD_OUT_BYTES)
        staged = self._work / "model"
        self._export(staged)
        config = checkpoint.read_config(staged)
        (staged / CARD).write_text(signed_card(self._card(self._place.name, config, rows)), "utf-8")
        self._place.publish(staged)
        write_atomically(self._work / "finished", config["fingerprint"].encode())
        if not keep(self._place.out):
            self._say("warning: the cache cannot hold the model; files written with it need its folder")

    def _card(self, name: str, config: checkpoint.Config, rows: list[tuple[str, int, int]]) -> str:
        tokens = self._step * BATCH_TOKENS
        lines = [
            f"# {name}",
            "",
            f"A model for llmzip, made by `llmzip train`. {config['parameters']:,} parameters, "
            f"{config['n_vocab']} tokens in the vocabulary,",
            f"{config['n_layers']} layers of width {config['width']}, "
            f"a sliding window of {config['sliding_window']} tokens, one int8 digit per activation.",
            f"Fingerprint `{config['fingerprint']}`. Tokens seen: {tokens:,}. Seed {self._manner.seed}.",
            "",
            "| source | weight | held-out bytes | compressed | bits/byte |",
            "|---|---|---|---|---|",
        ]
        for source, (kind, n_bytes, packed) in zip(self._corpus.sources, rows, strict=True):
            lines.append(f"| {kind} | {source.weight:g} | {n_bytes} | {packed} | {8 * packed / n_bytes:.3f} |")
        return "\n".join(lines) + "\n"


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Signals that come within take effect at its end: half a step cannot be saved."""
    came: list[int] = []
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if callable(signal.getsignal(number)):
                before[number] = signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for first in came[:1]:
        signal.raise_signal(first)


def _compiled(network: Network) -> Callable[[Tensor], Tensor]:
    """torch.compile fuses the many small operations; on a CPU it needs a C++ compiler."""
    if network.norm.device.type == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
        return network.loss
    compiled: Callable[[Tensor], Tensor] = torch.compile(network.loss)
    return compiled


def _device(name: str | None) -> torch.device:
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # unknown, not built in, "meta"
        raise LlmzipError(f"cannot train on the device {name}", hint="cpu, or cuda where torch has it") from error
    return device
