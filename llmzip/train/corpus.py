"""Training text: sources, their documents, what is held out, and the ids on disk.

A source is a file or a folder with a weight. Files may be packed with xz, gzip or bzip2; a NUL byte ends a document. Knows nothing of networks.
"""

import bz2
import gzip
import hashlib
import json
import lzma
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from llmzip.errors import LlmzipError

OPENERS: dict[str, Callable[..., Any]] = {".xz": lzma.open, ".gz": gzip.open, ".bz2": bz2.open}
PASSAGE = 1 << 14  # bytes of text that are held out or not, where a source has few documents
FEW_DOCUMENTS = 50
HELD_OUT_ONE_IN = 100
HELD_OUT_BYTES = 1 << 16  # of each source, at most
PIECE = 1 << 16  # characters that the tokenizer library takes at once


@dataclass(frozen=True)
class Source:
    """One part of the mixture: its share of the training tokens is weight / sum of weights."""

    path: Path
    weight: float

    @property
    def name(self) -> str:
        return self.path.name.split(".")[0]

    @classmethod
    def parse(cls, argument: str) -> "Source":
        """PATH or PATH=WEIGHT; without a weight, a source counts by its size on disk in MB."""
        text, equals, number = argument.rpartition("=")
        path = Path(text if equals else argument)
        if not equals or Path(argument).exists():
            path, number = Path(argument), ""
        if not path.exists():
            raise LlmzipError(f"there is no training text at {path}")
        try:
            weight = float(number) if number else sum(file.stat().st_size for file in files(path)) / 1e6
        except ValueError as error:
            raise LlmzipError(f"{argument}: {number!r} is not a weight", hint="PATH=NUMBER") from error
        if not 0 < weight < float("inf"):
            raise LlmzipError(f"{path} holds no text, or its weight is not above zero")
        return cls(path, weight)


def files(path: Path) -> list[Path]:
    """The files of a source, in an order that does not depend on the file system."""
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def documents(path: Path) -> list[bytes]:
    """The documents of a source, in order."""
    found: list[bytes] = []
    for file in files(path):
        with OPENERS.get(file.suffix, open)(file, "rb") as stream:
            found += [document for document in stream.read().split(b"\0") if document]
    if len(found) >= FEW_DOCUMENTS:
        return found
    return [passage for document in found for passage in _passages(document)]


def _passages(document: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(document):
        end = document.find(b"\n", start + PASSAGE) + 1 or len(document)
        yield document[start:end]
        start = end


def split(found: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """(to train on, held out): by hash, so that a document is on the same side in every run. One is always held out."""
    hashes = [int.from_bytes(hashlib.sha256(document).digest()[:8], "big") for document in found]
    limit = max((1 << 64) // HELD_OUT_ONE_IN, min(hashes, default=0) + 1)
    train = [document for document, value in zip(found, hashes, strict=True) if value >= limit]
    held_out = [document for document, value in zip(found, hashes, strict=True) if value < limit]
    return train, held_out


class Corpus:
    """The ids of every source, mapped from disk, and what is held out of it.

    Made once in `folder` and found again there as long as sources and tokenizer stay the same.
    """

    def __init__(self, folder: Path, sources: list[Source], tokenizer: Tokenizer, start_id: int, say: Callable[[str], None]) -> None:
        self._folder, self.sources = folder, sources
        key = hashlib.sha256(tokenizer.to_str().encode())
        for source in sources:
            key.update(f"{source.path.resolve()} {sum(file.stat().st_size for file in files(source.path))}\n".encode())
        done = folder / "done"
        if not (done.exists() and done.read_text() == key.hexdigest()):
            folder.mkdir(parents=True, exist_ok=True)
            done.unlink(missing_ok=True)
            for index, source in enumerate(sources):
                say(f"reading {source.path}")
                self._write(index, source, tokenizer, start_id)
            done.write_text(key.hexdigest())
        self._ids = [np.fromfile(folder / f"{i}.ids", np.uint16) for i in range(len(sources))]
        self._shares = np.array([source.weight for source in sources]) / sum(source.weight for source in sources)
        for source, ids in zip(sources, self._ids, strict=True):
            if len(ids) < 2:
                raise LlmzipError(f"{source.path} holds too little text to train on and to hold some out")
        self._start_id = start_id

    @property
    def n_tokens(self) -> int:
        return sum(len(ids) for ids in self._ids)

    def held_out(self, limit: int = HELD_OUT_BYTES) -> list[tuple[Source, bytes]]:
        """The first `limit` bytes that are held out of each source."""
        return [
            (source, self._held_out(i).read_bytes()[:limit]) for i, source in enumerate(self.sources)
        ]

    def batch(self, seed: int, step: int, rows: int, length: int) -> NDArray[np.int64]:
        """Ids (rows, length + 1) of a step: the start id, then a stretch from anywhere. Depends on (seed, step) alone, so a resumed run goes on
        exactly."""
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
        return self._folder / "held-out" / f"{index:02}-{self.sources[index].name}.txt"

    def _write(self, index: int, source: Source, tokenizer: Tokenizer, start_id: int) -> None:
        train, held_out = split(documents(source.path))
        self._held_out(index).parent.mkdir(exist_ok=True)
        self._held_out(index).write_bytes(b"\n".join(held_out)[:HELD_OUT_BYTES])
        with (self._folder / f"{index}.ids").open("wb") as file:
            for ids in encode_documents(tokenizer, train):
                np.array([*ids, start_id], np.uint16).tofile(file)


def encode_documents(tokenizer: Tokenizer, found: list[bytes]) -> Iterator[list[int]]:
    """The ids of each document. Invalid UTF-8 is left out: it is coded bytewise and teaches nothing."""
    for at in range(0, len(found), 256):
        pieces: list[str] = []
        owners: list[int] = []
        for owner, document in enumerate(found[at : at + 256]):
            text = document.decode("utf-8", "ignore")
            cut = [text[i : i + PIECE] for i in range(0, len(text), PIECE)]
            pieces += cut
            owners += [owner] * len(cut)
        joined: list[list[int]] = [[] for _ in found[at : at + 256]]
        for owner, encoding in zip(owners, tokenizer.encode_batch_fast(pieces, add_special_tokens=False), strict=True):
            joined[owner] += encoding.ids
        yield from joined


def sample(sources: list[Source], total: int) -> Iterator[str]:
    """About `total` bytes of text to train, drawn from the sources by weight: every n-th document."""
    whole = sum(source.weight for source in sources)
    for source in sources:
        train, _ = split(documents(source.path))
        wanted = total * source.weight / whole
        every = max(1, round(sum(map(len, train)) / wanted))
        got = 0
        for document in train[::every]:
            yield document[:PIECE].decode("utf-8", "ignore")
            got += min(len(document), PIECE)
            if got >= wanted:
                break


def write_atomically(path: Path, data: bytes) -> None:
    """Whole or not at all, whatever happens to the process or the machine."""
    staging = path.with_name(f".{path.name}.new")
    with staging.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(staging, path)


def append_line(path: Path, record: dict[str, object]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")
