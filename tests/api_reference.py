"""Makes docs/api.md of the docstrings of what `import llmzip` gives: `bash .ci/task api`; a test compares them."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llmzip
from llmzip.coding import Coding

DOCUMENT = Path(__file__).parents[1] / "docs" / "api.md"
HEAD = """# The Python API

This page is made from the docstrings by `bash .ci/task api`.
[cli.md](cli.md) explains what the options mean, and [the README](../README.md) has examples.
"""


def signature(name: str, function: Any) -> str:
    """As it is written in the source."""
    source = textwrap.dedent(inspect.getsource(function))
    (tree,) = ast.parse(source).body
    assert isinstance(tree, ast.FunctionDef)
    text = "\n".join(source.splitlines()[tree.lineno - 1 : tree.body[0].lineno - 1])
    text = re.sub(r"\(\s*self(, /)?,?\s*", "(\n    " if "\n" in text else "(", text, count=1)
    return re.sub(r"^def \w+", name, text).removesuffix(":").removesuffix(" -> None")


def section(level: int, title: str, code: str, text: str | None) -> str:
    return f"{'#' * level} {title}\n\n" + (f"```python\n{code}\n```\n\n" if code else "") + f"{text or ''}\n"


def members(kind: type) -> Iterator[str]:
    for name, value in vars(kind).items():
        if name.startswith("_") or not value.__doc__:  # of its own: what is inherited is in Python's documents
            continue
        text = inspect.getdoc(value)
        if isinstance(value, property):
            yield section(4, name, "", text)
        elif inspect.isfunction(value):
            yield section(4, f"{name}()", signature(name, value), text)


def reference() -> str:
    things = {name: getattr(llmzip, name) for name in llmzip.__all__}
    functions = {name: thing for name, thing in things.items() if not inspect.isclass(thing)}
    errors = {name: thing for name, thing in things.items() if inspect.isclass(thing) and issubclass(thing, Exception)}
    parts = [HEAD, "## Functions\n"]
    parts += [section(3, name, signature(name, thing), inspect.getdoc(thing)) for name, thing in functions.items()]
    parts.append("## Classes\n")
    for name, thing in things.items():
        if name not in functions | errors:
            code = signature(name, thing.__init__) if "__init__" in inspect.getsource(thing) else ""
            parts += [section(3, name, code, inspect.getdoc(thing)), *members(thing)]
    parts.append("## Options\n\nEvery function that writes takes these by name, in addition to its own arguments.\n")
    parts.append(f"```python\n{inspect.getsource(Coding).split('@classmethod')[0].split('def ')[0].strip()}\n```\n")
    parts.append("## Exceptions\n\n| exception | a kind of | |\n|---|---|---|")
    for name, thing in errors.items():
        above = ", ".join(f"`{base.__name__}`" for base in thing.__bases__)
        parts.append(f"| `{name}` | {above} | {' '.join((inspect.getdoc(thing) or '').split())} |")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(reference(), "utf-8")
