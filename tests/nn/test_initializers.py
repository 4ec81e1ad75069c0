"""Initialisers."""

from __future__ import annotations

import e3x
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from e3any.nn import initializers
from e3any.nn.initializers import (
    TensorVarianceScaling,
    VarianceScaling,
    allowed_couplings,
    lecun_normal,
    tensor_lecun_normal,
    zeros,
)

MODES = ("fan_in", "fan_out", "fan_avg")
DISTRIBUTIONS = ("truncated_normal", "normal", "uniform")
GENERATORS = {
    "numpy": lambda: np.random.default_rng(0),
    "jax": lambda: jax.random.key(0),
    "torch": lambda: torch.Generator().manual_seed(0),
}
generators = pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS.keys())
modes = pytest.mark.parametrize("mode", MODES)
distributions = pytest.mark.parametrize("distribution", DISTRIBUTIONS)
KERNELS = [(1, 1, 1, 1, 1, 1, 3), (1, 3, 1, 2, 2, 3, 2), (2, 2, 2, 3, 2, 3, 2), (2, 3, 1, 3, 1, 2, 1)]
kernels = pytest.mark.parametrize("shape", KERNELS)


def fans(shape):
    """Count couplings one by one."""
    p1, n1, p2, n2, p3, n3, _ = shape

    def irreps(p, n):
        return [(i, l, (l if p == 1 else i) % 2) for i in range(p) for l in range(n)]

    allowed = np.zeros(shape[:6], bool)
    for i, a, s in irreps(p1, n1):
        for j, b, t in irreps(p2, n2):
            for k, c, u in irreps(p3, n3):
                allowed[i, a, j, b, k, c] = abs(a - b) <= c <= a + b and (s + t) % 2 == u
    fan_in = np.sum(allowed, axis=(0, 1, 2, 3), keepdims=True) * np.ones(shape[:6])
    fan_out = np.sum(allowed, axis=(4, 5), keepdims=True) * np.ones(shape[:6])
    return allowed, {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_of_a_key_are_those_of_jax(dtype):
    key = jax.random.key(3)
    for shape in ((5, 7), (2, 5, 7)):
        expected = jax.nn.initializers.lecun_normal()(key, shape, dtype)
        actual = lecun_normal(key, shape, dtype)
        assert actual.dtype == expected.dtype
        np.testing.assert_allclose(actual, expected, rtol=4 * np.finfo(dtype).eps)


@modes
@distributions
def test_numbers_of_every_distribution_are_those_of_jax(mode, distribution):
    key = jax.random.key(3)
    expected = jax.nn.initializers.variance_scaling(2.0, mode, distribution)(key, (5, 7), jnp.float64)
    actual = VarianceScaling(2.0, mode, distribution)(key, (5, 7), jnp.float64)
    np.testing.assert_allclose(actual, expected, rtol=1e-14, atol=1e-15)


@kernels
def test_numbers_of_kernels_are_those_of_e3x(shape):
    key = jax.random.key(4)
    expected = e3x.nn.initializers.tensor_lecun_normal()(key, shape, jnp.float64)
    np.testing.assert_allclose(tensor_lecun_normal()(key, shape, "float64"), expected, rtol=1e-14)


@modes
@distributions
def test_numbers_of_every_kind_of_kernel_are_those_of_e3x(mode, distribution):
    key, shape = jax.random.key(4), (2, 2, 1, 2, 2, 2, 2)
    init = e3x.nn.initializers.tensor_variance_scaling(2.0, mode, distribution)
    actual = TensorVarianceScaling(2.0, mode, distribution)(key, shape, "float64")
    np.testing.assert_allclose(actual, init(key, shape, jnp.float64), rtol=1e-14, atol=1e-15)


@generators
@modes
@kernels
def test_kernels_have_the_variance_of_their_fans_and_zeros_elsewhere(make, mode, shape):
    shape = (*shape[:6], 2000)
    kernel = np.asarray(TensorVarianceScaling(3.0, mode)(make(), shape))
    allowed, fan = fans(shape)
    np.testing.assert_array_equal(kernel[~allowed], 0)
    assert np.all(kernel[allowed] != 0) or np.mean(kernel[allowed] == 0) < 1e-4
    # The mean of 2000 squares is within five of its standard errors.
    variance = np.mean(kernel[allowed] ** 2, axis=-1)
    np.testing.assert_allclose(variance * fan[mode][allowed], 3.0, rtol=5 * np.sqrt(2 / 2000))


@kernels
def test_allowed_couplings_are_those_counted(shape):
    np.testing.assert_array_equal(allowed_couplings(*shape[:6]), fans(shape)[0])


@generators
@distributions
@modes
def test_spread_is_the_scale_over_the_fan(make, distribution, mode):
    shape = (100, 400)
    x = np.asarray(VarianceScaling(2.0, mode, distribution)(make(), shape))
    std = np.sqrt(2.0 / {"fan_in": 100, "fan_out": 400, "fan_avg": 250}[mode])
    assert np.std(x) == pytest.approx(std, rel=0.02)
    assert abs(np.mean(x)) < 5 * std / 200
    limit = {"uniform": 3**0.5, "normal": 6, "truncated_normal": 2 / 0.8796256610342398}[distribution]
    assert np.max(np.abs(x)) <= limit * std * (1 + 1e-6)
    assert np.max(np.abs(x)) > min(limit, 3) * std * 0.98


@generators
def test_dtype_library_and_repetition(make):
    for init, shape in ((lecun_normal, (3, 4)), (tensor_lecun_normal(), KERNELS[1]), (zeros, (3, 4))):
        x, same = init(make(), shape), init(make(), shape)
        assert tuple(x.shape) == shape
        assert str(x.dtype).endswith("float32")
        np.testing.assert_array_equal(x, same)
        for dtype in ("float64", np.float64, np.dtype("float64")):
            assert str(init(make(), shape, dtype).dtype).endswith("float64")
    assert type(zeros(make(), (2,))) is type(lecun_normal(make(), (2, 2)))
    np.testing.assert_array_equal(zeros(make(), (2, 3)), np.zeros((2, 3)))


@generators
def test_parameters_without_entries_are_drawn(make):
    for shape in ((0, 4), (4, 0), (0, 0)):
        assert tuple(lecun_normal(make(), shape).shape) == shape
    assert tuple(tensor_lecun_normal()(make(), (1, 2, 1, 2, 1, 2, 0)).shape) == (1, 2, 1, 2, 1, 2, 0)


def test_other_axes_count_in_both_fans():
    x = VarianceScaling()(np.random.default_rng(0), (20, 5, 300))
    assert np.std(x) == pytest.approx(0.1, rel=0.02)
    x = VarianceScaling(in_axis=0, out_axis=2)(np.random.default_rng(0), (20, 5, 300))
    assert np.std(x) == pytest.approx(0.1, rel=0.02)


def test_initializers_are_values():
    assert VarianceScaling() == lecun_normal
    assert hash(TensorVarianceScaling()) == hash(tensor_lecun_normal())
    assert VarianceScaling(2.0) != lecun_normal


@pytest.mark.parametrize("shape", [(), (3, 4), (1, 2, 1, 2, 1, 2)])
def test_kernels_of_other_shapes_raise(shape):
    with pytest.raises(ValueError, match="expected a shape of 7 axes"):
        tensor_lecun_normal()(np.random.default_rng(0), shape)


def test_unknown_distributions_raise():
    with pytest.raises(ValueError, match="expected 'truncated_normal', 'normal' or 'uniform', got 'cauchy'"):
        VarianceScaling(distribution="cauchy")(np.random.default_rng(0), (2, 2))


@pytest.mark.parametrize("generator", [None, 0, np.random.RandomState(0)])
def test_other_generators_raise(generator):
    for init in (zeros, lecun_normal):
        with pytest.raises(TypeError, match=r"expected a JAX key, a numpy.random.Generator or a torch.Gener"):
            init(generator, (2, 2))


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
@pytest.mark.parametrize("kind", ["glorot", "he", "kaiming", "lecun", "xavier"])
def test_named_initialisers_draw_the_numbers_of_e3x(kind, distribution):
    name, key = f"tensor_{kind}_{distribution}", jax.random.key(3)
    expected = getattr(e3x.nn.initializers, name)()(key, KERNELS[1], jnp.float64)
    actual = getattr(initializers, name)()(key, KERNELS[1], "float64")
    np.testing.assert_allclose(actual, expected, rtol=1e-14)


@generators
def test_constant_has_one_value(make):
    value = initializers.Constant(2.5)(make(), (2, 3), "float64")
    np.testing.assert_array_equal(np.asarray(value), np.full((2, 3), 2.5))


@generators
def test_initialisers_have_a_dtype_of_their_own(make):
    kernel = initializers.tensor_he_uniform("float64")
    assert str(kernel(make(), KERNELS[1]).dtype).endswith("float64")
    assert str(kernel(make(), KERNELS[1], "float32").dtype).endswith("float32")
    fused = initializers.fused_tensor_normal(0.5, True, "float64")
    assert str(fused(make(), (2, 3)).dtype).endswith("float64")


@pytest.mark.parametrize("make", [VarianceScaling, TensorVarianceScaling])
def test_unknown_modes_raise(make):
    with pytest.raises(ValueError, match="expected 'fan_in', 'fan_out' or 'fan_avg', got 'fan'"):
        make(1.0, "fan", "normal")
