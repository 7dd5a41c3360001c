"""How content is coded is said in one place, whichever way it is said."""

import dataclasses
import inspect
import typing
from pathlib import Path
from typing import Any

import pytest

import llmzip
from llmzip import blocks
from llmzip.coding import Coding, CodingError, Options
from llmzip.errors import ModelNotFound
from llmzip.models import Engine, known, source
from llmzip.models.source import ModelSource
from llmzip.models.toy import ToyModel
from llmzip.stream import LmzCompressor

TEXT = b"It is a truth universally acknowledged, that a single man in possession of a good fortune. " * 40


def test_options_are_the_fields_of_a_coding() -> None:
    assert [field.name for field in dataclasses.fields(Coding)] == list(Options.__annotations__)
    fields, options = typing.get_type_hints(Coding), typing.get_type_hints(Options)
    assert {name: kind | None for name, kind in fields.items()} == options


@pytest.mark.parametrize("function", [llmzip.compress, llmzip.open, llmzip.LmzFile, LmzCompressor])
def test_public_functions_take_level_engine_and_options(function: typing.Any) -> None:
    parameters = inspect.signature(function).parameters
    assert {"level", "engine", "options"} <= parameters.keys()
    assert parameters["options"].kind is inspect.Parameter.VAR_KEYWORD


def test_an_option_that_is_none_is_not_given() -> None:
    coding = Coding(lanes=3, block_size=100)
    assert coding.but(lanes=None, window=None) == coding
    assert coding.but(lanes=5).block_size == 100


def test_an_unknown_option_is_a_type_error() -> None:
    unknowns: list[Any] = [{"lane": 3}, {"lane": None}]
    for unknown in unknowns:
        with pytest.raises(TypeError, match="unexpected argument 'lane'"):
            llmzip.compress(TEXT, ToyModel(), **unknown)


def codings(monkeypatch: pytest.MonkeyPatch) -> list[Coding]:
    """What blocks are coded by, from here on."""
    seen: list[Coding] = []
    compress = blocks.compress

    def noting(model, data, is_text, memory, coding, **rest):  # type: ignore[no-untyped-def]
        seen.append(coding)
        return compress(model, data, is_text, memory, coding, **rest)

    monkeypatch.setattr(blocks, "compress", noting)
    return seen


@pytest.mark.parametrize("level", known.LEVELS)
def test_a_level_comes_to_the_coder(level: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = codings(monkeypatch)
    once = llmzip.compress(TEXT, ToyModel(), level=level, lanes=2)
    with llmzip.open(tmp_path / "a.lmz", "wb", model=ToyModel(), level=level, lanes=2) as file:
        file.write(TEXT)
    compressor = LmzCompressor(ToyModel(), coding=known.LEVELS[level].coding, lanes=2)
    assert compressor.compress(TEXT) + compressor.flush() == once == (tmp_path / "a.lmz").read_bytes()
    assert seen == [dataclasses.replace(known.LEVELS[level].coding, lanes=2)] * 3


def test_no_level_is_the_default_level(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = codings(monkeypatch)
    assert llmzip.compress(TEXT, ToyModel()) == llmzip.compress(TEXT, ToyModel(), level=known.DEFAULT_LEVEL)
    assert seen[0] == seen[1]


def test_a_level_chooses_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    from llmzip.models import registry

    asked: list[object] = []

    def load(name: str | None, **rest: object) -> ToyModel:
        asked.append((name, rest["engine"]))
        return ToyModel()

    monkeypatch.setattr(registry, "load", load)
    for level in (None, 1, 9):
        llmzip.compress(TEXT, level=level)
    llmzip.compress(TEXT, "other", level=9, engine="transformers")
    exact = Engine.exact
    assert asked == [(None, exact), ("pocket", exact), ("smollm2-135m", exact), ("other", Engine.transformers)]


@pytest.mark.parametrize("level", [0, 10, -1])
def test_other_levels_are_refused(level: int) -> None:
    with pytest.raises(ValueError, match=f"level must be 1 to 9, not {level}"):
        llmzip.compress(TEXT, ToyModel(), level=level)


def test_engines() -> None:
    with pytest.raises(ValueError, match="'fast' is not a valid Engine"):
        llmzip.compress(TEXT, engine="fast")
    with pytest.raises(ModelNotFound, match="the engine transformers needs a model"):
        llmzip.compress(TEXT, engine="transformers")


def test_what_does_not_fit_the_model_is_an_error_of_its_own() -> None:
    for options in ({"window": 7}, {"lanes": 1025}, {"window": 64, "overlap": 33}):
        with pytest.raises(CodingError):
            llmzip.compress(TEXT, ToyModel(), **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="block_size must be") as caught:
        llmzip.compress(TEXT, ToyModel(), block_size=0)
    assert not isinstance(caught.value, CodingError)


def test_threads_of_a_source_are_those_of_its_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compressor that is given a source takes its threads; `llmzip compress -T 1` codes one group at a time."""
    monkeypatch.setattr(source.ModelSource, "n_threads", 3)
    assert LmzCompressor(ModelSource(ToyModel()), group_size=1000).batch_size == 3000
