r"""Conversion of the weights of symmetric contractions from one basis of couplings to that of e3any.

Both bases span the same polynomials: :math:`U_{k}(x) = \sum_\eta T_{k\eta} B_\eta(x)`, which is solved for T by least
squares. Then :math:`w_\eta = \sum_k w'_k T_{k\eta}`.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from e3any_backends import Array
from numpy.typing import NDArray

from e3any.checks import check_flag, floating_backend
from e3any.conventions import degree_slice
from e3any.interop.arrays import multiply
from e3any.interop.convention import Convention, change_of_basis
from e3any.nn.layers.symmetric_basis import couplings_of_irreps, irreps_of

__all__ = ["contraction_weights"]

# The rest of a polynomial that is no combination of couplings, relative to its size, in single precision.
_RESIDUAL = 1e-4


def contraction_weights(
    weights: Array, couplings: Array, degree: int, convention: Convention | str, *, use_parity: bool = True
) -> Array:
    r"""Return weights of :class:`e3any.nn.SymmetricContraction` from those of other couplings, of an irrep and order.

    Parameters
    ----------
    weights : array of shape (num_embeddings, K', F)
        The weights, such as ``weights_max`` of a ``Contraction`` of ``mace-torch``.
    couplings : array of shape (2l+1, C, ..., C, K'), or (C, ..., C, K') for degree 0
        The coefficients U of every product of components, such as its ``U_matrix_3``. Components C = (L+1)^2 are those
        of proper tensors of degrees 0 to L, one after the other, in the other library's convention. They need not be
        symmetric.
    degree : int
        The degree l of the irrep, whose parity is that of proper tensors.
    convention : Convention or str
        A convention, or its name in :data:`CONVENTIONS`.
    use_parity : bool
        Whether features are irreps of O(3), see :class:`e3any.nn.SymmetricContraction`.

    Returns
    -------
    array of shape (num_embeddings, K, F)
        The parameter ``{irrep}/weight{order}``.

    Raises
    ------
    ValueError
        If shapes do not fit, the convention is unknown, or the couplings do not rotate as the irrep.
    TypeError
        If an argument is not a floating-point array.
    """
    backend = floating_backend(weights=weights, couplings=couplings)
    check_flag(use_parity, "use_parity")
    change_of_basis(convention, degree)  # raises if the convention or the degree is invalid
    shape = tuple(couplings.shape) if degree else (1, *couplings.shape)
    components = shape[1] if len(shape) > 2 else 0
    size = math.isqrt(components)
    if shape[:-1] != (2 * degree + 1, *(components,) * (len(shape) - 2)) or size * size != components or not size:
        lead = "2l+1, " if degree else ""
        raise ValueError(
            f"expected couplings of shape ({lead}C, ..., C, K), C = (L+1)**2, got {tuple(couplings.shape)}"
        )
    if weights.ndim != 3 or weights.shape[1] != shape[-1]:
        raise ValueError(f"expected weights (num_embeddings, {shape[-1]}, F), got shape {tuple(weights.shape)}")
    table = backend.to_numpy(couplings).astype(np.float64).reshape(shape)
    parity = degree % 2 if use_parity else None
    change = _basis_change(_monomials(table, size - 1, degree, convention), size - 1, degree, table.ndim - 2, parity)
    return multiply(change.T, weights, 1)


def _monomials(table: NDArray[np.float64], max_degree: int, degree: int, convention: Any) -> NDArray[np.float64]:
    """Return coefficients (K', 2l+1, monomials) of products of components of e3any."""
    basis, order = change_of_basis(convention, max(degree, max_degree)), table.ndim - 2
    place, size = degree_slice(degree), (max_degree + 1) ** 2
    # Components are x' = Q x, those of the result y = Q^T y'.
    table = np.tensordot(table, basis[place, place], axes=(0, 0))
    for _ in range(order):
        table = np.tensordot(table, basis[:size, :size], axes=(0, 0))
    # Axes were taken from the front and appended: couplings, result, components.
    numbers = {m: n for n, m in enumerate(itertools.combinations_with_replacement(range(size), order))}
    columns = [numbers[tuple(sorted(m))] for m in itertools.product(range(size), repeat=order)]
    found = np.zeros((len(numbers), *table.shape[:2]))
    np.add.at(found, np.asarray(columns), np.moveaxis(table.reshape(*table.shape[:2], -1), -1, 0))
    return np.moveaxis(found, 0, -1)


def _basis_change(
    theirs: NDArray[np.float64], max_degree: int, degree: int, order: int, parity: int | None
) -> NDArray[np.float64]:
    """Return the matrix T (K', K) of polynomials in terms of couplings."""
    rows = couplings_of_irreps(irreps_of(max_degree, 1), order, degree, parity, True)
    num = len(rows) // (2 * degree + 1)
    ours, wanted = rows.reshape(num, -1), theirs.reshape(len(theirs), -1)
    change: NDArray[np.float64] = wanted @ np.linalg.pinv(ours) if num else np.zeros((len(wanted), 0))
    if np.abs(change @ ours - wanted).max(initial=0.0) > _RESIDUAL * np.abs(wanted).max(initial=0.0):
        raise ValueError(f"expected couplings that rotate as the irrep of degree {degree}, got others")
    return change
