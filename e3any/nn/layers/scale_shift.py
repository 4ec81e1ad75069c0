"""Scales and shifts for every category of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from e3any_backends import Array, generator_backend

from e3any.checks import check_count, check_number, floating_backend
from e3any.nn.initializers import Initializer
from e3any.nn.layer import Layer, Parameters
from e3any.nn.layers.categories import check_categories

__all__ = ["ScaleShift"]


@dataclass(frozen=True)
class _Values(Initializer):
    """Given numbers, one for all entries or one for each."""

    values: tuple[float, ...]

    def __call__(self, key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        """Return the numbers; the key only determines the library."""
        backend = generator_backend(key)
        numbers = np.broadcast_to(np.asarray(self.values), tuple(shape)).tolist()
        return backend.xp.asarray(numbers, dtype=backend.dtype(dtype or "float32"))


@dataclass(frozen=True)
class ScaleShift(Layer):
    r"""Scale and shift invariants of samples by numbers of their categories, such as energies of atoms of each species.

    .. math:: y_i = s_{z(i)} x_i + t_{z(i)}

    Parameters are ``scale`` and ``shift`` of shape (num_embeddings,). For example, shifts can be the energies of single
    atoms, and the one scale the standard deviation of the components of forces. To keep them as they are, exclude them
    from the optimiser.

    Parameters
    ----------
    num_embeddings : int
        Number of categories.
    scale, shift : float or sequence of float
        First values: one for all categories, or one for each.
    dtype : optional
        Dtype of the computation; that of inputs and parameters by default.
    param_dtype : optional
        Dtype that parameters are created with.

    Raises
    ------
    ValueError
        If ``num_embeddings`` is not an integer >= 0, a value is NaN, or there are not as many values as categories.
    TypeError
        If a value is not a number, or a dtype is not a floating-point dtype.

    Examples
    --------
    >>> import numpy as np
    >>> layer = ScaleShift(num_embeddings=2, shift=(-13.6, -1029.0))
    >>> params = {"scale": np.asarray([1.0, 1.0]), "shift": np.asarray(layer.shift)}
    >>> layer(params, np.asarray([0.1, 0.2, 0.3]), np.asarray([0, 1, 1]))
    array([  -13.5, -1028.8, -1028.7])
    """

    layouts: ClassVar[tuple[str, ...]] = ()

    num_embeddings: int
    scale: Any = 1.0
    shift: Any = 0.0
    dtype: Any = None
    param_dtype: Any = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self.num_embeddings, "num_embeddings")
        for name in ("scale", "shift"):
            value = getattr(self, name)
            if isinstance(value, Sequence) and not isinstance(value, str):
                object.__setattr__(self, name, tuple(value))
            for number in self._values(name):
                check_number(number, name)
            if len(self._values(name)) not in (1, self.num_embeddings):
                raise ValueError(f"expected {self.num_embeddings} values of {name} or one, got {len(value)}")

    def _values(self, name: str) -> tuple[float, ...]:
        value = getattr(self, name)
        return value if isinstance(value, tuple) else (value,)

    def example(self, *layouts: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return one sample of the first category."""
        return layouts or (np.zeros(1, np.float32), np.zeros(1, np.int32)), {}

    def forward(self, p: Parameters, inputs: Array, categories: Array) -> Array:
        """Scale and shift invariants.

        Parameters
        ----------
        p : Parameters
            Parameters.
        inputs : array of shape (...)
            Invariants, such as energies of atoms.
        categories : integer array of shape (...)
            The category of each; scale and shift of others than 0, ..., num_embeddings - 1 are zero.

        Returns
        -------
        array of shape (...)
            The scaled and shifted invariants.

        Raises
        ------
        ValueError
            If shapes differ.
        TypeError
            If the inputs are not a floating-point array, or the categories not an integer one.
        """
        backend = floating_backend(inputs=inputs)
        check_categories(inputs, categories, tuple(inputs.shape))
        shape, dtype = (self.num_embeddings,), self.param_dtype
        scale, shift = (p.param(name, shape, _Values(self._values(name)), dtype) for name in ("scale", "shift"))
        inputs, scale, shift = backend.promote(inputs, scale, shift, dtype=self.dtype)
        xp, numbers = backend.xp, backend.xp.reshape(categories, (-1,))
        scale, shift = (xp.reshape(backend.take(table, numbers), inputs.shape) for table in (scale, shift))
        return scale * inputs + shift
