"""Powers of features, and the basis of their couplings."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from layer_cases import (
    assert_dtypes_are_kept,
    assert_libraries_agree,
    assert_transformations_agree,
    features,
    paths,
    random_parameters,
)

from e3any import Layout, nn, so3
from e3any.nn.layers.symmetric_basis import num_couplings, symmetric_couplings
from e3any.testing import assert_equivariant, assert_parity

LAYER = nn.SymmetricContraction(3, 3, max_degree=1)
Z = np.asarray([0, 2, 2, 1, 7])
layouts = pytest.mark.parametrize("layout", [Layout(1, 2), Layout(2, 2), Layout(1, 2, pseudotensors=True)], ids=str)


def multiplicity(layout, order, degree, parity):
    """Count an irrep in the symmetric power of a feature by its characters.

    The character of a power is a polynomial in those of the rotations by once, twice, three times the angle, and so for
    improper ones; the measure of rotations by an angle is (1 - cos) / pi.
    """
    irreps = [(l, p if layout.pseudotensors else l % 2) for p in range(layout.num_parities) for l in range(3)]
    irreps = [(l, p) for l, p in irreps if l <= layout.max_degree]
    angles = (np.arange(400) + 0.5) * np.pi / 400

    def rotation(l, angle):
        return 1 + 2 * sum(np.cos(m * angle) for m in range(1, l + 1))

    def trace(power, improper):
        return sum((-1) ** (p * power * improper) * rotation(l, power * angles) for l, p in irreps)

    total = 0.0
    for improper in (0, 1):
        t1, t2, t3 = (trace(n, improper) for n in (1, 2, 3))
        power = {1: t1, 2: (t1**2 + t2) / 2, 3: (t1**3 + 3 * t1 * t2 + 2 * t3) / 6}[order]
        inner = power * (-1) ** (improper * parity) * rotation(degree, angles) * (1 - np.cos(angles))
        total += inner.mean() / 2
    return total


@layouts
@pytest.mark.parametrize("order", [1, 2, 3])
def test_couplings_are_as_many_as_characters_say(layout, order):
    for degree, parity in itertools.product(range(4), range(2)):
        number = num_couplings(layout.max_degree, layout.num_parities, order, degree, parity)
        assert number == pytest.approx(multiplicity(layout, order, degree, parity), abs=1e-9)


@pytest.mark.parametrize(("max_degree", "num_parities", "order", "degree"), [(2, 1, 3, 2), (1, 2, 3, 1), (3, 1, 2, 4)])
def test_couplings_are_independent(max_degree, num_parities, order, degree):
    for parity in (0, 1):
        table = symmetric_couplings(max_degree, num_parities, order, degree, parity, True)
        if len(table):
            assert np.linalg.matrix_rank(table, tol=1e-3) == len(table)


def test_couplings_are_those_of_cuequivariance():
    cue = pytest.importorskip("cuequivariance")
    irreps = cue.Irreps("O3", "0e + 1o + 2e")
    for order, (degree, name) in itertools.product((2, 3), enumerate(("0e", "1o", "2e"))):
        basis = cue.reduced_symmetric_tensor_product_basis(irreps, order, keep_ir=name, layout=cue.ir_mul)
        theirs = basis.array.shape[-1] // (2 * degree + 1)
        assert num_couplings(2, 1, order, degree, degree % 2) == theirs


def test_first_order_is_a_choice_of_weights(rng):
    x = features(rng, 5, 2, 4, 2)
    layer = nn.SymmetricContraction(8, 1)
    params = random_parameters(layer, rng, (x, Z), {})
    y = layer(params, x, Z)
    for name, p, degree in (("0+", 0, 0), ("1+", 0, 1), ("0-", 1, 0), ("1-", 1, 1)):
        block = np.s_[:, p, degree**2 : (degree + 1) ** 2, :]
        assert_parity(y[block], params[name]["weight1"][Z] * x[block])


def test_second_order_has_the_square_of_the_norm(rng):
    x = features(rng, 5, 1, 4, 2)
    layer = nn.SymmetricContraction(8, 2, max_degree=0)
    y, swapped = (layer(params, x, Z) for params in second_order(rng, layer, x))
    both = np.stack([x[:, 0, 0] ** 2, (x[:, 0, 1:] ** 2).sum(axis=1) / np.sqrt(3)])
    found = np.stack([y[:, 0, 0], swapped[:, 0, 0]])
    assert_parity(np.sort(np.abs(found), axis=0), np.sort(np.abs(both), axis=0))


def second_order(rng, layer, x):
    """Yield parameters that choose the one, and the other, coupling of two to a scalar."""
    for which in range(2):
        params = random_parameters(layer, rng, (x, Z), {})
        params["0+"]["weight1"][:] = 0
        params["0+"]["weight2"][:] = np.eye(2)[which][:, None]
        yield params


@layouts
def test_rotating_inputs_rotates_outputs(rng, layout):
    x = features(rng, 5, *layout.shape)
    params = random_parameters(LAYER, rng, (x, Z), {})
    assert_equivariant(lambda x: LAYER(params, x, Z), x)


def test_orders_of_components_agree(rng):
    x = features(rng, 5, 1, 9, 2)
    layers = [nn.SymmetricContraction(3, 3, cartesian_order=order) for order in (True, False)]
    params = random_parameters(layers[0], rng, (x, Z), {})
    order = ascending(2)
    ours, other = layers[0](params, x, Z), layers[1](params, x[..., order, :], Z)
    assert_parity(other, ours[..., order, :])


def ascending(max_degree):
    """Return the position in Cartesian order of every component in ascending order."""
    r = np.random.default_rng(0).normal(size=(30, 3))
    ours, other = (so3.spherical_harmonics(r, max_degree, cartesian_order=order) for order in (True, False))
    return [int(np.abs(ours - other[:, [i]]).sum(axis=0).argmin()) for i in range(other.shape[1])]


def test_libraries_agree(rng):
    assert_libraries_agree(LAYER, rng, (features(rng, 5, 2, 4, 2), Z))


def test_transformations_of_jax_agree(rng):
    assert_transformations_agree(nn.SymmetricContraction(3, 2), rng, (features(rng, 5, 1, 4, 2), Z))


def test_dtypes_are_kept(rng):
    assert_dtypes_are_kept(LAYER, rng, (features(rng, 5, 1, 4, 2), Z))


def test_parameters_have_names_of_irreps_and_orders():
    names = paths(LAYER.parameters(Layout(1, 4)))
    assert sorted(names) == sorted(f"{irrep}.weight{order}" for irrep in ("0+", "1-") for order in (1, 2, 3))


def test_categories_out_of_range_give_zeros(rng):
    x = features(rng, 5, 1, 4, 2)
    y = LAYER(random_parameters(LAYER, rng, (x, Z), {}), x, Z)
    assert not y[-1].any()
    assert y[:-1].any()
