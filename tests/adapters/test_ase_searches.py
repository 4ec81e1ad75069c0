"""Searches for neighbours: refused or right, never a dead process or an endless one."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("ase")
pytest.importorskip("vesin")
pytest.importorskip("matscipy")

import e3any_ase
from ase.neighborlist import primitive_neighbor_list
from e3any_ase import search

CUTOFF = 4.0
PAIR = np.asarray([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
finders = pytest.mark.parametrize("finder", ["vesin", "matscipy"])


def edges(i, j, shifts):
    """Return edges as sorted rows (i, j, shift)."""
    rows = np.column_stack([i, j, shifts]).astype(int)
    return rows[np.lexsort(rows.T)]


def find(positions, cell=None, pbc=False, *, cutoff=CUTOFF, finder="vesin"):
    return edges(*e3any_ase.neighbours(positions, cell, pbc, cutoff=cutoff, finder=finder))


def without_library(monkeypatch):
    monkeypatch.setattr(search, "_fits_libraries", lambda grid: False)


@pytest.mark.parametrize("distance", [10.0, 1e3, 3.9e5, 4.1e5, 1e7, 4.2e9])
@finders
def test_far_groups_of_atoms_have_the_edges_that_they_have_alone(finder, distance):
    rng = np.random.default_rng(0)
    group = rng.integers(-(2**20), 2**20, (6, 3)) / 2**19  # the sum with a distance is exact
    alone = find(group, finder=finder)
    for axis in range(3):
        found = find(np.concatenate([group, group + np.floor(distance) * np.eye(3)[axis]]), finder=finder)
        both = np.concatenate([alone, alone + [6, 6, 0, 0, 0]])
        np.testing.assert_array_equal(found, both[np.lexsort(both.T)])


@pytest.mark.parametrize("length", [20.0, 1e3, 1e5, 1e7])
@pytest.mark.parametrize("pbc", [(True, True, True), (True, True, False), (False, False, True)])
@finders
def test_the_length_of_a_gap_does_not_matter(finder, pbc, length):
    rng = np.random.default_rng(0)
    positions = rng.uniform(0, 5, (10, 3))
    positions[-1, 2] = length / 2
    short = find(
        positions * [1, 1, 1] - [0, 0, 1] * (positions > 9) * (length / 2 - 10), np.diag([5.0, 5.0, 20.0]), pbc
    )
    np.testing.assert_array_equal(find(positions, np.diag([5.0, 5.0, length]), pbc, finder=finder), short)


@pytest.mark.parametrize("length", [1200.0, 1300.0, 5000.0])
@pytest.mark.parametrize("pbc", [(True, True, False), (False, False, False), (True, True, True)])
@finders
def test_large_sheets_have_the_edges_that_a_search_without_library_finds(finder, pbc, length, monkeypatch):
    positions = np.random.default_rng(0).uniform(0, 1, (3000, 3)) * [length, length, 1.0]
    positions[1::2] = positions[::2] + [1.0, 1.0, 0.0]
    cell = np.diag([length, length, 10.0])
    found = find(positions, cell, pbc, finder=finder)
    assert len(found) >= 2990
    without_library(monkeypatch)
    np.testing.assert_array_equal(found, find(positions, cell, pbc))


@pytest.mark.parametrize("skew", [0.4, 30.3, 3000.1, 30000.1])
@finders
def test_skewed_cells_have_as_many_edges_as_the_same_lattice(finder, skew):
    cell = np.asarray([[3.0, 0, 0], [np.floor(skew / 3) * 3 + 0.1, 3.0, 0], [0, 0, 3.0]])
    plain = np.asarray([[3.0, 0, 0], [0.1, 3.0, 0], [0, 0, 3.0]])
    found, expected = find(PAIR, cell, True, finder=finder), find(PAIR, plain, True, finder=finder)
    for each, box in ((found, cell), (expected, plain)):
        vectors = PAIR[each[:, 1]] - PAIR[each[:, 0]] + each[:, 2:] @ box
        assert (np.linalg.norm(vectors, axis=1) < CUTOFF).all()
    assert len(found) == len(expected) > 20


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    scales=st.lists(st.floats(-0.2, 3.0), min_size=3, max_size=3),
    pbc=st.lists(st.booleans(), min_size=3, max_size=3),
    spread=st.floats(-2.0, 1.0),
    cutoff=st.floats(1.0, 8.0),
)
def test_all_searches_agree(seed, scales, pbc, spread, cutoff):
    rng = np.random.default_rng(seed)
    lengths = 10.0 ** np.asarray(scales)
    cell = (np.eye(3) * rng.uniform(2, 4, 3) + rng.uniform(-1, 1, (3, 3))) * lengths
    positions = rng.uniform(-3, 3, (rng.integers(1, 20), 3)) @ cell * 10**spread
    found = [find(positions, cell, pbc, cutoff=cutoff, finder=finder) for finder in ("vesin", "matscipy")]
    with pytest.MonkeyPatch.context() as patch:
        without_library(patch)
        found.append(find(positions, cell, pbc, cutoff=cutoff))
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[1], found[2])


def test_a_search_without_library_finds_what_ase_finds(monkeypatch):
    without_library(monkeypatch)
    rng, total = np.random.default_rng(1), 0
    for _ in range(20):
        cell = rng.uniform(-1.2, 1.2, (3, 3)) + np.diag(rng.uniform(2.5, 5.0, 3))
        pbc, positions, cutoff = rng.random(3) < 0.6, rng.uniform(-0.5, 1.5, (9, 3)) @ cell, rng.uniform(1.0, 5.0)
        expected = edges(*primitive_neighbor_list("ijS", pbc, cell, positions, cutoff))
        np.testing.assert_array_equal(find(positions, cell, pbc, cutoff=cutoff), expected)
        total += len(expected)
    assert total > 1_000


def test_parts_of_a_search_without_library_make_the_whole(monkeypatch):
    without_library(monkeypatch)
    positions = np.random.default_rng(0).uniform(0, 20, (300, 3))
    whole = find(positions, 20 * np.eye(3), True)
    monkeypatch.setattr(sys.modules["e3any_ase.grid"], "_ROWS", 50)
    np.testing.assert_array_equal(find(positions, 20 * np.eye(3), True), whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positions": [[0, 0, 0], [np.nan, 0, 0]]}, "expected finite positions, got nan"),
        ({"positions": [[0, 0, 0], [0, -np.inf, 0]]}, "expected finite positions, got -inf"),
        ({"positions": [[0, 0, 0], [1e100, 0, 0]]}, r"expected positions up to 4.29e\+09.*got 1e\+100"),
        ({"positions": [[0, 0, 0], [0, 4.4e9, 0]]}, r"expected positions up to .*got 4.4e\+09.*shorter time steps"),
        ({"cutoff": 1e-300}, "expected positions up to"),
        ({"cell": np.diag([1, 1, np.inf]), "pbc": [True, True, False]}, "expected finite cell, got inf"),
        ({"cell": np.diag([5, 5, np.nan]), "pbc": True}, "expected finite cell, got nan"),
        ({"cell": 1e10 * np.eye(3), "pbc": True}, "expected vectors of the cell up to .*leave directions"),
        ({"cell": [[1, 0, 0], [1, 1e-9, 0], [0, 0, 1]], "pbc": True}, "expected at most 1e.08 pairs .*heights 1e-09"),
        ({"cell": [[1, 0, 0], [1, 1e-12, 0], [0, 0, 1]], "pbc": True}, "expected at most 1e.08 pairs"),
        ({"cell": [[1, 0, 0], [1, 1e-17, 0], [0, 0, 1]], "pbc": True}, "expected independent vectors"),
        ({"cell": 1e-3 * np.eye(3), "pbc": True}, "expected at most 1e.08 pairs .*collapsed"),
        ({"cell": 3 * np.eye(3), "pbc": True, "cutoff": 1000.0}, "expected at most 1e.08 pairs .*smaller cutoff"),
        ({"cell": 3 * np.eye(3), "pbc": True, "cutoff": 1e300}, "expected at most 1e.08 pairs"),
        ({"positions": np.zeros((20_000, 3))}, "expected at most 1e.08 pairs .*got 4e.08 for 20000 atoms"),
        ({"positions": PAIR + 4e9, "cell": np.eye(3), "pbc": True}, "expected positions within 2.*31 cells"),
    ],
)
@finders
def test_what_no_search_can_do_is_refused(finder, options, message):
    with pytest.raises(ValueError, match=message):
        find(**{"positions": PAIR, "finder": finder} | options)


@pytest.mark.parametrize("cutoff", [2.0, 1e5, 2e6, 1e300])
@finders
def test_cutoffs_may_be_longer_than_open_structures(finder, cutoff):
    np.testing.assert_array_equal(find(PAIR, cutoff=cutoff, finder=finder), [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]])


@finders
def test_chains_of_short_cells_have_all_their_images(finder):
    found = find(PAIR[:1], np.diag([1e-2, 0, 0]), [True, False, False], finder=finder)
    np.testing.assert_array_equal(np.sort(found[:, 2]), [*range(-399, 0), *range(1, 400)])
