"""Writers that nobody closes are finished when the program ends; those of a parent are left to it. More in exits.py."""

import gc
import io
import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from exits import HEAD, LINES, PATTERNS, Pattern, run

import llmzip
from llmzip.models.toy import ToyModel

NAMES = [
    "sys.exit",
    "exception",
    "interrupt",
    "killed after a flush of text",
    "killed before there is a block",
    "logging, killed",
    "many writers",
    "one that fails among many",
    "reference cycle",
    "suspended generator",
    "text in a cycle",
    "text over a buffer",
    "file object that is kept",
    "logging that was imported before",
    "written at exit, registered before",
    "closed by another's __del__",
    "child: with",
    "child: text and with",
    "child: text file of one's own",
    "child: after blocks that are written",
    "child: goes on with text",
    "multiprocessing: fork, text",
]


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="children of fork")
def test_what_programs_leave(tmp_path: Path) -> None:
    def leave(name: str) -> str:
        folder = tmp_path / str(NAMES.index(name))
        folder.mkdir()
        return run(PATTERNS[name], folder)

    with ThreadPoolExecutor(3) as pool:
        wrong = dict(zip(NAMES, pool.map(leave, NAMES), strict=True))
    assert {name: found for name, found in wrong.items() if found} == {}


def ended(code: str, path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", HEAD + code, str(path)], capture_output=True, text=True, timeout=120
    )


def test_a_member_with_a_hole_is_not_finished_at_exit(tmp_path: Path) -> None:
    """Nor is what failed silent: the first error is the program's to see, and the file does not look whole."""
    code = (
        'from llmzip import blocks\nf = llmzip.open(path, "wb", block_size=100); f.write(data)\n'
        "def fail(*_, **__): raise KeyboardInterrupt\n"
        "blocks.compress = fail\ntry: f.write(data * 9)\nexcept KeyboardInterrupt: pass"
    )
    done = ended(code, tmp_path / "x.lmz")
    assert done.returncode == 0
    with pytest.raises(llmzip.TruncatedError):
        llmzip.decompress((tmp_path / "x.lmz").read_bytes())
    assert llmzip.salvage(tmp_path / "x.lmz")[0] in (LINES[:100], LINES[:200])


def test_what_fails_at_exit_is_told(tmp_path: Path) -> None:
    done = ended(
        'class Full:\n    def write(self, data): raise OSError(28, "full")\n'
        'f = llmzip.LmzFile(Full(), "w"); f.write(data)',
        tmp_path,
    )
    assert "OSError: [Errno 28] full" in done.stderr


@pytest.mark.parametrize("code", ["", "\ndel f", '\nf = io.TextIOWrapper(f); f.write("x")'])
def test_a_warning_tells_of_it(tmp_path: Path, code: str) -> None:
    done = ended('f = llmzip.open(path, "wb"); f.write(data)' + code, tmp_path / "x", "-W", "always::ResourceWarning")
    assert done.stderr.count("ResourceWarning: unclosed file <llmzip.file.LmzFile") == 1
    closed = ended('f = llmzip.open(path, "wb"); f.write(data); f.close()', tmp_path / "y", "-W", "error")
    assert closed.stderr == ""


def test_a_writer_that_is_collected_is_finished_with_a_warning() -> None:
    target = io.BytesIO()
    file = llmzip.LmzFile(target, "w", model=ToyModel())
    file.write(b"text")
    with pytest.warns(ResourceWarning, match="unclosed file"):
        del file
        gc.collect()
    assert llmzip.decompress(target.getvalue()) == b"text"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reader = llmzip.LmzFile(io.BytesIO(target.getvalue()))
        reader.read(1)
        del reader
        gc.collect()


def test_the_patterns_tell_what_is_wrong(tmp_path: Path) -> None:
    wrong = Pattern('f = llmzip.open(path, "wb"); f.write(data); os._exit(0)')
    assert "file is empty" in run(wrong, tmp_path)
    assert "exit code 1" in run(Pattern("raise ValueError"), tmp_path)
    assert "bytes of" in run(Pattern('llmzip.open(path, "wb").close()'), tmp_path)
