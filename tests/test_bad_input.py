"""What every public function does with bad input: errors that its documentation names, before it computes anything."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any

import e3any_flax
import e3any_numpy
import e3any_torch
import flax.nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from backends_matrix import Library
from layer_cases import tree_map
from public_calls import CALLS, Call
from torch.utils._python_dispatch import TorchDispatchMode

from e3any import nn

# PyTorch itself still uses what it warns of.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")

MODULES = ("so3", "ops", "nn", "matrix", "interop", "plot", "testing", "testing.strategies", "checkpoint")
MODULES += ("nn.initializers", "models", "parallel")

# Public names without a line in the table, and why.
ELSEWHERE = {
    "so3.Irrep": "a result",
    "so3.Normalization": "a type",
    "nn.Layer": "abstract; what it checks is checked by all layers",
    "nn.Parameters": "abstract",
    "nn.ParameterSpec": "a result of Layer.parameters",
    "nn.Variables": "checked by layers: tests/nn/test_variables.py",
    "nn.swish": "another name of silu",
    "nn.hard_swish": "another name of hard_silu",
    "nn.initializers": "a module, which has lines of its own",
    "interop.CONVENTIONS": "a table",
    "interop.Convention": "entries of the table",
    "interop.mace_model": "takes modules of mace-torch: tests/test_interop_mace.py",
    "parallel.Halo": "a result; its exchange is checked in tests/adapters/test_parallel.py",
    "plot.activations": "takes functions: tests/plot/test_curves.py",
    "plot.equivariance_errors": "takes numbers: tests/plot/test_curves.py",
    "plot.learning_curves": "takes numbers: tests/plot/test_curves.py",
    "plot.radial_functions": "takes functions: tests/plot/test_curves.py",
    "plot.scalar_functions": "takes functions: tests/plot/test_curves.py",
    "testing.TOLERANCES": "a table",
    "testing.TraceCounter": "made by count_traces",
    "testing.count_traces": "takes whatever can be called",
    "testing.assert_parity": "its errors are those of comparisons: tests/testing/test_assertions.py",
    "testing.to_numpy": "takes whatever NumPy does",
    "checkpoint.load": "files: tests/test_checkpoint.py",
    "checkpoint.load_layer": "files: tests/test_checkpoint.py",
    "checkpoint.load_metadata": "files: tests/test_checkpoint.py",
    "checkpoint.save": "files: tests/test_checkpoint.py",
    "initializers.Initializer": "abstract",
    "initializers.InitializerFn": "a type",
    "initializers.FusedTensorInitializerFn": "a type",
    "initializers.Distribution": "a type",
    "initializers.Mode": "a type",
    "initializers.zeros": "an initialiser, see Zeros",
    "initializers.ones": "an initialiser, see Constant",
    "initializers.lecun_normal": "an initialiser, see VarianceScaling",
}

# Shorthands for tensor_variance_scaling, which take nothing but a dtype.
ELSEWHERE |= {
    f"initializers.tensor_{name}_{distribution}": "a shorthand"
    for name in ("glorot", "xavier", "lecun", "he", "kaiming")
    for distribution in ("normal", "uniform")
}


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_a_line(module):
    short = module.rpartition(".")[2]
    names = {f"{short}.{name}" for name in importlib.import_module(f"e3any.{module}").__all__}
    tested = {".".join(re.split(r"[.,]", name)[:2]) for name in CALLS if name.startswith(f"{short}.")}
    excused = {name for name in ELSEWHERE if name.startswith(f"{short}.")}
    assert names == tested | excused
    assert not tested & excused


@pytest.mark.parametrize("adapter", ["e3any_flax", "e3any_numpy", "e3any_torch"])
@pytest.mark.parametrize("module", ["so3", "ops", "nn", "matrix"])
def test_adapters_offer_the_same_names(adapter, module):
    core, ours = (importlib.import_module(f"{package}.{module}") for package in ("e3any", adapter))
    assert set(core.__all__) == set(ours.__all__)


def arrays_of(value: Any) -> list[Any]:
    found: list[Any] = []
    tree_map(found.append, value)
    return found


def convert(value: Any, library: Library) -> Any:
    """Make the arrays and generators of a value those of a library."""
    if isinstance(value, np.random.Generator):
        return {Library.JAX: jax.random.key(0), Library.TORCH: torch.Generator()}.get(library, value)
    return tree_map(lambda x: library.array(x) if isinstance(x, np.ndarray) else x, value)


def wrong_calls(call: Call, library: Library) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what is wrong, and arguments of which one is."""
    right = {name: kind.right for name, kind in call.kinds.items()}

    def arguments(name: str, value: Any) -> dict[str, Any]:
        others = {other: convert(kept, library) for other, kept in right.items() if other != name}
        return {**others, name: value}

    for name, kind in call.kinds.items():
        for what, value in kind.wrong.items():
            yield f"{name}: {what}", arguments(name, convert(value, library))
    for name, value in call.batch.items():
        yield f"{name}: batch", arguments(name, convert(value, library))
    arrays = {name: found for name, kind in call.kinds.items() if (found := arrays_of(kind.right))}
    arrays.pop("cg", None)  # a table, which may be of NumPy
    if len(arrays) < 2:
        return
    foreign = Library.NUMPY if library is Library.TORCH else Library.TORCH
    for name in arrays:
        yield f"{name}: library", arguments(name, convert(right[name], foreign))
        others = [x for other, found in arrays.items() if other != name for x in found]
        if library is Library.TORCH and any(x.ndim for x in others):  # numbers on the CPU go with all devices
            elsewhere = tree_map(lambda x: torch.from_numpy(np.array(x)).to("meta"), right[name])
            yield f"{name}: device", arguments(name, elsewhere)


def documented_errors(call: Call) -> str:
    """Return the documentation of errors, that of functions it refers to included."""
    text = ""
    for function in call.documented:
        own = inspect.getdoc(function) or ""
        text += own.partition("Raises\n------\n")[2]
        for name in re.findall(r"(?:rrors are\s+those\s+of|see|See)\s+:\w+:`([\w.]+)`", own):
            text += _documentation_of(name, sys.modules[function.__module__])
    return text


def _documentation_of(name: str, module: Any) -> str:
    found = module
    for part in name.removeprefix("e3any.").split("."):
        found = getattr(found, part, None)
    return (inspect.getdoc(found) or "").partition("Raises\n------\n")[2]


def complaint(call: Call, arguments: dict[str, Any], function: Any = None) -> str:
    """Return what is wrong with the error that a call raises, if anything."""
    try:
        (function or call.function)(**arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        if not re.search(r"expected .*\bgot ", str(error), re.DOTALL):
            return f"{type(error).__name__}: {error}"
        kind = type(error).__name__
        return "" if kind in documented_errors(call) else f"{kind} is not documented"
    return "no error"


every_call = pytest.mark.parametrize("name", CALLS)
every_call_of_arrays = pytest.mark.parametrize(
    "name", [name for name, call in CALLS.items() if any(arrays_of(kind.right) for kind in call.kinds.values())]
)


def skip_without_derivatives(name: str, library: Library) -> None:
    if name == "ops.evaluate_derivatives" and library not in (Library.JAX, Library.TORCH):
        pytest.skip("derivatives need JAX or PyTorch")


@every_call
def test_bad_input_is_refused(name, library):
    skip_without_derivatives(name, library)
    call = CALLS[name]
    complaints = {what: complaint(call, arguments) for what, arguments in wrong_calls(call, library)}
    assert {what: why for what, why in complaints.items() if why} == {}


@every_call
def test_right_input_is_accepted(name, library):
    skip_without_derivatives(name, library)
    if library is Library.JAX:
        pytest.skip("what other tests compile")
    call = CALLS[name]
    call.function(**{argument: convert(kind.right, library) for argument, kind in call.kinds.items()})


@every_call_of_arrays
def test_bad_input_is_refused_while_jax_traces(name):
    call = CALLS[name]

    def traced(**arguments: Any) -> Any:
        leaves, structure = jax.tree.flatten(arguments)
        inside = [
            isinstance(leaf, jax.Array) and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in leaves
        ]

        def run(traced_leaves: list[Any]) -> Any:
            rest = iter(traced_leaves)
            merged = [next(rest) if i else leaf for i, leaf in zip(inside, leaves)]
            return call.function(**jax.tree.unflatten(structure, merged))

        return jax.jit(run)([leaf for i, leaf in zip(inside, leaves) if i])

    complaints = {}
    for what, arguments in wrong_calls(call, Library.JAX):
        complaints[what] = complaint(call, arguments, traced)
    assert {what: why for what, why in complaints.items() if why} == {}


class Recorder(TorchDispatchMode):
    """Writes down what is computed."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        if not function.is_view:
            self.operations.append(str(function))
        return function(*arguments, **(options or {}))


@every_call_of_arrays
def test_nothing_is_computed_before_bad_input_is_refused(name):
    if name in ("testing.assert_equivariant", "testing.equivariance_error"):
        pytest.skip("applies a function of the user's first")
    call = CALLS[name]
    computed = {}
    for what, arguments in wrong_calls(call, Library.TORCH):
        if what.startswith("p: "):  # parameters are found wrong where they are used
            continue
        with Recorder() as recorder, pytest.raises((TypeError, ValueError, RuntimeError)):
            call.function(**arguments)
        computed[what] = recorder.operations
    assert {what: operations for what, operations in computed.items() if operations} == {}


# Names of calls, and of arguments that are wrong: compilers take their time.
COMPILED = [
    ("so3.spherical_harmonics", ("r: axis", "max_degree: negative", "normalization: unknown")),
    ("so3.rotation", ("axis: dtype", "angle: batch", "angle: library")),
    ("ops.indexed_sum, sparse", ("dst_idx: axis", "num_segments: negative")),
    ("nn.smooth_cutoff", ("x: dtype", "cutoff: nan")),
    ("nn.basic_gaussian", ("num: fraction", "limit: batch")),
    ("nn.Tensor, applied", ("inputs2: channels", "p: shape")),
    ("nn.MessagePass, factored", ("inputs: components", "basis: parts", "src_idx: dtype")),
]

# The compiler wraps what user code raises in an error of its own, unless it may go on without a graph.
RAISED_BY_USER_CODE = r"raised exception (Value|Type)Error\(.expected .* got "


@pytest.mark.parametrize(("name", "wrong"), COMPILED)
def test_bad_input_is_refused_under_torch_compile(name, wrong):
    torch._dynamo.reset()
    call = CALLS[name]
    calls = {what: arguments for what, arguments in wrong_calls(call, Library.TORCH) if what in wrong}
    assert set(calls) == set(wrong)
    # Sizes that are symbols cannot be part of a message.
    whole = torch.compile(call.function, fullgraph=True, backend="eager", dynamic=False)
    for arguments in calls.values():
        with pytest.raises(torch._dynamo.exc.Unsupported, match=RAISED_BY_USER_CODE):
            whole(**arguments)


# The first argument of every function that can have a wrong shape or dtype, with the name of what is wrong with it.
SHAPES = {
    name: f"{argument}: {wrong}"
    for name, call in CALLS.items()
    if name.startswith(("so3.", "ops.", "nn.")) and name != "ops.evaluate_derivatives"
    for argument, kind in reversed(call.kinds.items())
    for wrong in ("dtype", "components", "rows", "rank", "axis")
    if wrong in kind.wrong and arrays_of(kind.right)
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_wrong_shape_or_dtype_is_refused_under_torch_compile(name):
    torch._dynamo.reset()
    call = CALLS[name]
    whole = torch.compile(call.function, fullgraph=True, backend="eager", dynamic=False)
    with pytest.raises(torch._dynamo.exc.Unsupported, match=RAISED_BY_USER_CODE):
        whole(**dict(wrong_calls(call, Library.TORCH))[SHAPES[name]])


def test_errors_are_those_of_the_library_where_torch_compile_may_go_on_without_a_graph():
    call = CALLS["so3.rotation"]
    arguments = dict(wrong_calls(call, Library.TORCH))["angle: batch"]
    assert not complaint(call, arguments, torch.compile(call.function, backend="eager"))


# -- flags --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in CALLS if any("one" in kind.wrong for kind in CALLS[n].kinds.values())])
def test_flags_of_numpy_are_flags(name):
    call = CALLS[name]
    right = {argument: kind.right for argument, kind in call.kinds.items()}
    for argument, kind in call.kinds.items():
        if "one" in kind.wrong and isinstance(kind.right, bool):
            call.function(**{**right, argument: np.bool_(kind.right)})


LAYERS = [getattr(nn, name) for name in nn.__all__ if dataclasses.is_dataclass(getattr(nn, name))]
LAYERS = [layer for layer in LAYERS if issubclass(layer, nn.Layer) and layer is not nn.Layer]


@pytest.mark.parametrize("layer", LAYERS)
def test_every_field_of_a_layer_has_a_kind(layer):
    left = {field.name for field in dataclasses.fields(layer)} - set(CALLS[f"nn.{layer.__name__}"].kinds)
    # Initialisers are taken from frameworks too, and precision is JAX's.
    assert {name for name in left if not name.endswith("_init") and name != "precision"} == set()


@dataclasses.dataclass(frozen=True)
class Model(nn.Layer):
    """A model of the user's own, with flags."""

    features: int
    is_deep: bool = False
    is_wide: bool | None = None

    def forward(self, p, x):
        """Apply a linear map."""
        return nn.Dense(self.features, use_bias=self.is_deep)(p / "dense", x)


def test_flags_of_models_of_users_are_checked():
    assert Model(2, np.True_, None) == Model(2, True)
    assert type(Model(2, np.True_).is_deep) is bool
    for wrong in ({"is_deep": 1}, {"is_deep": None}, {"is_deep": "no"}, {"is_wide": 0}):
        with pytest.raises(
            ValueError, match=r"expected is_(deep|wide) of Model to be True(, False or None| or False), g"
        ):
            Model(2, **wrong)


def test_sizes_of_inputs_are_no_flags(library):
    """What is written as for the layers of PyTorch and Flax is refused with a remedy."""
    remedy = r"expected use_bias of Dense to be True or False, got 8"
    of_layouts = remedy + r"; if inputs were meant, .* first: Dense\(Layout\(max_degree=0, features=16\), \.\.\.\)"
    for make, message in {
        Library.NUMPY: [(e3any_numpy.nn.Dense, remedy), (nn.Dense, remedy)],
        Library.STRICT: [],
        Library.JAX: [
            (e3any_flax.nn.Dense, remedy),
            (lambda *sizes: e3any_flax.nnx.Dense(*sizes, rngs=flax.nnx.Rngs(0)), of_layouts),
        ],
        Library.TORCH: [(e3any_torch.nn.Dense, of_layouts)],
    }[library]:
        with pytest.raises(ValueError, match=message):
            make(16, 8)
