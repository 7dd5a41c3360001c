"""Hypothesis profiles, and a few seconds of SmolLM2 when it is installed."""

import pytest
from hypothesis import HealthCheck, settings

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
