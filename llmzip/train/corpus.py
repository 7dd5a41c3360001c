"""Training text: sources, their documents, what is held out, and the ids on disk.

A source is a file, a folder or a pipe with a weight. A NUL byte ends a document, and so does the end of a file. The
text of each source is first written to the work folder, so that it is read once, and memory does not depend on how much
of it there is. Knows nothing of networks.
"""

import hashlib
import json
import mmap
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmzip.errors import LlmzipError
from llmzip.train import texts

STDIN = Path("-")
PASSAGE = 1 << 14  # bytes of text that are held out or not, where a source has few documents
FEW_DOCUMENTS = 50
HELD_OUT_ONE_IN = 100
HELD_OUT_BYTES = 1 << 16  # of each source, at most
PIECE = 1 << 16  # bytes that the tokenizer library takes at once
BATCH = 1 << 21  # bytes that are tokenized side by side: the library takes some 70 times as much
MANY_WARNINGS = 10  # of one source

Say = Callable[[str], None]
Encode = Callable[[list[str]], list[list[int]]]


@dataclass(frozen=True)
class Source:
    """One part of the mixture: its share of the training tokens is weight / sum of weights."""

    path: Path
    weight: float  # 0 for a pipe: its size, once it has been read
    name: str = ""  # what it is called in the model card

    @classmethod
    def parse(cls, argument: str) -> "Source":
        """PATH or PATH=WEIGHT, "-" for standard input; without a weight, a source counts by its size on disk in MB."""
        text, equals, number = argument.rpartition("=")
        path = Path(text if equals else argument)
        if not equals or Path(argument).exists():
            path, number = Path(argument), ""
        if path != STDIN and not path.exists():
            raise LlmzipError(f"there is no training text at {path}")
        try:
            weight = float(number) if number else _megabytes(path)
        except ValueError as error:
            raise LlmzipError(f"{argument}: {number!r} is not a weight", hint="PATH=NUMBER") from error
        if not 0 < weight < float("inf") and not (is_pipe(path) and not number):
            raise LlmzipError(f"{path} holds no text, or its weight is not above zero")
        return cls(path, weight)

    def spooled(self, target: Path) -> "Source":
        """A pipe, read to its end into `target`; others as they are. Gives it its name."""
        if not is_pipe(self.path):
            name = os.fsencode(self.path.resolve().name.split(".")[0]).decode("utf-8", "replace")
            return replace(self, name=name)
        with target.open("wb") as file:
            if self.path == STDIN:
                shutil.copyfileobj(sys.stdin.buffer, file, texts.CHUNK)
            else:
                with self.path.open("rb") as pipe:
                    shutil.copyfileobj(pipe, file, texts.CHUNK)
        if not target.stat().st_size:
            raise LlmzipError(f"{self.path} holds no text")
        return replace(self, path=target, name="stdin", weight=self.weight or _megabytes(target))

    def digest(self) -> str:
        """The SHA-256 of the bytes of its files, in hexadecimal: what it is, wherever it lies."""
        whole = hashlib.sha256()
        for file in texts.files(self.path, lambda text: None):
            try:
                with file.open("rb") as stream:
                    whole.update(hashlib.file_digest(stream, "sha256").digest())
            except OSError:  # a file that cannot be read: named when the texts are read
                whole.update(b"-")
        return whole.hexdigest()


def is_pipe(path: Path) -> bool:
    return path == STDIN or not (path.is_file() or path.is_dir())


def _megabytes(path: Path) -> float:
    return 0.0 if is_pipe(path) else sum(file.stat().st_size for file in texts.files(path, lambda text: None)) / 1e6


class Text:
    """The text of one source, mapped from a file in which a NUL ends each document."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._view = memoryview(self._bytes)
        self._few = sum(1 for _ in islice(self._documents(), FEW_DOCUMENTS)) < FEW_DOCUMENTS
        self._passage = PASSAGE if len(self._bytes) > 2 * PASSAGE else max(1, len(self._bytes) // 2)
        self._choose()

    def __iter__(self) -> Iterator[tuple[memoryview, bool]]:
        """(part, whether it is held out) in order. Parts are documents, or passages where there are few of them.

        Held out by hash, so that a document is on the same side in every run; one is always held out. Where that leaves
        next to nothing (one document again and again), only the first of them is.
        """
        first = True
        for part, value in self._hashed():
            held_out = value < self._limit and (first or not self.repeats)
            first = first and not held_out
            yield part, held_out

    def _choose(self) -> None:
        self._limit = max((1 << 64) // HELD_OUT_ONE_IN, min(value for _, value in self._hashed()) + 1)
        held_out = sum(len(part) for part, value in self._hashed() if value < self._limit)
        self.repeats = 2 * held_out > len(self._bytes)

    def _hashed(self) -> Iterator[tuple[memoryview, int]]:
        for document in self._documents():
            for part in self._passages(document) if self._few else [document]:
                yield part, int.from_bytes(hashlib.sha256(part).digest()[:8], "big")

    def _documents(self) -> Iterator[memoryview]:
        start = 0
        while (end := self._bytes.find(b"\0", start)) >= 0:
            yield self._view[start:end]
            start = end + 1

    def _passages(self, document: memoryview) -> Iterator[memoryview]:
        """Cut at the ends of lines, if they are near."""
        start, size = 0, self._passage
        while start < len(document):
            line = bytes(document[start + size : start + 2 * size]).find(b"\n") + 1
            end = start + size + line if line else whole_character(document, start + size)
            end = end if end > start else start + size  # in a text of a few bytes
            yield document[start:end]
            start = end


def whole_character(text: memoryview, at: int) -> int:
    """The last place up to `at` where a character of UTF-8 ends; the end of the text beyond it."""
    if at >= len(text):
        return len(text)
    back = next((n for n in range(4) if at >= n and text[at - n] & 0xC0 != 0x80), 0)
    return at - back


def write_text(source: Source, target: Path, say: Say) -> None:
    """The text of a source, documents ended by NULs. What is left out is said."""
    n_warnings, ended = 0, True

    def warn(text: str) -> None:
        nonlocal n_warnings
        n_warnings += 1
        if n_warnings <= MANY_WARNINGS:
            say(f"warning: {text}")

    with target.open("wb") as out:
        for file in texts.files(source.path, warn):
            for piece in texts.read(file, warn):
                piece = re.sub(rb"\0+", b"\0", piece).removeprefix(b"\0" if ended else b"")
                if piece:
                    out.write(piece)
                    ended = piece.endswith(b"\0")
            out.write(b"" if ended else b"\0")
            ended = True
    if n_warnings > MANY_WARNINGS:
        say(f"warning: and {n_warnings - MANY_WARNINGS} more of that kind in {source.path}")
    if not target.stat().st_size:
        raise LlmzipError(f"{source.path} holds no text")


class Texts:
    """The texts of all sources; made when they are first asked for, and gone when they are no longer needed."""

    def __init__(self, folder: Path, sources: list[Source], say: Say) -> None:
        self._folder, self.sources, self._say = folder, sources, say
        self._made: list[Text] | None = None

    def read(self) -> list[tuple[Source, Text]]:
        if self._made is None:
            self._folder.mkdir(exist_ok=True)
            self._made = [self._make(i, source) for i, source in enumerate(self.sources)]
        return list(zip(self.sources, self._made, strict=True))

    def _make(self, index: int, source: Source) -> Text:
        self._say(f"reading {source.path}")
        path = self._folder / str(index)
        write_text(source, path, self._say)
        text = Text(path)
        if text.repeats:
            self._say(f"warning: {source.path} is one text again and again; what is measured on it says little")
        return text

    def forget(self) -> None:
        self._made = None
        if self._folder.exists():
            shutil.rmtree(self._folder)

    def sample(self, total: int) -> Iterator[str]:
        """About `total` bytes of text to train on, drawn from the sources by weight: every n-th part."""
        whole = sum(source.weight for source in self.sources)
        for source, text in self.read():
            wanted = total * source.weight / whole
            n_bytes = sum(len(part) for part, held_out in text if not held_out)
            every = max(1, round(n_bytes / wanted))
            got = 0
            for part in islice((part for part, held_out in text if not held_out), 0, None, every):
                yield str(part[: whole_character(part, PIECE)], "utf-8", "ignore")
                got += min(len(part), PIECE)
                if got >= wanted:
                    break


class Corpus:
    """The ids of every source, mapped from disk, and what is held out of it.

    Made once in `folder` and found again there as long as `key` and the files stay the same.
    """

    def __init__(self, folder: Path, texts: Texts, encode: Encode, key: str, n_vocab: int, start_id: int) -> None:
        self._folder, self.sources = folder, texts.sources
        self._type = np.uint16 if n_vocab <= 1 << 16 else np.uint32
        self._n_vocab, self._start_id = n_vocab, start_id
        if not self._is_whole(key):
            (folder / "held-out").mkdir(parents=True, exist_ok=True)
            (folder / "done").unlink(missing_ok=True)
            for index, (_, text) in enumerate(texts.read()):
                self._write(index, text, encode)
            (folder / "done").write_text(json.dumps([key, self._digests()]), "utf-8")
        texts.forget()
        self._ids = []
        for index, source in enumerate(self.sources):
            path = folder / f"{index}.ids"
            if path.stat().st_size < 2 * np.dtype(self._type).itemsize or not self._held_out(index).stat().st_size:
                raise LlmzipError(f"{source.path} holds too little text to train on and to hold some out")
            self._ids.append(np.memmap(path, self._type, "r"))
        self._shares = np.array([source.weight for source in self.sources]) / sum(s.weight for s in self.sources)

    @property
    def n_tokens(self) -> int:
        return sum(len(ids) for ids in self._ids)

    def held_out(self, limit: int = HELD_OUT_BYTES) -> list[tuple[Source, bytes]]:
        """The first `limit` bytes that are held out of each source."""
        return [(source, self._held_out(i).read_bytes()[:limit]) for i, source in enumerate(self.sources)]

    def batch(self, seed: int, step: int, rows: int, length: int) -> NDArray[np.int64]:
        """Ids (rows, length + 1) of a step: the start id, then a stretch from anywhere.

        Depends on (seed, step) alone, so a resumed run goes on exactly.
        """
        rng = np.random.default_rng((seed, step))
        out = np.full((rows, length + 1), self._start_id, np.int64)
        for row, chosen in enumerate(rng.choice(len(self._ids), size=rows, p=self._shares)):
            ids = self._ids[chosen]
            at = int(rng.integers(max(1, len(ids) - length + 1)))
            stretch = np.resize(ids[at : at + length], length) if len(ids) < length else ids[at : at + length]
            out[row, 1:] = stretch
        return out

    def _held_out(self, index: int) -> Path:
        """A plain file, for other compressors to be measured on."""
        name = re.sub(r"[^\w.-]", "_", self.sources[index].name, flags=re.ASCII)[:60]
        return self._folder / "held-out" / f"{index:02}-{name}.txt"

    def _digests(self) -> list[str]:
        found = []
        for index in range(len(self.sources)):
            for path in (self._folder / f"{index}.ids", self._held_out(index)):
                with path.open("rb") as file:
                    found.append(hashlib.file_digest(file, "sha256").hexdigest())
        return found

    def _is_whole(self, key: str) -> bool:
        try:
            return bool(json.loads((self._folder / "done").read_bytes()) == [key, self._digests()])
        except (OSError, ValueError):
            return False

    def _write(self, index: int, text: Text, encode: Encode) -> None:
        n_held_out = 0
        with self._held_out(index).open("wb") as held, (self._folder / f"{index}.ids").open("wb") as file:
            for part, held_out in text:
                if held_out and n_held_out < HELD_OUT_BYTES:
                    taken = bytes(part[: HELD_OUT_BYTES - n_held_out])
                    n_held_out += held.write(taken + b"\n" if n_held_out + len(taken) < HELD_OUT_BYTES else taken)
            for ids in encode_documents(encode, (part for part, held_out in text if not held_out), self._start_id):
                ids[ids < self._n_vocab].astype(self._type).tofile(file)


def encode_documents(encode: Encode, found: Iterator[memoryview], end: int) -> Iterator[NDArray[np.int64]]:
    """The ids of the documents, `end` after each of them.

    Of so many bytes at a time, whatever the size of a document.
    """
    pieces: list[str] = []
    last: list[bool] = []
    waiting = 0
    for document in found:
        cuts = [0]
        while cuts[-1] < len(document):
            cuts.append(whole_character(document, cuts[-1] + PIECE))
        for start, stop in pairwise(cuts):
            pieces.append(str(document[start:stop], "utf-8", "ignore"))
            last.append(stop == len(document))
            waiting += stop - start
            if waiting >= BATCH:
                yield _joined(encode(pieces), last, end)
                pieces, last, waiting = [], [], 0
    if pieces:
        yield _joined(encode(pieces), last, end)


def _joined(encoded: list[list[int]], last: list[bool], end: int) -> NDArray[np.int64]:
    return np.array([i for ids, ends in zip(encoded, last, strict=True) for i in (*ids, *[end] * ends)], np.int64)


def append_line(path: Path, record: dict[str, object]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
