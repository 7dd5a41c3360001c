"""A predictor that keeps account: what each byte and each token end cost, who said what, what the model expected."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from llmzip.blocks import Memory
from llmzip.predictor import Predictor, Spelling
from llmzip.predictor.recording import CONTEXTS_SAY, PARTIES
from llmzip.predictor.tables import END
from llmzip.tokens import places_of

UNIT_BITS = 24  # costs are whole numbers of 2^-24 bit, so that they can be summed without an error
BYTE = 8 << UNIT_BITS  # what a byte of a file is
N_ALTERNATIVES = 5
_LIKELIHOOD = np.exp2(np.arange(0, -(1 << 15) - 1, -1) / 256)  # by -score


@dataclass
class Tokens:
    """The tokens of a body, in the order of its bytes. Probabilities are those of the model alone."""

    starts: NDArray[np.int64]
    ids: NDArray[np.int32]
    alone: NDArray[np.float32]  # of the token that came
    likely: NDArray[np.int32]  # (n, N_ALTERNATIVES) ids of the most likely, best first; -1 where nobody has asked
    chances: NDArray[np.float32]  # and their probabilities

    @classmethod
    def joined(cls, parts: "list[Tokens]") -> "Tokens":
        starts = np.concatenate([part.starts for part in parts])
        order = np.argsort(starts, kind="stable")
        names = ("ids", "alone", "likely", "chances")
        return cls(starts[order], *(np.concatenate([getattr(part, name) for part in parts])[order] for name in names))


@dataclass
class Spent:
    """What a body cost."""

    n: int  # bytes
    costs: NDArray[np.uint32] = field(init=False)  # of the bits of each byte: 160 bits at most, as a bit costs 20
    ends: NDArray[np.uint32] = field(init=False)  # of saying whether a token ends after it
    saved: NDArray[np.float32] = field(
        init=False
    )  # (n, PARTIES) bits that each party has saved, or lost, as against tossing a coin
    chances: NDArray[np.uint32] = field(
        init=False
    )  # (n, 8) what each bit that came had of 2^24; 0 where it went without saying
    expected: NDArray[np.int16] = field(init=False)  # the byte of the longest match, or -1
    shares: NDArray[np.int64] = field(init=False)  # (PARTIES) of the costs of all bytes
    token_parts: list[Tokens] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.costs, self.ends = (np.zeros(self.n, dtype=np.uint32) for _ in range(2))
        self.saved, self.chances = np.zeros((self.n, PARTIES), dtype=np.float32), np.zeros((self.n, 8), dtype=np.uint32)
        self.expected, self.shares = np.full(self.n, -1, dtype=np.int16), np.zeros(PARTIES, dtype=np.int64)

    @property
    def total(self) -> int:
        return int(self.costs.sum(dtype=np.int64) + self.ends.sum(dtype=np.int64))

    def tokens(self) -> Tokens | None:
        return Tokens.joined(self.token_parts) if self.token_parts else None

    def take(self, records: NDArray[np.void]) -> None:
        """Decisions, each of which is told once."""
        came = records["value"] == 1
        chances = np.where(came, records["ones"], (1 << UNIT_BITS) - records["ones"])
        costs = np.rint((UNIT_BITS - np.log2(chances)) * (1 << UNIT_BITS)).astype(np.int64)
        is_end, at = records["bit"] == END, records["at"]
        np.add.at(self.costs, at[~is_end], costs[~is_end].astype(np.uint32))
        np.add.at(self.ends, at[is_end] - 1, costs[is_end].astype(np.uint32))
        np.add.at(self.saved, at - is_end, credit(costs, np.where(came[:, None], records["said"], -records["said"])))
        self.shares += shared_out(costs[~is_end], records["said"][~is_end]).sum(axis=0)
        self.chances[at[~is_end], records["bit"][~is_end]] = chances[~is_end]
        first = records["bit"] == 0
        self.expected[at[first]] = records["expected"][first]


def shared_out(costs: NDArray[np.int64], said: NDArray[np.int32]) -> NDArray[np.int64]:
    """Each cost by how loud the parties were, whichever way they spoke: (n, PARTIES), whose rows sum to it exactly."""
    loud = np.abs(said.astype(np.int64))
    loud[:, CONTEXTS_SAY] += loud.sum(axis=1) == 0
    shares: NDArray[np.int64] = costs[:, None] * loud // loud.sum(axis=1, keepdims=True)
    shares[np.arange(len(costs)), loud.argmax(axis=1)] += costs - shares.sum(axis=1)
    return shares


def credit(costs: NDArray[np.int64], toward: NDArray[np.int32]) -> NDArray[np.float64]:
    """Bits saved as against tossing a coin, by how loud each spoke for what came; bits lost, by how loud against it."""
    saved = 1 - costs / (1 << UNIT_BITS)
    loud = np.maximum(0, toward * np.where(saved < 0, -1, 1)[:, None]).astype(np.float64)
    loud[:, CONTEXTS_SAY] += loud.sum(axis=1) == 0
    found: NDArray[np.float64] = saved[:, None] * loud / loud.sum(axis=1, keepdims=True)
    return found


class Watched(Predictor):
    """`spent` is what the open body has cost so far. `detailed`: where alternatives are kept; None: everywhere."""

    def __init__(self, line_bits: int) -> None:
        super().__init__(line_bits)
        self.record()
        self.detailed: NDArray[np.bool_] | None = None

    def _open(
        self, sizes: list[int], spelling: Spelling | None, stride: int, body: bytes | None, payload: bytes | None
    ) -> None:
        super()._open(sizes, spelling, stride, body, payload)
        self.spent = Spent(sum(sizes))
        self._starts = np.cumsum([0, *sizes[:-1]])
        if spelling is not None:
            self._entries, self._places = spelling.ids, places_of(spelling.ids, len(spelling.id_lengths))

    def code_bytes(self, n: int) -> None:
        super().code_bytes(n)
        self.spent.take(self.recorded())

    def code_step(self, scores: NDArray[np.int16], ids: NDArray[np.int32], first: int = 0) -> None:
        lanes = slice(first, first + len(ids))
        at = (self._starts + self._engine.done())[lanes]
        alive = self.alive[lanes]
        super().code_step(scores, ids, first)
        self.spent.take(self.recorded())
        self.spent.token_parts.append(self._expectations(scores[alive], ids[alive], at[alive]))

    def _expectations(self, scores: NDArray[np.int16], ids: NDArray[np.int32], at: NDArray[np.int64]) -> Tokens:
        sums = _LIKELIHOOD[-scores.astype(np.int32)].sum(axis=1)
        own = scores[np.arange(len(ids)), self._places[ids]]
        likely = np.full((len(ids), N_ALTERNATIVES), -1, dtype=np.int32)
        chances = np.zeros(likely.shape, dtype=np.float32)
        asked = np.ones(len(ids), dtype=np.bool_) if self.detailed is None else self.detailed[at]
        if asked.any():
            best = _best(scores[asked])
            likely[asked, : best.shape[1]] = self._entries[best]
            found = _LIKELIHOOD[-np.take_along_axis(scores[asked], best, axis=1).astype(np.int32)]
            chances[asked, : best.shape[1]] = found / sums[asked, None]
        return Tokens(at, ids.copy(), (_LIKELIHOOD[-own.astype(np.int32)] / sums).astype(np.float32), likely, chances)


def _best(scores: NDArray[np.int16]) -> NDArray[np.int64]:
    """Places of the best of each row, the best first."""
    n = min(N_ALTERNATIVES, scores.shape[1])
    found = np.argpartition(-scores.astype(np.int32), n - 1, axis=1)[:, :n]
    order = np.argsort(-np.take_along_axis(scores, found, axis=1).astype(np.int32), axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)


class WatchedMemory(Memory):
    """The memory of a group whose predictor is a `Watched`."""

    watched: Watched | None = None
    detailed: NDArray[np.bool_] | None = None  # for the next body

    def _made(self) -> Watched:
        self.watched = Watched(self.line_bits)
        return self.watched

    def take(self, n_bytes: int) -> Predictor:
        taken = super().take(n_bytes)
        assert self.watched is not None
        self.watched.detailed = self.detailed
        return taken
