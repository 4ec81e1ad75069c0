"""Fixtures of the tests of rotations."""

from __future__ import annotations

from collections.abc import Callable

import jax
import pytest
from backends_matrix import Library


@pytest.fixture
def compiled(library: Library) -> Callable[[Callable], Callable]:
    """Compile a function where the library is JAX, which is faster than one compilation per operation."""
    return jax.jit if library is Library.JAX else lambda function: function
