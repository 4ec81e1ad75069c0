"""Activations of features as functions on the sphere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from layer_cases import (
    assert_dtypes_are_kept,
    assert_libraries_agree,
    assert_transformations_agree,
    compiled,
    features,
    paths,
    random_parameters,
    torch_gradient,
)

from e3any import Layout, interop, nn, so3
from e3any.testing import assert_equivariant, assert_parity, equivariance_error

# A rotation that permutes the points of the grid: by a right angle about z.
QUARTER = np.asarray([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class Points(nn.Layer):
    """A small network at every point."""

    def forward(self, p, values):
        return nn.Dense(2)(p / "out", nn.silu(nn.Dense(4)(p / "in", values)))


def cube(values):
    """Multiply values by the square of the even ones."""
    even = values[..., :1, :, :]
    return values * even * even


@pytest.mark.parametrize(
    ("parities", "degree", "normalization", "cartesian_order"),
    [(1, 0, "racah", True), (1, 3, "4pi", False), (2, 2, "orthonormal", True)],
)
def test_to_the_grid_and_back_is_nothing(library, rng, parities, degree, normalization, cartesian_order):
    x = features(rng, 2, parities, (degree + 1) ** 2, 3)
    layer = nn.SphereActivation(lambda values: values, 2 * degree, normalization, cartesian_order)
    y = compiled(library, lambda x: layer({}, x))(library.array(x))
    assert library.owns(y)
    assert_parity(y, x)


@pytest.mark.parametrize("degree", [1, 2, 4])
def test_activations_equal_those_of_e3nn(rng, degree):
    e3nn_nn, o3 = pytest.importorskip("e3nn.nn"), pytest.importorskip("e3nn.o3")

    irreps = o3.Irreps([(1, (l, (-1) ** l)) for l in range(degree + 1)])
    torch.set_default_dtype(torch.float64)
    try:
        theirs = e3nn_nn.S2Activation(irreps, lambda f: f * f * f, res=40, normalization="component", random_rot=False)
    finally:
        torch.set_default_dtype(torch.float32)
    # Theirs has f / sqrt(L + 1), and divides activations by the root of their second moment: here that of a cube, 15.
    x = features(rng, 5, 1, (degree + 1) ** 2, 1)
    flat = torch.as_tensor(interop.to_components(x[:, 0, :, 0], "e3nn", axis=-1))
    scale = np.sqrt(degree + 1)
    expected = interop.from_components(theirs(flat).numpy(), "e3nn", axis=-1)[:, None, :, None]
    moment = expected.ravel()[0] / (scale * nn.SphereActivation(cube)({}, x / scale)).ravel()[0]
    np.testing.assert_allclose(moment, 15**-0.5, rtol=0.01)  # they draw random numbers for it
    assert_parity(scale * nn.SphereActivation(cube)({}, x / scale) * moment, expected)


def test_polynomials_and_their_gradients_are_equivariant(rng):
    x = features(rng, 3, 2, 9, 2)
    assert_equivariant(lambda x: nn.SphereActivation(cube)({}, x), x)
    assert_equivariant(torch_gradient(lambda x: nn.SphereActivation(cube)({}, x)), torch.from_numpy(x))


def test_any_function_commutes_with_octahedral_rotations_and_inversions(rng):
    x = features(rng, 3, 2, 9, 2)
    params = random_parameters(nn.SphereActivation(nn.Residual(nn.Gate())), rng, (x,), {})
    for layer in (nn.SphereActivation(nn.gelu), nn.SphereActivation(nn.Residual(nn.Gate()))):
        assert_equivariant(lambda x, layer=layer: layer(params, x), x, rotation=QUARTER)


def test_errors_of_other_rotations_fall_with_the_precision(rng):
    x = features(rng, 3, 1, 9, 2)
    errors = [equivariance_error(lambda x, n=n: nn.SphereActivation(nn.silu, n)({}, x), x) for n in (4, 11, 29, 47)]
    assert errors[0] > 10 * errors[1] > 100 * errors[2] > 100 * errors[3]


def test_values_on_the_grid_are_those_of_the_function(rng):
    x, grid, found = features(rng, 1, 9, 2), so3.delley_quadrature(8)[0], []
    nn.SphereActivation(lambda values: found.append(values) or values)({}, x)
    assert_parity(found[0][:, 0, 0], so3.spherical_harmonics(grid, 2) @ x[0])


def test_layers_at_points_have_parameters(rng):
    layer = nn.SphereActivation(Points())
    assert paths(layer.parameters(Layout(2, 3))) == [
        f"activation.{n}.0+.{k}" for n in ("out", "in") for k in ("kernel", "bias")
    ]
    assert layer.output_layout(Layout(2, 3)) == Layout(2, 2)
    assert_libraries_agree(layer, rng, (features(rng, 2, 1, 9, 3),))


def test_libraries_agree(rng):
    assert_libraries_agree(nn.SphereActivation(), rng, (features(rng, 2, 2, 4, 3),))


def test_dtypes_are_kept(rng):
    assert_dtypes_are_kept(nn.SphereActivation(), rng, (features(rng, 2, 2, 4, 3),))


def test_transformations_of_jax_agree(rng):
    assert_transformations_agree(nn.SphereActivation(nn.gelu), rng, (features(rng, 2, 2, 4, 3),))


@pytest.mark.parametrize("shape", [(0, 1, 4, 3), (2, 2, 4, 0), (1, 4, 3)])
def test_leading_axes_and_emptiness_are_kept(library, shape):
    x = np.ones(shape)
    assert tuple(compiled(library, lambda x: nn.SphereActivation()({}, x))(library.array(x)).shape) == shape


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.SphereActivation(grid_precision=3), "expected grid_precision >= 4 for degree 2, got 3"),
        (nn.SphereActivation(lambda f: f[:1]), r"of shape \(3, 50, 1, 1, features\), got \(1, 50, 1, 1, 2\)"),
        (nn.SphereActivation(lambda f: None), r"expected activated values of shape .*, got \(\)"),
    ],
)
def test_what_does_not_fit_raises(layer, message):
    with pytest.raises(ValueError, match=message):
        layer({}, np.ones((3, 1, 9, 2)))
