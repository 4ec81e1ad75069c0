"""Arrays and settings as they come: other byte orders, masks, flags that are no bools."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("ase")
pytest.importorskip("vesin")

import e3any_ase
from ase import Atoms
from ase.build import bulk

CRYSTAL = bulk("Cu", cubic=True)
ARRAYS = {"numbers": CRYSTAL.numbers, "positions": CRYSTAL.positions, "cell": CRYSTAL.cell.array}
EXPECTED = e3any_ase.from_arrays(**ARRAYS, pbc=True, cutoff=4.0)


def masked(x):
    return np.ma.masked_array(x, mask=np.eye(*np.shape(x)) if np.ndim(x) > 1 else np.arange(len(x)) == 1)


@pytest.mark.parametrize("finder", ["vesin", "matscipy"])
@pytest.mark.parametrize("dtype", [">f8", "<f8", ">f4"])
def test_positions_and_cells_of_any_byte_order_have_the_same_edges(dtype, finder):
    pytest.importorskip(finder)
    arrays = {name: x.astype(dtype) for name, x in ARRAYS.items() if name != "numbers"}
    found = e3any_ase.from_arrays(ARRAYS["numbers"].astype(">i4"), **arrays, pbc=True, cutoff=4.0, finder=finder)
    for name, x in found.items():
        assert x.dtype.isnative
        if name not in ("dst_idx", "src_idx", "shifts"):
            np.testing.assert_allclose(x, EXPECTED[name], rtol=1e-7)
    rows = [np.column_stack([s["dst_idx"], s["src_idx"], s["shifts"]]) for s in (found, EXPECTED)]
    np.testing.assert_array_equal(*(np.unique(x, axis=0) for x in rows))
    # So do dense lists of structures that were kept in a file of that order.
    swapped = {name: x.astype(x.dtype.newbyteorder(">")) for name, x in EXPECTED.items()}
    dense, expected = e3any_ase.to_dense(swapped), e3any_ase.to_dense(EXPECTED)
    for name, x in expected.items():
        np.testing.assert_array_equal(dense[name], x)
        assert dense[name].dtype.isnative or name in ("numbers", "positions", "cell")


@pytest.mark.parametrize("name", [*ARRAYS, "pbc"])
def test_masked_arrays_are_refused(name):
    arrays = {**ARRAYS, "pbc": np.ones(3, bool)}
    with pytest.raises(TypeError, match=rf"^{name}: expected a numpy.ndarray, got MaskedArray: fill in what is masked"):
        e3any_ase.from_arrays(**arrays | {name: masked(arrays[name])}, cutoff=4.0)


def test_masked_labels_are_refused():
    atoms = Atoms("H2", np.eye(3)[:2])
    atoms.info["REF_stress"] = masked(np.ones((3, 3)))
    with pytest.raises(TypeError, match=r"'REF_stress': expected a numpy.ndarray, got MaskedArray"):
        e3any_ase.from_atoms(atoms, cutoff=2.0, labels={"stress": "REF_stress"})


@pytest.mark.parametrize("pbc", [1, "TFT", "false", None, [1, 1, 0], [True, False], np.ones(3), [True, None, True]])
def test_boundaries_are_bools(pbc):
    with pytest.raises(ValueError, match="expected pbc to be True or False, or three of them, got"):
        e3any_ase.neighbours(ARRAYS["positions"], ARRAYS["cell"], pbc, cutoff=4.0)


@pytest.mark.parametrize("pbc", [True, np.True_, [True] * 3, (np.True_,) * 3, np.ones(3, bool), CRYSTAL.pbc])
def test_boundaries_may_be_bools_of_any_kind(pbc):
    found = e3any_ase.neighbours(ARRAYS["positions"], ARRAYS["cell"], pbc, cutoff=4.0)
    assert len(found.dst_idx) == len(EXPECTED["dst_idx"])


@pytest.mark.parametrize("sort", [1, 0, "no", None, np.ones(1)])
def test_sort_is_a_bool(sort):
    with pytest.raises(ValueError, match="expected sort to be True or False, got"):
        e3any_ase.neighbours(ARRAYS["positions"], cutoff=4.0, sort=sort)
