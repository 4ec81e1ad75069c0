"""Conventions of other libraries: how their components, harmonics and couplings differ from those of e3any."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from e3any import so3
from e3any.checks import check_degree
from e3any.config import Normalization
from e3any.conventions import degree_slice

__all__ = ["CONVENTIONS", "Convention", "change_of_basis"]


def _positive(l: int, m: int) -> int:
    return 1


@dataclass(frozen=True)
class Convention:
    """How a library writes components, harmonics and couplings.

    Parameters
    ----------
    orders : callable
        The orders m of a degree, in the order of its components.
    axes : tuple of int
        Which of x, y, z takes the place of each of them, so that the third is the polar axis.
    sign : callable
        The sign of a degree and an order.
    normalization : {'racah', '4pi', 'orthonormal'}
        Of its spherical harmonics.
    unit_couplings : bool
        Whether the squares of all Clebsch-Gordan coefficients of three degrees sum to 1, in place of 2 l3 + 1.
    columns : bool
        Whether rotations and Wigner-D matrices multiply columns from the left.
    max_degree : int, optional
        The largest degree for which the order is known.
    """

    orders: Callable[[int], Sequence[int]]
    axes: tuple[int, int, int] = (0, 1, 2)
    sign: Callable[[int, int], int] = _positive
    normalization: Normalization = "racah"
    unit_couplings: bool = False
    columns: bool = True
    max_degree: int | None = None


def _ascending(l: int) -> Sequence[int]:
    return range(-l, l + 1)


def _cartesian(l: int) -> Sequence[int]:
    return [sign * m for m in range(l, 0, -1) for sign in (1, -1)] + [0]


def _from_zero(l: int) -> Sequence[int]:
    return [0] + [sign * m for m in range(1, l + 1) for sign in (1, -1)]


def _of_pyscf(l: int) -> Sequence[int]:
    return _cartesian(1) if l == 1 else _ascending(l)


def _sign_of_orca(l: int, m: int) -> int:
    return -1 if abs(m) >= 3 else 1


_Y_IS_POLAR = (2, 0, 1)

#: The conventions of other libraries by their names. ``e3x-m`` is e3x without Cartesian order; harmonics of e3nn have
#: the normalisation 'component', harmonics of quantum chemistry that of their angular parts. Signs of ORCA are those
#: of its output files.
CONVENTIONS: Mapping[str, Convention] = {
    "e3x": Convention(_cartesian, columns=False),
    "e3x-m": Convention(_ascending, columns=False),
    "e3nn": Convention(_ascending, _Y_IS_POLAR, normalization="4pi", unit_couplings=True),
    "e3nn-jax": Convention(_ascending, _Y_IS_POLAR, normalization="4pi", unit_couplings=True),
    "cuequivariance": Convention(_ascending, _Y_IS_POLAR, normalization="4pi"),
    "sphericart": Convention(_ascending, normalization="orthonormal"),
    "pyscf": Convention(_of_pyscf, normalization="orthonormal"),
    "orca": Convention(_from_zero, sign=_sign_of_orca, normalization="orthonormal", max_degree=4),
}


def change_of_basis(convention: str, max_degree: int) -> NDArray[np.float64]:
    """Return the matrix that takes components of e3any, in Cartesian order, to those of another library.

    Parameters
    ----------
    convention : str
        A name in :data:`CONVENTIONS`.
    max_degree : int
        Largest degree L.

    Returns
    -------
    array of shape ((L+1)^2, (L+1)^2)
        The orthogonal matrices Q of all degrees on one block diagonal, for columns. It cannot be written to.

    Raises
    ------
    ValueError
        If the convention is not known, or not to this degree.
    """
    check_degree(max_degree)
    if not isinstance(convention, str) or convention not in CONVENTIONS:
        raise ValueError(f"expected a convention among {sorted(CONVENTIONS)}, got {convention!r}")
    known = CONVENTIONS[convention]
    if known.max_degree is not None and max_degree > known.max_degree:
        raise ValueError(f"expected max_degree <= {known.max_degree} for {convention!r}, got {max_degree}")
    return _change_of_basis(convention, max_degree)


@cache
def _change_of_basis(convention: str, max_degree: int) -> NDArray[np.float64]:
    known = CONVENTIONS[convention]
    order = np.zeros(((max_degree + 1) ** 2,) * 2)
    for l in range(max_degree + 1):
        block, cartesian = order[degree_slice(l), degree_slice(l)], list(_cartesian(l))
        for row, m in enumerate(known.orders(l)):
            block[row, cartesian.index(m)] = known.sign(l, m)
    rotation = np.eye(3)[:, list(known.axes)]
    matrix = order @ so3.wigner_d(rotation, max_degree, cartesian_order=True).T
    matrix.flags.writeable = False
    return matrix  # type: ignore[no-any-return]
