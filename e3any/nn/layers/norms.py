"""Normalisation of the features of each sample, irrep by irrep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from e3any_backends import Array, Backend

from e3any.checks import check_number, floating_backend
from e3any.irreps import SCALARS, Features, irrep_backend
from e3any.layout import Layout
from e3any.nn.cutoffs import check_positive
from e3any.nn.initializers import ones, zeros
from e3any.nn.layer import Layer, Parameters
from e3any.nn.layers.blocks import (
    by_degree,
    degree_blocks,
    irrep_parameters,
    joined,
    parameters_by_irrep,
    promoted,
)

__all__ = ["LayerNorm", "RMSNorm"]


@dataclass(frozen=True)
class RMSNorm(Layer):
    r"""Divide the features of every degree and parity by their root mean square.

    .. math::
        y^{(l_p)}_{mf} = \gamma^{(l_p)}_f \frac{x^{(l_p)}_{mf}}{\sqrt{\epsilon + \frac{1}{(2l+1) F}
        \sum_{m'f'} \bigl(x^{(l_p)}_{m'f'}\bigr)^2}}

    The mean square over components and features is invariant, so that the layer is equivariant. For scalars it is
    RMSNorm (Zhang and Sennrich, `Root mean square layer normalization <https://arxiv.org/abs/1910.07467>`_, 2019).

    Parameters are ``{l}{p}/scale`` of shape (F,) for every irrep, such as ``0+/scale``.

    Parameters
    ----------
    epsilon : float
        The number :math:`\epsilon > 0`: values and derivatives are finite for zero features.
    use_scale : bool
        Whether features are multiplied with learned scales :math:`\gamma`.
    dtype : optional
        Dtype of the result; that of inputs and parameters by default. 16-bit numbers are normalised in float32.
    param_dtype : optional
        Dtype that parameters are created with.
    scale_init : Initializer or callable
        Initialiser of scales.

    Raises
    ------
    ValueError
        If ``epsilon`` is not positive.
    TypeError
        If ``epsilon`` is not a number, or a dtype is not a floating-point dtype.
    """

    epsilon: float = 1e-6
    use_scale: bool = True
    dtype: Any = None
    param_dtype: Any = "float32"
    scale_init: Any = ones

    def __post_init__(self) -> None:
        super().__post_init__()
        check_epsilon(self.epsilon)

    def forward(self, p: Parameters, inputs: Features) -> Features:
        """Normalise features.

        Parameters
        ----------
        p : Parameters
            Parameters.
        inputs : array of shape (..., P, (L+1)**2, F), or dictionary of arrays (..., 2l+1, F) by irrep
            Features.

        Returns
        -------
        array or dictionary of the shapes of the inputs
            Normalised features.

        Raises
        ------
        ValueError
            If the shape is not that of features.
        TypeError
            If the inputs are not a floating-point array.
        """
        if isinstance(inputs, Mapping):
            return _normalized_by_irrep(self, p, inputs, use_bias=False, centre=False)
        return _normalized(self, p, inputs, None, centre=False)


@dataclass(frozen=True)
class LayerNorm(Layer):
    r"""Normalise the features of every degree and parity; those of scalars are centred as well.

    .. math::
        y^{(l_p)} = \gamma^{(l_p)} \odot \mathrm{rms}_\epsilon\bigl(x^{(l_p)} - \delta_{l_p=0_+} \bar x\bigr)
        + \beta\, \delta_{l_p=0_+} \qquad \bar x = \frac1F \sum_f x^{(0_+)}_f

    with the division by the root mean square of :class:`RMSNorm`. For scalars it is layer normalisation (Ba et al.,
    `Layer normalization <https://arxiv.org/abs/1607.06450>`_, 2016).

    Parameters are ``{l}{p}/scale`` of shape (F,) for every irrep, such as ``0+/scale``, and ``0+/bias``.

    Parameters
    ----------
    epsilon : float
        The number :math:`\epsilon > 0`: values and derivatives are finite for zero features.
    use_bias : bool
        Whether a learned bias :math:`\beta` is added to scalars.
    use_scale : bool
        Whether features are multiplied with learned scales :math:`\gamma`.
    dtype : optional
        Dtype of the result; that of inputs and parameters by default. 16-bit numbers are normalised in float32.
    param_dtype : optional
        Dtype that parameters are created with.
    scale_init, bias_init : Initializer or callable
        Initialisers of parameters.

    Raises
    ------
    ValueError
        If ``epsilon`` is not positive.
    TypeError
        If ``epsilon`` is not a number, or a dtype is not a floating-point dtype.
    """

    epsilon: float = 1e-6
    use_bias: bool = True
    use_scale: bool = True
    dtype: Any = None
    param_dtype: Any = "float32"
    scale_init: Any = ones
    bias_init: Any = zeros

    def __post_init__(self) -> None:
        super().__post_init__()
        check_epsilon(self.epsilon)

    def forward(self, p: Parameters, inputs: Features) -> Features:
        """Normalise features; parameters, results and errors are those of :meth:`RMSNorm.forward`."""
        if isinstance(inputs, Mapping):
            return _normalized_by_irrep(self, p, inputs, use_bias=self.use_bias, centre=True)
        layout = Layout.of(inputs)
        bias = (p / "0+").param("bias", (layout.features,), self.bias_init, self.param_dtype) if self.use_bias else None
        return _normalized(self, p, inputs, bias, centre=True)


def check_epsilon(epsilon: Any) -> None:
    """Raise an error unless a number that is added to squares is positive."""
    check_number(epsilon, "epsilon")
    check_positive(epsilon, "epsilon")


def _normalized(layer: Any, p: Parameters, inputs: Array, bias: Array | None, centre: bool) -> Array:
    backend, layout = floating_backend(inputs=inputs), Layout.of(inputs)
    scales = irrep_parameters(p, "scale", layout, layer.scale_init, layer.param_dtype) if layer.use_scale else []
    inputs, bias, *scales = backend.promote(inputs, bias, *scales, dtype=layer.dtype)
    blocks = degree_blocks(backend, backend.widened(inputs), layout)
    if centre:
        blocks[0] = with_scalars(backend, blocks[0], lambda x: x - _mean(backend, x))
    blocks = [_divided(backend, block, layer.epsilon) for block in blocks]
    return affine(backend, blocks, scales, bias, layout, inputs.dtype)


def _normalized_by_irrep(
    layer: Any, p: Parameters, inputs: Mapping[str, Array], *, use_bias: bool, centre: bool
) -> dict[str, Array]:
    backend = irrep_backend(inputs)
    scalars = [name for name in inputs if use_bias and name in SCALARS]
    biases = {n: (p / n).param("bias", (inputs[n].shape[-1],), layer.bias_init, layer.param_dtype) for n in scalars}
    scales = parameters_by_irrep(p, "scale", inputs, layer.scale_init, layer.param_dtype) if layer.use_scale else {}
    inputs, scales, biases = promoted(backend, inputs, scales, biases, dtype=layer.dtype)
    normalized = {}
    for name, block in inputs.items():
        wide = backend.widened(block)
        if centre and name in SCALARS:
            wide = wide - _mean(backend, wide)
        wide = _divided(backend, wide, layer.epsilon)
        normalized[name] = affine_irrep(backend, wide, scales.get(name), biases.get(name), block.dtype)
    return normalized


def affine_irrep(backend: Backend, block: Array, scale: Array | None, bias: Array | None, dtype: Any) -> Array:
    """Multiply the features of one irrep by their scales, and add a bias."""
    if scale is not None:
        block = block * backend.aligned(backend.widened(scale), block)
    if bias is not None:
        block = block + backend.aligned(backend.widened(bias), block)
    return backend.xp.astype(block, dtype)


def with_scalars(backend: Backend, block: Array, function: Any) -> Array:
    """Apply a function to the scalars of even parity in the block of degree 0."""
    even = function(block[..., :1, :, :])
    return even if block.shape[-3] == 1 else backend.xp.concat([even, block[..., 1:, :, :]], axis=-3)


def affine(
    backend: Backend, blocks: list[Array], scales: list[Array], bias: Array | None, layout: Layout, dtype: Any
) -> Array:
    """Multiply the blocks of all degrees by the scales of their irreps, add a bias to scalars, and join them."""
    if scales:
        scales = by_degree(backend, [backend.widened(scale) for scale in scales], layout)
        blocks = [block * backend.aligned(scale, block) for block, scale in zip(blocks, scales, strict=True)]
    if bias is not None:
        offset = backend.aligned(backend.widened(bias), blocks[0])
        blocks[0] = with_scalars(backend, blocks[0], lambda x: x + offset)
    return backend.xp.astype(joined(backend, blocks), dtype)


def _mean(backend: Backend, x: Array) -> Array:
    return backend.xp.sum(x, axis=-1, keepdims=True, dtype=x.dtype) / max(1, x.shape[-1])


def _divided(backend: Backend, block: Array, epsilon: float) -> Array:
    """Divide the components and features of each irrep by their root mean square."""
    if 0 in block.shape:  # libraries raise for the maximum of an empty array
        return block
    xp = backend.xp
    # Divide by the largest value first, so that no square overflows. The result does not depend on it.
    largest = backend.stop_gradient(xp.max(xp.abs(block), axis=(-2, -1), keepdims=True))
    unit = xp.where(largest < 1.0, xp.ones_like(largest), largest)
    block, rest = block / unit, math.sqrt(epsilon) / unit
    count = block.shape[-2] * block.shape[-1]
    squares = xp.sum(block * block, axis=(-2, -1), keepdims=True, dtype=block.dtype) / count
    return block / xp.sqrt(squares + rest * rest)
