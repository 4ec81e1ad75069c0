"""Signs of couplings that differ between versions of a library."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from e3any.checks import check_degree, shown

__all__ = ["coupling_sign"]

Version: TypeAlias = Literal["e3nn", "e3nn-0.4"]

_MAX_DEGREE = 8
# Degrees, in any order, of the 3j symbols of e3nn 0.4.4 whose sign is not that of later versions. It reads them from a
# file, with signs as an eigenvalue solver left them; later versions have a formula.
_FLIPPED = {
    *((1, l, l) for l in range(2, _MAX_DEGREE + 1)),
    *((3, l, l + 2) for l in (4, 5, 6)),
    *((4, l, l + 1) for l in (4, 5, 6, 7)),
    *((5, l, l) for l in (5, 6, 7, 8)),
}


def coupling_sign(l1: int, l2: int, l3: int, version: Version = "e3nn") -> int:
    """Return the sign of the couplings of a version of e3nn, relative to those of e3any.

    It multiplies the weights of paths. Signs differ only for paths with an odd sum of degrees, such as the cross
    product of degree 1. Proper tensors of O(3) have no such paths.

    Parameters
    ----------
    l1, l2, l3 : int
        The degrees of both factors and of the product.
    version : {'e3nn', 'e3nn-0.4'}
        ``'e3nn-0.4'`` is e3nn 0.4, which MACE needs; ``'e3nn'`` is e3nn 0.5 and later.

    Returns
    -------
    int
        1 or -1.

    Raises
    ------
    ValueError
        If a degree is not an integer >= 0, the degrees do not couple, the version is unknown, or a degree is above 8
        for e3nn 0.4.

    Examples
    --------
    >>> coupling_sign(1, 2, 2), coupling_sign(1, 2, 2, "e3nn-0.4")
    (1, -1)
    """
    degrees = {"l1": l1, "l2": l2, "l3": l3}
    for name, degree in degrees.items():
        check_degree(degree, name)
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        raise ValueError(f"expected degrees that couple, |l1-l2| <= l3 <= l1+l2, got {(l1, l2, l3)}")
    if version not in get_args(Version):
        raise ValueError(f"expected a version of {get_args(Version)}, got {shown(version)}")
    if version == "e3nn":
        return 1
    if max(degrees.values()) > _MAX_DEGREE:
        raise ValueError(f"expected degrees <= {_MAX_DEGREE} for {version}, got {(l1, l2, l3)}")
    return -1 if tuple(sorted(degrees.values())) in _FLIPPED else 1
