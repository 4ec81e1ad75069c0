"""Derivatives of functions of arrays."""

from __future__ import annotations

import e3x
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from e3any import ops
from e3any.testing import assert_parity


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # PyTorch's own
def test_derivatives_of_a_sine_are_sines_and_cosines(rng):
    x = rng.normal(size=(2, 3))
    expected = [np.sin(x), np.cos(x), -np.sin(x), -np.cos(x)]
    assert_parity(ops.evaluate_derivatives(torch.sin, torch.from_numpy(x), 3), expected)
    assert_parity(jax.jit(lambda x: ops.evaluate_derivatives(jnp.sin, x, 3))(x), expected)
    assert_parity(e3x.ops.evaluate_derivatives(jnp.sin, jnp.asarray(x), 3), expected)


def test_order_zero_is_the_function_on_every_library(library, rng):
    x = library.array(rng.normal(size=4))
    (y,) = ops.evaluate_derivatives(library.xp.exp, x, 0)
    assert library.owns(y)


def test_bad_orders_and_libraries_without_derivatives_are_refused(rng):
    with pytest.raises(ValueError, match="expected max_order to be an integer >= 0, got -1"):
        ops.evaluate_derivatives(np.sin, rng.normal(size=3), -1)
    with pytest.raises(TypeError, match="derivatives need JAX or PyTorch, got array_api_compat"):
        ops.evaluate_derivatives(np.sin, rng.normal(size=3), 1)
