"""Functions of whole features: sums, changes of layout, rotations, reflections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from e3any_backends import Array, Backend, backend_of
from e3any_backends.arrays import dtype_name

from e3any.checks import check_degree, check_flag, floating_backend, shown
from e3any.conventions import degree_slice, parity_names
from e3any.irreps import Irreps, irrep_backend, irrep_of
from e3any.layout import Layout

__all__ = [
    "add",
    "change_max_degree_or_type",
    "even_degree_mask",
    "from_irreps",
    "odd_degree_mask",
    "reflect",
    "rotate",
    "to_irreps",
]


def even_degree_mask(max_degree: int, *, xp: Any = np) -> Array:
    """Return which components have an even degree.

    Parameters
    ----------
    max_degree : int
        Largest degree L.
    xp : namespace
        Array library of the result.

    Returns
    -------
    bool array of shape ((L+1)**2, 1)
        The mask; it broadcasts to features.

    Raises
    ------
    ValueError
        If ``max_degree`` is not an integer >= 0.
    """
    return xp.asarray(_degrees(max_degree) % 2 == 0)


def odd_degree_mask(max_degree: int, *, xp: Any = np) -> Array:
    """Return which components have an odd degree; arguments and errors are those of :func:`even_degree_mask`."""
    return xp.asarray(_degrees(max_degree) % 2 == 1)


def _degrees(max_degree: int) -> Any:
    check_degree(max_degree)
    return np.repeat(np.arange(max_degree + 1), 2 * np.arange(max_degree + 1) + 1)[:, None]


def rotate(x: Array, wigner_d_matrix: Array) -> Array:
    r"""Rotate features: :math:`x'_m = \sum_{m'} x_{m'} D_{m'm}`.

    Parameters
    ----------
    x : array of shape (..., P, (L+1)**2, F), or dictionary of arrays (..., 2l+1, F) by irrep
        Features.
    wigner_d_matrix : array of shape ((L+1)**2, (L+1)**2) or (..., (L+1)**2, (L+1)**2)
        Wigner-D matrix of one rotation, or of one for each of the leading axes of ``x``; see
        :func:`e3any.so3.wigner_d`. For a dictionary it can have a larger degree.

    Returns
    -------
    array or dictionary of the shapes of ``x``
        Rotated features.

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If an argument is not a floating-point array.
    """
    if isinstance(x, Mapping):
        return _rotate_by_irrep(x, wigner_d_matrix)
    backend = floating_backend(x=x, wigner_d_matrix=wigner_d_matrix)
    size = (Layout.of(x, "x").max_degree + 1) ** 2
    one, each = (size, size), (*x.shape[:-3], size, size)
    if tuple(wigner_d_matrix.shape) not in (one, each):
        expected = " or ".join(map(str, dict.fromkeys((one, each))))
        raise ValueError(f"expected wigner_d_matrix of shape {expected}, got {tuple(wigner_d_matrix.shape)}")
    x, matrix = backend.promote(x, wigner_d_matrix)
    # An axis for parity, over which the matrices are broadcast.
    transposed = backend.xp.matrix_transpose(matrix)[..., None, :, :]
    return backend.matmul(transposed, x, precision="highest")


def _rotate_by_irrep(x: Mapping[str, Array], matrix: Array) -> dict[str, Array]:
    backend, irreps = irrep_backend(x, "x"), Irreps.of(x, "x")
    floating_backend(*x.values(), wigner_d_matrix=matrix)
    least, lead = (irreps.max_degree + 1) ** 2, tuple(next(iter(x.values())).shape[:-2])
    shape = tuple(matrix.shape)
    if len(shape) < 2 or shape[-2] != shape[-1] or shape[-1] < least or shape[:-2] not in ((), lead):
        expected = (*lead, least, least)
        raise ValueError(
            f"expected wigner_d_matrix of shape {expected}, or larger, or without leading axes, got {shape}"
        )
    *blocks, matrix = backend.promote(*x.values(), matrix)
    rotated = {}
    for name, block in zip(x, blocks, strict=True):
        part = degree_slice(irrep_of(name)[0])
        rotated[name] = backend.matmul(backend.xp.matrix_transpose(matrix[..., part, part]), block, precision="highest")
    return rotated


def reflect(x: Array) -> Array:
    """Invert features in space: those of odd parity change sign.

    Parameters
    ----------
    x : array of shape (..., P, (L+1)**2, F), or dictionary of arrays (..., 2l+1, F) by irrep of O(3)
        Features.

    Returns
    -------
    array or dictionary of the shapes of ``x``
        Features of the inverted space (r -> -r).

    Raises
    ------
    ValueError
        If the shape is not that of features, or irreps have no parity.
    TypeError
        If ``x`` is not a floating-point array.
    """
    if isinstance(x, Mapping):
        irrep_backend(x, "x")
        if not Irreps.of(x, "x").has_parity:
            raise ValueError(f"expected irreps of O(3), whose names have a sign such as '1-', got {list(x)}")
        return {name: -block if irrep_of(name)[1] else block for name, block in x.items()}
    backend, layout = floating_backend(x=x), Layout.of(x, "x")
    return x * backend.aligned(backend.table(_signs, layout.max_degree, layout.pseudotensors, like=x), x)


def _signs(max_degree: int, pseudotensors: bool) -> Any:
    """Return the parity of every component."""
    if pseudotensors:
        return np.asarray([1.0, -1.0]).reshape(2, 1, 1)
    return np.where(even_degree_mask(max_degree), 1.0, -1.0)


def change_max_degree_or_type(
    x: Array, max_degree: int | None = None, include_pseudotensors: bool | None = None
) -> Array:
    """Change the layout of features: cut components off, or append zeros.

    Parameters
    ----------
    x : array of shape (..., P, (L+1)**2, F)
        Features.
    max_degree : int, optional
        New largest degree; that of ``x`` by default.
    include_pseudotensors : bool, optional
        Whether the result has both parities; as ``x`` by default.

    Returns
    -------
    array of shape (..., P', (L'+1)**2, F)
        Features.

    Raises
    ------
    ValueError
        If the shape is not that of features, ``max_degree`` is not an integer >= 0, or ``include_pseudotensors`` is not
        True, False or None.
    TypeError
        If ``x`` is not an array.
    """
    layout = Layout.of(x, "x")
    degree = layout.max_degree if max_degree is None else max_degree
    check_degree(degree)
    check_flag(include_pseudotensors, "include_pseudotensors", optional=True)
    both = layout.pseudotensors if include_pseudotensors is None else include_pseudotensors
    backend = backend_of(x)
    (x,) = backend.promote(x)
    x = _with_max_degree(backend, x, layout.max_degree, degree)
    if layout.pseudotensors and not both:
        return _proper_tensors(backend, x, degree)
    if both and not layout.pseudotensors:
        return _with_both_parities(backend, x, degree)
    return x


def _with_max_degree(backend: Backend, x: Array, old: int, new: int) -> Array:
    if new <= old:
        return x[..., : (new + 1) ** 2, :]
    zeros = backend.xp.zeros_like(x[..., :1, :])
    shape = (*x.shape[:-2], (new + 1) ** 2 - (old + 1) ** 2, x.shape[-1])
    return backend.xp.concat([x, backend.xp.broadcast_to(zeros, shape)], axis=-2)


def _proper_tensors(backend: Backend, x: Array, max_degree: int) -> Array:
    """Keep the parity (-1)^l of every degree."""
    blocks = [x[..., l % 2, degree_slice(l), :] for l in range(max_degree + 1)]
    return backend.xp.concat(blocks, axis=-2)[..., None, :, :]


def _with_both_parities(backend: Backend, x: Array, max_degree: int) -> Array:
    return backend.xp.where(backend.table(_proper_mask, max_degree, like=x), x, backend.xp.zeros_like(x))


def _proper_mask(max_degree: int) -> Any:
    """Return which components of both parities are proper tensors."""
    return np.stack([even_degree_mask(max_degree), odd_degree_mask(max_degree)])


def add(*inputs: Array) -> Array:
    """Add features of different largest degrees and parities, or irreps.

    Parameters
    ----------
    *inputs : arrays of shape (..., P, (L+1)**2, F), or dictionaries of arrays (..., 2l+1, F) by irrep
        Features, which can differ in P and L only; dictionaries in their irreps.

    Returns
    -------
    array of shape (..., max P, (max L + 1)**2, F), or dictionary of all irreps
        The sum.

    Raises
    ------
    ValueError
        If there are no inputs, or if leading axes, numbers of features or dtypes differ.
    TypeError
        If an input is not an array, some inputs are dictionaries and others are not, or inputs belong to different
        libraries.
    """
    if not inputs:
        raise ValueError("expected at least one input, got none")
    if any(isinstance(x, Mapping) for x in inputs):
        return _add_by_irrep(inputs)
    backend_of(*inputs)
    layouts = [Layout.of(x, f"input {i}") for i, x in enumerate(inputs)]
    first = inputs[0]
    for i, x in enumerate(inputs):
        for what, ours, theirs in (
            ("leading axes", tuple(x.shape[:-3]), tuple(first.shape[:-3])),
            ("features", x.shape[-1], first.shape[-1]),
            ("dtype", dtype_name(x.dtype), dtype_name(first.dtype)),
        ):
            if ours != theirs:
                raise ValueError(f"expected {what} {theirs} as those of input 0, got {ours} at input {i}")
    degree = max(layout.max_degree for layout in layouts)
    both = any(layout.pseudotensors for layout in layouts)
    total = change_max_degree_or_type(first, degree, both)
    for x in inputs[1:]:
        total = total + change_max_degree_or_type(x, degree, both)
    return total


def _add_by_irrep(inputs: Sequence[Any]) -> dict[str, Array]:
    total: dict[str, Array] = {}
    for i, x in enumerate(inputs):
        if not isinstance(x, Mapping):
            raise TypeError(f"expected a dictionary by irrep, as other inputs are, got {shown(type(x))} at input {i}")
        irrep_backend(x, f"input {i}")
        for name, block in x.items():
            known: Array = total.get(name, block)
            for what, ours, theirs in (
                ("shape", tuple(block.shape), tuple(known.shape)),
                ("dtype", dtype_name(block.dtype), dtype_name(known.dtype)),
            ):
                if ours != theirs:
                    raise ValueError(f"expected {what} {theirs} of {name!r} as before, got {ours} at input {i}")
            total[name] = total[name] + block if name in total else block
    irrep_backend(total, "the sum")
    return total


def to_irreps(x: Array, *, use_parity: bool | None = None) -> dict[str, Array]:
    """Return features as a dictionary by irrep, see :class:`e3any.Irreps`.

    Parameters
    ----------
    x : array of shape (..., P, (L+1)**2, F)
        Features.
    use_parity : bool, optional
        Whether irreps have a parity: names are ``"1-"`` if they have, else ``"1"``. By default the setting of
        :class:`e3any.Config`.

    Returns
    -------
    dict
        An array of shape (..., 2l+1, F) for every irrep.

    Raises
    ------
    ValueError
        If the shape is not that of features, ``use_parity`` is not True, False or None, or there are both parities
        although it is False.
    TypeError
        If ``x`` is not a floating-point array.

    Examples
    --------
    >>> {name: block.shape for name, block in to_irreps(np.ones((5, 1, 4, 8))).items()}
    {'0+': (5, 1, 8), '1-': (5, 3, 8)}
    """
    (x,) = floating_backend(x=x).promote(x)
    layout, blocks = Layout.of(x, "x"), {}
    for name in Irreps.of_layout(layout, use_parity=use_parity):
        degree, parity = irrep_of(name)
        blocks[name] = x[..., parity if layout.pseudotensors else 0, degree_slice(degree), :]
    return blocks


def from_irreps(x: Mapping[str, Array]) -> Array:
    """Return a dictionary by irrep as one array; the inverse of :func:`to_irreps`.

    Parameters
    ----------
    x : dictionary of arrays of shape (..., 2l+1, F)
        Features, which have all degrees up to the largest, with one or with both parities, and equally many features.

    Returns
    -------
    array of shape (..., P, (L+1)**2, F)
        Features. Irreps of SO(3) have P = 1.

    Raises
    ------
    ValueError
        If shapes are not those of irreps, or irreps are not those of an array.
    TypeError
        If an entry is not a floating-point array, or arrays belong to different libraries.
    """
    if not isinstance(x, Mapping):
        raise TypeError(f"expected a dictionary by irrep, got {shown(type(x))}")
    backend, irreps = irrep_backend(x, "x"), Irreps.of(x, "x")
    layout = irreps.layout()
    names = [name for _, _, name in parity_names(layout.max_degree, layout.num_parities)]
    blocks = backend.promote(*(x[name if irreps.has_parity else name[:-1]] for name in names))
    step = layout.max_degree + 1
    parities = [backend.xp.concat(blocks[at : at + step], axis=-2) for at in range(0, len(blocks), step)]
    return backend.xp.stack(parities, axis=-3)
