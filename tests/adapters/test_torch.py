"""PyTorch modules from descriptions."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import dataclass
from functools import partial

import e3any_torch
import numpy as np
import pytest
import torch
from composed_model import Energies, molecule
from layer_cases import features, tree_map

import e3any
from e3any import Layout, nn
from e3any.files.bfloat16 import bfloat16_bits
from e3any.nn.layer import check_tree, leaves
from e3any.testing import assert_parity

NAMES = ["Dense", "Embed", "MessagePass", "Tensor", "TensorDense"]
LAYOUT = Layout(1, 3, pseudotensors=True)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def tensors(dtype="float32"):
    return tuple(map(torch.from_numpy, molecule(dtype)))


@pytest.fixture
def energies():
    """The module of a composed model, in float64."""
    return e3any_torch.to_torch(Energies(), *tensors(), generator=seeded()).double()


@pytest.fixture
def x(rng):
    return torch.from_numpy(features(rng, 2, *LAYOUT.shape)).float()


@pytest.mark.parametrize("name", NAMES)
def test_classes_carry_their_own_name_and_documentation(name):
    module = getattr(e3any_torch.nn, name)
    assert issubclass(module, e3any_torch.LayerModule)
    assert (module.__name__, module.__module__) == (name, "e3any_torch.nn")
    assert inspect.getdoc(module).startswith(inspect.getdoc(getattr(nn, name)))


@pytest.mark.parametrize(
    ("module", "description", "layouts"),
    [
        (partial(e3any_torch.nn.Dense, LAYOUT, 4), nn.Dense(4), (LAYOUT,)),
        (partial(e3any_torch.nn.Dense, LAYOUT, features=4, use_bias=False), nn.Dense(4, use_bias=False), (LAYOUT,)),
        (partial(e3any_torch.nn.Embed, 5, 3), nn.Embed(5, 3), ()),
        (partial(e3any_torch.nn.Tensor, LAYOUT, Layout(2, 3), 2), nn.Tensor(2), (LAYOUT, Layout(2, 3))),
        (partial(e3any_torch.nn.TensorDense, LAYOUT), nn.TensorDense(), (LAYOUT,)),
        (partial(e3any_torch.nn.MessagePass, LAYOUT, Layout(2, 5)), nn.MessagePass(), (LAYOUT, Layout(2, 5))),
    ],
)
def test_modules_are_built_from_layouts_and_hyper_parameters(module, description, layouts):
    built = module(generator=seeded())
    assert built.description == description
    check_tree(e3any_torch.to_tree(built), description.parameters(*layouts))
    same = e3any_torch.to_torch(description, *layouts, generator=seeded()).state_dict()
    for name, value in built.state_dict().items():
        assert torch.equal(value, same[name])


def test_names_in_the_state_are_paths():
    state = e3any_torch.nn.TensorDense(Layout(1, 3), 4).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == {
        "dense.0+.kernel": (3, 8),
        "dense.0+.bias": (8,),
        "dense.1-.kernel": (3, 8),
        "tensor.kernel": (1, 2, 1, 2, 2, 2, 4),
    }


def test_generator_or_the_global_seed_decides_the_parameters():
    def kernels(generator=None):
        return e3any_torch.nn.Dense(LAYOUT, 4, generator=generator).state_dict()["0+.kernel"]

    assert torch.equal(kernels(seeded(1)), kernels(seeded(1)))
    assert not torch.equal(kernels(seeded(1)), kernels(seeded(2)))
    torch.manual_seed(3)
    first, second = kernels(), kernels()
    torch.manual_seed(3)
    assert torch.equal(kernels(), first)
    assert not torch.equal(first, second)


def test_parameters_of_one_shape_are_drawn_independently(energies):
    drawn = [value.detach().numpy().tobytes() for value in energies.parameters() if value.any()]
    assert len(set(drawn)) == len(drawn)


def test_composed_module_computes_what_its_description_does(energies):
    expected = energies.description(e3any_torch.to_tree(energies), *molecule("float64"))
    assert_parity(energies(*tensors("float64")), expected, "float64")


def test_lazy_module_takes_shapes_from_its_first_call(x):
    for module in (e3any_torch.to_torch(nn.Dense(4), generator=seeded()), e3any_torch.nn.Dense(4, generator=seeded())):
        assert not list(module.parameters())
        y = module(x)
        eager = e3any_torch.nn.Dense(LAYOUT, 4, generator=seeded())
        assert torch.equal(y, eager(x))
        assert torch.equal(module(x), y)
        assert module.state_dict().keys() == eager.state_dict().keys()


def test_lazy_module_takes_inputs_by_name():
    inputs = dict(zip(("numbers", "displacements", "dst_idx", "src_idx"), tensors()))
    lazy, built = e3any_torch.to_torch(Energies()), e3any_torch.to_torch(Energies(), **inputs)
    lazy(**inputs)
    check_tree(e3any_torch.to_tree(lazy), e3any_torch.to_tree(built))


def test_modules_can_be_built_from_arrays_and_basis_parts():
    x, edge = torch.ones(4, *LAYOUT.shape), torch.zeros(6, dtype=torch.int64)
    parts = nn.FactoredBasis(torch.ones(6, 1, 5), torch.ones(6, 9))
    module = e3any_torch.to_torch(nn.MessagePass(), x, parts, dst_idx=edge, src_idx=edge)
    check_tree(e3any_torch.to_tree(module), nn.MessagePass().parameters(LAYOUT, Layout(2, 5)))


def test_module_of_a_module(x):
    model = torch.nn.Sequential(e3any_torch.nn.Dense(LAYOUT, 4), e3any_torch.nn.TensorDense(Layout(1, 4, True), 2))
    assert "1.dense.0+.bias" in model.state_dict()
    assert model(x).shape == (2, 2, 4, 2)


def test_state_of_one_module_is_that_of_another(energies):
    other = e3any_torch.to_torch(Energies(), *tensors(), generator=seeded(1)).double()
    inputs = tensors("float64")
    assert not torch.equal(other(*inputs), energies(*inputs))
    other.load_state_dict(energies.state_dict())
    assert torch.equal(other(*inputs), energies(*inputs))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_copies_are_independent(energies, duplicate):
    other, inputs = duplicate(energies), tensors("float64")
    before = energies(*inputs)
    assert torch.equal(other(*inputs), before)
    with torch.no_grad():
        other.readout.zero_()
    assert not other(*inputs).any()
    assert torch.equal(energies(*inputs), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtype_can_be_changed(energies, dtype):
    expected = energies(*tensors("float64"))
    energies = energies.to(dtype)
    assert {parameter.dtype for parameter in energies.parameters()} == {dtype}
    numbers, r, *edges = tensors()
    y = energies(numbers, r.to(dtype), *edges)
    assert_parity(y, expected, str(dtype).rpartition(".")[-1])


def test_derivatives_of_second_order_reach_parameters(energies):
    numbers, r, *edges = tensors("float64")
    r = r.requires_grad_()
    energy = energies(numbers, r, *edges).sum()
    (forces,) = torch.autograd.grad(energy, r, create_graph=True)
    energies.zero_grad()
    (forces**2).sum().backward()
    kernel = energies.block0.get_parameter("dense.0+.kernel")
    step = 1e-6

    def loss(sign):
        with torch.no_grad():
            kernel[0, 1] += sign * step
        (forces,) = torch.autograd.grad(energies(numbers, r, *edges).sum(), r)
        with torch.no_grad():
            kernel[0, 1] -= sign * step
        return (forces**2).sum()

    assert_parity(kernel.grad[0, 1], (loss(1) - loss(-1)) / (2 * step), rtol=1e-6)
    assert all(parameter.grad is not None for parameter in energies.parameters() if parameter.shape != (8,))


def test_gradients_of_both_orders_are_those_of_differences(rng):
    module = e3any_torch.nn.TensorDense(Layout(1, 2), 2).double()
    x = torch.from_numpy(features(rng, 1, 4, 2)).requires_grad_()
    assert torch.autograd.gradcheck(module, (x,))
    assert torch.autograd.gradgradcheck(module, (x,))


def test_modules_are_functions_of_their_state(energies, x):
    inputs = tensors("float64")
    state = {name: 2 * value for name, value in energies.state_dict().items()}
    expected = copy.deepcopy(energies)
    expected.load_state_dict(state)
    assert torch.equal(torch.func.functional_call(energies, state, inputs), expected(*inputs))
    module = e3any_torch.nn.Dense(LAYOUT, 4)
    assert_parity(torch.func.vmap(module)(x), module(x))


def test_parameters_can_be_parametrized(x):
    class Doubled(torch.nn.Module):
        """Twice a parameter."""

        def forward(self, w):
            return 2 * w

    module = e3any_torch.nn.Dense(LAYOUT, 4, use_bias=False)
    y = module(x)
    for name in ("0+", "0-", "1+", "1-"):
        torch.nn.utils.parametrize.register_parametrization(module.get_submodule(name), "kernel", Doubled())
    assert torch.equal(module(x), 2 * y)


def test_children_of_one_name_share_parameters(x):
    @dataclass(frozen=True)
    class Twice(nn.Layer):
        """One linear map, twice."""

        def forward(self, p, x):
            return nn.Dense(3)(p / "dense", nn.Dense(3)(p / "dense", x))

    module = e3any_torch.to_torch(Twice(), LAYOUT)
    tree = tree_map(torch.from_numpy, e3any_torch.to_tree(module))
    assert list(tree) == ["dense"]
    assert torch.equal(module(x), Twice()(tree, x))


def test_layers_without_parameters_have_none(x):
    @dataclass(frozen=True)
    class Silu(nn.Layer):
        """An activation."""

        def forward(self, p, x):
            return nn.silu(x)

    module = e3any_torch.to_torch(Silu(), LAYOUT)
    assert not list(module.parameters())
    assert torch.equal(module(x), nn.silu(x))


def test_trees_are_loaded_and_given_back(energies):
    tree = {n: v for n, v in e3any_torch.to_tree(energies).items()}
    other = e3any_torch.to_torch(Energies(), *tensors())
    e3any_torch.load_tree(other, tree)
    for path, value in leaves(e3any_torch.to_tree(other)):
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, dict(leaves(tree))[path].astype(np.float32))


def test_trees_are_copies(energies):
    tree = e3any_torch.to_tree(energies)
    tree["readout"][:] = 0
    assert energies.readout.all()


def test_trees_of_bfloat16_are_kept(energies):
    energies = energies.bfloat16()
    tree = e3any_torch.to_tree(energies)
    assert all(bfloat16_bits(value) is not None for _, value in leaves(tree))
    other = e3any_torch.to_torch(Energies(), *tensors()).bfloat16()
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    for loaded in (tree, tree_map(lambda value: value.astype(bfloat16), tree)):
        e3any_torch.load_tree(other, loaded)
        assert all(torch.equal(*values) for values in zip(other.parameters(), energies.parameters()))


def test_trees_of_other_parameters_are_refused_and_nothing_is_copied(x):
    module = e3any_torch.nn.Dense(LAYOUT, 4)
    before = copy.deepcopy(module.state_dict())
    tree = {name: {n: v + 1 for n, v in node.items()} for name, node in e3any_torch.to_tree(module).items()}
    with pytest.raises(ValueError, match=r"got a tree that lacks \['1-/kernel'\] and adds \['2\+/kernel'\]"):
        e3any_torch.load_tree(module, {**{n: v for n, v in tree.items() if n != "1-"}, "2+": tree["1-"]})
    with pytest.raises(ValueError, match=r"expected parameter '0\+/bias' of shape \(4,\), got \(5,\)"):
        e3any_torch.load_tree(module, {**tree, "0+": {**tree["0+"], "bias": np.ones(5)}})
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_inputs_of_another_layout_are_refused():
    module = e3any_torch.nn.Dense(Layout(1, 3), 4)
    expected = r"expected parameter '0\+\.kernel' of shape \(2, 4\), got \(3, 4\): the module Dense for Layout\("
    with pytest.raises(ValueError, match=expected):
        module(torch.ones(1, 4, 2))
    for shape, name in (((2, 4, 3), r"1\+"), ((1, 9, 3), r"2\+")):
        expected = rf"expected parameter '{name}\.kernel' of shape \(3, 4\), got none: the module Dense for Layout\("
        with pytest.raises(ValueError, match=expected):
            module(torch.ones(shape))


def test_arrays_of_another_library_are_refused(x):
    expected = r"got inputs of NumPy for a layer whose parameters are tensors of PyTorch: .* torch\.from_numpy\(x\)"
    for module in (e3any_torch.nn.Dense(LAYOUT, 4), e3any_torch.nn.TensorDense(LAYOUT)):
        with pytest.raises(TypeError, match=expected):
            module(x.numpy())


@pytest.mark.filterwarnings("ignore:.*(beta|prototype) s:UserWarning")
@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x.to_sparse(),
        lambda x: x.to_mkldnn(),
        lambda x: torch.nested.nested_tensor([x, x]),
        lambda x: torch.nested.nested_tensor([x, x], layout=torch.jagged),
    ],
)
def test_tensors_that_are_not_dense_are_refused(x, convert):
    other, idx = convert(x.clone()), torch.arange(2)
    for function in (
        e3any_torch.nn.Dense(LAYOUT, 4),
        lambda x: e3any_torch.nn.Tensor(LAYOUT, LAYOUT)(x, x),
        e3any_torch.nn.silu,
        lambda x: e3any_torch.so3.spherical_harmonics(x, 2),
        lambda x: e3any_torch.ops.gather_src(x, src_idx=idx),
        lambda x: e3any_torch.ops.indexed_sum(x, dst_idx=idx, num_segments=2),
    ):
        with pytest.raises(ValueError, match="expected dense tensors, got "):
            function(other)


def test_missing_and_unknown_hyper_parameters_are_refused():
    with pytest.raises(TypeError, match="features"):
        e3any_torch.nn.Dense(LAYOUT)
    with pytest.raises(TypeError, match="unknown"):
        e3any_torch.nn.Dense(LAYOUT, 4, unknown=1)
    with pytest.raises(ValueError, match="expected features to be an integer >= 0, got -1"):
        e3any_torch.nn.Dense(LAYOUT, -1)


def test_module_shows_its_description():
    assert "features=4" in repr(e3any_torch.nn.Dense(LAYOUT, 4))


def test_masks_of_degrees_are_tensors():
    for mask in (e3any_torch.nn.even_degree_mask, e3any_torch.nn.odd_degree_mask):
        assert isinstance(mask(2), torch.Tensor)


def test_settings_and_layouts_are_those_of_the_core():
    assert (e3any_torch.Layout, e3any_torch.Config) == (e3any.Layout, e3any.Config)
