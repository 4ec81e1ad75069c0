"""Quadrature rules of the sphere, see :mod:`e3any.so3.quadrature`."""

from __future__ import annotations

from typing import Literal

from e3any.so3.quadrature import delley_quadrature, lebedev_quadrature
from e3any_flax.boundary import accept_arrays
from e3any_flax.types import Array as Array

__all__ = ["delley_quadrature", "lebedev_quadrature"]

accept_arrays(globals())


def _load_grid(
    kind: Literal["Lebedev", "Delley"], precision: int | None = None, num: int | None = None
) -> tuple[Array, Array]:
    """Return points and weights of a rule."""
    rules = {"Lebedev": lebedev_quadrature, "Delley": delley_quadrature}
    if kind not in rules:
        raise ValueError(f"expected kind to be one of {tuple(rules)}, got {kind!r} ({kind=} does not exist)")
    return rules[kind](precision, num)
