r"""Gated activations: every component of a feature times a function of its scalar of even parity.

.. math::
    \mathrm{act}(x)^{(l, p)} = \mathrm{gate}\bigl(x^{(0, +)}\bigr)\, x^{(l, p)} \qquad
    \mathrm{gate}(t) = \mathrm{act}(t) / t

so that scalars get the usual activation and all other components are scaled by an invariant. Gates are computed
without dividing by t. They and all their derivatives are finite for \|t\| up to an eighth of the largest number of the
dtype, values and first derivatives up to a third of it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from e3any_backends import Array, Backend

from e3any.checks import check_flag, floating_backend
from e3any.irreps import Irreps, irrep_backend
from e3any.layout import Layout
from e3any.nn._functions import mean_decay, nodes, scalar_like, sigmoid, softplus, weights
from e3any.nn.cutoffs import check_positive

__all__ = [
    "bent_identity",
    "celu",
    "elu",
    "gelu",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "mish",
    "relu",
    "relu6",
    "selu",
    "serf",
    "shifted_softplus",
    "silu",
    "soft_sign",
    "swish",
]

Activation = TypeVar("Activation", bound=Callable[..., Any])

_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805

# Beyond these, exponentials and the normal distribution are zero or one in every dtype.
_SATURATED = 1000.0
_SATURATED_NORMAL = 50.0
_SATURATED_CUBE = 10.0


_FEATURES = """x : array of shape (..., 1 or 2, (L+1)**2, F), or dictionary of arrays (..., 2l+1, F) by irrep
    Features. In a dictionary, every irrep has as many features as the scalars that gate it.
"""
_REST = """

Returns
-------
array or dictionary of the shapes of ``x``
    Gated features.

Raises
------
ValueError
    If the shape of ``x`` is not that of features, irreps differ in their numbers of features, or a
    parameter is NaN or of a wrong shape or sign.
TypeError
    If ``x`` is not a floating-point array, or a parameter is neither a number nor an array of its library.
"""


def _documented(function: Activation) -> Activation:
    """Add the sections that all activations share to a docstring."""
    title = "Parameters\n----------\n"
    summary, _, parameters = inspect.cleandoc(function.__doc__ or "").partition(title)
    function.__doc__ = f"{summary.rstrip()}\n\n{title}{_FEATURES}{parameters}{_REST}"
    return function


def _gated(x: Array, gate: Callable[[Backend, Array], Array]) -> Array:
    """Check features and multiply them by a gate of their scalars."""
    if isinstance(x, Mapping):
        return _gated_by_irrep(x, gate)
    backend = floating_backend(x=x)
    Layout.of(x, "x")
    return backend.scale_components(x, gate(backend, x[..., 0:1, 0:1, :])[..., 0, 0, :])


def _gated_by_irrep(x: Mapping[str, Array], gate: Callable[[Backend, Array], Array]) -> dict[str, Array]:
    backend, irreps = irrep_backend(x, "x"), Irreps.of(x, "x")
    scalar = irreps.scalar
    if scalar not in irreps or any(count != irreps[scalar] for _, count in irreps.items()):
        raise ValueError(
            f"expected x with as many scalars {scalar!r} as features of every other irrep, which they gate, "
            f"got {irreps}; see nn.gate for gates of their own"
        )
    factor = gate(backend, x[scalar])
    return {name: block * factor for name, block in x.items()}


@_documented
def relu(x: Array) -> Array:
    r"""Gate by the rectified linear unit.

    .. math::
        \mathrm{gate}(t) = 1 \text{ if } t > 0 \text{ else } 0
    """

    def gate(backend: Backend, t: Array) -> Array:
        return backend.xp.where(t > 0, backend.xp.ones_like(t), backend.xp.zeros_like(t))

    return _gated(x, gate)


@_documented
def leaky_relu(x: Array, negative_slope: Array | float = 1e-2) -> Array:
    r"""Gate by the leaky rectified linear unit.

    .. math::
        \mathrm{gate}(t) = 1 \text{ if } t \ge 0 \text{ else } \alpha

    Parameters
    ----------
    negative_slope : float or array of shape (), optional
        The slope :math:`\alpha` for negative scalars.
    """

    def gate(backend: Backend, t: Array) -> Array:
        slope = scalar_like(backend, negative_slope, t)
        one = backend.xp.ones_like(t)
        return backend.xp.where(t >= 0, one, slope * one)

    return _gated(x, gate)


@_documented
def elu(x: Array, alpha: Array | float = 1.0) -> Array:
    r"""Gate by the `exponential linear unit <https://arxiv.org/abs/1511.07289>`_.

    .. math::
        \mathrm{gate}(t) = 1 \text{ if } t > 0 \text{ else } \alpha\, (e^t - 1) / t

    Parameters
    ----------
    alpha : float or array of shape (), optional
        The value :math:`\alpha`.
    """
    return _gated(x, lambda backend, t: _exponential_gate(backend, t, scalar_like(backend, alpha, t), 1.0))


@_documented
def selu(x: Array) -> Array:
    r"""Gate by the `scaled exponential linear unit <https://arxiv.org/abs/1706.02515>`_.

    .. math::
        \mathrm{selu}(x) = \lambda\, \mathrm{elu}(x, \alpha) \; (\lambda \approx 1.051, \alpha \approx 1.67)
    """
    y = elu(x, _SELU_ALPHA)
    return {name: _SELU_SCALE * b for name, b in y.items()} if isinstance(y, Mapping) else _SELU_SCALE * y


@_documented
def celu(x: Array, alpha: Array | float = 1.0) -> Array:
    r"""Gate by the `continuously differentiable exponential linear unit <https://arxiv.org/abs/1704.07483>`_.

    .. math::
        \mathrm{gate}(t) = 1 \text{ if } t > 0 \text{ else } \alpha\, (e^{t/\alpha} - 1) / t

    Parameters
    ----------
    alpha : float or array of shape (), optional
        The value :math:`\alpha` > 0.
    """
    check_positive(alpha, "alpha")

    def gate(backend: Backend, t: Array) -> Array:
        scale = scalar_like(backend, alpha, t)
        return _exponential_gate(backend, t, scale, scale)

    return _gated(x, gate)


def _exponential_gate(backend: Backend, t: Array, alpha: Array | float, scale: Array | float) -> Array:
    r"""Return 1 for t > 0 and :math:`\alpha\, (e^{t/s} - 1) / t` elsewhere."""
    xp = backend.xp
    below = xp.where(t > 0, xp.zeros_like(t), -t)
    far = below > 3.0 * scale
    near = (alpha / scale) * mean_decay(backend, xp.where(far, xp.zeros_like(t), below) / scale)
    # Divide by t itself: t / s can overflow.
    size = xp.where(far, below, xp.ones_like(t))
    unsaturated = far & (below < _SATURATED * scale)
    rest = xp.where(unsaturated, xp.exp(-xp.where(unsaturated, below, xp.zeros_like(t)) / scale), xp.zeros_like(t))
    return xp.where(t > 0, xp.ones_like(t), xp.where(far, alpha * (1.0 - rest) / size, near))


def _saturated(backend: Backend, t: Array, bound: float) -> Array:
    """Clip t to [-bound, bound], beyond which a gate is constant."""
    # Derivatives of the gate would multiply zero by large numbers, which overflow.
    xp = backend.xp
    return xp.where(t > bound, xp.full_like(t, bound), xp.where(t < -bound, xp.full_like(t, -bound), t))


@_documented
def silu(x: Array) -> Array:
    r"""Gate by the `sigmoid-weighted linear unit <https://arxiv.org/abs/1702.03118>`_; :func:`swish` is the same.

    .. math::
        \mathrm{gate}(t) = \frac{1}{1 + e^{-t}}
    """
    return _gated(x, sigmoid)


swish = silu


@_documented
def gelu(x: Array, approximate: bool = True) -> Array:
    r"""Gate by the `Gaussian error linear unit <https://arxiv.org/abs/1606.08415>`_.

    .. math::
        \mathrm{gate}(t) = \tfrac12 \bigl(1 + \mathrm{erf}(t / \sqrt2)\bigr) \approx
        \tfrac12 \Bigl(1 + \tanh\bigl(\sqrt{2/\pi}\, (t + 0.044715\, t^3)\bigr)\Bigr)

    Parameters
    ----------
    approximate : bool, optional
        Whether to use the approximation by the hyperbolic tangent.
    """
    check_flag(approximate, "approximate")

    def gate(backend: Backend, t: Array) -> Array:
        if not approximate:
            return 0.5 * (1.0 + backend.erf(_saturated(backend, t, _SATURATED_NORMAL) * math.sqrt(0.5)))
        t = _saturated(backend, t, _SATURATED_CUBE)
        return 0.5 * (1.0 + backend.xp.tanh(math.sqrt(2.0 / math.pi) * (t + 0.044715 * (t * t * t))))

    return _gated(x, gate)


@_documented
def mish(x: Array, fast: bool = True) -> Array:
    r"""Gate by `Mish <https://arxiv.org/abs/1908.08681>`_.

    .. math::
        \mathrm{gate}(t) = \tanh\bigl(\log(1 + e^t)\bigr) = \frac{e^{2t} + 2 e^t}{e^{2t} + 2 e^t + 2}

    Parameters
    ----------
    fast : bool, optional
        Whether to use the rational form, in terms of :math:`e^{-|t|}` so that it never overflows, instead of the
        hyperbolic tangent. They agree to rounding.
    """
    check_flag(fast, "fast")

    def gate(backend: Backend, t: Array) -> Array:
        xp, t = backend.xp, _saturated(backend, t, _SATURATED)
        if not fast:
            return xp.tanh(softplus(backend, t))
        negative = t < 0
        e = xp.exp(xp.where(negative, t, -t))
        n = xp.where(negative, e * e, xp.ones_like(e)) + 2.0 * e
        return n / (n + 2.0 * xp.where(negative, xp.ones_like(e), e * e))

    return _gated(x, gate)


@_documented
def serf(x: Array) -> Array:
    r"""Gate by the error function of softplus, `Serf <https://arxiv.org/abs/2108.09598>`_.

    .. math::
        \mathrm{gate}(t) = \mathrm{erf}\bigl(\log(1 + e^t)\bigr)
    """
    return _gated(x, lambda backend, t: backend.erf(softplus(backend, _saturated(backend, t, _SATURATED))))


@_documented
def shifted_softplus(x: Array) -> Array:
    r"""Gate by softplus, shifted to be zero at zero, as in `SchNet <https://arxiv.org/abs/1706.08566>`_.

    .. math::
        \mathrm{gate}(t) = \frac{\log(1 + e^t) - \log 2}{t} = \int_0^1 \frac{ds}{1 + e^{-st}}
    """

    def gate(backend: Backend, t: Array) -> Array:
        xp = backend.xp
        small = xp.abs(t) < 1.0
        near = xp.where(small, t, xp.zeros_like(t))[..., None]
        at, weight = (backend.aligned(backend.table(f, like=t), near) for f in (nodes, weights))
        mean = xp.sum(sigmoid(backend, near * at) * weight, axis=-1, dtype=t.dtype)
        far = xp.where(small, xp.ones_like(t), t)
        # log(1 + e^t) = max(t, 0) + log(1 + e^-|t|). Only the last term is divided by t: its derivatives stay small.
        rest = xp.log1p(xp.exp(xp.where(far < 0, far, -far))) - math.log(2.0)
        return xp.where(small, mean, xp.where(t > 0, xp.ones_like(t), xp.zeros_like(t)) + rest / far)

    return _gated(x, gate)


@_documented
def hard_tanh(x: Array) -> Array:
    r"""Gate by the identity, cut off at -1 and 1.

    .. math::
        \mathrm{gate}(t) = 1 / \max(1, |t|)
    """

    def gate(backend: Backend, t: Array) -> Array:
        size = backend.xp.abs(t)
        return 1.0 / backend.xp.where(size > 1, size, backend.xp.ones_like(t))

    return _gated(x, gate)


@_documented
def soft_sign(x: Array) -> Array:
    r"""Gate by the soft sign.

    .. math::
        \mathrm{gate}(t) = 1 / (1 + |t|)
    """
    # Not abs: its derivative at zero is one in JAX and zero in PyTorch.
    return _gated(x, lambda backend, t: 1.0 / (1.0 + backend.xp.where(t < 0, -t, t)))


@_documented
def relu6(x: Array) -> Array:
    r"""Gate by the rectified linear unit, cut off at 6.

    .. math::
        \mathrm{gate}(t) = 0 \text{ if } t \le 0 \text{ else } \min(1, 6 / t)
    """

    def gate(backend: Backend, t: Array) -> Array:
        xp = backend.xp
        six = xp.full_like(t, 6.0)
        cut = six / xp.where(t > 6, t, six)
        return xp.where(t > 0, cut, xp.zeros_like(t))

    return _gated(x, gate)


@_documented
def hard_silu(x: Array) -> Array:
    r"""Gate by the `piecewise linear SiLU <https://arxiv.org/abs/1905.02244>`_; :func:`hard_swish` is the same.

    .. math::
        \mathrm{gate}(t) = \min\bigl(1, \max(0, (t + 3) / 6)\bigr)
    """

    def gate(backend: Backend, t: Array) -> Array:
        xp = backend.xp
        inside = xp.where(t < 3, t, xp.full_like(t, 3.0))
        return (xp.where(t > -3, inside, xp.full_like(t, -3.0)) + 3.0) / 6.0

    return _gated(x, gate)


hard_swish = hard_silu


@_documented
def bent_identity(x: Array) -> Array:
    r"""Gate by the bent identity.

    .. math::
        \mathrm{gate}(t) = 1 + \frac{\sqrt{t^2 + 1} - 1}{2t} = 1 + \frac{t}{2 (\sqrt{t^2 + 1} + 1)}
    """

    def gate(backend: Backend, t: Array) -> Array:
        xp = backend.xp
        large = xp.abs(t) > 1
        # Scaled to at most one by h, whose reciprocal must not be too large.
        size = xp.where(large, xp.abs(_saturated(backend, t, float(xp.finfo(t.dtype).max) / 8.0)), xp.ones_like(t))
        h, s = 1.0 / size, xp.where(large, xp.sign(t), t)
        return 1.0 + s / (2.0 * (xp.sqrt(s * s + h * h) + h))

    return _gated(x, gate)
