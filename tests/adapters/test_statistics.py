"""Running averages and dropout in modules of every framework."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import e3any_flax
import e3any_torch
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from e3any_flax import nnx as e3n
from flax import errors, nnx
from layer_cases import KEY, features, random_parameters, tree_map

from e3any import Layout, nn
from e3any.testing import assert_parity

LAYOUT = Layout(1, 3, pseudotensors=True)


@dataclass(frozen=True)
class Block(nn.Layer):
    """Two layers that behave differently in training."""

    def forward(self, p, x, training=None):
        inference = None if training is None else not training
        x = nn.BatchNorm()(p / "norm", x, use_running_average=inference)
        return nn.Dropout(0.5)(p / "dropout", x, deterministic=inference)


@pytest.fixture
def x(rng):
    return features(rng, 200, *LAYOUT.shape)


@pytest.fixture
def tree(rng):
    return random_parameters(Block(), rng, (LAYOUT,), {})


@pytest.fixture
def expected(tree, x):
    """The normalised features, without dropout, and the tree after one step of training, and what it gives in use."""
    norm = nn.Variables(tree["norm"], training=True)
    y = nn.BatchNorm()(norm, x)
    return y, {"norm": norm.tree}, nn.BatchNorm()(norm.tree, x, use_running_average=True)


def assert_dropped(actual, full):
    """Check that about half of the values are there, twice as large, and the others zero."""
    actual = np.asarray(actual.detach() if hasattr(actual, "detach") else actual)
    assert 0.4 < (actual == 0).mean() < 0.6
    assert_parity(actual, np.where(actual == 0, 0, 2 * full))


def test_linen_keeps_statistics_in_a_collection_and_draws_from_a_stream(tree, x, expected):
    module = e3any_flax.to_linen(Block())
    variables = module.init(KEY, jnp.asarray(x, "float32"))
    assert set(variables) == {"params", "batch_stats"}
    variables = e3any_flax.load_tree(jax.tree.map(lambda v: v.astype("float64"), variables), tree)
    y, new = module.apply(variables, x, training=True, mutable=["batch_stats"], rngs={"dropout": KEY})
    assert_dropped(y, expected[0])
    after = {**variables, **new}
    assert_parity(e3any_flax.to_tree(after), expected[1])
    assert_parity(module.apply(after, x, training=False), expected[2])
    with pytest.raises(errors.ModifyScopeVariableError):
        module.apply(variables, x, training=True, rngs={"dropout": KEY})
    with pytest.raises(ValueError, match="expected use_running_average=True or False where parameters do not know"):
        module.apply(variables, x)


def test_linen_classes_do_the_same(x):
    module = e3any_flax.nn.BatchNorm(momentum=0.5)
    variables = module.init(KEY, jnp.asarray(x))
    assert_parity(variables["batch_stats"]["0+"]["mean"], np.zeros(3, "float32"))
    _, new = module.apply(variables, x, use_running_average=False, mutable=["batch_stats"])
    assert_parity(new["batch_stats"]["0+"]["mean"], 0.5 * x[:, 0, 0].mean(0), "float32")


def test_nnx_modules_are_told_by_train_and_eval(tree, x, expected):
    module = e3any_flax.to_nnx(Block(), LAYOUT, rngs=nnx.Rngs(0))
    state = jax.tree.map(lambda v: v.astype("float64"), nnx.state(module))
    nnx.update(module, state)
    e3any_flax.load_tree(module, tree)
    assert isinstance(module.norm["0+"].mean, nnx.BatchStat)

    @nnx.jit
    def step(module, rngs):
        return module(x, rngs=rngs)

    assert_dropped(step(module, nnx.Rngs(dropout=1)), expected[0])
    assert_parity(e3any_flax.to_tree(module), expected[1])
    module.eval()
    assert_parity(module(x), expected[2])
    module.train()
    with pytest.raises(TypeError, match="expected a generator of random numbers beside the parameters"):
        module(x)


def test_nnx_gradients_are_by_parameters_alone(x):
    module = e3n.BatchNorm(LAYOUT, rngs=nnx.Rngs(0))
    gradient = nnx.grad(lambda module: jnp.sum(jnp.sin(module(x))))(module)
    assert set(nnx.to_pure_dict(gradient)) == {"0+", "1+", "0-", "1-"}
    assert set(nnx.to_pure_dict(gradient)["0+"]) == {"bias", "scale"}


def test_torch_modules_have_buffers_and_are_told_by_train_and_eval(tree, x, expected):
    module = e3any_torch.to_torch(Block(), LAYOUT).double()
    names = ["norm.0+.mean", "norm.0+.var", "norm.0-.var", "norm.1+.var", "norm.1-.var"]
    assert sorted(name for name, _ in module.named_buffers()) == names
    assert len(list(module.parameters())) == 5
    e3any_torch.load_tree(module, tree)
    twin = copy.deepcopy(module)
    inputs = torch.from_numpy(x).requires_grad_()
    assert_dropped(module(inputs), expected[0])
    module(inputs).sum().backward()
    twin(inputs)
    assert_parity(e3any_torch.to_tree(twin), expected[1])
    assert_parity(twin.eval()(inputs), expected[2])
    fresh = e3any_torch.to_torch(Block()).double()
    fresh.load_state_dict(twin.state_dict())
    assert_parity(fresh.eval()(inputs), expected[2])
    assert sorted(name for name, _ in fresh.named_buffers()) == names


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_torch_compiles_training_as_a_whole(tree, x, expected):
    module = e3any_torch.to_torch(nn.BatchNorm(), LAYOUT).double()
    e3any_torch.load_tree(module, tree["norm"])
    torch._dynamo.reset()
    y = torch.compile(module, fullgraph=True, backend="aot_eager")(torch.from_numpy(x))
    assert_parity(y, expected[0])
    assert_parity(e3any_torch.to_tree(module), expected[1]["norm"])
    dropout = e3any_torch.nn.Dropout(LAYOUT, 0.5)
    dropped = torch.compile(dropout, fullgraph=True, backend="aot_eager")(torch.from_numpy(x))
    assert_dropped(dropped, x)


def test_one_checkpoint_has_statistics_too(tree, tmp_path):
    from e3any import checkpoint

    module = e3any_torch.to_torch(Block(), LAYOUT)
    e3any_torch.load_tree(module, tree)
    checkpoint.save(tmp_path / "model.safetensors", e3any_torch.to_tree(module))
    like = e3any_flax.to_linen(Block()).init(KEY, jnp.zeros((1, *LAYOUT.shape)))
    variables = e3any_flax.load_tree(like, checkpoint.load(tmp_path / "model.safetensors"))
    assert_parity(e3any_flax.to_tree(variables), tree_map(lambda v: v.astype("float32"), tree))
