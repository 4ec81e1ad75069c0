"""Sums of a layer and its input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from e3any_backends import Array, backend_of

from e3any.checks import shown
from e3any.irreps import Features, Irreps, irrep_backend
from e3any.layout import Layout
from e3any.nn.features import add
from e3any.nn.initializers import lecun_normal
from e3any.nn.layer import Layer, Parameters, check_layer
from e3any.nn.layers.blocks import promoted
from e3any.nn.layers.dense import Dense

__all__ = ["Residual"]


@dataclass(frozen=True)
class Residual(Layer):
    r"""Add the input of a layer to its output.

    .. math:: y = \mathrm{layer}(x, \dots) + \begin{cases} x & F_\mathrm{out} = F_\mathrm{in} \\
        \mathrm{dense}(x) & \text{else} \end{cases}

    Largest degrees and parities, or irreps, can differ, as in :func:`e3any.nn.add`. Parameters are ``layer/...``, those
    of the layer, and ``skip/...`` (:class:`Dense` without bias) if numbers of features differ.

    Parameters
    ----------
    layer : Layer
        The layer, which maps features, and further inputs if it has any, to features.
    param_dtype, precision : optional
        See :class:`Dense`.
    kernel_init : Initializer or callable
        Initialiser of the linear map.

    Raises
    ------
    TypeError
        If ``layer`` is not a layer, or a dtype is not a floating-point dtype.
    """

    layer: Layer
    param_dtype: Any = "float32"
    precision: Any = None
    kernel_init: Any = lecun_normal

    def __post_init__(self) -> None:
        super().__post_init__()
        check_layer(self.layer)

    def example(self, *layouts: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the smallest inputs of the layer."""
        return self.layer.example(*layouts)

    def forward(self, p: Parameters, inputs: Features, *others: Any, **options: Any) -> Features:
        """Apply the layer and add its input.

        Parameters
        ----------
        p : Parameters
            Parameters.
        inputs : array of shape (..., P, (L+1)**2, F), or dictionary of arrays (..., 2l+1, F) by irrep
            Features.
        *others, **options
            Further arguments of the layer.

        Returns
        -------
        array of shape (..., P', (L'+1)**2, F'), or dictionary by irrep
            The sum.

        Raises
        ------
        ValueError
            If the shape is not that of features, or the layer refuses its inputs.
        TypeError
            If the inputs are not a floating-point array, or the layer refuses its inputs.
        """
        if isinstance(inputs, Mapping):
            return self._by_irrep(p, inputs, self.layer(p / "layer", inputs, *others, **options))
        layout = Layout.of(inputs)
        outputs = self.layer(p / "layer", inputs, *others, **options)
        features = Layout.of(outputs, "outputs").features
        if features != layout.features:
            dense = Dense(features, False, None, self.param_dtype, self.precision, self.kernel_init)
            inputs = dense(p / "skip", inputs)
        return add(*backend_of(inputs, outputs).promote(inputs, outputs))

    def _by_irrep(self, p: Parameters, inputs: Mapping[str, Array], outputs: Any) -> Features:
        """Add dictionaries; the input is mapped if an irrep differs in its number of features."""
        if not isinstance(outputs, Mapping):
            raise TypeError(f"expected outputs as a dictionary by irrep, as the inputs are, got {shown(outputs)}")
        ours, theirs = Irreps.of(inputs), Irreps.of(outputs, "outputs")
        if any(ours[name] != theirs[name] for name in ours if name in theirs):
            dense = Dense(theirs, False, None, self.param_dtype, self.precision, self.kernel_init)
            inputs = dense(p / "skip", inputs)
        return add(*promoted(irrep_backend({**inputs, **outputs}), inputs, outputs))
