"""Quadrature rules for the unit sphere."""

from __future__ import annotations

import itertools
import logging

import e3x
import numpy as np
import pytest
from backends_matrix import Library
from scipy.integrate import lebedev_rule

from e3any.so3 import delley_quadrature, lebedev_quadrature, spherical_harmonics

LEBEDEV = {
    **{3: 6, 5: 14, 7: 26, 9: 38, 11: 50, 13: 74, 15: 86, 17: 110, 19: 146, 21: 170, 23: 194, 25: 230, 27: 266},
    **{29: 302, 31: 350, 35: 434, 41: 590, 47: 770, 53: 974, 59: 1202, 65: 1454, 71: 1730, 77: 2030, 83: 2354},
    **{89: 2702, 95: 3074, 101: 3470, 107: 3890, 113: 4334, 119: 4802, 125: 5294, 131: 5810},
}
DELLEY = {p: n for p, n in LEBEDEV.items() if 5 <= p <= 101 and p not in (9, 13, 15, 19, 21, 25, 27, 31)}
QUADRATURES = {"lebedev": (lebedev_quadrature, LEBEDEV), "delley": (delley_quadrature, DELLEY)}
RULES = [(name, precision) for name, (_, rules) in QUADRATURES.items() for precision in rules]

# The tables of e3x have 12 digits; the equations of large rules leave angles free by as much.
E3X_TOLERANCE = 1e-10


@pytest.fixture(params=list(QUADRATURES))
def name(request):
    return request.param


def means_of_harmonics(r: np.ndarray, w: np.ndarray, precision: int) -> np.ndarray:
    """Return the mean of every harmonic, of mean square 1, by a rule that has all reflections.

    Only those of even l and m = 0, 2, 4, ... are not zero by symmetry.
    """
    x, y, z = r.T
    means = []
    first = np.ones_like(z)
    real, imaginary = np.ones_like(x), np.zeros_like(x)
    for m in range(precision + 1):
        if m > 0:
            real, imaginary = x * real - y * imaginary, x * imaginary + y * real
            first = np.full_like(z, np.sqrt((2 * m + 1) / (2 * m) * (2 if m == 1 else 1)) * first[0])
        before, p = np.zeros_like(z), first
        for l in range(m, precision + 1):
            if l > m:
                n = (l - m) * (l + m)
                second = (2 * l + 1) * (l - m - 1) * (l + m - 1) / (n * (2 * l - 3)) if l > m + 1 else 0.0
                before, p = p, np.sqrt((2 * l - 1) * (2 * l + 1) / n) * z * p - np.sqrt(second) * before
            if l % 2 == 0 and m % 2 == 0:
                means.append(w @ (p * real))
    return np.asarray(means)


@pytest.mark.parametrize(("name", "precision"), RULES)
def test_harmonics_up_to_the_precision_are_integrated_exactly(name, precision):
    r, w = QUADRATURES[name][0](precision=precision)
    means = means_of_harmonics(r, w, precision)
    np.testing.assert_allclose(means, np.eye(len(means))[0], rtol=0, atol=1e-13)


@pytest.mark.parametrize(("name", "precision"), [rule for rule in RULES if rule[1] <= 23])
def test_all_harmonics_of_the_library_are_integrated_exactly(name, precision):
    r, w = QUADRATURES[name][0](precision=precision)
    means = w @ spherical_harmonics(r, precision, normalization="4pi")
    np.testing.assert_allclose(means, np.eye(len(means))[0], rtol=0, atol=1e-13)


def test_rules_are_no_more_precise_than_they_say(name):
    quadrature, rules = QUADRATURES[name]
    for precision in list(rules)[:4]:
        means = means_of_harmonics(*quadrature(precision=precision), precision + 1)
        assert np.abs(means[1:]).max() > 1e-3


@pytest.mark.parametrize(("name", "precision"), RULES)
def test_points_and_weights_are_those_of_e3x_in_the_same_order(name, precision):
    quadrature, rules = QUADRATURES[name]
    r, w = quadrature(precision=precision)
    expected = getattr(e3x.so3, f"{name}_quadrature")(precision=precision)
    assert r.shape == (rules[precision], 3)
    np.testing.assert_allclose(r, expected[0], rtol=0, atol=1e-14 if precision < 59 else E3X_TOLERANCE)
    np.testing.assert_allclose(w, expected[1], rtol=0, atol=1e-14 if precision < 59 else E3X_TOLERANCE)


@pytest.mark.parametrize("precision", [3, 13, 27, 53])
def test_rule_is_that_of_scipy_up_to_the_order_of_points(precision):
    r, w = lebedev_quadrature(precision=precision)
    x, weights = lebedev_rule(precision)
    ours, theirs = (a[np.lexsort(a.round(9).T)] for a in (np.c_[r, 4 * np.pi * w], np.c_[x.T, weights]))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("name", "precision"), [("lebedev", 131), ("lebedev", 27), ("delley", 101)])
def test_points_are_on_the_sphere_and_symmetric_to_the_last_digit(name, precision):
    r, w = QUADRATURES[name][0](precision=precision)
    np.testing.assert_allclose(np.linalg.norm(r, axis=1), 1, rtol=0, atol=3e-16)
    points = {(*p, weight) for p, weight in zip(r + 0.0, w)}
    for permutation in itertools.permutations(range(3)):
        assert {(*p, weight) for p, weight in zip(r[:, permutation] + 0.0, w)} == points
    assert {(*p, weight) for p, weight in zip(r * [1.0, 1.0, -1.0] + 0.0, w)} == points


def test_weights_are_negative_at_some_points_of_three_rules_of_lebedev():
    negative = [p for p in LEBEDEV if lebedev_quadrature(precision=p)[1].min() < 0]
    assert negative == [13, 25, 27]


def test_smallest_rule_of_the_precision_or_largest_within_the_number_is_chosen(name):
    quadrature, rules = QUADRATURES[name]
    for (p, n), (q, m) in itertools.pairwise(rules.items()):
        assert len(quadrature(precision=p + 1)[1]) == len(quadrature(precision=q)[1]) == m
        assert len(quadrature(num=m - 1)[1]) == len(quadrature(num=n)[1]) == n
    assert len(quadrature(precision=-3)[1]) == len(quadrature(precision=0)[1]) == min(rules.values())
    assert len(quadrature(num=10**6)[1]) == max(rules.values())


@pytest.mark.parametrize("options", [{"precision": 132}, {"num": 5}, {"num": -1}])
def test_rules_that_do_not_exist_give_the_closest_one_and_warn_where_e3x_does(name, caplog, options):
    with caplog.at_level(logging.WARNING):
        expected = getattr(e3x.so3, f"{name}_quadrature")(**options)
    assert caplog.records
    with pytest.warns(UserWarning, match=str(next(iter(options.values())))) as caught:
        r, w = QUADRATURES[name][0](**options)
    assert caught[0].filename == __file__
    np.testing.assert_allclose(r, expected[0], rtol=0, atol=E3X_TOLERANCE)
    np.testing.assert_allclose(w, expected[1], rtol=0, atol=E3X_TOLERANCE)


def test_arrays_are_of_the_namespace_and_float64(library: Library, name):
    r, w = QUADRATURES[name][0](5, xp=library.xp)
    for array in (r, w):
        assert library.owns(array)
        assert array.dtype == library.array(0.0, "float64").dtype


def test_results_may_be_written_to(name):
    quadrature = QUADRATURES[name][0]
    quadrature(5)[0][:] = 0.0
    assert quadrature(5)[0].any()


@pytest.mark.parametrize("options", [{}, {"precision": 3, "num": 6}])
def test_exactly_one_argument_is_needed(name, options):
    with pytest.raises(ValueError, match="expected exactly one of precision and num, got precision="):
        QUADRATURES[name][0](**options)


@pytest.mark.parametrize("value", [5.0, "5", True])
def test_other_numbers_than_integers_are_refused(name, value):
    for option in ("precision", "num"):
        with pytest.raises(ValueError, match=f"expected {option} to be an integer, got"):
            QUADRATURES[name][0](**{option: value})


@pytest.mark.parametrize("precision", [6, 23, 24, 26, 30])
def test_harmonics_at_the_points_are_orthonormal_in_single_precision(library: Library, name, precision):
    """The rule of Lebedev of precision 24 has a negative weight, whose points amplify errors near the poles."""
    r, w = (library.array(x, "float32") for x in QUADRATURES[name][0](precision))
    y = library.numpy(spherical_harmonics(r, precision // 2, r_is_normalized=True, normalization="4pi"))
    product = np.einsum("na,nb,n->ab", y, y, library.numpy(w))
    np.testing.assert_allclose(product, np.eye(y.shape[-1]), rtol=0.0, atol=8e-6)
