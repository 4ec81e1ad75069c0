"""Frames of edges, and features in them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from backends_matrix import Library
from layer_cases import compiled, features, jit

from e3any import nn, so3
from e3any.testing import assert_parity

#: Both poles, directions beside them and on both sides of the equator, and any.
VECTORS = np.asarray(
    [[0, 0, 2], [0, 0, -3], [1e-8, 0, -1], [0, 1e-9, 1], [1, 0, 1e-9], [1, 0, -1e-9], [0.3, -0.4, 0.5], [-1, 2, -0.7]],
    float,
)


@pytest.mark.parametrize("cartesian_order", [True, False])
def test_frames_take_harmonics_of_edges_to_those_of_the_z_axis(library, cartesian_order):
    y = so3.spherical_harmonics(VECTORS, 4, cartesian_order=cartesian_order)[:, None, :, None]
    z = so3.spherical_harmonics(np.asarray([0.0, 0.0, 1.0]), 4, cartesian_order=cartesian_order)
    run = compiled(library, lambda y, vectors: nn.to_frame(y, nn.edge_frame(vectors, 4, cartesian_order)))
    assert_parity(run(library.array(y), library.array(VECTORS)), np.broadcast_to(z[:, None], y.shape))


def test_frames_are_rotations(library):
    frame = compiled(library, lambda vectors: nn.edge_frame(vectors, 3))(library.array(VECTORS))
    assert all(library.owns(block) for block in frame)
    assert_parity(frame, so3.wigner_d_blocks(library.numpy(frame[1]), 3))
    for block in map(library.numpy, frame):
        assert_parity(block @ np.swapaxes(block, -1, -2), np.broadcast_to(np.eye(block.shape[-1]), block.shape))
        assert_parity(np.linalg.det(block), np.ones(len(VECTORS)))


@pytest.mark.parametrize("lead", [(), (8,), (2, 4), (0,)])
def test_from_frame_undoes_to_frame(library, rng, lead):
    def there_and_back(x, vectors):
        frame = nn.edge_frame(vectors, 3)
        return nn.from_frame(nn.to_frame(x, frame), frame)

    x, vectors = features(rng, *lead, 2, 9, 3), np.resize(VECTORS, (*lead, 3))
    y = compiled(library, there_and_back)(library.array(x), library.array(vectors))
    assert library.owns(y)
    assert_parity(y, x)


def test_one_frame_is_that_of_all_features(library, rng):
    x = features(rng, 5, 2, 4, 3)
    d = so3.wigner_d_blocks(so3.rotation_euler(0.1, 0.2, 0.3), 1)
    expected = nn.rotate(x, so3.wigner_d(d[1], 1))
    assert_parity(nn.to_frame(library.array(x), tuple(map(library.array, d))), expected)


def test_of_zero_vectors_only_scalars_pass(library, rng):
    x, run = features(rng, 2, 1, 9, 3), compiled(library, lambda x, r: nn.to_frame(x, nn.edge_frame(r, 2)))
    y = library.numpy(run(library.array(x), library.array(np.zeros((2, 3)))))
    np.testing.assert_array_equal(y[..., :1, :], x[..., :1, :])
    assert not y[..., 1:, :].any()


@pytest.mark.parametrize("scale", [0.0, 1e-300, 1e-30, 1.0, 1e30])
def test_derivatives_of_frames_are_finite(scale):
    def numbers(vectors):
        return jnp.concat([jnp.reshape(block, -1) for block in nn.edge_frame(vectors, 2)])

    def gradient(vectors):
        return jax.vjp(numbers, vectors)[1](jnp.arange(8 * 35.0))[0]

    vectors = jnp.asarray(VECTORS * scale)
    first, second = jit(lambda v: (gradient(v), jax.jvp(gradient, (v,), (v,))[1]))(vectors)
    assert np.isfinite(first).all()
    assert np.isfinite(second).all()


def test_missing_vectors_stay_missing(library):
    vectors = np.asarray([[np.nan, 0.0, 0.0], [0.0, np.inf, 0.0], [0.0, 0.0, 1.0]])
    with np.errstate(invalid="ignore"):
        block = library.numpy(compiled(library, lambda r: nn.edge_frame(r, 1)[1])(library.array(vectors)))
    assert np.isnan(block[0]).any()
    assert np.isnan(block[1]).any()
    assert_parity(block[2], np.eye(3))


def test_dtypes_are_kept():
    frame = nn.edge_frame(Library.TORCH.array(VECTORS, "float32"), 2)
    x = Library.TORCH.array(np.ones((8, 1, 9, 2)), "float32")
    assert {str(a.dtype) for a in (*frame, nn.to_frame(x, frame), nn.from_frame(x, frame))} == {"torch.float32"}


@pytest.mark.parametrize(
    ("lead", "blocks", "error", "message"),
    [
        ((2,), None, TypeError, "expected frame to be a tuple of arrays, got None"),
        ((2,), 1, ValueError, "expected a frame of degrees 0 to 1 or more, got 1 matrices"),
        ((3,), 2, ValueError, r"expected frame\[0\] of shape \(1, 1\) or \(3, 1, 1\), got \(2, 1, 1\)"),
    ],
)
def test_frames_that_do_not_fit_raise(rng, lead, blocks, error, message):
    frame = None if blocks is None else nn.edge_frame(VECTORS[:2], 1)[:blocks]
    for function in (nn.to_frame, nn.from_frame):
        with pytest.raises(error, match=message):
            function(features(rng, *lead, 1, 4, 2), frame)
