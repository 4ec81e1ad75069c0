"""What is computed in a case: a function of named arrays, and what these arrays are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np

from e3any import nn
from e3any.nn.parameters import Recorder, leaves

Arrays = Mapping[str, Any]
Role = Literal["features", "vectors", "positive", "parameters", "index", "mask"]
T = TypeVar("T")

# Both sides of what kernels choose by: vectors of 8 and 16 numbers, blocks of them, and parts of vectors.
FEATURES = (1, 2, 3, 15, 16, 17, 31, 32, 33, 64, 128)
# Numbers of a case, intermediate ones included, so that the reference takes a fraction of a second.
_MOST = 600_000


@dataclass(frozen=True)
class Spec:
    """What an array is: of integers for indices, of bools for masks, else of floating-point numbers.

    Indices number ``num`` rows, and some are padding. They ascend if a program promises it. Rows along the first axis
    do not depend on each other, unless an array has no rows. They are ``of_edges`` if there is one for every edge, or
    for the edges of a node.
    """

    role: Role
    shape: tuple[int, ...]
    num: int = 0
    ascending: bool = False
    has_rows: bool = True
    of_edges: bool = False

    @property
    def is_float(self) -> bool:
        return self.role not in ("index", "mask")

    def example(self) -> np.ndarray:
        """Return zeros of one row."""
        shape = (min(1, self.shape[0]), *self.shape[1:]) if self.has_rows and self.shape else self.shape
        return np.zeros(shape, {"index": np.int64, "mask": bool}.get(self.role, np.float32))


@dataclass(frozen=True)
class Map:
    """The kernels of a map, called with arrays of NumPy by name.

    Parameters
    ----------
    value : callable
        ``value(arrays)``.
    vjp : callable
        ``vjp(arrays, g)`` returns the derivatives of the sum of ``g`` times the value, by name.
    second : callable
        ``second(arrays, g, tangents)`` returns the derivatives of the sum of tangents times what ``vjp`` returns.
    """

    value: Callable[[Arrays], Any]
    vjp: Callable[[Arrays, Any], dict[str, Any]]
    second: Callable[[Arrays, Any, Arrays], dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Program:
    """A function of named arrays.

    Parameters
    ----------
    text : str
        What it is.
    function : callable
        The function, for arrays of any library.
    specs : dict
        Its arrays.
    order : int
        How often it can be differentiated where numbers are ordinary ones.
    is_algebraic : bool
        Whether results are no numbers wherever they depend on an infinity or a NaN, and sizes of rows may differ much.
    map : Map, optional
        What NumPy calls in place of the function, with derivatives.
    """

    text: str
    function: Callable[[Arrays], Any]
    specs: Mapping[str, Spec]
    order: int = 2
    is_algebraic: bool = False
    map: Map | None = None


class Sizes:
    """Draws the sizes and options of programs."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def one_of(self, choices: Sequence[T]) -> T:
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def features(self, most: int = 128) -> int:
        return self.one_of([f for f in FEATURES if f <= most])

    def degree(self, most: int = 5) -> int:
        return int(self.rng.integers(most + 1))

    def parities(self) -> int:
        return self.one_of((1, 2))

    def rows(self, numbers: int = 1) -> int:
        """Draw none, one, a few or many rows, of so many numbers each."""
        rng = self.rng
        rows = self.one_of((0, 1, int(rng.integers(2, 9)), int(rng.integers(2, 9)), int(rng.integers(20, 200))))
        return min(rows, max(1, _MOST // numbers))

    def layout(self, features: int | None = None, most: int = 5) -> tuple[int, int, int]:
        """Draw the last three axes of features."""
        return self.parities(), (self.degree(most) + 1) ** 2, features or self.features()


def of_layer(layer: nn.Layer, specs: dict[str, Spec], call: Callable[[Any, Arrays], Any], **options: Any) -> Program:
    """Return a program of a layer; ``call(p, arrays)`` applies it, and its parameters are added to the arrays."""
    example = {name: spec.example() for name, spec in specs.items()}
    tree: dict[str, Any] = {}
    call(Recorder(tree), example)
    names = {"/".join(("p", *path)): spec for path, spec in leaves(tree)}
    specs = {**specs, **{name: Spec("parameters", tuple(spec.shape), has_rows=False) for name, spec in names.items()}}
    return Program(_text(layer), lambda arrays: call(_nested(arrays), arrays), specs, **options)


def _text(layer: nn.Layer) -> str:
    """Return a layer with the options that are not those by default."""
    given = [(f.name, getattr(layer, f.name), f.default) for f in dataclasses.fields(layer)]
    found = {name: value for name, value, default in given if value != default and not name.endswith("_init")}
    return f"{type(layer).__name__}({', '.join(f'{n}={v!r}' for n, v in found.items())})"


def _nested(arrays: Arrays) -> dict[str, Any]:
    """Return the parameters among arrays as a tree."""
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        first, *path = name.split("/")
        if first == "p" and path:
            node = tree
            for part in path[:-1]:
                node = node.setdefault(part, {})
            node[path[-1]] = array
    return tree
