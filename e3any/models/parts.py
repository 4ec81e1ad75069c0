"""Parts that models share: the rows of tables for atomic numbers, and checks of settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from e3any_backends import Array, backend_of
from numpy.typing import NDArray

from e3any.checks import check_count, check_counts, check_integer, check_number, check_vectors, floating_backend, shown
from e3any.irreps import Irreps
from e3any.nn.cutoffs import check_positive
from e3any.nn.layer import Parameters
from e3any.nn.layers import BesselBasis, Embed, ScaleShift
from e3any.ops import index_kind

__all__ = [
    "ELEMENTS",
    "check_degrees_and_sizes",
    "check_settings",
    "check_structure",
    "embedded",
    "scalars_of",
    "species_of",
]

#: The elements from hydrogen to plutonium, which data of materials have.
ELEMENTS = tuple(range(1, 95))


def check_settings(model: Any) -> None:
    """Raise an error unless the fields that models share have values that they can have; make sequences tuples."""
    check_counts(model.elements, "elements")
    elements = tuple(int(number) for number in model.elements)
    if not elements or min(elements) < 1 or len(set(elements)) != len(elements):
        raise ValueError(f"expected elements as different atomic numbers, got {shown(elements)}")
    object.__setattr__(model, "elements", elements)
    object.__setattr__(model, "irreps", Irreps(model.irreps))
    if model.irreps.scalar not in model.irreps:
        raise ValueError(f"expected irreps with scalars {model.irreps.scalar!r}, got {model.irreps}")
    check_counts(model.hidden, "hidden")
    object.__setattr__(model, "hidden", tuple(model.hidden))
    for name in ("num_interactions", "max_degree"):
        check_count(getattr(model, name), name)
    check_integer(model.num_radial, "num_radial", least=1)
    for name in ("cutoff", "num_neighbours"):
        check_number(getattr(model, name), name)
        check_positive(getattr(model, name), name)
    BesselBasis(model.cutoff, model.param_dtype)
    ScaleShift(len(elements), model.scale, model.shift)


def check_degrees_and_sizes(model: Any, *degrees: str, sizes: Sequence[str] = ()) -> None:
    """Raise an error unless the fields of a model with one number of features have values that they can have.

    ``degrees`` and ``sizes`` name further fields, which are integers >= 0 and >= 1.
    """
    for name in ("features", "num_interactions", "num_radial", "num_elements", *sizes):
        check_integer(getattr(model, name), name, least=1)
    for name in degrees:
        check_integer(getattr(model, name), name)
    for name in ("cutoff", "num_neighbours"):
        if hasattr(model, name):
            check_number(getattr(model, name), name)
            check_positive(getattr(model, name), name)
    ScaleShift(model.num_elements, model.scale, model.shift)


def check_structure(numbers: Array, vectors: Array, lists: Mapping[str, Any]) -> None:
    """Raise an error unless the inputs of a model are arrays of one library whose shapes can fit each other."""
    backend = floating_backend(numbers, vectors=vectors)
    check_vectors(vectors, "vectors")
    if not hasattr(numbers, "shape") or not backend.is_integer(numbers):
        raise TypeError(f"expected numbers to be an integer array, got {shown(numbers)}")
    index_kind(**{name: lists.get(name) for name in ("adj_idx", "dst_idx", "src_idx")})


def scalars_of(irreps: Irreps) -> Irreps:
    """Return the scalars among irreps."""
    return Irreps({irreps.scalar: irreps[irreps.scalar]})


def embedded(p: Parameters, species: Array, num: int, irreps: Irreps, vectors: Array, param_dtype: Any) -> Any:
    """Return the learned scalars of every atom, in a dtype that the vectors can be combined with."""
    scalars = Embed(num, scalars_of(irreps), param_dtype=param_dtype)(p, species)
    return {name: backend_of(vectors).promote(x, vectors)[0] for name, x in scalars.items()}


def species_of(numbers: Array, elements: Sequence[int]) -> Array:
    """Return the position of every atomic number among the elements; -1, which no table has, for others and padding."""
    backend = backend_of(numbers)
    table = backend.table(_following, tuple(elements), like=numbers)
    rows = backend.take(table, backend.xp.reshape(numbers, (-1,)))
    # Numbers beyond the table have the row zero, which is what other numbers have.
    return backend.xp.reshape(rows, numbers.shape) - 1


def _following(elements: tuple[int, ...]) -> NDArray[np.int64]:
    """Return position + 1 by atomic number, zero for others."""
    table = np.zeros(max(elements) + 1, np.int64)
    table[list(elements)] = np.arange(1, len(elements) + 1)
    return table
