"""The walls between the modules, read from their imports: what may know of what."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import llmzip

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "llmzip"

# A module imports from its own layer and those below. The longest prefix counts.
LAYERS = [
    ["errors", "handles", "plot", "workers"],
    ["limits", "native", "primitives", "tokens"],
    ["index"],
    ["container"],
    ["coding", "filemap", "repeats", "segments", "transforms"],
    ["models"],
    ["predictor"],
    ["bzip2", "deflate"],
    ["openings"],
    ["codec", "guesser", "teams"],
    ["trials"],
    ["blocks", "cuts"],
    ["stream"],
    ["access", "damage"],
    ["api", "file"],
    ["chunks", "distributed", "filesystem", "parts", "tars"],
    ["explain"],
    ["score"],
    ["cli", "bench", "train", "__main__", ""],  # "": llmzip itself, which only a program asks for its version
]

PUBLIC = [
    "ChecksumError",
    "Damage",
    "EngineMismatch",
    "FormatError",
    "LimitExceeded",
    "LlmzipError",
    "LmzCompressor",
    "LmzDecompressor",
    "LmzFile",
    "ModelError",
    "ModelInvalid",
    "ModelNotFound",
    "TruncatedError",
    "UnsupportedError",
    "compress",
    "decompress",
    "get_info",
    "open",
    "salvage",
]


def module_name(path: Path) -> str:
    """Without the package: "models.toy", and "" for the package itself."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")


TREES = {module_name(path): ast.parse(path.read_bytes()) for path in sorted(PACKAGE.rglob("*.py"))}


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def nodes(tree: ast.AST, *, run_time: bool) -> Iterator[ast.AST]:
    """All nodes below; with `run_time` without what only type checkers read."""
    for child in ast.iter_child_nodes(tree):
        if run_time and is_type_checking(child):
            assert isinstance(child, ast.If)
            for other in child.orelse:
                yield other
                yield from nodes(other, run_time=True)
        else:
            yield child
            yield from nodes(child, run_time=run_time)


def imports(module: str, *, run_time: bool = False) -> set[str]:
    """Full names of the modules that a module imports, anywhere in it."""
    found = set()
    for node in nodes(TREES[module], run_time=run_time):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{module}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner.removeprefix("llmzip.") in TREES else node.module)
    return found


def own_imports(module: str, *, run_time: bool = False) -> set[str]:
    """Of this package only, without its name."""
    found = (name.partition(".") for name in imports(module, run_time=run_time))
    return {inner for package, _, inner in found if package == "llmzip"}


def importers(library: str, *, run_time: bool = False) -> set[str]:
    return {
        module
        for module in TREES
        if any(name.partition(".")[0] == library for name in imports(module, run_time=run_time))
    }


def layer(module: str) -> int:
    (found,) = (i for i, names in enumerate(LAYERS) if module.partition(".")[0] in names)
    return found


@pytest.mark.parametrize("module", TREES)
def test_imports_go_down(module: str) -> None:
    above = {other for other in own_imports(module) if layer(other) > layer(module)}
    assert not above


def test_the_table_of_layers_is_true() -> None:
    """docs/architecture.md draws what is checked here, top down."""
    rows = re.findall(r"^\| (\d+) \| (.+?) \|", (ROOT / "docs" / "architecture.md").read_text("utf-8"), re.MULTILINE)
    drawn = {int(n): set(re.findall(r"`(\w+)`", names)) for n, names in rows}
    assert drawn == {i + 1: set(filter(None, names)) for i, names in enumerate(LAYERS)}
    assert [int(n) for n, _ in rows] == sorted(drawn, reverse=True)


def test_no_circles() -> None:
    # or CycleError
    TopologicalSorter({module: own_imports(module, run_time=True) - {module} for module in TREES}).prepare()


def test_the_bottom() -> None:
    """The format itself needs nothing but Python."""
    assert imports("errors") <= {"collections.abc", "contextlib"}
    for module in ("primitives", "index", "container", "filemap"):
        foreign = {name for name in imports(module) if name.partition(".")[0] not in sys.stdlib_module_names}
        assert foreign <= {f"llmzip.{below}" for below in ("errors", "primitives", "index", "container")}


def test_nothing_imports_bench() -> None:
    inside = {module for module in TREES if module.partition(".")[0] == "bench"}
    for module in TREES.keys() - inside - {"cli.benching"}:
        assert not own_imports(module) & (inside | {"bench"}), module


def test_libraries_at_home() -> None:
    assert importers("gguf") == {"models.convert.gguf"}
    assert importers("typer") == {"cli.app", "cli.commands", "cli.options"}


def test_the_command_line_knows_nothing_of_the_format() -> None:
    inside = {"primitives", "index", "container", "filemap", "blocks", "codec", "predictor", "repeats", "transforms"}
    for module in TREES:
        if module.partition(".")[0] == "cli":
            assert not own_imports(module) & inside, module


def test_transformers_at_run_time() -> None:
    assert importers("transformers", run_time=True) <= {"models.causal", "bench.speed"}


REMOVING = {"link", "remove", "rename", "renames", "replace", "rmdir", "symlink", "unlink"}


def removes_files(node: ast.AST) -> bool:
    """A call of os that replaces or deletes, or a method of that name of a path. (`replace` is one of str as well.)"""
    if isinstance(node, ast.ImportFrom):
        return node.module in ("os", "shutil") and bool({alias.name for alias in node.names} & (REMOVING | {"move"}))
    if not isinstance(node, ast.Attribute):
        return False
    of_os = isinstance(node.value, ast.Name) and node.value.id == "os" and node.attr in REMOVING
    return of_os or node.attr in ("unlink", "rename", "rmtree")


def test_only_fileio_touches_files_of_the_user() -> None:
    """The cache of models and the working folder of a training run are the library's own.

    Bench works in temporary folders.
    """
    found = {module for module, tree in TREES.items() if any(map(removes_files, ast.walk(tree)))}
    others = {module for module in found if module.partition(".")[0] not in ("models", "bench", "train")}
    assert others == {"cli.fileio.sources", "cli.fileio.temporary"}


def test_public_names() -> None:
    assert llmzip.__all__ == PUBLIC
    for name in PUBLIC:
        assert getattr(llmzip, name).__name__ in (name, f"lmz_{name}")


def test_no_paths_of_the_machine_it_was_made_on() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    paths = [ROOT / name for name in listed.decode().split("\0") if name]
    marks = [b"/" + name for name in (b"work/", b"root/", b"tmp/venv")]  # not spelled out: this file is one of them
    found = [str(path) for path in paths if path.is_file() and any(mark in path.read_bytes() for mark in marks)]
    assert found == []
