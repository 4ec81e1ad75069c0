"""Embeddings of categories as scalars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from e3any_backends import Array, backend_of

from e3any.checks import check_count, shown
from e3any.irreps import Irreps
from e3any.nn.initializers import VarianceScaling
from e3any.nn.layer import Layer, Parameters

__all__ = ["Embed"]

_embedding_init = VarianceScaling(distribution="normal", in_axis=-1, out_axis=0)


@dataclass(frozen=True)
class Embed(Layer):
    r"""Learned scalar features for integers, such as atomic numbers.

    The parameter ``embedding`` of shape (num_embeddings, 1, 1, features) holds one row for each integer.

    Parameters
    ----------
    num_embeddings : int
        Number of different integers.
    features : int or Irreps
        Number of features F; scalars such as ``Irreps("128x0")`` for a result by irrep.
    dtype : optional
        Dtype of the result; that of the parameter by default.
    param_dtype : optional
        Dtype that the parameter is created with.
    embedding_init : Initializer or callable
        Initialiser of the parameter.

    Raises
    ------
    ValueError
        If a number is not an integer >= 0, irreps are not scalars of even parity alone, or a setting is neither True
        nor False.
    TypeError
        If a dtype is not a floating-point dtype.
    """

    layouts: ClassVar[tuple[str, ...]] = ()

    num_embeddings: int
    features: int | Irreps
    dtype: Any = None
    param_dtype: Any = "float32"
    embedding_init: Any = _embedding_init

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self.num_embeddings, "num_embeddings")
        if not isinstance(self.features, Irreps):
            check_count(self.features, "features")
        elif list(self.features) != [self.features.scalar]:
            raise ValueError(f"expected features that are scalars, such as Irreps('128x0'), got {shown(self.features)}")

    def example(self, *layouts: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return one integer."""
        return layouts or (np.zeros((1,), np.int32),), {}

    def forward(self, p: Parameters, inputs: Array) -> Array:
        """Look up the features of integers.

        Parameters
        ----------
        p : Parameters
            Parameters.
        inputs : integer array of shape (...)
            The integers; those outside [0, num_embeddings) get zeros.

        Returns
        -------
        array of shape (..., 1, 1, F), or dictionary of one array (..., 1, F)
            Their features.

        Raises
        ------
        ValueError
            If the inputs are not integers.
        """
        backend = backend_of(inputs)
        if not backend.is_integer(inputs):
            raise ValueError(f"expected integer inputs, got dtype {inputs.dtype}")
        scalar, features = None, self.features
        if isinstance(features, Irreps):
            scalar, features = features.scalar, features[features.scalar]
        shape = (self.num_embeddings, 1, 1, features)
        table = p.param("embedding", shape, self.embedding_init, self.param_dtype)
        backend.check_devices(inputs, table)
        (table,) = backend.promote(table, dtype=self.dtype)
        rows = backend.take(table, backend.xp.reshape(inputs, (-1,)))
        if scalar is not None:
            return {scalar: backend.xp.reshape(rows, (*inputs.shape, 1, features))}
        return backend.xp.reshape(rows, (*inputs.shape, 1, 1, features))
