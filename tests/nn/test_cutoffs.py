"""Cutoff, damping and switch functions."""

from __future__ import annotations

import e3x
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import torch

from e3any.nn import cutoffs

CASES = [
    ("smooth_cutoff", {}),
    ("smooth_cutoff", {"cutoff": 2.5}),
    ("cosine_cutoff", {}),
    ("cosine_cutoff", {"cutoff": 2.5}),
    ("smooth_damping", {}),
    ("smooth_damping", {"gamma": 3.0}),
    ("smooth_switch", {}),
    ("smooth_switch", {"x0": 0.5, "x1": 2.5}),
]
OURS = [
    ("polynomial_cutoff", {}),
    ("polynomial_cutoff", {"cutoff": 2.5, "order": 3}),
    ("xplor_cutoff", {}),
    ("xplor_cutoff", {"cutoff": 2.5, "onset": 0.5}),
]
of_e3x = pytest.mark.parametrize(("name", "options"), CASES)
cases = pytest.mark.parametrize(("name", "options"), CASES + OURS)
X = np.concatenate([np.linspace(0.0, 3.0, 61), [1e-3, 0.999, 1.001, 2.499, 40.0]])


@of_e3x
def test_values_equal_those_of_e3x(library, name, options):
    y = getattr(cutoffs, name)(library.array(X), **options)
    assert library.owns(y)
    expected = getattr(e3x.nn, name)(jnp.asarray(X), **options)
    np.testing.assert_allclose(library.numpy(y), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("cutoff", "order"), [(1.0, 6), (2.5, 5), (0.9, 2), (1.0, 1)])
def test_polynomial_and_its_gradient_equal_those_of_e3nn_jax(library, cutoff, order):
    e3nn = pytest.importorskip("e3nn_jax")
    y = cutoffs.polynomial_cutoff(library.array(X), cutoff, order)
    assert library.owns(y)
    theirs = e3nn.poly_envelope(order - 1, 2, cutoff)
    np.testing.assert_allclose(library.numpy(y), theirs(X), rtol=0, atol=1e-12)
    derivative = jax.vmap(jax.grad(lambda x: cutoffs.polynomial_cutoff(x, cutoff, order)))(jnp.asarray(X))
    np.testing.assert_allclose(derivative, jax.vmap(jax.grad(theirs))(jnp.asarray(X)), rtol=0, atol=1e-11)


@pytest.mark.parametrize("order", [1, 5, 6, 40])
def test_polynomial_is_that_of_dimenet_and_precise_near_its_end(order):
    t = np.concatenate([np.linspace(0.0, 1.0, 41)[:-1], 1.0 - 2.0 ** -np.arange(10, 30.0, 4)])
    p = order
    with mpmath.workdps(60):
        powers = [[mpmath.mpf(x) ** k for k in (p, p + 1, p + 2)] for x in t]
        exact = [1 - (p + 1) * (p + 2) * a / 2 + p * (p + 2) * b - p * (p + 1) * c / 2 for a, b, c in powers]
        exact = np.asarray([float(x) for x in exact])
    np.testing.assert_allclose(cutoffs.polynomial_cutoff(t, 1.0, order), exact, rtol=1e-13)


@cases
def test_single_precision_is_kept_and_near_double(library, name, options):
    x = X.astype(np.float32)
    y = library.numpy(getattr(cutoffs, name)(library.array(x), **options))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, getattr(cutoffs, name)(x.astype(np.float64), **options), atol=1e-6)


@of_e3x
def test_gradients_equal_those_of_e3x(name, options):
    def f(x):
        return getattr(cutoffs, name)(x, **options)

    def g(x):
        return getattr(e3x.nn, name)(x, **options)

    x = jnp.asarray(X)
    np.testing.assert_allclose(
        jax.jit(jax.vmap(jax.grad(f)))(x), jax.jit(jax.vmap(jax.grad(g)))(x), rtol=1e-12, atol=1e-12
    )


def critical_points(dtype: str) -> np.ndarray:
    eps = np.finfo(dtype).eps
    ends = np.asarray([0.0, 0.5, 1.0, 2.5])[:, None]
    steps = np.concatenate([[0.0], eps * 2.0 ** np.arange(0, -np.log2(eps) + 2)])
    far = [1e4, 1e15, 1e30, -1e4, -1e30]
    return np.concatenate([(ends - steps).ravel(), (ends + steps).ravel(), far]).astype(dtype)


@cases
def test_derivatives_to_fourth_order_are_finite(name, options):
    def f(x):
        return getattr(cutoffs, name)(x, **options)

    derivative = f
    for _ in range(4):
        derivative = jax.grad(derivative)
    values = jax.jit(jax.vmap(lambda x: [f(x), derivative(x)]))(jnp.asarray(critical_points("float32")))
    assert np.all(np.isfinite(np.asarray(values)))


@cases
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_derivatives_of_torch_to_fourth_order_are_finite(name, options, dtype):
    t = torch.from_numpy(critical_points(dtype)).requires_grad_()
    y = getattr(cutoffs, name)(t, **options)
    for _ in range(4):
        (y,) = torch.autograd.grad(y.sum(), t, create_graph=True)
        assert bool(torch.isfinite(y).all())


@pytest.mark.parametrize("name", ["smooth_cutoff", "cosine_cutoff", "polynomial_cutoff"])
def test_cutoff_may_be_traced_and_learned(name):
    def f(c):
        return getattr(cutoffs, name)(jnp.asarray([0.3, 1.0, 3.0]), c)

    np.testing.assert_allclose(jax.jit(f)(1.7), f(1.7), rtol=1e-14)
    step = 1e-6
    numeric = (f(1.7 + step) - f(1.7 - step)) / (2 * step)
    np.testing.assert_allclose(jax.jacobian(f)(1.7), numeric, atol=1e-9)


def test_damping_rate_and_switch_ends_may_be_traced():
    x = jnp.asarray(X)
    np.testing.assert_allclose(jax.jit(cutoffs.smooth_damping)(x, 2.0), cutoffs.smooth_damping(x, 2.0), rtol=1e-14)
    np.testing.assert_allclose(
        jax.jit(cutoffs.smooth_switch)(x, 0.5, 2.0), cutoffs.smooth_switch(x, 0.5, 2.0), rtol=1e-12
    )


@cases
def test_gradients_of_torch_equal_those_of_jax(name, options):
    t = torch.from_numpy(X.copy()).requires_grad_()
    (actual,) = torch.autograd.grad(getattr(cutoffs, name)(t, **options).sum(), t)
    expected = jax.jit(jax.grad(lambda x: jnp.sum(getattr(cutoffs, name)(x, **options))))(jnp.asarray(X))
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-12, atol=1e-13)


def test_switch_of_a_point_and_its_mirror_image_sum_to_one():
    x = np.linspace(-0.5, 1.5, 101)
    np.testing.assert_allclose(cutoffs.smooth_switch(x) + cutoffs.smooth_switch(1.0 - x), 1.0, rtol=1e-14)


@pytest.mark.parametrize("name", cutoffs.__all__)
def test_bfloat16_is_kept(name):
    assert getattr(cutoffs, name)(jnp.ones(3, jnp.bfloat16)).dtype == jnp.bfloat16
    assert getattr(cutoffs, name)(torch.ones(3, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (name, {"cutoff": c})
        for name in ("smooth_cutoff", "cosine_cutoff", "polynomial_cutoff")
        for c in (0.0, -1.0, np.nan)
    ]
    + [("polynomial_cutoff", {"order": p}) for p in (0, -1, 1.5, True)]
    + [("smooth_damping", {"gamma": 0.0}), ("smooth_switch", {"x0": 1.0}), ("smooth_switch", {"x1": -1.0})],
)
def test_values_out_of_range_raise(library, name, options):
    with pytest.raises(ValueError, match=r"expected .*, got"):
        getattr(cutoffs, name)(library.array(X), **options)


@pytest.mark.parametrize("name", cutoffs.__all__)
def test_integers_raise(library, name):
    with pytest.raises(TypeError, match="floating-point"):
        getattr(cutoffs, name)(library.array(np.ones(3, np.int64)))


@pytest.mark.parametrize("onset", [None, 0.0, 2.0])
def test_the_switch_of_xplor_is_the_published_one(library, onset):
    x, c = np.linspace(0.0, 3.0, 40), 2.5
    start = 0.9 * c if onset is None else onset
    inside = (c**2 - x**2) ** 2 * (c**2 + 2 * x**2 - 3 * start**2) / (c**2 - start**2) ** 3
    y = cutoffs.xplor_cutoff(library.array(x), c, onset)
    assert library.owns(y)
    expected = np.where(x <= start, 1.0, np.where(x < c, inside, 0.0))
    np.testing.assert_allclose(library.numpy(y), expected, rtol=0, atol=1e-14)


def test_onsets_that_are_not_below_the_cutoff_raise():
    with pytest.raises(ValueError, match=r"expected 0 <= onset < cutoff, got onset = 3.0 and cutoff = 2.5"):
        cutoffs.xplor_cutoff(np.ones(2), 2.5, 3.0)
