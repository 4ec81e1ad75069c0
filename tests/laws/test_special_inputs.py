"""Layers at inputs where something is missing: values and derivatives to fourth order along a line are finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from e3any_backends import kernels
from layer_cases import random_parameters
from torch.utils._pytree import tree_map
from torch_cases import CASES, Case, every_layer, floating

KINDS = ["zero features", "coincident points", "one node", "no nodes", "no edges", "padding alone"]


def special(case: Case, kind: str) -> tuple[tuple, dict]:
    """Return inputs and options of a case in which something is missing."""
    num = {"one node": 1, "no nodes": 0}.get(kind, 4)
    inputs, options = case.arguments(num=num)
    if kind == "zero features":
        return floating(torch.zeros_like, (inputs, options))
    if kind == "coincident points":
        return floating(lambda x: x[:1].expand(x.shape).clone(), (inputs, options))
    if kind == "padding alone":
        return inputs, {name: torch.full_like(x, num) for name, x in options.items()}
    if kind == "no edges" and "adj_idx" in options:
        without = options["adj_idx"][:, :0]
        *nodes, basis = inputs
        return (*nodes, tree_map(lambda x: x[:, :0], basis)), {"adj_idx": without}
    if kind == "no edges" and "dst_idx" in options:
        *nodes, basis = inputs
        return (*nodes, tree_map(lambda x: x[:0], basis)), {name: x[:0] for name, x in options.items()}
    return inputs, options


def derivatives(function: Any, inputs: Any) -> list[torch.Tensor]:
    """Return the sum of what a function gives, and its derivatives of orders 1 to 4 along a line of inputs."""
    generator = torch.Generator().manual_seed(9)
    t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    y = function(floating(lambda x: x + t * torch.randn(x.shape, generator=generator, dtype=x.dtype), inputs))
    found = [y.sum()]
    for _ in range(4):
        y = found[-1]
        gradient = torch.autograd.grad(y, t, create_graph=True, materialize_grads=True)[0] if y.requires_grad else 0 * y
        found.append(gradient)
    return found


@every_layer
@pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "plain"])
def test_values_and_derivatives_are_finite(case, kernel):
    module = case.module()
    with kernels.enabled(kernel):
        for kind in KINDS:
            inputs, options = special(case, kind)
            found = derivatives(lambda x, options=options: module(*x, **options), inputs)
            assert all(torch.isfinite(x) for x in found), (kind, found)


# Embeddings, bases and energies of atoms are not features.
OTHERS = ("composed", "Embed", "ExponentialBasis", "ScaleShift")


@pytest.mark.parametrize("name", [name for name in CASES if name not in OTHERS])
def test_features_may_have_no_channels(name):
    layer, (inputs, options) = CASES[name].layer, CASES[name].arguments()
    inputs = floating(lambda x: x[..., :0] if x.shape[-2:] == (4, 2) else x, inputs)
    inputs, options = tree_map(lambda x: x.numpy(), (inputs, options))
    params = random_parameters(layer, np.random.default_rng(0), inputs, options)
    y = layer(params, *inputs, **options)
    assert (len(y), y.shape[-2]) == (4, 4)
    assert np.isfinite(y).all()
