"""A little of the campaigns that are run by hand, so that neither they nor what they hold llmzip to goes stale."""

import collections

import bzip2s
import deflates
import mutations
import pytest
import round_trips

from llmzip import primitives
from llmzip.models.toy import ToyModel


@pytest.mark.long
def test_round_trips_of_compositions() -> None:
    model, kinds = ToyModel(), collections.Counter[str]()
    wrong = {seed: found for seed in range(80) if (found := round_trips.run(seed, 700, model, kinds))}
    assert not wrong
    assert set(kinds) >= {"stored", "cm", "model"}  # else they tried little


@pytest.mark.long
def test_mutations_give_what_was_compressed_or_an_error() -> None:
    known = mutations.bases()
    contents = mutations.originals(known)
    reads = [read for seed in range(120) for read in mutations.run(seed, known, contents)]
    assert {read.outcome for read in reads} >= {
        "decompress: FormatError",
        "decompress: content",
        "seek: content",
        "salvage: content",
    }


def test_the_campaign_finds_a_block_that_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only salvage may leave one out."""
    known = [built for built in mutations.bases() if len(built[1]) > 1]
    contents = mutations.originals(known)
    first = contents[known[0][1][0].content_check]
    monkeypatch.setattr(mutations, "WAYS", (lambda data: first, *mutations.WAYS[1:]))
    with pytest.raises(AssertionError, match="decompress: other bytes"):
        list(mutations.run(0, known, contents))
    assert primitives.content_check(first) in contents


def test_streams_are_opened_and_closed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["deflates.py", "--runs", "40", "--size", "20000"])
    assert deflates.main() == 0
    assert " exact\n" in capsys.readouterr().out


def test_bzip2_streams_are_made_again(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["bzip2s.py", "--runs", "40", "--size", "20000"])
    assert bzip2s.main() == 0
    assert " exact\n" in capsys.readouterr().out
