"""Activations of features as functions on the sphere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from e3any_backends import Array, Backend
from numpy.typing import NDArray

from e3any.checks import check_callable, check_integer, floating_backend
from e3any.config import Normalization, check_normalization
from e3any.conventions import component_degrees, normalization_factor
from e3any.layout import Layout
from e3any.nn.activations import silu
from e3any.nn.layer import Layer, Parameters
from e3any.nn.layers.orders import by_class
from e3any.so3 import delley_quadrature, spherical_harmonics

__all__ = ["SphereActivation"]


@dataclass(frozen=True)
class SphereActivation(Layer):
    r"""Apply a function to features as functions on the sphere, at the points of a grid.

    .. math::
        f(\hat r) = \sum_{lm} x_{lm} Y_{lm}(\hat r) \qquad
        y_{lm} = \frac{2l+1}{n_l^2} \sum_i w_i\, \phi\bigl(f(\hat r_i)\bigr)\, Y_{lm}(\hat r_i)

    with the harmonics of a normalisation, of norm :math:`n_l`, and a quadrature rule
    :func:`~e3any.so3.delley_quadrature` (Cohen et al., `Spherical CNNs <https://arxiv.org/abs/1801.10130>`_, 2018). All
    degrees take part in the activation, which for :func:`e3any.nn.silu` alone only multiplies them.

    Rotating the inputs rotates the outputs up to the error of the quadrature. There is none for functions that are
    polynomials of a degree d with :math:`(d + 1) L \le` the precision of the grid, and for rotations that permute its
    points, those of an octahedron. For others it falls with the precision, exponentially if :math:`\phi` is analytic.

    At each point, values are features of degree 0 of the same parities. Pseudotensors are a second function on the
    sphere, which changes sign under reflections: it is a feature of odd parity, which activations multiply by the gate
    of the first one.

    Parameters
    ----------
    activation : callable or Layer
        The function :math:`\phi`, which maps features of degree 0, (..., N, P, 1, F) for N points, such as
        :func:`e3any.nn.silu`. A layer of degree 0, for example two :class:`e3any.nn.Dense` with an activation between
        them, mixes features point by point; its parameters are ``activation/...``.
    grid_precision : int, optional
        Least precision of the quadrature rule, at least 2L; by default 4L. For L = 1, 2, 3, 4 and 6 the default has 14,
        50, 110, 110 and 302 points.
    normalization : {'racah', '4pi', 'orthonormal', 'schmidt'}
        Normalisation of harmonics, see :mod:`e3any.conventions`.
    cartesian_order : bool, optional
        Order of components, see :mod:`e3any.conventions`; by default that of :class:`e3any.Config`.

    Raises
    ------
    ValueError
        If ``grid_precision`` is not an integer >= 0, ``normalization`` is unknown, or a setting is neither True nor
        False.
    TypeError
        If ``activation`` can't be called.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(1, 9, 4))
    >>> bool(np.allclose(SphereActivation(lambda f: f)({}, x), x))
    True
    """

    activation: Any = silu
    grid_precision: int | None = None
    normalization: Any = "racah"
    cartesian_order: bool | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_callable(self.activation, "activation")
        check_normalization(self.normalization)
        if self.grid_precision is not None:
            check_integer(self.grid_precision, "grid_precision")

    def forward(self, p: Parameters, inputs: Array) -> Array:
        """Activate features.

        Parameters
        ----------
        p : Parameters
            Parameters, which only an activation that is a layer has.
        inputs : array of shape (..., P, (L+1)**2, F)
            Features.

        Returns
        -------
        array of shape (..., P', (L+1)**2, F')
            Activated features; P' and F' are those that the activation returns, P' = P or 1.

        Raises
        ------
        ValueError
            If the shape is not that of features, ``grid_precision`` is less than 2L, or the activation returns no
            features of degree 0 for every point.
        TypeError
            If the inputs are not a floating-point array.
        """
        backend, layout = floating_backend(inputs=inputs), Layout.of(inputs)
        degree = layout.max_degree
        precision = 4 * degree if self.grid_precision is None else self.grid_precision
        if precision < 2 * degree:
            raise ValueError(f"expected grid_precision >= {2 * degree} for degree {degree}, got {precision}")
        grid = degree, precision, self.normalization, bool(self.cartesian_order)
        values = backend.matmul(backend.table(_to_grid, *grid, like=inputs), _by_class(backend, inputs), "highest")
        values = _swapped(backend, values)[..., :, :, None, :]
        is_layer = isinstance(self.activation, Layer)
        activated = self.activation(p / "activation", values) if is_layer else self.activation(values)
        self._check(activated, values)
        fields = _swapped(backend, activated[..., 0, :])
        return _by_class(backend, backend.matmul(backend.table(_from_grid, *grid, like=inputs), fields, "highest"))

    def _check(self, activated: Any, values: Array) -> None:
        lead = tuple(values.shape[:-3])
        found = tuple(getattr(activated, "shape", ()))
        if (
            len(found) != len(lead) + 3
            or found[:-3] != lead
            or found[-3] not in (1, values.shape[-3])
            or found[-2] != 1
        ):
            expected = ", ".join(
                [*map(str, lead), " or ".join(map(str, range(1, values.shape[-3] + 1))), "1, features"]
            )
            raise ValueError(f"expected activated values of shape ({expected}), got {found}")


def _swapped(backend: Backend, x: Array) -> Array:
    """Swap the axes of parity and of points, (..., P, N, F) to (..., N, P, F), or back."""
    first = x.ndim - 3
    return backend.xp.permute_dims(x, (*range(first), first + 1, first, first + 2))


def _by_class(backend: Backend, x: Array) -> Array:
    """Put the components of both parities into tensors and pseudotensors, or back; leave one parity as it is."""
    if x.shape[-3] == 1:
        return x
    layout = Layout.of(x)
    flat = backend.xp.reshape(x, (*x.shape[:-3], x.shape[-3] * x.shape[-2], x.shape[-1]))
    table = backend.table(by_class, layout.max_degree, like=x)
    return backend.xp.reshape(backend.select(flat, table, axis=flat.ndim - 2), x.shape)


def _to_grid(degree: int, precision: int, normalization: Normalization, cartesian_order: bool) -> NDArray[np.float64]:
    """Return the harmonics at every point, of shape (N, (L+1)**2)."""
    points, _ = delley_quadrature(precision)
    return np.asarray(spherical_harmonics(points, degree, cartesian_order=cartesian_order, normalization=normalization))


def _from_grid(degree: int, precision: int, normalization: Normalization, cartesian_order: bool) -> NDArray[np.float64]:
    """Return the projection of functions on the grid to harmonics, of shape ((L+1)**2, N)."""
    _, weights = delley_quadrature(precision)
    scale = [(2 * l + 1) / normalization_factor(normalization, l) ** 2 for l in range(degree + 1)]
    harmonics = _to_grid(degree, precision, normalization, cartesian_order)
    projection: NDArray[np.float64] = (weights[:, None] * harmonics).T * np.asarray(scale)[
        component_degrees(degree), None
    ]
    return projection
