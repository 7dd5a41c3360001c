"""The light install of the README: without torch, transformers and gguf, everything but what is made of them works."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from checkpoints import invented_text, tiny_llama_folder
from commands import ROOT, TEXT, environment

HEAVY = ("torch", "transformers", "gguf")
# Runs one command line after the other in a Python that lacks what is heavy, then says what llmzip itself has imported.
PROLOGUE = f"""
import builtins, json, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

def noting(name, names=None, *rest, **others):
    if (names or {{}}).get("__name__", "").partition(".")[0] == "llmzip":
        imported.add(name.partition(".")[0])
    return real(name, names, *rest, **others)

sys.meta_path.insert(0, Missing())
real, imported, builtins.__import__ = builtins.__import__, set(), noting
from llmzip.cli.app import main
codes = [main(words) for words in json.loads(sys.argv[1])]
print(json.dumps([codes, sorted(imported)]))
"""


def light(folder: Path, *commands: list[str]) -> tuple[list[int], set[str], str]:
    """The exit codes, what was imported, and what was said."""
    done = subprocess.run(
        [sys.executable, "-c", PROLOGUE, json.dumps(commands)],
        cwd=folder,
        env=environment() | {"LLMZIP_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    codes, imported = json.loads(done.stdout.splitlines()[-1])
    return codes, set(imported) - sys.stdlib_module_names - {"llmzip"}, done.stdout + done.stderr


def jobs(*options: str) -> list[list[str]]:
    return [
        ["compress", *options, "text"],
        ["test", "text.lmz"],
        ["info", "text.lmz"],
        ["decompress", "text.lmz", "-o", "back"],
    ]


def in_readme() -> set[str]:
    """The packages that its light install names."""
    text = Path(ROOT, "README.md").read_text("utf-8")
    (line,) = re.findall(r"^pip install ([\w ]+) && pip install --no-deps \.", text, re.M)
    return set(line.split())


def test_the_bundled_model_and_what_the_readme_installs(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(TEXT)
    codes, imported, said = light(tmp_path, *jobs(), ["doctor"])
    assert codes == [0] * 5 and (tmp_path / "back").read_bytes() == TEXT and "pocket" in said
    assert "kernels = torch operations: not checked, torch is not installed" in said
    assert imported == in_readme() | {"torch"}  # which only `doctor` has tried


def test_a_converted_model(tmp_path: Path) -> None:
    """Converted without torch, too."""
    text = invented_text(60)
    (tmp_path / "text").write_bytes(text)
    codes, imported, said = light(tmp_path, *jobs("-m", str(tiny_llama_folder(tmp_path / "tiny"))))
    assert codes == [0] * 4 and (tmp_path / "back").read_bytes() == text and "tiny" in said
    assert imported == in_readme()


def test_what_needs_more_says_what(tmp_path: Path) -> None:
    for name in ("text", "a.gguf"):
        (tmp_path / name).write_bytes(TEXT)
    missing = {
        "torch": [
            ["train", "text", "-o", "mine", "--minutes", "1"],
            ["compress", "--engine", "transformers", "-m", "hf", "text"],
            ["bench", "--floats", "text"],
        ],
        "gguf": [["compress", "-m", "a.gguf", "text"]],
    }
    for library, commands in missing.items():
        codes, _, said = light(tmp_path, *commands)
        assert codes == [1] * len(commands) and "Traceback" not in said
        assert said.count(f"this needs {library}, which is not installed") == len(commands)
        assert said.count(f"pip install {library}\n") == len(commands)


def test_other_missing_modules_are_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    from llmzip.cli import app

    def broken(*arguments: object) -> int:
        raise ModuleNotFoundError("No module named 'llmzip.gone'", name="llmzip.gone")

    monkeypatch.setattr(app, "_parse", broken)
    with pytest.raises(ModuleNotFoundError, match="gone"):
        app.main([])
