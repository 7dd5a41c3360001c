"""Which of many similar cases are tried each time; the others wait for `pytest -m long`, which CI runs as well."""

from collections.abc import Container, Iterable
from typing import Any

import pytest


def mostly_long(values: Iterable[Any], often: Container[Any]) -> list[Any]:
    """All of them, marked `long` unless they are tried often."""
    return [value if value in often else _long(value) for value in values]


def _long(value: Any) -> Any:
    values = value if isinstance(value, tuple) else (value,)  # of several parameters or of one
    return pytest.param(*values, marks=pytest.mark.long)
