"""Cases of all kernels, for tests of threads that share their work."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import torch
from e3any_backends import backend_of

from e3any import so3
from e3any.nn.layers.couplings import coupling_plan

ROUNDING = {"float32": 1e-5, "float64": 1e-13}


def as_library(like, table):
    """Return a table in the library of an array."""
    if isinstance(like, torch.Tensor):
        return torch.from_numpy(table)
    return jnp.asarray(table) if isinstance(like, jax.Array) else table


def product(num, features):
    """Return the coupling of two features at L=1, and shapes of its arguments; one factor is shared by rows."""
    plan = coupling_plan((1, 2, 2, 2, 1, 2), False)
    shapes = (num, 1, 4, features), (1, 2, 4, features), (1, 2, 2, 2, 1, 2, features)
    return lambda x, y, w: backend_of(x, y, w).couple_features(x, y, w, plan), shapes


def grid(num, features):
    """Return a coupling whose factors lie along two axes, and shapes of its arguments."""
    function, shapes = product(num, features)
    return function, ((3, 1, *shapes[0][1:]), (num, *shapes[1][1:]), shapes[2])


def edges(num, features):
    """Return sums over edges to a number of nodes, most of them to the first, and shapes of their arguments."""
    rng = np.random.default_rng(0)
    src, dst = rng.integers(-1, 6, 40), np.minimum(rng.integers(-1, num + 2, 40), rng.integers(-1, num + 2, 40))

    def function(x, angular, radial):
        return backend_of(x).edge_products(x, angular, radial, as_library(x, src), as_library(x, dst), num)

    return function, ((6, 2, features), (40, 4), (40, 2, features))


def linear(num, features):
    """Return a linear map, and shapes of its arguments."""
    which = np.asarray([0, 1, 1, 1])

    def function(x, w, bias):
        return backend_of(x).linear(x, w, as_library(x, which), bias)

    return function, ((10 * num, 4, 16), (2, 16, 32), (32,))


def harmonics(num, features):
    """Return harmonics, and the shape of vectors."""
    return lambda r: so3.spherical_harmonics(r, 3), ((20 * num, 3),)


CASES = {
    "product": (product, 3),
    "product of vectors": (product, 32),
    "product on a grid": (grid, 5),
    "edges": (edges, 3),
    "edges of vectors": (edges, 32),
    "linear": (linear, 16),
    "harmonics": (harmonics, 1),
}


def arguments(rng, shapes, dtype):
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def assert_rounding(actual, expected):
    for a, b in zip(actual, expected, strict=True):
        assert a.dtype == b.dtype
        scale = max(1.0, np.abs(b).max(initial=0.0))
        np.testing.assert_allclose(a, b, rtol=0, atol=ROUNDING[str(b.dtype)] * scale)
