"""Every public object is pickled and copied, and works in another process."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import pkgutil
import typing
from functools import partial
from pathlib import Path

import e3any_flax
import e3any_numpy
import e3any_torch
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from e3any_backends.forms.tables import tables_of
from flax import nnx
from test_checkpoint import start
from test_description import LAYERS, OPTIONS, Anything

from e3any import Layout, interop, nn, so3, testing
from e3any.description import describe, layer_of
from e3any.nn import initializers
from e3any.nn.layers.couplings import coupling_plan

PACKAGES = ("e3any", "e3any_numpy", "e3any_torch", "e3any_flax", "e3any_ase")


def modules():
    """Yield all modules that have public names."""
    for package in PACKAGES:
        root = importlib.import_module(package)
        names = [package, *(info.name for info in pkgutil.walk_packages(root.__path__, f"{package}."))]
        for name in names:
            module = importlib.import_module(name)
            if hasattr(module, "__all__"):
                yield module


MODULES = {module.__name__: module for module in modules()}


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_is_pickled_and_copied(name):
    for public in MODULES[name].__all__:
        value = getattr(MODULES[name], public)
        # Type aliases of JAX's arrays are no objects of ours, and JAX does not pickle their class.
        if inspect.ismodule(value) or jax.Array in (value, *typing.get_args(value)):
            continue
        found, copied = pickle.loads(pickle.dumps(value)), copy.deepcopy(value)
        if inspect.isclass(value) or inspect.isroutine(value):
            assert found is value, public
            assert copied is value, public
        elif not isinstance(value, jax.Array | np.ndarray):
            assert found == value, public
            assert copied == value, public


LAYOUT = Layout(2, 16, pseudotensors=True)
X = np.random.default_rng(0).normal(size=(5, *LAYOUT.shape)).astype(np.float32)
DENSE = nn.Dense(32, kernel_init=nn.initializers.VarianceScaling(2.0))
MODEL = nn.Residual(nn.TensorDense(16))


def parameters(layer):
    return e3any_numpy.to_numpy(layer).init(np.random.default_rng(1), LAYOUT)


def linen(layer):
    module = e3any_flax.to_linen(layer)
    return module, module.init(jax.random.key(0), X)


# How objects are made, and what is done with them.
OBJECTS = {
    "Layout": (lambda: LAYOUT, lambda layout: layout.shape),
    "Convention": (lambda: interop.CONVENTIONS["orca"], lambda c: [*c.orders(3), c.sign(4, 3)]),
    "CartesianTensor": (
        lambda: so3.CartesianTensor("ij=ji"),
        lambda tensor: tensor.from_features(tensor.to_features(np.eye(3))),
    ),
    "Irrep": (lambda: so3.CartesianTensor("ij=ji").irreps, lambda irreps: [tuple(irrep) for irrep in irreps]),
    "ParameterSpec": (
        lambda: DENSE.parameters(LAYOUT)["0+"]["kernel"],
        lambda spec: spec.init(np.random.default_rng(0), (2, 3)),
    ),
    "Variables": (
        lambda: nn.Variables(parameters(DENSE), generator=np.random.default_rng(0), training=True),
        lambda variables: DENSE(variables, X),
    ),
    "FactoredBasis": (lambda: nn.FactoredBasis(X[:, 0, :1, :3], X[:, 0, :4, 0]), lambda basis: basis.array()),
    "MaskedScaling": (
        lambda: initializers.fused_tensor_normal(np.ones(3), np.asarray([True, False, True])),
        lambda init: init(np.random.default_rng(0), (3,)),
    ),
    "TraceCounter": (lambda: testing.count_traces(nn.silu), lambda counter: counter(X)),
    "function": (lambda: e3any_flax.nn.silu, lambda function: function(jnp.asarray(X))),
    "partial": (lambda: partial(e3any_numpy.nn.smooth_cutoff, cutoff=2.0), lambda function: function(np.ones(3))),
    "function with a namespace": (lambda: e3any_torch.so3.clebsch_gordan, lambda function: function(1, 1, 1)),
    "NumPy function": (lambda: e3any_numpy.to_numpy(MODEL), lambda function: function(parameters(MODEL), X)),
    "NumPy class": (lambda: e3any_numpy.nn.Dense(32), lambda function: function(parameters(DENSE), X)),
    "PyTorch module": (lambda: e3any_torch.to_torch(MODEL, LAYOUT), lambda m: m(torch.from_numpy(X)).detach()),
    "PyTorch class": (lambda: e3any_torch.nn.Dense(LAYOUT, 32), lambda m: m(torch.from_numpy(X)).detach()),
    "lazy PyTorch class": (lambda: e3any_torch.nn.Dense(32), lambda module: len(list(module.parameters()))),
    "Linen module": (lambda: linen(MODEL), lambda found: found[0].apply(found[1], X)),
    "Linen class": (lambda: e3any_flax.nn.Dense(32), lambda m: m.apply({"params": parameters(DENSE)}, X)),
    "NNX module": (lambda: e3any_flax.to_nnx(MODEL, LAYOUT, rngs=nnx.Rngs(0)), lambda module: module(X)),
    "NNX class": (lambda: e3any_flax.nnx.Dense(LAYOUT, 32, rngs=nnx.Rngs(0)), lambda module: module(X)),
    "table of couplings": (
        lambda: coupling_plan((2, 2, 2, 2, 2, 2), True).merged,
        lambda table: [*table.product_form.columns, tables_of(table.number) is table],
    ),
}
objects = pytest.mark.parametrize("name", OBJECTS)


def outcome(name, value):
    return jax.tree.map(np.asarray, OBJECTS[name][1](value))


def assert_equal(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


@objects
@pytest.mark.parametrize("used", [False, True], ids=["new", "used"])
def test_objects_do_the_same_after_pickling_and_copying(name, used):
    value = OBJECTS[name][0]()
    expected = outcome(name, pickle.loads(pickle.dumps(value)))
    if used:
        assert_equal(outcome(name, value), expected)
    for other in (copy.deepcopy(value), copy.copy(value), pickle.loads(pickle.dumps(value, 2))):
        assert_equal(outcome(name, other), expected)


@pytest.mark.parametrize("name", [*LAYERS, *OPTIONS])
def test_layers_are_pickled_and_copied(name):
    layer = (LAYERS | OPTIONS)[name]
    assert pickle.loads(pickle.dumps(layer)) == copy.deepcopy(layer) == layer


@pytest.mark.parametrize("module", [e3any_flax, e3any_numpy, e3any_torch], ids=lambda module: module.__name__)
@pytest.mark.parametrize("name", ["silu", "even_degree_mask", "smooth_cutoff", "swish"])
def test_functions_of_adapters_as_fields_are_described_and_pickled(module, name):
    layer = Anything(partial(getattr(module.nn, name)))
    assert pickle.loads(pickle.dumps(layer)).field.func is getattr(module.nn, name)
    if name != "even_degree_mask":
        assert layer_of(describe(layer), [Anything]).field.func is getattr(nn, name)


def test_objects_do_the_same_in_another_process(tmp_path):
    """They are unpickled where nothing of the library has been imported, or has the same tables."""
    values = {name: make() for name, (make, _) in OBJECTS.items()}
    expected = {name: outcome(name, value) for name, value in values.items()}
    texts = {name: pickle.dumps(value) for name, value in values.items() if name != "Variables"}
    (tmp_path / "values").write_bytes(pickle.dumps((texts, expected)))
    script = """
        import pickle, sys
        from pathlib import Path

        texts, expected = pickle.loads(Path(sys.argv[1]).read_bytes())
        found = {name: pickle.loads(text) for name, text in texts.items()}
        sys.path.insert(0, sys.argv[2])
        from test_pickling import assert_equal, outcome
        for name, value in found.items():
            assert_equal(outcome(name, value), expected[name])
    """
    assert start(script, tmp_path / "values", Path(__file__).parent).wait(300) == 0
