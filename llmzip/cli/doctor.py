"""What this machine computes with, and whether it computes exactly.

Called by `llmzip doctor`; prints nothing itself.
"""

import hashlib
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from llmzip import native
from llmzip.errors import ModelInvalid
from llmzip.models import known, registry
from llmzip.models.llama import LlamaModel

_PACKAGES = ("llmzip", "numpy", "constriction", "tokenizers", "safetensors", "torch", "transformers")
_TEXT = b"The quick brown fox jumps over the lazy dog; 0123456789 and back again.\n" * 4


def report(name: str | None, device: str | None, threads: int | None) -> Iterator[tuple[str, str]]:
    """Lines of (key, value), cheap ones first. Raises ModelError when a check fails or a named model is missing."""
    yield "python", f"{sys.version.split()[0]} on {platform.platform()}"
    for package in _PACKAGES:
        yield package, _version(package)
    yield "cpu", _cpu()
    yield "threads", str(native.clip_threads(threads))
    yield "device", device or "cpu"
    yield "fused kernels", _kernels()
    yield "model cache", str(known.cache_dir())
    cached = [model.name for model in registry.list_models() if model.installed]
    yield "models", ", ".join(cached) or "none"
    yield from _check(name, device, threads)


def _check(name: str | None, device: str | None, threads: int | None) -> Iterator[tuple[str, str]]:
    """The same text through the chosen kernels, in one call and step by step, and through the torch definition."""
    model = registry.load(name, device=device, threads=threads)
    yield "model", f"{model.name}, fingerprint {model.fingerprint.hex()[:16]}"
    if not isinstance(model, LlamaModel):
        return
    yield "kernels", model.kernels
    ids = model.tokenizer.encode(_TEXT)[:32].reshape(2, -1)
    whole = model.open(2, 64).forward(ids)
    state = model.open(2, 64)
    steps = np.concatenate([state.forward(ids[:, i : i + 1]) for i in range(ids.shape[1])], axis=1)
    digest = hashlib.sha256(np.ascontiguousarray(whole).astype("<i2").tobytes()).hexdigest()
    yield "scores", f"sha256 {digest[:16]} (the same on every machine)"
    _require(np.array_equal(whole, steps), "one call and single steps give different scores")
    yield "self-test", "one call = single steps: ok"
    try:
        reference = model.open_reference(2, 64).forward(ids)
    except ModuleNotFoundError as error:
        yield "self-test", f"kernels = torch operations: not checked, {error.name} is not installed"
        return
    _require(np.array_equal(whole, reference), "the kernels and the torch operations give different scores")
    yield "self-test", "kernels = torch operations: ok"


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ModelInvalid(message, hint="please report this with the output of llmzip doctor")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _kernels() -> str:
    if native.library is None:
        return f"{native.why_no_library}: torch operations are used, with the same bits, more slowly"
    threaded = "with threads" if native.library.llmzip_threaded() else "without OpenMP, so with one thread"
    return f"{native.LEVELS[native.levels[-1]]}, {threaded}"


def _cpu() -> str:
    """Model name and the instruction sets that matter here."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = dict(line.split(":", 1) for line in file.read().split("\n\n")[0].splitlines() if ":" in line)
    except OSError:
        return platform.processor() or platform.machine()
    facts = {key.strip(): value.strip() for key, value in lines.items()}
    known = ("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8")
    present = [flag for flag in known if flag in facts.get("flags", "").split()]
    return f"{facts.get('model name', platform.machine())} ({', '.join(present) or platform.machine()})"
