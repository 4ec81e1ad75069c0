"""A program for e3x, run with ``import e3x`` and with ``import e3any_flax as e3x``."""

from __future__ import annotations

import inspect
import sys
from functools import cache, partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import e3any_flax
import e3x
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from layer_cases import KEY, jit

import e3any
from e3any.testing import assert_parity

SOURCE = (Path(__file__).parent / "e3x_program.py").read_text(encoding="utf-8")
RTOL = {"float32": 1e-6, "float64": 1e-12}
# These read values of arrays.
EAGER = {"dense_to_sparse_indices", "is_traceless_symmetric", "sparse_to_dense_indices"}
GROUPS = {"so3": "so3", "ops": "ops", "nn": "nn", "initializers": "nn.initializers"}
dtypes = pytest.mark.parametrize("dtype", RTOL)


def program(library: str) -> ModuleType:
    """Run the text of the program with a library under the name of e3x."""
    head, separator, tail = SOURCE.partition("import e3x\n")
    assert separator
    module = ModuleType(f"program_for_{library}")
    sys.modules[module.__name__] = module  # where modules of Linen look for their types
    text = head + ("import e3x\n" if library == "e3x" else f"import {library} as e3x\n") + tail
    exec(compile(text, f"e3x_program.py for {library}", "exec"), module.__dict__)
    return module


PROGRAMS = {library: program(library) for library in ("e3x", "e3any_flax")}


def inputs() -> SimpleNamespace:
    """Return inputs: four nodes, their edges, and a list of neighbours with padding."""
    rng = np.random.default_rng(1)
    dst, src = np.nonzero(~np.eye(4, dtype=bool))
    a = rng.normal(size=(3, 3))
    floats = {
        "x": rng.normal(size=(4, 2, 9, 3)),
        "positions": rng.normal(size=(4, 3)),
        "r": rng.normal(size=(12, 3)),
        "t": rng.uniform(0.1, 0.9, size=12),
        "angle": rng.uniform(-3, 3, size=12),
        "weights": rng.normal(size=(4, 3)),
        "rotation": np.linalg.qr(rng.normal(size=(5, 3, 3)))[0],
        "traceless": a + a.T - 2 * np.trace(a) * np.eye(3) / 3,
    }
    floats["rotation"] *= np.linalg.det(floats["rotation"])[:, None, None]
    integers = {"numbers": [6, 1, 1, 8], "dst": dst, "src": src, "adj": [[1, 2, 3], [0, 2, 4], [0, 1, 4], [0, 4, 4]]}
    # Numbers that single precision has, except for rotations, which have to be orthogonal.
    arrays = {name: x if name == "rotation" else x.astype("float32") for name, x in floats.items()}
    return SimpleNamespace(**arrays, **{name: np.asarray(x, "int32") for name, x in integers.items()})


def public(name: str) -> list[str]:
    """Return the functions and classes of a module of e3x."""
    module = lookup(e3x, name)
    return [
        n
        for n, x in sorted(vars(module).items())
        if not n.startswith("_") and getattr(x, "__module__", "").startswith("e3x") and callable(x)
    ]


def lookup(library: ModuleType, name: str) -> ModuleType:
    for part in name.split("."):
        library = getattr(library, part)
    return library


def is_layer(name: str) -> bool:
    return inspect.isclass(getattr(e3x.nn, name))


LAYERS = [n for n in public("nn") if is_layer(n)]
FUNCTIONS = [
    (group, n)
    for group, path in GROUPS.items()
    for n in public(path)
    if not (group == "nn" and is_layer(n)) and not n.endswith("InitializerFn")
]
functions = pytest.mark.parametrize(("group", "name"), FUNCTIONS)
layers = pytest.mark.parametrize("name", LAYERS)


def parameters(function):
    """Return names, kinds and whether there is a default."""
    signature = inspect.signature(function)
    return [(p.name, p.kind, p.default is not p.empty) for p in signature.parameters.values()]


def assert_same_parameters(ours, theirs):
    """Compare signatures; there may be more options by name at the end."""
    extra = [p for p in ours[len(theirs) :] if p[1] not in (inspect.Parameter.KEYWORD_ONLY,) or not p[2]]
    assert ours[: len(theirs)] == theirs
    assert not extra


@functions
def test_functions_are_there_and_in_the_program(group, name):
    assert callable(getattr(lookup(e3any_flax, GROUPS[group]), name))
    assert name in getattr(PROGRAMS["e3x"], group)(inputs())


@functions
def test_functions_are_found_under_the_files_of_e3x(group, name):
    path = lookup(e3x, f"{GROUPS[group]}.{name}").__module__.removeprefix("e3x.")
    if not any(part.startswith("_") for part in path.split(".")):
        assert callable(getattr(lookup(e3any_flax, path), name))


@functions
def test_functions_take_the_arguments_of_e3x(group, name):
    ours, theirs = (getattr(lookup(library, GROUPS[group]), name) for library in (e3any_flax, e3x))
    assert_same_parameters(parameters(ours), parameters(theirs))


@layers
def test_layers_take_the_arguments_of_e3x(name):
    ours, theirs = (getattr(library.nn, name) for library in (e3any_flax, e3x))
    assert_same_parameters(parameters(ours), parameters(theirs))


def arrays_of(dtype: str) -> dict:
    return {n: jnp.asarray(x, dtype if x.dtype.kind == "f" else x.dtype) for n, x in vars(inputs()).items()}


@cache
def results(library: str, group: str, dtype: str) -> dict:
    """Return the results of a program for all functions of a group."""
    names = [n for g, n in FUNCTIONS if g == group]

    def run(arrays: dict, names: set) -> dict:
        cases = getattr(PROGRAMS[library], group)(SimpleNamespace(**arrays))
        return {n: [np.asarray(x) if n in EAGER else x for x in jax.tree.leaves(cases[n]())] for n in names}

    eager = EAGER.intersection(names)
    arrays = arrays_of(dtype)
    return jit(partial(run, names=set(names) - eager))(arrays) | run(arrays, eager)


@dtypes
@functions
def test_functions_give_the_same_numbers(group, name, dtype):
    # What e3x computes in single precision has larger errors here and there. Random numbers depend on the precision.
    reference = dtype if group == "initializers" else "float64"
    ours, theirs = results("e3any_flax", group, dtype)[name], results("e3x", group, reference)[name]
    assert_parity(ours, theirs, rtol=RTOL[dtype])


@pytest.mark.parametrize("x", [1, 0.5])
def test_functions_of_one_number_take_python_numbers(x):
    for name, options in {"smooth_cutoff": {"cutoff": 2.0}, "smooth_switch": {}, "basic_fourier": {"num": 3}}.items():
        assert_parity(getattr(e3any_flax.nn, name)(x, **options), getattr(e3x.nn, name)(float(x), **options))


def test_initializers_take_their_arguments_by_name():
    draw = e3any_flax.nn.initializers.tensor_variance_scaling(scale=1.0, mode="fan_avg", distribution="normal")
    theirs = e3x.nn.initializers.tensor_variance_scaling(scale=1.0, mode="fan_avg", distribution="normal")
    options = {"key": KEY, "shape": (1, 2, 1, 2, 1, 2, 3), "dtype": "float32"}
    assert_parity(draw(**options), theirs(**options))


@pytest.fixture(scope="module")
def trained():
    """Variables of both models for one key, and outputs for those of e3x: in both precisions, of e3x in double."""

    def run(key):
        models = {library: PROGRAMS[library].Model() for library in PROGRAMS}
        by_dtype = {d: [arrays_of(d)[n] for n in ("numbers", "positions", "dst", "src")] for d in RTOL}
        variables = {n: model.init(key, *by_dtype["float64"]) for n, model in models.items()}
        outputs = {d: models["e3any_flax"].apply(variables["e3x"], *arrays) for d, arrays in by_dtype.items()}
        outputs["e3x"] = models["e3x"].apply(variables["e3x"], *by_dtype["float64"])
        return variables, outputs

    return jit(run)(KEY)


def test_models_have_the_same_parameters(trained):
    ours, theirs = trained[0]["e3any_flax"], trained[0]["e3x"]
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    # The compiler may join products in another order.
    jax.tree.map(partial(np.testing.assert_array_max_ulp, maxulp=2), ours, theirs)


@dtypes
def test_models_give_the_same_outputs(trained, dtype):
    assert_parity(trained[1][dtype], trained[1]["e3x"], dtype, rtol=RTOL[dtype])


# Of integers e3x returns integers here, cut off; windows are 0 or 1.
REAL_FOR_INTEGERS = {"gelu", "rectangular_window", "wigner_d"}
KINDS = {
    "NumPy": lambda name, x: x,
    "NumPy in double precision": lambda name, x: x.astype("float64") if x.dtype.kind == "f" else x.astype("int64"),
    "integers": lambda name, x: x if x.dtype.kind == "i" else np.rint(2 * x).astype("int32"),
    "integers of JAX": lambda name, x: jnp.asarray(x if x.dtype.kind == "i" else np.rint(2 * x).astype("int32")),
    "one of NumPy, one of JAX": lambda name, x: x if name in ("x", "r", "t", "dst", "weights") else jnp.asarray(x),
    "one of JAX, one of NumPy": lambda name, x: jnp.asarray(x) if name in ("x", "r", "t", "dst", "weights") else x,
}


def cases(library: str, group: str, kind: str) -> dict:
    """Return the calls of a program for all functions of a group, with inputs of a kind."""
    arrays = {name: KINDS[kind](name, x) for name, x in vars(inputs()).items()}
    return getattr(PROGRAMS[library], group)(SimpleNamespace(**arrays))


@pytest.fixture
def single_precision():
    """What programs have that do not ask for double precision: e3x computes in it where it is there."""
    with jax.enable_x64(False):
        yield


@cache
def abstract(library: str, group: str, kind: str) -> dict:
    """Return shapes and dtypes, or the error, of every function, in single precision."""
    found = {}
    for name, call in cases(library, group, kind).items():
        try:
            found[name] = jax.eval_shape(lambda call=call: jax.tree.map(jnp.asarray, call()))
        except Exception as error:
            found[name] = error
    return found


@pytest.mark.usefixtures("single_precision")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("group", "name"), [(g, n) for g, n in FUNCTIONS if g != "initializers" and n not in EAGER])
def test_functions_take_what_those_of_e3x_take(group, name, kind):
    ours, theirs = (abstract(library, group, kind)[name] for library in ("e3any_flax", "e3x"))
    if isinstance(theirs, Exception):
        return  # e3x refuses this kind, and we may
    if isinstance(ours, Exception):
        raise ours
    shapes = [[x.shape for x in jax.tree.leaves(result)] for result in (ours, theirs)]
    dtypes = [[x.dtype for x in jax.tree.leaves(result)] for result in (ours, theirs)]
    assert shapes[0] == shapes[1]
    if name in REAL_FOR_INTEGERS and kind.startswith("integers"):
        assert {str(dtype) for dtype in dtypes[0]} == {"float32"}
    else:
        assert dtypes[0] == dtypes[1]


@pytest.mark.usefixtures("single_precision")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("group", ["so3", "ops", "nn"])
def test_functions_give_the_same_numbers_for_every_kind(group, kind):
    taken = {n for n, x in abstract("e3x", group, kind).items() if not isinstance(x, Exception)} - EAGER
    taken -= REAL_FOR_INTEGERS | {"random_rotation"}
    results = [
        jit(lambda l=library: {n: jax.tree.leaves(c()) for n, c in cases(l, group, kind).items() if n in taken})()
        for library in ("e3any_flax", "e3x")
    ]
    for name in taken:
        finite = [[np.nan_to_num(x, nan=0.0) for x in result[name]] for result in results]
        assert_parity(*finite, rtol=2e-5)


@pytest.mark.usefixtures("single_precision")
@pytest.mark.parametrize("name", sorted(EAGER))
def test_functions_that_read_values_take_every_kind(name):
    group = next(g for g, n in FUNCTIONS if n == name)
    for kind in set(KINDS) - {"integers", "integers of JAX", "NumPy in double precision"}:  # of which e3x warns
        ours, theirs = (jax.tree.leaves(cases(library, group, kind)[name]()) for library in ("e3any_flax", "e3x"))
        for a, b in zip(ours, theirs, strict=True):
            assert isinstance(a, jax.Array)
            np.testing.assert_array_equal(a, b, strict=True)


@pytest.mark.usefixtures("single_precision")
@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: e3any_flax.nn.exponential_gaussian(np.ones(2), 2, gamma=jnp.asarray(1.0)), [[0.4497, 0.7629]] * 2),
        (lambda: e3any_flax.nn.basic_gaussian(jnp.array([1, 2]), 2), [[0.1353, 1.0], [0.0003, 0.1353]]),
        (lambda: e3any_flax.nn.silu(jnp.ones((1, 1, 2), int)), [[[0.7311, 0.7311]]]),
        (lambda: e3any_flax.so3.solid_harmonics(jnp.array([1, 2, 2]), 1), [1.0, 1.0, 2.0, 2.0]),
        (lambda: e3any_flax.nn.triangular_window(np.array([1, 2]), num=2, limit=2.0), [[0.0, 1.0], [0.0, 0.0]]),
        (lambda: e3any_flax.ops.inverse_softplus(1.0), 0.54132485),
        (lambda: e3any_flax.ops.gather_dst(np.ones((2, 1), np.float32), dst_idx=jnp.array([1, 0])), [[1.0], [1.0]]),
        (lambda: e3any_flax.so3.rotation(np.array([0.0, 0.0, 1.0]), np.float64(0.0)), np.eye(3)),
        (lambda: e3any_flax.nn.basis(np.ones((1, 3)), max_degree=0, num=1, radial_fn=e3any_flax.nn.sinc), [[[[0.0]]]]),
    ],
)
def test_functions_return_jax_arrays_in_single_precision(call, expected):
    for result in (call(), jit(call)()):
        assert isinstance(result, jax.Array)
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, np.asarray(expected, np.float32), atol=1e-4)


def test_large_integers_are_exact_where_e3x_keeps_integers():
    x = jnp.asarray([[[2**30 + 1, -(2**30) - 3, 7]] * 4], jnp.int32)
    for name in ("relu", "reflect"):
        ours, theirs = (getattr(library.nn, name)(x) for library in (e3any_flax, e3x))
        np.testing.assert_array_equal(ours, theirs, strict=True)
    np.testing.assert_array_equal(e3any_flax.nn.add(x, x[:, :1] * 0), x, strict=True)


def test_the_core_stays_strict():
    with pytest.raises(TypeError, match=r"expected arrays of one library, got both"):
        e3any.ops.gather_dst(np.ones((2, 1)), dst_idx=jnp.array([0]))
    for x in (np.ones((1, 1, 2), int), [[[1.0]]], 1.0):
        with pytest.raises(TypeError, match="expected"):
            e3any.nn.silu(x)
    for x in ([[[1.0]]], "x", None):
        with pytest.raises(TypeError, match="expected"):
            e3any_flax.nn.silu(x)
    with pytest.raises(TypeError, match="positional argument"):
        e3any_flax.nn.silu(np.ones((1, 1, 2)), 1, 2)
