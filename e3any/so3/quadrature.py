"""Quadrature rules for the unit sphere."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Literal, TypeAlias

import numpy as np
from e3any_backends import Array
from numpy.typing import NDArray

from e3any.checks import check_integer

__all__ = ["delley_quadrature", "lebedev_quadrature"]

Table: TypeAlias = Literal["lebedev", "delley"]
Grid: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]

# The file of rules has points such as +a+a-b. This is the order in which the values of the letters are listed.
_LETTERS = "0abc"


def lebedev_quadrature(precision: int | None = None, num: int | None = None, xp: Any = None) -> tuple[Array, Array]:
    r"""Return a Lebedev quadrature rule for the unit sphere.

    .. math::
        \frac{1}{4\pi} \int f \, d\Omega \approx \sum_{i=1}^N w_i f(\vec r_i) \qquad \sum_{i=1}^N w_i = 1

    which is exact for polynomials in x, y, z of degrees up to the precision.

    Parameters
    ----------
    precision : int, optional
        Smallest precision that is needed: the result is the smallest rule that has it.
    num : int, optional
        Largest number N of points: the result is the most precise rule that has no more.
    xp : namespace, optional
        Array API namespace of the result; NumPy if not given.

    Returns
    -------
    grid : array of shape (N, 3)
        Points on the unit sphere.
    weights : array of shape (N,)
        Weights. Those of the rules of precision 13, 25 and 27 are negative at some points.

    Raises
    ------
    ValueError
        Unless exactly one of ``precision`` and ``num`` is given, and is an integer.

    Warns
    -----
    UserWarning
        If no rule is as precise (the most precise one is returned), or as small (the smallest one is).

    Notes
    -----
    There are rules of precision 3, 5, ..., 31, 35, 41, ..., 131 with 6 to 5810 points. Both arrays are float64, or of
    the widest floating-point dtype that ``xp`` allows. Weights and angles were computed in extended precision, so that
    integrals are accurate to rounding.

    Examples
    --------
    >>> grid, weights = lebedev_quadrature(precision=5)
    >>> grid.shape
    (14, 3)
    >>> round(float(weights @ grid[:, 2] ** 4), 12)
    0.2
    """
    return _quadrature("lebedev", precision, num, xp)


def delley_quadrature(precision: int | None = None, num: int | None = None, xp: Any = None) -> tuple[Array, Array]:
    r"""Return a quadrature rule for the unit sphere from the tables of Delley.

    These are the rules of :func:`lebedev_quadrature` of precision 5, 7, 11, 17, 23, ..., 101 with 14 to 3470 points,
    whose weights are all positive, with points in the order of `Delley's tables
    <https://doi.org/10.1002/(SICI)1096-987X(19960715)17:9%3C1152::AID-JCC7%3E3.0.CO;2-R>`_.

    Parameters
    ----------
    precision : int, optional
        Smallest precision that is needed: the result is the smallest rule that has it.
    num : int, optional
        Largest number N of points: the result is the most precise rule that has no more.
    xp : namespace, optional
        Array API namespace of the result; NumPy if not given.

    Returns
    -------
    grid : array of shape (N, 3)
        Points on the unit sphere.
    weights : array of shape (N,)
        Weights, whose sum is 1.

    Raises
    ------
    ValueError
        Unless exactly one of ``precision`` and ``num`` is given, and is an integer.

    Warns
    -----
    UserWarning
        If no rule is as precise (the most precise one is returned), or as small (the smallest one is).

    Examples
    --------
    >>> delley_quadrature(num=100)[0].shape
    (50, 3)
    """
    return _quadrature("delley", precision, num, xp)


def _quadrature(table: Table, precision: int | None, num: int | None, xp: Any) -> tuple[Array, Array]:
    if precision is not None and num is None:
        rule = _precise(table, precision)
    elif num is not None and precision is None:
        rule = _small(table, num)
    else:
        raise ValueError(f"expected exactly one of precision and num, got precision={precision} and num={num}")
    grid, weights = (part.copy() for part in _grid(table, rule))
    return (grid, weights) if xp is None else (xp.asarray(grid), xp.asarray(weights))


def _precise(table: Table, wanted: int) -> int:
    """Return the precision of the smallest rule that has at least the wanted precision."""
    check_integer(wanted, "precision", least=None)
    available = [rule.precision for rule in _rules(table)]
    for precision in available:
        if precision >= wanted:
            return precision
    _warn(f"expected a precision of {available[-1]} or less, got {wanted}: using {available[-1]}")
    return available[-1]


def _small(table: Table, largest: int) -> int:
    """Return the precision of the most precise rule of at most ``largest`` points."""
    check_integer(largest, "num", least=None)
    rules = _rules(table)
    fitting = [rule.precision for rule in rules if rule.num <= largest]
    if fitting:
        return fitting[-1]
    _warn(f"expected {rules[0].num} or more points, got num={largest}: using {rules[0].num}")
    return rules[0].precision


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=5)


@dataclass(frozen=True)
class _Orbit:
    """Points that the octahedral group takes to each other: (a, a, b), (a, b, a), (a, a, -b), ..."""

    kind: str
    weight: float
    angles: tuple[float, ...]

    def values(self) -> list[float]:
        """Return the values of 0, a, b, c, as the header of the file of rules explains."""
        if len(set(self.kind) - {"0"}) == 1:
            return [0.0, 1.0 / math.sqrt(self.kind.count("a"))]
        sine, cosine = math.sin(self.angles[0]), math.cos(self.angles[0])
        if self.kind == "aab":
            return [0.0, sine / math.sqrt(2.0), cosine]
        if self.kind == "ab0":
            return [0.0, cosine, sine]
        return [0.0, sine * math.cos(self.angles[1]), sine * math.sin(self.angles[1]), cosine]


@dataclass
class _Rule:
    """A rule as its orbits; ``delley`` lists them in Delley's order, and is empty for rules that his tables lack."""

    precision: int
    orbits: list[_Orbit] = field(default_factory=list)
    delley: list[int] = field(default_factory=list)

    @property
    def num(self) -> int:
        """Number of points."""
        return sum(len(_file().points["lebedev", orbit.kind][0]) for orbit in self.orbits)


@dataclass
class _File:
    """Content of the file of rules: rules by precision; indices of letters, and signs, of points by kind of orbit."""

    rules: dict[int, _Rule] = field(default_factory=dict)
    points: dict[tuple[str, str], tuple[NDArray[np.intp], NDArray[np.float64]]] = field(default_factory=dict)

    def read(self, line: str) -> None:
        """Add the content of a line."""
        word, *rest = line.split()
        if word == "precision":
            self.rules[int(rest[0])] = _Rule(int(rest[0]))
        elif word == "points":
            self.points[rest[0], rest[1]] = _signed_letters(rest[2:])
        elif word == "delley":
            self._last().delley = [int(index) for index in rest]
        else:
            weight, *angles = map(float, rest)
            self._last().orbits.append(_Orbit(word, weight, tuple(angles)))

    def _last(self) -> _Rule:
        return next(reversed(self.rules.values()))


@cache
def _file() -> _File:
    """Read the file of rules."""
    file = _File()
    text = resources.files("e3any.so3").joinpath("octahedral_rules.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if not line.startswith("#"):
            file.read(line)
    return file


def _rules(table: Table) -> list[_Rule]:
    """Return the rules of a table by precision."""
    return [rule for rule in _file().rules.values() if table == "lebedev" or rule.delley]


@cache
def _grid(table: Table, precision: int) -> Grid:
    """Return points and weights of a rule."""
    rule = _file().rules[precision]
    orbits = rule.orbits if table == "lebedev" else [rule.orbits[i] for i in rule.delley]
    points = [_points(table, orbit) for orbit in orbits]
    weights = np.repeat([orbit.weight for orbit in orbits], [len(p) for p in points])
    return np.concatenate(points), weights


def _points(table: Table, orbit: _Orbit) -> NDArray[np.float64]:
    """Return the points of an orbit, shape (N, 3)."""
    values = orbit.values()
    if table == "delley" and orbit.kind in ("ab0", "abc"):
        values.sort()
    letters, signs = _file().points[table, orbit.kind]
    return np.asarray(values)[letters] * signs


def _signed_letters(points: list[str]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the letters, as positions in ``0abc``, and the signs of points such as +a+a-b."""
    letters = [[_LETTERS.index(letter) for letter in point[1::2]] for point in points]
    signs = [[1.0 if sign == "+" else -1.0 for sign in point[::2]] for point in points]
    return np.asarray(letters), np.asarray(signs)
