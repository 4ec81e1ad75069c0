"""Features as wholes: sums, other layouts, rotations, reflections."""

from __future__ import annotations

import e3x
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from e3any import nn

LAYOUTS = [(1, 0), (2, 0), (1, 3), (2, 3)]
layouts = pytest.mark.parametrize(("parities", "degree"), LAYOUTS)


def features(rng, parities, degree, lead=(4,), num=2):
    return rng.normal(size=(*lead, parities, (degree + 1) ** 2, num))


@pytest.mark.parametrize("degree", [0, 1, 4])
@pytest.mark.parametrize("name", ["even_degree_mask", "odd_degree_mask"])
def test_masks_equal_those_of_e3x(library, name, degree):
    expected = np.asarray(getattr(e3x.nn, name)(degree))
    mask = getattr(nn, name)(degree)
    assert isinstance(mask, np.ndarray)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, expected)
    mask = getattr(nn, name)(degree, xp=library.xp)
    assert library.owns(mask)
    np.testing.assert_array_equal(library.numpy(mask), expected)


@layouts
def test_rotated_features_equal_those_of_e3x(library, rng, parities, degree):
    x, size = features(rng, parities, degree), (degree + 1) ** 2
    for matrix in (rng.normal(size=(size, size)), rng.normal(size=(4, size, size))):
        y = nn.rotate(library.array(x), wigner_d_matrix=library.array(matrix))
        assert library.owns(y)
        expected = e3x.nn.rotate(jnp.asarray(x), wigner_d_matrix=jnp.asarray(matrix))
        np.testing.assert_allclose(library.numpy(y), expected, rtol=1e-12, atol=1e-12)


def test_rotating_single_precision_with_a_double_precision_matrix_promotes(library, rng):
    x = library.array(features(rng, 1, 1), "float32")
    assert library.numpy(nn.rotate(x, library.array(np.eye(4)))).dtype == np.float64
    assert library.numpy(nn.rotate(x, library.array(np.eye(4), "float32"))).dtype == np.float32


@layouts
def test_reflected_features_equal_those_of_e3x(library, rng, parities, degree):
    x = features(rng, parities, degree)
    y = nn.reflect(library.array(x))
    assert library.owns(y)
    np.testing.assert_array_equal(library.numpy(y), e3x.nn.reflect(jnp.asarray(x)))
    np.testing.assert_array_equal(library.numpy(nn.reflect(y)), x)


@layouts
@pytest.mark.parametrize("both", [None, False, True])
@pytest.mark.parametrize("new_degree", [None, 0, 2, 4])
def test_changed_layouts_equal_those_of_e3x(library, rng, parities, degree, new_degree, both):
    x = features(rng, parities, degree)
    y = nn.change_max_degree_or_type(library.array(x), new_degree, both)
    assert library.owns(y)
    expected = e3x.nn.change_max_degree_or_type(jnp.asarray(x), new_degree, both)
    np.testing.assert_array_equal(library.numpy(y), expected)


def test_infinities_do_not_leak_into_the_other_parity(library):
    x = np.full((1, 4, 1), np.inf)
    y = library.numpy(nn.change_max_degree_or_type(library.array(x), include_pseudotensors=True))
    np.testing.assert_array_equal(y[..., 0], [[np.inf, 0, 0, 0], [0, np.inf, np.inf, np.inf]])


def test_sums_equal_those_of_e3x(library, rng):
    xs = [features(rng, p, d) for p, d in [(1, 1), (2, 0), (1, 3)]]
    for chosen in (xs[:1], xs[:2], xs[::2], xs):
        y = nn.add(*(library.array(x) for x in chosen))
        assert library.owns(y)
        expected = e3x.nn.add(*(jnp.asarray(x) for x in chosen))
        np.testing.assert_allclose(library.numpy(y), expected, rtol=1e-14)


def test_gradients_equal_those_of_e3x_and_torch(rng):
    x, other, matrix = features(rng, 1, 2), features(rng, 2, 1), rng.normal(size=(9, 9))

    def loss(module, convert, sin):
        def function(x):
            y = module.add(module.rotate(x, convert(matrix)), convert(other))
            return sin(module.reflect(module.change_max_degree_or_type(y, 3))).sum()

        return function

    ours, theirs = (jax.jit(jax.grad(loss(m, jnp.asarray, jnp.sin)))(jnp.asarray(x)) for m in (nn, e3x.nn))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)
    t = torch.from_numpy(x).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(nn, torch.from_numpy, torch.sin)(t), t)
    np.testing.assert_allclose(gradient.numpy(), ours, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("lead", [(), (0,), (2, 0, 3)])
def test_leading_axes_and_emptiness_are_kept(library, rng, lead):
    x = library.array(features(rng, 1, 1, lead))
    assert tuple(nn.reflect(x).shape) == (*lead, 1, 4, 2)
    assert tuple(nn.rotate(x, library.array(np.eye(4))).shape) == (*lead, 1, 4, 2)
    assert tuple(nn.change_max_degree_or_type(x, 2, True).shape) == (*lead, 2, 9, 2)
    assert tuple(nn.add(x, nn.change_max_degree_or_type(x, 2, True)).shape) == (*lead, 2, 9, 2)


@pytest.mark.parametrize("xp", [jnp, torch], ids=["jax", "torch"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_dtypes_are_kept(xp, dtype):
    x = xp.ones((1, 4, 2), dtype=getattr(xp, dtype))
    results = [
        nn.reflect(x),
        nn.rotate(x, xp.eye(4, dtype=x.dtype)),
        nn.change_max_degree_or_type(x, 2, True),
        nn.add(x, x),
    ]
    assert [y.dtype for y in results] == [x.dtype] * 4


def test_functions_run_under_jit_and_vmap(rng):
    x, matrix = jnp.asarray(features(rng, 2, 1)), jnp.asarray(rng.normal(size=(4, 4, 4)))

    def f(x, matrix):
        return nn.add(nn.reflect(x), nn.change_max_degree_or_type(nn.rotate(x, matrix), 2))

    expected = f(x, matrix)
    for g in (jax.jit(f), jax.vmap(f)):
        np.testing.assert_allclose(g(x, matrix), expected, rtol=1e-13, atol=1e-14)
    t = torch.vmap(f)(torch.from_numpy(np.array(x)), torch.from_numpy(np.array(matrix)))
    np.testing.assert_allclose(t.numpy(), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("shape", [(4, 2), (3, 4, 2), (1, 5, 2), (1, 0, 2)])
def test_shapes_that_are_not_those_of_features_raise(library, shape):
    x = library.array(np.ones(shape))
    for function in (
        nn.reflect,
        nn.add,
        nn.change_max_degree_or_type,
        lambda x: nn.rotate(x, library.array(np.eye(4))),
    ):
        with pytest.raises(ValueError, match=r"expected .*, got .*"):
            function(x)


@pytest.mark.parametrize("shape", [(4,), (3, 3), (1, 4, 4), (5, 4, 4), (1, 4, 9, 4)])
def test_matrices_that_do_not_fit_raise(library, rng, shape):
    x = library.array(features(rng, 1, 1))
    with pytest.raises(ValueError, match=r"expected wigner_d_matrix of shape \(4, 4\) or .*, got .*"):
        nn.rotate(x, library.array(np.ones(shape)))


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((3, 1, 4, 2), "float64", r"expected leading axes \(4,\) .* got \(3,\) at input 1"),
        ((4, 1, 4, 3), "float64", r"expected features 2 .* got 3 at input 1"),
        ((4, 1, 4, 2), "float32", r"expected dtype .*float64.* got .*float32.* at input 1"),
    ],
)
def test_sums_of_unlike_features_raise(library, rng, shape, dtype, message):
    with pytest.raises(ValueError, match=message):
        nn.add(library.array(features(rng, 1, 1)), library.array(np.ones(shape, dtype)))


def test_sums_of_nothing_and_bad_degrees_raise(library, rng):
    with pytest.raises(ValueError, match="expected at least one input, got none"):
        nn.add()
    for degree in (-1, 1.5, True):
        with pytest.raises(ValueError, match=r"expected max_degree .*, got"):
            nn.change_max_degree_or_type(library.array(features(rng, 1, 1)), degree)
        with pytest.raises(ValueError, match=r"expected max_degree .*, got"):
            nn.even_degree_mask(degree)
