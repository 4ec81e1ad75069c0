"""Pooling over the graphs of a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from layer_cases import features, jit

from e3any import nn
from e3any.testing import assert_equivariant, assert_parity

# Three graphs, the second of which is empty; -1 and 3 are padding.
SEGMENTS = np.asarray([0, 2, 0, -1, 2, 2, 3])
NUMPY = {"sum": np.sum, "mean": np.mean, "max": np.max}


@pytest.mark.parametrize("reduction", NUMPY)
def test_nodes_of_every_graph_are_reduced(library, rng, reduction):
    x = features(rng, 7, 1, 1 if reduction == "max" else 4, 3)
    y = nn.pool(library.array(x), library.array(SEGMENTS), 3, reduction)
    assert library.owns(y)
    expected = [NUMPY[reduction](x[graph == SEGMENTS], axis=0) if graph != 1 else 0 * x[0] for graph in range(3)]
    assert_parity(y, np.stack(expected))


@pytest.mark.parametrize("reduction", NUMPY)
def test_dtypes_and_libraries_agree_with_gradients(rng, reduction):
    import jax
    import jax.numpy as jnp

    x = features(rng, 7, 1, 1, 3)
    t = torch.from_numpy(x).requires_grad_()
    nn.pool(t, torch.from_numpy(SEGMENTS), 3, reduction).sin().sum().backward()
    loss = jax.grad(lambda x: jnp.sin(nn.pool(x, jnp.asarray(SEGMENTS), 3, reduction)).sum())
    assert_parity(t.grad, jit(loss)(jnp.asarray(x)))
    short = nn.pool(torch.from_numpy(x).bfloat16(), torch.from_numpy(SEGMENTS), 3, reduction)
    assert_parity(short, nn.pool(x, SEGMENTS, 3, reduction), "bfloat16")


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_sums_and_means_are_equivariant(rng, reduction):
    assert_equivariant(lambda x: nn.pool(x, SEGMENTS, 3, reduction), features(rng, 7, 2, 9, 3))


def test_graphs_without_any_nodes_are_zero(library):
    x, segments = library.array(np.zeros((0, 1, 1, 3))), library.array(np.zeros(0, int))
    for reduction in NUMPY:
        np.testing.assert_array_equal(library.numpy(nn.pool(x, segments, 2, reduction)), np.zeros((2, 1, 1, 3)))
