"""Guesses of a reader change time, never content: whatever is guessed, and however many tokens at a time."""

import random

import numpy as np
import pytest

from llmzip import codec, teams
from llmzip.guesser import Costs, Guesser
from llmzip.models.toy import ToyModel
from llmzip.predictor import Predictor
from llmzip.teams import Shape

MODEL = ToyModel()
TEXT = (b"the station and the nation are singing in the rain, and the cat is eating\n" * 4 + bytes(range(60))) * 2
KNOWN = np.concatenate([MODEL.tokenizer.encode(TEXT), np.zeros(20, np.int32)])


class Wrong(Guesser):
    """Other tokens than those that come, some that spell nothing."""

    def guess(self, lane: int, most: int, worth: float) -> list[int]:
        return [MODEL.tokenizer.n_vocab - 1] * min(most, 5)


class Right(Guesser):
    """What comes, of one lane."""

    def __init__(self, lanes: int) -> None:
        super().__init__(lanes)
        self._at = 0

    def see(self, lane: int, token: int) -> None:
        self._at += 1

    def guess(self, lane: int, most: int, worth: float) -> list[int]:
        guesses: list[int] = KNOWN[self._at : self._at + most].tolist()
        return guesses


class Any(Guesser):
    """Any number of them, each right or wrong."""

    def __init__(self, lanes: int) -> None:
        super().__init__(lanes)
        self._chance = random.Random(lanes)

    def guess(self, lane: int, most: int, worth: float) -> list[int]:
        likely = super().guess(lane, most, 0.0)
        return [each if self._chance.random() < 0.8 else 3 for each in likely[: self._chance.randrange(16)]]


def written(lanes: int, shape: Shape) -> bytes:
    return codec.write_tokens(Predictor(12), MODEL, TEXT, shape)


@pytest.mark.parametrize("guesser", [Guesser, Wrong, Right, Any])
@pytest.mark.parametrize("lanes", [1, 2, 3, teams.MAX_GUESSED])
def test_whatever_is_guessed_the_content_is_the_same(
    guesser: type[Guesser], lanes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if guesser is Right and lanes > 1:
        pytest.skip("it knows one lane")
    shape = Shape(lanes, window=48, overlap=8)
    payload = written(lanes, shape)
    rows = count_rows(monkeypatch)
    monkeypatch.setattr(teams, "Guesser", guesser)
    assert codec.read_tokens(Predictor(12), MODEL, payload, len(TEXT), shape) == TEXT
    assert max(rows) > lanes  # some were guessed
    if guesser is Right:
        assert len(rows) < len(KNOWN) / 10


@pytest.mark.parametrize("threads", [1, 2])
def test_with_many_lanes_nothing_is_guessed(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = Shape(teams.MAX_GUESSED + 1, window=48, overlap=8, threads=threads)
    payload = written(shape.lanes, shape)
    monkeypatch.setattr(teams, "Guesser", None)
    assert codec.read_tokens(Predictor(12), MODEL, payload, len(TEXT), shape) == TEXT


def count_rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each call looks at."""
    rows: list[int] = []
    open_state = MODEL.open

    def opened(lanes: int, window: int, threads: int | None = None) -> object:
        state = open_state(lanes, window, threads)
        look = state.look

        def noting(ids: np.ndarray, lanes: np.ndarray, positions: np.ndarray) -> np.ndarray:
            rows.append(len(ids))
            return look(ids, lanes, positions)

        state.look = noting  # type: ignore[method-assign]
        return state

    monkeypatch.setattr(MODEL, "open", opened)
    return rows


def test_what_repeats_is_guessed_and_what_does_not_is_left() -> None:
    guesser, chance = Guesser(1), random.Random(0)
    for token in list(range(10)) * 12:
        guesser.see(0, token)
    assert guesser.guess(0, 7, 0.5) == [0, 1, 2, 3, 4, 5, 6]
    guesser = Guesser(1)
    for _ in range(500):
        guesser.see(0, chance.randrange(8))
    assert len(guesser.guess(0, 7, 0.6)) < 2


def test_lanes_learn_from_each_other() -> None:
    guesser = Guesser(2)
    for token in list(range(10)) * 5:
        guesser.see(0, token)
    for token in range(4):
        guesser.see(1, token)
    assert guesser.guess(1, 3, 0.1) == [4, 5, 6]


def test_a_guess_is_worth_its_row() -> None:
    costs = Costs()
    for rows in (1, 2, 4, 8) * 5:
        costs.add(rows, 3.0 + rows)  # a call takes three rows' time
    assert abs(costs.worth(1) - 1 / 4) < 0.01 and abs(costs.worth(3) - 1 / 2) < 0.01
    assert 0 < Costs().worth(1) < 1
