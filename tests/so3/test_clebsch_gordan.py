"""Clebsch-Gordan coefficients."""

from __future__ import annotations

import e3x
import numpy as np
import pytest
import sympy
from backends_matrix import Library
from sympy.physics.quantum.cg import CG

from e3any.config import Config
from e3any.conventions import degree_slice
from e3any.so3 import clebsch_gordan, clebsch_gordan_for_degrees, spherical_harmonics
from e3any.so3.clebsch_gordan import _complex_coefficients

ROOT2 = np.sqrt(0.5)


@pytest.mark.parametrize("cartesian_order", [True, False])
def test_coefficients_equal_those_of_e3x(cartesian_order):
    actual = clebsch_gordan(6, 6, 6, cartesian_order)
    expected = np.asarray(e3x.so3.clebsch_gordan(6, 6, 6, cartesian_order=cartesian_order))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(actual == 0, expected == 0)


@pytest.mark.parametrize("degrees", [(7, 8, 9), (10, 3, 8), (12, 12, 11), (15, 15, 0), (14, 15, 15)])
def test_coefficients_of_high_degrees_equal_those_of_e3x(degrees):
    expected = np.asarray(e3x.so3.clebsch_gordan_for_degrees(*degrees))
    np.testing.assert_allclose(clebsch_gordan_for_degrees(*degrees), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("l1", "m1", "l2", "m2", "l3"),
    [(1, 0, 1, 0, 2), (3, -2, 4, 1, 5), (10, 7, 9, -3, 8), (20, -3, 21, 5, 22), (25, 3, 25, -7, 25)]
    + [(30, 11, 40, -20, 50), (60, 1, 60, -3, 60), (60, 40, 59, -41, 58), (60, 60, 60, 0, 120)],
)
def test_complex_coefficients_are_exact(l1, m1, l2, m2, l3):
    expected = float(sympy.N(CG(l1, m1, l2, m2, l3, m1 + m2).doit(), 30))
    np.testing.assert_allclose(_complex_coefficients(l1, l2, l3)[l1 + m1, l2 + m2], expected, rtol=1e-13)


def test_cross_product_has_a_positive_sign():
    table = clebsch_gordan_for_degrees(1, 1, 1)
    x, y, z = range(3)
    assert table[x, y, z] == pytest.approx(ROOT2)
    assert table[y, x, z] == pytest.approx(-ROOT2)
    np.testing.assert_array_equal(np.argwhere(table > 0), [[x, y, z], [y, z, x], [z, x, y]])


def test_dot_product_is_a_multiple_of_the_identity():
    np.testing.assert_allclose(clebsch_gordan_for_degrees(1, 1, 0)[..., 0], np.eye(3) / np.sqrt(3), atol=1e-15)


@pytest.mark.parametrize("degrees", [(0, 0, 0), (1, 1, 1), (3, 5, 6), (17, 18, 19), (20, 20, 20), (40, 30, 25)])
@pytest.mark.parametrize("cartesian_order", [True, False])
def test_coefficients_are_orthonormal(degrees, cartesian_order):
    table = clebsch_gordan_for_degrees(*degrees, cartesian_order)
    matrix = table.reshape(-1, table.shape[-1])
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(table.shape[-1]), rtol=0, atol=1e-13)


def test_coefficients_of_a_product_of_degrees_form_an_orthogonal_matrix():
    matrix = np.concatenate([clebsch_gordan_for_degrees(3, 4, l).reshape(63, -1) for l in range(1, 8)], axis=1)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(63), rtol=0, atol=1e-13)


def test_coefficients_of_degree_60_are_orthonormal():
    table = clebsch_gordan_for_degrees(60, 60, 60)
    matrix = table.reshape(-1, 121)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(121), rtol=0, atol=1e-12)


@pytest.mark.parametrize("degrees", [(1, 1, 3), (0, 1, 0), (5, 2, 2), (2, 2, 5)])
def test_degrees_that_do_not_couple_have_zero_coefficients(degrees):
    table = clebsch_gordan_for_degrees(*degrees)
    assert table.shape == tuple(2 * degree + 1 for degree in degrees)
    assert not table.any()


def test_coupling_harmonics_of_one_vector_gives_harmonics(rng):
    y = spherical_harmonics(rng.normal(size=(3,)), 7)
    for l1, l2, l3 in [(1, 1, 2), (2, 3, 5), (3, 4, 1), (2, 3, 4), (3, 3, 3)]:
        table = clebsch_gordan_for_degrees(l1, l2, l3)
        coupled = np.einsum("abc,a,b->c", table, y[degree_slice(l1)], y[degree_slice(l2)])
        target = y[degree_slice(l3)]
        # Coupling with odd l1 + l2 + l3 is a pseudotensor, of which one vector has none.
        factor = 0.0 if (l1 + l2 + l3) % 2 else coupled @ target
        np.testing.assert_allclose(coupled, factor * target, rtol=0, atol=1e-14)


def test_table_of_all_degrees_is_assembled_from_blocks():
    table = clebsch_gordan(2, 3, 4)
    assert table.shape == (9, 16, 25)
    assert table.dtype == np.float64
    for l1, l2, l3 in np.ndindex(3, 4, 5):
        block = table[degree_slice(l1), degree_slice(l2), degree_slice(l3)]
        np.testing.assert_array_equal(block, clebsch_gordan_for_degrees(l1, l2, l3))


def test_zeros_are_exact_and_others_are_not_small():
    table = clebsch_gordan(8, 8, 8)
    assert not np.signbit(table[table == 0]).any()
    assert np.abs(table[table != 0]).min() > 1e-4


def test_changing_a_table_changes_no_other():
    for cartesian_order in (True, False):
        table = clebsch_gordan_for_degrees(1, 1, 1, cartesian_order)
        table[...] = 7.0
        assert np.abs(clebsch_gordan_for_degrees(1, 1, 1, cartesian_order)).max() < 1.0


def test_table_is_made_in_the_namespace_asked_for(library: Library):
    for table in (clebsch_gordan_for_degrees(1, 2, 2, xp=library.xp), clebsch_gordan(1, 2, 2, xp=library.xp)):
        assert library.owns(table)
        assert "float64" in str(table.dtype)
    np.testing.assert_array_equal(library.numpy(table), clebsch_gordan(1, 2, 2))


def test_defaults_are_those_set_at_the_time_of_the_call():
    expected = clebsch_gordan(1, 1, 2, cartesian_order=False)
    assert not np.allclose(clebsch_gordan(1, 1, 2), expected)
    with Config.use(cartesian_order=False):
        np.testing.assert_array_equal(clebsch_gordan(1, 1, 2), expected)
        np.testing.assert_array_equal(clebsch_gordan_for_degrees(1, 1, 2), expected[1:, 1:, 4:])


@pytest.mark.parametrize("position", range(3))
@pytest.mark.parametrize("degree", [-1, 1.0, "2", True])
def test_degree_that_is_no_integer_or_negative_is_refused(position, degree):
    degrees = [1, 1, 1]
    degrees[position] = degree
    with pytest.raises(ValueError, match=f"expected max_degree{position + 1} .* >= 0, got {degree!r}"):
        clebsch_gordan(*degrees)
    with pytest.raises(ValueError, match=f"expected degree{position + 1} .* >= 0, got {degree!r}"):
        clebsch_gordan_for_degrees(*degrees)
