"""Hypothesis profiles, a few seconds of SmolLM2 when it is installed, and the command line in this process."""

import gc
import io
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import Result, Run
from hypothesis import HealthCheck, settings

from llmzip import blocks, native
from llmzip.cli.app import main
from llmzip.models import Model

# Half of the tests compare the C library with its twins: without it they would test the twins alone.
if native.library is None:
    pytest.exit(f"the compiled kernels are needed for the tests: {native.why_no_library}", returncode=1)

# A job in the background of a shell ignores Ctrl-C, and so would all that the tests start to interrupt it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("default", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")


def pytest_collection_finish() -> None:
    """What is imported by now, torch and transformers with it, is not looked through for garbage again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def smollm2() -> Model:
    """The real model. `.ci/setup` pulls it; without it these tests say so."""
    from llmzip.errors import ModelNotFound
    from llmzip.models import registry

    try:
        return registry.load("smollm2-135m")
    except ModelNotFound as error:
        pytest.skip(f"{error} ({error.hint})")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Run the command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path.parent / "cache"))

    def run(*argv: str, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capfdbinary.readouterr()
        code = main(argv)
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        assert b"Traceback" not in err
        return Result(code, out, err.decode())

    return run


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The contents of the blocks that are decoded."""
    found: list[bytes] = []
    decompress = blocks.decompress

    def noting(*arguments: Any) -> bytes:
        found.append(decompress(*arguments))
        return found[-1]

    monkeypatch.setattr(blocks, "decompress", noting)
    return found
