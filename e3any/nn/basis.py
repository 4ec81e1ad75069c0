"""Basis functions of displacement vectors: radial functions times spherical harmonics."""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import index
from typing import Any, NamedTuple

from e3any_backends import Array, backend_of

from e3any.checks import check_callable, check_degree, check_flags, check_vectors, floating_backend
from e3any.config import cartesian_order_or_default
from e3any.conventions import degree_slice
from e3any.nn.radial import check_num
from e3any.ops.safe import normalize_and_return_norm
from e3any.so3 import spherical_harmonics

__all__ = ["FactoredBasis", "basis"]

RadialFn = Callable[..., Array]


class FactoredBasis(NamedTuple):
    r"""Basis functions :math:`g_{ln}(r) Y_{lm}(\hat r)` as separate radial and angular parts.

    Filters act on the radial parts only. A layer that is linear in its messages can therefore keep the parts separate:

    .. math::
        \sum_j g(r_{ij}) \, \mathrm{couple}\bigl(Y(\hat r_{ij}), x_j\bigr)
        = \mathrm{couple}\Bigl(\sum_j g(r_{ij}) \, Y(\hat r_{ij}) \otimes x_j\Bigr)

    The right side couples once for every node instead of once for every edge, and stores no message; it consists of
    a few matrix products. See :class:`e3any.nn.MessagePass`.

    Parameters
    ----------
    radial : array of shape (..., 1 or L+1, num)
        Radial parts, the same for all degrees or one for each.
    angular : array of shape (..., (L+1)**2)
        Angular parts.
    """

    radial: Array
    angular: Array

    @property
    def max_degree(self) -> int:
        """Largest degree L."""
        return math.isqrt(index(self.angular.shape[-1])) - 1

    @property
    def dtype(self) -> Any:
        """Dtype of the parts."""
        return self.radial.dtype

    def array(self) -> Array:
        """Multiply the parts.

        Returns
        -------
        array of shape (..., 1, (L+1)**2, num)
            The result of :func:`basis` without ``factored=True``.

        Raises
        ------
        ValueError
            If shapes do not fit.
        TypeError
            If a part is not a floating-point array.
        """
        self.check()
        backend = backend_of(self.radial, self.angular)
        # Store the parts: a compiler would compute them again for every product.
        radial, angular = backend.store(self.radial, self.angular)
        columns = angular[..., None, :, None]
        if radial.shape[-2] == 1:
            return backend.scale_components(columns, radial[..., 0, :])
        degrees = range(radial.shape[-2])
        blocks = [backend.scale_components(columns[..., degree_slice(l), :], radial[..., l, :]) for l in degrees]
        return backend.xp.concat(blocks, axis=-2)

    def check(self, *beside: Array) -> None:
        """Raise an error unless the parts are floating-point arrays whose shapes fit each other.

        They, and arrays beside them such as index lists, belong to one library.
        """
        floating_backend(*beside, radial=self.radial, angular=self.angular)
        if self.angular.ndim < 1:
            raise ValueError("expected an angular part of shape (..., (max_degree+1)**2), got ()")
        radial, angular = tuple(self.radial.shape), tuple(self.angular.shape)
        num_degrees = math.isqrt(index(angular[-1]))
        if num_degrees**2 != angular[-1]:
            raise ValueError(f"expected an angular part of shape (..., (max_degree+1)**2), got {angular}")
        if len(radial) < 2 or radial[:-2] != angular[:-1] or radial[-2] not in (1, num_degrees):
            expected = ", ".join([*map(str, angular[:-1]), f"1 or {num_degrees}", "num"])
            raise ValueError(f"expected a radial part of shape ({expected}), got {radial}")


def basis(
    r: Array,
    *,
    max_degree: int,
    num: int,
    radial_fn: RadialFn,
    angular_fn: Callable[..., Array] | None = None,
    cutoff_fn: Callable[[Array], Array] | None = None,
    return_cutoff: bool = False,
    return_norm: bool = False,
    damping_fn: Callable[[Array], Array] | None = None,
    cartesian_order: bool | None = None,
    factored: bool = False,
) -> Any:
    r"""Evaluate basis functions of displacement vectors.

    .. math:: b_{lmn}(\vec r) = g_n(r)\, c(r)\, d_l(r)\, Y_{lm}(\hat r), \qquad d_0 = 1, \quad d_{l>0} = d

    with radial functions g, a cut-off c and a damping d.

    Parameters
    ----------
    r : array of shape (..., 3)
        Displacement vectors.
    max_degree : int
        Largest degree L.
    num : int
        Number of radial functions.
    radial_fn : callable
        ``radial_fn(norm, num)`` returns radial functions of shape (..., num).
    angular_fn : callable, optional
        ``angular_fn(r=, max_degree=, cartesian_order=)`` of unit vectors returns angular functions of shape
        (..., (L+1)**2); by default spherical harmonics of Racah's normalisation.
    cutoff_fn, damping_fn : callable, optional
        Functions of the norm.
    return_cutoff, return_norm : bool
        Whether to return values of the cut-off and norms as well, of shape (...).
    cartesian_order : bool, optional
        Order of components, see :mod:`e3any.conventions`.
    factored : bool
        Whether to return separate radial and angular parts, which makes layers faster.

    Returns
    -------
    basis : array of shape (..., 1, (L+1)**2, num), or FactoredBasis
        Basis functions.
    cutoff, norm : arrays of shape (...)
        Only if ``return_cutoff`` and ``return_norm`` are True, in this order.

    Raises
    ------
    ValueError
        If ``r`` is not of shape (..., 3), ``max_degree`` is not an integer >= 0, ``num`` is not an integer >= 1,
        ``return_cutoff`` is given without ``cutoff_fn``, or a flag is neither True nor False.
    TypeError
        If ``r`` is not a floating-point array, or a function can't be called.
    """
    floating_backend(r=r)
    check_vectors(r)
    check_flags(return_cutoff=return_cutoff, return_norm=return_norm, factored=factored)
    if return_cutoff and cutoff_fn is None:
        raise ValueError("expected a cutoff_fn with return_cutoff=True, got None")
    check_degree(max_degree)
    check_num(num)
    check_callable(radial_fn, "radial_fn")
    optional = {"angular_fn": angular_fn, "cutoff_fn": cutoff_fn, "damping_fn": damping_fn}
    for name, function in optional.items():
        if function is not None:
            check_callable(function, name)
    cartesian_order = cartesian_order_or_default(cartesian_order)
    unit, norm = normalize_and_return_norm(r, axis=-1)
    radial = radial_fn(norm, num)
    cutoff = None if cutoff_fn is None else cutoff_fn(norm)
    if cutoff is not None:
        radial = radial * cutoff[..., None]
    angular = (angular_fn or _racah)(r=unit, max_degree=max_degree, cartesian_order=cartesian_order)
    damping = None if damping_fn is None else damping_fn(norm)
    parts = FactoredBasis(_damped(radial[..., None, :], damping, max_degree), angular)
    result = parts if factored else parts.array()
    extras = [cutoff] * bool(return_cutoff) + [norm] * bool(return_norm)
    return (result, *extras) if extras else result


def _racah(r: Array, max_degree: int, cartesian_order: bool) -> Array:
    return spherical_harmonics(
        r, max_degree, r_is_normalized=True, cartesian_order=cartesian_order, normalization="racah"
    )


def _damped(radial: Array, damping: Array | None, max_degree: int) -> Array:
    """Multiply the radial part of degrees above 0 by the damping."""
    if damping is None or max_degree == 0:
        return radial
    xp = backend_of(radial).xp
    return xp.concat([radial] + [radial * damping[..., None, None]] * max_degree, axis=-2)
