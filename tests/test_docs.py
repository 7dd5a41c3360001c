"""What is said is true: commands in hints and documents are commands, options are those that there are, README runs."""

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import api_reference
import pytest
import typer
from commands import environment
from tiers import mostly_long

from llmzip.cli import habits
from llmzip.cli.app import commands
from llmzip.cli.commands import app
from llmzip.models.toy import ToyModel

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
GROUP: Any = typer.main.get_command(app)

# A command in running text: a word that is no command of llmzip is prose ("llmzip is slow").
IN_TEXT = re.compile(r"\b(?:llmzip|lmzcat)((?: (?:[\w./*=|-]+|'[^']*'))+)")
SYNOPSIS = re.compile(r"\[|\(|\.\.\.|\|[A-Z]")


def command_of(words: list[str]) -> list[str] | None:
    """The words as far as they can be a command, or None for prose."""
    first = words[0]
    known = first in GROUP.commands or first.startswith("-")
    return words if known else None


def check(words: list[str]) -> None:
    """Parse as `main` does, without running anything."""
    words = habits.translate(words, commands())
    if words[0].startswith("-"):
        assert words[0] in ("-h", "--help", "-V", "--version", "-L", "--license")
        return
    command = GROUP.commands[words[0]]
    rest = words[1:]
    if "--help" in rest:
        rest.remove("--help")
        return
    if hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        command, rest = command.commands[rest[0]], rest[1:]
    rest = [re.sub(r"^[A-Z]$", "8", word) for word in rest]
    try:
        command.make_context(command.name, rest)
    except typer.BadParameter as error:
        if type(error).__name__ != "MissingParameter":  # "llmzip info" may stand for the command
            raise


def strings(tree: ast.AST) -> Iterator[str]:
    """All texts of a module but its docstrings, with X for what is filled in."""
    parts = {id(value) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for value in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(value.value) if isinstance(value, ast.Constant) else "X" for value in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value


def said_in_code() -> list[tuple[str, str]]:
    found = []
    for path in sorted((ROOT / "llmzip").rglob("*.py")):
        for text in strings(ast.parse(path.read_bytes())):
            for match in IN_TEXT.finditer(text):
                found.append((str(path.relative_to(ROOT)), match[1].strip()))
    return found


def test_commands_in_hints_and_help() -> None:
    checked = set()
    for path, words in said_in_code():
        parts = shlex.split(words)
        if "X" == parts[0] or parts[0] == "COMMAND" or SYNOPSIS.search(words):
            continue
        if (command := command_of(parts)) is None:
            continue
        text = " ".join(command)
        try:
            check(prose_cut(command))
        except Exception as error:
            pytest.fail(f"{path}: llmzip {text}: {error}")
        checked.add(text)
    assert {"models pull X", "--help"} <= checked and len(checked) > 6


def prose_cut(words: list[str]) -> list[str]:
    """Without the prose behind a command: `llmzip models shows the names`."""
    if words[0] == "models" and len(words) > 1 and words[1] not in GROUP.commands["models"].commands:
        assert words[1] in ("shows",), words  # a verb, and no subcommand that does not exist
        return words[:1]
    for at, word in enumerate(words):
        if at and word in ("shows", "lists", "packs", "prints", "again", "first", "to", "is", "for"):
            return words[:at]
    return words


def commands_in(document: Path) -> Iterator[str]:
    """Lines of code blocks that call llmzip, and what is quoted in the text."""
    in_fence = False
    for line in document.read_text("utf-8").splitlines():
        in_fence ^= line.startswith("```")
        if in_fence or line.startswith("    "):
            code = re.sub(r"\s(#|  ).*", "", line.strip().removeprefix("$ "))
            yield from re.split(r"\s*(?:\||&&|;)\s+", code)
        else:
            yield from re.findall(r"`((?:llmzip|lmzcat) [^`]+)`", line)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_documents(document: Path) -> None:
    for line in commands_in(document):
        line = re.split(r"\s[<>]\s", re.sub(r"^\S+/(?=llmzip )", "", line))[0]
        if not line.startswith(("llmzip ", "lmzcat ")) or SYNOPSIS.search(line) or "\\n" in line:
            continue
        words = shlex.split(line, comments=True)
        if words[1] == "COMMAND":
            continue
        words = words[1:] if words[0] == "llmzip" else ["-d", "-c", *words[1:]]
        if words == ["FILE"]:
            continue
        try:
            check([re.sub(r"^(.*)\[.*", r"\1", word) for word in words])
        except Exception as error:
            pytest.fail(f"{document.name}: {line}: {error!r}")


# --- links


def anchors(document: Path) -> list[str]:
    """Of its headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.M)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", document.read_text("utf-8")):
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_format_has_a_list_of_contents() -> None:
    document = ROOT / "docs" / "format.md"
    listed = re.findall(r"^ *\* \[.+\]\(#(.+)\)$", document.read_text("utf-8"), re.M)
    assert listed == [anchor for anchor in anchors(document)[1:] if anchor != "contents"]


def test_the_api_reference_is_that_of_the_docstrings() -> None:
    assert api_reference.DOCUMENT.read_text("utf-8") == api_reference.reference(), "bash .ci/task api"


# --- options


def options_of(name: str) -> set[str]:
    command = GROUP.commands[name]
    return {option for option in commands()[name] if option not in ("-h", "--help") and not option.startswith("-1")} | {
        option
        for sub in getattr(command, "commands", {}).values()
        for parameter in sub.params
        if hasattr(parameter, "is_flag")
        for option in parameter.opts
    }


def section(title: str) -> str:
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    (found,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    return str(found)


def in_words(text: str) -> set[str]:
    """Options that are quoted, alone or in the synopsis of a command."""
    quoted = re.findall(r"`([^`]+)`|^    (llmzip .*)$", text, re.M)
    words = " ".join(part for pair in quoted for part in pair)
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+|(?<![\w-])-[a-zA-Z](?![\w-])", words))


def test_every_option_is_in_the_document() -> None:
    both = in_words(section("compress, decompress"))
    assert both - {"-1", "-c"} <= options_of("compress") | options_of("decompress") | {"-c", "-8", "-9"}
    assert options_of("compress") | options_of("decompress") == both | {"--level"}
    assert options_of("test") <= in_words(section("test")) | both
    assert in_words(section("test")) <= options_of("test")
    assert options_of("join") <= in_words(section("join")) | {"--output", "--stdout", "--force"} | both
    assert options_of("info") <= in_words(section("info")) | {"--quiet", "--verbose"}


@pytest.mark.parametrize("name", ["train", "explain", "score", "bench", "models", "doctor"])
def test_options_of_other_commands(name: str) -> None:
    text = section(name)
    known = options_of(name)
    said = {option for option in in_words(text) if option in known}
    names = [set(parameter.opts) for parameter in all_parameters(name)]
    for spellings in names:
        assert spellings & said, f"{name} {spellings} is not in docs/cli.md"


def all_parameters(name: str) -> list[Any]:
    command = GROUP.commands[name]
    every = [command, *getattr(command, "commands", {}).values()]
    return [
        parameter
        for one in every
        for parameter in one.params
        if hasattr(parameter, "is_flag") and "--help" not in parameter.opts
    ]


def test_environment_variables() -> None:
    """All that llmzip reads by name is in the document."""
    found = set()
    for path in (ROOT / "llmzip").rglob("*.py"):
        text = path.read_text("utf-8")
        found |= set(re.findall(r"environ(?:\.get\(|\[)\"(\w+)\"|_VARIABLE = \"(\w+)\"", text))
    variables = {name for pair in found for name in pair if name} - {"GOMP_SPINCOUNT"}  # which is set, and put back
    assert variables <= set(re.findall(r"`([A-Z_]+)`", section("Messages, exit codes, environment")))


# --- README


def blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def script(text: str) -> str:
    """On the tiny model, and without what needs a network, minutes or a terminal."""
    lines = []
    for line in text.splitlines():
        line = line.removeprefix("$ ")
        if re.match(r"bash \.ci/|pip install |llmzip (train|doctor|compress -9)|ls ", line):
            continue
        line = re.sub(r"\bllmzip (compress|-9)", "llmzip compress -m toy", line).replace("| less", "| cat >/dev/null")
        lines.append(re.sub(r"\s+#.*", "", line))
    return "set -eu\n" + "\n".join(lines)


@pytest.mark.parametrize("number", mostly_long(range(len(blocks("console")) + len(blocks("sh"))), (0, 1, 2)))
def test_commands_of_the_readme(tmp_path: Path, number: int) -> None:
    (tmp_path / "bin").mkdir()
    for name, function in (("llmzip", "main"), ("lmzcat", "cat")):
        made = tmp_path / "bin" / name
        made.write_text(
            f"#!{sys.executable}\nimport sys\nfrom llmzip.__main__ import {function}\nsys.exit({function}())\n"
        )
        made.chmod(0o755)
    for name in ("alice29.txt", "notes.txt"):
        (tmp_path / name).write_bytes(ToyModel().speak(2100))
    (tmp_path / "folder").mkdir()
    env = environment() | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "LLMZIP_CACHE": str(tmp_path / "cache")}
    text = script([*blocks("console"), *blocks("sh")][number])
    done = subprocess.run(["bash", "-c", text], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr


def test_python_of_the_readme(tmp_path: Path) -> None:
    (text,) = blocks("python")
    from llmzip import compress

    book = ToyModel().speak(1100)
    (tmp_path / "book.txt.lmz").write_bytes(compress(book, "toy"))
    done = subprocess.run(
        [sys.executable, "-c", text.replace("1_000_000", "1_000")],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
