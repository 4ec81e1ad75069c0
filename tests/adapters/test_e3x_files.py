"""Programs for e3x import from its files, under its name, and use names that are no part of its documentation."""

from __future__ import annotations

import ast
import inspect
import pickle
import pkgutil
import sys
from importlib import import_module

import e3any_flax
import e3x
import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from layer_cases import KEY, jit

from e3any import so3
from e3any.testing import assert_parity

FILES = sorted(module.name.removeprefix("e3x.") for module in pkgutil.walk_packages(e3x.__path__, "e3x."))
# What has no meaning here: there are no tables on disk, and derivatives are those of the core.
WITHOUT_MEANING = {
    "so3._lookup_table_generation_utility",
    *("_SMOOTH_SWITCH_SLOPE", "_smooth_switch_exp", "_smooth_switch_jvp_impl", "_bernstein_jvp_impl", "_norm_jvp_impl"),
    *("_default_angular_fn", "_wigner_d_euler", "_traceless_tensor", "_tensor_conversion_matrices"),
}
TABLES = {file for file in FILES if file.endswith("_lut")}
OTHERS = {"Float", "Bool", "Integer", "Num", "Shaped", "UInt32", "absl", "jaxtyping"}


def names_of(file: str) -> list[str]:
    """Return what a file of e3x defines, and what it imports from others of its files."""
    tree = ast.parse(inspect.getsource(import_module(f"e3x.{file}")))
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("e3x")):
            names += [alias.name for alias in node.names if not alias.name.startswith("_")]
    return [name for name in names if name not in OTHERS | WITHOUT_MEANING]


NAMES = [(file, name) for file in FILES if file not in WITHOUT_MEANING | TABLES for name in names_of(file)]
files = pytest.mark.parametrize("file", [file for file in FILES if file not in WITHOUT_MEANING])


def test_the_list_of_files_is_complete():
    assert {"nn.modules", "nn.functions.mappings", "so3.irreps", "ops.indexed", "config", "util"} <= set(FILES)
    assert {("nn.modules", "_Conv"), ("nn.modules", "InitializerFn"), ("nn.features", "Shape")} <= set(NAMES)


@files
def test_every_file_of_e3x_can_be_imported(file):
    ours = import_module(f"e3any_flax.{file}")
    parent, _, name = f"e3any_flax.{file}".rpartition(".")
    assert getattr(sys.modules[parent], name) is ours


@pytest.mark.parametrize(("file", "name"), NAMES)
def test_every_name_of_its_files_is_there(file, name):
    assert hasattr(import_module(f"e3any_flax.{file}"), name)


@pytest.mark.parametrize("file", sorted(TABLES))
def test_every_table_is_there(file):
    name = f"_generate{file.removeprefix('so3.').removesuffix('_lut')}_lookup_table"
    assert callable(getattr(import_module(f"e3x.{file}"), name))
    assert callable(getattr(import_module(f"e3any_flax.{file}"), name))


@files
def test_stars_import_what_a_file_defines(file):
    theirs, ours = {}, {}
    exec(f"from e3x.{file} import *", theirs)
    exec(f"from e3any_flax.{file} import *", ours)
    defined = {n for n, x in theirs.items() if getattr(x, "__module__", "") == f"e3x.{file}" and callable(x)}
    defined = {n for n in defined if not n.endswith("LookupTable")}  # types of dictionaries
    assert not {n for n in defined if n not in ours}


@pytest.fixture
def alias(monkeypatch):
    monkeypatch.setitem(sys.modules, "e3x_by_another_name", e3any_flax)
    yield "e3x_by_another_name"
    for name in [name for name in sys.modules if name.startswith("e3x_by_another_name.")]:
        del sys.modules[name]


@files
def test_files_are_found_under_another_name_of_the_package(alias, file):
    ours = import_module(f"e3any_flax.{file}")
    spec = ours.__spec__
    assert import_module(f"{alias}.{file}") is ours
    assert (ours.__name__, ours.__spec__) == (f"e3any_flax.{file}", spec)


def test_imports_of_all_forms_find_the_same_objects(alias):
    names = {}
    exec(
        f"import {alias}.nn.modules\n"
        f"from {alias}.so3.irreps import spherical_harmonics\n"
        f"from {alias}.nn.functions import mappings\n"
        f"from {alias}.nn.modules import initializers, _Conv, InitializerFn\n"
        f"from {alias} import ops, config",
        names,
    )
    assert names[alias] is e3any_flax
    assert names["spherical_harmonics"] is e3any_flax.so3.spherical_harmonics
    assert names["mappings"] is sys.modules["e3any_flax.nn.functions.mappings"]
    assert names["initializers"] is e3any_flax.nn.initializers
    assert issubclass(e3any_flax.nn.MessagePass, names["_Conv"])
    assert names["config"].Config is e3any_flax.Config
    assert names["ops"] is e3any_flax.ops


def test_unknown_files_are_not_found(alias):
    with pytest.raises(ModuleNotFoundError, match="no_such_file"):
        import_module(f"{alias}.no_such_file")
    with pytest.raises(AttributeError, match="no_such_file"):
        _ = e3any_flax.so3.no_such_file


def test_functions_pickle_under_the_file_that_has_them():
    for function in (e3any_flax.nn.silu, e3any_flax.nn.reflect, e3any_flax.so3.irreps.spherical_harmonics):
        assert pickle.loads(pickle.dumps(function)) is function


@pytest.mark.parametrize("name", ["Dense", "Embed", "FusedTensor", "MessagePass", "SelfAttention", "_Conv"])
def test_layers_are_called_as_those_of_e3x(name):
    ours, theirs = (
        [(p.name, p.kind) for p in inspect.signature(getattr(library.nn, name).__call__).parameters.values()]
        for library in (e3any_flax, e3x)
    )
    assert ours == theirs


def test_layers_are_subclasses_as_in_e3x():
    classes = ["_Conv", "MessagePass", "MultiHeadAttention", "SelfAttention", "Dense"]
    for library in (e3any_flax, e3x):
        related = [[issubclass(getattr(library.nn, a), getattr(library.nn, b)) for b in classes] for a in classes]
        assert related == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 0, 1, 0, 0], [1, 0, 1, 1, 0], [0, 0, 0, 0, 1]]


def test_the_dtype_of_parameters_is_the_one_of_jax():
    assert e3any_flax.nn.Dense(4).param_dtype == e3x.nn.Dense(4).param_dtype == jnp.float32
    assert e3any_flax.nn.Dense(4, param_dtype="bfloat16").param_dtype == "bfloat16"
    assert e3any_flax.nn.Dense(4, param_dtype=jnp.float64).description.param_dtype == "float64"


def gated_convolution(library):
    """Return a subclass of the convolution of a library with a step of its own before, as public programs have."""

    class Gated(library.nn.modules._Conv):
        scale: float = 0.5
        kernel_init: library.nn.modules.InitializerFn = library.nn.modules.default_kernel_init

        @flax.linen.compact
        def __call__(self, x, basis, dst_idx, src_idx):
            degree = library.nn.features._extract_max_degree_and_check_shape(x.shape)
            wide = library.nn.modules._duplication_indices_for_max_degree(degree)
            kernel = self.param("kernel", self.kernel_init, (degree + 1, x.shape[-1]), self.param_dtype)
            x = library.nn.Dense(x.shape[-1], name="before")(x * jnp.take(kernel, wide, axis=0))
            sent = library.ops.gather_src(self.scale * x, src_idx=src_idx)
            return super().__call__(inputs=sent, basis=basis, dst_idx=dst_idx, num_segments=x.shape[0])

    return Gated


@pytest.mark.parametrize(
    ("features", "options"), [(2, {"use_fused_tensor": True, "max_degree": 1}), (16, {"use_basis_bias": True})]
)
def test_subclasses_of_the_convolution_give_the_same_numbers(rng, features, options):
    x = rng.normal(size=(4, 2, 4, features)).astype("float32")
    basis = rng.normal(size=(12, 1, 9, 3)).astype("float32")
    dst, src = (i.astype("int32") for i in np.nonzero(~np.eye(4, dtype=bool)))
    models = {library: gated_convolution(library)(scale=0.7, **options) for library in (e3any_flax, e3x)}
    (ours, params), (theirs, expected) = (jit(m.init_with_output)(KEY, x, basis, dst, src) for m in models.values())
    assert jax.tree.structure(params) == jax.tree.structure(expected)
    assert_parity(params, expected)
    assert_parity(ours, theirs)
    without = models[e3any_flax].init_with_output(KEY, x, None, dst, src)[0]
    assert_parity(without, models[e3x].init_with_output(KEY, x, None, dst, src)[0])


def test_the_convolution_of_factored_bases_is_that_of_arrays(rng):
    x, r = rng.normal(size=(12, 1, 4, 3)), rng.normal(size=(12, 3))
    options = {"dst_idx": np.arange(12) % 4, "num_segments": 4}
    basis = partial_basis(factored=True)(r), partial_basis(factored=False)(r)
    module = e3any_flax.nn.modules._Conv()
    variables = module.init(KEY, x, basis[0], **options)
    assert_parity(*(module.apply(variables, x, b, **options) for b in basis))
    with pytest.raises(ValueError, match=r"expected a basis for edges of shape \(11,\), as inputs, got \(12,\)"):
        module.apply(variables, x[1:], basis[0], dst_idx=np.zeros(11, int), num_segments=4)


def partial_basis(factored):
    return lambda r: e3any_flax.nn.basis(
        r, max_degree=1, num=3, radial_fn=e3any_flax.nn.basic_fourier, factored=factored
    )


@pytest.mark.parametrize("shape", [(1, 3, 2, 2, 2, 3), (1, 1, 1, 2, 1, 3), (2, 2, 2, 2, 2, 2)])
def test_masks_of_tensor_products_are_those_of_e3x(shape):
    ours, theirs = (library.nn.modules._make_tensor_product_mask(shape) for library in (e3any_flax, e3x))
    np.testing.assert_array_equal(ours, theirs, strict=True)


def test_helpers_gather_the_last_row_for_numbers_beyond_it():
    x, idx = jnp.arange(6.0).reshape(2, 3), jnp.asarray([[0, 2], [1, 5]])
    for name, i in (("_gather_sparse", idx), ("_gather_dense", idx[:, None])):
        ours, theirs = (getattr(library.ops.indexed, name)(x, i) for library in (e3any_flax, e3x))
        np.testing.assert_array_equal(ours, theirs)


def test_tables_are_those_of_the_functions(rng):
    r, rot = rng.normal(size=3), so3.random_rotation(rng)
    files = {name: import_module(f"e3any_flax.so3._{name}_lut") for name in ("spherical_harmonics", "wigner_d")}
    table = files["spherical_harmonics"]._generate_spherical_harmonics_lookup_table(3)
    assert_parity(np.prod(r ** table["ls"], axis=-1) @ table["cm"], so3.solid_harmonics(r, 3, cartesian_order=False))
    table = files["wigner_d"]._generate_wigner_d_lookup_table(2)
    matrix = so3.wigner_d(rot, 2, cartesian_order=False)
    entries = np.concatenate([matrix[l * l : (l + 1) ** 2, l * l : (l + 1) ** 2].ravel() for l in range(3)])
    assert_parity(np.prod(rot.ravel() ** table["ls"], axis=-1) @ table["cm"], entries)


def test_symbolic_expressions_are_those_of_the_functions(rng):
    symbolic, r = import_module("e3any_flax.so3._symbolic"), rng.normal(size=3)
    harmonics = [float(symbolic._spherical_harmonics(2, m)(*r.tolist())) for m in range(-2, 3)]
    assert_parity(np.asarray(harmonics), so3.solid_harmonics(r, 2, cartesian_order=False)[4:])
    table = so3.clebsch_gordan_for_degrees(2, 1, 2, cartesian_order=False)
    found = [[float(symbolic._clebsch_gordan(2, 1, 1, b, 2, c)) for c in range(-2, 3)] for b in (-1, 0, 1)]
    assert_parity(np.asarray(found), table[3])


@pytest.mark.parametrize(
    ("call", "note"),
    [
        (lambda: e3any_flax.ops.dense_pairwise_indices(0), "must be larger than 0, received 0"),
        (lambda: e3any_flax.nn.relu(np.ones((2, 2))), "shape of x must have at least three dimensions"),
        (lambda: e3any_flax.so3.spherical_harmonics(np.ones(3), -1), "degree must be positive or zero"),
        (
            lambda: e3any_flax.nn.Tensor(max_degree=2).init(KEY, *np.ones((2, 1, 1, 4))),
            "can be at most 0, received max",
        ),
        (
            lambda: e3any_flax.nn.features._extract_max_degree_and_check_shape((1, 8, 2)),
            "closest valid size is 9",
        ),
    ],
)
def test_errors_have_notes_in_the_words_of_e3x(call, note):
    with pytest.raises(ValueError, match="expected") as info:
        call()
    assert any(note in line for line in info.value.__notes__)
