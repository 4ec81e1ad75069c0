"""Kinds of arguments: a value that is right, and values that are wrong, under the names of what is wrong with them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from e3any import nn


@dataclass(frozen=True)
class Kind:
    """A kind of argument.

    Parameters
    ----------
    right
        A value that the function takes.
    wrong : mapping
        Values that it refuses. Arrays, also those in tuples and dictionaries, are of NumPy.
    """

    right: Any
    wrong: Mapping[str, Any]

    def but(self, **wrong: Any) -> Kind:
        """Return the kind with more wrong values."""
        return Kind(self.right, {**self.wrong, **wrong})

    def without(self, *names: str) -> Kind:
        """Return the kind with fewer wrong values."""
        return Kind(self.right, {name: value for name, value in self.wrong.items() if name not in names})

    def of_any_dtype(self) -> Kind:
        """Return the kind of arrays that only have to be arrays."""
        return self.without("dtype", "bool", "complex")

    def optional(self) -> Kind:
        """Return the kind of an argument that may be None."""
        return Kind(self.right, {name: value for name, value in self.wrong.items() if value is not None})


def array(*shape: int, dtype: type = float, **wrong: Any) -> Kind:
    """Return arrays of a shape; ``wrong`` are wrong shapes or values."""
    others = {"dtype": int, "bool": bool, "complex": complex} if dtype is float else {"dtype": float, "bool": bool}
    values = {name: np.ones(shape, other) for name, other in others.items() if other is not dtype}
    values |= {name: np.ones(x, dtype) if isinstance(x, tuple) else x for name, x in wrong.items()}
    return Kind(np.ones(shape, dtype), {**values, "string": "x", "nothing": None})


def vectors(*lead: int, size: int = 3) -> Kind:
    """Return vectors of shape (*lead, size)."""
    return array(*lead, size, rank=(), axis=(*lead, size + 1), empty=(*lead, 0))


def matrices(*lead: int, rows: int = 3, columns: int = 3) -> Kind:
    """Return matrices of shape (*lead, rows, columns)."""
    wrong = {"rank": (rows,), "rows": (*lead, rows + 1, columns), "columns": (*lead, rows, columns + 1)}
    return array(*lead, rows, columns, **wrong)


def features(*lead: int, parities: int = 2, components: int = 4, channels: int = 2) -> Kind:
    """Return features of shape (*lead, parities, components, channels)."""
    wrong = {
        "rank": (components, channels),
        "parities": (*lead, 3, components, channels),
        "components": (*lead, parities, components + 1, channels),
        "no components": (*lead, parities, 0, channels),
    }
    return array(*lead, parities, components, channels, **wrong)


def indices(*shape: int, **wrong: Any) -> Kind:
    """Return index lists of a shape."""
    values = array(*shape, dtype=int, **wrong)
    return Kind(np.zeros(shape, int), values.wrong)


def mask(*shape: int) -> Kind:
    """Return masks of a shape."""
    wrong = {"dtype": np.ones(shape), "integers": np.ones(shape, int), "axis": np.ones((*shape[:-1], 9), bool)}
    return Kind(np.ones(shape, bool), {**wrong, "nothing": None})


_NO_INTEGERS = {
    "negative": -1,
    "fraction": 1.5,
    "float": 1.0,
    "nan": math.nan,
    "bool": True,
    "string": "1",
    "nothing": None,
    "list": [1],
}


def degree(right: int = 1, **wrong: Any) -> Kind:
    """Return integers >= 0."""
    return Kind(right, {**_NO_INTEGERS, **wrong})


def count(right: int = 2, **wrong: Any) -> Kind:
    """Return integers >= 1."""
    return degree(right, zero=0, **wrong)


def integer(right: int = 1) -> Kind:
    """Return integers of both signs."""
    return Kind(right, {name: value for name, value in _NO_INTEGERS.items() if name != "negative"})


def number(right: float = 1.0, **wrong: Any) -> Kind:
    """Return numbers."""
    return Kind(right, {"nan": math.nan, "string": "1", "complex": 1j, "list": [1.0], "nothing": None, **wrong})


def positive(right: float = 1.0) -> Kind:
    """Return numbers > 0."""
    return number(right, zero=0.0, negative=-1.0)


def option(right: str) -> Kind:
    """Return one of several strings."""
    return Kind(right, {"unknown": "other", "number": 1, "empty": "", "list": ["other"]})


def flag(right: bool | None = True, *, optional: bool = False) -> Kind:
    """Return flags, which are True or False, or None if they are optional."""
    wrong = {"string": "False", "number": 2, "one": 1, "zero": 0, "nan": math.nan, "list": [True], "empty": ()}
    wrong |= {"array": np.ones(2, bool), "nothing": None}
    return Kind(right, wrong).optional() if optional else Kind(right, wrong)


def setting() -> Kind:
    """Return a setting that is True, False or the default."""
    return flag(None, optional=True)


def generator() -> Kind:
    """Return random generators."""
    return Kind(np.random.default_rng(0), {"seed": 0, "nothing": None, "class": np.random.Generator})


def tree(layer: nn.Layer, *inputs: Kind, **options: Kind) -> Kind:
    """Return parameters of a layer for inputs."""
    specs = layer.parameters(*(x.right for x in inputs), **{name: x.right for name, x in options.items()})
    right = _leaves(specs, lambda spec: np.ones(spec.shape))
    wrong = {
        "missing": {},
        "other names": {f"{name}_": value for name, value in right.items()},
        "shape": _leaves(specs, lambda spec: np.ones((*spec.shape, 7))),
        "dtype": _leaves(specs, lambda spec: np.ones(spec.shape, int)),
        "leaves": _leaves(specs, lambda spec: "x"),
        "list": [1.0],
        "nothing": None,
    }
    return Kind(right, wrong)


def _leaves(specs: Any, function: Any) -> Any:
    return {n: _leaves(s, function) if isinstance(s, dict) else function(s) for n, s in specs.items()}
