"""Blocks of features by degree or by irrep, and parameters for every irrep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from e3any_backends import Array, Backend

from e3any.conventions import parity_names
from e3any.layout import Layout
from e3any.nn.layer import Parameters

__all__ = ["by_degree", "degree_blocks", "irrep_parameters", "joined", "parameters_by_irrep", "promoted"]


def degree_blocks(backend: Backend, x: Array, layout: Layout) -> list[Array]:
    """Return the components (..., P, 2l+1, F) of every degree of features."""
    return backend.pieces(x, [2 * l + 1 for l in range(layout.max_degree + 1)], -2)


def joined(backend: Backend, blocks: list[Array]) -> Array:
    """Undo :func:`degree_blocks`."""
    return backend.xp.concat(blocks, axis=-2)


def irrep_parameters(p: Parameters, name: str, layout: Layout, init: Any, dtype: Any) -> list[Array]:
    """Return the parameter ``{l}{p}/name`` of shape (F,) of every irrep, parity by parity."""
    irreps = parity_names(layout.max_degree, layout.num_parities)
    return [(p / irrep).param(name, (layout.features,), init, dtype) for _, _, irrep in irreps]


def by_degree(backend: Backend, parameters: list[Array], layout: Layout) -> list[Array]:
    """Stack the result of :func:`irrep_parameters` to one array of shape (P, 1, F) for every degree."""
    step = layout.max_degree + 1
    return [backend.xp.stack(parameters[l::step])[:, None, :] for l in range(step)]


# Features that are dictionaries by irrep, of arrays (..., 2l+1, F): see e3any.irreps.


def parameters_by_irrep(p: Parameters, name: str, x: Mapping[str, Array], init: Any, dtype: Any) -> dict[str, Array]:
    """Return the parameter ``{irrep}/name`` of shape (F,) of every irrep of a dictionary."""
    return {irrep: (p / irrep).param(name, (block.shape[-1],), init, dtype) for irrep, block in x.items()}


def promoted(backend: Backend, *trees: Mapping[str, Array], dtype: Any = None) -> list[dict[str, Array]]:
    """Cast the arrays of several dictionaries to ``dtype``, or to their common one if it is None."""
    arrays = iter(backend.promote(*(array for tree in trees for array in tree.values()), dtype=dtype))
    return [{name: next(arrays) for name in tree} for tree in trees]
