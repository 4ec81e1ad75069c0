"""Linen modules from descriptions, and under the names of e3x."""

from __future__ import annotations

import dataclasses
import inspect

import e3any_flax
import e3x
import flax.core
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from composed_model import Energies, molecule
from flax import errors, linen
from layer_cases import KEY, features, jit

import e3any
from e3any import nn
from e3any.nn.layer import check_tree, initialize
from e3any.testing import assert_parity

NAMES = sorted(
    n for n in nn.__all__ if inspect.isclass(getattr(nn, n)) and issubclass(getattr(nn, n), nn.Layer) and n != "Layer"
)
names = pytest.mark.parametrize("name", NAMES)
names_of_e3x = pytest.mark.parametrize("name", [n for n in NAMES if hasattr(e3x.nn, n)])


@pytest.fixture
def x(rng):
    return jnp.asarray(features(rng, 2, 2, 4, 3))


@pytest.fixture(scope="module")
def energies():
    """The module of a composed model, its inputs and its variables in float64."""
    module = e3any_flax.to_linen(Energies())
    variables = jit(module.init)(KEY, *molecule())
    inputs = tuple(map(jnp.asarray, molecule("float64")))
    return module, inputs, jax.tree.map(lambda v: v.astype(jnp.float64), variables)


@names_of_e3x
def test_attributes_have_the_names_and_the_order_of_e3x(name):
    ours, theirs = (
        [f.name for f in dataclasses.fields(getattr(library, name)) if f.init] for library in (e3any_flax.nn, e3x.nn)
    )
    assert [field for field in ours if field != "use_parity"] == theirs
    # The option that e3x lacks is given by name, and so does not move the others.
    added = [f.kw_only for f in dataclasses.fields(getattr(e3any_flax.nn, name)) if f.name == "use_parity"]
    assert all(added)


@names_of_e3x
def test_attributes_have_the_defaults_of_e3x(name):
    ours, theirs = ({f.name: f.default for f in dataclasses.fields(getattr(l, name))} for l in (e3any_flax.nn, e3x.nn))
    assert (e3any.Config.cartesian_order, e3any.Config.use_fused_tensor) == (True, False)
    for field, value in ours.items():
        if field == "param_dtype":
            assert jnp.dtype(value) == jnp.dtype(theirs[field])
        elif field in ("cartesian_order", "use_fused_tensor", "use_parity"):
            assert value is None  # What Config says.
        elif not field.endswith("_init") and field not in ("parent", "name"):
            assert value == theirs[field]


@pytest.mark.parametrize(
    "name", [n for n in NAMES if hasattr(e3x.nn, n) and n != "ExponentialBasis"]
)  # which has *args, **kwargs in e3x
def test_inputs_have_the_names_and_defaults_of_e3x(name):
    ours = list(inspect.signature(getattr(nn, name).forward).parameters.values())[2:]
    theirs = list(inspect.signature(getattr(e3x.nn, name).__call__).parameters.values())[1:]
    assert [(p.name, p.kind) for p in ours] == [(p.name, p.kind) for p in theirs]


@names
def test_classes_carry_their_own_name_and_documentation(name):
    module = getattr(e3any_flax.nn, name)
    assert issubclass(module, linen.Module)
    assert (module.__name__, module.__module__) == (name, "e3any_flax.nn")
    assert module.__doc__ == getattr(nn, name).__doc__


def test_module_under_the_name_of_e3x_is_its_description(x):
    module = e3any_flax.nn.TensorDense(4, max_degree=1, use_bias=False)
    assert module.description == nn.TensorDense(4, max_degree=1, use_bias=False)
    ours, theirs = (m.init_with_output(KEY, x) for m in (module, e3any_flax.to_linen(module.description)))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_inputs_may_be_given_by_name(x):
    module = e3any_flax.nn.Tensor()
    variables = module.init(KEY, inputs1=x, inputs2=x)
    np.testing.assert_array_equal(module.apply(variables, inputs2=x, inputs1=x), module.apply(variables, x, x))


def test_program_for_e3x_gives_the_same_numbers(rng):
    def model(library):
        class Model(linen.Module):
            """A program for e3x."""

            @linen.compact
            def __call__(self, numbers, r, dst_idx, src_idx):
                basis = library.nn.basis(r, max_degree=1, num=3, radial_fn=library.nn.reciprocal_bernstein)
                x = library.nn.Embed(num_embeddings=10, features=4, dtype="float64")(numbers)
                for _ in range(2):
                    y = library.nn.MessagePass(max_degree=1)(x, basis, dst_idx=dst_idx, src_idx=src_idx)
                    x = library.nn.silu(library.nn.Dense(features=4)(library.nn.add(x, y)))
                return library.nn.Dense(features=1, use_bias=False, name="last")(x)

        return Model()

    inputs = molecule("float64")
    ours, theirs = (jit(model(library).init_with_output)(KEY, *inputs) for library in (e3any_flax, e3x))
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    assert_parity(ours[1], theirs[1], rtol=1e-6)
    y = jit(model(e3any_flax).apply)(theirs[1], *inputs)
    assert_parity(y, theirs[0], rtol=1e-6)


def test_parameters_of_a_module_are_those_of_its_description(energies):
    module, _, variables = energies
    check_tree(variables["params"], module.description.parameters(*molecule()))
    assert set(variables) == {"params"}


def test_composed_module_computes_what_its_description_does(energies):
    module, inputs, variables = energies
    expected = module.description(e3any_flax.to_tree(variables), *map(np.asarray, inputs))
    assert_parity(jit(module.apply)(variables, *inputs), expected, "float64")


def test_parameters_of_one_shape_are_drawn_independently(energies):
    drawn = [v.tobytes() for v in jax.tree.leaves(energies[2]) if v.any()]
    assert len(set(drawn)) == len(drawn)


def test_shapes_are_known_without_computation(energies):
    module, _, variables = energies
    shapes = jax.eval_shape(module.init, KEY, *molecule())
    assert jax.tree.map(lambda s: s.shape, shapes) == jax.tree.map(lambda v: v.shape, variables)


def test_modules_are_named_as_modules_of_flax_are(x):
    class Parent(linen.Module):
        """Modules in a module."""

        @linen.compact
        def __call__(self, x):
            x = e3any_flax.nn.Dense(4)(e3any_flax.nn.Dense(3)(x))
            return e3any_flax.to_linen(nn.Dense(2), name="last")(e3any_flax.to_linen(nn.Dense(3))(x))

    params = Parent().init(KEY, x)["params"]
    assert set(params) == {"Dense_0", "Dense_1", "LayerModule_0", "last"}
    assert params["last"]["0+"]["kernel"].shape == (3, 2)


def test_children_of_one_name_share_parameters(x):
    @dataclasses.dataclass(frozen=True)
    class Twice(nn.Layer):
        """One linear map, twice."""

        def forward(self, p, x):
            return nn.Dense(3)(p / "dense", nn.Dense(3)(p / "dense", x))

    y, variables = e3any_flax.to_linen(Twice()).init_with_output(KEY, x)
    np.testing.assert_array_equal(e3any_flax.to_linen(Twice()).apply(variables, x), y)
    params = variables["params"]
    assert list(params) == ["dense"]
    assert_parity(y, Twice()(params, x), rtol=1e-6)


def test_initialisers_of_flax_will_do(x):
    module = e3any_flax.nn.Dense(4, kernel_init=linen.initializers.ones, bias_init=jax.nn.initializers.ones)
    for parameter in jax.tree.leaves(module.init(KEY, x)):
        np.testing.assert_array_equal(parameter, np.ones(parameter.shape))


def test_modules_can_be_lifted(x):
    module = linen.vmap(e3any_flax.nn.Dense, variable_axes={"params": 0}, split_rngs={"params": True})(4)
    variables = module.init(KEY, x)
    kernel = variables["params"]["0+"]["kernel"]
    assert kernel.shape == (2, 3, 4)
    assert (kernel[0] != kernel[1]).all()
    each = [nn.Dense(4)(jax.tree.map(lambda v, i=i: v[i], variables["params"]), x[i]) for i in range(2)]
    assert_parity(module.apply(variables, x), jnp.stack(each), rtol=1e-6)


def test_modules_are_values():
    assert e3any_flax.to_linen(Energies()) == e3any_flax.to_linen(Energies())
    assert hash(e3any_flax.nn.Dense(4)) == hash(e3any_flax.nn.Dense(4))


def test_missing_and_misshapen_parameters_are_refused(x):
    variables = e3any_flax.nn.Dense(4).init(KEY, x)
    kernels = {name: {"kernel": node["kernel"]} for name, node in variables["params"].items()}
    with pytest.raises(errors.ScopeParamNotFoundError, match='"bias" in scope "/0\\+"'):
        e3any_flax.nn.Dense(4).apply({"params": kernels}, x)
    with pytest.raises(errors.ScopeParamShapeError, match=r"\(3, [45]\).*\(3, [45]\)"):
        e3any_flax.nn.Dense(5).apply(variables, x)


def test_initialisers_are_evaluated_when_parameters_are_created_alone(x):
    shapes = []

    def record(key, shape, dtype):
        shapes.append(shape)
        return jnp.ones(shape, dtype)

    module = e3any_flax.nn.Dense(4, kernel_init=record)
    variables = module.init(KEY, x)
    assert shapes == [(3, 4)] * 4
    module.apply(variables, x)
    assert len(shapes) == 4


def test_initialisers_may_add_metadata_of_flax(x):
    init = linen.with_partitioning(linen.initializers.ones, ("in", "out"))
    module, plain = (e3any_flax.nn.Dense(4, kernel_init=i) for i in (init, linen.initializers.ones))
    variables = module.init(KEY, x)
    assert variables["params"]["0+"]["kernel"].names == ("in", "out")
    np.testing.assert_array_equal(module.apply(variables, x), plain.apply(plain.init(KEY, x), x))


def test_initialisers_of_another_shape_are_refused(x):
    with pytest.raises(errors.ScopeParamShapeError, match=r"shape \(3, 4\).* shape \(4, 3\)"):
        e3any_flax.nn.Dense(4, kernel_init=lambda key, shape, dtype: jnp.ones(shape[::-1], dtype)).init(KEY, x)


def test_module_outside_of_init_and_apply_is_refused(x):
    with pytest.raises(errors.CallCompactUnboundModuleError):
        e3any_flax.nn.Dense(4)(x)


def test_bad_input_is_refused_while_tracing(x):
    with pytest.raises(ValueError, match=r"expected inputs of shape \(\.\.\., 1 or 2, \(max_degree\+1\)\*\*2, featu"):
        jax.eval_shape(e3any_flax.nn.Dense(4).init, KEY, x[..., :3, :])


def test_trees_are_plain_dictionaries_of_numpy(energies):
    tree = e3any_flax.to_tree(energies[2])
    kinds = {type(v) for v in jax.tree.leaves(tree)}
    assert kinds == {np.ndarray}
    for other in (energies[2]["params"], flax.core.freeze(energies[2])):
        jax.tree.map(np.testing.assert_array_equal, e3any_flax.to_tree(other), tree)
        assert type(e3any_flax.to_tree(other)["block0"]) is dict


def test_tree_is_loaded_in_the_dtypes_of_the_module(energies):
    module, _, variables = energies
    tree = initialize(module.description.parameters(*molecule()), np.random.default_rng(0))
    loaded = e3any_flax.load_tree(variables, tree)
    assert jax.tree.structure(loaded) == jax.tree.structure(variables)
    assert {v.dtype for v in jax.tree.leaves(loaded)} == {jnp.dtype("float64")}
    jax.tree.map(np.testing.assert_array_equal, loaded["params"], tree)
    shapes = jax.eval_shape(module.init, KEY, *molecule())
    assert {v.dtype for v in jax.tree.leaves(e3any_flax.load_tree(shapes, tree))} == {jnp.dtype("float32")}
    bare = e3any_flax.load_tree(variables["params"], flax.core.freeze(tree))
    jax.tree.map(np.testing.assert_array_equal, bare, tree)


def test_other_collections_of_variables_are_kept(x):
    variables = {**e3any_flax.nn.Dense(4).init(KEY, x), "averages": {"count": jnp.asarray(3)}}
    assert e3any_flax.load_tree(variables, e3any_flax.to_tree(variables))["averages"] == {"count": 3}


def test_nodes_without_parameters_may_be_in_a_tree(x):
    variables = e3any_flax.nn.Dense(4).init(KEY, x)
    tree = {**e3any_flax.to_tree(variables), "activation": {}}
    jax.tree.map(np.testing.assert_array_equal, e3any_flax.load_tree(variables, tree), variables)


def test_trees_of_other_parameters_are_refused(x):
    variables = e3any_flax.nn.Dense(4).init(KEY, x)
    tree = e3any_flax.to_tree(variables)
    with pytest.raises(ValueError, match=r"got a tree that lacks \['1-/kernel'\] and adds \['2\+/kernel'\]"):
        e3any_flax.load_tree(variables, {**{n: v for n, v in tree.items() if n != "1-"}, "2+": tree["1-"]})
    with pytest.raises(ValueError, match=r"expected parameter '0\+/bias' of shape \(4,\), got \(5,\)"):
        e3any_flax.load_tree(variables, {**tree, "0+": {**tree["0+"], "bias": np.ones(5)}})


def test_masks_of_degrees_are_arrays_of_jax():
    for mask in (e3any_flax.nn.even_degree_mask, e3any_flax.nn.odd_degree_mask):
        assert isinstance(mask(2), jax.Array)


def test_arrays_of_numpy_will_do(energies):
    module, inputs, variables = energies
    y = jit(lambda: module.apply(variables, *map(np.asarray, inputs)))()
    assert_parity(y, jit(module.apply)(variables, *inputs))
    tree = e3any_flax.to_tree(variables)
    assert_parity(jit(lambda: module.apply({"params": tree}, *inputs))(), y)


def test_settings_and_layouts_are_those_of_the_core():
    assert e3any_flax.Layout is e3any.Layout
    assert issubclass(e3any_flax.Config, e3any.Config)
