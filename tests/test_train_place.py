"""Where training may write, and where not.

Everything is refused before any work, and nothing of a user's is touched.
"""

import os
import signal
from pathlib import Path

import pytest
from test_train import BATCH_TOKENS, corpus, log_lines, own_cache, train_tiny, trained  # noqa: F401

from llmzip import compress, decompress
from llmzip.errors import LlmzipError
from llmzip.models import known, registry
from llmzip.train import run
from llmzip.train.corpus import Source
from llmzip.train.place import MODEL_FILES, RECORD, Place, foreign_in_model, signed_card


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every name below a folder and what it holds; None for a folder."""
    return {str(p.relative_to(folder)): None if p.is_dir() else p.read_bytes() for p in sorted(folder.rglob("*"))}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """home/project with a user's files, and the working directory in it."""
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "cache"))
    here = tmp_path / "home" / "project"
    for name, content in (
        ("thesis.tex", "thesis"),
        ("sub/data.csv", "1,2"),
        ("logs/a.log", "line\n" * 900),
        ("../at_home", "x"),
    ):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(content)
    monkeypatch.chdir(here)
    return here


def refused(out: str, match: str, *, corpora: tuple[str, ...] = ("logs",), force: bool = True) -> None:
    """Before any work, and even with -f."""
    with pytest.raises(LlmzipError, match=match):
        train_tiny_on(corpora, out, force=force)


def train_tiny_on(corpora: tuple[str, ...], out: str, **options: object) -> Path:
    run.PRESETS["tiny"] = run.PRESETS["pocket-small"]
    return run.train(
        [Source.parse(name) for name in corpora], Path(out), preset="tiny", tokens=BATCH_TOKENS, threads=1,
        say=lambda text: None, progress=lambda text: None, **options,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize(
    "out",
            ["..", ".", "/", "", "sub/..", "../..", "../project/", "../../home/project", "./sub/../../project", "sub",
            "./sub/../sub",
            "thesis.tex", "thesis.tex/", "logs", "logs/", "logs/model", "logs/a.log", "logs/a.log/model", "link",
            "link/new/..", "dangling/../sub"]
)  # fmt: skip
def test_a_user_s_files_are_never_in_the_way(project: Path, out: str) -> None:
    os.symlink("sub", project / "link")
    before = snapshot(project.parent)
    refused(out, "exists|stand in|lies in|leads nowhere")
    assert snapshot(project.parent) == before


@pytest.mark.parametrize(
    "name",
    ["ids", "text", "float", "exact", "replaced", "checkpoint.pt", "tokenizer.json", "held-out.jsonl", "stdin", "lock"],
)
def test_names_of_the_work_folder_are_names_like_others(project: Path, name: str) -> None:
    with Place(project / name, [project / "logs"], force=False) as place:
        assert place.work == project / f"{name}.work" and place.out == project / name


@pytest.mark.parametrize("kind", ["folder", "file", "link", "foreign record", "cut record"])
def test_a_work_folder_that_is_not_ours(project: Path, kind: str) -> None:
    work = project / "m.work"
    if kind == "file":
        work.write_text("mine")
    elif kind == "link":
        os.symlink("sub", work)
    else:
        work.mkdir()
        (work / ("mine" if kind == "folder" else RECORD)).write_text(
            '{"scripts": {}}' if kind == "foreign record" else '{"llmzip'
        )
    before = snapshot(project.parent)
    refused("m", "exists and is|damaged, or was not made by llmzip")
    assert snapshot(project.parent) == before


def test_the_models_of_llmzip_are_not_replaced(project: Path) -> None:
    cache = known.cache_dir()
    assert cache is not None
    for out in (known.bundled_dir() / "pocket", known.bundled_dir(), cache / "models" / "m", cache):
        before = snapshot(known.bundled_dir())
        refused(str(out), "keeps its models|exists")
        assert snapshot(known.bundled_dir()) == before


def test_links_in_a_circle_and_names_that_cannot_be(project: Path) -> None:
    os.symlink("b", "a")
    os.symlink("a", "b")
    refused("a", "leads nowhere|exists")
    refused("x\0y", "leads nowhere")


def test_a_place_that_cannot_be_written_is_told_at_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    refused("m", "nothing can be written")
    monkeypatch.undo()


def test_a_full_disk_is_told_at_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMZIP_CACHE", str(project / "cache"))
    usage = Place.room_for.__globals__["shutil"].disk_usage(project)
    monkeypatch.setattr(Place.room_for.__globals__["shutil"], "disk_usage", lambda path: usage._replace(free=1000))
    refused("m", "room for 0 MB")
    assert not (project / "m").exists()


def test_two_at_once(project: Path) -> None:
    with Place(Path("m"), [], force=False):
        refused("m", "another training is at work")
    with Place(Path("m"), [], force=False):
        pass


@pytest.mark.long
def test_a_model_is_replaced_only_when_asked_and_its_archives_live_on(
    trained: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "m"
    train_tiny(corpus, out, BATCH_TOKENS)
    first = registry.load(str(out))
    text = log_lines(20, seed=3)
    archive = compress(text, first)
    assert foreign_in_model(out) == "" and {path.name for path in out.iterdir()} == MODEL_FILES
    with pytest.raises(LlmzipError, match="exists"):
        train_tiny(corpus, out, 2 * BATCH_TOKENS)
    assert compress(text, registry.load(str(out))) == archive
    train_tiny(corpus, out, 2 * BATCH_TOKENS, force=True)  # next month
    assert registry.load(str(out)).fingerprint != first.fingerprint
    assert decompress(archive) == text
    assert not (tmp_path / "m.work" / "replaced").exists()


@pytest.mark.long
@pytest.mark.parametrize("change", ["file", "folder", "card", "config"])
def test_a_model_with_something_of_the_user_s_in_it(
    trained: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    import shutil

    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "cache"))
    out = shutil.copytree(trained, tmp_path / "m")
    assert foreign_in_model(out) == ""
    if change == "file":
        (out / "notes.txt").write_text("mine")
    elif change == "folder":
        (out / "README.md").unlink()
        (out / "README.md").mkdir()
    elif change == "card":
        (out / "README.md").write_text((out / "README.md").read_text() + "\nmy notes\n")
    else:
        (out / "model.json").write_text("{}")
    before = snapshot(out)
    with pytest.raises(LlmzipError, match=r"notes\.txt|README\.md|not a model"):
        train_tiny(corpus, out, BATCH_TOKENS, force=True)
    assert snapshot(out) == before and not (tmp_path / "m.work").exists()


def test_a_card_is_known_until_it_is_written_into() -> None:
    from llmzip.train.place import _is_our_card

    card = signed_card("# m\n\ntext\n").encode()
    assert _is_our_card(card)
    for at in range(len(card)):
        assert not _is_our_card(card[:at]) and not _is_our_card(card[:at] + b"x" + card[at:])


def test_what_appears_while_it_trains_is_not_replaced(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "m"

    def progress(text: str) -> None:
        out.mkdir(exist_ok=True)
        (out / "thesis").write_text("mine")

    with pytest.raises(LlmzipError, match="cannot put the model into place") as caught:
        train_tiny(corpus, out, run.TELL_STEPS * BATCH_TOKENS, progress=progress)
    assert (out / "thesis").read_text() == "mine" and str(tmp_path / "m.work" / "model") in caught.value.hint


@pytest.mark.long
def test_a_work_folder_remembers_its_run(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was interrupted goes on only with the same text, settings and tokenizer, and damage is named."""
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "cache"))
    text = tmp_path / "log.txt"
    text.write_bytes(corpus.read_bytes())
    out, work = tmp_path / "m", tmp_path / "m.work"

    def stop(text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_tiny(text, out, 2 * run.TELL_STEPS * BATCH_TOKENS, progress=stop)
    assert (work / "checkpoint.pt").exists() and not out.exists()
    text.write_bytes(corpus.read_bytes().swapcase())  # as long as before
    for force in (False, True):
        with pytest.raises(LlmzipError, match=r"other settings \(sources\)"):
            train_tiny(text, out, 2 * run.TELL_STEPS * BATCH_TOKENS, force=force)
    text.write_bytes(corpus.read_bytes())
    with pytest.raises(LlmzipError, match=r"other settings \(seed\)"):
        train_tiny(text, out, 2 * run.TELL_STEPS * BATCH_TOKENS, seed=1)
    saved = (work / "checkpoint.pt").read_bytes()
    (work / "checkpoint.pt").write_bytes(saved[: len(saved) // 2])
    with pytest.raises(LlmzipError, match="is damaged"):
        train_tiny(text, out, 2 * run.TELL_STEPS * BATCH_TOKENS)
    (work / "checkpoint.pt").write_bytes(saved)
    (work / "tokenizer.json").write_text("{")
    (work / "ids" / "0.ids").write_bytes(b"")
    train_tiny(text.rename(tmp_path / "moved.txt"), out, 2 * run.TELL_STEPS * BATCH_TOKENS)  # the same text elsewhere
    straight = train_tiny(corpus, tmp_path / "straight", 2 * run.TELL_STEPS * BATCH_TOKENS)
    assert registry.load(str(out)).fingerprint == registry.load(str(straight)).fingerprint


def test_seeds_and_devices_that_cannot_be(project: Path) -> None:
    for options in ({"seed": 99999999999999999999}, {"seed": -1}, {"device": "foo"}, {"device": "meta"}):
        with pytest.raises(LlmzipError):
            train_tiny_on(("logs",), "m", **options)
    assert not (project / "m.work").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_midst_of_a_step_waits_for_its_end(number: int) -> None:
    """A half step that was saved went on to another model (tests/kills_train.py found it)."""
    done = []

    def handler(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(number, handler)
    try:
        with pytest.raises(KeyboardInterrupt), run._undisturbed():
            signal.raise_signal(number)
            done.append("step")
        assert done == ["step"] and signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)
