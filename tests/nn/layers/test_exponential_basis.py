"""Basis functions with a learned rate."""

from __future__ import annotations

import e3any_flax
import e3any_numpy
import e3any_torch
import e3x
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from layer_cases import jit

from e3any import nn
from e3any.testing import assert_parity

OPTIONS = {"max_degree": 2, "num": 3}


@pytest.mark.parametrize("family", ["bernstein", "chebyshev", "fourier", "gaussian"])
def test_parameters_outputs_and_gradients_are_those_of_e3x(rng, family):
    r, name = rng.normal(size=(4, 3)), f"exponential_{family}"

    def run(e3, key):
        module = e3.nn.ExponentialBasis(initial_gamma=0.7)
        options = {
            **OPTIONS,
            "radial_fn": getattr(e3.nn, name),
            "cutoff_fn": lambda x: e3.nn.smooth_cutoff(x, 3.0),
            "damping_fn": e3.nn.smooth_damping,
            "return_cutoff": True,
            "return_norm": True,
        }
        variables = module.init(key, r, **options)
        wide = {"params": {"gamma": jnp.asarray(0.3)}}
        outputs = module.apply(wide, r, **options)
        loss = lambda v, r: jnp.sin(module.apply(v, r, **options)[0]).sum()
        return variables, outputs, jax.grad(loss, argnums=(0, 1))(wide, jnp.asarray(r))

    ours, theirs = (jit(lambda key, e3=e3: run(e3, key))(jax.random.PRNGKey(0)) for e3 in (e3any_flax, e3x))
    assert jax.tree.structure(ours[0]) == jax.tree.structure(theirs[0])
    np.testing.assert_allclose(ours[0]["params"]["gamma"], theirs[0]["params"]["gamma"], rtol=1e-6)
    assert_parity(ours[1:], theirs[1:])


def test_one_parameter_serves_all_frameworks(rng):
    r = rng.normal(size=(5, 3)).astype(np.float32)
    options = {**OPTIONS, "radial_fn": nn.exponential_bernstein}
    module = e3any_torch.nn.ExponentialBasis(initial_gamma=2.0)
    tree = e3any_torch.to_tree(module)
    np.testing.assert_allclose(np.logaddexp(0, tree["gamma"]), 2.0, rtol=1e-6)
    expected = e3any_numpy.nn.ExponentialBasis()(tree, r, **options)
    assert_parity(module(torch.from_numpy(r), **options).detach(), expected)
    assert_parity(e3any_flax.nn.ExponentialBasis().apply({"params": tree}, r, **options), expected)
    factored = e3any_numpy.nn.ExponentialBasis()(tree, r, factored=True, **options)
    assert_parity(factored.array(), expected)


@pytest.mark.parametrize("gamma", [0.0, -1.0])
def test_rates_that_are_not_positive_are_refused(gamma):
    with pytest.raises(ValueError, match=f"expected initial_gamma > 0, got {gamma}"):
        nn.ExponentialBasis(gamma)
