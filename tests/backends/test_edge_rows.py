"""Derivatives of sums over edges, for rows of features of every size that kernels treat differently."""

from __future__ import annotations

import numpy as np
import pytest
from e3any_backends.kernels.maps import EdgeProducts

from e3any.testing import assert_parity


# Rows of a multiple of 2 KiB are copied before they are read; the others are not, or fill no vectors.
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("dtype", "components", "features"),
    [
        ("float32", 4, 128),
        ("float32", 8, 64),
        ("float64", 4, 64),
        ("float64", 2, 128),
        ("float32", 4, 32),
        ("float32", 4, 33),
    ],
)
def test_derivatives_are_adjoint_to_sums(rng, monkeypatch, dtype, components, features, threads):
    monkeypatch.setattr("e3any_backends.kernels.parallel.pool.GRAIN", 1)
    monkeypatch.setattr("e3any_backends.kernels.parallel.pool._PARTIAL_WORK", 0)
    num, edges = 5, 20
    shapes = (num, components, features), (edges, 4), (edges, 2, features)
    operands = [rng.normal(size=shape).astype(dtype) for shape in shapes]
    indices = [rng.integers(-1, num + 1, edges) for _ in range(2)]
    g = rng.normal(size=(num, 4, components, features)).astype(dtype)
    kernel = EdgeProducts(num)
    for n, gradient in enumerate(kernel.vjp(operands, indices, g, count=lambda: threads)):
        direction = rng.normal(size=gradient.shape).astype(dtype)
        along = kernel.value([*operands[:n], direction, *operands[n + 1 :]], indices, count=lambda: threads)
        scale = np.linalg.norm(gradient) * np.linalg.norm(direction)
        ours, theirs = np.vdot(gradient, direction), np.vdot(g, along)
        assert_parity(np.asarray([ours, scale]), np.asarray([theirs, scale]), dtype)
