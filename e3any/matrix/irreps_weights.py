"""Irreps of matrices, as weighted sums of features."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from e3any_backends import Array, generator_backend

from e3any.checks import check_count, check_degree, check_degrees, check_dtype, check_number, floating_backend, shown
from e3any.conventions import degree_slice

__all__ = ["combine_irreps", "init_matrix_irreps_weights", "make_dict_irreps_mult"]


def make_dict_irreps_mult(degrees: Sequence[int], max_degree: int | None = None) -> dict[int, int]:
    r"""Count the irreps in the product of a space with itself.

    .. math:: V \otimes V = \bigoplus_{a,b} \bigoplus_{l=|a-b|}^{a+b} l \qquad V = \bigoplus_a a

    Parameters
    ----------
    degrees : sequence of int
        The degrees a of the space V, with repetitions.
    max_degree : int, optional
        Larger degrees l are left out.

    Returns
    -------
    dict
        How often each degree l occurs.

    Raises
    ------
    ValueError
        If a degree is not an integer >= 0.
    TypeError
        If ``degrees`` is not a sequence.

    Examples
    --------
    >>> make_dict_irreps_mult([0, 1])
    {0: 2, 1: 3, 2: 1}
    """
    check_degrees(degrees)
    if max_degree is not None:
        check_degree(max_degree)
    counts: dict[int, int] = {}
    for a, b in itertools.product(degrees, degrees):
        last = a + b if max_degree is None else min(a + b, max_degree)
        for l in range(abs(a - b), last + 1):
            counts[l] = counts.get(l, 0) + 1
    return dict(sorted(counts.items()))


def init_matrix_irreps_weights(
    key: Any, n_shells: int, dict_irreps: Mapping[int, int], mult: int, stddev: float, *, dtype: Any = None
) -> list[Array]:
    r"""Initialise the weights that map features to the irreps of a matrix.

    Parameters
    ----------
    key : jax.Array or numpy.random.Generator or torch.Generator
        A JAX key, or the generator of NumPy or PyTorch.
    n_shells : int
        Number of features.
    dict_irreps : mapping
        How often each degree occurs, see :func:`make_dict_irreps_mult`.
    mult : int
        How often each degree of the space of the matrix is repeated.
    stddev : float
        Standard deviation of the weights of degree 0; that of degree l is smaller by the factor :math:`\sqrt{2l+1}`.
    dtype : optional
        The dtype; if not given, float32 for JAX and the library's default for others.

    Returns
    -------
    list of arrays of shape (n_shells, dict_irreps[l] * mult**2)
        Normally distributed weights of the degrees l = 0, 1, ... up to the largest.

    Raises
    ------
    ValueError
        If there are no degrees, a number is not an integer >= 0, or ``stddev`` is negative or NaN.
    TypeError
        If ``key`` is not a generator, ``stddev`` is not a number, or ``dtype`` is not a floating-point dtype.
    """
    backend = generator_backend(key)
    check_count(n_shells, "n_shells")
    check_count(mult, "mult")
    check_number(stddev, "stddev", least=0.0)
    check_dtype(dtype)
    if not isinstance(dict_irreps, Mapping) or not dict_irreps:
        raise ValueError(f"expected dict_irreps with at least one degree, got {shown(dict_irreps)}")
    check_degrees([*dict_irreps.keys(), *dict_irreps.values()], "dict_irreps")
    dtype = None if dtype is None else backend.dtype(dtype)
    num = max(dict_irreps) + 1
    return [
        backend.random_normal(generator, (n_shells, dict_irreps.get(l, 0) * mult**2), dtype)
        * (stddev / math.sqrt(2 * l + 1))
        for l, generator in enumerate(backend.split(key, num))
    ]


def combine_irreps(inputs: Array, weights: Sequence[Array], precision: Any = None) -> list[Array]:
    """Map features to irreps.

    Parameters
    ----------
    inputs : array of shape (..., (L+1)**2, F)
        Features.
    weights : sequence of arrays of shape (F, M)
        Weights of degrees 0, 1, ..., at most L, whose number M of irreps can differ.
    precision : optional
        Precision of matrix products, see ``jax.lax.Precision``; only JAX uses it.

    Returns
    -------
    list of arrays of shape (..., 2l+1, M)
        The irreps of every degree.

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If ``weights`` is not a sequence, or an array is not a floating-point array.
    """
    if not hasattr(weights, "__len__") or len(weights) == 0:
        raise TypeError(f"expected a sequence of weights, got {shown(weights)}")
    backend = floating_backend(inputs=inputs, **{f"weights of degree {l}": w for l, w in enumerate(weights)})
    if inputs.ndim < 2 or inputs.shape[-2] < len(weights) ** 2:
        raise ValueError(
            f"expected inputs of shape (..., {len(weights) ** 2} or more, features) for weights of {len(weights)} "
            f"degrees, got {tuple(inputs.shape)}"
        )
    for l, w in enumerate(weights):
        if w.ndim != 2 or w.shape[0] != inputs.shape[-1]:
            raise ValueError(f"expected weights of shape ({inputs.shape[-1]}, M), got {tuple(w.shape)} for degree {l}")
    inputs, *weights = backend.promote(inputs, *weights)
    return [backend.matmul(inputs[..., degree_slice(l), :], w, precision) for l, w in enumerate(weights)]
