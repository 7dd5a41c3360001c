"""llmzip.train.prior: first values fitted on a corpus, and kept in a file."""

import lzma
import random
from pathlib import Path

import numpy as np
import pytest

from llmzip import native
from llmzip.predictor.prior import _LEAST_BIAS as LEAST_BIAS
from llmzip.predictor.prior import _STEP as STEP
from llmzip.predictor.prior import PLAIN, WITH_MODEL, blank, pack, unpack
from llmzip.train import prior

pytestmark = pytest.mark.skipif(native.library is None, reason="no compiled kernels: fitting reads their tables")


@pytest.fixture
def kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[prior.Kind]:
    """Two kinds, of documents that are cut between zeros; a sixteenth of them are held out."""
    rng = random.Random(1)
    for kind in ("logs", "names"):
        words = ["".join(rng.choices("aeinrst", k=5)) for _ in range(40)]
        documents = [f"{kind} " + " ".join(rng.choices(words, k=60)) for _ in range(64)]
        for part in range(2):
            text = "".join(document + "\0" for document in documents[part::2]).encode()
            (tmp_path / f"{kind}-{part}.txt.xz").write_bytes(lzma.compress(text))
    monkeypatch.setattr(prior, "SIZES", (500, 1000))
    return prior.read_kinds(tmp_path)


def fitted(kinds: list[prior.Kind], rounds: int) -> prior.Fit:
    fit, rng = prior.Fit(), random.Random(2)
    for _ in range(rounds):
        fit.round(kinds, rng, PLAIN, None)
    return fit


def test_documents_are_fitted_on_or_held_out(kinds: list[prior.Kind]) -> None:
    assert [kind.name for kind in kinds] == ["logs", "names"]
    for kind in kinds:
        assert len(kind.documents) + len(kind.held_out) == 64 and kind.held_out
        assert not set(kind.documents) & set(kind.held_out)
        piece = kind.piece(random.Random(0), 3000)
        assert len(piece) == 3000 and piece.startswith(kind.name.encode())


def test_fitting_pays_on_what_is_held_out_and_is_the_same_each_time(kinds: list[prior.Kind]) -> None:
    fit = fitted(kinds, 3)
    packed = pack(fit.prior)
    assert packed == pack(fitted(kinds, 3).prior)
    for kind in kinds:
        piece = kind.piece(random.Random(0), 400, held_out=True)
        before, after = (prior.coded(piece, each, None)[1] for each in (blank(), unpack(packed)))
        assert after < 0.97 * before


def test_a_mode_is_fitted_alone(kinds: list[prior.Kind]) -> None:
    modes, first = fitted(kinds, 1).prior.modes, blank().modes
    assert not np.array_equal(modes[PLAIN].weights, first[PLAIN].weights)
    assert np.array_equal(modes[WITH_MODEL].weights, first[WITH_MODEL].weights)


def test_what_is_kept_is_near_what_was_fitted(kinds: list[prior.Kind]) -> None:
    made = fitted(kinds, 1).prior
    kept = unpack(pack(made))
    for before, after in zip(made.modes, kept.modes, strict=False):
        assert np.abs(after.weights - before.weights).max() <= STEP // 2 + 16
        assert np.abs(after.seconds - before.seconds).max() <= STEP // 2 + 16
        assert np.array_equal(after.histories & 1023 > 0, before.histories & 1023 > 0)  # what counts for something
    assert np.abs(kept.biases.astype(int) - made.biases).max() < LEAST_BIAS
