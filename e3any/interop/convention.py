"""Conventions of other libraries: how their components, harmonics and couplings differ from those of e3any."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from e3any import so3
from e3any.checks import check_callable, check_degree, shown
from e3any.config import Normalization, check_normalization
from e3any.conventions import degree_slice

__all__ = ["CONVENTIONS", "Convention", "change_of_basis", "convention_of"]

# Other permutations are reflections, under which tensors and pseudotensors change differently.
_CYCLIC = ((0, 1, 2), (1, 2, 0), (2, 0, 1))


def _positive(l: int, m: int) -> int:
    return 1


@dataclass(frozen=True)
class Convention:
    """How a library orders, signs and normalises components, harmonics and couplings.

    Parameters
    ----------
    orders : callable
        The orders m of a degree, in the order of its components.
    axes : tuple of int
        A cyclic permutation of x, y, z, whose third entry is the polar axis: with (2, 0, 1) that is y.
    sign : callable
        The sign of a degree and an order, 1 or -1.
    normalization : {'racah', '4pi', 'orthonormal'}
        Normalisation of its spherical harmonics.
    unit_couplings : bool
        Whether the squares of all Clebsch-Gordan coefficients of three degrees sum to 1 instead of 2 l3 + 1.
    columns : bool
        Whether rotations and Wigner-D matrices multiply columns from the left.
    max_degree : int, optional
        The largest degree for which the order is known.

    Raises
    ------
    ValueError
        If ``axes`` are not a cyclic permutation, ``normalization`` is unknown, a flag is neither True nor False, or
        ``max_degree`` is not an integer >= 0.
    TypeError
        If ``orders`` or ``sign`` is not a function.

    Examples
    --------
    Your own convention, from the highest order to the lowest, with the Condon-Shortley phase:

    >>> convention = Convention(lambda l: range(l, -l - 1, -1), sign=lambda l, m: (-1) ** m)
    >>> change_of_basis(convention, 1)[1:].astype(int).tolist()
    [[0, -1, 0, 0], [0, 0, 0, 1], [0, 0, -1, 0]]
    """

    orders: Callable[[int], Sequence[int]]
    axes: tuple[int, int, int] = (0, 1, 2)
    sign: Callable[[int, int], int] = _positive
    normalization: Normalization = "racah"
    unit_couplings: bool = False
    columns: bool = True
    max_degree: int | None = None

    def __post_init__(self) -> None:
        check_callable(self.orders, "orders")
        check_callable(self.sign, "sign")
        if not isinstance(self.axes, Sequence) or tuple(self.axes) not in _CYCLIC:
            raise ValueError(f"expected axes to be one of {_CYCLIC}, got {shown(self.axes)}")
        object.__setattr__(self, "axes", tuple(self.axes))
        check_normalization(self.normalization)
        for name in ("unit_couplings", "columns"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"expected {name} to be True or False, got {shown(getattr(self, name))}")
        if self.max_degree is not None:
            check_degree(self.max_degree)


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

#: The conventions of other libraries by name. ``e3x-m`` is e3x without Cartesian order. Harmonics of e3nn have the
#: normalisation 'component'; the programs of quantum chemistry normalise the angular part of orbitals. Signs of ORCA
#: are those of its output files.
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


def convention_of(convention: Convention | str) -> Convention:
    """Return a convention, looked up if it is a name.

    Parameters
    ----------
    convention : Convention or str
        The convention, or its name in :data:`CONVENTIONS`.

    Returns
    -------
    Convention
        The convention.

    Raises
    ------
    ValueError
        If it is neither a convention nor a known name.
    """
    if isinstance(convention, Convention):
        return convention
    if not isinstance(convention, str) or convention not in CONVENTIONS:
        raise ValueError(f"expected a convention among {sorted(CONVENTIONS)}, got {shown(convention)}")
    return CONVENTIONS[convention]


def change_of_basis(convention: Convention | str, max_degree: int) -> NDArray[np.float64]:
    """Return the matrix that takes components of e3any, in Cartesian order, to those of another library.

    Parameters
    ----------
    convention : Convention or str
        A convention, or its name in :data:`CONVENTIONS`.
    max_degree : int
        Largest degree L.

    Returns
    -------
    array of shape ((L+1)^2, (L+1)^2)
        The block-diagonal matrix of the orthogonal matrices Q of all degrees, for column vectors. It is read-only.

    Raises
    ------
    ValueError
        If the convention is unknown or not defined up to this degree, its orders of a degree l are not all of
        -l, ..., l, or a sign is neither 1 nor -1.
    """
    check_degree(max_degree)
    known = convention_of(convention)
    if known.max_degree is not None and max_degree > known.max_degree:
        raise ValueError(f"expected max_degree <= {known.max_degree} for {shown(convention)}, got {max_degree}")
    try:
        return _cached(known, int(max_degree))
    except TypeError:  # a user's function may have no hash
        return _change_of_basis(known, int(max_degree))


def _change_of_basis(known: Convention, max_degree: int) -> NDArray[np.float64]:
    order = np.zeros(((max_degree + 1) ** 2,) * 2)
    for l in range(max_degree + 1):
        block, cartesian = order[degree_slice(l), degree_slice(l)], list(_cartesian(l))
        for row, m in enumerate(_orders(known, l)):
            block[row, cartesian.index(m)] = _sign(known, l, m)
    rotation = np.eye(3)[:, list(known.axes)]
    matrix = order @ so3.wigner_d(rotation, max_degree, cartesian_order=True).T
    matrix.flags.writeable = False
    return matrix  # type: ignore[no-any-return]


_cached = lru_cache(maxsize=256)(_change_of_basis)


def _orders(known: Convention, l: int) -> list[int]:
    orders = list(known.orders(l))
    if not all(isinstance(m, int | np.integer) for m in orders) or sorted(orders) != list(_ascending(l)):
        raise ValueError(f"expected orders of degree {l} to be all of {-l}, ..., {l}, got {shown(orders)}")
    return [int(m) for m in orders]


def _sign(known: Convention, l: int, m: int) -> float:
    sign = known.sign(l, m)
    if not isinstance(sign, int | float | np.number) or sign not in (1, -1):
        raise ValueError(f"expected the sign of degree {l} and order {m} to be 1 or -1, got {shown(sign)}")
    return float(sign)
