"""One tree of parameters: Linen, NNX, PyTorch and NumPy, and one checkpoint file."""

from __future__ import annotations

import e3any_flax
import e3any_torch
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from composed_model import Energies, molecule
from flax import nnx
from layer_cases import jit

from e3any import checkpoint
from e3any.nn.layer import initialize
from e3any.testing import assert_parity

MODEL = Energies(blocks=1)


@pytest.fixture(scope="module")
def tree():
    """The parameters as arrays of NumPy, biases drawn too."""
    rng = np.random.default_rng(0)
    drawn = initialize(MODEL.parameters(*molecule()), rng)
    return jax.tree.map(lambda x: np.asarray(x + rng.normal(size=x.shape)), drawn)


class Linen:
    """Variables of a Linen module."""

    def __init__(self):
        self.module = e3any_flax.to_linen(MODEL)
        shapes = jax.eval_shape(self.module.init, jax.random.key(0), *molecule())
        self.variables = jax.tree.map(lambda x: jnp.zeros(x.shape, "float64"), shapes)

    def load(self, tree):
        self.variables = e3any_flax.load_tree(self.variables, tree)

    def tree(self):
        return e3any_flax.to_tree(self.variables)

    def apply(self, *inputs):
        return jit(self.module.apply)(self.variables, *inputs)


class NNX:
    """An NNX module, created without drawing."""

    def __init__(self):
        self.module = nnx.eval_shape(lambda: e3any_flax.to_nnx(MODEL, *molecule(), rngs=nnx.Rngs(0)))
        state = nnx.state(self.module)
        nnx.update(self.module, jax.tree.map(lambda x: jnp.zeros(x.shape, "float64"), state))

    def load(self, tree):
        assert e3any_flax.load_tree(self.module, tree) is None

    def tree(self):
        return e3any_flax.to_tree(self.module)

    def apply(self, *inputs):
        return jit(lambda *inputs: self.module(*inputs))(*inputs)


class NNXState(NNX):
    """A state of an NNX module."""

    def load(self, tree):
        graph, state = nnx.split(self.module)
        self.module = nnx.merge(graph, e3any_flax.load_tree(state, tree))

    def tree(self):
        return e3any_flax.to_tree(nnx.state(self.module))


class Torch:
    """A module of PyTorch."""

    def __init__(self):
        self.module = e3any_torch.to_torch(MODEL, *molecule()).double()

    def load(self, tree):
        e3any_torch.load_tree(self.module, tree)

    def tree(self):
        return e3any_torch.to_tree(self.module)

    def apply(self, *inputs):
        return self.module(*map(torch.from_numpy, inputs)).detach()


class TorchState(Torch):
    """The ``state_dict`` of a module of PyTorch."""

    def load(self, tree):
        self.module.load_state_dict(e3any_torch.to_state_dict(tree))

    def tree(self):
        return e3any_torch.to_tree(self.module.state_dict())


class NumPy:
    """A nested dictionary."""

    def load(self, tree):
        self.params = tree

    def tree(self):
        return self.params

    def apply(self, *inputs):
        return MODEL(self.params, *inputs)


HOLDERS = [Linen, NNX, NNXState, Torch, TorchState, NumPy]
holders = pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: holder.__name__)


@holders
def test_loaded_parameters_are_those_of_the_tree_and_give_the_same_outputs(holder, tree):
    model = holder()
    model.load(tree)
    jax.tree.map(np.testing.assert_array_equal, model.tree(), tree)
    inputs = molecule("float64")
    y = model.apply(*inputs)
    assert_parity(y, MODEL(tree, *inputs), "float64", rtol=1e-12)


@holders
def test_checkpoints_are_the_same_bytes(holder, tree, tmp_path):
    model = holder()
    model.load(tree)
    checkpoint.save(tmp_path / "ours", model.tree())
    checkpoint.save(tmp_path / "expected", tree)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "expected").read_bytes()
    again = holder()
    again.load(checkpoint.load(tmp_path / "ours"))
    jax.tree.map(np.testing.assert_array_equal, again.tree(), tree)


@holders
def test_trees_go_from_each_holder_to_each_other(holder, tree):
    first, second = HOLDERS[HOLDERS.index(holder) - 1](), holder()
    first.load(tree)
    second.load(first.tree())
    jax.tree.map(np.testing.assert_array_equal, second.tree(), tree)


@pytest.mark.parametrize("holder", [Linen, NNX, NNXState, Torch], ids=lambda holder: holder.__name__)
def test_trees_that_do_not_fit_are_refused_and_change_nothing(holder, tree):
    model = holder()
    model.load(tree)
    with pytest.raises(ValueError, match=r"lacks \['readout'\] and adds \['other'\]"):
        model.load({**{n: v for n, v in tree.items() if n != "readout"}, "other": tree["readout"]})
    with pytest.raises(ValueError, match=r"expected parameter 'readout' of shape \(4, 1\), got \(4, 2\)"):
        model.load({**jax.tree.map(np.zeros_like, tree), "readout": np.zeros((4, 2))})
    jax.tree.map(np.testing.assert_array_equal, model.tree(), tree)


def test_parameters_of_nnx_keep_their_dtype_and_other_variables_are_left_alone(tree):
    class Model(nnx.Module):
        """Layers in a list, a counter and random numbers."""

        def __init__(self, rngs):
            layout = e3any_flax.Layout(1, 3)
            self.layers = nnx.List([e3any_flax.nnx.Dense(layout, 3, rngs=rngs) for _ in range(2)])
            self.count = nnx.Variable(jnp.asarray(7))
            self.rngs = rngs

    model = Model(nnx.Rngs(0))
    state = nnx.state(model)
    ones = jax.tree.map(lambda x: np.ones(x.shape), e3any_flax.to_tree(state))
    assert set(ones) == {"layers"}
    loaded = e3any_flax.load_tree(state, ones)
    assert not (model.layers[1]["0+"].kernel == 1).all()
    e3any_flax.load_tree(model, ones)
    assert (model.layers[1]["0+"].kernel == 1).all()
    assert model.layers[1]["0+"].kernel.dtype == jnp.float32
    assert model.count[...] == 7
    assert model.rngs.default.count[...] == 2
    assert jax.tree.structure(loaded) == jax.tree.structure(state)
    assert nnx.merge(nnx.graphdef(model), loaded).count[...] == 7


def test_narrow_dtypes_pass_through_a_state_dict():
    tree = {"a": {"kernel": np.asarray(jnp.asarray([0.1, 2.0], "bfloat16"))}, "b": np.float64(3.0)}
    state = e3any_torch.to_state_dict(tree)
    assert {name: x.dtype for name, x in state.items()} == {"a.kernel": torch.bfloat16, "b": torch.float64}
    back = e3any_torch.to_tree(state)
    np.testing.assert_array_equal(back["a"]["kernel"], tree["a"]["kernel"].astype(np.float32))


def test_tensors_of_a_state_dict_are_copies(tree):
    state = e3any_torch.to_state_dict(tree)
    state["readout"].fill_(0)
    assert tree["readout"].all()
