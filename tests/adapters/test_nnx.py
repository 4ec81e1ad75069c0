"""NNX modules from descriptions: parameters, transformations, training."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import dataclass
from functools import cache, partial

import e3any_flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from composed_model import Energies, molecule
from e3any_flax import load_tree, to_nnx, to_tree
from e3any_flax import nnx as e3n
from flax import linen, nnx
from layer_cases import KEY, features, jit, tree_map

from e3any import Layout, nn
from e3any.testing import assert_parity

LAYOUT = Layout(max_degree=1, features=3, pseudotensors=True)
BASIS = Layout(max_degree=1, features=2)
NAMES = sorted(
    name
    for name in nn.__all__
    if inspect.isclass(getattr(nn, name))
    and issubclass(getattr(nn, name), nn.Layer)
    and not inspect.isabstract(getattr(nn, name))
)
# Layouts of inputs and hyper-parameters of each layer.
CASES = {
    "Dense": ([LAYOUT], [4]),
    "Embed": ([], [5, 4]),
    "BatchNorm": ([LAYOUT], []),
    "Dropout": ([LAYOUT], [0.5]),
    "Gate": ([LAYOUT], []),
    "LayerNorm": ([LAYOUT], []),
    "NormActivation": ([LAYOUT], []),
    "RMSNorm": ([LAYOUT], []),
    "Residual": ([LAYOUT], [nn.Dense(2)]),
    "SO2Dense": ([LAYOUT], [4]),
    "SphereActivation": ([LAYOUT], []),
    "JointRMSNorm": ([LAYOUT], []),
    "ScaleShift": ([], [3]),
    "SpeciesDense": ([LAYOUT], [3, 4]),
    "FusedTensor": ([LAYOUT, LAYOUT], []),
    "MessagePass": ([LAYOUT, BASIS], []),
    "MultiHeadAttention": ([LAYOUT, LAYOUT, BASIS], [2, True]),
    "PathMessagePass": ([LAYOUT, BASIS], [1, (4,)]),
    "SymmetricContraction": ([LAYOUT], [3, 2]),
    "SelfAttention": ([LAYOUT, BASIS], [2, True]),
    "Tensor": ([LAYOUT, LAYOUT], []),
    "TensorDense": ([LAYOUT], [3]),
}
names = pytest.mark.parametrize("name", NAMES)


def construct(name):
    layouts, fields = CASES.get(name, ([], []))
    return getattr(e3n, name)(*layouts, *fields, rngs=nnx.Rngs(0))


@cache
def make(name):
    """Return a module, which is not to be changed, and the parameters of its twin of Linen."""
    description = nnx.eval_shape(lambda: construct(name)).description
    inputs, options = example(description, name)
    twin = e3any_flax.to_linen(description)

    @jit
    def run():
        graph, state = nnx.split(construct(name))
        graphs.append(graph)
        return state, twin.init(nnx.Rngs(0).params(), *inputs, **options)

    graphs = []
    state, variables = run()
    return nnx.merge(graphs[0], state), to_tree(variables)


def example(description, name):
    """Return random inputs of a layer, and those by name."""
    rng = np.random.default_rng(1)
    inputs, options = description.example(*CASES.get(name, ([], []))[0])
    draw = lambda x: features(rng, *x.shape).astype(np.float32) if x.dtype.kind == "f" else x
    return tree_map(draw, inputs), options


@pytest.fixture
def x(rng):
    return jnp.asarray(features(rng, 2, *LAYOUT.shape))


@pytest.fixture
def product():
    return nnx.clone(make("TensorDense")[0])


def loss(module, x):
    return jnp.mean(jnp.sin(module(x)))


@names
def test_every_layer_is_a_class_with_its_name_and_documentation(name):
    module = getattr(e3n, name)
    assert issubclass(module, nnx.Module)
    assert (module.__name__, module.__module__) == (name, "e3any_flax.nnx")
    assert inspect.getdoc(module).startswith(inspect.getdoc(getattr(nn, name)))


@names
def test_paths_and_shapes_are_those_of_the_description(name):
    module, _ = make(name)
    layouts, fields = CASES.get(name, ([], []))
    assert module.description == getattr(nn, name)(*fields)
    specs = module.description.parameters(*layouts)
    tree = nnx.to_pure_dict(nnx.state(module, (nnx.Param, nnx.BatchStat)))
    jax.tree.map(lambda spec, value: np.testing.assert_equal(value.shape, spec.shape), specs, tree)


@names
def test_parameters_and_outputs_are_those_of_linen_for_the_key_that_is_drawn(name):
    module, tree = make(name)
    inputs, options = example(module.description, name)
    jax.tree.map(partial(np.testing.assert_array_max_ulp, maxulp=2), to_tree(module), tree)
    y = jit(lambda: module(*inputs, **options))()
    assert_parity(y, module.description(to_tree(module), *inputs, **options), "float32")


def test_layers_of_one_stream_differ_and_those_of_one_seed_do_not():
    rngs = nnx.Rngs(0)
    first, second = (e3n.Dense(LAYOUT, 3, rngs=rngs)["0+"].kernel[...] for _ in range(2))
    again = e3n.Dense(LAYOUT, 3, rngs=nnx.Rngs(0))["0+"].kernel[...]
    assert (first != second).all()
    np.testing.assert_array_equal(first, again)


def test_only_the_stream_of_parameters_is_drawn_from():
    rngs = nnx.Rngs(params=3, dropout=4)
    e3n.Dense(LAYOUT, 3, rngs=rngs)
    assert (rngs.params.count[...], rngs.dropout.count[...]) == (1, 0)


def test_parameters_are_reached_by_name_and_path(product):
    assert isinstance(product.dense["0+"].kernel, nnx.Param)
    assert product["dense"]["0+"] is product.dense["0+"]
    paths = [path for path, _ in nnx.to_flat_state(nnx.state(product, nnx.Param))]
    assert ("dense", "0+", "kernel") in paths
    assert ("tensor", "kernel") in paths
    with pytest.raises(KeyError):
        product["other"]


def test_initialisers_and_dtypes_are_those_of_the_user():
    module = e3n.Dense(
        LAYOUT, 4, use_bias=False, param_dtype="bfloat16", kernel_init=linen.initializers.ones, rngs=nnx.Rngs(0)
    )
    assert {p.dtype for p in jax.tree.leaves(nnx.state(module))} == {jnp.dtype("bfloat16")}
    np.testing.assert_array_equal(module["1-"].kernel[...], np.ones((3, 4)))


def test_composed_model_takes_examples(x):
    description = Energies(blocks=1)
    numbers, displacements, dst, src = molecule()
    src = jnp.asarray(src)

    @jit
    def run():
        module = to_nnx(description, numbers, displacements, dst_idx=dst, src_idx=src, rngs=nnx.Rngs(0))
        return nnx.to_pure_dict(nnx.state(module)), module(*molecule())

    tree, y = run()
    assert_parity(y, description(to_tree(tree), *molecule()), "float32")


def test_examples_may_be_shapes_or_narrow_dtypes(x):
    description = nn.Dense(3)
    for given in (jax.ShapeDtypeStruct(x.shape, x.dtype), x.astype("bfloat16"), np.asarray(x), LAYOUT):
        assert to_tree(to_nnx(description, given, rngs=nnx.Rngs(0))).keys() == {"0+", "1+", "0-", "1-"}


def test_user_modules_hold_layers(x):
    class Model(nnx.Module):
        """Layers in a module and in a list."""

        def __init__(self, rngs):
            self.first = e3n.Dense(LAYOUT, 3, rngs=rngs)
            self.rest = nnx.List([e3n.Dense(LAYOUT, 3, rngs=rngs) for _ in range(2)])

        def __call__(self, x):
            x = e3n.silu(self.first(x))
            for layer in self.rest:
                x = layer(x)
            return x

    module = Model(nnx.Rngs(0))
    assert module(x).shape == x.shape
    paths = [path for path, _ in nnx.to_flat_state(nnx.state(module, nnx.Param))]
    assert ("first", "0+", "kernel") in paths
    assert ("rest", 1, "1+", "kernel") in paths
    assert to_tree(module)["rest"]["1"]["1+"]["kernel"].shape == (3, 3)


def test_gradients_are_those_of_the_description(product, x):
    actual = nnx.to_pure_dict(jit(nnx.grad(loss))(product, x))
    tree = nnx.to_pure_dict(nnx.state(product))
    expected = jit(jax.grad(lambda tree: jnp.mean(jnp.sin(product.description(tree, x)))))(tree)
    assert_parity(actual, expected, "float32")


def test_modules_of_one_description_are_compiled_once(x):
    traces = []

    @nnx.jit
    def apply(module, x):
        traces.append(1)
        return module(x)

    for seed in range(2):
        module = e3n.Dense(LAYOUT, 3, rngs=nnx.Rngs(seed))
        assert_parity(apply(module, x), module(x), rtol=1e-6)
    assert len(traces) == 1


def test_modules_are_split_and_merged(product, x):
    graph, state = nnx.split(product)
    y = jit(lambda state, x: nnx.merge(graph, state)(x))(state, x)
    assert_parity(y, product(x), rtol=1e-6)


@nnx.split_rngs(splits=2)
@nnx.vmap
def stack(rngs):
    return e3n.Dense(LAYOUT, 3, rngs=rngs)


@pytest.fixture(scope="module")
def stacked():
    """Return two layers in one module, and the parameters of each."""
    layers = stack(nnx.Rngs(0))
    tree = to_tree(layers)
    return layers, [jax.tree.map(lambda v, i=i: v[i], tree) for i in range(2)]


def test_ensembles_are_made_and_applied_by_vmap(stacked, x):
    layers, trees = stacked
    y = nnx.vmap(lambda layer, x: layer(x), in_axes=(0, None))(layers, x)
    assert (y[0] != y[1]).all()
    assert_parity(y, np.stack([nn.Dense(3)(tree, np.asarray(x)) for tree in trees]), rtol=1e-6)


def test_stacked_layers_are_scanned_with_remat(stacked, x):
    layers, trees = stacked

    @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
    @nnx.remat
    def forward(x, layer):
        return layer(x)

    expected = np.asarray(x)
    for tree in trees:
        expected = nn.Dense(3)(tree, expected)

    @nnx.jit
    def run(layers):
        return forward(x, layers), nnx.grad(lambda layers: jnp.sum(forward(x, layers)))(layers)

    y, gradient = run(layers)
    assert_parity(y, expected, rtol=1e-6)
    assert gradient["0+"]["bias"].shape == (2, 3)


def test_optimizer_trains_a_module(product, x):
    optimizer = nnx.Optimizer(product, optax.adam(1e-2), wrt=nnx.Param)

    @nnx.jit
    def step(module, optimizer):
        value, gradient = nnx.value_and_grad(lambda module: jnp.mean((module(x) - x) ** 2))(module)
        optimizer.update(module, gradient)
        return value

    losses = [float(step(product, optimizer)) for _ in range(30)]
    assert losses[-1] < 0.7 * losses[0]


def test_abstract_modules_have_shapes_and_take_a_tree(x):
    abstract = nnx.eval_shape(lambda: e3n.TensorDense(LAYOUT, features=3, rngs=nnx.Rngs(0)))
    assert isinstance(nnx.to_pure_dict(nnx.state(abstract))["tensor"]["kernel"], jax.ShapeDtypeStruct)
    concrete, _ = make("TensorDense")
    load_tree(abstract, to_tree(concrete))
    np.testing.assert_array_equal(abstract(x), concrete(x))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, nnx.clone, lambda m: pickle.loads(pickle.dumps(m))])
def test_duplicates_are_independent_and_equal(product, x, duplicate):
    other = duplicate(product)
    assert type(other) is e3n.TensorDense
    y = product(x)
    np.testing.assert_array_equal(other(x), y)
    load_tree(other, jax.tree.map(np.zeros_like, to_tree(other)))
    np.testing.assert_array_equal(product(x), y)
    assert not other(x).any()


def test_inputs_of_another_layout_are_refused(product, x):
    with pytest.raises(ValueError, match=r"expected parameter 'dense/0\+/kernel' of shape \(2, 6\), got \(3, 6\)"):
        product(x[..., :2])
    with pytest.raises(ValueError, match=r"expected a parameter 'dense/2\+/kernel', got a tree that has nothing"):
        product(jnp.zeros((2, 2, 9, 3)))


def test_layers_without_their_layouts_are_refused():
    with pytest.raises(ValueError, match="expected layouts or examples of the inputs of Dense, got none"):
        e3n.Dense(4, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="rngs"):
        e3n.Dense(LAYOUT, 4)


@pytest.mark.parametrize("name", ["sow", "description"])
def test_names_that_nnx_uses_are_refused(name):
    @dataclass(frozen=True)
    class Model(nn.Layer):
        """A parameter."""

        def forward(self, p, x):
            return x + p.param(name, (), nn.initializers.zeros)

    with pytest.raises(ValueError, match=f"expected names that are no attributes of LayerModule, got {name!r}"):
        to_nnx(Model(), LAYOUT, rngs=nnx.Rngs(0))


def test_keys_may_be_raw():
    rngs = nnx.Rngs(params=jax.random.PRNGKey(3))
    specs = nn.Dense(3).parameters(LAYOUT)
    expected = e3any_flax.linen.draw(specs, jax.random.fold_in(KEY, 0))
    jax.tree.map(np.testing.assert_array_equal, to_tree(e3n.Dense(LAYOUT, 3, rngs=rngs)), expected)
