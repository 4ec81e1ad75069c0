"""Conventions that users construct themselves."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from e3any import interop, plot, so3

DEGREE = 5


def drawn(seed):
    """Return a convention of random orders, signs, axes and normalisations."""
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(np.arange(-l, l + 1)) for l in range(DEGREE + 1)]
    signs = rng.choice([-1, 1], size=(DEGREE + 1, 2 * DEGREE + 1))
    return interop.Convention(
        lambda l: orders[l],
        axes=[(0, 1, 2), (1, 2, 0), (2, 0, 1)][seed % 3],
        sign=lambda l, m: signs[l, m],
        normalization=("racah", "4pi", "orthonormal", "schmidt")[seed % 4],
        unit_couplings=bool(seed % 2),
        columns=bool(seed // 2 % 2),
        max_degree=DEGREE,
    )


class NoHash:
    """A function that cannot be a key."""

    __hash__ = None

    def __call__(self, l):
        return range(l, -l - 1, -1)


OWN = {f"drawn {seed}": drawn(seed) for seed in range(6)} | {"without hash": interop.Convention(NoHash())}
own = pytest.mark.parametrize("convention", OWN.values(), ids=list(OWN))


@pytest.mark.parametrize("name", interop.CONVENTIONS)
def test_conventions_written_down_again_give_the_same_numbers(name, rng):
    known = interop.CONVENTIONS[name]
    fields = {field.name: getattr(known, field.name) for field in dataclasses.fields(known)}
    again = interop.Convention(**fields | {"orders": lambda l: list(known.orders(l))})
    degree = 4
    y = so3.spherical_harmonics(rng.normal(size=(7, 3)), degree, normalization="racah")
    d = so3.wigner_d(so3.random_rotation(rng, num=2), degree)
    cg = so3.clebsch_gordan(2, 2, 3)
    x = rng.normal(size=(3, 2, (degree + 1) ** 2, 16))
    irreps = [(l, p) for l in range(degree + 1) for p in (1, -1)]
    for function, *arguments in (
        (interop.to_components, x),
        (interop.to_spherical_harmonics, y),
        (interop.to_wigner_d, d),
        (interop.to_clebsch_gordan, cg),
    ):
        expected = function(*arguments, name)
        np.testing.assert_array_equal(function(*arguments, again), expected)
        np.testing.assert_array_equal(function(*arguments, known), expected)
    np.testing.assert_array_equal(interop.to_features(x, again, irreps), interop.to_features(x, name, irreps))
    np.testing.assert_array_equal(interop.change_of_basis(again, degree), interop.change_of_basis(name, degree))


def test_e3nn_under_another_name_gives_harmonics_of_e3nn(rng):
    o3, torch = pytest.importorskip("e3nn.o3"), pytest.importorskip("torch")
    convention = interop.Convention(lambda l: range(-l, l + 1), (2, 0, 1), normalization="4pi", unit_couplings=True)
    r = rng.normal(size=(20, 3))
    y = interop.to_spherical_harmonics(so3.spherical_harmonics(r, DEGREE, normalization="racah"), convention)
    theirs = o3.spherical_harmonics(list(range(DEGREE + 1)), torch.from_numpy(r), True, "component").numpy()
    np.testing.assert_allclose(y, theirs, atol=1e-12)


@own
def test_what_goes_to_an_own_convention_comes_back(convention, rng):
    y = so3.spherical_harmonics(rng.normal(size=(7, 3)), DEGREE, normalization="racah")
    d = so3.wigner_d(so3.random_rotation(rng), DEGREE)
    cg = so3.clebsch_gordan(2, 3, 4)
    for to, back, x in (
        (interop.to_components, interop.from_components, rng.normal(size=(4, (DEGREE + 1) ** 2, 33))),
        (interop.to_spherical_harmonics, interop.from_spherical_harmonics, y),
        (interop.to_wigner_d, interop.from_wigner_d, d),
        (interop.to_clebsch_gordan, interop.from_clebsch_gordan, cg),
    ):
        np.testing.assert_allclose(back(to(x, convention), convention), x, atol=1e-13)


@own
def test_components_of_an_own_convention_rotate_as_its_wigner_d_says(convention, rng):
    rotation, r = so3.random_rotation(rng), rng.normal(size=(9, 3))
    d = interop.to_wigner_d(so3.wigner_d(rotation, DEGREE), convention)
    before, after = (
        interop.to_spherical_harmonics(so3.spherical_harmonics(x, DEGREE, normalization="racah"), convention)
        for x in (r, r @ rotation)
    )
    np.testing.assert_allclose(before @ (d.T if convention.columns else d), after, atol=1e-12)
    np.testing.assert_allclose(d @ d.T, np.eye(len(d)), atol=1e-12)


@own
def test_couplings_of_an_own_convention_are_equivariant(convention, rng):
    cg = interop.to_clebsch_gordan(so3.clebsch_gordan(1, 2, 2), convention)
    d = interop.to_wigner_d(so3.wigner_d(so3.random_rotation(rng), 2), convention)
    d = d.T if convention.columns else d
    rotated = np.einsum("abc,ai,bj,ck->ijk", cg, d[:4, :4], d, d)
    np.testing.assert_allclose(rotated, cg, atol=1e-12)


def test_pictures_are_drawn_of_own_conventions():
    pytest.importorskip("plotly")
    assert plot.spherical_harmonics(2, convention=drawn(1)).data


ORDERS = {
    "too few": lambda l: range(l),
    "twice": lambda l: [0] * (2 * l + 1),
    "text": lambda l: ["0"] * (2 * l + 1),
    "fractions": lambda l: [m + 0.5 for m in range(-l, l + 1)],
}


@pytest.mark.parametrize("name", ORDERS)
def test_orders_that_are_not_all_orders_are_refused(name):
    with pytest.raises(ValueError, match=r"expected orders of degree . to be all of"):
        interop.change_of_basis(interop.Convention(ORDERS[name]), 1)


@pytest.mark.parametrize("sign", [0, 2, 1j, "1", None, float("nan")])
def test_signs_other_than_one_are_refused(sign):
    with pytest.raises(ValueError, match="expected the sign of degree 0 and order 0 to be 1 or -1, got"):
        interop.change_of_basis(interop.Convention(lambda l: range(-l, l + 1), sign=lambda l, m: sign), 1)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"orders": [0]}, TypeError),
        ({"sign": 1}, TypeError),
        ({"axes": (1, 0, 2)}, ValueError),
        ({"axes": (0, 1)}, ValueError),
        ({"axes": (0, 0, 0)}, ValueError),
        ({"axes": 3}, ValueError),
        ({"normalization": "component"}, ValueError),
        ({"unit_couplings": 1}, ValueError),
        ({"columns": None}, ValueError),
        ({"max_degree": -1}, ValueError),
        ({"max_degree": 2.0}, ValueError),
    ],
    ids=repr,
)
def test_fields_are_checked_when_a_convention_is_made(fields, error):
    (name,) = fields
    with pytest.raises(error, match=f"expected (a )?{name} "):
        interop.Convention(**{"orders": lambda l: range(-l, l + 1)} | fields)


def test_degrees_beyond_an_own_convention_are_refused():
    with pytest.raises(ValueError, match=r"expected max_degree <= 5 for Convention\(.*, got 6"):
        interop.change_of_basis(drawn(0), 6)
