"""Tensor products."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from backends_matrix import Library
from layer_cases import (
    assert_dtypes_are_kept,
    assert_equals_e3x,
    assert_libraries_agree,
    assert_transformations_agree,
    features,
    paths,
    random_parameters,
    torch_gradient,
    tree_map,
)

from e3any import nn, so3
from e3any.conventions import degree_slice
from e3any.testing import assert_equivariant, assert_parity


def factors(rng, p1, l1, p2, l2, *, lead=(), size=2):
    return features(rng, *lead, p1, (l1 + 1) ** 2, size), features(rng, *lead, p2, (l2 + 1) ** 2, size)


def parity(axis, slot, l):
    return l % 2 if axis == 1 else slot


def by_definition(x, y, kernel):
    """Sum the couplings of irreps one after the other."""
    p1, n1, p2, n2, p3, n3, size = kernel.shape
    z = np.zeros((*x.shape[:-3], p3, n3**2, size))
    for a, l1, b, l2, c, l3 in np.ndindex(p1, n1, p2, n2, p3, n3):
        if not abs(l1 - l2) <= l3 <= l1 + l2 or (parity(p1, a, l1) + parity(p2, b, l2) + parity(p3, c, l3)) % 2:
            continue
        table = so3.clebsch_gordan(l1, l2, l3)[degree_slice(l1), degree_slice(l2), degree_slice(l3)]
        blocks = x[..., a, degree_slice(l1), :], y[..., b, degree_slice(l2), :]
        product = np.einsum("...if,...jf,ijk->...kf", *blocks, table)
        z[..., c, degree_slice(l3), :] += kernel[a, l1, b, l2, c, l3] * product
    return z


@pytest.mark.parametrize(
    ("p1", "l1", "p2", "l2", "layer"),
    [
        (1, 0, 1, 0, nn.Tensor()),
        (1, 1, 1, 2, nn.Tensor()),
        (1, 1, 2, 1, nn.Tensor(max_degree=2)),
        (2, 2, 1, 1, nn.Tensor(max_degree=0, include_pseudotensors=False)),
        (2, 1, 2, 2, nn.Tensor(max_degree=1, include_pseudotensors=False)),
        (1, 0, 1, 2, nn.Tensor()),
        (2, 1, 2, 1, nn.Tensor(cartesian_order=False)),
        (1, 1, 1, 4, nn.Tensor(include_pseudotensors=False)),
        (2, 4, 2, 1, nn.Tensor(max_degree=4)),
    ],
)
def test_parameters_outputs_and_gradients_are_those_of_e3x(rng, p1, l1, p2, l2, layer):
    assert_equals_e3x(layer, rng, factors(rng, p1, l1, p2, l2, lead=(2,)))


def test_float32_is_as_precise_as_e3x(rng):
    assert_equals_e3x(nn.Tensor(), rng, factors(rng, 2, 1, 1, 2, lead=(3,)), dtype="float32")


@pytest.mark.parametrize(
    ("p1", "l1", "p2", "l2", "layer"),
    [
        (1, 0, 1, 3, nn.Tensor()),
        (1, 2, 1, 3, nn.Tensor(max_degree=5)),
        (2, 4, 2, 4, nn.Tensor(max_degree=4)),
        (1, 4, 2, 3, nn.Tensor(include_pseudotensors=False)),
        (2, 5, 1, 2, nn.Tensor(include_pseudotensors=False)),
        (1, 5, 1, 5, nn.Tensor(max_degree=2)),
    ],
)
def test_product_is_the_sum_of_all_couplings(rng, p1, l1, p2, l2, layer):
    x, y = factors(rng, p1, l1, p2, l2, lead=(3,))
    params = random_parameters(layer, rng, (x, y), {})
    expected = by_definition(x, y, params["kernel"])
    assert_parity(layer(params, x, y), expected)
    params, x, y = tree_map(torch.from_numpy, (params, x, y))
    assert_parity(layer(params, x, y), expected)


@pytest.mark.parametrize("leads", [((), ()), ((0,), (1,)), ((3, 1), (2,)), ((), (2, 1))])
def test_leading_axes_broadcast(library, rng, leads):
    x, y = features(rng, *leads[0], 1, 4, 2), features(rng, *leads[1], 2, 4, 2)
    params = random_parameters(nn.Tensor(), rng, (x, y), {})
    lead = np.broadcast_shapes(*leads)
    wide = (np.broadcast_to(a, (*lead, *a.shape[-3:])) for a in (x, y))
    z = nn.Tensor()(tree_map(library.array, params), library.array(x), library.array(y))
    assert_parity(z, nn.Tensor()(params, *wide))


def test_leading_axes_that_do_not_broadcast_are_refused(library, rng):
    x, y = library.array(features(rng, 2, 4, 1, 1, 1)), library.array(features(rng, 3, 1, 1, 1))
    params = {"kernel": library.array(np.ones((1, 1, 1, 1, 1, 1, 1)))}
    with pytest.raises(ValueError, match=r"expected leading axes that broadcast, got \(2, 4\) and \(3,\)"):
        nn.Tensor()(params, x, y)


@pytest.mark.parametrize(("p1", "p2"), [(1, 1), (2, 1), (2, 2)])
def test_libraries_agree(rng, p1, p2):
    assert_libraries_agree(nn.Tensor(), rng, factors(rng, p1, 2, p2, 1, lead=(3,)))


def test_libraries_agree_at_high_degrees(rng):
    assert_libraries_agree(nn.Tensor(4), rng, factors(rng, 1, 4, 2, 1))


@pytest.mark.parametrize("include_pseudotensors", [True, False])
@pytest.mark.parametrize(("p1", "p2"), [(1, 1), (1, 2), (2, 2)])
def test_layer_and_its_gradient_are_equivariant(rng, p1, p2, include_pseudotensors):
    layer = nn.Tensor(include_pseudotensors=include_pseudotensors)
    x, y = factors(rng, p1, 3, p2, 4, lead=(2,))
    params = random_parameters(layer, rng, (x, y), {})
    assert_equivariant(lambda x, y: layer(params, x, y), x, y)
    params, x, y = tree_map(torch.from_numpy, (params, x, y))
    assert_equivariant(torch_gradient(lambda x, y: layer(params, x, y)), x, y)


def test_other_order_of_components_is_equivariant(rng):
    layer = nn.Tensor(cartesian_order=False)
    x, y = factors(rng, 2, 2, 1, 3)
    params = random_parameters(layer, rng, (x, y), {})
    assert_equivariant(lambda x, y: layer(params, x, y), x, y, cartesian_order=False)


def test_kernel_of_forbidden_couplings_has_no_effect(rng):
    x, y = factors(rng, 2, 2, 2, 2)
    params = random_parameters(nn.Tensor(), rng, (x, y), {})
    allowed = nn.initializers.allowed_couplings(*params["kernel"].shape[:6])[..., None]
    assert not allowed.all()
    zeroed = {"kernel": params["kernel"] * allowed}
    np.testing.assert_array_equal(nn.Tensor()(zeroed, x, y), nn.Tensor()(params, x, y))


def test_transformations_of_jax_agree(rng):
    assert_transformations_agree(nn.Tensor(), rng, factors(rng, 2, 1, 1, 1, lead=(2,)))


def test_dtypes_are_kept(rng):
    assert_dtypes_are_kept(nn.Tensor(), rng, factors(rng, 2, 2, 1, 2, lead=(2,)))


def test_dtype_of_the_computation_is_that_asked_for(library, rng):
    x, y = factors(rng, 1, 1, 1, 1)
    params = tree_map(library.array, random_parameters(nn.Tensor(), rng, (x, y), {}))
    z = nn.Tensor(dtype="float32")(params, library.array(x), library.array(y))
    assert_parity(z, nn.Tensor()(params, library.array(x), library.array(y)), "float32")


def test_parameter_is_one_kernel_for_all_paths(rng):
    specs = nn.Tensor(3).parameters(*factors(rng, 2, 1, 1, 2, size=5))
    assert paths(specs) == ["kernel"]
    assert specs["kernel"].shape == (2, 2, 1, 3, 2, 4, 5)


@pytest.mark.parametrize("shape", [(4, 3), (3, 4, 3), (0, 4, 3), (1, 5, 3), (1, 0, 3)])
def test_shapes_that_are_not_those_of_features_are_refused(library, shape):
    x, wrong = library.array(np.ones((1, 4, 3))), library.array(np.ones(shape))
    for name, inputs in (("inputs1", (wrong, x)), ("inputs2", (x, wrong))):
        with pytest.raises(ValueError, match=rf"expected {name} of shape \(\.\.\., 1 or 2, \(max_degree\+1\)\*\*2, f"):
            nn.Tensor()({}, *inputs)


def test_factors_of_different_numbers_of_features_are_refused(library):
    x, y = library.array(np.ones((1, 4, 3))), library.array(np.ones((1, 4, 1)))
    with pytest.raises(ValueError, match="expected factors with equal numbers of features, got 3 and 1"):
        nn.Tensor()({}, x, y)


def test_degrees_that_no_coupling_reaches_are_refused(library):
    x, y = library.array(np.ones((1, 4, 3))), library.array(np.ones((1, 9, 3)))
    with pytest.raises(ValueError, match="expected max_degree <= 3 for factors of degrees 1 and 2, got 4"):
        nn.Tensor(4)({}, x, y)


def test_factors_of_different_libraries_are_refused(rng):
    x, y = factors(rng, 1, 1, 1, 1)
    with pytest.raises(TypeError, match="expected arrays of one library, got both"):
        nn.Tensor()({}, x, Library.TORCH.array(y))


@pytest.mark.parametrize("degree", [-1, 2.0, True, "4"])
def test_degree_that_is_no_integer_or_negative_is_refused(degree):
    with pytest.raises(ValueError, match="expected max_degree to be an integer >= 0, got"):
        nn.Tensor(degree)


def test_missing_and_misshapen_parameters_are_refused(library, rng):
    x, y = (library.array(a) for a in factors(rng, 1, 1, 2, 0))
    with pytest.raises(ValueError, match="expected a parameter 'kernel', got a tree that has weight there"):
        nn.Tensor()({"weight": x}, x, y)
    expected = r"expected parameter 'kernel' of shape \(1, 2, 2, 1, 2, 2, 2\), got \(1, 2, 1, 1, 2, 2, 2\)"
    with pytest.raises(ValueError, match=expected):
        nn.Tensor()({"kernel": library.array(np.ones((1, 2, 1, 1, 2, 2, 2)))}, x, y)
