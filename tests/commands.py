"""What tests of the command line share: how it is run, and small files."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llmzip import container

ROOT = str(Path(__file__).parents[1])
COMMAND = [sys.executable, "-m", "llmzip"]
TEXT = b"It was the best of times, it was the worst of times, and then there was nothing left to say.\n" * 6


@dataclass
class Result:
    code: int
    out: bytes
    err: str


Run = Callable[..., Result]


def stored(data: bytes) -> bytes:
    """A file that needs no model."""
    preamble = container.create_preamble()
    return preamble + container.create_block(container.stored_block(data), last=True, before=preamble)


def spoiled(data: bytes) -> bytes:
    """The same, but the content check of the block is wrong."""
    return stored(data)[:-1] + bytes([stored(data)[-1] ^ 1])


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")]), "COLUMNS": "100"}
