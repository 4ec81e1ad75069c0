"""Activations of norms with learned biases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from e3any_backends import Array

from e3any.checks import check_callable, floating_backend
from e3any.irreps import Features, irrep_backend
from e3any.layout import Layout
from e3any.nn.activations import silu
from e3any.nn.gates import norm_activation
from e3any.nn.initializers import zeros
from e3any.nn.layer import Layer, Parameters
from e3any.nn.layers.blocks import irrep_parameters, parameters_by_irrep, promoted

__all__ = ["NormActivation"]


@dataclass(frozen=True)
class NormActivation(Layer):
    r"""Activate the norm of every irrep, and keep its direction; see :func:`e3any.nn.norm_activation`.

    .. math::
        y^{(l_p)}_m = \phi\bigl(\lVert x^{(l_p)}\rVert + b^{(l_p)}\bigr)\,
        \frac{x^{(l_p)}_m}{\lVert x^{(l_p)}\rVert}

    Parameters are ``{l}{p}/bias`` of shape (F,) for every irrep, such as ``1-/bias``.

    Parameters
    ----------
    activation : callable
        Activation of norms, for example :func:`e3any.nn.silu`.
    use_bias : bool
        Whether norms have a bias.
    normalize : bool
        Whether irreps are divided by their norms.
    dtype : optional
        Dtype of the computation; that of inputs and parameters by default.
    param_dtype : optional
        Dtype that parameters are created with.
    bias_init : Initializer or callable
        Initialiser of biases.

    Raises
    ------
    ValueError
        If a flag is neither True nor False.
    TypeError
        If the function can't be called, or a dtype is not a floating-point dtype.
    """

    activation: Any = silu
    use_bias: bool = True
    normalize: bool = True
    dtype: Any = None
    param_dtype: Any = "float32"
    bias_init: Any = zeros

    def __post_init__(self) -> None:
        super().__post_init__()
        check_callable(self.activation, "activation")

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
        biases = irrep_parameters(p, "bias", layout, self.bias_init, self.param_dtype) if self.use_bias else []
        inputs, *biases = backend.promote(inputs, *biases, dtype=self.dtype)
        shape = (layout.num_parities, layout.max_degree + 1, layout.features)
        bias = backend.xp.reshape(backend.xp.stack(biases), shape) if biases else None
        return norm_activation(inputs, self.activation, bias, self.normalize)

    def _by_irrep(self, p: Parameters, inputs: Mapping[str, Array]) -> Features:
        backend = irrep_backend(inputs)
        biases = parameters_by_irrep(p, "bias", inputs, self.bias_init, self.param_dtype) if self.use_bias else {}
        inputs, biases = promoted(backend, inputs, biases, dtype=self.dtype)
        return norm_activation(inputs, self.activation, biases or None, self.normalize)
