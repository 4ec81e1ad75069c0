"""Fixtures shared by all tests."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from backends_matrix import Library

jax.config.update("jax_enable_x64", True)


@pytest.fixture(params=list(Library), ids=lambda library: library.value)
def library(request: pytest.FixtureRequest) -> Library:
    """Every array library in turn."""
    return request.param


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator."""
    return np.random.default_rng(0)
