"""The energy of a structure as a function of displacements of its atoms and of strain."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from e3any_backends import Array, backend_of
from e3any_backends.arrays import dtype_name
from numpy.typing import NDArray

from e3any import ops
from e3any.checks import cut
from e3any.nn import Layer
from e3any_ase.elements import names, of_embeddings

__all__ = ["Derivatives", "Evaluator", "check_reads", "inputs_of", "total_energy"]

_logger = logging.getLogger("e3any")


class Derivatives(NamedTuple):
    """Energies of atoms (N,), and the gradient of their sum with respect to positions (N, 3) and strain (3, 3)."""

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
        The elements with rows in the tables of the model; None if it has no tables.
    """

    dtype: str
    elements: tuple[int, ...] | None

    def __call__(self, structure: Mapping[str, NDArray[Any]], /) -> Derivatives:
        """Return the energies of a structure of :func:`inputs_of`, and their derivatives, as NumPy arrays."""


def inputs_of(structure: Mapping[str, NDArray[Any]], cutoff: float) -> dict[str, NDArray[Any]]:
    """Return the inputs of models for a structure: numbers, vectors of edges and lists, padded to buckets."""
    lists = {name: structure[name] for name in ("dst_idx", "src_idx")}
    # In float64, so that a model in float32 gets exact vectors, also of atoms far from the origin.
    vectors = ops.displacements(structure["positions"], structure["cell"], structure["shifts"], **lists)
    graph = {"numbers": structure["numbers"], "vectors": vectors, **lists}
    batch = {name: x[0] for name, x in ops.pad_graphs([graph], nodes=["numbers"], edges=["vectors"]).items()}
    # Half a cut-off: functions of distances can have poles, or no derivatives, at zero.
    batch["vectors"][len(vectors) :] = np.asarray([1.0, 2.0, 2.0]) * cutoff / 6
    return batch


def check_reads(layer: Layer, params: Mapping[str, Any], elements: Sequence[int]) -> None:
    """Raise a ValueError if the smallest table of embeddings has rows for some of the elements and not for others."""
    known = of_embeddings(params)
    beyond = [] if known is None else sorted(set(elements) - set(known))
    if not beyond:
        return
    marked = _with_nan(params, len(known or ()))
    try:
        unread = [number for number in beyond if np.isfinite(_pair_energies(layer, marked, number)).all()]
        # A table that has no influence on any element says nothing.
        reads = any(not np.isfinite(_pair_energies(layer, marked, number)).all() for number in known or ())
    except Exception as error:  # a description can need a framework, or other inputs; a calculator checks it again
        _logger.debug("whether tables have rows for %s is not known: %s", beyond, cut(str(error)))
        return
    if unread and reads:
        raise ValueError(f"expected elements that all tables of the model have rows for, got {names(unread)}")


def _with_nan(params: Mapping[str, Any], num_known: int) -> dict[str, Any]:
    """Return parameters whose smallest tables of embeddings are NaN."""
    marked: dict[str, Any] = {}
    for name, x in params.items():
        if isinstance(x, Mapping):
            marked[name] = _with_nan(x, num_known)
        else:
            is_smallest = str(name) == "embedding" and np.ndim(x) > 1 and np.shape(x)[0] == num_known + 1
            marked[name] = np.full_like(x, np.nan) if is_smallest else x
    return marked


def _pair_energies(layer: Layer, params: Mapping[str, Any], number: int) -> Any:
    """Return energies of two atoms of one element, evaluated with NumPy."""
    vectors = np.asarray([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]], np.float32)
    with np.errstate(all="ignore"):
        return layer(params, np.full(2, number), vectors, dst_idx=np.asarray([0, 1]), src_idx=np.asarray([1, 0]))


def total_energy(
    model: Callable[..., Array], moves: Array, strain: Array, structure: Mapping[str, Array]
) -> tuple[Array, Array]:
    r"""Return the energy of a deformed structure, and the contributions of its atoms.

    .. math:: E = \sum_i E_i\bigl(\{(r_e + m_{s(e)} - m_{d(e)}) (1 + \epsilon)\}\bigr)

    Parameters
    ----------
    model : callable
        ``model(numbers, vectors, dst_idx=..., src_idx=...)`` returns the energies (N,) of atoms with numbers (N,).
        Vectors (E, 3) go from receiving to sending atoms.
    moves : array of shape (N, 3)
        Displacements m of atoms.
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
        If the model does not return an energy for every atom, or if its energies are less precise than the moves.
    TypeError
        If the model does not return an array.
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
