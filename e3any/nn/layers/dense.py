"""Linear maps of the features of every irrep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from e3any_backends import Array, Backend
from e3any_backends.forms.tables import lookup

from e3any.checks import check_count, floating_backend, shown
from e3any.conventions import parity_names
from e3any.irreps import SCALARS, Features, Irreps, in_order, irrep_backend
from e3any.layout import Layout
from e3any.nn.initializers import lecun_normal, zeros
from e3any.nn.layer import Layer, Parameters
from e3any.nn.layers.blocks import promoted

__all__ = ["Dense", "sizes_of"]


@dataclass(frozen=True)
class Dense(Layer):
    r"""A linear map of features, with its own kernel for every degree and parity.

    .. math:: y^{(l_p)} = x^{(l_p)} W_{l_p} + b\,\delta_{l_p = 0_+}

    Parameters are ``{l}{p}/kernel`` of shape (F_in, F_out) for every irrep, such as ``0+/kernel``, and ``0+/bias``.
    Names of irreps of SO(3) have no sign: ``0/kernel``.

    Parameters
    ----------
    features : int or Irreps
        Number of output features; or, for inputs by irrep, numbers of output features.
    use_bias : bool
        Whether to add a bias to the scalars.
    dtype : optional
        Dtype of the computation; that of inputs and parameters by default.
    param_dtype : optional
        Dtype that parameters are created with.
    precision : optional
        Precision of matrix products, see ``jax.lax.Precision``; only JAX uses it. By default that of
        ``jax.default_matmul_precision`` if it is set, else the highest.
    kernel_init, bias_init : Initializer or callable
        Initialisers of parameters.

    Raises
    ------
    ValueError
        If ``features`` are neither an integer >= 0 nor irreps, or a setting is neither True nor False.
    TypeError
        If a dtype is not a floating-point dtype.
    """

    features: int | Irreps
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = "float32"
    precision: Any = None
    kernel_init: Any = lecun_normal
    bias_init: Any = zeros

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.features, Irreps):
            return
        if type(self.features) is not int or self.features < 0:
            check_count(self.features, "features")

    def forward(self, p: Parameters, inputs: Features) -> Features:
        """Apply the linear map.

        Parameters
        ----------
        p : Parameters
            Parameters.
        inputs : array of shape (..., P, (L+1)**2, F_in), or dictionary of arrays (..., 2l+1, F_in) by irrep
            Features.

        Returns
        -------
        array of shape (..., P, (L+1)**2, F_out), or dictionary of arrays (..., 2l+1, F_out) by irrep
            Features. Irreps that a dictionary lacks are left out: their map would be zero.

        Raises
        ------
        ValueError
            If the shape is not that of features, or inputs by irrep have none of the irreps of the output.
        TypeError
            If the inputs are not a floating-point array, or are an array although ``features`` are irreps.
        """
        if isinstance(inputs, Mapping):
            return self._by_irrep(p, inputs)
        if isinstance(self.features, Irreps):
            raise TypeError(f"expected inputs as a dictionary by irrep, see nn.to_irreps, got {shown(type(inputs))}")
        backend, layout = floating_backend(inputs=inputs), Layout.of(inputs)
        kernels, bias = self._parameters(p, layout.max_degree, layout.pseudotensors, layout.features)
        inputs, bias, *kernels = backend.promote(inputs, bias, *kernels, dtype=self.dtype)
        return backend.dense(inputs, kernels, bias, self.precision)

    def _by_irrep(self, p: Parameters, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Apply the linear map to a dictionary."""
        backend, sizes = irrep_backend(inputs), sizes_of(self.features, inputs)
        kernels, biases = {}, {}
        for name, size in sizes.items():
            shape = (inputs[name].shape[-1], size)
            kernels[name] = (p / name).param("kernel", shape, self.kernel_init, self.param_dtype)
            if self.use_bias and name in SCALARS:
                biases[name] = (p / name).param("bias", (size,), self.bias_init, self.param_dtype)
        inputs = {name: inputs[name] for name in sizes}
        inputs, kernels, biases = promoted(backend, inputs, kernels, biases, dtype=self.dtype)
        mapped = {}
        for name, kernel in kernels.items():
            lead = tuple(inputs[name].shape[:-1])
            rows = backend.xp.reshape(inputs[name], (math.prod(lead), kernel.shape[0]))
            y = backend.xp.reshape(backend.matmul(rows, kernel, self.precision), (*lead, kernel.shape[1]))
            mapped[name] = y + backend.aligned(biases[name], y) if name in biases else y
        return mapped

    def radial(self, backend: Backend, p: Parameters, radial: Array, max_degree: int) -> tuple[Array, Array | None]:
        """Apply the kernels of proper tensors to the radial factors of the components of each degree.

        If features are :math:`x^{(l)} = g^{(l)} Y^{(l)}`, with one array of components for all features, then the
        linear map acts on :math:`g^{(l)}` alone.

        Parameters
        ----------
        backend : Backend
            The backend of the factors.
        p : Parameters
            Parameters of this layer.
        radial : array of shape (..., 1 or L+1, F_in)
            The factors :math:`g^{(l)}`, one for all degrees or one for each.
        max_degree : int
            Largest degree L.

        Returns
        -------
        weights : array of shape (..., L+1, F_out)
            The mapped factors of each degree.
        bias : array of shape (F_out,) or None
            The bias of the scalars, which the caller adds.
        """
        kernels, bias = self._parameters(p, max_degree, False, radial.shape[-1])
        radial, bias, *kernels = backend.promote(radial, bias, *kernels, dtype=self.dtype)
        xp = backend.xp
        if radial.shape[-2] == 1:
            wide = backend.matmul(radial[..., 0, :], xp.concat(kernels, axis=1), self.precision)
            # Store it: a compiler would sum its gradient over components in the order of a transposed matrix.
            (wide,) = backend.store(wide)
            return xp.reshape(wide, (*wide.shape[:-1], max_degree + 1, self.features)), bias
        weights = [backend.matmul(radial[..., l, :], kernel, self.precision) for l, kernel in enumerate(kernels)]
        return xp.stack(weights, axis=-2), bias

    def _parameters(
        self, p: Parameters, max_degree: int, pseudotensors: bool, features: int
    ) -> tuple[list[Array], Array | None]:
        names = lookup(_irreps, max_degree, pseudotensors)
        num = cast(int, self.features)
        kernels = p.params_of(names, "kernel", (features, num), self.kernel_init, self.param_dtype)
        bias = (p / "0+").param("bias", (num,), self.bias_init, self.param_dtype) if self.use_bias else None
        return kernels, bias


def sizes_of(features: int | Irreps, inputs: Mapping[str, Array]) -> dict[str, int]:
    """Return how many features each irrep of a dictionary is mapped to."""
    if not isinstance(features, Irreps):
        return dict.fromkeys(in_order(inputs), features)
    sizes = {name: features[name] for name in features if name in inputs}
    if not sizes:
        raise ValueError(f"expected inputs with at least one irrep of {features}, got {Irreps.of(inputs)}")
    return sizes


def _irreps(max_degree: int, pseudotensors: bool) -> tuple[str, ...]:
    """Return the names of the irreps of a feature, such as ``0+``, in the order of kernels."""
    return tuple(name for _, _, name in parity_names(max_degree, 1 + pseudotensors))
