"""Basis functions with learned frequencies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from e3any_backends import Array

from e3any.checks import check_number, floating_backend
from e3any.nn.basis import basis
from e3any.nn.cutoffs import check_positive
from e3any.nn.initializers import Constant, Initializer
from e3any.nn.layer import Layer, Parameters
from e3any.nn.radial import bessel, check_num

__all__ = ["BesselBasis"]


@dataclass(frozen=True)
class _MultiplesOfPi(Initializer):
    """The frequencies pi, 2 pi, ..."""

    def __call__(self, key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        """Return the frequencies; the key only determines the library."""
        ones = Constant(1.0)(key, shape, dtype)
        xp = floating_backend(ones=ones).xp
        return math.pi * xp.cumulative_sum(ones)


@dataclass(frozen=True)
class BesselBasis(Layer):
    r"""Basis functions of displacement vectors: spherical Bessel functions with learned frequencies times harmonics.

    .. math:: g_k(r) = \sqrt{\frac{2}{c}}\, \frac{\sin(a_k r / c)}{r}

    The parameter ``frequencies`` of shape (num,) holds :math:`a_k`, which are first :math:`\pi k` as in
    :func:`e3any.nn.bessel`. NequIP, MACE and SevenNet have such functions, some of them with other factors.

    Parameters
    ----------
    limit : float
        The limit c > 0, in the unit of vectors: give the cut-off.
    param_dtype : optional
        Dtype that the parameter is created with.

    Raises
    ------
    ValueError
        If ``limit`` is not positive.
    TypeError
        If ``limit`` is not a number, or ``param_dtype`` is not a floating-point dtype.
    """

    layouts: ClassVar[tuple[str, ...]] = ()

    limit: float = 1.0
    param_dtype: Any = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.limit, "limit")
        check_positive(self.limit, "limit")

    def example(self, *layouts: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return one vector and the smallest basis."""
        return layouts or (np.zeros((1, 3), np.float32),), {"max_degree": 0, "num": 1}

    def forward(self, p: Parameters, r: Array, *, num: int, **options: Any) -> Any:
        """Evaluate basis functions.

        Parameters
        ----------
        p : Parameters
            Parameters.
        r : array of shape (..., 3)
            Displacement vectors.
        num : int
            Number of radial functions.
        **options
            Options of :func:`e3any.nn.basis`: its ``max_degree``, and a ``cutoff_fn``, since learned functions are not
            zero at the limit.

        Returns
        -------
        array or tuple
            The result of :func:`e3any.nn.basis`.

        Raises
        ------
        ValueError, TypeError
            See :func:`e3any.nn.basis`.
        """
        backend = floating_backend(r=r)
        check_num(num)
        frequencies = p.param("frequencies", (num,), _MultiplesOfPi(), self.param_dtype)
        backend.check_devices(r, frequencies)
        radial_fn = partial(bessel, limit=self.limit, frequencies=frequencies)
        return basis(r, num=num, radial_fn=radial_fn, **options)
