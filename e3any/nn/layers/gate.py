"""Gated activations whose gates are learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from e3any_backends import Array

from e3any.checks import check_callable, floating_backend
from e3any.irreps import Features, Irreps, irrep_backend
from e3any.layout import Layout
from e3any.nn.activations import silu
from e3any.nn.gates import gate, of_scalars
from e3any.nn.initializers import lecun_normal, zeros
from e3any.nn.layer import Layer, Parameters
from e3any.nn.layers.blocks import promoted
from e3any.nn.layers.dense import Dense

__all__ = ["Gate"]


@dataclass(frozen=True)
class Gate(Layer):
    r"""Activate scalars, and gate everything else by functions of a linear map of the scalars.

    .. math::
        y = \mathrm{gate}\bigl(x, g\bigr) \qquad g = x^{(0_+)} W + b

    with :func:`e3any.nn.gate`. There is a gate for every feature of every irrep; activations such as
    :func:`e3any.nn.silu` gate all components of a feature by its own scalar.

    Parameters are ``dense/0+/kernel`` of shape (F, K F), for K = P (L+1) - 1 gated irreps, and ``dense/0+/bias``. If
    there are no gated irreps, there are no parameters.

    Parameters
    ----------
    activation : callable
        Activation of scalars, for example :func:`e3any.nn.silu`.
    gate_activation : callable, optional
        Activation of gates; the logistic function by default.
    use_bias : bool
        Whether gates have a bias.
    dtype, param_dtype, precision : optional
        See :class:`Dense`.
    kernel_init, bias_init : Initializer or callable
        Initialisers of parameters.

    Raises
    ------
    TypeError
        If a function can't be called, or a dtype is not a floating-point dtype.
    """

    activation: Any = silu
    gate_activation: Any = None
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = "float32"
    precision: Any = None
    kernel_init: Any = lecun_normal
    bias_init: Any = zeros

    def __post_init__(self) -> None:
        super().__post_init__()
        check_callable(self.activation, "activation")
        if self.gate_activation is not None:
            check_callable(self.gate_activation, "gate_activation")

    def forward(self, p: Parameters, inputs: Features) -> Features:
        """Activate features.

        Parameters
        ----------
        p : Parameters
            Parameters.
        inputs : array of shape (..., P, (L+1)**2, F), or dictionary of arrays (..., 2l+1, F) by irrep
            Features.

        Returns
        -------
        array or dictionary of the shapes of the inputs
            Activated features.

        Raises
        ------
        ValueError
            If the shape is not that of features.
        TypeError
            If the inputs are not a floating-point array.
        """
        if isinstance(inputs, Mapping):
            return self._by_irrep(p, inputs)
        backend, layout = floating_backend(inputs=inputs), Layout.of(inputs)
        num_gated = layout.num_parities * (layout.max_degree + 1) - 1
        if not num_gated:
            return self.activation(backend.promote(inputs, dtype=self.dtype)[0])
        gates = self._dense(num_gated * layout.features)(p / "dense", inputs[..., :1, :1, :])
        (inputs,) = backend.promote(inputs, dtype=self.dtype)
        return gate(inputs, gates, self.activation, self.gate_activation)

    def _by_irrep(self, p: Parameters, inputs: Mapping[str, Array]) -> Features:
        backend, irreps = irrep_backend(inputs), Irreps.of(inputs)
        scalar = irreps.scalar
        if scalar not in irreps:
            raise ValueError(f"expected inputs with scalars {scalar!r}, which gates are computed from, got {irreps}")
        num = irreps.gated()[scalar] - irreps[scalar]
        (cast,) = promoted(backend, inputs, dtype=self.dtype)
        if not num:
            return {scalar: of_scalars(self.activation, cast[scalar])}
        gates = self._dense(Irreps({scalar: num}))(p / "dense", {scalar: inputs[scalar]})[scalar]
        return gate(cast, gates, self.activation, self.gate_activation)

    def _dense(self, features: int | Irreps) -> Dense:
        """Return the linear map from scalars to gates."""
        return Dense(
            features,
            self.use_bias,
            self.dtype,
            self.param_dtype,
            self.precision,
            self.kernel_init,
            self.bias_init,
        )
