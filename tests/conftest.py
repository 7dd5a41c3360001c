"""Hypothesis profiles, and a few seconds of SmolLM2 when it is installed."""

import pytest
from hypothesis import HealthCheck, settings

from llmzip import native

# Half of the tests compare the C library with its twins: without it they would test the twins alone.
if native.library is None:
    pytest.exit(f"the compiled kernels are needed for the tests: {native.why_no_library}", returncode=1)

settings.register_profile("default", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")


@pytest.fixture(scope="session")
def smollm2():
    """The real model. `.ci/setup` pulls it; without it these tests say so."""
    from llmzip.errors import ModelNotFound
    from llmzip.models import registry

    try:
        return registry.load("smollm2-135m")
    except ModelNotFound as error:
        pytest.skip(f"{error} ({error.hint})")
