"""Conversion of the weights of tensor products."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from e3any_backends import Array

from e3any.checks import floating_backend, shown
from e3any.interop.features import check_layout, kernel_of, positions_of
from e3any.layout import Layout

__all__ = ["tensor_parameters", "tensor_weights"]

Irrep: TypeAlias = tuple[int, int]
Path: TypeAlias = tuple[Irrep, Irrep, Irrep]


def tensor_parameters(weights: Array, paths: Sequence[Path], layouts: tuple[Layout, Layout, Layout]) -> dict[str, Any]:
    r"""Return parameters of :class:`e3any.nn.Tensor` from the weights of a tensor product of e3nn, feature by feature.

    .. math:: w_{(a,b,c)} = w'_{(a,b,c)} / \sqrt{n_c}

    where :math:`n_c` paths lead to the irrep c.

    Parameters
    ----------
    weights : array of shape (K * F,)
        The weights of ``e3nn.o3.TensorProduct`` (https://docs.e3nn.org/en/stable/api/o3/o3_tp.html) with its default
        normalisations and path weights. Its instructions are ``"uuu"``, or ``"uvu"`` if each irrep of the second factor
        has the multiplicity 1, as harmonics have; e3any repeats such a factor F times.
    paths : sequence of (irrep, irrep, irrep)
        Degree and parity, 1 or -1, of both factors and the product of every instruction, in the order of the weights.
        Each irrep occurs once in its factor or in the product.
    layouts : (Layout, Layout, Layout)
        The layouts of the factors and of the product.

    Returns
    -------
    dict
        The parameters of ``Tensor``; couplings without a path have the weight zero.

    Raises
    ------
    ValueError
        If a path does not couple irreps of the layouts or is given twice, or the number of weights does not fit.
    TypeError
        If the weights are not a floating-point array, or a layout is not a Layout.
    """
    backend = floating_backend(weights=weights)
    positions, norms = _places(paths, layouts)
    shape, features = _kernel_shape(layouts), layouts[2].features
    if tuple(weights.shape) != (len(paths) * features,):
        raise ValueError(f"expected {len(paths)} paths of {features} weights, got shape {tuple(weights.shape)}")
    rows = backend.xp.reshape(weights, (len(paths), features)) / backend.constant(norms[:, None], like=weights)
    nothing = backend.xp.zeros((1, features), dtype=weights.dtype, device=backend.device(weights))
    # The row of each coupling; couplings without a path take the last row, of zeros.
    index = np.full(int(np.prod(shape)), len(paths))
    index[positions] = np.arange(len(paths))
    kernel = backend.xp.take(backend.xp.concat([rows, nothing]), backend.index(index, like=weights), axis=0)
    return {"kernel": backend.xp.reshape(kernel, (*shape, features))}


def tensor_weights(params: Mapping[str, Any], paths: Sequence[Path], layouts: tuple[Layout, Layout, Layout]) -> Array:
    """Return the weights of a tensor product of e3nn; the inverse of :func:`tensor_parameters`.

    Parameters
    ----------
    params : mapping
        The parameters of ``Tensor``.
    paths, layouts
        See :func:`tensor_parameters`.

    Returns
    -------
    array of shape (K * F,)
        The weights.

    Raises
    ------
    ValueError
        If a path does not couple irreps of the layouts or is given twice, or the kernel is missing or has another
        shape.
    TypeError
        If ``params`` is not a mapping of floating-point arrays, or a layout is not a Layout.
    """
    positions, norms = _places(paths, layouts)
    kernel, shape = kernel_of(params), (*_kernel_shape(layouts), layouts[2].features)
    backend = floating_backend(kernel=kernel)
    if tuple(kernel.shape) != shape:
        raise ValueError(f"expected a kernel of shape {shape}, got {tuple(kernel.shape)}")
    rows = backend.xp.reshape(kernel, (-1, shape[-1]))
    rows = backend.xp.take(rows, backend.index(positions, like=kernel), axis=0)
    return backend.xp.reshape(rows * backend.constant(norms[:, None], like=kernel), (-1,))


def _kernel_shape(layouts: tuple[Layout, Layout, Layout]) -> tuple[int, ...]:
    return tuple(n for layout in layouts for n in (layout.num_parities, layout.max_degree + 1))


def _places(paths: Sequence[Path], layouts: tuple[Layout, Layout, Layout]) -> tuple[Any, Any]:
    r"""Return the positions of paths in a flattened kernel, and the factor :math:`\sqrt{n_c}` of each path."""
    if not isinstance(layouts, Sequence) or len(layouts) != 3:
        raise ValueError(f"expected three layouts, got {shown(layouts)}")
    for layout in layouts:
        check_layout(layout)
    if not isinstance(paths, Sequence) or not all(isinstance(path, tuple) and len(path) == 3 for path in paths):
        raise ValueError(f"expected a sequence of paths of three irreps, got {shown(paths)}")
    numbers = Counter(path[2] for path in paths)
    found: dict[int, float] = {}
    for path in paths:
        each = [positions_of(layout, [irrep])[0] for layout, irrep in zip(layouts, path, strict=True)]
        (l1, p1), (l2, p2), (l3, p3) = path
        if not (abs(l1 - l2) <= l3 <= l1 + l2 and p3 == p1 * p2):
            raise ValueError(f"expected paths that couple, |l1-l2| <= l3 <= l1+l2 and p3 = p1 p2, got {shown(path)}")
        place = int(np.ravel_multi_index([n for pair in each for n in pair], _kernel_shape(layouts)))
        if place in found:
            raise ValueError(f"expected every path once, got {shown(path)} twice")
        found[place] = numbers[path[2]] ** 0.5
    return np.asarray(list(found), np.int64), np.asarray(list(found.values()))
