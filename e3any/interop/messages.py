"""Conversion of convolutions whose paths are weighted by a network of the distance and then mixed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, TypeAlias

from e3any_backends import Array, Backend

from e3any.checks import check_degree, check_flag, check_number, floating_backend, shown
from e3any.config import Normalization
from e3any.conventions import normalization_factor
from e3any.interop.activations import Source, activation_scale
from e3any.interop.features import kernel_of
from e3any.irreps import Irreps, irrep_of
from e3any.nn.cutoffs import check_positive
from e3any.nn.layers.irrep_paths import IrrepPath, candidates, irrep_paths

__all__ = ["bessel_parameters", "message_parameters", "message_paths", "network_kernels"]

IrrepNormalization: TypeAlias = Literal["component", "norm", "none"]


def message_paths(
    inputs: Irreps, max_filter: int, outputs: Irreps, *, by_output: bool = False
) -> tuple[IrrepPath, ...]:
    """List the paths of a convolution in the order in which models on e3nn make its instructions.

    Parameters
    ----------
    inputs : Irreps
        The irreps of the features that are coupled with harmonics, in the order of the other library.
    max_filter : int
        Largest degree of the harmonics.
    outputs : Irreps
        The irreps in which paths end.
    by_output : bool
        Whether the instructions are sorted by the irreps in which they end, in the order of e3nn (0e, 0o, 1o, 1e, 2e,
        ...), as in SevenNet, and behind ``e3nn_jax.tensor_product``. NequIP does not sort them: they are by input, then
        by harmonic, then by the degree in which they end.

    Returns
    -------
    tuple of (str, str, str)
        The irreps of input, harmonic and output of each path.

    Raises
    ------
    ValueError
        If ``max_filter`` is not an integer >= 0, ``by_output`` is neither True nor False, or no path ends in an output.
    TypeError
        If ``inputs`` or ``outputs`` are not :class:`e3any.Irreps`.

    Examples
    --------
    >>> message_paths(Irreps("8x0 + 4x1"), 1, Irreps("8x0 + 4x1"), by_output=True)
    (('0', '0', '0'), ('1', '1', '0'), ('0', '1', '1'), ('1', '0', '1'), ('1', '1', '1'))
    """
    for name, irreps in (("inputs", inputs), ("outputs", outputs)):
        if not isinstance(irreps, Irreps):
            raise TypeError(f"expected {name} to be Irreps, got {shown(irreps)}")
    check_degree(max_filter, "max_filter")
    check_flag(by_output, "by_output")
    filters = candidates(max_filter, inputs.has_parity, False)
    paths = [path for a in inputs for path in irrep_paths((a,), filters, tuple(outputs))]
    if not paths:
        raise ValueError(
            f"expected outputs that {inputs} and harmonics up to degree {max_filter} couple to, got {outputs}"
        )
    return tuple(sorted(paths, key=_rank_in_e3nn) if by_output else paths)


def message_parameters(
    kernels: Sequence[Array],
    mix: Mapping[str, Any],
    inputs: Irreps,
    max_filter: int,
    *,
    paths: Sequence[IrrepPath] | None = None,
    normalization: Normalization = "4pi",
    irrep_normalization: IrrepNormalization = "component",
    scale: float = 1.0,
) -> dict[str, Any]:
    r"""Return parameters of :class:`e3any.nn.PathMessagePass` with ``features`` from those of another convolution.

    Parameters
    ----------
    kernels : sequence of arrays of shape (H, H')
        The kernels of the radial network, see :func:`network_kernels`. The last one has a column for every path and
        feature of its input, path by path.
    mix : mapping
        The parameters of the linear map behind the convolution, see :func:`linear_parameters`: ``{irrep}/kernel``,
        whose rows are those of the paths that end in the irrep, in the order of ``paths``.
    inputs : Irreps
        The irreps of the features that are coupled with harmonics.
    max_filter : int
        Largest degree of the harmonics.
    paths : sequence of (str, str, str), optional
        The paths in the order of the columns; by default those of :func:`message_paths`.
    normalization : {'racah', '4pi', 'orthonormal'}
        The normalisation of the harmonics, which e3nn calls ``'norm'``, ``'component'`` and ``'integral'``.
    irrep_normalization : {'component', 'norm', 'none'}
        The setting of the tensor product, whose instructions are ``"uvu"`` with an output of their own each.
    scale : float
        A factor of all messages, for example :math:`1 / \sqrt{n}` for an average of n neighbours.

    Returns
    -------
    dict
        The parameters ``mlp0/0+/kernel``, ``mlp1/0+/kernel``, ... and ``out/{irrep}/kernel``.

    Raises
    ------
    ValueError
        If paths are not those of the irreps, a setting is unknown, or shapes do not fit.
    TypeError
        If ``inputs`` are not :class:`e3any.Irreps`, parameters are not a mapping of floating-point arrays, or ``scale``
        is not a number.
    """
    if not isinstance(mix, Mapping) or not mix:
        raise TypeError(f"expected mix to be a mapping of parameters by irrep, got {shown(mix)}")
    for name in mix:
        irrep_of(name)
    outputs = Irreps(dict.fromkeys(mix, 1))
    default = message_paths(inputs, max_filter, outputs)
    given = default if paths is None else _checked(paths, default)
    ours = irrep_paths(tuple(inputs), candidates(max_filter, inputs.has_parity, False), tuple(outputs))
    check_number(scale, "scale")
    if not isinstance(kernels, Sequence) or not kernels:
        raise TypeError(f"expected kernels to be a sequence of arrays, got {shown(kernels)}")
    rows = {name: kernel_of(mix, name) for name in mix}
    named = {f"kernels[{n}]": kernel for n, kernel in enumerate(kernels)}
    backend = floating_backend(**named, **{f"mix[{name!r}]": kernel for name, kernel in rows.items()})
    _check_shapes(kernels, rows, given, inputs)
    arrays = backend.promote(*kernels, *rows.values())
    kernels, rows = arrays[: len(kernels)], dict(zip(rows, arrays[len(kernels) :], strict=True))
    columns = dict(zip(given, backend.pieces(kernels[-1], [inputs[a] for a, _, _ in given], -1), strict=True))
    factors = {path: scale * _factor(path, normalization, irrep_normalization) for path in given}
    last = backend.xp.concat([columns[path] * factors[path] for path in ours], axis=-1)
    tree: dict[str, Any] = {f"mlp{n}": {"0+": {"kernel": kernel}} for n, kernel in enumerate([*kernels[:-1], last])}
    tree["out"] = {name: {"kernel": _reordered(backend, rows[name], name, given, ours, inputs)} for name in mix}
    return tree


def network_kernels(
    weights: Sequence[Array],
    *,
    activation: str | None = "silu",
    source: Source = "e3nn",
    input_scale: float = 1.0,
    output_scale: float = 1.0,
) -> list[Array]:
    r"""Return the kernels of a network of radial functions, with the factors that e3nn applies when it is evaluated.

    .. math:: W_0 = \frac{s}{\sqrt{H_0}} W'_0 \qquad W_k = \frac{c}{\sqrt{H_k}} W'_k

    with the factor c of :func:`activation_scale`. They are those of ``e3nn.nn.FullyConnectedNet`` with its default
    variances, and of ``e3nn_jax.flax.MultiLayerPerceptron`` with the gradient normalisation ``'path'`` and without an
    activation of the output.

    Parameters
    ----------
    weights : sequence of arrays of shape (H, H')
        The weights of the layers, without biases.
    activation : {'silu', 'sigmoid', 'tanh', 'relu', 'shifted_softplus', 'abs'}, optional
        The activation between layers; None for networks without such factors, :math:`W_k = W'_k`, as in Nequix.
    source : {'exact', 'e3nn', 'e3nn-jax'}
        Whose constant.
    input_scale, output_scale : float
        Factors s of the radial functions, see :func:`bessel_parameters`, and of the result.

    Returns
    -------
    list of arrays
        The kernels.

    Raises
    ------
    ValueError
        If the function or the source is unknown, or shapes do not fit.
    TypeError
        If ``weights`` are not a sequence of floating-point arrays, or a factor is not a number.
    """
    factor = 1.0 if activation is None else activation_scale(activation, source)
    for name, value in (("input_scale", input_scale), ("output_scale", output_scale)):
        check_number(value, name)
    if not isinstance(weights, Sequence) or not weights:
        raise TypeError(f"expected weights to be a sequence of arrays, got {shown(weights)}")
    floating_backend(**{f"weights[{n}]": x for n, x in enumerate(weights)})
    _check_chain(weights, "weights")
    scales = [input_scale, *[factor] * (len(weights) - 1)]
    scales[-1] *= output_scale
    fans = [1 if activation is None else max(1, x.shape[0]) for x in weights]
    return [x * (scale / fan**0.5) for x, scale, fan in zip(weights, scales, fans, strict=True)]


def bessel_parameters(frequencies: Array, limit: float = 1.0) -> dict[str, Any]:
    r"""Return parameters of :class:`e3any.nn.BesselBasis` from the frequencies of another library.

    .. math:: a_k = c\, a'_k

    :class:`e3any.nn.BesselBasis` has functions :math:`\sqrt{2/c}\, \sin(a_k r / c) / r`. Those of others differ by a
    factor, which is the ``input_scale`` of :func:`network_kernels`: :math:`\sqrt{2/c}` for SevenNet, NequIP and Nequix,
    whose functions begin with :math:`2 / c`; 1 for MACE and for ``soft_one_hot_linspace`` of e3nn.

    Parameters
    ----------
    frequencies : array of shape (num,)
        The frequencies :math:`a'_k` of functions :math:`\sin(a'_k r)`.
    limit : float
        The limit c; 1 if the frequencies are those of :math:`\sin(a'_k r / c)`.

    Returns
    -------
    dict
        The parameter ``frequencies``.

    Raises
    ------
    ValueError
        If ``limit`` is not positive, or the shape is not (num,).
    TypeError
        If ``frequencies`` are not a floating-point array, or ``limit`` is not a number.
    """
    floating_backend(frequencies=frequencies)
    check_number(limit, "limit")
    check_positive(limit, "limit")
    if frequencies.ndim != 1:
        raise ValueError(f"expected frequencies of shape (num,), got {tuple(frequencies.shape)}")
    return {"frequencies": frequencies * limit}


def _rank_in_e3nn(path: IrrepPath) -> tuple[int, bool]:
    """Return the rank of the irrep in which a path ends: by degree, then proper tensors first for even degrees."""
    degree, parity = irrep_of(path[2])
    # 0e, 0o, 1o, 1e, 2e, 2o: (-1)^l comes first.
    return degree, parity is not None and parity != degree % 2


def _checked(paths: Sequence[IrrepPath], allowed: tuple[IrrepPath, ...]) -> tuple[IrrepPath, ...]:
    if not isinstance(paths, Sequence) or not all(isinstance(path, tuple) for path in paths):
        raise ValueError(f"expected paths as a sequence of three irreps each, got {shown(paths)}")
    if sorted(map(str, paths)) != sorted(map(str, allowed)):
        raise ValueError(f"expected the paths {shown(allowed)} in any order, got {shown(paths)}")
    return tuple(paths)


def _check_chain(kernels: Sequence[Array], what: str) -> None:
    shapes = [tuple(x.shape) for x in kernels]
    if any(len(shape) != 2 for shape in shapes) or any(a[1] != b[0] for a, b in pairwise(shapes)):
        raise ValueError(f"expected {what} of layers (H, H') that follow each other, got shapes {shapes}")


def _check_shapes(
    kernels: Sequence[Array], rows: Mapping[str, Array], paths: tuple[IrrepPath, ...], inputs: Irreps
) -> None:
    _check_chain(kernels, "kernels")
    num = sum(inputs[a] for a, _, _ in paths)
    if kernels[-1].shape[1] != num:
        raise ValueError(f"expected a last kernel of {num} columns, got shape {tuple(kernels[-1].shape)}")
    for name, kernel in rows.items():
        wide = sum(inputs[a] for a, _, c in paths if c == name)
        if kernel.ndim != 2 or kernel.shape[0] != wide:
            raise ValueError(f"expected a kernel of {name!r} with {wide} rows, got shape {tuple(kernel.shape)}")


def _factor(path: IrrepPath, normalization: Normalization, irrep_normalization: IrrepNormalization) -> float:
    """Return the ratio of the couplings of another library to those of e3any."""
    if irrep_normalization not in ("component", "norm", "none"):
        raise ValueError(
            f"expected irrep_normalization 'component', 'norm' or 'none', got {shown(irrep_normalization)}"
        )
    if normalization not in ("racah", "4pi", "orthonormal"):
        raise ValueError(f"expected normalization 'racah', '4pi' or 'orthonormal', got {shown(normalization)}")
    l1, l2, l3 = (irrep_of(name)[0] for name in path)
    d1, d2, d3 = 2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1
    coupling = {"component": 1.0, "norm": math.sqrt(d1 * d2 / d3), "none": math.sqrt(1 / d3)}
    return normalization_factor(normalization, l2) * coupling[irrep_normalization]


def _reordered(
    backend: Backend,
    kernel: Array,
    name: str,
    given: Sequence[IrrepPath],
    ours: Sequence[IrrepPath],
    inputs: Irreps,
) -> Array:
    """Return the rows of a kernel in the order of paths of e3any."""
    ends = [path for path in given if path[2] == name]
    pieces = dict(zip(ends, backend.pieces(kernel, [inputs[a] for a, _, _ in ends], -2), strict=True))
    return backend.xp.concat([pieces[path] for path in ours if path[2] == name], axis=-2)
