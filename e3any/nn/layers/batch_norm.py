"""Normalisation over batches, with running statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from e3any_backends import Array, Backend, backend_of

from e3any.checks import check_fraction, floating_backend
from e3any.conventions import parity_names
from e3any.irreps import SCALARS, Features, irrep_backend
from e3any.layout import Layout
from e3any.nn.initializers import ones, zeros
from e3any.nn.layer import Layer, Parameters, is_training
from e3any.nn.layers.blocks import by_degree, degree_blocks, irrep_parameters, parameters_by_irrep, promoted
from e3any.nn.layers.norms import affine, affine_irrep, check_epsilon, with_scalars
from e3any.ops.indexed import check_mask

__all__ = ["BatchNorm"]


@dataclass(frozen=True)
class BatchNorm(Layer):
    r"""Normalise every feature of every irrep by its mean square over a batch; scalars are centred as well.

    .. math::
        y^{(l_p)}_{mf} = \gamma^{(l_p)}_f \frac{x^{(l_p)}_{mf} - \delta_{l_p=0_+} \mu_f}
        {\sqrt{\epsilon + v^{(l_p)}_f}} + \beta_f\, \delta_{l_p=0_+} \qquad
        v^{(l_p)}_f = \Bigl\langle \frac{1}{2l+1} \sum_m \bigl(x^{(l_p)}_{mf} - \delta_{l_p=0_+} \mu_f\bigr)^2
        \Bigr\rangle

    (Ioffe and Szegedy, `Batch normalization <https://arxiv.org/abs/1502.03167>`_, 2015, with invariant norms).
    Means are taken over all leading axes. Training uses the means of the batch, and updates running averages of them,
    :math:`v \leftarrow \alpha v + (1 - \alpha) v_\mathrm{batch}`. Inference uses the running averages.

    Parameters are ``{l}{p}/scale`` of shape (F,) for every irrep, such as ``0+/scale``, and ``0+/bias``; statistics are
    ``0+/mean`` and ``{l}{p}/var`` of shape (F,).

    Parameters
    ----------
    momentum : float
        The weight :math:`\alpha` in [0, 1] of the previous running average.
    epsilon : float
        The number :math:`\epsilon > 0`.
    use_bias : bool
        Whether a learned bias :math:`\beta` is added to scalars.
    use_scale : bool
        Whether features are multiplied by learned scales :math:`\gamma`.
    dtype : optional
        Dtype of the result; that of inputs and parameters by default. 16-bit numbers are normalised in float32.
    param_dtype : optional
        Dtype that parameters and statistics are created with.
    scale_init, bias_init : Initializer or callable
        Initialisers of parameters.

    Raises
    ------
    ValueError
        If ``epsilon`` is not positive, or ``momentum`` is not in [0, 1].
    TypeError
        If ``epsilon`` or ``momentum`` is not a number, or a dtype is not a floating-point dtype.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    use_bias: bool = True
    use_scale: bool = True
    dtype: Any = None
    param_dtype: Any = "float32"
    scale_init: Any = ones
    bias_init: Any = zeros

    def __post_init__(self) -> None:
        super().__post_init__()
        check_epsilon(self.epsilon)
        check_fraction(self.momentum, "momentum")

    def example(self, *layouts: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the smallest inputs, and an option to normalise them by running averages."""
        inputs, options = super().example(*layouts)
        return inputs, {**options, "use_running_average": True}

    def forward(
        self, p: Parameters, inputs: Features, *, use_running_average: bool | None = None, where: Array | None = None
    ) -> Features:
        """Normalise features.

        Parameters
        ----------
        p : Parameters
            Parameters. In training they must hold statistics, as modules and :class:`e3any.nn.Variables` do.
        inputs : array of shape (..., P, (L+1)**2, F), or dictionary of arrays (..., 2l+1, F) by irrep
            Features.
        use_running_average : bool, optional
            True to use the running averages, False to use the means of the batch. By default False if the module is
            being trained, else True. Linen modules and NumPy functions do not know this and need the argument.
        where : bool array of shape (...), optional
            Which samples count in averages, all by default; others are padding.

        Returns
        -------
        array or dictionary of the shapes of the inputs
            Normalised features.

        Raises
        ------
        ValueError
            If shapes do not fit, or it is unknown whether the layer is being trained.
        TypeError
            If the inputs are not a floating-point array, ``where`` is not a bool array of their library, or parameters
            do not hold statistics.
        """
        if isinstance(inputs, Mapping):
            return self._by_irrep(p, inputs, use_running_average, where)
        backend, layout = floating_backend(inputs=inputs), Layout.of(inputs)
        if where is not None:
            backend_of(inputs, where)
            check_mask(where, tuple(inputs.shape[:-3]))
        training = is_training(p, use_running_average, "use_running_average")
        bias = (p / "0+").param("bias", (layout.features,), self.bias_init, self.param_dtype) if self.use_bias else None
        scales = irrep_parameters(p, "scale", layout, self.scale_init, self.param_dtype) if self.use_scale else []
        mean, *variances = self._statistics(p, layout)
        inputs, bias, *scales = backend.promote(inputs, bias, *scales, dtype=self.dtype)
        wide = backend.widened(inputs)
        blocks = degree_blocks(backend, wide, layout)
        if training:
            centre = _average(backend, blocks[0][..., :1, :, :], where)
            blocks[0] = _centred(backend, blocks[0], centre)
            squares = [_average(backend, block * block, where) for block in blocks]
            new = [centre[0, 0, :], *(squares[l][parity, 0, :] for parity, l, _ in _irreps(layout))]
            self._keep(backend, p, layout, [mean, *variances], new)
        else:
            centre, *variances = backend.promote(mean, *variances, dtype=wide.dtype)
            squares = by_degree(backend, variances, layout)
            blocks[0] = _centred(backend, blocks[0], centre)
        scaled = zip(blocks, squares, strict=True)
        blocks = [block / backend.aligned(backend.xp.sqrt(v + self.epsilon), block) for block, v in scaled]
        return affine(backend, blocks, scales, bias, layout, inputs.dtype)

    def _by_irrep(
        self, p: Parameters, inputs: Mapping[str, Array], use_running_average: bool | None, where: Array | None
    ) -> dict[str, Array]:
        backend, first = irrep_backend(inputs), next(iter(inputs.values()))
        if where is not None:
            backend_of(first, where)
            check_mask(where, tuple(first.shape[:-2]))
        training = is_training(p, use_running_average, "use_running_average")
        scalars = {name: x for name, x in inputs.items() if name in SCALARS}
        biases = parameters_by_irrep(p, "bias", scalars, self.bias_init, self.param_dtype) if self.use_bias else {}
        scales = parameters_by_irrep(p, "scale", inputs, self.scale_init, self.param_dtype) if self.use_scale else {}
        inputs, biases, scales = promoted(backend, inputs, biases, scales, dtype=self.dtype)
        normalized = {}
        for name, block in inputs.items():
            wide = backend.widened(block)
            wide = self._divided(backend, p / name, wide, where, training, name in SCALARS)
            normalized[name] = affine_irrep(backend, wide, scales.get(name), biases.get(name), block.dtype)
        return normalized

    def _divided(
        self, backend: Backend, p: Parameters, x: Array, where: Array | None, training: bool, is_scalar: bool
    ) -> Array:
        """Normalise the features (..., 2l+1, F) of one irrep, and keep running averages in training."""
        shape = (x.shape[-1],)
        old = [p.statistic("mean", shape, zeros, self.param_dtype)] if is_scalar else []
        old.append(p.statistic("var", shape, ones, self.param_dtype))
        if training:
            # The last axes but two of features are those of samples and of parity.
            new = [_average(backend, x[..., None, :, :], where)[0, 0, :]] if is_scalar else []
            x = x - backend.aligned(new[0], x) if is_scalar else x
            new.append(_average(backend, (x * x)[..., None, :, :], where)[0, 0, :])
            for name, before, batch in zip(("mean", "var")[-len(old) :], old, new, strict=True):
                self._update(backend, p, name, before, batch)
        else:
            new = backend.promote(*old, dtype=x.dtype)
            x = x - backend.aligned(new[0], x) if is_scalar else x
        return x / backend.aligned(backend.xp.sqrt(new[-1] + self.epsilon), x)

    def _statistics(self, p: Parameters, layout: Layout) -> list[Array]:
        """Return running averages: the mean of scalars, and the mean square of every irrep."""
        shape, dtype = (layout.features,), self.param_dtype
        mean = (p / "0+").statistic("mean", shape, zeros, dtype)
        return [mean, *((p / name).statistic("var", shape, ones, dtype) for _, _, name in _irreps(layout))]

    def _keep(self, backend: Backend, p: Parameters, layout: Layout, old: list[Array], new: list[Array]) -> None:
        names = [("0+", "mean"), *((irrep, "var") for _, _, irrep in _irreps(layout))]
        for (irrep, name), before, batch in zip(names, old, new, strict=True):
            self._update(backend, p / irrep, name, before, batch)

    def _update(self, backend: Backend, p: Parameters, name: str, before: Array, batch: Array) -> None:
        """Move a running average towards the mean of a batch."""
        batch = backend.xp.astype(backend.stop_gradient(batch), before.dtype)
        p.update(name, self.momentum * before + (1.0 - self.momentum) * batch)


def _irreps(layout: Layout) -> list[tuple[int, int, str]]:
    return parity_names(layout.max_degree, layout.num_parities)


def _centred(backend: Backend, block: Array, centre: Array) -> Array:
    centre = backend.aligned(centre, block)
    return with_scalars(backend, block, lambda x: x - centre)


def _average(backend: Backend, x: Array, where: Array | None) -> Array:
    """Return the mean (P, 1, F) over components, and over samples for which ``where`` is True."""
    xp = backend.xp
    count: Any = max(1, math.prod(x.shape[:-3]))
    if where is not None:
        x = xp.where(where[..., None, None, None], x, xp.zeros_like(x))
        count = xp.sum(xp.astype(where, x.dtype))
        count = xp.where(count > 0, count, xp.ones_like(count))
    samples = tuple(range(x.ndim - 3))
    total = xp.sum(x, axis=(*samples, -2), keepdims=True, dtype=x.dtype)
    return xp.reshape(total, (x.shape[-3], 1, x.shape[-1])) / (count * x.shape[-2])
