"""Arrays of NumPy as files and other packages give them: byte orders, memory, classes, dtypes."""

from __future__ import annotations

import copy
import tempfile
from functools import partial
from typing import Any

import e3any_flax
import e3any_numpy
import e3any_torch
import jax
import ml_dtypes
import numpy as np
import pytest
import torch
from backends_matrix import Library
from e3any_backends import backend_of, kernels
from e3any_flax import nnx
from layer_cases import tree_map
from public_calls import CALLS, Call

from e3any import Layout, checkpoint, nn, so3
from e3any.nn.layer import initialize

# What draws, takes functions, or computes no arrays.
OTHERS = ("plot.", "testing.", "strategies.", "ops.evaluate_derivatives", "ops.index_kind", "Layout.of")


def leaves(value: Any) -> list[Any]:
    found: list[Any] = []
    tree_map(found.append, value)
    return [x for x in found if isinstance(x, np.ndarray | np.generic)]


def swapped(x: Any) -> Any:
    """Return numbers in the byte order of another machine."""
    return x.astype(x.dtype.newbyteorder(">")) if isinstance(x, np.ndarray) and x.dtype.kind in "fiu" else x


TAKES_ARRAYS = [
    name
    for name, call in CALLS.items()
    if not name.startswith(OTHERS) and any(leaves(kind.right) for kind in call.kinds.values())
]
every_call = pytest.mark.parametrize("name", TAKES_ARRAYS)


def changed(call: Call, change: Any, *names: str) -> dict[str, Any]:
    """Return right arguments, the arrays of some of them changed."""
    right = copy.deepcopy({name: kind.right for name, kind in call.kinds.items()})
    return {name: tree_map(change, value) if name in names else value for name, value in right.items()}


def arrays_in(call: Call) -> list[str]:
    return [name for name, kind in call.kinds.items() if leaves(kind.right)]


def in_single_precision(x: Any) -> Any:
    return x.astype(np.float32) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x


@every_call
def test_byte_order_changes_no_number(name):
    call = CALLS[name]
    names = arrays_in(call)
    for short in (lambda x: x, in_single_precision):
        expected = leaves(call.function(**changed(call, short, *names)))
        assert expected
        for some in {tuple(names), *((one,) for one in names)}:
            arguments = {n: tree_map(short, x) for n, x in changed(call, lambda x: x, *names).items()}
            arguments = {n: tree_map(swapped, x) if n in some else x for n, x in arguments.items()}
            for x, y in zip(leaves(call.function(**arguments)), expected, strict=True):
                assert (x.dtype.isnative, x.dtype) == (True, y.dtype), some
                np.testing.assert_allclose(x, y, rtol=1e-5 if y.dtype == np.float32 else 1e-12, atol=1e-6)


class Quantity(np.ndarray):
    """Numbers with a unit, say."""


WRONG_CLASSES = {
    "masked": lambda x: np.ma.masked_array(x, np.ones(x.shape, bool)) if isinstance(x, np.ndarray) else x,
    "subclass": lambda x: x.view(Quantity) if isinstance(x, np.ndarray) else x,
}
REMEDIES = {"masked": r"got MaskedArray: .*x\.filled\(0\.0\)", "subclass": r"got Quantity: .*numpy\.asarray\(x\)"}


@every_call
@pytest.mark.parametrize("what", WRONG_CLASSES)
def test_arrays_that_compute_otherwise_are_refused_with_a_remedy(name, what):
    call = CALLS[name]
    for argument in arrays_in(call):
        with pytest.raises(TypeError, match=REMEDIES[what]):
            call.function(**changed(call, WRONG_CLASSES[what], argument))


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_matrices_are_refused():
    with pytest.raises(TypeError, match="got matrix: convert it, numpy"):
        so3.spherical_harmonics(np.asmatrix(np.ones((2, 3))), 1)


WRONG_DTYPES = {
    "object": object,
    "structured": [("x", float)],
    "complex": complex,
    "text": "U4",
    "time": "m8[s]",
    "extended": np.longdouble,
    "eight bits": ml_dtypes.float8_e5m2,
    "other eight bits": ml_dtypes.float8_e4m3fn,
}
MOVES = ("ops.gather", "ops.pad", "nn.change", "nn.add", "parallel.GraphPartition")
COMPUTES = [name for name in TAKES_ARRAYS if not name.startswith(MOVES)]


def of_dtype(dtype: Any, x: Any) -> Any:
    return x.astype(dtype) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x


@pytest.mark.parametrize("name", COMPUTES)
def test_dtypes_that_nothing_computes_with_are_refused(name):
    call = CALLS[name]
    for dtype in WRONG_DTYPES.values():
        arguments = changed(call, partial(of_dtype, dtype), *call.kinds)
        if any(x.dtype == np.dtype(dtype) for argument in arguments.values() for x in leaves(argument)):
            with pytest.raises((TypeError, ValueError), match=r"expected .* got"):
                call.function(**arguments)


@pytest.mark.parametrize("dtype", ["float8_e5m2", "float8_e4m3fn"])
def test_eight_bits_are_refused_by_all_libraries(dtype):
    of_jax = jax.numpy.ones((2, 3), dtype)
    for r in (np.ones((2, 3), getattr(ml_dtypes, dtype)), of_jax, torch.ones(2, 3).to(getattr(torch, dtype))):
        with pytest.raises(TypeError, match="expected r to be a floating-point array"):
            so3.spherical_harmonics(r, 1)


def test_bfloat16_of_other_packages_is_computed_in_single_precision(rng):
    r = rng.normal(size=(5, 3)).astype(ml_dtypes.bfloat16)
    for y, expected in (
        (so3.spherical_harmonics(r, 2), so3.spherical_harmonics(r.astype(np.float32), 2)),
        (nn.smooth_cutoff(abs(r[:, 0]), 2.0), nn.smooth_cutoff(abs(r[:, 0]).astype(np.float32), 2.0)),
    ):
        assert y.dtype == np.float32
        np.testing.assert_array_equal(y, expected)


# -- memory -------------------------------------------------------------------------------------------------


def misaligned(x: np.ndarray) -> np.ndarray:
    view = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    assert not view.flags.aligned
    return view


def read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


def on_disk(x: np.ndarray) -> np.ndarray:
    with tempfile.TemporaryFile() as file:
        memory: Any = np.memmap(file, x.dtype, "w+", shape=x.shape)
    memory[...] = x
    return memory


MEMORY = {
    "columns first": np.asfortranarray,
    "backwards": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "every other": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "one row": lambda x: np.broadcast_to(x[:1], x.shape),
    "read-only": read_only,
    "misaligned": misaligned,
    "on disk": on_disk,
    "other byte order": swapped,
}


def calls_of_kernels(rng: np.random.Generator, dtype: str) -> dict[str, tuple[Any, tuple]]:
    """Return functions and arguments that are large enough for kernels."""
    x, y = (rng.normal(size=(20, 2, 9, 16)).astype(dtype) for _ in range(2))
    nodes, radial = rng.normal(size=(10, 1, 4, 32)).astype(dtype), rng.normal(size=(60, 1, 8)).astype(dtype)
    angular = rng.normal(size=(60, 9)).astype(dtype)
    dst_idx, src_idx = (rng.integers(0, 10, 60).astype(np.int32) for _ in range(2))

    def with_parameters(layer: nn.Layer, *inputs: Any, **options: Any) -> Any:
        tree = initialize(layer.parameters(*inputs, **options), rng)
        return tree_map(lambda leaf: leaf.astype(dtype), tree)

    def pass_messages(p: Any, x: Any, radial: Any, angular: Any, dst: Any, src: Any) -> Any:
        return nn.MessagePass(2)(p, x, nn.FactoredBasis(radial, angular), dst_idx=dst, src_idx=src)

    lists = {"dst_idx": dst_idx, "src_idx": src_idx}
    passing = with_parameters(nn.MessagePass(2), nodes, nn.FactoredBasis(radial, angular), **lists)
    return {
        "harmonics": (lambda r: so3.spherical_harmonics(r, 4), (rng.normal(size=(300, 3)).astype(dtype),)),
        "Dense": (nn.Dense(16), (with_parameters(nn.Dense(16), x), x)),
        "Tensor": (nn.Tensor(2), (with_parameters(nn.Tensor(2), x, y), x, y)),
        "FusedTensor": (nn.FusedTensor(2), (with_parameters(nn.FusedTensor(2), x, y), x, y)),
        "MessagePass": (pass_messages, (passing, nodes, radial, angular, dst_idx, src_idx)),
    }


@pytest.mark.parametrize("what", MEMORY)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_memory_changes_no_number(rng, what, dtype):
    tolerance = {"float32": 2e-4, "float64": 1e-11}[dtype]
    for name, (function, arguments) in calls_of_kernels(rng, dtype).items():
        given = tree_map(MEMORY[what], arguments)
        usual = tree_map(lambda x: np.array(x, x.dtype.newbyteorder("=")), given)
        with kernels.enabled(False):
            expected = function(*usual)
        result = function(*given)
        assert result.dtype == dtype, name
        np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance, err_msg=name)
        if what in ("columns first", "every other", "misaligned"):  # PyTorch takes the memory of no others
            tensors = tree_map(torch.from_numpy, given)
            np.testing.assert_allclose(function(*tensors), expected, rtol=tolerance, atol=tolerance, err_msg=name)


# -- adapters -----------------------------------------------------------------------------------------------

LAYOUT = Layout(max_degree=1, features=16)


def parameters_and_inputs(rng: np.random.Generator) -> tuple[Any, Any, Any]:
    x = rng.normal(size=(20, *LAYOUT.shape)).astype(np.float32)
    params = e3any_numpy.nn.Dense(16).init(rng, x)
    return params, x, nn.Dense(16)(params, x)


def test_byte_order_changes_no_number_of_functions_of_numpy(rng):
    params, x, expected = parameters_and_inputs(rng)
    y = e3any_numpy.nn.Dense(16)(tree_map(swapped, params), swapped(x))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    r = rng.normal(size=(300, 3))
    np.testing.assert_array_equal(e3any_numpy.so3.spherical_harmonics(swapped(r), 3), so3.spherical_harmonics(r, 3))


def test_byte_order_changes_no_number_of_modules_of_flax(rng):
    params, x, expected = parameters_and_inputs(rng)
    like = e3any_flax.nn.Dense(16).init(jax.random.key(0), swapped(x))
    loaded = e3any_flax.load_tree(like, tree_map(swapped, params))
    np.testing.assert_allclose(e3any_flax.nn.Dense(16).apply(loaded, swapped(x)), expected, rtol=1e-5, atol=1e-6)
    module = nnx.Dense(LAYOUT, 16, rngs=e3any_flax.nnx_module.nnx.Rngs(0))
    e3any_flax.load_tree(module, tree_map(swapped, params))
    np.testing.assert_allclose(module(swapped(x)), expected, rtol=1e-5, atol=1e-6)


def test_byte_order_changes_no_number_of_modules_of_torch(rng):
    params, x, expected = parameters_and_inputs(rng)
    module = e3any_torch.nn.Dense(LAYOUT, 16)
    e3any_torch.load_tree(module, tree_map(swapped, params))
    np.testing.assert_allclose(module(torch.from_numpy(x)).detach(), expected, rtol=1e-5, atol=1e-6)
    lazy = e3any_torch.to_torch(nn.Dense(16), swapped(x))
    assert {k: v.shape for k, v in lazy.state_dict().items()} == {k: v.shape for k, v in module.state_dict().items()}


def test_byte_order_changes_no_number_of_a_checkpoint(tmp_path):
    checkpoint.save(
        tmp_path / "model.safetensors", {"a": np.arange(3.0).astype(">f4"), "b": np.arange(3).astype(">i2")}
    )
    tree = checkpoint.load(tmp_path / "model.safetensors")
    assert (tree["a"].tolist(), tree["b"].tolist()) == ([0.0, 1.0, 2.0], [0, 1, 2])


def test_masked_arrays_are_refused_by_everything_that_takes_parameters(rng, tmp_path):
    params, x, _ = parameters_and_inputs(rng)
    masked = tree_map(WRONG_CLASSES["masked"], params)
    module = e3any_torch.nn.Dense(LAYOUT, 16)
    before = e3any_torch.to_tree(module)
    like = e3any_flax.nn.Dense(16).init(jax.random.key(0), x)
    for take in (
        lambda: e3any_numpy.nn.Dense(16)(masked, x),
        lambda: e3any_numpy.nn.Dense(16)(params, WRONG_CLASSES["masked"](x)),
        lambda: e3any_torch.load_tree(module, masked),
        lambda: e3any_flax.load_tree(like, masked),
        lambda: e3any_flax.nn.Dense(16).apply(like, WRONG_CLASSES["masked"](x)),
        lambda: checkpoint.save(tmp_path / "model.safetensors", masked),
    ):
        with pytest.raises(TypeError, match="got MaskedArray: fill in what is masked"):
            take()
    for a, b in zip(leaves(e3any_torch.to_tree(module)), leaves(before), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_backend_that_converts_goes_with_the_one_that_does_not():
    x = np.ones(2)
    for arrays in ((x, swapped(x)), (swapped(x), x), (swapped(x), x, x)):
        assert backend_of(*arrays).xp.stack(list(arrays)).dtype.isnative
    with pytest.raises(TypeError, match="expected arrays of one library"):
        backend_of(swapped(x), Library.JAX.array(x))
