"""The energy of a structure as a function of positions and strain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from e3any_backends import Array, backend_of

from e3any import ops

__all__ = ["Derivatives", "total_energy"]


class Derivatives(NamedTuple):
    """Energies of atoms (N,), and derivatives of their sum along positions (N, 3) and strain (3, 3)."""

    energies: Array
    positions: Array
    strain: Array


def total_energy(
    model: Callable[..., Array], positions: Array, strain: Array, structure: Mapping[str, Array]
) -> tuple[Array, Array]:
    r"""Return the energy of a structure that is deformed, and what the atoms contribute to it.

    .. math:: E = \sum_i E_i\bigl(\{r_e (1 + \epsilon)\}\bigr)

    Parameters
    ----------
    model : callable
        ``model(numbers, vectors, dst_idx=..., src_idx=...)`` returns energies (N,) of atoms with numbers (N,) from
        vectors (E, 3) from the atoms that receive to those that send.
    positions : array of shape (N, 3)
        Positions.
    strain : array of shape (3, 3)
        The strain; see :func:`e3any.ops.displacements`.
    structure : mapping
        The other arrays of a structure, and ``node_mask`` (N,).

    Returns
    -------
    energy : array of shape ()
        The sum.
    energies : array of shape (N,)
        Its terms; zero for padding.

    Raises
    ------
    ValueError
        If the model returns no energy for every atom.
    """
    lists = {name: structure[name] for name in ("dst_idx", "src_idx")}
    vectors = ops.displacements(positions, structure["cell"], structure["shifts"], strain, **lists)
    energies = model(structure["numbers"], vectors, **lists)
    if tuple(energies.shape) != tuple(positions.shape[:1]):
        raise ValueError(f"expected energies of shape {tuple(positions.shape[:1])}, got {tuple(energies.shape)}")
    xp = backend_of(energies).xp
    energies = xp.where(structure["node_mask"], energies, xp.zeros_like(energies))
    return xp.sum(energies), energies
