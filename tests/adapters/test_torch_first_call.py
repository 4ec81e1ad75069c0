"""Where and how PyTorch modules get their parameters: devices without numbers, and modes at the first call."""

from __future__ import annotations

import e3any_torch
import pytest
import torch
from e3any_torch import Layout
from torch._subclasses import FakeTensorMode

# PyTorch itself still uses what it warns of.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")

LAYOUT = Layout(1, 8)
X = torch.randn(3, *LAYOUT.shape, generator=torch.Generator().manual_seed(0))


def lazy(x):
    module = e3any_torch.nn.TensorDense(8)
    module(x)
    return module


def built(_):
    return e3any_torch.nn.TensorDense(LAYOUT, 8)


@pytest.mark.parametrize("make", [lazy, built])
@pytest.mark.parametrize("mode", [lambda: torch.device("meta"), FakeTensorMode])
def test_modules_without_numbers_draw_none(make, mode):
    before = torch.get_rng_state()
    with mode():
        x = torch.empty(3, *LAYOUT.shape)
        module = make(x)
        module(x).sum().backward()
    assert torch.equal(torch.get_rng_state(), before)
    expected = {name: value.shape for name, value in built(None).named_parameters()}
    assert {name: value.shape for name, value in module.named_parameters()} == expected
    assert {type(p.data) for p in module.parameters()} == {type(x)}
    assert {p.device for p in module.parameters()} == {x.device}
    assert all(p.grad.shape == p.shape for p in module.parameters())


@pytest.mark.parametrize("make", [lazy, built])
def test_modules_on_the_meta_device_take_a_state(make):
    real = built(None)
    with torch.device("meta"):
        module = make(torch.empty(3, *LAYOUT.shape))
    module.load_state_dict(real.state_dict(), assign=True)
    assert torch.equal(module(X), real(X))
    with torch.device("meta"):
        module = e3any_torch.nn.TensorDense(8)
    module.load_state_dict(real.state_dict(), assign=True)
    assert torch.equal(module(X), real(X))
    module = module.to("meta").to_empty(device="cpu")
    module.load_state_dict(real.state_dict())
    assert torch.equal(module(X), real(X))


def test_lazy_modules_take_inputs_of_the_meta_device():
    module = lazy(X.to("meta"))
    assert {p.device.type for p in module.parameters()} == {"meta"}
    assert lazy(X.to("meta", torch.bfloat16))(X.to("meta")).shape == (3, 2, 4, 8)


def in_inference_mode(module):
    with torch.inference_mode():
        module(X)


def without_gradients(module):
    with torch.no_grad():
        module(X)


@pytest.mark.parametrize(
    "first",
    [
        in_inference_mode,
        without_gradients,
        lambda module: torch.func.vmap(module)(X),
        lambda module: torch.func.grad(lambda x: module(x).sum())(X),
        lambda module: torch.func.jvp(module, (X,), (X,)),
    ],
)
def test_lazy_modules_can_be_trained_after_any_first_call(first):
    module = e3any_torch.nn.TensorDense(8)
    first(module)
    module(X).sum().backward()
    assert len(list(module.parameters())) == 4
    assert all(p.grad is not None for p in module.parameters())
