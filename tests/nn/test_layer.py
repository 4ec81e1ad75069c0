"""Descriptions of layers, and trees of parameters."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
import pytest
import torch
from backends_matrix import Library
from layer_cases import cast, features, paths

from e3any import Layout, nn
from e3any.nn.layer import check_tree, initialize, leaves
from e3any.testing import assert_equivariant, assert_parity


@dataclass(frozen=True)
class Block(nn.Layer):
    """A layer of layers."""

    size: int
    activation: Any = nn.silu

    def forward(self, p, x):
        y = self.activation(nn.Dense(self.size)(p / "dense", x))
        return nn.add(x, nn.Dense(x.shape[-1], use_bias=False)(p / "out", y))


@dataclass(frozen=True)
class Model(nn.Layer):
    """A layer of layers of layers, with a parameter of its own."""

    block: Block = Block(4)
    count: int = 2
    init: Any = nn.initializers.zeros

    def forward(self, p, x):
        for i in range(self.count):
            x = self.block(p / f"block{i}", x)
        return x * p.param("scale", (x.shape[-1],), self.init)


@dataclass(frozen=True)
class Function(nn.Layer):
    """A layer that is made of a function of parameters and inputs."""

    function: Any

    def forward(self, p, *inputs):
        return self.function(p, *inputs)


LAYOUT = Layout(1, 3, pseudotensors=True)


def ones(generator, shape, dtype):
    return np.ones(shape, dtype)


def parameters(rng, layer=Model()):
    return {name: value for name, value in initialize(layer.parameters(LAYOUT), rng).items()}


def test_names_are_the_path_that_is_written_down():
    irreps = ["0+", "1+", "0-", "1-"]
    block = ["dense.0+.kernel", "dense.0+.bias", *(f"dense.{i}.kernel" for i in irreps[1:])]
    block += [f"out.{i}.kernel" for i in irreps]
    assert paths(Model().parameters(LAYOUT)) == [*(f"block{i}.{name}" for i in range(2) for name in block), "scale"]


def test_shapes_follow_from_the_inputs(rng):
    specs = Model().parameters(LAYOUT)
    assert specs["block1"]["dense"]["1+"]["kernel"] == nn.ParameterSpec((3, 4), nn.initializers.lecun_normal, "float32")
    assert specs["block1"]["out"]["0+"]["kernel"].shape == (4, 3)
    assert specs["scale"] == nn.ParameterSpec((3,), nn.initializers.zeros)
    assert Model().parameters(features(rng, 7, 1, 9, 5))["scale"].shape == (5,)


def test_layouts_and_arrays_name_the_same_parameters(rng):
    assert Model().parameters(LAYOUT) == Model().parameters(features(rng, 7, *LAYOUT.shape))
    layouts = Layout(1, 3), Layout(2, 5)
    edge = np.zeros(4, int)
    arrays = layouts[0].example(2), layouts[1].example(4)
    options = {"dst_idx": edge, "src_idx": edge}
    assert nn.MessagePass().parameters(*layouts) == nn.MessagePass().parameters(*arrays, **options)
    assert nn.MessagePass().parameters(*layouts) == nn.MessagePass().parameters(
        inputs=arrays[0], basis=arrays[1], **options
    )
    assert nn.Tensor().parameters(layouts[0], layouts[0].example(2)) == nn.Tensor().parameters(*[layouts[0]] * 2)


def test_message_passing_needs_the_layouts_of_inputs_and_basis():
    layout = Layout(max_degree=1, features=2)
    with pytest.raises(TypeError, match="expected a basis, got None"):
        nn.MessagePass(1).parameters(layout)
    with pytest.raises(RuntimeError, match="expected either adj_idx or dst_idx and src_idx, got neither"):
        nn.MessagePass(1).parameters(layout, layout.example(1))


def test_layer_with_an_example_of_its_own_needs_no_inputs():
    assert nn.Embed(5, 3).parameters() == nn.Embed(5, 3).parameters(np.arange(4))


def test_layer_without_parameters_has_an_empty_tree(rng):
    layer = Function(lambda p, x: Function(lambda p, x: nn.silu(x))(p / "activation", x))
    x = features(rng, 1, 4, 3)
    assert paths(layer.parameters(x)) == []
    np.testing.assert_array_equal(layer({}, x), nn.silu(x))


def test_composed_layer_is_the_composition(library, rng):
    layer, x = Model(count=1), features(rng, 2, *LAYOUT.shape)
    params, x = cast(({**parameters(rng), "scale": np.asarray([1.0, 2.0, 3.0])}, x), library)
    y = nn.silu(nn.Dense(4)(params["block0"]["dense"], x))
    y = nn.add(x, nn.Dense(3, use_bias=False)(params["block0"]["out"], y))
    assert_parity(layer(params, x), y * params["scale"])


def test_composed_layer_is_equivariant(rng):
    params = {**parameters(rng), "scale": np.asarray([1.0, 2.0, 3.0])}
    assert_equivariant(lambda x: Model()(cast(params, Library.NUMPY), x), features(rng, 2, *LAYOUT.shape))


@pytest.mark.parametrize("generator", [np.random.default_rng, lambda seed: torch.Generator().manual_seed(seed)])
def test_parameters_are_drawn_by_generators(generator):
    specs = Model().parameters(LAYOUT)
    trees = [initialize(specs, generator(seed)) for seed in (0, 0, 1)]
    drawn = [dict(leaves(tree)) for tree in trees]
    assert paths(trees[0]) == paths(specs)
    for path, spec in leaves(specs):
        arrays = [tree[path] for tree in drawn]
        assert type(arrays[0]) is (np.ndarray if generator is np.random.default_rng else torch.Tensor)
        assert tuple(arrays[0].shape) == spec.shape
        assert str(arrays[0].dtype).endswith("float32")
        assert_parity(arrays[0], arrays[1], rtol=0)
        assert (spec.init is nn.initializers.zeros) == (arrays[0] == arrays[2]).all()


def test_parameters_of_equal_shape_are_drawn_independently(rng):
    params = parameters(rng)
    kernels = [params[f"block{i}"]["dense"][name]["kernel"] for i in range(2) for name in ("0+", "1-", "0-", "1+")]
    assert len({kernel.tobytes() for kernel in kernels}) == len(kernels)


def test_dtype_of_parameters_is_that_asked_for(rng):
    specs = nn.Dense(4, param_dtype="float64").parameters(LAYOUT)
    assert {x.dtype for _, x in leaves(initialize(specs, rng))} == {np.dtype("float64")}
    params = initialize(specs, torch.Generator())
    assert {x.dtype for _, x in leaves(params)} == {torch.float64}


@pytest.mark.parametrize(
    "dtype", ["bfloat16", "float64", np.float64, torch.bfloat16, torch.float64, jax.numpy.bfloat16]
)
def test_parameters_are_known_for_the_dtypes_of_every_library(dtype):
    layer = nn.Dense(4, dtype=dtype, param_dtype=dtype)
    specs = layer.parameters(LAYOUT)
    assert specs["0+"]["kernel"] == nn.ParameterSpec((3, 4), nn.initializers.lecun_normal, dtype)
    for library, generator in ((Library.TORCH, torch.Generator()), (Library.JAX, jax.random.key(0))):
        params = initialize(specs, generator)
        y = layer(params, library.array(np.ones(LAYOUT.shape), "float32"))
        assert str(y.dtype).endswith("bfloat16" if "bfloat16" in str(dtype) else "float64")
        assert params["0+"]["kernel"].dtype == y.dtype


def test_dtypes_of_parameters_count_where_equal_dtypes_are_asked_for():
    layer = Function(lambda p, x: nn.add(x, nn.Dense(3, param_dtype="float64")(p / "dense", x)))
    assert len(paths(layer.parameters(np.ones(LAYOUT.shape)))) == 5


def test_any_callable_draws(rng):
    tree = initialize(Model(init=ones).parameters(LAYOUT), rng)
    np.testing.assert_array_equal(tree["scale"], np.ones(3, np.float32))


def test_generators_of_no_known_library_are_refused():
    with pytest.raises(TypeError, match=r"expected a JAX key, a numpy\.random\.Generator or a torch\.Generator, got"):
        initialize(Model().parameters(LAYOUT), np.random.RandomState(0))


def test_descriptions_are_values():
    assert Model(Block(4)) == Model(Block(4))
    assert Model(Block(4)) != Model(Block(5))
    assert len({Model(), Model(Block(4)), Model(Block(5)), nn.Dense(4), nn.Dense(4)}) == 3
    assert dataclasses.replace(Model(), count=3).count == 3
    assert repr(Block(4, nn.relu)).startswith("Block(size=4, activation=<function relu")
    for layer, name in ((Model(), "count"), (nn.Dense(4), "features"), (nn.Tensor(), "max_degree")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(layer, name, 1)


@pytest.mark.parametrize("layer", [nn.Dense(4), nn.Embed(5, 3), nn.Tensor(), nn.TensorDense(), nn.MessagePass()])
def test_layers_are_hashable(layer):
    assert hash(layer) == hash(dataclasses.replace(layer))
    assert layer == dataclasses.replace(layer)


def test_description_without_forward_is_refused():
    class Nothing(nn.Layer):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Nothing()


def test_every_mapping_is_a_tree(rng):
    x = features(rng, 2, *LAYOUT.shape)
    params = parameters(rng)
    proxy = MappingProxyType({name: MappingProxyType(v) if isinstance(v, dict) else v for name, v in params.items()})
    np.testing.assert_array_equal(Model()(proxy, x), Model()(params, x))


def test_node_of_a_tree_holds_parameters_of_a_child(rng):
    params = parameters(rng)
    x = features(rng, 2, *LAYOUT.shape)

    class Renamed(nn.Parameters):
        """Another place that parameters are kept in."""

        def __init__(self, path=()):
            self.path = path

        def param(self, name, shape, init, dtype=None):
            (value,) = (v for path, v in leaves(params) if path == (*self.path, name))
            return value

        def __truediv__(self, name):
            return Renamed((*self.path, name))

    np.testing.assert_array_equal(Model()(Renamed(), x), Model()(params, x))


def test_children_of_one_name_share_parameters(rng):
    twice = Function(lambda p, x: nn.Dense(3)(p / "dense", nn.Dense(3)(p / "dense", x)))
    x = features(rng, *LAYOUT.shape)
    specs = twice.parameters(x)
    assert specs == {"dense": nn.Dense(3).parameters(x)}
    params = initialize(specs, rng)
    dense = nn.Dense(3)
    np.testing.assert_array_equal(twice(params, x), dense(params["dense"], dense(params["dense"], x)))


def test_children_of_one_name_and_different_shapes_are_refused(rng):
    twice = Function(lambda p, x: nn.Dense(4)(p / "a", nn.Dense(3)(p / "a", x)))
    with pytest.raises(
        ValueError, match=r"expected another name than 'a/0\+/kernel', which is shape \(3, 3\), got \(3, 4\)"
    ):
        twice.parameters(LAYOUT)


def test_name_is_either_a_parameter_or_a_node(rng):
    init = nn.initializers.zeros
    node_first = Function(lambda p, x: nn.Dense(4)(p / "a", x) * p.param("a", (4,), init))
    with pytest.raises(ValueError, match=r"expected another name than 'a', which is a node, got \(4,\)"):
        node_first.parameters(LAYOUT)
    parameter_first = Function(lambda p, x: p.param("a", (3,), init) * nn.Dense(3)(p / "a", x))
    with pytest.raises(ValueError, match="expected another name than 'a', which is a parameter, for a node"):
        parameter_first.parameters(LAYOUT)


def without(tree, *path):
    """Copy a tree without what a path leads to."""
    name, *rest = path
    return {n: without(v, *rest) if n == name else v for n, v in tree.items() if n != name or rest}


def test_missing_parameters_are_named_by_their_path(library, rng):
    params, x = cast((parameters(rng), features(rng, *LAYOUT.shape)), library)
    with pytest.raises(
        ValueError, match=r"expected a parameter 'block1/out/1-/kernel', got a tree that has nothing th"
    ):
        Model()(without(params, "block1", "out", "1-"), x)
    with pytest.raises(
        ValueError, match=r"expected a parameter 'block0/dense/0\+/bias', got a tree that has kernel th"
    ):
        Model()(without(params, "block0", "dense", "0+", "bias"), x)
    with pytest.raises(ValueError, match="expected a parameter 'scale', got a tree that has block0, block1 there"):
        Model()(without(params, "scale"), x)


def test_misshapen_parameters_are_named_by_their_path(library, rng):
    params, x = cast((parameters(rng), features(rng, *LAYOUT.shape)), library)
    with pytest.raises(
        ValueError, match=r"expected parameter 'block0/dense/0\+/kernel' of shape \(3, 5\), got \(3, 4\)"
    ):
        Model(Block(5))(params, x)


def test_trees_of_another_kind_are_refused(rng):
    params, x = parameters(rng), features(rng, *LAYOUT.shape)
    with pytest.raises(TypeError, match="expected a mapping of parameters at 'the root', got ndarray"):
        Model()(np.ones(3), x)
    with pytest.raises(TypeError, match="expected a mapping of parameters at 'block0/out/', got ndarray"):
        Model()({**params, "block0": {**params["block0"], "out": np.ones(3)}}, x)
    for wrong, name in (({"a": np.ones(3)}, "dict"), ([1.0, 2.0, 3.0], "list")):
        with pytest.raises(TypeError, match=f"expected an array at 'scale', got {name}"):
            Model()({**params, "scale": wrong}, x)


def test_parameters_of_another_library_are_refused(library, rng):
    params, x = parameters(rng), features(rng, *LAYOUT.shape)
    other = Library.NUMPY if library is Library.TORCH else Library.TORCH
    with pytest.raises(TypeError, match=r"expected arrays of .*, got .*(Tensor|ndarray)"):
        Model()(cast(params, other), library.array(x))


def test_parameters_of_numpy_will_do_for_jax(rng):
    params, x = parameters(rng), jax.numpy.asarray(features(rng, *LAYOUT.shape))
    assert_parity(Model()(params, x), Model()(cast(params, Library.JAX), x))


def test_trees_are_checked_as_a_whole(rng):
    specs, params = Model().parameters(LAYOUT), parameters(rng)
    check_tree(params, specs)
    check_tree(params, params)
    expected = (
        r"expected the parameters of the layer, got a tree that lacks \['block1/out/1-/kernel', 'scale'\] and adds"
    )
    tree = without(without(params, "block1", "out", "1-"), "scale")
    with pytest.raises(ValueError, match=rf"{expected} \['block0/scale'\]"):
        check_tree({**tree, "block0": {**tree["block0"], "scale": np.ones(3)}}, specs)
    with pytest.raises(ValueError, match=r"expected parameter 'scale' of shape \(3,\), got \(1, 3\)"):
        check_tree({**params, "scale": np.ones((1, 3))}, specs)
    with pytest.raises(TypeError, match="expected an array at 'scale', got list"):
        check_tree({**params, "scale": [1.0, 2.0, 3.0]}, specs)
    with pytest.raises(TypeError, match="expected a mapping of parameters, got list"):
        check_tree([params], specs)


def test_nodes_without_parameters_do_not_count(rng):
    check_tree({**parameters(rng), "nothing": {"here": {}}}, Model().parameters(LAYOUT))


def test_leaves_are_listed_depth_first():
    tree = {"b": {"y": 1, "x": {"z": 2}}, "c": {}, "a": 3}
    assert list(leaves(tree)) == [(("b", "y"), 1), (("b", "x", "z"), 2), (("a",), 3)]
