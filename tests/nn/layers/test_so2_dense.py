"""Linear maps in the frames of edges."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from backends_matrix import Library
from layer_cases import (
    assert_dtypes_are_kept,
    assert_libraries_agree,
    assert_transformations_agree,
    cast,
    compiled,
    features,
    jit,
    random_parameters,
    torch_gradient,
)

from e3any import Layout, nn, so3
from e3any.conventions import degree_slice
from e3any.nn.layer import initialize, leaves
from e3any.testing import assert_equivariant, assert_parity

VECTORS = np.asarray(
    [[0, 0, 2], [0, 0, -3], [1e-8, 0, -1], [0, 1e-9, 1], [1, 0, 1e-9], [1, 0, -1e-9], [0.3, -0.4, 0.5], [-1, 2, -0.7]],
    float,
)


@dataclass(frozen=True)
class Message(nn.Layer):
    """Features of edges, mapped in their frames."""

    dense: nn.SO2Dense

    def forward(self, p, x, vectors, scale=None):
        frame = nn.edge_frame(vectors, max(Layout.of(x).max_degree, self.dense.max_degree or 0))
        return nn.from_frame(self.dense(p / "dense", nn.to_frame(x, frame), scale), frame)


@dataclass(frozen=True)
class Path:
    """One coupling of features with harmonics, degrees l1, l2 -> l3 of the feature's parity p1, and its matrix."""

    l1: int
    p1: int
    l2: int
    l3: int
    matrix: Any

    @property
    def table(self) -> Any:
        return so3.clebsch_gordan_for_degrees(self.l1, self.l2, self.l3, cartesian_order=True)


def paths_of(rng, dense, layout):
    """List all paths that the layer's output has, with random matrices."""
    both = dense.include_pseudotensors or layout.pseudotensors
    found = []
    for l1 in range(layout.max_degree + 1):
        for p1 in range(2) if layout.pseudotensors else [l1 % 2]:
            for l3 in range(dense.max_degree + 1):
                for l2 in range(abs(l1 - l3), l1 + l3 + 1):
                    if not dense.use_parity or both or (p1 + l2 + l3) % 2 == 0:
                        found.append(Path(l1, p1, l2, l3, rng.normal(size=(layout.features, dense.features))))
    return found


def oracle(paths, x, vectors, dense, layout):
    """Couple features with harmonics by Clebsch-Gordan coefficients."""
    both = dense.include_pseudotensors or layout.pseudotensors
    xp = jnp if isinstance(x, jax.Array) else np
    y = so3.spherical_harmonics(vectors, layout.max_degree + dense.max_degree)
    out = xp.zeros((len(x), 1 + both, (dense.max_degree + 1) ** 2, dense.features))
    for path in paths:
        inputs = x[:, path.p1 if layout.pseudotensors else 0, degree_slice(path.l1)]
        z = xp.einsum("eif,ej,ijk,fg->ekg", inputs, y[:, degree_slice(path.l2)], path.table, path.matrix)
        place = (slice(None), (path.p1 + path.l2) % 2 if both else 0, degree_slice(path.l3))
        out = out.at[place].add(z) if xp is jnp else _added(out, place, z)
    return out


def _added(out, place, z):
    out[place] += z
    return out


def kernels_of(paths, dense, layout):
    """Return the kernels that a sum of paths is, from the harmonics of the z axis, whose orders are 0."""
    both = dense.include_pseudotensors or layout.pseudotensors
    kinds = 1 + layout.pseudotensors, 1 + both
    tree: dict = {}
    for m in range(min(layout.max_degree, dense.max_degree) + 1):
        n1, n3 = layout.max_degree + 1 - m, dense.max_degree + 1 - m
        kernel = np.zeros((2, kinds[0], n1, layout.features, kinds[1], n3, dense.features))
        for path in paths:
            if min(path.l1, path.l3) < m:
                continue
            z, at = path.table[:, -1, :], lambda l, k: 2 * l if k == 0 else 2 * (l - abs(k)) + (k < 0)
            a, b = (z[at(path.l1, m), at(path.l3, k)] for k in (m, -m))
            k1 = (path.l1 + path.p1) % 2 if layout.pseudotensors else 0
            k3 = (path.l3 + path.p1 + path.l2) % 2 if both else 0
            place = (slice(None), k1, path.l1 - m, slice(None), k3, path.l3 - m, slice(None))
            parts = [a, b * (m > 0)] if not both or m == 0 else [a if k1 == k3 else b * (k1 - k3), 0.0]
            kernel[place] += np.asarray(parts)[:, None, None] * path.matrix
        if m == 0:
            tree["0"] = {"kernel": kernel[0, 0, :, :, 0].reshape(n1 * layout.features, -1)}
            if min(kinds) == 2:
                tree["0"]["pseudo_kernel"] = kernel[0, 1, :, :, 1].reshape(n1 * layout.features, -1)
        else:
            flat = kernel.reshape(2, kinds[0] * n1 * layout.features, -1)
            tree[str(m)] = {"kernel": flat[0] if dense.use_parity else flat}
    return {"dense": tree}


def maps(*cases):
    return pytest.mark.parametrize(
        ("layout", "dense"),
        [(layout, nn.SO2Dense(3, use_bias=False, **options)) for layout, options in cases],
        ids=lambda x: "" if isinstance(x, Layout) else f"{x.max_degree}{x.include_pseudotensors}{x.use_parity}",
    )


EVERY = maps(
    (Layout(2, 2), {"max_degree": 2}),
    (Layout(0, 2), {"max_degree": 2, "use_parity": False}),
    (Layout(4, 2), {"max_degree": 3, "use_parity": False}),
    (Layout(1, 2), {"max_degree": 2, "include_pseudotensors": True}),
    (Layout(2, 2, True), {"max_degree": 2}),
    (Layout(2, 2, True), {"max_degree": 1, "include_pseudotensors": True}),
)


@EVERY
def test_maps_are_sums_of_couplings_with_harmonics(library, rng, layout, dense):
    paths = paths_of(rng, dense, layout)
    x, params = features(rng, 8, *layout.shape), kernels_of(paths, dense, layout)
    run = compiled(library, Message(dense))
    y = run(cast(params, library), library.array(x), library.array(VECTORS))
    assert library.owns(y)
    assert_parity(y, oracle(paths, x, VECTORS, dense, layout))


@EVERY
def test_there_are_as_many_matrices_as_paths(rng, layout, dense):
    numbers = sum(math.prod(spec.shape) for _, spec in leaves(dense.parameters(layout)))
    assert numbers == len(paths_of(rng, dense, layout)) * layout.features * dense.features


@maps((Layout(1, 2), {"max_degree": 2, "use_parity": False}), (Layout(1, 2, True), {"max_degree": 1}))
def test_derivatives_are_those_of_couplings_on_poles_and_equator(rng, layout, dense):
    paths = paths_of(rng, dense, layout)
    x, params = jnp.asarray(features(rng, 8, *layout.shape)), cast(kernels_of(paths, dense, layout), Library.JAX)
    tangent = jnp.asarray(features(rng, 8, 3))

    def derivatives(function):
        def gradient(x, vectors):
            return jax.grad(lambda x, v: jnp.sum(jnp.sin(function(x, v))), (0, 1))(x, vectors)

        vectors = jnp.asarray(VECTORS)
        return gradient(x, vectors), jax.jvp(lambda v: gradient(x, v), (vectors,), (tangent,))[1]

    actual = jit(lambda: derivatives(lambda x, v: Message(dense)(params, x, v)))()
    expected = jit(lambda: derivatives(lambda x, v: oracle(paths, x, v, dense, layout)))()
    # Edges that are 1e-8 beside a pole or the equator: their derivatives too.
    assert_parity(actual, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("parities", "both", "max_order", "cartesian_order"),
    [(1, None, 1, True), (1, True, None, False), (2, None, 1, True), (2, False, 0, False)],
)
def test_messages_and_their_gradients_are_equivariant(rng, parities, both, max_order, cartesian_order):
    dense = nn.SO2Dense(3, 3, max_order, both, cartesian_order=cartesian_order)

    @dataclass(frozen=True)
    class Ordered(nn.Layer):
        def forward(self, p, x, vectors):
            frame = nn.edge_frame(vectors, 3, cartesian_order)
            return nn.from_frame(dense(p / "dense", nn.to_frame(x, frame)), frame)

    x, vectors = features(rng, 8, parities, 9, 2), VECTORS
    params = random_parameters(Ordered(), rng, (x, vectors), {})
    kinds, order = ("features", "vectors"), {"cartesian_order": cartesian_order}
    assert_equivariant(lambda *inputs: Ordered()(params, *inputs), x, vectors, kinds=kinds, **order)
    if max_order == 1:
        params, inputs = cast(params, Library.TORCH), tuple(map(torch.from_numpy, (vectors, x)))
        of_vectors = torch_gradient(lambda vectors, x: Ordered()(params, x, vectors))
        assert_equivariant(of_vectors, *inputs, kinds=kinds[::-1], output="vectors", **order)


def test_without_inversions_rotations_alone_commute(rng):
    message = Message(nn.SO2Dense(3, 3, 2, use_parity=False))
    x = features(rng, 8, 1, 9, 2)
    params = random_parameters(message, rng, (x, VECTORS), {})
    y = message(params, x, VECTORS)
    rotation = so3.random_rotation(rng)
    d = so3.wigner_d(rotation, 3)
    rotated = message(params, nn.rotate(x, d[:9, :9]), VECTORS @ rotation)
    assert_parity(rotated, nn.rotate(y, d))
    inverted = message(params, nn.reflect(x), -VECTORS)
    assert np.abs(inverted - nn.reflect(y)).max() > 0.1


def test_maps_equal_those_of_escn(rng):
    """Write the maps as the published code does: real and imaginary parts, and factors of the inputs."""
    dense, degree, num = nn.SO2Dense(3, max_order=1, use_parity=False), 2, 2
    x, scale = features(rng, 5, 1, 9, num), features(rng, 5, dense.num_scales(Layout(2, num)), num)
    assert scale.shape == (5, 5, 2)
    params = random_parameters(dense, rng, (x, scale), {})
    at = {m: [l * l + (2 * l if m == 0 else 2 * (l - abs(m)) + (m < 0)) for l in range(abs(m), 3)] for m in (-1, 0, 1)}
    x0 = (x[:, 0, at[0]] * scale[:, :3]).reshape(5, -1)
    real, imag = ((x[:, 0, at[m]] * scale[:, 3:]).reshape(5, -1) for m in (1, -1))
    a, b = params["1"]["kernel"]
    expected = np.zeros((5, 1, (degree + 1) ** 2, 3))
    expected[:, 0, at[0]] = (x0 @ params["0"]["kernel"]).reshape(5, 3, 3) + params["0"]["bias"]
    expected[:, 0, at[1]] = (real @ a - imag @ b).reshape(5, 2, 3)
    expected[:, 0, at[-1]] = (real @ b + imag @ a).reshape(5, 2, 3)
    assert_parity(dense(params, x, scale), expected)


CASES = [
    (nn.SO2Dense(3, 2, use_parity=False), (2, 1, 4, 2), (2, 3, 2)),
    (nn.SO2Dense(3, 1, 1, True), (2, 1, 4, 2), (2, 3, 2)),
    (nn.SO2Dense(2), (2, 2, 4, 3), (2, 6, 3)),
]
every_case = pytest.mark.parametrize(("dense", "shape", "scale"), CASES)


@every_case
def test_libraries_agree(rng, dense, shape, scale):
    inputs = features(rng, *shape), VECTORS[5:7], features(rng, *scale)
    assert_libraries_agree(Message(dense), rng, inputs)


@every_case
def test_dtypes_are_kept(rng, dense, shape, scale):
    assert_dtypes_are_kept(dense, rng, (features(rng, *shape), features(rng, *scale)))


def test_transformations_of_jax_agree(rng):
    assert_transformations_agree(Message(nn.SO2Dense(3)), rng, (features(rng, 2, 1, 4, 2), VECTORS[5:7]))


def test_messages_of_zero_vectors_are_scalars_with_finite_derivatives(rng):
    message = Message(nn.SO2Dense(3, 2, use_parity=False))
    x = features(rng, 3, 1, 9, 2)
    params = cast(random_parameters(message, rng, (x, np.zeros((3, 3))), {}), Library.JAX)

    def gradient(x, vectors):
        return jax.grad(lambda *a: jnp.sum(jnp.sin(message(params, *a))), (0, 1))(x, vectors)

    def second(x, vectors):
        return jax.grad(lambda *a: sum(jnp.sum(jnp.sin(g)) for g in gradient(*a)), (0, 1))(x, vectors)

    x, vectors = jnp.asarray(x), jnp.zeros((3, 3))
    values = jit(lambda: (message(params, x, vectors), gradient(x, vectors), second(x, vectors)))()
    assert all(np.isfinite(value).all() for value in jax.tree.leaves(values))
    assert not values[0][..., 1:, :].any()


@pytest.mark.parametrize("use_parity", [True, False])
def test_outputs_are_first_as_large_as_inputs(use_parity):
    rng, dense = np.random.default_rng(0), nn.SO2Dense(60, use_parity=use_parity)
    x = features(rng, 50, 1, 9, 60)
    params = initialize(dense.parameters(x), rng)
    variance = (dense(params, x) ** 2).mean(axis=(0, 1, 3))
    np.testing.assert_allclose(variance, 1.0, rtol=0.1)


@pytest.mark.parametrize("shape", [(0, 1, 9, 2), (3, 2, 9, 0), (1, 9, 2)])
def test_leading_axes_and_emptiness_are_kept(library, rng, shape):
    x = np.ones(shape)
    params = random_parameters(nn.SO2Dense(4), rng, (x,), {})
    y = compiled(library, nn.SO2Dense(4))(cast(params, library), library.array(x))
    assert tuple(y.shape) == (*shape[:-1], 4)


@pytest.mark.parametrize(
    ("layer", "shape", "scale", "message"),
    [
        (
            nn.SO2Dense(2, use_parity=False),
            (3, 2, 4, 2),
            None,
            "features of one parity for use_parity=False, got inputs",
        ),
        (
            nn.SO2Dense(2, None, None, True, use_parity=False),
            (3, 1, 4, 2),
            None,
            "use_parity=False, got an output of both parities",
        ),
        (nn.SO2Dense(2), (3, 1, 4, 2), (3, 4, 2), r"expected scale of shape \(3, 3, 2\), got \(3, 4, 2\)"),
    ],
)
def test_inputs_that_do_not_fit_raise(layer, shape, scale, message):
    with pytest.raises(ValueError, match=message):
        layer({}, np.ones(shape), None if scale is None else np.ones(scale))
