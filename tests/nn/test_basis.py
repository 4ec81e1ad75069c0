"""Basis functions of displacement vectors."""

from __future__ import annotations

from functools import partial

import e3x
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from e3any import Config, nn, so3
from e3any.testing import assert_parity

L, K = 2, 3
OPTIONS = [
    {},
    {"cutoff_fn": "smooth_cutoff", "return_cutoff": True},
    {"cutoff_fn": "cosine_cutoff", "return_cutoff": True, "return_norm": True},
    {"damping_fn": "smooth_damping", "return_norm": True},
    {"cutoff_fn": "smooth_cutoff", "damping_fn": "smooth_damping", "cartesian_order": False},
]
options = pytest.mark.parametrize("option", OPTIONS, ids=lambda o: "-".join(o) or "plain")
RADIAL = ["basic_bernstein", "reciprocal_bernstein", "exponential_bernstein"]


def call(module, r, option, radial="exponential_bernstein", **more):
    """Call ``basis`` of a module, with functions of that module."""
    named = {k: getattr(module, v) if k.endswith("_fn") else v for k, v in option.items()}
    if "cutoff_fn" in named:
        named["cutoff_fn"] = partial(named["cutoff_fn"], cutoff=2.5)
    keywords = {"max_degree": L, "num": K, "radial_fn": getattr(module, radial)} | named | more
    result = module.basis(r, **keywords)
    return result if type(result) is tuple else (result,)


def vectors(rng):
    """Return short, ordinary and long vectors, a zero vector and one along an axis."""
    r = rng.normal(size=(2, 4, 3))
    r[0, 0], r[0, 1], r[1, 0] = 0, [0, 0, 1.5], 4 * r[1, 0]
    return r


@options
def test_values_equal_those_of_e3x(library, rng, option):
    r = vectors(rng)
    actual, expected = call(nn, library.array(r), option), call(e3x.nn, jnp.asarray(r), option)
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected, strict=True):
        assert library.owns(a)
        assert tuple(a.shape) == e.shape
        np.testing.assert_allclose(library.numpy(a), e, rtol=1e-12, atol=1e-12)


@options
def test_single_precision_is_kept_and_near_double(library, rng, option):
    r = vectors(rng).astype(np.float32)
    for a, e in zip(call(nn, library.array(r), option), call(nn, r.astype(float), option), strict=True):
        assert library.numpy(a).dtype == np.float32
        np.testing.assert_allclose(library.numpy(a), e, rtol=1e-6, atol=1e-6)


@options
def test_parts_multiply_to_the_whole(library, rng, option):
    r = library.array(vectors(rng))
    (parts, *extras), (whole, *others) = call(nn, r, option, factored=True), call(nn, r, option)
    assert isinstance(parts, nn.FactoredBasis)
    degrees = L + 1 if "damping_fn" in option else 1
    assert tuple(parts.radial.shape) == (2, 4, degrees, K)
    assert tuple(parts.angular.shape) == (2, 4, (L + 1) ** 2)
    assert parts.max_degree == L
    assert library.owns(parts.array())
    for a, e in zip((parts.array(), *extras), (whole, *others), strict=True):
        np.testing.assert_allclose(library.numpy(a), library.numpy(e), rtol=1e-15, atol=0)


@pytest.mark.parametrize("radial", RADIAL)
def test_gradients_equal_those_of_e3x(rng, radial):
    r = jnp.asarray(vectors(rng))[0, 1:] * 0.5  # inside the limit of the radial functions
    option = {"cutoff_fn": "smooth_cutoff", "damping_fn": "smooth_damping"}
    weights = jnp.asarray(rng.normal(size=(1, (L + 1) ** 2, K)))
    actual, expected = (
        jax.jit(jax.grad(lambda r, m=m: jnp.sum(weights * call(m, r, option, radial)[0])))(r) for m in (nn, e3x.nn)
    )
    assert_parity(actual, expected)


def test_torch_gradients_equal_those_of_jax_to_second_order(rng):
    r, weights = vectors(rng)[0], rng.normal(size=(1, (L + 1) ** 2, K))
    option = {"cutoff_fn": "smooth_cutoff", "damping_fn": "smooth_damping"}

    @jax.grad
    def gradient(r):
        return jnp.sum(weights * call(nn, r, option, factored=True)[0].array())

    expected = jax.jit(gradient)(jnp.asarray(r))
    curved = jax.jit(jax.grad(lambda r: jnp.sum(jnp.sin(gradient(r)))))(jnp.asarray(r))
    t = torch.from_numpy(r).requires_grad_()
    loss = (torch.from_numpy(weights) * call(nn, t, option, factored=True)[0].array()).sum()
    (first,) = torch.autograd.grad(loss, t, create_graph=True)
    (second,) = torch.autograd.grad(torch.sin(first).sum(), t)
    np.testing.assert_allclose(first.detach().numpy(), expected, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(second.numpy(), curved, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_derivatives_are_finite_for_zero_short_and_long_vectors(dtype):
    lengths = np.asarray([0, 1e-30, 1e-6, 1, 2.5, 1e4], dtype)
    r = lengths[:, None] * np.asarray([[0.6, 0, 0.8]], dtype)
    option = {"cutoff_fn": "smooth_cutoff", "damping_fn": "smooth_damping"}
    weights = jnp.cos(jnp.arange((L + 1) ** 2 * K, dtype=dtype))

    @jax.grad
    def gradient(r):
        return jnp.sum(weights * jnp.ravel(call(nn, r, option)[0]))

    first, second = jax.jit(jax.vmap(lambda r: (gradient(r), jax.jacfwd(gradient)(r))))(jnp.asarray(r))
    assert first.dtype == second.dtype == dtype
    assert np.all(np.isfinite(first))
    # The true second derivatives at a length of 1e-30 are beyond single precision.
    assert np.all(np.isfinite(second[lengths != np.asarray(1e-30, dtype)]))


def test_parts_are_a_tree_of_both_frameworks(rng):
    r = vectors(rng)

    def f(r):
        return call(nn, r, {"damping_fn": "smooth_damping"}, factored=True)[0]

    plain = f(jnp.asarray(r))
    for parts in (jax.jit(f)(jnp.asarray(r)), jax.vmap(f)(jnp.asarray(r)), torch.vmap(f)(torch.asarray(r))):
        assert isinstance(parts, nn.FactoredBasis)
        for a, e in zip(parts, plain, strict=True):
            np.testing.assert_allclose(np.asarray(a), e, rtol=1e-12, atol=1e-14)


def test_bfloat16_is_kept():
    option = {"cutoff_fn": "smooth_cutoff", "damping_fn": "smooth_damping"}
    for r in (jnp.ones((2, 3), jnp.bfloat16), torch.ones((2, 3), dtype=torch.bfloat16)):
        parts = call(nn, r, option, factored=True)[0]
        assert parts.dtype == parts.angular.dtype == parts.array().dtype == r.dtype


def test_functions_of_angles_are_called_with_unit_vectors_and_the_order(library, rng):
    calls = []

    def angular_fn(r, max_degree, cartesian_order):
        calls.append((max_degree, cartesian_order))
        lengths = np.linalg.norm(library.numpy(r), axis=-1)
        np.testing.assert_allclose(lengths, np.where(np.arange(8).reshape(2, 4) == 0, 0, 1), rtol=1e-14)
        return so3.spherical_harmonics(r, max_degree, True, cartesian_order=cartesian_order, normalization="4pi")

    r = library.array(vectors(rng))
    (scaled,), (plain,) = call(nn, r, {}, angular_fn=angular_fn), call(nn, r, {})
    factors = np.repeat(np.sqrt([1, 3, 5]), [1, 3, 5])[:, None]
    np.testing.assert_allclose(library.numpy(scaled), factors * library.numpy(plain), rtol=1e-14)
    call(nn, r, {}, angular_fn=angular_fn, cartesian_order=False)
    with Config.use(cartesian_order=False):
        call(nn, r, {}, angular_fn=angular_fn)
    assert calls == [(L, True), (L, False), (L, False)]


def test_order_is_looked_up_at_the_call(library, rng):
    r = library.array(vectors(rng))
    (expected,) = call(nn, r, {"cartesian_order": False})
    with Config.use(cartesian_order=False):
        (actual,) = call(nn, r, {})
    np.testing.assert_array_equal(library.numpy(actual), library.numpy(expected))


def test_rotated_vectors_have_rotated_basis_functions(rng):
    r, rotation = vectors(rng), so3.random_rotation(np.random.default_rng(1))
    matrix = so3.wigner_d(rotation, L)
    (actual,), (basis,) = call(nn, r @ rotation, {}), call(nn, r, {})
    np.testing.assert_allclose(actual, nn.rotate(basis, matrix), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(3,), (0, 3), (2, 0, 3)])
def test_leading_axes_and_emptiness_are_kept(library, shape):
    for option in ({}, {"damping_fn": "smooth_damping", "return_norm": True}):
        basis, *norms = call(nn, library.array(np.zeros(shape)), option)
        assert tuple(basis.shape) == (*shape[:-1], 1, (L + 1) ** 2, K)
        assert all(tuple(n.shape) == shape[:-1] for n in norms)


def test_degree_zero_is_the_radial_part(library, rng):
    r = library.array(vectors(rng))
    option = {"damping_fn": "smooth_damping", "return_norm": True}
    basis, norm = call(nn, r, option, max_degree=0)
    assert tuple(basis.shape) == (2, 4, 1, 1, K)
    expected = library.numpy(nn.exponential_bernstein(norm, K))
    np.testing.assert_allclose(library.numpy(basis)[..., 0, 0, :], expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"r": np.ones((4, 2))}, r"expected r of shape \(\.\.\., 3\), got \(4, 2\)"),
        ({"r": np.ones(())}, r"expected r of shape \(\.\.\., 3\), got \(\)"),
        ({"max_degree": -1}, "expected max_degree .*, got -1"),
        ({"max_degree": 1.0}, "expected max_degree .*, got 1.0"),
        ({"num": 0}, "expected num .*, got 0"),
        ({"return_cutoff": True}, "expected a cutoff_fn .*, got None"),
    ],
)
def test_bad_arguments_raise(library, change, message):
    keywords = {"r": np.ones((4, 3)), "max_degree": L, "num": K, "radial_fn": nn.basic_bernstein} | change
    keywords["r"] = library.array(keywords["r"])
    with pytest.raises(ValueError, match=message):
        nn.basis(**keywords)


def test_integers_raise(library):
    with pytest.raises(TypeError, match="floating-point"):
        call(nn, library.array(np.ones((4, 3), np.int64)), {})


@pytest.mark.parametrize(
    ("radial", "angular"), [((4, 1, K), (4, 8)), ((4, 2, K), (4, 9)), ((3, 1, K), (4, 9)), ((K,), (9,))]
)
def test_parts_that_do_not_fit_raise(library, radial, angular):
    parts = nn.FactoredBasis(library.array(np.ones(radial)), library.array(np.ones(angular)))
    with pytest.raises(ValueError, match=r"expected .* of shape .*, got"):
        parts.array()
