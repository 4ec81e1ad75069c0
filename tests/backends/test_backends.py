"""Native methods of backends against their twins, which are written in the standard alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import array_api_strict
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from backends_matrix import Library
from e3any_backends import Backend, backend_of, generator_backend

NATIVE = [Library.NUMPY, Library.JAX, Library.TORCH]
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
rests = pytest.mark.parametrize("rest", [(), (3,), (2, 1, 3), (0,)], ids=str)
integers = pytest.mark.parametrize("integer", ["int8", "uint8", "int16", "int32", "int64"])
# Numbers out of range on both sides, an empty segment (3) and repeated ones.
SEGMENTS = np.asarray([0, 4, 2, -1, 2, 5, 4, 0, 7, -6, 1, 2])
GENERATORS = {
    Library.NUMPY: np.random.default_rng,
    Library.JAX: jax.random.key,
    Library.TORCH: lambda seed: torch.Generator().manual_seed(seed),
}


@pytest.fixture(params=NATIVE, ids=lambda library: library.value)
def native(request):
    """A library with a backend of its own."""
    return request.param


def backends(library):
    """Return the backend of a library, and its twin."""
    backend = backend_of(library.array(np.zeros(1)))
    assert type(backend) is not Backend
    return backend, Backend(backend.xp)


def dtype_name(x):
    return str(x.dtype).rpartition(".")[2]


def assert_twins(library, name, *arguments, rtol=0.0, **options):
    """Assert that a method and its twin return the same, and return it as NumPy."""
    arguments = [library.array(a) if isinstance(a, np.ndarray) else a for a in arguments]
    backend, twin = backends(library)
    actual, expected = (getattr(b, name)(*arguments, **options) for b in (backend, twin))
    assert library.owns(actual)
    assert actual.dtype == expected.dtype
    assert tuple(actual.shape) == tuple(expected.shape)
    np.testing.assert_allclose(library.numpy(actual), library.numpy(expected), rtol=rtol, atol=rtol)
    return library.numpy(actual)


def rounding(dtype):
    return 16 * np.finfo(dtype).eps


# -- which backend ------------------------------------------------------------------------------------------


def test_every_library_has_one_backend(library):
    a, b = library.array(np.zeros(2)), library.array(np.zeros((3, 1)), "float32")
    assert backend_of(a) is backend_of(b) is backend_of(a, b)
    assert ("generic" if library is Library.STRICT else library.value) in type(backend_of(a)).__module__.split(".")


def test_none_and_python_numbers_are_passed_over(library):
    a = library.array(np.zeros(2))
    assert backend_of(None, 1, 2.0, True, 1j, a, None) is backend_of(a)


def test_scalars_of_numpy_are_arrays():
    assert backend_of(np.float32(1.0)) is backend_of(np.zeros(2))


@pytest.mark.parametrize("other", list(Library), ids=lambda library: library.value)
def test_mixed_libraries_are_refused(library, other):
    a, b = library.array(np.zeros(2)), other.array(np.zeros(2))
    if other is library:
        assert backend_of(a, b) is backend_of(a)
    else:
        with pytest.raises(TypeError, match=r"expected arrays of one library, got both .* and "):
            backend_of(a, b)


@pytest.mark.parametrize("arguments", [(), (None,), (1, 2.0)])
def test_no_array_is_refused(arguments):
    with pytest.raises(TypeError, match="expected at least one array, got none"):
        backend_of(*arguments)


@pytest.mark.parametrize("thing", ["text", [1.0, 2.0], (1,), {"a": 1}, object(), np])
def test_what_is_no_array_is_refused(library, thing):
    with pytest.raises(TypeError, match=f"expected an array of an array API library, got {type(thing).__name__}"):
        backend_of(library.array(np.zeros(1)), thing)


def test_a_generator_belongs_to_the_backend_of_its_library(native):
    assert generator_backend(GENERATORS[native](0)) is backends(native)[0]


def test_an_old_key_of_jax_is_a_generator():
    assert generator_backend(jax.random.PRNGKey(0)) is backends(Library.JAX)[0]


@pytest.mark.parametrize("thing", [0, None, np.random.RandomState(0), np.zeros(2, np.uint32), torch.zeros(2)])
def test_what_is_no_generator_is_refused(thing):
    with pytest.raises(TypeError, match=rf"expected a JAX key, .* got .*\.{type(thing).__name__}"):
        generator_backend(thing)


def test_a_backend_owns_the_arrays_of_its_library(library):
    backend = backend_of(library.array(np.zeros(1)))
    owned = {other for other in Library if backend.owns(other.array(np.zeros(1)))}
    assert owned == ({library, Library.NUMPY} if library is Library.JAX else {library})
    assert not backend.owns(1.0)
    assert not backend.owns(None)


# -- constants and dtypes -----------------------------------------------------------------------------------


@dataclass
class Table:
    """A table of NumPy, which is not to be made an array of the library."""

    values: Any


TABLES = [
    Table(np.arange(6.0).reshape(2, 3)),
    Table(np.arange(6)[::-2]),
    Table(np.asarray(0.5)),
    Table(np.frombuffer(np.arange(3.0).tobytes())),  # cannot be written to
    Table(np.broadcast_to(np.float32(0.1), (2, 2))),
    Table(np.zeros((0, 3))),
    Table(np.float64(0.3)),
    Table(0.1),
    Table(3),
]


@dtypes
@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(np.shape(table.values)))
def test_constants_have_the_dtype_of_their_like(native, dtype, table):
    like = native.array(np.zeros(1), dtype)
    for backend in backends(native):
        constant = backend.constant(table.values, like)
        assert native.owns(constant)
        assert dtype_name(constant) == dtype
        np.testing.assert_array_equal(native.numpy(constant), np.asarray(table.values).astype(dtype))


def test_constants_may_have_a_dtype_of_their_own(library):
    like = library.array(np.zeros(1), "float32")
    backend = backend_of(like)
    constant = backend.constant(np.asarray([True, False]), like, dtype=backend.xp.int64)
    assert dtype_name(constant) == "int64"
    np.testing.assert_array_equal(library.numpy(constant), [1, 0])


def test_constants_are_on_the_device_of_their_like():
    backend, _ = backends(Library.TORCH)
    like = torch.zeros(1, device="meta")
    assert backend.constant(np.zeros(2), like).device == backend.constant(0.5, like).device == like.device
    assert backend.index(np.arange(3), like).device == like.device


def test_positions_are_integers(library):
    table = np.asarray([[2, 0], [-1, 5]])
    index = backend_of(library.array(np.zeros(1))).index(table, like=library.array(np.zeros(1), "float32"))
    assert dtype_name(index) == ("int32" if library is Library.JAX else "int64")
    np.testing.assert_array_equal(library.numpy(index), table)


@integers
def test_numbers_of_rows_have_at_least_32_bits(library, integer):
    x = library.array(np.asarray([0, 1, 100]), integer)
    wide = backend_of(x).as_index(x)
    assert dtype_name(wide) in ("int32", "int64")
    np.testing.assert_array_equal(library.numpy(wide), [0, 1, 100])
    assert backend_of(x).as_index(wide) is wide


KINDS = {"bool": (False, False), "complex64": (False, False), "complex128": (False, False)}
KINDS |= {f"float{bits}": (True, False) for bits in (32, 64)}
KINDS |= {f"{sign}int{bits}": (False, True) for sign in ("", "u") for bits in (8, 16, 32, 64)}


@pytest.mark.parametrize(("dtype", "kinds"), KINDS.items(), ids=KINDS.keys())
def test_kinds_of_dtypes_are_told_apart(library, dtype, kinds):
    x = library.array(np.zeros(1), dtype)
    for backend in {backend_of(x), Backend(backend_of(x).xp)}:
        assert (backend.is_floating(x), backend.is_integer(x)) == kinds


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_short_floats_are_floats(dtype):
    for x in (jnp.zeros(1, dtype), torch.zeros(1, dtype=getattr(torch, dtype))):
        for backend in (backend_of(x), Backend(backend_of(x).xp)):
            assert backend.is_floating(x)
            assert not backend.is_integer(x)
            assert float(backend.lowest(x)) == float(jnp.finfo(dtype).min)
    assert backend_of(np.zeros(1)).is_floating(np.zeros(1, np.float16))


def test_a_key_of_jax_is_no_number():
    key = jax.random.key(0)
    assert not backend_of(key).is_floating(key)
    assert not backend_of(key).is_integer(key)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "int32", "int64", "uint8"])
def test_nothing_is_lower_than_the_lowest(library, dtype):
    x = library.array(np.zeros(1), dtype)
    info = np.finfo(dtype) if dtype.startswith("float") else np.iinfo(dtype)
    for backend in {backend_of(x), Backend(backend_of(x).xp)}:
        assert backend.lowest(x) == info.min
        assert backend.lower_bound(x) == (-math.inf if dtype.startswith("float") else info.min)
        constant = backend.constant(backend.lowest(x), like=x)
        assert dtype_name(constant) == dtype
        assert library.numpy(constant) == info.min


PROMOTIONS = [
    (("float32", "float32"), None, "float32"),
    (("float32", "float64"), None, "float64"),
    (("float64", "float32", "float32"), None, "float64"),
    (("int32", "int64"), None, "int64"),
    (("float64", "float32"), "float32", "float32"),
    (("float32",), "float64", "float64"),
]


@pytest.mark.parametrize(("given", "dtype", "expected"), PROMOTIONS)
def test_arrays_are_cast_to_one_dtype(library, given, dtype, expected):
    arrays = [library.array(np.arange(3), each) for each in given]
    promoted = backend_of(*arrays).promote(*arrays, dtype=dtype)
    for array, each in zip(arrays, promoted, strict=True):
        assert dtype_name(each) == expected
        assert each is array or dtype_name(array) != expected
        np.testing.assert_array_equal(library.numpy(each), np.arange(3))


def test_short_floats_are_promoted():
    for short, single in ((jnp.zeros(1, jnp.bfloat16), jnp.zeros(1, jnp.float32)), (torch.ones(1).bfloat16(),) * 2):
        promoted = backend_of(short).promote(short, single)
        assert {each.dtype for each in promoted} == {single.dtype}


def test_none_stays_none_when_promoted(library):
    x = library.array(np.zeros(1), "float32")
    backend = backend_of(x)
    assert backend.promote(None, x, None)[::2] == [None, None]
    assert backend.promote(None, dtype="float64") == [None]


def test_arrays_of_another_library_are_not_promoted(library):
    other = Library.TORCH if library is not Library.TORCH else Library.JAX
    backend = backend_of(library.array(np.zeros(1)))
    with pytest.raises(TypeError, match=r"expected arrays of .*, got .*\.(Tensor|ArrayImpl)"):
        backend.promote(library.array(np.zeros(1)), other.array(np.zeros(1)))


def test_jax_promotes_arrays_of_numpy():
    table, x = backends(Library.JAX)[0].promote(np.ones(2), jnp.ones(2, jnp.float32))
    assert isinstance(table, jax.Array)
    assert table.dtype == x.dtype == jnp.float64


@pytest.mark.parametrize("dtype", ["float32", np.float32, np.dtype("float32"), jnp.float32, torch.float32,
                                   array_api_strict.float32], ids=repr)  # fmt: skip
def test_a_dtype_is_found_by_its_name_or_that_of_another_library(library, dtype):
    backend = backend_of(library.array(np.zeros(1)))
    x = backend.xp.zeros(1, dtype=backend.dtype(dtype))
    assert dtype_name(x) == "float32"


def test_numpy_computes_in_single_precision_where_it_lacks_bfloat16():
    backend, _ = backends(Library.NUMPY)
    assert all(backend.dtype(d) is np.float32 for d in ("bfloat16", jnp.bfloat16, torch.bfloat16))


# -- arithmetic ---------------------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("shapes", [((4, 3), (3, 2)), ((5, 1, 4, 3), (2, 3, 2)), ((0, 3), (3, 2)), ((2, 0), (0, 3))])
@pytest.mark.parametrize("precision", [None, "highest"])
def test_matrices_are_multiplied(native, rng, dtype, shapes, precision):
    a, b = (rng.normal(size=shape).astype(dtype) for shape in shapes)
    product = assert_twins(native, "matmul", a, b, precision=precision, rtol=rounding(dtype))
    np.testing.assert_allclose(product, a @ b, rtol=rounding(dtype), atol=rounding(dtype))


def test_jax_hands_the_precision_to_xla():
    backend, _ = backends(Library.JAX)
    jaxpr = jax.make_jaxpr(lambda a: backend.matmul(a, a, precision="highest"))(jnp.ones((2, 2)))
    (product,) = (e for e in jaxpr.eqns if e.primitive.name == "dot_general")
    assert product.params["precision"] == (jax.lax.Precision.HIGHEST,) * 2


@dtypes
@pytest.mark.parametrize("shape", [(5, 2, 4, 3), (5, 1, 9, 1), (2, 3, 1, 1, 6), (2, 2, 100, 3), (0, 1, 4, 3)])
def test_components_are_scaled(native, rng, dtype, shape):
    x, w = rng.normal(size=shape).astype(dtype), rng.normal(size=(*shape[:-3], shape[-1])).astype(dtype)
    product = assert_twins(native, "scale_components", x, w)
    np.testing.assert_array_equal(product, x * w[..., None, None, :])


def test_gradients_of_scaled_components_equal_those_of_the_twin(rng):
    x, w = jnp.asarray(rng.normal(size=(5, 2, 4, 3))), jnp.asarray(rng.normal(size=(5, 3)))
    native, twin = (
        jax.jit(jax.grad(lambda x, w, b=backend: jnp.sum(jnp.sin(b.scale_components(x, w))), (0, 1)))(x, w)
        for backend in backends(Library.JAX)
    )
    for actual, expected in zip(native, twin, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-13, atol=1e-13)


def test_gradients_stop(library, rng):
    x = library.array(rng.normal(size=3))
    np.testing.assert_array_equal(library.numpy(backend_of(x).stop_gradient(x)), library.numpy(x))
    if library is Library.JAX:
        assert jax.grad(lambda x: jnp.sum(x * backend_of(x).stop_gradient(x)))(x) == pytest.approx(x)
    if library is Library.TORCH:
        x.requires_grad_()
        (gradient,) = torch.autograd.grad((x * backend_of(x).stop_gradient(x)).sum(), x)
        assert torch.equal(gradient, x.detach())


@dtypes
def test_the_error_function_is_precise(library, dtype):
    x = np.concatenate([np.linspace(-8, 8, 2001), [1e-30, -1e-9, 30.0, -1e30]]).astype(dtype)
    expected = scipy.special.erf(x.astype(np.float64))
    backend = backend_of(library.array(x))
    for each in (backend, Backend(backend.xp)):
        y = each.erf(library.array(x))
        assert dtype_name(y) == dtype
        np.testing.assert_allclose(library.numpy(y), expected, rtol=8 * np.finfo(dtype).eps)
        # It saturates: a gate on the far side is zero, not of the size of rounding.
        assert np.all(np.abs(library.numpy(y)[np.abs(x) > 6.0]) == 1.0)


def test_the_error_function_of_special_numbers(library):
    x = np.asarray([[0.0, np.inf], [-np.inf, np.nan]])
    backend = backend_of(library.array(x))
    for each in (backend, Backend(backend.xp)):
        np.testing.assert_array_equal(library.numpy(each.erf(library.array(x))), [[0.0, 1.0], [-1.0, np.nan]])
        assert tuple(each.erf(library.array(np.zeros((0, 2)))).shape) == (0, 2)


# -- gather and segments ------------------------------------------------------------------------------------


@rests
@dtypes
def test_rows_are_taken_and_padding_is_zero(native, rng, dtype, rest):
    x = rng.normal(size=(5, *rest)).astype(dtype)
    rows = assert_twins(native, "take", x, SEGMENTS)
    valid = (SEGMENTS >= 0) & (SEGMENTS < 5)
    np.testing.assert_array_equal(rows[valid], x[SEGMENTS[valid]])
    np.testing.assert_array_equal(rows[~valid], 0.0)


def test_rows_of_nan_do_not_leak_into_padding(library):
    x = library.array(np.full((2, 1), np.nan))
    rows = backend_of(x).take(x, library.array(np.asarray([-1, 2, 3])))
    np.testing.assert_array_equal(library.numpy(rows), np.zeros((3, 1)))


@rests
def test_rows_of_nothing_are_zero(native, rest):
    assert not np.any(assert_twins(native, "take", np.zeros((0, *rest), np.float32), np.asarray([0, -1, 3])))
    assert assert_twins(native, "take", np.ones((4, *rest)), np.zeros(0, np.int64)).shape == (0, *rest)


@rests
@dtypes
def test_rows_of_a_segment_are_summed(native, rng, dtype, rest):
    x = rng.normal(size=(len(SEGMENTS), *rest)).astype(dtype)
    total = assert_twins(native, "segment_sum", x, SEGMENTS, 5, rtol=rounding(dtype))
    expected = np.stack([x[np.equal(SEGMENTS, i)].sum(axis=0) for i in range(5)])
    np.testing.assert_allclose(total, expected, rtol=rounding(dtype), atol=rounding(dtype))
    np.testing.assert_array_equal(total[3], 0.0)


@rests
@dtypes
def test_the_largest_of_a_segment_is_found(native, rng, dtype, rest):
    x = rng.normal(size=(len(SEGMENTS), *rest)).astype(dtype)
    largest = assert_twins(native, "segment_max", x, SEGMENTS, 5)
    for i in (0, 1, 2, 4):
        np.testing.assert_array_equal(largest[i], x[np.equal(SEGMENTS, i)].max(axis=0))
    np.testing.assert_array_equal(largest[3], -np.inf)


def test_a_promise_of_sorted_segments_changes_nothing(native, rng):
    segments = np.sort(SEGMENTS)
    x = rng.normal(size=(len(segments), 2))
    total = assert_twins(native, "segment_sum", x, segments, 5, rtol=1e-14, indices_are_sorted=True)
    np.testing.assert_allclose(total, assert_twins(native, "segment_sum", x, segments, 5, rtol=1e-14), rtol=1e-14)


def test_only_padding_and_no_rows_leave_segments_empty(native):
    for x, segments in ((np.zeros((0, 2)), np.zeros(0, np.int64)), (np.ones((2, 2)), np.asarray([-1, 9]))):
        np.testing.assert_array_equal(assert_twins(native, "segment_sum", x, segments, 3), np.zeros((3, 2)))
        np.testing.assert_array_equal(assert_twins(native, "segment_max", x, segments, 3), np.full((3, 2), -np.inf))


def test_there_may_be_no_segments(native):
    x, segments = np.ones((2, 3)), np.asarray([0, 1])
    assert assert_twins(native, "segment_sum", x, segments, 0).shape == (0, 3)
    assert assert_twins(native, "segment_max", x, segments, 0).shape == (0, 3)


@pytest.mark.parametrize("reduction", ["segment_sum", "segment_max"])
def test_sums_over_no_segments_have_derivatives_in_jax(reduction):
    x, segments = jnp.ones((2, 3)), jnp.asarray([0, 1])
    reduce = getattr(backend_of(x), reduction)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(reduce(x, segments, 0) ** 2)))
    np.testing.assert_array_equal(gradient(x), np.zeros((2, 3)))
    np.testing.assert_array_equal(jax.grad(lambda x: jnp.sum(gradient(x)))(x), np.zeros((2, 3)))


def test_padding_of_nan_does_not_leak_into_segments(native):
    backend, _ = backends(native)
    x, segments = native.array(np.asarray([1.0, np.nan, np.nan])), native.array(np.asarray([0, -1, 2]))
    np.testing.assert_array_equal(native.numpy(backend.segment_sum(x, segments, 2)), [1.0, 0.0])
    np.testing.assert_array_equal(native.numpy(backend.segment_max(x, segments, 2)), [1.0, -np.inf])


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integers_are_taken_and_reduced(native, rng, dtype):
    x = rng.integers(-9, 9, size=(len(SEGMENTS), 2)).astype(dtype)
    assert_twins(native, "take", x, SEGMENTS)
    assert_twins(native, "segment_sum", x, SEGMENTS, 5)
    largest = assert_twins(native, "segment_max", x, SEGMENTS, 5)
    np.testing.assert_array_equal(largest[3], np.iinfo(dtype).min)


@integers
@pytest.mark.parametrize("num", [5, 300])
def test_row_numbers_may_have_any_width(library, integer, num):
    """300 rows are more than integers of 8 bits count."""
    numbers = np.asarray([0, 3, 0, 4, 100])
    x, given = library.array(np.arange(1.0, num + 1.0)), library.array(numbers, integer)
    backend = backend_of(x)
    for each in {backend, Backend(backend.xp)}:
        taken = library.numpy(each.take(x, given))
        np.testing.assert_array_equal(taken, np.where(numbers < num, numbers + 1.0, 0.0))
        total = library.numpy(each.segment_sum(x[:5], given, num))
        np.testing.assert_array_equal(total[:5], [4.0, 0.0, 0.0, 2.0, 4.0])
        assert total.sum() == (15.0 if num == 300 else 10.0)
        largest = library.numpy(each.segment_max(x[:5], given, num))
        np.testing.assert_array_equal(largest[:5], [3.0, -np.inf, -np.inf, 2.0, 4.0])


REDUCTIONS = {
    "take": lambda backend, x, numbers: backend.take(x, numbers),
    "segment_sum": lambda backend, x, numbers: backend.segment_sum(x, numbers, 5),
    "segment_max": lambda backend, x, numbers: backend.xp.exp(backend.segment_max(x, numbers, 5)),
}


@pytest.mark.parametrize("function", REDUCTIONS.values(), ids=REDUCTIONS.keys())
def test_gradients_equal_those_of_the_twin(rng, function):
    x = rng.normal(size=(len(SEGMENTS), 2))

    def in_jax(backend):
        return jax.grad(lambda x: jnp.sum(jnp.sin(function(backend, x, jnp.asarray(SEGMENTS)))))(jnp.asarray(x))

    def in_torch(backend):
        t = torch.from_numpy(x).requires_grad_()
        return torch.autograd.grad(torch.sin(function(backend, t, torch.from_numpy(SEGMENTS))).sum(), t)[0].numpy()

    expected = in_jax(backends(Library.JAX)[1])
    assert np.any(expected != 0.0)
    for actual in (in_jax(backends(Library.JAX)[0]), *map(in_torch, backends(Library.TORCH))):
        np.testing.assert_allclose(actual, expected, rtol=1e-13, atol=1e-13)


# -- random numbers -----------------------------------------------------------------------------------------

COUNT = 50_000
DISTRIBUTIONS = {
    "random_uniform": scipy.stats.uniform(),
    "random_normal": scipy.stats.norm(),
    "random_truncated_normal": scipy.stats.truncnorm(-2.0, 2.0),
}
distributions = pytest.mark.parametrize(("name", "distribution"), DISTRIBUTIONS.items(), ids=DISTRIBUTIONS.keys())
names = pytest.mark.parametrize("name", DISTRIBUTIONS.keys())


def draw(library, name, seed=0, shape=(COUNT,), dtype="float64"):
    backend, _ = backends(library)
    return getattr(backend, name)(GENERATORS[library](seed), shape, backend.dtype(dtype) if dtype else None)


@distributions
@dtypes
def test_random_numbers_have_their_distribution(native, name, distribution, dtype):
    sample = draw(native, name, dtype=dtype)
    assert native.owns(sample)
    assert dtype_name(sample) == dtype
    sample = native.numpy(sample).astype(np.float64)
    assert scipy.stats.kstest(sample, distribution.cdf).pvalue > 1e-3
    assert sample.mean() == pytest.approx(distribution.mean(), abs=4.0 * distribution.std() / math.sqrt(COUNT))
    assert sample.std() == pytest.approx(distribution.std(), rel=4.0 / math.sqrt(COUNT))
    low, high = distribution.support()
    assert low <= sample.min()
    assert sample.max() <= high
    # Neighbours are independent.
    assert abs(np.corrcoef(sample[1:], sample[:-1])[0, 1]) < 4.0 / math.sqrt(COUNT)


@names
def test_a_seed_decides_random_numbers(native, name):
    first, again, other = (native.numpy(draw(native, name, seed, (4, 3))) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert np.all(first != other)


@names
def test_a_generator_moves_on_and_a_key_does_not(native, name):
    backend, _ = backends(native)
    generator = GENERATORS[native](0)
    first, second = (native.numpy(getattr(backend, name)(generator, (5,))) for _ in range(2))
    assert np.all(first == second) if native is Library.JAX else np.all(first != second)


@names
@pytest.mark.parametrize("shape", [(), (0, 3), [2, 3]])
def test_random_numbers_have_any_shape(native, name, shape):
    assert tuple(draw(native, name, shape=shape).shape) == tuple(shape)


@names
def test_random_numbers_have_the_dtype_that_is_usual(native, name):
    assert dtype_name(draw(native, name, dtype=None)) == ("float64" if native is Library.NUMPY else "float32")


@names
def test_random_numbers_may_be_short(name):
    assert draw(Library.JAX, name, dtype="bfloat16").dtype == jnp.bfloat16
    assert draw(Library.TORCH, name, dtype="bfloat16").dtype == torch.bfloat16
    assert draw(Library.NUMPY, name, dtype="float16").dtype == np.float16


class Constant(np.random.Generator):
    """A generator that always draws one number."""

    def __init__(self, number):
        super().__init__(np.random.PCG64(0))
        self.number = number

    def random(self, shape):
        return np.full(shape, self.number)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("number", [0.0, 1.0 - 2.0**-53])
def test_ends_of_the_range_are_kept_by_rounding(number, dtype):
    backend, _ = backends(Library.NUMPY)
    uniform = backend.random_uniform(Constant(number), (1,), dtype)
    assert uniform.dtype == dtype
    assert 0.0 <= uniform[0] < 1.0
    truncated = backend.random_truncated_normal(Constant(number), (1,), dtype)
    assert truncated.dtype == dtype
    assert abs(truncated[0]) == pytest.approx(2.0, rel=100 * float(np.finfo(dtype).eps))
    assert abs(truncated[0]) <= 2.0


def test_a_truncated_normal_number_is_the_inverse_of_its_distribution_function():
    backend, _ = backends(Library.NUMPY)
    uniform = np.linspace(0.0, 1.0, 33)[1:-1]
    sample = [backend.random_truncated_normal(Constant(u), ())[()] for u in uniform]
    np.testing.assert_allclose(sample, DISTRIBUTIONS["random_truncated_normal"].ppf(uniform), rtol=1e-12, atol=1e-15)


@names
def test_a_library_without_generators_draws_no_random_numbers(name):
    with pytest.raises(TypeError, match="random numbers need NumPy, JAX or PyTorch, got array_api_strict"):
        getattr(Backend(array_api_strict), name)(np.random.default_rng(0), (2,))
