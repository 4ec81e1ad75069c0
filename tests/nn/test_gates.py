"""Activations by gates and of norms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from layer_cases import features, torch_gradient

from e3any import nn
from e3any.conventions import parity_names
from e3any.interop import to_features
from e3any.testing import assert_equivariant, assert_parity

IRREPS = [(1, 1), (2, 1), (0, -1), (1, -1), (2, -1)]


class Plain(torch.nn.Module):
    """An activation as it is."""

    def __init__(self, function):
        super().__init__()
        self.forward = function


def e3nn_without_moments(monkeypatch):
    """Let e3nn use activations as they are; it scales them to unit second moment."""
    modules = [pytest.importorskip("e3nn.nn._activation"), pytest.importorskip("e3nn.nn._gate")]
    for module in modules:
        if hasattr(module, "normalize2mom"):
            monkeypatch.setattr(module, "normalize2mom", lambda function, *_, **__: Plain(function))
    return pytest.importorskip("e3nn.nn"), pytest.importorskip("e3nn.o3")


def test_gated_features_are_those_of_e3nn(library, rng, monkeypatch):
    e3nn, o3 = e3nn_without_moments(monkeypatch)
    x, gates = features(rng, 5, 2, 9, 3), features(rng, 5, 1, 1, 15)
    y = nn.gate(library.array(x), library.array(gates), nn.silu)
    assert library.owns(y)
    gated = o3.Irreps([(3, irrep) for irrep in IRREPS])
    oracle = e3nn.Gate("3x0e", [torch.nn.functional.silu], "15x0e", [torch.sigmoid], gated)
    assert str(oracle.irreps_in) == "3x0o+18x0e+3x1o+3x1e+3x2o+3x2e"
    tensors = to_features(x, "e3nn", [(1, -1), (1, 1), (2, -1), (2, 1)])
    flat = np.concatenate([x[:, 1, 0], x[:, 0, 0], gates[:, 0, 0], tensors], axis=-1)
    expected = oracle(torch.from_numpy(flat))
    assert_parity(to_features(library.numpy(y), "e3nn", [(0, 1), *IRREPS]), expected)


def test_one_gate_for_all_irreps_of_a_feature_is_that_gate_many_times(library, rng):
    x, gates = features(rng, 2, 2, 9, 3), features(rng, 2, 1, 1, 3)
    one, many = (nn.gate(library.array(x), library.array(g), nn.gelu) for g in (gates, np.tile(gates, 5)))
    assert_parity(one, many)
    assert_parity(one[:, 1:, ...], x[:, 1:] / (1 + np.exp(-gates)))


def test_gates_by_own_scalars_are_plain_activations(library, rng):
    x = library.array(features(rng, 4, 1, 9, 2))
    assert_parity(nn.gate(x, x[:, :, :1, :]), nn.silu(x))


def test_scalars_alone_are_activated(library, rng):
    x = library.array(features(rng, 4, 1, 1, 2))
    for size in (0, 2):
        assert_parity(nn.gate(x, library.array(np.ones((4, 1, 1, size)))), nn.silu(x))


def test_activated_norms_are_those_of_e3nn(library, rng, monkeypatch):
    e3nn, o3 = e3nn_without_moments(monkeypatch)
    x, bias = features(rng, 5, 2, 9, 3), features(rng, 2, 3, 3)
    y = nn.norm_activation(library.array(x), nn.silu, library.array(bias))
    assert library.owns(y)
    irreps = [(degree, (1, -1)[parity]) for parity, degree, _ in parity_names(2, 2)]
    kind = o3.Irreps([(3, irrep) for irrep in irreps])
    oracle = e3nn.NormActivation(kind, torch.nn.functional.silu, bias=True).double()
    oracle.biases.data = torch.from_numpy(bias.ravel())
    expected = oracle(torch.from_numpy(to_features(x, "e3nn", irreps)))
    assert_parity(to_features(library.numpy(y), "e3nn", irreps), expected.detach())


@pytest.mark.parametrize(
    "function", [lambda x: nn.gate(x, x[..., :1, :1, :]), nn.norm_activation], ids=["gate", "norm"]
)
def test_functions_and_their_gradients_are_equivariant(rng, function):
    x = features(rng, 3, 2, 9, 4)
    assert_equivariant(function, x)
    assert_equivariant(torch_gradient(function), torch.from_numpy(x))


def test_derivatives_of_norm_activation_are_finite_at_zero():
    x = torch.zeros((2, 2, 4, 3), dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(nn.norm_activation(x, nn.mish).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sin().sum(), x)
    assert torch.isfinite(first).all()
    assert torch.isfinite(second).all()
