"""Fits predictor/prior.bin, what a memory holds before its first block: `python -m llmzip.train.prior CORPUS PRIOR`.

CORPUS is a folder of KIND-N.txt.xz, documents ending with a zero byte. A fresh memory codes a piece of a document or
some, and each first value moves a part of the way to what it has become there: far at first, less and less with the
pieces that have moved it. Floats are rounded at the end.
"""

import hashlib
import lzma
import math
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmzip import codec
from llmzip.container import line_bits_of
from llmzip.models import Model, registry
from llmzip.predictor import Predictor, tables
from llmzip.predictor.fused import Fused
from llmzip.predictor.prior import BIAS_STEP, FIRST_APMS, PLAIN, WITH_MODEL, Mode, Prior, blank, pack, unpack
from llmzip.predictor.tables import BUCKETS, SET_ROWS
from llmzip.teams import Shape

SEED = 1
READ = 12 << 20  # bytes of each file: its documents are in no order
HELD_OUT = 16  # documents whose first byte of SHA-256 is below it are for looking only
SIZES = 2 << 10, 64 << 10  # pieces, evenly by logarithm
LOOKS = 4 << 10, 16 << 10  # sizes of pieces that are held out
PLAN = (  # mode, rounds of a piece of each kind, patience, pace
    (PLAIN, 8, 8, 1.0),
    (WITH_MODEL, 7, 8, 1.0),
    (PLAIN, 5, 120, 1.0),
    (WITH_MODEL, 4, 1000, 2.0),
    (WITH_MODEL, 8, 30, 1.0),
)
MODEL = "pocket"
FEW = 4  # pieces that the mean row of a set counts for
DOUBT = 8.0  # what speaks for no bias, as information
# what first values of cells count for at most
COUNTS = {"histories": tables.HISTORY_LIMIT, "run_cells": 255, "match_cells": 100, "model_cells": 255}


class Kind:
    """Documents of a kind, those for fitting and those held out."""

    def __init__(self, name: str, paths: list[Path]) -> None:
        self.name, self.documents, self.held_out = name, list[bytes](), list[bytes]()
        for path in paths:
            with lzma.open(path) as file:
                for document in file.read(READ).split(b"\0")[:-1]:
                    mine = self.held_out if hashlib.sha256(document).digest()[0] < HELD_OUT else self.documents
                    mine.append(document)

    def piece(self, rng: random.Random, size: int, *, held_out: bool = False) -> bytes:
        """A document, cut; or some, if the first is shorter."""
        documents = self.held_out if held_out else self.documents
        at, found = rng.randrange(len(documents)), b""
        for i in range(len(documents)):
            found += documents[(at + i) % len(documents)] + b"\n"
            if len(found) >= size:
                break
        return found[:size]


def read_kinds(folder: Path) -> list[Kind]:
    paths: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.txt.xz")):
        paths.setdefault(path.name.rsplit("-", 1)[0], []).append(path)
    return [Kind(name, each) for name, each in paths.items()]


def coded(data: bytes, prior: Prior, model: Model | None) -> tuple[Predictor, int]:
    """A memory that has written these bytes, and what they took."""
    predictor = Predictor(line_bits_of(len(data)), prior)
    if model is None:
        return predictor, len(codec.write_bytes(predictor, data, 0))
    shape = Shape(codec.choose_lanes(len(data), model.window), model.window, model.overlap)
    return predictor, len(codec.write_tokens(predictor, model, data, shape))


# ---- fitting


class Values:
    """First values of a table, rows of which move together."""

    patience = 1  # pieces after which a value moves half as far
    pace = 1.0  # how far it moves at first

    def __init__(self, first: NDArray[Any]) -> None:
        self.values = first.astype(np.float64)
        self.pieces = np.zeros(len(first), dtype=np.int64)  # that have moved each row

    def move(self, rows: NDArray[np.int64], by: NDArray[np.float64]) -> None:
        part = self.pace * self.patience / (self.patience + self.pieces[rows])
        self.values[rows] += by * (part[:, None] if by.ndim == 2 else part)
        self.pieces[rows] += 1

    def fill(self, sets: tuple[int, ...]) -> None:
        """Rows that few pieces have moved become more like the mean of their set."""
        start = 0
        for count in sets:
            rows, n = self.values[start : start + count], self.pieces[start : start + count, None]
            mean = (rows * n).sum(0) / max(1, n.sum())
            rows[:] = (rows * n + mean * FEW) / (n + FEW)
            start += count


class Cells:
    """First values of cells, and what they count for."""

    def __init__(self, first: NDArray[np.uint32], most: int) -> None:
        self.shape, self.most = first.shape, most
        self.values = Values((first.ravel() >> 10).astype(np.float64))
        self.seen = np.zeros(first.size, dtype=np.int64)

    def first(self) -> NDArray[np.uint32]:
        cells = np.rint(self.values.values).clip(16, (1 << 22) - 16).astype(np.uint32)
        counts = np.minimum(self.seen, self.most).astype(np.uint32)
        return np.asarray(cells << np.uint32(10) | counts).reshape(self.shape)

    def move(self, before: NDArray[np.uint32], after: NDArray[np.uint32]) -> None:
        before, after = before.ravel(), after.ravel()
        rows = np.flatnonzero(before != after)
        self.values.move(rows, (after[rows] >> 10).astype(np.float64) - (before[rows] >> 10))
        self.seen[rows] += np.maximum(1, (after[rows] & 1023).astype(np.int64) - (before[rows] & 1023))


class FitMode:
    """First values of all tables of a mode."""

    def __init__(self, first: Mode) -> None:
        self.weights = Values(first.weights)
        self.seconds = Values(first.seconds.reshape(-1, 16))
        self.cells = {name: Cells(getattr(first, name), most) for name, most in COUNTS.items()}

    def first(self) -> Mode:
        weights = np.rint(self.weights.values).astype(np.int32)
        seconds = np.rint(self.seconds.values).astype(np.int32).reshape(tables.SECONDS, tables.SECOND_ROWS, 16)
        return Mode(weights, seconds, **{name: cells.first() for name, cells in self.cells.items()})

    def move(self, before: Mode, after: Mode) -> None:
        for values, name in ((self.weights, "weights"), (self.seconds, "seconds")):
            old = getattr(before, name).reshape(values.values.shape)
            new = getattr(after, name).reshape(values.values.shape)
            rows = np.flatnonzero((old != new).any(axis=1))
            values.move(rows, (new[rows] - old[rows]).astype(np.float64))
        for name, cells in self.cells.items():
            cells.move(getattr(before, name), getattr(after, name))

    def be(self, patience: int, pace: float) -> None:
        """Weights learn slowly, so that a piece moves them a small part of the way.

        They may go further than it did, at a pace above 1.
        """
        self.weights.pace = self.seconds.pace = pace
        for values in (self.weights, self.seconds, *(cells.values for cells in self.cells.values())):
            values.patience = patience

    def fill(self) -> None:
        self.weights.fill(SET_ROWS)
        self.seconds.fill((tables.SECOND_ROWS,) * tables.SECONDS)


class FitApms:
    """Biases of rows, in stretches.

    Newton's way to the likeliest, a step with each piece, as far as the row has been informed.
    """

    def __init__(self, prior: Prior) -> None:
        self.biases = BIAS_STEP * prior.biases.ravel().astype(np.float64)
        self.informed = np.full(len(self.biases), DOUBT)
        self.put(prior)

    def put(self, prior: Prior) -> None:
        prior.biases = np.clip(np.rint(self.biases / BIAS_STEP), -127, 127).astype(np.int8).reshape(prior.biases.shape)
        self.first = prior.biases.ravel().astype(np.int64) + 128  # rows of FIRST_APMS

    def move(self, apms: NDArray[np.uint32]) -> None:
        """What the rows have become."""
        cells = np.flatnonzero(apms)
        after, (row, bucket) = apms[cells], np.divmod(cells, BUCKETS)
        before = FIRST_APMS[self.first[row], bucket]
        p, n = (before >> 10) / (1 << 22), (after & 1023).astype(np.float64) - tables.APM_FIRST
        errors = ((after >> 10) / (1 << 22) - p) * (n + tables.APM_FIRST + 0.5)  # the sum of bit - p
        rows = np.unique(row)
        self.informed += np.bincount(row, n * p * (1 - p), len(self.informed))
        self.biases[rows] += 256 / math.log(2) * np.bincount(row, errors)[rows] / self.informed[rows]


class Fit:
    def __init__(self) -> None:
        self.prior = blank()
        self.modes = [FitMode(mode) for mode in self.prior.modes]
        self.apms = FitApms(self.prior)

    def round(self, kinds: list[Kind], rng: random.Random, mode: int, model: Model | None) -> int:
        total = 0
        for kind in rng.sample(kinds, len(kinds)):
            low, high = SIZES
            data = kind.piece(rng, int(low * math.exp(rng.random() * math.log(high / low))))
            predictor, size = coded(data, self.prior, model)
            self._move(predictor, mode)
            total += size
        self.modes[mode].fill()
        self._put(mode)
        return total

    def _move(self, predictor: Predictor, mode: int) -> None:
        engine = predictor._engine
        assert isinstance(engine, Fused)
        self.modes[mode].move(self.prior.modes[mode], engine.modes[mode])
        self.apms.move(engine._arrays["apms"])
        self._put(mode)

    def _put(self, mode: int) -> None:
        modes = list(self.prior.modes)
        modes[mode] = self.modes[mode].first()
        self.prior.modes = tuple(modes)  # that of strong models follows when it is packed
        self.apms.put(self.prior)


def look(kinds: list[Kind], priors: list[Prior], model: Model | None) -> None:
    """Print what held-out pieces of each kind take, with each prior."""
    logs = np.zeros((len(LOOKS), len(priors)))
    for kind in kinds:
        pieces = [kind.piece(random.Random(SEED), size, held_out=True) for size in LOOKS]
        taken = np.array([[coded(piece, prior, model)[1] for prior in priors] for piece in pieces])
        print(
            f"{kind.name:16}",
            *(f"{len(piece):6}: {' '.join(map(str, row))}" for piece, row in zip(pieces, taken, strict=True)),
            flush=True,
        )
        logs += np.log(taken / taken[:, :1])
    print("mean, %", *(100 * np.expm1(logs / len(kinds))).round(2))


def main() -> None:
    folder, target = map(Path, sys.argv[1:])
    kinds, rng, fit = read_kinds(folder), random.Random(SEED), Fit()
    for mode, rounds, patience, pace in PLAN:
        model = registry.load(MODEL) if mode == WITH_MODEL else None
        fit.modes[mode].be(patience, pace)
        for i in range(rounds):
            print(f"mode {mode}, round {i + 1} of {rounds}: {fit.round(kinds, rng, mode, model)} bytes", flush=True)
    target.write_bytes(pack(fit.prior))
    for model in (None, registry.load(MODEL)):
        look(kinds, [blank(), unpack(target.read_bytes())], model)


if __name__ == "__main__":
    main()
