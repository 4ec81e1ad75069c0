"""Conversion of features to the flat arrays of other libraries, and of the weights of linear maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from e3any_backends import Array, backend_of
from numpy.typing import NDArray

from e3any.checks import check_count, check_flag, floating_backend, shown
from e3any.conventions import degree_slice, parity_names
from e3any.interop.arrays import from_components, multiply, to_components
from e3any.interop.convention import Convention, change_of_basis
from e3any.irreps import Irreps, irrep_backend, irrep_of
from e3any.layout import Layout

__all__ = ["dense_parameters", "from_features", "linear_weights", "to_features"]

GradientNormalization: TypeAlias = Literal["path", "element"]


def to_features(
    x: Array, convention: Convention | str, irreps: Sequence[tuple[int, int]] | Irreps, *, features_first: bool = True
) -> Array:
    """Return features as the flat array of another library.

    Parameters
    ----------
    x : array of shape (..., P, (L+1)^2, F), or dictionary of arrays (..., 2l+1, F) by irrep
        Features.
    convention : Convention or str
        A convention, or its name in :data:`CONVENTIONS`.
    irreps : sequence of (int, int), or Irreps
        Degree and parity, 1 or -1, of all irreps, in the order of the flat array: (1, -1) is ``1o`` of e3nn. Each has
        the multiplicity F. For a dictionary, its irreps in the order of the flat array, such as
        ``Irreps("8x1- + 16x0+")`` for ``8x1o+16x0e``.
    features_first : bool
        True for the layout ``mul_ir``, in which the components of one feature are adjacent; False for ``ir_mul``, in
        which the features of one component are.

    Returns
    -------
    array of shape (..., K)
        The blocks of all irreps, one after the other.

    Raises
    ------
    ValueError
        If the convention is unknown, the shape is not that of features, an irrep is not among them or is given twice,
        irreps are not those of a dictionary, or ``features_first`` is neither True nor False.
    TypeError
        If ``x`` is not a floating-point array, or is a dictionary although ``irreps`` are not :class:`e3any.Irreps`.
    """
    check_flag(features_first, "features_first")
    if isinstance(x, Mapping) or isinstance(irreps, Irreps):
        return _flat_of_irreps(x, convention, irreps, features_first)
    xp, positions = floating_backend(x=x).xp, positions_of(Layout.of(x, "x"), irreps)
    x = to_components(x, convention)
    blocks = [x[..., p, degree_slice(l), :] for p, l in positions]
    blocks = [_transposed(b) if features_first else b for b in blocks]
    return xp.concat([xp.reshape(b, (*x.shape[:-3], b.shape[-1] * b.shape[-2])) for b in blocks], axis=-1)


def from_features(
    x: Array,
    convention: Convention | str,
    irreps: Sequence[tuple[int, int]] | Irreps,
    layout: Layout | None = None,
    *,
    features_first: bool = True,
) -> Array:
    """Return the flat array of another library as features.

    Parameters
    ----------
    x : array of shape (..., K)
        The blocks of all irreps, one after the other.
    convention, irreps, features_first
        See :func:`to_features`.
    layout : Layout, optional
        The layout of the result; not with :class:`e3any.Irreps`, which give a dictionary.

    Returns
    -------
    array of shape (..., P, (L+1)^2, F), or dictionary of arrays (..., 2l+1, F) by irrep
        Features. Irreps that ``x`` lacks are zero in an array.

    Raises
    ------
    ValueError
        If the convention is unknown, an irrep is not in the layout or is given twice, the length K does not fit, or
        ``features_first`` is neither True nor False.
    TypeError
        If ``x`` is not a floating-point array, or ``layout`` is not a Layout.
    """
    check_flag(features_first, "features_first")
    if isinstance(irreps, Irreps):
        return _irreps_of_flat(x, convention, irreps, layout, features_first)
    if layout is None:
        raise TypeError("expected a Layout, got None")
    check_layout(layout)
    xp, width = floating_backend(x=x).xp, layout.features
    change_of_basis(convention, layout.max_degree)  # raises if the convention is invalid
    positions = positions_of(layout, irreps)
    sizes = [(2 * l + 1) * width for _, l in positions]
    if x.shape[-1:] != (sum(sizes),):
        raise ValueError(f"expected {sum(sizes)} components of {list(irreps)}, got shape {tuple(x.shape)}")
    found = {}
    for place, block in zip(positions, backend_of(x).pieces(x, sizes, -1), strict=True):
        degree = place[1]
        shape = (width, 2 * degree + 1) if features_first else (2 * degree + 1, width)
        block = xp.reshape(block, (*x.shape[:-1], *shape))
        found[place] = _transposed(block) if features_first else block
    parities = []
    for p in range(layout.num_parities):
        rows = [found.get((p, l), _zeros(x, 2 * l + 1, width)) for l in range(layout.max_degree + 1)]
        parities.append(xp.concat(rows, axis=-2))
    return from_components(xp.stack(parities, axis=-3), convention)


def _flat_of_irreps(x: Any, convention: Convention | str, irreps: Any, features_first: bool) -> Array:
    if not isinstance(x, Mapping) or not isinstance(irreps, Irreps):
        raise TypeError(f"expected a dictionary by irrep and Irreps, got {shown(type(x))} and {shown(type(irreps))}")
    backend, found = irrep_backend(x, "x"), Irreps.of(x, "x")
    if dict(found.items()) != dict(irreps.items()):
        raise ValueError(f"expected x of the irreps {irreps}, in any order, got {found}")
    flat = []
    for name in irreps:
        block = multiply(_change(convention, name), x[name], -2)
        block = _transposed(block) if features_first else block
        flat.append(backend.xp.reshape(block, (*block.shape[:-2], block.shape[-1] * block.shape[-2])))
    return backend.xp.concat(flat, axis=-1)


def _irreps_of_flat(
    x: Array, convention: Convention | str, irreps: Irreps, layout: Layout | None, features_first: bool
) -> dict[str, Array]:
    if layout is not None:
        raise ValueError(f"expected layout None with Irreps, which give a dictionary, got {shown(layout)}")
    backend = floating_backend(x=x)
    if tuple(x.shape[-1:]) != (irreps.dim,):
        raise ValueError(f"expected {irreps.dim} components of {irreps}, got shape {tuple(x.shape)}")
    components = {name: 2 * irrep_of(name)[0] + 1 for name in irreps}
    pieces = backend.pieces(x, [components[name] * irreps[name] for name in irreps], -1)
    found = {}
    for name, piece in zip(irreps, pieces, strict=True):
        shape = (irreps[name], components[name]) if features_first else (components[name], irreps[name])
        block = backend.xp.reshape(piece, (*x.shape[:-1], *shape))
        block = _transposed(block) if features_first else block
        found[name] = multiply(_change(convention, name).T, block, -2)
    return found


def _change(convention: Convention | str, name: str) -> NDArray[np.float64]:
    """Return the matrix that changes the components of one irrep."""
    degree = irrep_of(name)[0]
    return change_of_basis(convention, degree)[degree_slice(degree), degree_slice(degree)]


def dense_parameters(
    weights: Array,
    irreps: Sequence[tuple[int, int]],
    layout: Layout,
    features: int,
    *,
    gradient_normalization: GradientNormalization = "path",
) -> dict[str, Any]:
    r"""Return parameters of :class:`e3any.nn.Dense` from the weights of a linear map of e3nn or cuequivariance.

    .. math:: W = W' / \sqrt{F}

    Parameters
    ----------
    weights : array of shape (K * F * features,)
        The weights of ``e3nn.o3.Linear``, of ``cuequivariance_torch.Linear``, or of ``e3nn_jax.FunctionalLinear``,
        without biases, from every irrep to itself: one block (F, features) after the other.
    irreps : sequence of (int, int)
        Degree and parity of all irreps of the layout, each once, in the order of the weights.
    layout : Layout
        The layout of the inputs.
    features : int
        Number of features of the outputs.
    gradient_normalization : {'path', 'element'}
        The setting of the map of e3nn-jax. With ``'element'`` its weights have no factor, :math:`W = W'`.

    Returns
    -------
    dict
        The parameters of ``Dense(features, use_bias=False)``.

    Raises
    ------
    ValueError
        If the irreps are not those of the layout, the number of weights does not fit, ``features`` is not an integer
        >= 0, or the normalisation is unknown.
    TypeError
        If the weights are not a floating-point array, or ``layout`` is not a Layout.
    """
    check_layout(layout)
    check_count(features, "features")
    backend = floating_backend(weights=weights)
    norm = _norm(layout, gradient_normalization)
    names = _names(layout, irreps)
    shape = (layout.features, features)
    if tuple(weights.shape) != (len(names) * shape[0] * shape[1],):
        raise ValueError(f"expected {len(names)} blocks {shape} of weights, got shape {tuple(weights.shape)}")
    blocks = backend.xp.reshape(weights, (len(names), *shape)) / norm
    return {name: {"kernel": blocks[i, ...]} for i, name in enumerate(names)}


def linear_weights(
    params: Mapping[str, Any],
    irreps: Sequence[tuple[int, int]],
    layout: Layout,
    *,
    gradient_normalization: GradientNormalization = "path",
) -> Array:
    """Return the weights of a linear map of e3nn or cuequivariance; the inverse of :func:`dense_parameters`.

    Parameters
    ----------
    params : mapping
        The parameters of ``Dense(features, use_bias=False)``.
    irreps, layout, gradient_normalization
        See :func:`dense_parameters`.

    Returns
    -------
    array of shape (K * F * features,)
        The weights.

    Raises
    ------
    ValueError
        If the irreps are not those of the layout, parameters are missing or have another shape, or the normalisation
        is unknown.
    TypeError
        If ``params`` is not a mapping of mappings of floating-point arrays, or ``layout`` is not a Layout.
    """
    check_layout(layout)
    norm, names = _norm(layout, gradient_normalization), _names(layout, irreps)
    kernels = [kernel_of(params, name) for name in names]
    xp = floating_backend(**dict(zip(names, kernels, strict=True))).xp
    for kernel in kernels:
        if len(kernel.shape) != 2 or kernel.shape[0] != layout.features or kernel.shape != kernels[0].shape:
            raise ValueError(f"expected kernels ({layout.features}, features), got shape {tuple(kernel.shape)}")
    return xp.concat([xp.reshape(k, (-1,)) for k in kernels]) * norm


def _norm(layout: Layout, gradient_normalization: str) -> float:
    """Return the ratio of the other library's weights to kernels."""
    if gradient_normalization not in ("path", "element"):
        raise ValueError(f"expected gradient_normalization 'path' or 'element', got {shown(gradient_normalization)}")
    return 1.0 if gradient_normalization == "element" else layout.features**0.5


def _transposed(x: Array) -> Array:
    return backend_of(x).xp.matrix_transpose(x)


def _zeros(x: Array, *shape: int) -> Array:
    backend = backend_of(x)
    return backend.xp.zeros((*x.shape[:-1], *shape), dtype=x.dtype, device=backend.device(x))


def check_layout(layout: Layout) -> None:
    """Raise a TypeError unless ``layout`` is a Layout."""
    if not isinstance(layout, Layout):
        raise TypeError(f"expected a Layout, got {shown(layout)}")


def kernel_of(params: Mapping[str, Any], *names: str) -> Array:
    """Return the kernel of a layer; raise an error that names a missing parameter."""
    for name in (*names, "kernel"):
        if not isinstance(params, Mapping):
            raise TypeError(f"expected a mapping of parameters, got {type(params).__name__}")
        if name not in params:
            raise ValueError(f"expected parameters {name!r}, got {shown(sorted(params))}")
        params = params[name]
    return params


def positions_of(layout: Layout, irreps: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return (index on the parity axis, degree) of irreps; raise a ValueError unless the layout has each, once."""
    places = {}
    for p, l, name in parity_names(layout.max_degree, layout.num_parities):
        places[l, 1 if name.endswith("+") else -1] = p, l
    found = []
    if not isinstance(irreps, Sequence) or not irreps:
        raise ValueError(f"expected a sequence of irreps (degree, parity), got {shown(irreps)}")
    for irrep in irreps:
        if not isinstance(irrep, tuple) or irrep not in places:
            raise ValueError(f"expected irreps among {sorted(places)}, each once, got {shown(list(irreps))}")
        found.append(places.pop(irrep))
    return found


def _names(layout: Layout, irreps: Sequence[tuple[int, int]]) -> list[str]:
    """Return the names of all blocks of a layout, in the order of irreps."""
    positions = positions_of(layout, irreps)
    names = {(p, l): name for p, l, name in parity_names(layout.max_degree, layout.num_parities)}
    if len(positions) != len(names):
        raise ValueError(f"expected all {len(names)} irreps of {layout}, got {shown(list(irreps))}")
    return [names[place] for place in positions]
