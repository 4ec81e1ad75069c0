"""Normalisation of all irreps of a sample by one number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from e3any_backends import Array, Backend

from e3any.checks import floating_backend
from e3any.irreps import SCALARS, Features, irrep_backend
from e3any.layout import Layout
from e3any.nn.initializers import ones, zeros
from e3any.nn.layer import Layer, Parameters
from e3any.nn.layers.blocks import degree_blocks, irrep_parameters, parameters_by_irrep, promoted
from e3any.nn.layers.norms import affine, affine_irrep, check_epsilon, with_scalars

__all__ = ["JointRMSNorm"]


@dataclass(frozen=True)
class JointRMSNorm(Layer):
    r"""Divide all features of a sample by one root mean square, which keeps the ratios of its irreps.

    .. math::
        y^{(l_p)}_{mf} = \gamma^{(l_p)}_f \frac{x^{(l_p)}_{mf}}{\sqrt{\epsilon + \sum_{l_p} w_l
        \frac{1}{F} \sum_{m'f'} \bigl(x^{(l_p)}_{m'f'}\bigr)^2}} + \beta_f\, \delta_{l_p=0_+} \qquad
        w_l = \frac{1}{P\, (L+1) (2l+1)} \text{ or } \frac{1}{P\, (L+1)^2}

    In a dictionary, irreps have numbers of features of their own. Then the mean over features is that of the irrep,
    with the weight :math:`w_l = 1 / (K (2l+1))` for K irreps; without ``balance``, the mean square is that of all
    numbers of the sample.

    With ``centre``, the mean over features is subtracted from scalars first. With the defaults, this is the norm of the
    models eSEN and UMA, see the one of `EquiformerV2 <https://arxiv.org/abs/2306.12059>`_ (2023). The norm of
    Equiformer is :class:`LayerNorm`, which divides each irrep by its own root mean square.

    Parameters are ``{l}{p}/scale`` of shape (F,) for every irrep, such as ``0+/scale``, and ``0+/bias``.

    Parameters
    ----------
    epsilon : float
        The number :math:`\epsilon > 0`: values and derivatives are finite for zero features.
    centre : bool
        Whether the mean over features is subtracted from the scalars.
    balance : bool
        Whether all degrees have the same weight in the mean square, instead of all components.
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

    epsilon: float = 1e-5
    centre: bool = True
    balance: bool = True
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
        """Normalise features.

        Parameters
        ----------
        p : Parameters
            Parameters.
        inputs : array of shape (..., P, (L+1)**2, F), or dictionary of arrays (..., 2l+1, F) by irrep
            Features.

        Returns
        -------
        array or dictionary of the shapes of ``inputs``
            Normalised features.

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
        bias = (p / "0+").param("bias", (layout.features,), self.bias_init, self.param_dtype) if self.use_bias else None
        scales = irrep_parameters(p, "scale", layout, self.scale_init, self.param_dtype) if self.use_scale else []
        inputs, bias, *scales = backend.promote(inputs, bias, *scales, dtype=self.dtype)
        blocks = degree_blocks(backend, backend.widened(inputs), layout)
        if self.centre:
            count = max(1, layout.features)
            blocks[0] = with_scalars(backend, blocks[0], lambda x: x - _sum(backend, x, -1) / count)
        if 0 not in inputs.shape:  # libraries raise for the maximum of an empty array
            blocks = self._divided(backend, blocks, layout)
        return affine(backend, blocks, scales, bias, layout, inputs.dtype)

    def _divided(self, backend: Backend, blocks: list[Array], layout: Layout) -> list[Array]:
        count = layout.num_parities * layout.features * (layout.max_degree + 1)
        sizes = [2 * l + 1 if self.balance else layout.max_degree + 1 for l in range(layout.max_degree + 1)]
        return _by_root(backend, blocks, (-3, -2, -1), [size * count for size in sizes], self.epsilon)

    def _by_irrep(self, p: Parameters, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Normalise a dictionary."""
        backend = irrep_backend(inputs)
        scalars = [name for name in inputs if self.use_bias and name in SCALARS]
        biases = {n: (p / n).param("bias", (inputs[n].shape[-1],), self.bias_init, self.param_dtype) for n in scalars}
        scales = parameters_by_irrep(p, "scale", inputs, self.scale_init, self.param_dtype) if self.use_scale else {}
        inputs, scales, biases = promoted(backend, inputs, scales, biases, dtype=self.dtype)
        blocks = {name: backend.widened(block) for name, block in inputs.items()}
        for name in SCALARS:
            if self.centre and name in blocks:
                x = blocks[name]
                blocks[name] = x - _sum(backend, x, -1) / max(1, x.shape[-1])
        filled = {name: block for name, block in blocks.items() if 0 not in block.shape}
        if filled:
            sizes = [block.shape[-2] * block.shape[-1] for block in filled.values()]
            counts = [size * len(filled) for size in sizes] if self.balance else [sum(sizes)] * len(sizes)
            divided = _by_root(backend, list(filled.values()), (-2, -1), counts, self.epsilon)
            blocks |= dict(zip(filled, divided, strict=True))
        return {
            name: affine_irrep(backend, block, scales.get(name), biases.get(name), inputs[name].dtype)
            for name, block in blocks.items()
        }


def _by_root(
    backend: Backend, blocks: list[Array], axes: tuple[int, ...], counts: list[int], epsilon: float
) -> list[Array]:
    """Divide blocks by the root of the sum of their squares, each divided by its count."""
    xp = backend.xp
    # Divide by the largest value first, so that no square overflows. The result does not depend on it.
    largest = xp.ones_like(blocks[0][(..., *(slice(1) for _ in axes))])
    for block in blocks:
        found = backend.stop_gradient(xp.max(xp.abs(block), axis=axes, keepdims=True))
        largest = xp.where(found > largest, found, largest)
    blocks = [block / largest for block in blocks]
    means = [_sum(backend, block * block, axes) / count for block, count in zip(blocks, counts, strict=True)]
    total = means[0]
    for mean in means[1:]:
        total = total + mean
    rest = math.sqrt(epsilon) / largest
    norm = xp.sqrt(total + rest * rest)
    return [block / norm for block in blocks]


def _sum(backend: Backend, x: Array, axes: int | tuple[int, ...]) -> Array:
    return backend.xp.sum(x, axis=axes, keepdims=True, dtype=x.dtype)
