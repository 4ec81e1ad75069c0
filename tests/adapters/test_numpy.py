"""Functions of NumPy arrays and lists from descriptions, and one description in all frameworks."""

from __future__ import annotations

import inspect

import e3any_flax
import e3any_numpy
import e3any_torch
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from composed_model import Energies, molecule
from layer_cases import KEY, features, jit, tree_map

import e3any
from e3any import Layout, checkpoint, nn
from e3any.nn.layer import check_tree, leaves
from e3any.testing import assert_parity

NAMES = ["Dense", "Embed", "MessagePass", "Tensor", "TensorDense"]


def in_float64(tree):
    return tree_map(lambda value: np.asarray(value, np.float64), tree)


@pytest.fixture
def tree():
    """Parameters of the composed model."""
    return in_float64(e3any_numpy.to_numpy(Energies()).init(np.random.default_rng(0), *molecule()))


def energies_of_numpy(tree):
    return e3any_numpy.to_numpy(Energies())(tree, *molecule("float64"))


def energies_of_flax(tree):
    module = e3any_flax.to_linen(Energies())
    variables = jax.eval_shape(module.init, KEY, *molecule())
    double = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, jnp.float64), variables)
    return jit(module.apply)(e3any_flax.load_tree(double, tree), *molecule("float64"))


def energies_of_torch(tree):
    module = e3any_torch.to_torch(Energies(), *map(torch.from_numpy, molecule())).double()
    e3any_torch.load_tree(module, tree)
    return module(*map(torch.from_numpy, molecule("float64")))


def drawn_by_numpy():
    return e3any_numpy.to_numpy(Energies()).init(np.random.default_rng(1), *molecule())


def drawn_by_flax():
    return e3any_flax.to_tree(jit(e3any_flax.to_linen(Energies()).init)(KEY, *molecule()))


def drawn_by_torch():
    generator = torch.Generator().manual_seed(1)
    return e3any_torch.to_tree(
        e3any_torch.to_torch(Energies(), *map(torch.from_numpy, molecule()), generator=generator)
    )


@pytest.mark.parametrize("compute", [energies_of_flax, energies_of_torch])
def test_one_tree_gives_the_same_numbers_everywhere(tree, compute):
    assert_parity(compute(tree), energies_of_numpy(tree), "float64", rtol=1e-12)


def test_padding_and_order_of_edges_do_not_matter(tree):
    numbers, r, dst, src = molecule("float64")
    order = np.random.default_rng(0).permutation(len(dst) - 1)
    y = e3any_numpy.to_numpy(Energies())(tree, numbers, r[order], dst[order], src[order])
    assert_parity(y, energies_of_numpy(tree))


@pytest.mark.parametrize("draw", [drawn_by_numpy, drawn_by_flax, drawn_by_torch])
def test_checkpoint_of_one_framework_is_read_by_the_others(tmp_path, draw):
    written = draw()
    check_tree(written, Energies().parameters(*molecule()))
    checkpoint.save(tmp_path / "model.safetensors", written)
    tree = checkpoint.load(tmp_path / "model.safetensors")
    check_tree(tree, written)
    for path, value in leaves(tree):
        np.testing.assert_array_equal(value, dict(leaves(written))[path])
    expected = energies_of_numpy(in_float64(written))
    for compute in (energies_of_numpy, energies_of_flax, energies_of_torch):
        assert_parity(compute(in_float64(tree)), expected, "float64", rtol=1e-12)


def test_names_of_all_frameworks_are_one(tree):
    module = e3any_torch.to_torch(Energies(), *map(torch.from_numpy, molecule()))
    names = {".".join(path) for path, _ in leaves(tree)}
    assert set(module.state_dict()) == names
    variables = jax.eval_shape(e3any_flax.to_linen(Energies()).init, KEY, *molecule())
    assert {".".join(path) for path, _ in leaves(variables["params"])} == names


@pytest.mark.parametrize("name", NAMES)
def test_classes_carry_their_own_name_and_documentation(name):
    function = getattr(e3any_numpy.nn, name)
    assert issubclass(function, e3any_numpy.LayerFunction)
    assert (function.__name__, function.__module__) == (name, "e3any_numpy.nn")
    assert inspect.getdoc(function).startswith(inspect.getdoc(getattr(nn, name)))


def test_function_is_its_description(rng):
    x = features(rng, 2, 1, 4, 3)
    function = e3any_numpy.nn.TensorDense(4, max_degree=0)
    assert function.description == nn.TensorDense(4, max_degree=0)
    params = function.init(rng, x)
    np.testing.assert_array_equal(function(params, x), function.description(params, x))
    np.testing.assert_array_equal(e3any_numpy.to_numpy(function.description)(params, x), function(params, x))
    assert repr(function) == f"TensorDense({function.description!r})"


def test_parameters_are_drawn_for_arrays_layouts_and_lists(rng):
    function = e3any_numpy.nn.Dense(4)
    x = features(rng, 2, 1, 4, 3)
    trees = [function.init(np.random.default_rng(0), inputs) for inputs in (x, Layout(1, 3), x.tolist())]
    for tree in trees:
        assert {value.dtype for _, value in leaves(tree)} == {np.dtype("float32")}
        assert_parity(tree, trees[0], rtol=0)
    edge = [0, 0]
    message = e3any_numpy.nn.MessagePass()
    params = message.init(rng, x, np.ones((2, 1, 4, 5)), dst_idx=edge, src_idx=edge)
    check_tree(params, nn.MessagePass().parameters(Layout(1, 3), Layout(1, 5)))
    assert e3any_numpy.nn.Embed(5, 3).init(rng)["embedding"].shape == (5, 1, 1, 3)


def test_lists_are_arrays(rng):
    x, dst, src = features(rng, 3, 1, 4, 2), [0, 1, 5], [2, 0, 5]
    basis = features(rng, 3, 1, 4, 5)
    function = e3any_numpy.nn.MessagePass()
    params = function.init(rng, x, basis, dst_idx=dst, src_idx=src)
    y = function(params, x.tolist(), basis.tolist(), dst_idx=dst, src_idx=src)
    expected = nn.MessagePass()(params, x, basis, dst_idx=np.asarray(dst), src_idx=np.asarray(src))
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(e3any_numpy.nn.silu(x.tolist()), nn.silu(x))


def test_generators_of_other_libraries_draw_their_own_arrays():
    params = e3any_numpy.nn.Dense(4).init(torch.Generator(), Layout(1, 3))
    assert {type(value) for _, value in leaves(params)} == {torch.Tensor}


def test_bad_input_is_refused(rng):
    function = e3any_numpy.nn.Dense(4)
    params = function.init(rng, Layout(1, 3))
    with pytest.raises(ValueError, match=r"expected inputs of shape \(\.\.\., 1 or 2, \(max_degree\+1\)\*\*2, featur"):
        function(params, [[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match=r"expected parameter '0\+/kernel' of shape \(2, 4\), got \(3, 4\)"):
        function(params, np.ones((1, 4, 2)))
    with pytest.raises(ValueError, match=r"expected a parameter '0\+/kernel', got a tree that has nothing there"):
        function({}, np.ones((1, 4, 3)))
    with pytest.raises(TypeError, match="features"):
        e3any_numpy.nn.Dense()
    with pytest.raises(ValueError, match="expected features to be an integer >= 0, got -1"):
        e3any_numpy.nn.Dense(-1)


def test_settings_and_layouts_are_those_of_the_core():
    assert (e3any_numpy.Layout, e3any_numpy.Config) == (e3any.Layout, e3any.Config)
