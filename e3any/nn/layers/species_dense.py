"""Linear maps with kernels for every category of samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from e3any_backends import Array

from e3any.checks import check_count, floating_backend, shown
from e3any.conventions import degree_slice, parity_names
from e3any.irreps import SCALARS, Features, Irreps, irrep_backend
from e3any.layout import Layout
from e3any.nn.initializers import VarianceScaling, zeros
from e3any.nn.layer import Layer, Parameters
from e3any.nn.layers.blocks import promoted
from e3any.nn.layers.categories import check_categories
from e3any.nn.layers.dense import sizes_of

__all__ = ["SpeciesDense"]


@dataclass(frozen=True)
class SpeciesDense(Layer):
    r"""A linear map of features, with its own kernels for every category of samples, such as the species of atoms.

    .. math:: y_i^{(l_p)} = x_i^{(l_p)} W_{z(i), l_p} + b_{z(i)}\,\delta_{l_p = 0_+}

    These are the skip connections of NequIP and MACE, linear maps of the product of features with the one-hot vector of
    the species. Parameters are ``{l}{p}/kernel`` of shape (num_embeddings, F_in, F_out) for every irrep, such as
    ``0+/kernel``, and ``0+/bias`` of shape (num_embeddings, F_out).

    Parameters
    ----------
    num_embeddings : int
        Number of categories.
    features : int or Irreps
        Number of output features; or, for inputs by irrep, numbers of output features.
    use_bias : bool
        Whether to add a bias to the scalars.
    dtype : optional
        Dtype of the computation; that of inputs and parameters by default.
    param_dtype : optional
        Dtype that parameters are created with.
    precision : optional
        Precision of matrix products, see :class:`Dense`.
    kernel_init : Initializer or callable, optional
        Initialiser of kernels. By default their variance is 1 / F_in.
    bias_init : Initializer or callable
        Initialiser of the bias.

    Raises
    ------
    ValueError
        If a number is not an integer >= 0, or a setting is neither True nor False.
    TypeError
        If a dtype is not a floating-point dtype.
    """

    num_embeddings: int
    features: int | Irreps
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = "float32"
    precision: Any = None
    kernel_init: Any = None
    bias_init: Any = zeros

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self.num_embeddings, "num_embeddings")
        if not isinstance(self.features, Irreps):
            check_count(self.features, "features")

    def example(self, *layouts: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return one sample of the first category."""
        inputs = tuple(x.example(1) if isinstance(x, Layout | Irreps) else x for x in layouts)
        return (*inputs, np.zeros(1, np.int32)) if len(inputs) == 1 else inputs, {}

    def forward(self, p: Parameters, inputs: Features, categories: Array) -> Features:
        """Apply the linear map of the category of each sample.

        Parameters
        ----------
        p : Parameters
            Parameters.
        inputs : array of shape (..., P, (L+1)**2, F_in), or dictionary of arrays (..., 2l+1, F_in) by irrep
            Features.
        categories : integer array of shape (...)
            The category of each sample; samples of others than 0, ..., num_embeddings - 1 are mapped to zero.

        Returns
        -------
        array of shape (..., P, (L+1)**2, F_out), or dictionary of arrays (..., 2l+1, F_out) by irrep
            Features. Irreps that a dictionary lacks are left out.

        Raises
        ------
        ValueError
            If shapes do not fit, or inputs by irrep have none of the irreps of the output.
        TypeError
            If the inputs are not a floating-point array, or are an array although ``features`` are irreps, or the
            categories are not an integer array.
        """
        if isinstance(inputs, Mapping):
            return self._by_irrep(p, inputs, categories)
        if isinstance(self.features, Irreps):
            raise TypeError(f"expected inputs as a dictionary by irrep, see nn.to_irreps, got {shown(type(inputs))}")
        backend, layout = floating_backend(inputs=inputs), Layout.of(inputs)
        lead = tuple(inputs.shape[:-3])
        check_categories(inputs, categories, lead)
        irreps = parity_names(layout.max_degree, layout.num_parities)
        kernels, bias = self._parameters(p, layout, [name for _, _, name in irreps])
        inputs, bias, *kernels = backend.promote(inputs, bias, *kernels, dtype=self.dtype)
        xp, rows = backend.xp, math.prod(lead)
        inputs, numbers = xp.reshape(inputs, (rows, *layout.shape)), xp.reshape(categories, (rows,))
        blocks = [
            backend.matmul(inputs[:, parity, degree_slice(l), :], backend.take(kernel, numbers), self.precision)
            for kernel, (parity, l, _) in zip(kernels, irreps, strict=True)
        ]
        if bias is not None:
            blocks[0] = blocks[0] + backend.take(bias, numbers)[:, None, :]
        # Irreps are listed parity by parity, so that they are in the order of memory.
        y = xp.concat(blocks, axis=1)
        return xp.reshape(y, (*lead, *layout.shape[:2], self.features))

    def _by_irrep(self, p: Parameters, inputs: Mapping[str, Array], categories: Array) -> dict[str, Array]:
        """Apply the linear maps to a dictionary."""
        backend, num = irrep_backend(inputs), self.num_embeddings
        sizes = sizes_of(self.features, inputs)
        lead = tuple(next(iter(inputs.values())).shape[:-2])
        check_categories(next(iter(inputs.values())), categories, lead)
        kernels, biases = {}, {}
        for name, size in sizes.items():
            shape = (num, inputs[name].shape[-1], size)
            kernels[name] = (p / name).param("kernel", shape, self._kernel_init(), self.param_dtype)
            if self.use_bias and name in SCALARS:
                biases[name] = (p / name).param("bias", (num, size), self.bias_init, self.param_dtype)
        blocks = {name: inputs[name] for name in sizes}
        blocks, kernels, biases = promoted(backend, blocks, kernels, biases, dtype=self.dtype)
        xp, rows = backend.xp, math.prod(lead)
        numbers, mapped = xp.reshape(categories, (rows,)), {}
        for name, kernel in kernels.items():
            x = xp.reshape(blocks[name], (rows, *blocks[name].shape[-2:]))
            y = backend.matmul(x, backend.take(kernel, numbers), self.precision)
            y = y + backend.take(biases[name], numbers)[:, None, :] if name in biases else y
            mapped[name] = xp.reshape(y, (*lead, *y.shape[1:]))
        return mapped

    def _parameters(self, p: Parameters, layout: Layout, names: list[str]) -> tuple[list[Array], Array | None]:
        features = cast(int, self.features)
        shape = (self.num_embeddings, layout.features, features)
        kernels = p.params_of(names, "kernel", shape, self._kernel_init(), self.param_dtype)
        if not self.use_bias:
            return kernels, None
        return kernels, (p / "0+").param("bias", (self.num_embeddings, features), self.bias_init, self.param_dtype)

    def _kernel_init(self) -> Any:
        # The fan of a kernel counts all categories.
        return VarianceScaling(float(self.num_embeddings)) if self.kernel_init is None else self.kernel_init
