"""Atoms and their neighbours as dictionaries of arrays, which models and :mod:`e3any.ops` take."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from ase import Atoms
from ase.io import read
from numpy.typing import ArrayLike, NDArray

from e3any import ops
from e3any.checks import check_integer
from e3any_ase.neighbours import Finder, neighbours, real_numbers

__all__ = ["Structure", "from_arrays", "from_atoms", "pad_structures", "read_structures", "to_dense"]

Structure: TypeAlias = dict[str, NDArray[Any]]

_OF_NODES = ("numbers", "positions", "forces")


def from_arrays(
    numbers: ArrayLike,
    positions: ArrayLike,
    cell: ArrayLike | None = None,
    pbc: bool | Sequence[bool] = False,
    *,
    cutoff: float,
    finder: Finder = "vesin",
) -> Structure:
    """Return atoms with the sparse list of their neighbours.

    Parameters
    ----------
    numbers : integer array of shape (N,)
        Atomic numbers.
    positions : array of shape (N, 3)
        Positions.
    cell : array of shape (3, 3), optional
        Vectors of the cell, as rows.
    pbc, cutoff, finder
        See :func:`neighbours`.

    Returns
    -------
    dict
        ``numbers`` (N,), ``positions`` (N, 3), ``cell`` (3, 3), ``dst_idx`` and ``src_idx`` (E,), ``dst_idx``
        ascending, and ``shifts`` (E, 3).

    Raises
    ------
    ValueError
        If there are not as many numbers as positions, or :func:`neighbours` raises one.
    TypeError
        If numbers are no integers, or :func:`neighbours` raises one.
    """
    z, r = np.asarray(numbers), real_numbers(positions, "positions")
    if z.size and z.dtype.kind not in "iu":
        raise TypeError(f"expected numbers to be integers, got dtype {z.dtype}")
    if z.shape != r.shape[:1]:
        raise ValueError(f"expected as many numbers as positions, got shapes {z.shape} and {r.shape}")
    box = np.zeros((3, 3)) if cell is None else real_numbers(cell, "cell")
    edges = neighbours(r, box, pbc, cutoff=cutoff, finder=finder)
    return {"numbers": z, "positions": r, "cell": box, **edges._asdict()}


def from_atoms(atoms: Atoms, *, cutoff: float, finder: Finder = "vesin") -> Structure:
    """Return atoms of ASE with the sparse list of their neighbours, and what their calculator has computed.

    Parameters
    ----------
    atoms : ase.Atoms
        The atoms.
    cutoff, finder
        See :func:`neighbours`.

    Returns
    -------
    dict
        What :func:`from_arrays` returns, and, of atoms whose calculator has results, ``energy`` () in eV, ``forces``
        (N, 3) in eV/Angstrom and ``stress`` (3, 3) in eV/Angstrom^3, those that are there.

    Raises
    ------
    ValueError
        If :func:`neighbours` raises one.
    TypeError
        If ``atoms`` are none of ASE, or the cutoff is no number.
    """
    if not isinstance(atoms, Atoms):
        raise TypeError(f"expected atoms of ASE, got {type(atoms).__name__}")
    structure = from_arrays(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, cutoff=cutoff, finder=finder)
    return structure | _labels(atoms)


def _labels(atoms: Atoms) -> Structure:
    """Return results that are there; nothing is computed."""
    if atoms.calc is None:
        return {}
    getters = {
        "energy": atoms.get_potential_energy,
        "forces": lambda: atoms.get_forces(apply_constraint=False),
        "stress": lambda: atoms.get_stress(voigt=False, apply_constraint=False),
    }
    found = [name for name in getters if atoms.calc.results.get(name) is not None]
    return {name: np.asarray(getters[name](), dtype=np.float64) for name in found}


def read_structures(
    file: str | os.PathLike[str],
    *,
    cutoff: float,
    index: str = ":",
    format: str | None = None,
    finder: Finder = "vesin",
) -> list[Structure]:
    """Read frames of an extxyz file, or of any other that ASE reads.

    Parameters
    ----------
    file : path
        The file.
    cutoff, finder
        See :func:`neighbours`.
    index : str
        Which frames, as a slice of Python; by default all.
    format : str, optional
        Name of the format in ASE; by default what the name of the file and its contents suggest.

    Returns
    -------
    list of dict
        What :func:`from_atoms` returns for every frame.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    frames = read(os.fspath(file), index=index, format=format)
    return [
        from_atoms(atoms, cutoff=cutoff, finder=finder) for atoms in ([frames] if isinstance(frames, Atoms) else frames)
    ]


def pad_structures(structures: Sequence[Mapping[str, Any]], **options: Any) -> Structure:
    """Pad structures with sparse lists to one number of atoms and one number of edges, and stack them.

    Parameters
    ----------
    structures : sequence of mappings
        Structures with the same names.
    **options
        Sizes, or how buckets grow; see :func:`e3any.ops.pad_graphs`.

    Returns
    -------
    dict
        The stacked arrays, and ``node_mask``, a bool array of shape (structures, atoms) that says which atoms are no
        padding.

    Raises
    ------
    ValueError
        If there are no structures, or one is too large.
    """
    nodes = [name for name in _OF_NODES if structures and name in structures[0]]
    return ops.pad_graphs(structures, nodes=nodes, edges=["shifts"], **options)


def to_dense(structure: Mapping[str, Any], *, num_nodes: int | None = None, width: int | None = None) -> Structure:
    """Return a structure whose list of neighbours is dense.

    Parameters
    ----------
    structure : mapping
        A structure with a sparse list.
    num_nodes : int, optional
        Number N of atoms afterwards; by default as many as there are.
    width : int, optional
        Number M of neighbours afterwards; by default the size of the smallest bucket, see
        :func:`e3any.ops.bucket_size`.

    Returns
    -------
    dict
        ``adj_idx`` (N, M) in place of ``dst_idx`` and ``src_idx``, ``shifts`` (N, M, 3), and all else as it was,
        atoms padded with zeros. Neighbours that are padding have the number N.

    Raises
    ------
    ValueError
        If there are more atoms than ``num_nodes``, or more neighbours of one than ``width``, sizes are no integers
        >= 0, or an array is missing.
    TypeError
        If the structure is no mapping.
    """
    lists = ("dst_idx", "src_idx", "shifts")
    if not isinstance(structure, Mapping):
        raise TypeError(f"expected a structure to be a mapping, got {type(structure).__name__}")
    if not {*lists, "positions"} <= set(structure):
        raise ValueError(f"expected arrays under {[*lists, 'positions']}, got {sorted(structure)}")
    for name, number in (("num_nodes", num_nodes), ("width", width)):
        if number is not None:
            check_integer(number, name)
    dst_idx, src_idx, shifts = (structure[name] for name in lists)
    size = len(structure["positions"]) if num_nodes is None else num_nodes
    padded = {
        name: ops.pad_rows(x, size) if name in _OF_NODES else x for name, x in structure.items() if name not in lists
    }
    counts = np.bincount(dst_idx, minlength=size)
    most = int(counts.max(initial=0))
    width = ops.bucket_size(most) if width is None else width
    if most > width:
        raise ValueError(f"expected at most {width} neighbours, got an atom with {most}")
    order = np.argsort(dst_idx, kind="stable")
    rows = dst_idx[order]
    at = rows, np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]
    padded["adj_idx"] = np.full((size, width), size, dtype=dst_idx.dtype)
    padded["shifts"] = np.zeros((size, width, 3), dtype=shifts.dtype)
    padded["adj_idx"][at], padded["shifts"][at] = src_idx[order], shifts[order]
    return padded
