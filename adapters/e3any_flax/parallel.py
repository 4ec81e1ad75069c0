"""Exchange of features between parts of one graph, each on a device of its own, see :mod:`e3any.parallel`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from e3any.checks import shown
from e3any.parallel import Halo
from e3any.parallel.halo import check_exchange, check_parts

__all__ = ["exchange"]

# So that functions that JAX transforms can take it, and jax.shard_map splits its rows.
jax.tree_util.register_dataclass(Halo, ("rows",), ("rounds", "num_rows", "num_parts", "part"))


def exchange(x: Any, halo: Halo, axis_name: Any) -> Any:
    """Append the rows that other parts of a graph send, inside of ``jax.shard_map``.

    Every round is one ``jax.lax.ppermute``. Derivatives of all orders are exchanges, too: cotangents of received rows
    are sent back and added to those of the rows that were sent.

    Parameters
    ----------
    x : array of shape (n, ...), or dictionary of such arrays
        Rows of the part on this device: positions, or features.
    halo : Halo
        The halo of a :class:`e3any.parallel.GraphPartition`, which ``jax.shard_map`` has split along its rows.
    axis_name : str or tuple of str
        The axis of the mesh, or the axes, along which the parts are.

    Returns
    -------
    array of shape (n + S, ...), or dictionary of such arrays
        Rows of this part, and those that it receives. Rows of padding are zero.

    Raises
    ------
    TypeError
        If ``halo`` is not a halo, or ``x`` is not an array.
    ValueError
        If the rows are not those of one part, or there is no such axis of as many devices as parts.
    """
    for block in x.values() if isinstance(x, Mapping) else [x]:
        if not isinstance(block, jax.Array | np.ndarray):
            raise TypeError(f"expected x to be an array of JAX or NumPy, got {shown(block)}")
    check_exchange(x, halo)
    _check_axis(halo, axis_name)
    if isinstance(x, Mapping):
        return {name: _exchanged(block, halo, axis_name) for name, block in x.items()}
    return _exchanged(x, halo, axis_name)


def _check_axis(halo: Halo, axis_name: Any) -> None:
    try:
        size = jax.lax.axis_size(axis_name)
    except (NameError, TypeError, ValueError) as error:
        raise ValueError(f"expected the name of an axis of jax.shard_map, got {shown(axis_name)}") from error
    check_parts(halo, size, f"an axis {shown(axis_name)} of as many devices")


def _exchanged(x: Any, halo: Halo, axis_name: Any) -> Any:
    blocks, start = [jnp.asarray(x)], 0
    for size, pairs in halo.rounds:
        rows = halo.rows[start : start + size]
        # No row comes twice, so a device adds the rows of a cotangent without atomic operations.
        sent = blocks[0].at[rows].get(mode="fill", fill_value=0, indices_are_sorted=True, unique_indices=True)
        blocks.append(jax.lax.ppermute(sent, axis_name, pairs))
        start += size
    return jnp.concatenate(blocks) if len(blocks) > 1 else blocks[0]
