"""Sums over edges of couplings with weights of every edge and path."""

from __future__ import annotations

from collections.abc import Callable

from e3any_backends.arrays import Array, Arrays
from e3any_backends.forms.couplings import Coupling
from e3any_backends.forms.paths import PathForm
from e3any_backends.forms.tables import attribute, lookup

__all__ = ["Couple", "path_sums_by_segments"]

#: Couples features, harmonics and weights of shapes (1, E, components, F), as :meth:`.Backend.couple`.
Couple = Callable[[Array, Array, Array, Coupling], Array]


def path_sums_by_segments(
    arrays: Arrays,
    couple: Couple,
    operands: tuple[Array, Array, Array],
    src: Array,
    dst: Array,
    num: int,
    form: PathForm,
    indices_are_sorted: bool = False,
) -> Array:
    """Sum couplings over edges; see :meth:`~e3any_backends.generic.Backend.path_sums`."""
    xp, (x, angular, weights) = arrays.xp, operands
    num_edges = angular.shape[0]
    src, dst = arrays.as_index(src), arrays.as_index(dst)
    # The features of padding are zero, but its basis and weights need not be finite.
    dst = xp.where((src >= 0) & (src < x.shape[0]), dst, xp.full_like(dst, num))
    sums = []
    for block in lookup(attribute, form.number, "blocks"):
        coupling, features = block.coupling, block.features
        sent = xp.reshape(arrays.take(x[:, block.x], src), (1, num_edges, coupling.num_x, features))
        q = xp.reshape(weights[:, block.weights], (1, num_edges, coupling.num_paths, features))
        y = xp.broadcast_to(angular[None, ..., None], (1, *angular.shape, features))
        total = arrays.segment_sum(couple(sent, y, q, coupling), dst, num, indices_are_sorted)
        sums.append(xp.reshape(total, (num, coupling.num_z * features)))
    return sums[0] if len(sums) == 1 else xp.concat(sums, axis=-1)
