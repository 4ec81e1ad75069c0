"""Conversion of the weights of linear maps whose irreps have numbers of features of their own, block by block."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from e3any_backends import Array, Backend

from e3any.checks import check_count, check_number, floating_backend, shown
from e3any.interop.activations import Source, activation_scale
from e3any.interop.features import GradientNormalization
from e3any.irreps import SCALARS, Irreps, irrep_of, terms_of

__all__ = ["gate_scales", "linear_parameters", "species_parameters"]

#: Irreps in the order of another library, in which one can occur several times.
Terms: TypeAlias = Irreps | str | Sequence[tuple[str, int]]
PathNormalization: TypeAlias = Literal["element", "path"]

_WEIGHT = re.compile(r"w\[(\d+),(\d+)\]")
_BIAS = re.compile(r"b\[(\d+)\]")


def linear_parameters(
    weights: Array | Mapping[str, Array],
    inputs: Terms,
    outputs: Terms,
    *,
    biases: Array | None = None,
    input_scales: Mapping[str, float] | None = None,
    output_scales: Mapping[str, float] | None = None,
    path_normalization: PathNormalization = "element",
    gradient_normalization: GradientNormalization = "path",
) -> dict[str, Any]:
    r"""Return parameters of :class:`e3any.nn.Dense` on dictionaries from the weights of a linear map.

    .. math:: W^{(c)} = \frac{s_c t_c}{\sqrt{n}} \begin{pmatrix} W'_{1} \\ \vdots \\ W'_{k} \end{pmatrix}

    where an irrep c has the input blocks :math:`1, \dots, k`, for example one for each path of a convolution. With the
    path normalisation ``'element'``, n is the number of their features; with ``'path'``, it is that of one block times
    the number of blocks.

    Parameters
    ----------
    weights : array of shape (..., K), or mapping of arrays (..., F_in, F_out)
        The weights of ``e3nn.o3.Linear`` or ``e3nn_jax.FunctionalLinear``: one block (F_in, F_out) after the other, by
        input, then by output. Or those of a module of e3nn-jax, by names such as ``'w[0,0] 8x0e,4x0e'`` and
        ``'b[0] 4x0e'``. Leading axes are categories of indexed weights, as :class:`e3any.nn.SpeciesDense` has them.
    inputs, outputs : Irreps, str, or sequence of (str, int)
        The irreps in the order of the weights, for example ``"8x0e + 4x1o + 2x1o"`` or ``[("0+", 8), ("1-", 4)]``. An
        irrep can occur several times: its features are then one after the other. Modules of e3nn-jax sort and merge
        irreps first (``regroup``). Without signs they are irreps of SO(3): for a model without parity, whose e3nn has
        ``"8x0e + 4x1e"``, give ``"8x0 + 4x1"``.
    biases : array of shape (..., B), optional
        Biases of all scalar outputs, one after the other.
    input_scales : mapping of str to float, optional
        Factors :math:`s_c` of the input features by irrep, such as those of :func:`gate_scales`; 1 by default.
    output_scales : mapping of str to float, optional
        Factors :math:`t_c` of the results by irrep, of biases too.
    path_normalization : {'element', 'path'}
        The setting of the map.
    gradient_normalization : {'path', 'element'}
        The setting of a map of e3nn-jax. With ``'element'`` weights have no factor, n = 1.

    Returns
    -------
    dict
        The parameters: ``{irrep}/kernel`` of shape (..., F_in, F_out), and ``{irrep}/bias`` of scalars if there are
        biases. Irreps that inputs or outputs lack are left out.

    Raises
    ------
    ValueError
        If irreps or a setting are unknown, or the number or the shapes of weights do not fit.
    TypeError
        If weights or biases are not floating-point arrays, or irreps have another type.

    Examples
    --------
    >>> import numpy as np
    >>> params = linear_parameters(np.ones(16), "8x0 + 4x1 + 4x1", "1x0 + 1x1")
    >>> {name: part["kernel"].shape for name, part in params.items()}
    {'0': (8, 1), '1': (8, 1)}
    """
    ins, outs = _terms(inputs, "inputs"), _terms(outputs, "outputs")
    _check_option(path_normalization, "path_normalization", ("element", "path"))
    _check_option(gradient_normalization, "gradient_normalization", ("path", "element"))
    scales, of_results = _scales(input_scales, "input_scales"), _scales(output_scales, "output_scales")
    backend = _backend(weights, biases)
    pairs = _pairs(ins, outs)
    shapes = [(ins[i][1], outs[o][1]) for i, o in pairs]
    if isinstance(weights, Mapping):
        blocks, offsets = _named(weights, pairs, shapes, outs)
        if biases is not None and offsets:
            raise ValueError("expected biases among the named weights or as an array, got both")
    else:
        blocks, offsets = _split(backend, weights, shapes), {}
    if biases is not None:
        offsets = _split_biases(backend, biases, outs)
    found = {}
    for (i, o), block in zip(pairs, blocks, strict=True):
        name, count = ins[i]
        sizes = [size for other, size in ins if other == name]
        norm = sum(sizes) if path_normalization == "element" else count * len(sizes)
        factor = scales.get(name, 1.0) * of_results.get(name, 1.0)
        factor /= norm**0.5 if norm and gradient_normalization == "path" else 1.0
        found[i, o] = block * factor
    offsets = {o: x * of_results.get(outs[o][0], 1.0) for o, x in offsets.items()}
    return _joined(backend, found, offsets, ins, outs)


def species_parameters(
    weights: Array,
    inputs: Terms,
    outputs: Terms,
    num_species: int,
    *,
    input_scales: Mapping[str, float] | None = None,
    output_scales: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    r"""Return parameters of :class:`e3any.nn.SpeciesDense` from the weights of a product with one-hot vectors.

    .. math:: W_{z}^{(c)} = \frac{s_c t_c}{\sqrt{S F}} W'_{\cdot z \cdot}

    for S species, as the self-connections of NequIP and MACE have it.

    Parameters
    ----------
    weights : array of shape (K,)
        The weights of ``e3nn.o3.FullyConnectedTensorProduct`` of features with S scalars of even parity, which are the
        one-hot vector of the species: one block (F_in, S, F_out) after the other, by input, then by output.
    inputs, outputs, input_scales, output_scales
        See :func:`linear_parameters`.
    num_species : int
        The number S.

    Returns
    -------
    dict
        The parameters ``{irrep}/kernel`` of shape (S, F_in, F_out), without biases.

    Raises
    ------
    ValueError
        If irreps are unknown, ``num_species`` is not an integer >= 0, or the number of weights does not fit.
    TypeError
        If the weights are not a floating-point array, or irreps have another type.
    """
    ins, outs = _terms(inputs, "inputs"), _terms(outputs, "outputs")
    check_count(num_species, "num_species")
    scales, of_results = _scales(input_scales, "input_scales"), _scales(output_scales, "output_scales")
    backend = floating_backend(weights=weights)
    pairs = _pairs(ins, outs)
    shapes = [(ins[i][1], num_species, outs[o][1]) for i, o in pairs]
    totals = {name: num_species * sum(size for other, size in ins if other == name) for name, _ in ins}
    found = {}
    for (i, o), block in zip(pairs, _split(backend, weights, shapes), strict=True):
        name = ins[i][0]
        block = backend.xp.permute_dims(block, (*range(block.ndim - 3), *(n + block.ndim - 3 for n in (1, 0, 2))))
        factor = scales.get(name, 1.0) * of_results.get(name, 1.0)
        found[i, o] = block * (factor / max(1, totals[name]) ** 0.5)
    return _joined(backend, found, {}, ins, outs)


def gate_scales(
    irreps: Irreps, *, activation: str = "silu", gate_activation: str = "silu", source: Source = "e3nn"
) -> dict[str, float]:
    """Return the factors of features behind a gate of another library, which normalises activations.

    ``e3nn.nn.Gate`` and ``e3nn_jax.gate`` multiply activations by :func:`activation_scale`, :func:`e3any.nn.gate` does
    not. These factors are those of the next linear maps of the features: see ``input_scales`` of
    :func:`linear_parameters`.

    Parameters
    ----------
    irreps : Irreps
        The irreps of the result of the gate.
    activation, gate_activation : {'silu', 'sigmoid', 'tanh', 'relu', 'shifted_softplus', 'abs'}
        The functions of scalars and of gates.
    source : {'exact', 'e3nn', 'e3nn-jax'}
        Whose constants.

    Returns
    -------
    dict of str to float
        The factor of every irrep.

    Raises
    ------
    ValueError
        If a function or the source is unknown.
    TypeError
        If ``irreps`` are not :class:`e3any.Irreps`.

    Examples
    --------
    >>> from e3any import Irreps
    >>> gate_scales(Irreps("128x0 + 64x1"), gate_activation="sigmoid", source="exact")
    {'0': 1.676532470331091, '1': 1.8462285453386054}
    """
    if not isinstance(irreps, Irreps):
        raise TypeError(f"expected irreps to be Irreps, got {shown(irreps)}")
    scalars, gates = (activation_scale(name, source) for name in (activation, gate_activation))
    return {name: scalars if name == irreps.scalar else gates for name in irreps}


def _terms(irreps: Any, name: str) -> list[tuple[str, int]]:
    """Return names and numbers of features of irreps, in their order."""
    if isinstance(irreps, Irreps):
        return list(irreps.items())
    if isinstance(irreps, str):
        terms = terms_of(irreps)
    elif not isinstance(irreps, Sequence):
        raise TypeError(f"expected {name} to be irreps, a string or a sequence, got {shown(irreps)}")
    else:
        terms = list(irreps)
    for term in terms:
        if not isinstance(term, tuple) or len(term) != 2:
            raise ValueError(f"expected {name} as pairs of a name and a number, got {shown(term)}")
        irrep_of(term[0])
        check_count(term[1], f"the number of features of {term[0]!r}")
    if not terms:
        raise ValueError(f"expected {name} of at least one irrep, got none")
    return terms


def _scales(scales: Any, what: str) -> dict[str, float]:
    if scales is None:
        return {}
    if not isinstance(scales, Mapping):
        raise TypeError(f"expected {what} to be a mapping, got {shown(scales)}")
    for name, scale in scales.items():
        irrep_of(name)
        check_number(scale, f"{what}[{name!r}]")
    return dict(scales)


def _check_option(value: Any, name: str, options: tuple[str, ...]) -> None:
    if value not in options:
        raise ValueError(f"expected {name} {' or '.join(map(repr, options))}, got {shown(value)}")


def _backend(weights: Any, biases: Any) -> Backend:
    arrays = dict(weights) if isinstance(weights, Mapping) else {"weights": weights}
    if not arrays:
        raise ValueError("expected weights, got an empty mapping")
    return floating_backend(**{str(name): x for name, x in arrays.items()}, **_given(biases=biases))


def _given(**arrays: Any) -> dict[str, Any]:
    return {name: x for name, x in arrays.items() if x is not None}


def _pairs(ins: list[tuple[str, int]], outs: list[tuple[str, int]]) -> list[tuple[int, int]]:
    """Return the positions of inputs and outputs of the same irrep, by input, then by output."""
    pairs = [(i, o) for i, (a, _) in enumerate(ins) for o, (b, _) in enumerate(outs) if a == b]
    if not pairs:
        raise ValueError(f"expected outputs with an irrep of the inputs, {shown(ins)}, got {shown(outs)}")
    return pairs


def _split(backend: Backend, weights: Array, shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    """Return the blocks of flat weights (..., K)."""
    sizes = [_product(shape) for shape in shapes]
    if tuple(weights.shape[-1:]) != (sum(sizes),):
        raise ValueError(f"expected {sum(sizes)} weights of blocks {shown(shapes)}, got shape {tuple(weights.shape)}")
    lead = tuple(weights.shape[:-1])
    pieces = backend.pieces(weights, sizes, -1)
    return [backend.xp.reshape(piece, (*lead, *shape)) for piece, shape in zip(pieces, shapes, strict=True)]


def _product(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def _split_biases(backend: Backend, biases: Array, outs: list[tuple[str, int]]) -> dict[int, Array]:
    at = [o for o, (name, _) in enumerate(outs) if name in SCALARS]
    sizes = [outs[o][1] for o in at]
    if tuple(biases.shape[-1:]) != (sum(sizes),):
        raise ValueError(f"expected {sum(sizes)} biases of scalars, got shape {tuple(biases.shape)}")
    return dict(zip(at, backend.pieces(biases, sizes, -1), strict=True))


def _named(
    weights: Mapping[str, Array],
    pairs: list[tuple[int, int]],
    shapes: list[tuple[int, int]],
    outs: list[tuple[str, int]],
) -> tuple[list[Array], dict[int, Array]]:
    """Return blocks and biases of the weights of a module of e3nn-jax."""
    blocks: dict[tuple[int, int], Array] = {}
    offsets: dict[int, Array] = {}
    for name, x in weights.items():
        if found := _WEIGHT.match(str(name)):
            blocks[int(found[1]), int(found[2])] = x
        elif found := _BIAS.match(str(name)):
            offsets[int(found[1])] = x
        else:
            raise ValueError(f"expected names such as 'w[0,0] 8x0e,4x0e' or 'b[0] 4x0e', got {shown(name)}")
    if sorted(blocks) != sorted(pairs):
        raise ValueError(f"expected weights of the pairs {shown(pairs)} of irreps, got {shown(sorted(blocks))}")
    for pair, shape in zip(pairs, shapes, strict=True):
        if tuple(blocks[pair].shape[-2:]) != shape:
            raise ValueError(
                f"expected weights {pair} of shape (..., {shape[0]}, {shape[1]}), got {blocks[pair].shape}"
            )
    for o, x in offsets.items():
        if o >= len(outs) or outs[o][0] not in SCALARS or tuple(x.shape[-1:]) != (outs[o][1],):
            raise ValueError(f"expected biases of scalars of {shown(outs)}, got b[{o}] of shape {tuple(x.shape)}")
    return [blocks[pair] for pair in pairs], offsets


def _joined(
    backend: Backend,
    blocks: dict[tuple[int, int], Array],
    offsets: dict[int, Array],
    ins: list[tuple[str, int]],
    outs: list[tuple[str, int]],
) -> dict[str, Any]:
    """Join the blocks of each irrep: those of its inputs below each other, those of its outputs side by side."""
    xp, params = backend.xp, {}
    for name in dict.fromkeys(a for a, _ in ins if any(a == b for b, _ in outs)):
        columns = [o for o, (b, _) in enumerate(outs) if b == name]
        rows = [xp.concat([blocks[i, o] for o in columns], axis=-1) for i, (a, _) in enumerate(ins) if a == name]
        params[name] = {"kernel": xp.concat(rows, axis=-2)}
        if name in SCALARS and offsets:
            x = next(iter(offsets.values()))
            none = [xp.zeros((*x.shape[:-1], outs[o][1]), dtype=x.dtype, device=backend.device(x)) for o in columns]
            params[name]["bias"] = xp.concat(
                [offsets.get(o, zero) for o, zero in zip(columns, none, strict=True)], axis=-1
            )
    return params
