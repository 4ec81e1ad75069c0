r"""Kernels of sums over edges: :math:`A_{imkf} = \sum_{e \to i} Y_{em} \, R_{e\,l(m)f} \, x_{s(e)kf}`.

Here s(e) is the sender of edge e, l(m) the degree of harmonic m, k a component of the features and f a channel.

=========  ==================  =======================================================
array      shape               content
=========  ==================  =======================================================
``x``      (N, K, F)           features of the nodes that send
angular    (E, M)              Y, with M = (L+1)**2 harmonics
radial     (E, L+1, F)         R
``src``    (E,)                sender of each edge
``out``    (num, M, K F)       sums A; k and f are one axis
``g``      (num, M, K F)       cotangent of ``out`` in :func:`vjp`
=========  ==================  =======================================================

Edges are visited receiver by receiver, so that the sums of one receiver stay in the cache. Edges whose sender or
receiver is out of range are padding. If F is a multiple of the vector length, the work for a receiver is done by
unrolled code of :mod:`e3any_backends.kernels.code.edges`.
"""

from __future__ import annotations

import numpy as np

from e3any_backends.arrays import Array
from e3any_backends.kernels.code.jit import jit, part
from e3any_backends.kernels.code.simd import clear
from e3any_backends.kernels.code.unrolled import run
from e3any_backends.kernels.parallel.partition import of_edges, of_rows

__all__ = ["by_receiver", "product", "senders_in_order", "sorted_edges", "vjp", "work"]

# Bytes of a core's first-level cache that are used. Addresses that differ by a multiple of _CACHE_PERIOD compete for
# the same lines of it (https://en.wikipedia.org/wiki/CPU_cache#Associativity), which have _LINE bytes. A cache
# of 64 sets with 8 lines each has 16 lines for all addresses that are 2048 bytes apart, such as rows of harmonics.
_CACHE, _CACHE_PERIOD, _LINE = 32768, 2048, 64


def work(x: Array, angular: Array) -> int:
    """Return the number of multiplications, those of 8-byte numbers counted twice, for ``pool.num_shares``."""
    return int(angular.size * x.shape[1] * x.shape[2] * x.dtype.itemsize // 4)


def sorted_edges(src: Array, dst: Array, num_src: int, num_dst: int) -> tuple[Array, Array]:
    """Return ``starts`` and ``order``, see :func:`by_receiver`."""
    starts, order = np.empty(num_dst + 2, np.intp), np.empty(len(dst), np.intp)
    by_receiver(starts, order, src, dst, num_src)
    return starts, order


@jit
def by_receiver(starts: Array, order: Array, src: Array, dst: Array, num_src: int) -> None:
    """Counting sort of edges by receiver; padding goes last.

    ================  ===================================================================================
    ``order[n]``      number of an edge; those of one receiver follow each other and keep their order
    ``starts[i]``     where the edges of receiver i start in ``order``
    ``starts[num]``   where the padding starts
    ``starts[-1]``    number of all edges
    ================  ===================================================================================

    For example, receivers 1, 0, 7, 1 of ``num = 2`` nodes give order 1, 0, 3, 2 and starts 0, 1, 3, 4. See
    https://en.wikipedia.org/wiki/Counting_sort.
    """
    num_dst = len(starts) - 2
    for i in range(len(starts)):
        starts[i] = 0
    for e in range(len(dst)):
        if 0 <= src[e] < num_src and 0 <= dst[e] < num_dst:
            starts[dst[e] + 2] += 1
    for i in range(num_dst):
        starts[i + 2] += starts[i + 1]
    # Here starts[i + 1] is the first edge of receiver i. The next loop moves it to the end, the first edge of i + 1.
    for e in range(len(dst)):
        if 0 <= src[e] < num_src and 0 <= dst[e] < num_dst:
            receiver = dst[e]
        else:
            receiver = num_dst
        order[starts[receiver + 1]] = e
        starts[receiver + 1] += 1


@jit
def product(
    share: int,
    num_shares: int,
    out: Array,
    x: Array,
    angular: Array,
    radial: Array,
    src: Array,
    starts: Array,
    order: Array,
    code: int,
) -> None:
    """Write the sums of one share of the receivers to ``out``; ``code`` is the address of unrolled code, or 0.

    Unrolled code gets for every receiver, as int64 numbers:

    ===============  =============================  ============  =========================================
    ``pointers``     address of                     ``steps``     content
    ===============  =============================  ============  =========================================
    ``pointers[0]``  sums of the receiver           ``steps[0]``  its first edge in ``order``
    ``pointers[1]``  ``x``                          ``steps[1]``  end of its edges
    ``pointers[2]``  angular                        ``steps[2]``  first byte to read of a component
    ``pointers[3]``  radial                         ``steps[3]``  end of these bytes
    ``pointers[4]``  senders (int64), by position   ``steps[4]``  bytes from one harmonic of the sums to the
                     in ``order``                                 next
    ``pointers[5]``  ``order``
    ===============  =============================  ============  =========================================

    The other arguments of ``run`` are the number of components K and the bytes of one, F * itemsize.
    """
    degrees, (_, components, features) = radial.shape[1], x.shape
    width = components * features
    begin, end = of_edges(starts, share, num_shares)
    if code != 0:
        pointers, steps = np.empty(6, np.intp), np.empty(5, np.intp)
        senders = senders_in_order(src, order, starts[begin], starts[end])
        _set_factors(pointers, x, angular, radial, senders, order)
        _set_components(steps, x, width * x.itemsize)
        for i in range(begin, end):
            pointers[0], steps[0], steps[1] = out.ctypes.data + i * out[0].nbytes, starts[i], starts[i + 1]
            run(code, pointers, steps, components, features * x.itemsize)
        pointers[4] = senders.ctypes.data  # else numba would free them before the loop
        return
    scaled = np.empty((4, components, features), x.dtype)
    flat = scaled.reshape(4, width)
    first, second, third, fourth = flat[0], flat[1], flat[2], flat[3]
    for i in range(begin, end):
        stop = starts[i + 1]
        clear(out[i])
        # Four edges at a time: sums are loaded and stored a quarter as often.
        for e in range(starts[i], stop, 4):
            a, b, c, d = order[e], order[min(e + 1, stop - 1)], order[min(e + 2, stop - 1)], order[min(e + 3, stop - 1)]
            if stop - e < 4:
                clear(scaled)
            for l in range(degrees):
                for j in range(min(4, stop - e)):
                    _scale(scaled[j], x[src[order[e + j]]], radial[order[e + j], l])
                for m in range(l * l, (l + 1) * (l + 1)):
                    sums = out[i, m]
                    p, q, r, s = angular[a, m], angular[b, m], angular[c, m], angular[d, m]
                    for k in range(width):
                        sums[k] += (p * first[k] + q * second[k]) + (r * third[k] + s * fourth[k])


@jit
def vjp(
    share: int,
    num_shares: int,
    dx: Array,
    d_angular: Array,
    d_radial: Array,
    x: Array,
    angular: Array,
    radial: Array,
    g: Array,
    src: Array,
    starts: Array,
    order: Array,
    code: int,
) -> None:
    """Compute the gradients of the edges of one share of the receivers.

    Their rows of ``d_angular`` and ``d_radial`` are written. The gradients with respect to the features of their
    senders are added to ``dx``.

    Unrolled code gets three more pointers than in :func:`product`, and ``pointers[0]`` and ``steps[4]`` are those of
    the cotangent ``g``. It runs once for each receiver and block: a range of bytes, the same in every component.

    ===============  ====================================
    ``pointers``     address of
    ===============  ====================================
    ``pointers[6]``  ``dx``, which is added to
    ``pointers[7]``  ``d_angular``, which is added to
    ``pointers[8]``  ``d_radial``, which is written
    ===============  ====================================
    """
    begin, end = of_edges(starts, share, num_shares)
    _clear_gradients(d_angular, d_radial, order[starts[begin] : starts[end]], code == 0)
    # The gradients of padding stay zero.
    padding, num_edges = starts[len(starts) - 2], len(order)
    first, last = of_rows(num_edges - padding, 1, share, num_shares)
    _clear_gradients(d_angular, d_radial, order[padding + first : padding + last], True)
    if code != 0:
        pointers, steps = np.empty(9, np.intp), np.empty(5, np.intp)
        senders = senders_in_order(src, order, starts[begin], starts[end])
        _set_factors(pointers, x, angular, radial, senders, order)
        pointers[6], pointers[7], pointers[8] = dx.ctypes.data, d_angular.ctypes.data, d_radial.ctypes.data
        component_bytes = x.shape[2] * x.itemsize
        # Bytes of each component in a block. A block of the cotangent then stays in the core's cache while all edges of
        # the receiver read it.
        block = max(1, _CACHE // (angular.shape[1] * x.shape[1] * _LINE)) * _LINE
        padded = _padded_like(g)
        _set_components(steps, x, padded[0].nbytes if len(padded) else g[0, 0].nbytes)
        for i in range(begin, end):
            pointers[0], steps[0], steps[1] = g.ctypes.data + i * g[0].nbytes, starts[i], starts[i + 1]
            if len(padded):
                pointers[0] = padded.ctypes.data
                _copy(padded, g[i])
            for first in range(0, component_bytes, block):
                steps[2], steps[3] = first, min(first + block, component_bytes)
                run(code, pointers, steps, x.shape[1], component_bytes)
        pointers[4] = senders.ctypes.data  # else numba would free them before the loop
        return
    scaled, inner = np.empty(x.shape[1:], x.dtype), np.empty(x.shape[1:], x.dtype)
    scratch = scaled, inner, scaled.reshape(-1), inner.reshape(-1)
    for i in range(begin, end):
        for e in order[starts[i] : starts[i + 1]]:
            gradients, factors = (dx[src[e]], d_angular[e], d_radial[e]), (x[src[e]], angular[e], radial[e])
            _add_edge_vjp(gradients, factors, g[i], scratch)


# -- arguments of unrolled code -----------------------------------------------------------------------------


@part
def _clear_gradients(d_angular: Array, d_radial: Array, edges: Array, has_radial: bool) -> None:
    """Set the gradients of edges to zero, those of the radial part only if ``has_radial``."""
    for e in edges:
        clear(d_angular[e])
        if has_radial:
            clear(d_radial[e])


@jit
def senders_in_order(src: Array, order: Array, begin: int, end: int) -> Array:
    """Return the senders of edges, sorted like ``order``; only those of a share are filled in."""
    senders = np.empty(len(order), np.int64)
    for e in range(begin, end):
        senders[e] = src[order[e]]
    return senders


@jit
def _set_factors(pointers: Array, x: Array, angular: Array, radial: Array, senders: Array, order: Array) -> None:
    pointers[1], pointers[2], pointers[3] = x.ctypes.data, angular.ctypes.data, radial.ctypes.data
    pointers[4], pointers[5] = senders.ctypes.data, order.ctypes.data


@jit
def _set_components(steps: Array, x: Array, harmonic_bytes: int) -> None:
    steps[2], steps[3], steps[4] = 0, x.shape[2] * x.itemsize, harmonic_bytes


@jit
def _padded_like(g: Array) -> Array:
    """Return scratch with padded rows for the cotangent of a receiver; empty if its harmonics do not compete."""
    harmonics, width = g.shape[1:]
    if width * g.itemsize % _CACHE_PERIOD == 0:
        return np.empty((harmonics, width + _LINE // g.itemsize), g.dtype)
    return np.empty((0, 0), g.dtype)


@part
def _copy(target: Array, source: Array) -> None:
    for m in range(len(source)):
        a, b = target[m], source[m]
        for k in range(len(b)):
            a[k] = b[k]


# -- one edge -----------------------------------------------------------------------------------------------


@part
def _add_edge_vjp(gradients: Array, factors: Array, g: Array, scratch: Array) -> None:
    """Add the gradients of one edge with respect to its factors: features, angular and radial part."""
    (dx, d_angular, d_radial), (x, angular, radial) = gradients, factors
    scaled, inner, flat, flat_inner = scratch
    for l in range(len(radial)):
        _scale(scaled, x, radial[l])
        clear(inner)
        for m in range(l * l, (l + 1) * (l + 1)):
            _add_harmonic_vjp(flat_inner, d_angular[m : m + 1], flat, g[m], angular[m])
        _add_scale_vjp(dx, d_radial[l], x, radial[l], inner)


@part
def _scale(scaled: Array, x: Array, scale: Array) -> None:
    for k in range(len(x)):
        a, b = x[k], scaled[k]
        for f in range(len(scale)):
            b[f] = a[f] * scale[f]


@part
def _add_scale_vjp(dx: Array, d_scale: Array, x: Array, scale: Array, g: Array) -> None:
    """Add the gradients of :func:`_scale` for a cotangent ``g``."""
    for k in range(len(x)):
        a, da, b = x[k], dx[k], g[k]
        for f in range(len(scale)):
            da[f] += scale[f] * b[f]
            d_scale[f] += a[f] * b[f]


@part
def _add_harmonic_vjp(d_scaled: Array, d_y: Array, scaled: Array, g: Array, y: float) -> None:
    """Add the gradients of ``y * scaled``, for one harmonic y and a cotangent ``g``."""
    gradient = d_y[0]
    for k in range(len(g)):
        d_scaled[k] += y * g[k]
        gradient += scaled[k] * g[k]
    d_y[0] = gradient
