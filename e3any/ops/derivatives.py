"""Derivatives of functions of arrays."""

from __future__ import annotations

from collections.abc import Callable

from e3any_backends import Array

from e3any.checks import check_callable, check_count, floating_backend

__all__ = ["evaluate_derivatives"]


def evaluate_derivatives(f: Callable[[Array], Array], x: Array, max_order: int) -> list[Array]:
    r"""Evaluate a function of every entry of an array, and its derivatives.

    .. math:: f(x), f'(x), f''(x), \dots

    Parameters
    ----------
    f : callable
        A function of JAX or PyTorch arrays that acts entry by entry.
    x : array
        The points at which it is evaluated.
    max_order : int
        The largest order.

    Returns
    -------
    list of arrays
        The ``max_order + 1`` derivatives.

    Raises
    ------
    ValueError
        If ``max_order`` is not an integer >= 0.
    TypeError
        If ``f`` is not a function, or ``x`` is not a floating-point array of a library with automatic differentiation.

    Notes
    -----
    A forward-mode jvp with a tangent of ones. If ``f`` mixes entries, the result is therefore the sum of the
    derivatives with respect to all of them.
    """
    check_callable(f, "f")
    check_count(max_order, "max_order")
    backend = floating_backend(x=x)
    values = [f(x)]
    for _ in range(max_order):
        f = backend.derivative(f)
        values.append(f(x))
    return values
