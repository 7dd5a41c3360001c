"""The examples run as their docstrings say and print what they promise: on the toy model, in processes of their own."""

import hashlib
import os
import re
import runpy
import subprocess
import sys
import tarfile
from io import BytesIO, StringIO
from pathlib import Path

import opened
import pytest
from checkpoints import tiny_llama_folder
from tiers import mostly_long

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
LARGE_FILES = runpy.run_path(str(EXAMPLES / "large_files.py"))


def run(name: str, *argv: str | Path, cache: Path, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", *argv],
        cwd=cache,
        env=os.environ | {"LLMZIP_CACHE": str(cache), "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_every_example_is_tested() -> None:
    tested = set(re.findall(r'\brun\(\s*"(\w+)"', Path(__file__).read_text("utf-8")))
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_docstring_has_the_command(path: Path) -> None:
    assert f"\n    python examples/{path.name}" in path.read_text("utf-8")


def test_compress_a_string(tmp_path: Path) -> None:
    out = run("compress_a_string", "--model", "toy", cache=tmp_path)
    assert "back    the same: It is a truth" in out


def test_documents(tmp_path: Path) -> None:
    """Of a folder: nothing is fetched."""
    for name, content in (("a.epub", opened.book()), ("b.pdf", opened.pdf()), ("c.gz", opened.gzipped(b"text " * 400))):
        (tmp_path / name).write_bytes(content)
    out = run("documents", "--local", tmp_path, cache=tmp_path)
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [
        ["pdf", "1", "10"],
        ["epub", "1", "12"],
        ["gz", "1", "1"],
    ]


def test_stream_a_file(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(b"it was the best of times, and the worst. " * 120)
    out = run("stream_a_file", text, "--model", "toy", "--block-size", "1000", cache=tmp_path)
    assert re.fullmatch(r"text: 4920 bytes -> \d+ bytes -> the same\n", out)


def test_random_access(tmp_path: Path) -> None:
    out = run("random_access", "--model", "toy", cache=tmp_path)
    assert out.startswith("6400 bytes in 7 blocks, ")
    assert "\nLine 70: the square of 70 is 4900, and its cube is 343000.  (" in out


@pytest.mark.long
def test_short_messages(tmp_path: Path) -> None:
    lines = run("short_messages", "Running ten minutes late, start without me.", "x", cache=tmp_path).splitlines()
    assert lines[0].split()[:2] == ["bytes", "pocket"] and len(lines) == 3
    assert lines[1].split()[0] == "43" and int(lines[1].split()[1]) < 43


@pytest.mark.long
def test_own_model_made(tmp_path: Path) -> None:
    out = run("own_model", cache=tmp_path)
    assert re.fullmatch(r"model [0-9a-f]{8}: 392 bytes -> \d+ bytes, model block\nback: the same\n", out)


def test_own_model_taken(tmp_path: Path) -> None:
    folder = tiny_llama_folder(tmp_path / "mine")
    out = run("own_model", folder, cache=tmp_path)
    assert out.endswith("back: the same\n")


def test_benchmarks(tmp_path: Path) -> None:
    """What a command printed before is replaced, as far as its folders are given; all else stays."""
    document = tmp_path / "a.md"
    before = "# A\n<!-- cat $ONE/x -->\nold\n<!-- end -->\ntext\n<!-- cat $OTHER/x -->\nkept\n<!-- end -->\n"
    document.write_text(before, encoding="utf-8")
    (tmp_path / "x").write_text("| new é |\n", encoding="utf-8")
    run("benchmarks", document, f"ONE={tmp_path}", cache=tmp_path)
    after = document.read_text("utf-8")
    assert after == before.replace("\nold\n", "\n`cat $ONE/x`\n\n| new é |\n\n")
    run("benchmarks", document, f"OTHER={tmp_path}", "--only", "nothing", cache=tmp_path)
    run("benchmarks", document, f"ONE={tmp_path}", cache=tmp_path)
    assert document.read_text("utf-8") == after


def test_what_docs_benchmarks_is_made_by_are_commands_that_there_are() -> None:
    made = runpy.run_path(str(EXAMPLES / "benchmarks.py"))["MADE"]
    commands = [match["command"] for match in made.finditer((ROOT / "docs" / "benchmarks.md").read_text("utf-8"))]
    assert len(commands) > 2
    for program, what, *_ in map(str.split, commands):
        assert what in ("bench", "explain") if program == "llmzip" else (ROOT / what).exists()


def test_large_files_are_the_ones_that_were_meant(tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / LARGE_FILES["INPUTS"][0].name).write_bytes(b"another")
    out = run("large_files", tmp_path / "large", cache=tmp_path, code=1)
    assert out.split()[1:] == ["7", "django-5.2.8.tar"]


def test_the_log_of_the_large_files_is_written_by_a_fixed_recipe(tmp_path: Path) -> None:
    data = b'say "\\x00"\n\x001\x00z\xe9' + bytes(range(256)) * 200
    with tarfile.open(tmp_path / "some.tar", "w") as tar:
        member = tarfile.TarInfo("some/näme")
        member.size = len(data)
        tar.addfile(member, BytesIO(data))
    log = StringIO()
    LARGE_FILES["Strace"](log).archive(tmp_path / "some.tar")
    lines = log.getvalue().splitlines()
    assert "some/n\\303\\244me" in lines[0] and log.getvalue().isascii()
    assert r', "say \"\\x00\"\n\0001\0z\351\0\1\2' in lines[1]
    times = [re.search(r" (\d\d:\d\d:\d\d\.\d{6}) ", line)[1] for line in lines]  # type: ignore[index]
    assert times == sorted(set(times))
    written = sum(int(match[1]) for match in re.finditer(r"write\(4<.* = (\d+) <", log.getvalue()))
    read = sum(int(match[1]) for match in re.finditer(r" read\(3</.* = (\d+) <", log.getvalue()))
    assert written == read == len(data)
    assert (
        hashlib.sha256(log.getvalue().encode()).hexdigest()
        == "e6d940b35c07488a5420b3fc43fc5ccf65223b97a0ae0cac2513b54bdd3c610a"
    )


@pytest.mark.parametrize("engine", mostly_long(["here", "dask"], ["here"]))
def test_cluster(tmp_path: Path, engine: str) -> None:
    if engine != "here":
        pytest.importorskip("dask.distributed")
    (tmp_path / "texts").mkdir()
    for name in ("a", "b"):
        (tmp_path / "texts" / name).write_bytes(b"the rain in the plain and nothing else\n" * 20)
    out = run("cluster", tmp_path / "texts", tmp_path / "out", "--engine", engine, "--model", "toy", cache=tmp_path)
    assert out.splitlines()[-1].startswith("2 files, 1560 -> ")
    written = {"a.lmz", "a.lmz.json", "b.lmz", "b.lmz.json", "manifest.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == written
    one: list[str | Path] = [tmp_path / "texts" / "a", tmp_path / "a.lmz", "--parts", "2", "--model", "toy"]
    assert run("cluster", *one, cache=tmp_path).splitlines()[-1].startswith("1 files, 780 -> ")
    assert (tmp_path / "a.lmz").read_bytes() == (tmp_path / "out" / "a.lmz").read_bytes()
