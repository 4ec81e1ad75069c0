"""What PyTorch modules hold: copies, states, dtypes, devices, and what torch.nn.utils does to parameters."""

from __future__ import annotations

import copy
import inspect
import io
import pickle

import e3any_torch
import pytest
import torch
from torch.nn.utils import parametrizations, parametrize, prune
from torch.utils._pytree import tree_map
from torch_cases import CASES, every_layer, floating

from e3any import Layout, nn
from e3any.testing import assert_parity

X = torch.randn(4, 2, 4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def saved_and_loaded(x):
    file = io.BytesIO()
    torch.save(x, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@every_layer
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_copies_are_modules_of_their_own(case, duplicate):
    module, (inputs, options) = case.module(), case.arguments()
    before = module(*inputs, **options)
    other = duplicate(module)
    assert type(other) is type(module)
    assert torch.equal(other(*inputs, **options), before)
    other.apply(lambda child: [parameter.data.zero_() for parameter in child.parameters(recurse=False)])
    assert not torch.equal(other(*inputs, **options), before)
    assert torch.equal(module(*inputs, **options), before)


@every_layer
def test_lazy_modules_take_a_saved_state(case):
    module, (inputs, options) = case.module(), case.arguments()
    lazy = copy.deepcopy(case.lazy())
    lazy.load_state_dict(saved_and_loaded(module.state_dict()))
    assert list(lazy.state_dict()) == list(module.state_dict())
    assert torch.equal(lazy(*inputs, **options), module(*inputs, **options))


def test_lazy_modules_share_no_memory_with_a_state():
    state = CASES["TensorDense"].module().state_dict()
    before = copy.deepcopy(state)
    lazy = e3any_torch.nn.TensorDense(2).double()
    lazy.load_state_dict(state)
    with torch.no_grad():
        for parameter in lazy.parameters():
            parameter.zero_()
    assert all(torch.equal(state[name], value) for name, value in before.items())
    lazy(X).sum().backward()
    assert not any(value.requires_grad for value in state.values())


def test_lazy_modules_within_others_take_their_part_of_a_state():
    def model():
        return torch.nn.Sequential(e3any_torch.nn.Dense(2), e3any_torch.nn.TensorDense(2)).double()

    first, second = model(), model()
    expected = first(X)
    second.load_state_dict(first.state_dict())
    assert torch.equal(second(X), expected)


def test_lazy_modules_refuse_the_state_of_another_layer():
    lazy = e3any_torch.nn.Dense(2)
    lazy.load_state_dict(CASES["TensorDense"].module().state_dict())
    with pytest.raises(ValueError, match=r"expected the parameters of the layer, got a tree that lacks \['0\+/bias'"):
        lazy(X)
    lazy = e3any_torch.nn.Dense(2)
    lazy.load_state_dict({})
    assert lazy(X).shape == X.shape


def test_lazy_modules_remember_their_dtype_and_device():
    lazy = e3any_torch.nn.TensorDense(2).to(torch.float64)
    assert not lazy.state_dict()
    assert lazy(X).dtype == torch.float64
    assert {parameter.dtype for parameter in lazy.parameters()} == {torch.float64}
    assert not list(lazy.buffers())
    lazy = e3any_torch.nn.TensorDense(2, generator=torch.Generator().manual_seed(1)).to("meta")
    with pytest.raises(ValueError, match="expected tensors on one device, got cpu and meta"):
        lazy(X)
    assert {parameter.device.type for parameter in lazy.parameters()} == {"meta"}


@pytest.fixture
def double_by_default():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@every_layer
def test_new_modules_have_the_default_dtype_of_their_making(case, double_by_default):
    states = []
    for default, converted in ((torch.float64, None), (torch.float64, torch.float32), (torch.float32, None)):
        torch.set_default_dtype(default)
        torch.manual_seed(0)
        module = case.lazy().to(converted)
        torch.set_default_dtype(torch.float32)
        inputs, options = case.arguments(converted or default)
        module(*inputs, **options)
        states.append(module.state_dict())
        assert all(x.dtype == (converted or default) for x in states[-1].values())
    for name, expected in states[-1].items():
        assert torch.equal(states[0][name].float(), expected)
        assert torch.equal(states[1][name], expected)


def test_layouts_give_modules_of_the_default_dtype(double_by_default):
    module = e3any_torch.nn.TensorDense(Layout(1, 2, True), 2)
    assert {x.dtype for x in module.parameters()} == {torch.nn.Linear(2, 2).weight.dtype} == {torch.float64}
    assert module(X).dtype == torch.float64


def test_lazy_copies_draw_the_same_parameters():
    lazy = e3any_torch.nn.Dense(2, generator=torch.Generator().manual_seed(1))
    other = pickle.loads(pickle.dumps(lazy))
    assert torch.equal(lazy(X), other(X))


def test_states_of_another_module_are_refused():
    module, state = CASES["Dense"].module(), CASES["TensorDense"].module().state_dict()
    with pytest.raises(RuntimeError, match=r"Missing key\(s\) in state_dict: \"0\+\.kernel\", \"0\+"):
        module.load_state_dict(state)
    state = {name: value[..., :1] for name, value in module.state_dict().items()}
    with pytest.raises(RuntimeError, match=r"size mismatch for 0\+\.kernel"):
        module.load_state_dict(state)
    state = {name: 2 * value for name, value in module.state_dict().items() if name != "1-.kernel"}
    missing = module.load_state_dict(state, strict=False)
    assert missing.missing_keys == ["1-.kernel"]


@every_layer
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_dtypes_are_kept(case, dtype):
    inputs, options = case.arguments(dtype)
    y = case.module().to(dtype)(*inputs, **options)
    assert y.dtype == dtype
    assert y.isfinite().all()


@every_layer
def test_shapes_are_found_without_numbers(case):
    module, (inputs, options) = case.module(), case.arguments()
    expected = module(*inputs, **options)
    inputs, options = tree_map(lambda x: x.to("meta"), (inputs, options))
    y = module.to("meta")(*inputs, **options)
    assert (y.device.type, y.shape, y.dtype) == ("meta", expected.shape, expected.dtype)


@every_layer
def test_parameters_can_be_frozen_and_gradients_clipped(case):
    module, (inputs, options) = case.module(), case.arguments()
    module(*inputs, **options).sin().sum().backward()
    norm = torch.nn.utils.clip_grad_norm_(module.parameters(), 1e-3)
    assert norm > 1e-3
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    assert_parity(torch.nn.utils.get_total_norm(gradients), 1e-3, rtol=1e-3)
    assert not module.requires_grad_(False)(*inputs, **options).requires_grad


@every_layer
def test_autocast_rounds_products_and_keeps_dtypes(case):
    module, (inputs, options) = case.module(torch.float32), case.arguments(torch.float32)
    expected = module(*inputs, **options)
    with torch.autocast("cpu", torch.bfloat16):
        y = module(*inputs, **options)
    y.sin().sum().backward()
    # The last product of the composed model is not one of a layer.
    assert y.dtype == (torch.bfloat16 if case is CASES["composed"] else torch.float32)
    assert (y - expected).abs().max() < 0.05 * expected.abs().max()
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    assert all(gradient.isfinite().all() and gradient.dtype == torch.float32 for gradient in gradients)


class Doubled(torch.nn.Module):
    """Twice a parameter."""

    def forward(self, w):
        return 2 * w


def kernels(module):
    return [child for child in module.modules() if hasattr(child, "kernel")]


@every_layer
def test_parametrized_kernels_are_used(case):
    module, (inputs, options) = case.module(), case.arguments()
    expected = copy.deepcopy(module)
    for child in kernels(module):
        parametrize.register_parametrization(child, "kernel", Doubled())
    for child in kernels(expected):
        child.kernel.data.mul_(2)
    assert_parity(module(*inputs, **options), expected(*inputs, **options))


@pytest.mark.parametrize("compiled", [False, True])
def test_norms_of_kernels_can_be_parameters(compiled):
    module = CASES["TensorDense"].module()
    expected = module(X)
    run = torch.compile(module, fullgraph=True, backend="aot_eager") if compiled else module
    for child in kernels(module):
        parametrizations.weight_norm(child, "kernel")
    assert_parity(run(X), expected)
    child = module.get_submodule("dense.0+")
    with torch.no_grad():
        child.parametrizations.kernel.original0.mul_(3)
    assert (run(X) - expected).abs().max() > 0.1
    run(X).sum().backward()
    assert child.parametrizations.kernel.original1.grad is not None


def test_spectral_norm_and_pruning_take_effect():
    module = CASES["Dense"].module()
    child = module.get_submodule("0+")
    parametrizations.spectral_norm(child, "kernel", n_power_iterations=50)
    y = module(X)
    assert_parity(torch.linalg.matrix_norm(child.kernel, 2), 1.0, rtol=1e-6)
    assert_parity(y[:, 0, :1], X[:, 0, :1] @ child.kernel + child.bias)
    child = module.get_submodule("1-")
    prune.random_unstructured(child, "kernel", amount=1.0)
    y = module(X)
    assert not y[:, 1, 1:].any()
    assert {"1-.kernel_orig", "1-.kernel_mask"} <= set(module.state_dict())


def test_names_of_inputs_are_those_of_the_layer():
    parameters = inspect.signature(e3any_torch.nn.MessagePass(max_degree=1).forward).parameters
    assert list(parameters)[:4] == ["inputs", "basis", "weights", "adj_idx"]
    assert e3any_torch.nn.MessagePass.forward.__doc__ == nn.MessagePass.forward.__doc__


def test_factored_bases_may_be_loaded_safely():
    parts = nn.FactoredBasis(X, X)
    loaded = saved_and_loaded(parts)
    assert isinstance(loaded, nn.FactoredBasis)
    assert torch.equal(floating(lambda x: 2 * x, loaded).radial, 2 * X)
