"""The tensor product of two linear maps of one feature."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from e3any_backends import Array

from e3any.checks import check_count, check_degree
from e3any.layout import Layout
from e3any.nn.initializers import lecun_normal, zeros
from e3any.nn.layer import Layer, Parameters
from e3any.nn.layers.dense import Dense
from e3any.nn.layers.product import product_of

__all__ = ["TensorDense"]


@dataclass(frozen=True)
class TensorDense(Layer):
    r"""Couple two linear maps of the same features.

    .. math:: y = \mathrm{tensor}(\mathrm{dense}_1(x), \mathrm{dense}_2(x))

    Parameters are ``dense/...`` (:class:`Dense` with 2 F outputs, the first half of which is the first factor) and
    ``tensor/kernel`` (:class:`Tensor`) or ``fused_tensor/...`` (:class:`FusedTensor`).

    Parameters
    ----------
    features : int, optional
        Number of output features; as many as inputs by default.
    max_degree : int, optional
        Largest degree of the product; that of the inputs by default.
    use_bias : bool
        Whether the linear maps add a bias to the scalars.
    include_pseudotensors : bool
        Whether the product has both parities. It always has one if both factors are proper tensors and one of the
        three degrees is zero, because no coupling gives pseudotensors then.
    cartesian_order : bool, optional
        Order of components, see :mod:`e3any.conventions`; by default that of :class:`e3any.Config`.
    use_fused_tensor : bool, optional
        Whether maps are coupled by :class:`FusedTensor` instead of :class:`Tensor`; by default the setting of
        :class:`e3any.Config`.
    dtype, param_dtype, precision : optional
        See :class:`Dense`.
    dense_kernel_init, dense_bias_init, tensor_kernel_init : Initializer or callable
        Initialisers of parameters.
    use_parity : bool, optional
        Whether irreps have a parity, see :class:`Tensor`; by default the setting of :class:`e3any.Config`.

    Raises
    ------
    ValueError
        If a number is not an integer >= 0, or a setting is neither True nor False.
    TypeError
        If a dtype is not a floating-point dtype.
    """

    features: int | None = None
    max_degree: int | None = None
    use_bias: bool = True
    include_pseudotensors: bool = True
    cartesian_order: bool | None = None
    use_fused_tensor: bool | None = None
    dtype: Any = None
    param_dtype: Any = "float32"
    precision: Any = None
    dense_kernel_init: Any = lecun_normal
    dense_bias_init: Any = zeros
    tensor_kernel_init: Any = None
    use_parity: bool | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.features is not None:
            check_count(self.features, "features")
        if self.max_degree is not None:
            check_degree(self.max_degree)
        object.__setattr__(self, "_product", product_of(self))

    def forward(self, p: Parameters, inputs: Array) -> Array:
        """Apply the layer.

        Parameters
        ----------
        p : Parameters
            Parameters.
        inputs : array of shape (..., P, (L+1)**2, F_in)
            Features.

        Returns
        -------
        array of shape (..., P', (L'+1)**2, F)
            Features.

        Raises
        ------
        ValueError
            If the shape is not that of features, or ``max_degree`` is out of reach.
        TypeError
            If the inputs are not a floating-point array.
        """
        features = Layout.of(inputs).features if self.features is None else self.features
        dense = Dense(
            2 * features,
            self.use_bias,
            self.dtype,
            self.param_dtype,
            self.precision,
            self.dense_kernel_init,
            self.dense_bias_init,
        )
        name, product = self._product  # type: ignore[attr-defined]
        both = dense(p / "dense", inputs)
        return product(p / name, both[..., :features], both[..., features:])
