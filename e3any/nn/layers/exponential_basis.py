"""Basis functions whose range is learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from e3any_backends import Array
from e3any_backends.forms.tables import host_table

from e3any.checks import check_callable, check_number, floating_backend
from e3any.nn._functions import softplus
from e3any.nn.basis import basis
from e3any.nn.cutoffs import check_positive
from e3any.nn.initializers import Constant
from e3any.nn.layer import Layer, Parameters
from e3any.nn.radial import exponential_bernstein
from e3any.ops.safe import inverse_softplus

__all__ = ["ExponentialBasis"]


@dataclass(frozen=True)
class ExponentialBasis(Layer):
    r"""Basis functions of displacement vectors, with a learned rate of the exponential mapping.

    The parameter ``gamma`` of shape () holds the inverse softplus of the rate,
    :math:`\gamma = \log(1 + e^{\mathrm{parameter}}) > 0`.

    Parameters
    ----------
    initial_gamma : float
        The initial rate.
    param_dtype : optional
        Dtype that the parameter is created with.

    Raises
    ------
    ValueError
        If ``initial_gamma`` is not positive.
    TypeError
        If ``initial_gamma`` is not a number, or ``param_dtype`` is not a floating-point dtype.
    """

    layouts: ClassVar[tuple[str, ...]] = ()

    initial_gamma: float = 1.0
    param_dtype: Any = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.initial_gamma, "initial_gamma")
        check_positive(self.initial_gamma, "initial_gamma")

    def example(self, *layouts: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return one vector and the smallest basis."""
        options = {"max_degree": 0, "num": 1, "radial_fn": exponential_bernstein}
        return layouts or (np.zeros((1, 3), np.float32),), options

    def forward(self, p: Parameters, r: Array, *, radial_fn: Callable[..., Array], **options: Any) -> Any:
        """Evaluate basis functions.

        Parameters
        ----------
        p : Parameters
            Parameters.
        r : array of shape (..., 3)
            Displacement vectors.
        radial_fn : callable
            ``radial_fn(norm, num, gamma=)`` returns radial functions of shape (..., num), for example
            :func:`e3any.nn.exponential_bernstein`.
        **options
            Options of :func:`e3any.nn.basis`.

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
        check_callable(radial_fn, "radial_fn")
        parameter = p.param("gamma", (), _initial(self.initial_gamma), self.param_dtype)
        backend.check_devices(r, parameter)
        (parameter,) = backend.promote(parameter)

        def learned(norm: Array, num: int) -> Array:
            return radial_fn(norm, num, gamma=softplus(backend, parameter))

        return basis(r, radial_fn=learned, **options)


@host_table
def _initial(gamma: float) -> Constant:
    return Constant(float(inverse_softplus(np.asarray(float(gamma)))))
