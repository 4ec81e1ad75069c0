"""Activations that gate features by other scalars, or by their own norms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from e3any_backends import Array, Backend
from e3any_backends.forms.components import component_irreps
from numpy.typing import NDArray

from e3any.checks import check_callable, check_flag, floating_backend, shown
from e3any.irreps import Irreps, irrep_backend
from e3any.layout import Layout
from e3any.nn._functions import sigmoid
from e3any.nn.activations import silu
from e3any.ops.safe import normalize_and_return_norm

__all__ = ["gate", "norm_activation"]

Activation = Callable[[Array], Array]


def gate(
    x: Array, gates: Array | Irreps, activation: Activation = silu, gate_activation: Activation | None = None
) -> Array:
    r"""Activate scalars, and gate everything else by functions of other scalars.

    .. math::
        y^{(0_+)} = \phi\bigl(x^{(0_+)}\bigr) \qquad y^{(l_p)}_m = \psi\bigl(g^{(l_p)}\bigr)\, x^{(l_p)}_m

    (Weiler et al., `3D steerable CNNs <https://arxiv.org/abs/1807.02547>`_, 2018). :class:`e3any.nn.Gate` learns the
    gates.

    Parameters
    ----------
    x : array of shape (..., P, (L+1)**2, F), or dictionary of arrays (..., 2l+1, F) by irrep
        Features.
    gates : Irreps, or array of shape (..., 1, 1, F) or (..., 1, 1, K * F)
        Scalars: one for all irreps of a feature, or one for each of the K = P (L+1) - 1 irreps other than the scalar of
        even parity. F numbers for the first irrep are followed by F for the next. With both parities the order is 1+,
        2+, ..., 0-, 1-, ...; for proper tensors it is 1-, 2+, ...

        For a dictionary: the irreps of the result. The scalars of ``x``, which are ``gates.gated()``, are those of the
        result and then a gate for every feature of the other irreps, in the order of ``gates``. Or an array of shape
        (..., 1, K) with these K gates, by degree, then by parity.
    activation : callable
        The function :math:`\phi`, which maps features of degree 0, such as :func:`e3any.nn.silu`.
    gate_activation : callable, optional
        The function :math:`\psi`, of the same kind; the logistic function by default.

    Returns
    -------
    array of the shape of ``x``, or dictionary
        Gated features.

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If ``x`` or ``gates`` is not a floating-point array, or a function can't be called.
    """
    check_callable(activation, "activation")
    if gate_activation is not None:
        check_callable(gate_activation, "gate_activation")
    if isinstance(x, Mapping):
        return _gate_by_irrep(x, gates, activation, gate_activation)
    backend = floating_backend(x=x, gates=gates)
    layout = Layout.of(x, "x")
    num_gated = layout.num_parities * (layout.max_degree + 1) - 1
    _check_gates(x, gates, num_gated)
    x, gates = backend.promote(x, gates)
    xp, lead = backend.xp, tuple(x.shape[:-3])
    size, num_factors = math.prod(x.shape[-3:-1]), 1 if gates.shape[-1] == layout.features else num_gated
    scalars, flat = activation(x[..., :1, :1, :]), xp.reshape(x, (*lead, size, layout.features))
    factors = sigmoid(backend, gates) if gate_activation is None else gate_activation(gates)
    factors = xp.reshape(factors, (*lead, num_factors, layout.features))
    rest = flat[..., 1:, :]
    if num_factors > 1:
        which = backend.table(_irrep_of_component, layout.max_degree, layout.num_parities, like=x)
        rest = rest * backend.select(factors, which, axis=-2)
    elif num_gated:
        rest = backend.scale_components(rest[..., None, :, :], factors[..., 0, :])[..., 0, :, :]
    return xp.reshape(xp.concat([scalars[..., 0, :, :], rest], axis=-2), x.shape)


def _check_gates(x: Array, gates: Array, num_gated: int) -> None:
    lead, features = tuple(x.shape[:-3]), x.shape[-1]
    allowed = [(*lead, 1, 1, num * features) for num in dict.fromkeys((1, num_gated))]
    if tuple(gates.shape) not in allowed:
        raise ValueError(f"expected gates of shape {' or '.join(map(str, allowed))}, got {tuple(gates.shape)}")


def _gate_by_irrep(
    x: Mapping[str, Array], gates: Any, activation: Activation, gate_activation: Activation | None
) -> dict[str, Array]:
    backend, found = irrep_backend(x, "x"), Irreps.of(x, "x")
    scalar = found.scalar
    if scalar not in found:
        raise ValueError(f"expected x with scalars {scalar!r}, got {found}")
    if isinstance(gates, Irreps):
        _check_gated(found, gates)
        counts = {name: gates[name] for name in gates if name != scalar}
        num = dict(gates.items()).get(scalar, 0)
        scalars, factors = x[scalar][..., :num], x[scalar][..., num:]
    else:
        counts = {name: found[name] for name in found if name != scalar}
        num, scalars, factors = found[scalar], x[scalar], gates
        floating_backend(*x.values(), gates=gates)
        expected = (*scalars.shape[:-1], sum(counts.values()))
        if tuple(gates.shape) != expected:
            raise ValueError(f"expected gates of shape {expected} for x of {found}, got {tuple(gates.shape)}")
    scalars, factors, *rest = backend.promote(scalars, factors, *(x[name] for name in counts if name in x))
    factors = sigmoid(backend, factors) if gate_activation is None else of_scalars(gate_activation, factors)
    parts = dict(zip(counts, backend.pieces(factors, list(counts.values()), -1), strict=True))
    blocks = dict(zip((name for name in counts if name in x), rest, strict=True))
    gated = {name: block * parts[name] for name, block in blocks.items()}
    return {scalar: of_scalars(activation, scalars), **gated} if num else gated


def of_scalars(activation: Activation, x: Array) -> Array:
    """Apply an activation, which maps features (..., 1, 1, F), to scalars (..., 1, F)."""
    return activation(x[..., None, :, :])[..., 0, :, :]


def _check_gated(found: Irreps, result: Irreps) -> None:
    """Raise a ValueError unless features have the scalars that gate them, and no other irreps than the result."""
    expected = result.gated()
    if any(name not in expected or expected[name] != count for name, count in found.items()):
        raise ValueError(f"expected x of {expected}, which includes a scalar for every gate, got {found}")


def _irrep_of_component(max_degree: int, num_parities: int) -> NDArray[np.intp]:
    """Return the index of the gate of each component other than the scalar of even parity."""
    return component_irreps(max_degree, num_parities)[1:] - 1


def norm_activation(
    x: Array, activation: Activation = silu, bias: Array | None = None, normalize: bool = True
) -> Array:
    r"""Activate the norm of every irrep, and keep its direction.

    .. math::
        y^{(l_p)}_m = \phi\bigl(\lVert x^{(l_p)}\rVert + b^{(l_p)}\bigr)\,
        \frac{x^{(l_p)}_m}{\lVert x^{(l_p)}\rVert}

    (Thomas et al., `Tensor field networks <https://arxiv.org/abs/1802.08219>`_, 2018). :class:`e3any.nn.NormActivation`
    learns the biases.

    Parameters
    ----------
    x : array of shape (..., P, (L+1)**2, F), or dictionary of arrays (..., 2l+1, F) by irrep
        Features.
    activation : callable
        The function :math:`\phi`, which maps features of degree 0, such as :func:`e3any.nn.silu`.
    bias : array of shape (P, L+1, F), or dictionary of arrays (F,) by irrep, optional
        Biases b of the norms.
    normalize : bool
        Whether irreps are divided by their norms, and then multiplied by the activation. If not, they are only
        multiplied.

    Returns
    -------
    array or dictionary of the shapes of ``x``
        Activated features. Zero irreps stay zero, with finite derivatives.

    Raises
    ------
    ValueError
        If shapes do not fit, or ``normalize`` is neither True nor False.
    TypeError
        If ``x`` or ``bias`` is not a floating-point array, or the function can't be called.
    """
    check_callable(activation, "activation")
    check_flag(normalize, "normalize")
    if isinstance(x, Mapping):
        return _norm_activation_by_irrep(x, activation, bias, normalize)
    backend = floating_backend(x=x) if bias is None else floating_backend(x=x, bias=bias)
    layout = Layout.of(x, "x")
    expected = (layout.num_parities, layout.max_degree + 1, layout.features)
    if bias is not None and tuple(bias.shape) != expected:
        raise ValueError(f"expected bias of shape {expected}, got {tuple(bias.shape)}")
    x, bias = backend.promote(x, bias)
    blocks = backend.pieces(x, [2 * l + 1 for l in range(layout.max_degree + 1)], -2)
    biases = [None if bias is None else bias[:, l : l + 1, :] for l in range(layout.max_degree + 1)]
    activated = [_activated(backend, *both, activation, normalize) for both in zip(blocks, biases, strict=True)]
    return backend.xp.concat(activated, axis=-2)


def _norm_activation_by_irrep(
    x: Mapping[str, Array], activation: Activation, bias: Any, normalize: bool
) -> dict[str, Array]:
    backend = irrep_backend(x, "x")
    if bias is not None and not (isinstance(bias, Mapping) and bias.keys() == x.keys()):
        raise ValueError(f"expected bias as a dictionary of arrays of {list(x)}, got {shown(bias)}")
    biases = [None if bias is None else bias[name] for name in x]
    for (name, block), b in zip(x.items(), biases, strict=True):
        if b is not None and tuple(b.shape) != (block.shape[-1],):
            raise ValueError(f"expected bias[{name!r}] of shape {(block.shape[-1],)}, got {tuple(b.shape)}")
    arrays = backend.promote(*x.values(), *biases)
    blocks, biases = arrays[: len(x)], arrays[len(x) :]
    # One parity: activations map features, whose last axes are parity, components and features.
    activated = [
        _activated(backend, block[..., None, :, :], b, activation, normalize)[..., 0, :, :]
        for block, b in zip(blocks, biases, strict=True)
    ]
    return dict(zip(x, activated, strict=True))


def _activated(backend: Backend, block: Array, bias: Array | None, activation: Activation, normalize: bool) -> Array:
    unit, norm = normalize_and_return_norm(block, axis=-2, keepdims=True)
    argument = norm if bias is None else norm + backend.aligned(bias, norm)
    # Activations map features, whose last axes are parity, components and features.
    return (unit if normalize else block) * activation(argument[..., None, :, :])[..., 0, :, :]
