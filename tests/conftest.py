"""Fixtures shared by all tests."""

from __future__ import annotations

import os

import jax
import numpy as np
import pytest
from backends_matrix import Library
from hypothesis import HealthCheck, settings

jax.config.update("jax_enable_x64", True)

# Examples are the same in every run, here and in continuous integration. HYPOTHESIS_PROFILE=long tries many others.
slow = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("usual", max_examples=20, derandomize=True, database=None, **slow)
settings.register_profile("long", max_examples=500, print_blob=True, **slow)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "usual"))


@pytest.fixture(params=list(Library), ids=lambda library: library.value)
def library(request: pytest.FixtureRequest) -> Library:
    """Every array library in turn."""
    return request.param


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator."""
    return np.random.default_rng(0)
