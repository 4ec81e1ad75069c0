"""Training of a small force field under torch.compile, at sizes that people use."""

from __future__ import annotations

import copy
import os
import shutil
from dataclasses import dataclass
from typing import Any

import e3any_torch
import pytest
import torch
from composed_model import molecule
from torch.func import functional_call, grad_and_value

from e3any import nn
from e3any.testing import assert_parity

# PyTorch itself still uses what it warns of.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")

has_compiler = pytest.mark.skipif(
    not (os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")),
    reason="the default compiler of PyTorch needs one of C++",
)

on_demand = pytest.mark.skipif("E3ANY_MODES" not in os.environ, reason="make test-modes does it: it takes minutes")


@dataclass(frozen=True)
class ForceField(nn.Layer):
    """An energy from numbers of nodes and displacements along edges."""

    features: int
    radial_fn: Any = nn.reciprocal_bernstein
    num: int = 8

    def forward(self, p, numbers, displacements, dst_idx, src_idx):
        basis = nn.basis(displacements, max_degree=1, num=self.num, radial_fn=self.radial_fn, factored=True)
        x = nn.Embed(10, self.features)(p / "embed", numbers)
        y = nn.MessagePass(max_degree=1)(p / "message", x, basis, dst_idx=dst_idx, src_idx=src_idx)
        x = nn.TensorDense(self.features, 1)(p / "product", nn.add(x, y))
        return nn.Dense(1)(p / "energy", nn.silu(x))[:, 0, 0, 0].sum()


def force_field(description):
    generator = torch.Generator().manual_seed(0)
    module = e3any_torch.to_torch(description, *map(torch.from_numpy, molecule()), generator=generator)
    return module.double(), tuple(map(torch.from_numpy, molecule("float64")))


def trained(module, loss):
    """Return losses, and the parameters after two steps."""
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        losses.append(value.detach())
    assert losses[1] < losses[0]
    return losses, dict(module.named_parameters())


def assert_trained_alike(description, backend, wrap):
    """Compare with eager training what is done when a function of a module that ``wrap`` makes is compiled."""
    module, inputs = force_field(description)
    other = copy.deepcopy(module)
    torch._dynamo.reset()
    function = torch.compile(wrap(other), fullgraph=True, backend=backend)
    assert_parity(trained(other, lambda: function(*inputs)), trained(module, lambda: wrap(module)(*inputs)))


def energy_loss(module):
    return lambda *inputs: (module(*inputs) - 1) ** 2


def force_loss(module):
    """Forces by torch.func, which compilers trace; they do not differentiate their own programs twice."""

    def loss(numbers, displacements, *edges):
        parameters = dict(module.named_parameters())

        def energy(r):
            return functional_call(module, parameters, (numbers, r, *edges))

        forces, value = grad_and_value(energy)(displacements)
        return (value - 1) ** 2 + (forces**2).sum()

    return loss


@pytest.mark.parametrize("features", [16, 32, 64, 128])
def test_energies_are_trained_under_the_compiler(features):
    assert_trained_alike(ForceField(features), "aot_eager", energy_loss)


# Within torch.func no kernel is used, so that nothing depends on the number of features.
def test_forces_are_trained_under_the_compiler():
    assert_trained_alike(ForceField(16), "aot_eager", force_loss)


@has_compiler
def test_energies_are_trained_under_the_default_compiler():
    assert_trained_alike(ForceField(32, nn.basic_gaussian, 2), "inductor", energy_loss)


@has_compiler
@on_demand
@pytest.mark.parametrize("loss", [energy_loss, force_loss])
def test_models_are_trained_under_the_default_compiler(loss):
    assert_trained_alike(ForceField(64), "inductor", loss)
