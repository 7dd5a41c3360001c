"""A short run of tests/fuzz_models.py: odd files of models are loaded or refused with an LlmzipError."""

import pytest
from fuzz_models import run


def test_odd_models(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LLMZIP_CACHE", "")  # put back at the end: `run` sets its own
    ends = run(63, seed=7)
    assert set(ends) == {"loaded", "refused"} and min(ends.values()) > 5, ends
