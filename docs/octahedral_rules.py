r"""Compute e3any/so3/octahedral_rules.txt, the quadrature rules of octahedral symmetry.

Starts at the rules of scipy, which have about 12 digits, and solves

.. math::
    \sum_o W_o F_{lm}(\vec r_o) = \delta_{l0}

for the weights :math:`W_o` of orbits and the angles of their points by the method of Gauss and Newton, with residuals
in extended precision (80 bits, as on x86). :math:`F_{lm}` are harmonics of even l and m = 0, 4, 8, ..., averaged over
cyclic permutations of x, y, z: these span what is invariant under the octahedral group.

Usage: JAX_ENABLE_X64=1 python docs/octahedral_rules.py
"""

from __future__ import annotations

from pathlib import Path

import e3x
import numpy as np
from scipy.integrate import lebedev_rule

Real = np.longdouble
SIZES = {"a00": 6, "aa0": 12, "aaa": 8, "aab": 24, "ab0": 24, "abc": 48}
PRECISIONS = [*range(3, 32, 2), *range(35, 132, 6)]
DELLEY = {5, 7, *range(11, 102, 6)}
HEADER = """\
# Quadrature rules for the sphere of octahedral symmetry (V. I. Lebedev), computed by docs/octahedral_rules.py.
# A rule: its precision, then a line for every orbit: kind, weight of one point, angles:
#   a00  a = 1              aab  a = sin(t) / sqrt(2), b = cos(t)
#   aa0  a = 1 / sqrt(2)    ab0  a = cos(t), b = sin(t)
#   aaa  a = 1 / sqrt(3)    abc  a = sin(t) cos(p), b = sin(t) sin(p), c = cos(t)
# "delley": the orbits, counted from 0, in the order of B. Delley, J. Comput. Chem. 17, 1152 (1996), who has a < b < c.
# "points": the points of an orbit in both orders.
"""


def orbits(r: np.ndarray, w: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Return the first point and the weight of every orbit of a grid whose orbits are contiguous."""
    key = np.sort(np.abs(r), axis=1)
    new = np.r_[True, np.abs(np.diff(key, axis=0)).max(axis=1) > 1e-9]
    return [(r[i], w[i]) for i in np.flatnonzero(new)]


def kind_and_angles(x: np.ndarray) -> tuple[str, list[float]]:
    """Return the kind of an orbit and the angles of its first point."""
    a, b, c = np.abs(x)
    if np.sum(np.abs(x) > 1e-9) == 1:
        return "a00", []
    if a < 1e-9:
        return "aa0", []
    if c < 1e-9:
        return "ab0", [np.arctan2(b, a)]
    if abs(a - b) < 1e-9:
        return ("aaa", []) if abs(b - c) < 1e-9 else ("aab", [np.arccos(c)])
    return "abc", [np.arccos(c), np.arctan2(b, a)]


def point(kind: str, angles: np.ndarray) -> np.ndarray:
    """Return the first point of an orbit."""
    half = np.sqrt(Real(1) / 2)
    if kind in ("a00", "aa0", "aaa"):
        x = np.asarray([letter == "a" for letter in kind], dtype=Real)
        return x / np.sqrt(x.sum())
    s, c = np.sin(angles[0]), np.cos(angles[0])
    if kind == "aab":
        return np.asarray([s * half, s * half, c])
    if kind == "ab0":
        return np.asarray([c, s, Real(0)])
    return np.asarray([s * np.cos(angles[1]), s * np.sin(angles[1]), c])


def invariants(points: np.ndarray, precision: int) -> np.ndarray:
    """Return all F_lm, orthonormal up to the number of cyclic permutations, at every point: shape (N, lm)."""
    return sum(harmonics(np.roll(points, shift, axis=1), precision) for shift in range(3)) / Real(3)


def harmonics(points: np.ndarray, precision: int) -> np.ndarray:
    """Return harmonics of even l and m = 0, 4, 8, ... with mean square 1 on the sphere."""
    x, y, z = points.T
    columns = []
    real, imaginary = np.ones_like(x), np.zeros_like(x)
    for m in range(0, precision + 1):
        if m > 0:
            a = np.sqrt(Real(2 * m + 1) / Real(2 * m)) * (np.sqrt(Real(2)) if m == 1 else 1)
            real, imaginary = a * (x * real - y * imaginary), a * (x * imaginary + y * real)
        if m % 4:
            continue
        before, p = np.zeros_like(x), real
        columns.append(p)
        for l in range(m + 1, precision + 1):
            n = Real((l - m) * (l + m))
            first = np.sqrt(Real((2 * l - 1) * (2 * l + 1)) / n)
            second = np.sqrt(Real((2 * l + 1) * (l - m - 1) * (l + m - 1)) / (n * Real(2 * l - 3))) if l > m + 1 else 0
            before, p = p, first * z * p - second * before
            if l % 2 == 0:
                columns.append(p)
    return np.stack(columns, axis=1)


def refine(kinds: list[str], angles: np.ndarray, weights: np.ndarray, precision: int) -> tuple[np.ndarray, ...]:
    """Solve for weights (of orbits) and angles, shape (orbits, 2), NaN where an orbit has none."""
    free = ~np.isnan(angles)
    for _ in range(8):
        values = invariants(points_of(kinds, angles), precision)
        residual = np.eye(1, values.shape[1], dtype=Real)[0] - weights @ values
        if np.abs(residual).max() < 2e-18:  # to rounding; further steps would wander where angles are free
            break
        derivatives = [weights[free[:, i], None] * derivative(kinds, angles, i, precision) for i in range(2)]
        jacobian = np.concatenate([values, *derivatives]).T.astype(float)
        scale = np.linalg.norm(jacobian, axis=0)
        change = np.linalg.lstsq(jacobian / scale, residual.astype(float), rcond=1e-10)[0] / scale
        weights = weights + change[: len(weights)]
        angles = angles.copy()
        angles.T[free.T] += change[len(weights) :]
    return angles, weights, np.abs(residual).max()


def derivative(kinds: list[str], angles: np.ndarray, i: int, precision: int) -> np.ndarray:
    """Return the derivatives of all F_lm by angle i, for the orbits that have one."""
    rows = np.flatnonzero(~np.isnan(angles[:, i]))
    kinds, angles, step = [kinds[o] for o in rows], angles[rows], Real(1e-6) * np.eye(2, dtype=Real)[i]
    if not len(rows):
        return np.zeros((0, invariants(np.ones((1, 3), Real), precision).shape[1]), Real)
    forward, backward = (invariants(points_of(kinds, angles + shift), precision) for shift in (step, -step))
    return (forward - backward) / (2 * step[i])


def points_of(kinds: list[str], angles: np.ndarray) -> np.ndarray:
    """Return the first point of every orbit."""
    return np.stack([point(kind, a) for kind, a in zip(kinds, angles, strict=True)])


def delley_order(points: np.ndarray, precision: int) -> list[int]:
    """Return the orbits of a rule in the order of Delley's tables, as e3x has them."""
    theirs = np.stack([x for x, _ in orbits(*e3x_grid("delley", precision))])
    ours, theirs = (np.sort(np.abs(p.astype(float)), axis=1) for p in (points, theirs))
    distances = np.abs(theirs[:, None] - ours[None]).max(axis=-1)
    assert distances.min(axis=1).max() < 1e-6
    return [int(i) for i in distances.argmin(axis=1)]


def points_in_order(table: str) -> list[str]:
    """Return lines with the points of every kind of orbit in the order of e3x, such as +a+a-b."""
    r, w = e3x_grid(table, 77 if table == "delley" else 83)
    more_r, more_w = e3x_grid(table, 23)  # a rule with points aa0
    starts = {}
    for x, y in ((more_r, more_w), (r, w)):
        for first, _ in orbits(x, y):
            start = int(np.argmin(np.abs(x - first).sum(axis=1)))
            kind = kind_of(first)
            starts[kind] = x[start : start + SIZES[kind]]
    return [f"points {table} {kind} " + " ".join(map(str, names(kind, starts[kind]))) for kind in SIZES]


def kind_of(x: np.ndarray) -> str:
    """Return the kind of an orbit from a point in any arrangement."""
    distinct = len(set(np.round(np.abs(x[np.abs(x) > 1e-9]), 9)))
    zeros = int(np.sum(np.abs(x) < 1e-9))
    return {(1, 2): "a00", (1, 1): "aa0", (1, 0): "aaa", (2, 0): "aab", (2, 1): "ab0", (3, 0): "abc"}[distinct, zeros]


def names(kind: str, points: np.ndarray) -> list[str]:
    """Return the coordinates of points as signs and letters; letters in the order of the first point."""
    first = [abs(v) for v in points[0]]
    nonzero = [v for v in first if v > 1e-9]
    if kind == "aab":  # a is the one that occurs twice
        nonzero.sort(key=lambda v: sum(abs(v - u) > 1e-9 for u in first))
    values = [v for i, v in enumerate(nonzero) if all(abs(v - u) > 1e-9 for u in nonzero[:i])]

    def name(v: float) -> str:
        return "+0" if abs(v) < 1e-9 else "-+"[int(v > 0)] + "abc"[int(np.argmin(np.abs(np.subtract(values, abs(v)))))]

    return ["".join(map(name, x)) for x in points]


def e3x_grid(table: str, precision: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a grid of e3x."""
    r, w = getattr(e3x.so3, f"{table}_quadrature")(precision=precision)
    return np.asarray(r), np.asarray(w)


def lines(precision: int) -> list[str]:
    """Return the lines of a rule."""
    x, w = lebedev_rule(precision)
    found = orbits(x.T, w / w.sum())
    kinds, angles = map(list, zip(*(kind_and_angles(x) for x, _ in found), strict=True))
    angles = np.asarray([[*a, np.nan, np.nan][:2] for a in angles], dtype=Real)
    sizes = np.asarray([SIZES[kind] for kind in kinds], dtype=Real)
    angles, weights, residual = refine(kinds, angles, sizes * [w for _, w in found], precision)
    print(f"{precision:4d} {len(x.T):5d} points, residual {residual:.1e}", flush=True)
    text = [f"precision {precision}"]
    for kind, weight, a in zip(kinds, weights / sizes, angles, strict=True):
        text.append(" ".join([kind, *(repr(float(v)) for v in (weight, *a[~np.isnan(a)]))]))
    if precision in DELLEY:
        text.append(" ".join(["delley", *map(str, delley_order(points_of(kinds, angles), precision))]))
    return text


def main() -> None:
    """Write the file."""
    text = [HEADER.rstrip()]
    for table in ("lebedev", "delley"):
        text += points_in_order(table)
    for precision in PRECISIONS:
        text += lines(precision)
    path = Path(__file__).parents[1] / "e3any" / "so3" / "octahedral_rules.txt"
    path.write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
