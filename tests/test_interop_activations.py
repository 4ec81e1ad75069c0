"""Factors of activations, against the libraries that have them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from e3any import interop


@pytest.mark.parametrize("name", ["silu", "sigmoid", "tanh", "relu", "shifted_softplus", "abs"])
def test_scales_of_activations_are_those_of_the_libraries(name):
    e3nn_math, e3nn_jax = pytest.importorskip("e3nn.math"), pytest.importorskip("e3nn_jax")
    functions = {"shifted_softplus": lambda x: torch.nn.functional.softplus(x) - np.log(2.0)}
    function = functions.get(name) or getattr(torch.nn.functional, name, None) or getattr(torch, name)
    theirs = {"shifted_softplus": lambda x: jax.nn.softplus(x) - np.log(2.0)}
    other = theirs.get(name) or getattr(jax.nn, name, None) or getattr(jnp, name)
    assert interop.activation_scale(name, "e3nn") == pytest.approx(e3nn_math.normalize2mom(function).cst, rel=1e-12)
    one = jnp.float32(1.0)
    with jax.enable_x64(False):
        scale = float(e3nn_jax.normalize_function(other)(one) / other(one))
    assert interop.activation_scale(name, "e3nn-jax") == pytest.approx(scale, rel=1e-6)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    x = np.concatenate([6.0 * nodes - 6.0, 6.0 * nodes + 6.0])
    values = function(torch.from_numpy(x)).numpy() ** 2 * np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)
    moment = 6.0 * (np.concatenate([weights, weights]) * values).sum()
    assert interop.activation_scale(name) == pytest.approx(moment**-0.5, rel=1e-10)
