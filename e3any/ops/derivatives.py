"""Derivatives of functions of arrays."""

from __future__ import annotations

from collections.abc import Callable

from e3any_backends import Array

from e3any.checks import check_callable, check_degree, floating_backend

__all__ = ["evaluate_derivatives"]


def evaluate_derivatives(f: Callable[[Array], Array], x: Array, max_order: int) -> list[Array]:
    r"""Evaluate a function of every entry of an array, and its derivatives.

    .. math:: f(x), f'(x), f''(x), \dots

    Parameters
    ----------
    f : callable
        A function that is applied entry by entry, with functions of JAX or PyTorch.
    x : array
        Where it is evaluated.
    max_order : int
        The largest order.

    Returns
    -------
    list of arrays
        The ``max_order + 1`` derivatives.

    Raises
    ------
    ValueError
        If ``max_order`` is no integer >= 0.
    TypeError
        If ``f`` is no function, ``x`` no floating-point array, or of a library without automatic differentiation.

    Notes
    -----
    Forward mode: entries are summed where ``f`` mixes them, as a Jacobian is multiplied by a vector of ones.
    """
    check_callable(f, "f")
    check_degree(max_order, "max_order")
    backend = floating_backend(x=x)
    values = [f(x)]
    for _ in range(max_order):
        f = backend.derivative(f)
        values.append(f(x))
    return values
