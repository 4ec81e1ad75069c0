"""The energy of a structure as a function of moves of its atoms and of strain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from e3any_backends import Array, backend_of
from e3any_backends.arrays import dtype_name
from numpy.typing import NDArray

from e3any import ops

__all__ = ["Derivatives", "Evaluator", "inputs_of", "total_energy"]


class Derivatives(NamedTuple):
    """Energies of atoms (N,), and derivatives of their sum along positions (N, 3) and strain (3, 3)."""

    energies: Array
    positions: Array
    strain: Array


class Evaluator(Protocol):
    """A model in a framework; it can be pickled and copied.

    Attributes
    ----------
    dtype : str
        Precision of energies and derivatives.
    elements : tuple of int or None
        The elements that the tables of the model have rows for; None if it has no tables.
    """

    dtype: str
    elements: tuple[int, ...] | None

    def __call__(self, structure: Mapping[str, NDArray[Any]], /) -> Derivatives:
        """Return the energies of a structure of :func:`inputs_of`, and their derivatives, as arrays of NumPy."""


def inputs_of(structure: Mapping[str, NDArray[Any]], cutoff: float) -> dict[str, NDArray[Any]]:
    """Return what models are given of a structure: numbers, vectors of edges and lists, padded to buckets.

    Vectors are computed in float64, so that models in float32 see those of atoms far from the origin as exactly as of
    others. Padding has a length that no function of distances has a pole or a derivative without a value at, as at
    zero.
    """
    lists = {name: structure[name] for name in ("dst_idx", "src_idx")}
    vectors = ops.displacements(structure["positions"], structure["cell"], structure["shifts"], **lists)
    graph = {"numbers": structure["numbers"], "vectors": vectors, **lists}
    batch = {name: x[0] for name, x in ops.pad_graphs([graph], nodes=["numbers"], edges=["vectors"]).items()}
    batch["vectors"][len(vectors) :] = np.asarray([1.0, 2.0, 2.0]) * cutoff / 6
    return batch


def total_energy(
    model: Callable[..., Array], moves: Array, strain: Array, structure: Mapping[str, Array]
) -> tuple[Array, Array]:
    r"""Return the energy of a structure that is deformed, and what the atoms contribute to it.

    .. math:: E = \sum_i E_i\bigl(\{(r_e + m_{s(e)} - m_{d(e)}) (1 + \epsilon)\}\bigr)

    Parameters
    ----------
    model : callable
        ``model(numbers, vectors, dst_idx=..., src_idx=...)`` returns energies (N,) of atoms with numbers (N,) from
        vectors (E, 3) from the atoms that receive to those that send.
    moves : array of shape (N, 3)
        By how much atoms are moved.
    strain : array of shape (3, 3)
        The strain; see :func:`e3any.ops.displacements`.
    structure : mapping
        The arrays of :func:`inputs_of`, and ``axes``, the unit matrix (3, 3), along which vectors are measured.

    Returns
    -------
    energy : array of shape ()
        The sum.
    energies : array of shape (N,)
        Its terms; zero for padding.

    Raises
    ------
    ValueError
        If the model returns no energy for every atom, or energies that are less precise than the moves.
    TypeError
        If it returns no array.
    """
    lists = {name: structure[name] for name in ("dst_idx", "src_idx")}
    vectors = ops.displacements(moves, structure["axes"], structure["vectors"], strain, **lists)
    energies = model(structure["numbers"], vectors, **lists)
    shape = tuple(moves.shape[:1])
    if not hasattr(energies, "dtype"):
        raise TypeError(f"expected a model that returns an array of energies, got {type(energies).__name__}")
    if tuple(energies.shape) != shape:
        raise ValueError(f"expected energies of shape {shape}, got {tuple(energies.shape)}")
    backend = backend_of(energies)
    if not backend.is_floating(energies) or backend.xp.finfo(energies.dtype).bits < backend.xp.finfo(moves.dtype).bits:
        raise ValueError(
            f"expected energies in {dtype_name(moves.dtype)}, got {dtype_name(energies.dtype)}: has the model a dtype "
            f"of its own?"
        )
    energies = backend.xp.where(structure["node_mask"], energies, backend.xp.zeros_like(energies))
    return backend.xp.sum(energies), energies
