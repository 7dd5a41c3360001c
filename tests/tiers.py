"""Which of many similar cases are tried each time; the others wait for `pytest -m long`, which CI runs as well."""

from collections.abc import Container, Iterable
from typing import Any

import pytest


def mostly_long(values: Iterable[Any], often: Container[Any]) -> list[Any]:
    """All of them, marked `long` unless they are tried often."""
    rare = {"marks": pytest.mark.long}
    return [
        value if value in often else pytest.param(*(value if isinstance(value, tuple) else (value,)), **rare)
        for value in values
    ]
