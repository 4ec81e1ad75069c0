"""Sums of products of basis functions and features over edges."""

from __future__ import annotations

from e3any_backends.arrays import Array, Arrays

__all__ = ["edge_products_by_segments"]


def edge_products_by_segments(
    arrays: Arrays,
    x: Array,
    angular: Array,
    radial: Array,
    src: Array,
    dst: Array,
    num: int,
    indices_are_sorted: bool = False,
) -> Array:
    """Sum products over edges; see :meth:`~e3any_backends.generic.Backend.edge_products`."""
    xp = arrays.xp
    gathered = arrays.take(x, src)[:, None, ...]
    # The features of padding are zero, but its basis need not be finite.
    src, dst = arrays.as_index(src), arrays.as_index(dst)
    dst = xp.where((src >= 0) & (src < x.shape[0]), dst, xp.full_like(dst, num))
    sums = []
    for l in range(radial.shape[1]):
        scaled = arrays.scale_components(gathered, radial[:, l, :])[:, 0, ...]
        for m in range(l**2, (l + 1) ** 2):
            sums.append(arrays.segment_sum(scaled * angular[:, m, None, None], dst, num, indices_are_sorted))
    return xp.stack(sums, axis=1)
