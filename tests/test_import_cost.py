"""What must not be paid for: the commands that need no model import neither torch nor numpy nor transformers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmzip import container

HEAVY = ("torch", "numpy", "transformers", "tokenizers", "constriction", "gguf", "rich")
PROBE = """
import json, sys
from llmzip.__main__ import main
code = main()
loaded = [name for name in sys.modules if name.partition(".")[0] in {heavy!r}]
print(json.dumps([code, loaded, len(sys.modules)]), file=sys.stderr)
"""


def probe(*argv: str, cwd: Path) -> tuple[int, list[str], int]:
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(heavy=HEAVY), *argv],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": root},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
    )
    code, loaded, n_modules = json.loads(done.stderr.splitlines()[-1])
    return code, loaded, n_modules


@pytest.mark.parametrize(
    "argv",
    [["--version"], ["--help"], [], ["-l", "a.lmz"], ["-dc", "a.lmz"], ["compress", "--help"], ["info", "a.lmz"]],
)
def test_light_commands(argv: list[str], tmp_path: Path) -> None:
    preamble = container.create_preamble()
    block = container.create_block(container.stored_block(b"abc"), last=True, before=preamble)
    (tmp_path / "a.lmz").write_bytes(preamble + block)
    code, loaded, n_modules = probe(*argv, cwd=tmp_path)
    assert (code, loaded) == (0, [])
    if argv in (["--version"], ["--help"]):
        assert n_modules < 400  # 270 when this was written, most of them of typer


def test_what_coding_needs(tmp_path: Path) -> None:
    """Not torch, nor numpy's random numbers, which take longer to import than a short file to code."""
    (tmp_path / "a.txt").write_text("It was the best of times, it was the worst of times.\n" * 2)
    code, loaded, _ = probe("compress", "a.txt", cwd=tmp_path)
    assert code == 0 and "numpy" in loaded
    assert not {"torch", "transformers", "rich", "numpy.random"} & set(loaded)


def test_signals_are_seen_to_before_anything_large_is_imported() -> None:
    """Until then Ctrl-C ends the command with a traceback. Without site, which imports more of itself."""
    root = str(Path(__file__).parents[1])
    code = f"import sys; sys.path.insert(0, {root!r}); import llmzip.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    assert not {"typing", "re", "importlib.metadata"} & set(done.stdout.split())
