"""Atoms and their neighbours as dictionaries of arrays, for models and :mod:`e3any.ops`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from ase import Atoms
from ase.io import read
from numpy.typing import ArrayLike, NDArray

from e3any import ops
from e3any.checks import check_flag, check_integer
from e3any.ops.index_lists import holding
from e3any_ase.elements import Element, as_numbers, check_numbers
from e3any_ase.labels import LABELS, check_names, labels_of, present, warn_of
from e3any_ase.neighbours import Finder, native_array, neighbours, real_numbers

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
    elements: Iterable[Element] | None = None,
) -> Structure:
    """Return atoms with the sparse list of their neighbours.

    Parameters
    ----------
    numbers : integer array of shape (N,)
        Atomic numbers, from 1 to 118.
    positions : array of shape (N, 3)
        Positions.
    cell : array of shape (3, 3), optional
        Vectors of the cell, as rows.
    pbc, cutoff, finder
        See :func:`neighbours`.
    elements : iterable of int or str, optional
        The elements that a model knows, as symbols or atomic numbers; by default all.

    Returns
    -------
    dict
        ``numbers`` (N,), ``positions`` (N, 3), ``cell`` (3, 3), ``dst_idx`` (E,), which ascends, ``src_idx`` (E,), and
        ``shifts`` (E, 3).

    Raises
    ------
    ValueError
        If there are not as many numbers as positions, a number is not that of a known element, or :func:`neighbours`
        raises one.
    TypeError
        If numbers are not integers, or :func:`neighbours` raises one.
    """
    z, r = native_array(numbers, "numbers"), real_numbers(positions, "positions")
    if z.size and z.dtype.kind not in "iu":
        raise TypeError(f"expected numbers to be integers, got dtype {z.dtype}")
    if z.shape != r.shape[:1]:
        raise ValueError(f"expected as many numbers as positions, got shapes {z.shape} and {r.shape}")
    check_numbers(z, None if elements is None else as_numbers(elements))
    box = np.zeros((3, 3)) if cell is None else real_numbers(cell, "cell")
    edges = neighbours(r, box, pbc, cutoff=cutoff, finder=finder)
    return {"numbers": z, "positions": r, "cell": box, **edges._asdict()}


def from_atoms(
    atoms: Atoms,
    *,
    cutoff: float,
    finder: Finder = "vesin",
    elements: Iterable[Element] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Structure:
    """Return ASE atoms with the sparse list of their neighbours, and their labels.

    Parameters
    ----------
    atoms : ase.Atoms
        The atoms.
    cutoff, finder
        See :func:`neighbours`.
    elements : iterable of int or str, optional
        The elements that a model knows, as symbols or atomic numbers; by default all.
    labels : mapping of str to str, optional
        The labels to read, ``energy``, ``forces``, ``stress`` or ``virial``, and their names in ``atoms.info``,
        ``atoms.arrays`` or the results of the calculator, where ASE puts names of its own when it reads a file. For
        example, ``{"energy": "REF_energy", "forces": "forces"}``. By default labels are the results ``energy``,
        ``forces`` and ``stress`` that the calculator of the atoms has. A warning lists other names that look like
        labels, and what no label is for: dipoles, charges and magnetic moments that are not zero.

    Returns
    -------
    dict
        The result of :func:`from_arrays`, and the labels that were found: ``energy`` () in eV, ``forces`` (N, 3) in
        eV/Angstrom and ``stress`` (3, 3) in eV/Angstrom^3. The stress of a virial is -virial / volume.

    Raises
    ------
    ValueError
        If :func:`from_arrays` raises one, or a label of ``labels`` is missing, has another shape, or is not finite.
    TypeError
        If ``atoms`` are not ASE atoms, the cutoff is not a number, ``labels`` is not a mapping of names, or a label is
        not an array of numbers.
    """
    structure = _from_atoms(atoms, cutoff, finder, elements, labels)
    for name, key in (labels or {}).items():
        if ("stress" if name == "virial" else name) not in structure:
            raise ValueError(f"expected {key!r} in atoms.info or atoms.arrays, got {present(atoms)}")
    warn_of([atoms], labels)
    return structure


def _from_atoms(
    atoms: Atoms,
    cutoff: float,
    finder: Finder,
    elements: Iterable[Element] | None,
    labels: Mapping[str, str] | None,
) -> Structure:
    if not isinstance(atoms, Atoms):
        raise TypeError(f"expected atoms of ASE, got {type(atoms).__name__}")
    check_names(labels)
    arrays = atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc
    structure = from_arrays(*arrays, cutoff=cutoff, finder=finder, elements=elements)
    return structure | labels_of(atoms, labels)


def read_structures(
    file: str | os.PathLike[str],
    *,
    cutoff: float,
    index: str = ":",
    format: str | None = None,
    finder: Finder = "vesin",
    elements: Iterable[Element] | None = None,
    labels: Mapping[str, str] | None = None,
) -> list[Structure]:
    """Read frames of an extxyz file, or of any other file that ASE reads.

    Parameters
    ----------
    file : path
        The file.
    cutoff, finder
        See :func:`neighbours`.
    index : str
        Which frames, as a slice of Python; by default all.
    format : str, optional
        Name of the format in ASE; by default ASE guesses it from the name and the contents of the file.
    elements, labels
        See :func:`from_atoms`. Not every frame needs all labels.

    Returns
    -------
    list of dict
        The results of :func:`from_atoms` for every frame. One warning lists all names that look like labels.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError, TypeError
        If :func:`from_atoms` raises one, or no frame has a label of ``labels``.
    """
    check_names(labels)
    elements = None if elements is None else as_numbers(elements)
    frames = read(os.fspath(file), index=index, format=format)
    frames = [frames] if isinstance(frames, Atoms) else frames
    for key in (labels or {}).values():
        if frames and not any(key in present(atoms) for atoms in frames):
            raise ValueError(f"expected {key!r} in a frame, got {present(frames[0])} in the first")
    structures = [_from_atoms(atoms, cutoff, finder, elements, labels) for atoms in frames]
    warn_of(frames, labels)
    return structures


def pad_structures(structures: Sequence[Mapping[str, Any]], *, label_masks: bool = False, **options: Any) -> Structure:
    """Pad structures with sparse lists to one number of atoms and one number of edges, and stack them.

    Parameters
    ----------
    structures : sequence of mappings
        Structures with the same names.
    label_masks : bool
        Whether some structures can lack labels. Missing labels are zero then, and every label has a mask:
        ``energy_mask``, ``forces_mask`` and ``stress_mask``, bool arrays of shape (structures,) that are True for
        structures with this label. A label of nothing but NaN is missing.
    **options
        Sizes, or the growth of buckets; see :func:`e3any.ops.pad_graphs`.

    Returns
    -------
    dict
        The stacked arrays, and ``node_mask``, a bool array of shape (structures, atoms) that is False for padding.

    Raises
    ------
    ValueError
        If there are no structures, one is too large, or has a name that others lack, or if labels have masks and some
        numbers of a label are not finite.
    """
    check_flag(label_masks, "label_masks")
    masks: Structure = {}
    if label_masks and all(isinstance(structure, Mapping) for structure in structures):
        structures, masks = _with_all_labels(structures)
    elif structures and (partial := _labels_of_some(structures)):
        raise ValueError(
            f"expected labels of every structure, got {', '.join(map(repr, partial))} of some: leave structures out, "
            f"or give label_masks=True, which adds masks"
        )
    nodes = [name for name in _OF_NODES if structures and name in structures[0]]
    return ops.pad_graphs(structures, nodes=nodes, edges=["shifts"], **options) | masks


def _labels_of_some(structures: Sequence[Any]) -> list[str]:
    """Return the labels that some structures have and others lack."""
    counts = {name: sum(name in s for s in structures if isinstance(s, Mapping)) for name in LABELS}
    return [name for name, count in counts.items() if 0 < count < len(structures)]


def _with_all_labels(structures: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], Structure]:
    """Return structures with zeros for missing labels, and the masks of all labels."""
    structures = [{name: x for name, x in s.items() if name not in LABELS or _is_there(name, x)} for s in structures]
    masks = {name: np.asarray([name in structure for structure in structures]) for name in LABELS}
    masks = {name: mask for name, mask in masks.items() if mask.any()}
    filled: list[Mapping[str, Any]] = []
    for structure in structures:
        shapes = {"energy": (), "forces": (len(structure.get("numbers", ())), 3), "stress": (3, 3)}
        filled.append({**{name: np.zeros(shapes[name]) for name in masks}, **structure})
    return filled, {f"{name}_mask": mask for name, mask in masks.items()}


def _is_there(name: str, label: Any) -> bool:
    """Return whether a label has numbers; raise a ValueError if only some are finite."""
    array = np.asarray(label)
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return True
    if np.isnan(array).all():
        return False
    raise ValueError(
        f"expected finite numbers under {name!r}, or NaN throughout where there is no label, got "
        f"{array[~np.isfinite(array)].flat[0]} among {array.size}"
    )


def to_dense(structure: Mapping[str, Any], *, num_nodes: int | None = None, width: int | None = None) -> Structure:
    """Convert the list of neighbours of a structure to a dense one.

    Parameters
    ----------
    structure : mapping
        A structure with a sparse list; it can be padded, and its padding is left out.
    num_nodes : int, optional
        Number N of atoms after padding; by default that of the structure.
    width : int, optional
        Number M of neighbours after padding; by default the size of the smallest bucket, see
        :func:`e3any.ops.bucket_size`.

    Returns
    -------
    dict
        ``adj_idx`` (N, M) instead of ``dst_idx`` and ``src_idx``, ``shifts`` (N, M, 3), and the other arrays, atoms
        padded with zeros. Padded neighbours have the index N; if the dtype of the list is too small for it, it becomes
        int32 or int64.

    Raises
    ------
    ValueError
        If there are more atoms than ``num_nodes`` or more neighbours of an atom than ``width``, a size is not an
        integer >= 0, an array is missing, or the lists are not those of one structure.
    TypeError
        If the structure is not a mapping, or the lists are not integers.
    """
    lists = ("dst_idx", "src_idx", "shifts")
    if not isinstance(structure, Mapping):
        raise TypeError(f"expected a structure to be a mapping, got {type(structure).__name__}")
    if not {*lists, "positions"} <= set(structure):
        raise ValueError(f"expected arrays under {[*lists, 'positions']}, got {sorted(structure)}")
    num = len(structure["positions"])
    for name, number in (("num_nodes", num_nodes), ("width", width)):
        if number is not None:
            check_integer(number, name)
    dst_idx, src_idx, shifts = _edges([native_array(structure[name], name) for name in lists], num)
    size = num if num_nodes is None else num_nodes
    of_nodes = (*_OF_NODES, "node_mask")
    padded = {
        name: ops.pad_rows(x, size) if name in of_nodes else x for name, x in structure.items() if name not in lists
    }
    counts = np.bincount(dst_idx, minlength=size)
    most = int(counts.max(initial=0))
    width = ops.bucket_size(most) if width is None else width
    if most > width:
        raise ValueError(f"expected at most {width} neighbours, got an atom with {most}")
    order = np.argsort(dst_idx, kind="stable")
    rows = dst_idx[order]
    at = rows, np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]
    padded["adj_idx"] = np.full((size, width), size, dtype=holding(src_idx, size).dtype)
    padded["shifts"] = np.zeros((size, width, 3), dtype=shifts.dtype)
    padded["adj_idx"][at], padded["shifts"][at] = src_idx[order], shifts[order]
    return padded


def _edges(lists: Sequence[NDArray[Any]], num: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return a list of edges between ``num`` atoms without its padding; raise an error unless it is one."""
    dst_idx, src_idx, shifts = lists
    if dst_idx.ndim != 1 or dst_idx.shape != src_idx.shape or shifts.shape != (*dst_idx.shape, 3):
        shapes = ", ".join(str(x.shape) for x in (dst_idx, src_idx, shifts))
        raise ValueError(f"expected lists of one structure, of shapes (E,), (E,) and (E, 3), got {shapes}")
    for name, idx in (("dst_idx", dst_idx), ("src_idx", src_idx)):
        if idx.dtype.kind not in "iu":
            raise TypeError(f"expected {name} to be integers, got dtype {idx.dtype}")
        if idx.size and not 0 <= idx.min() <= idx.max() <= num:
            raise ValueError(f"expected {name} from 0 to {num}, which is padding, got {idx.min()} to {idx.max()}")
    is_edge = (dst_idx < num) & (src_idx < num)
    # NumPy counts no integers of uint64.
    return dst_idx[is_edge].astype(np.int64), src_idx[is_edge], shifts[is_edge]
