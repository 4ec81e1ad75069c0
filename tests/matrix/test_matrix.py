"""Matrices coupled from irreps."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from layer_cases import jit, tree_map

from e3any import Config, matrix, so3
from e3any.conventions import degree_slice
from e3any.testing import assert_parity

DEGREES = [0, 1, 1, 2]


def draw_irreps(rng, degrees, mult, max_degree=None, lead=()):
    counts = matrix.make_dict_irreps_mult(degrees, max_degree)
    return [rng.normal(size=(*lead, 2 * l + 1, counts[l] * mult**2)) for l in range(max(counts) + 1)]


def by_definition(irreps, degrees, mult):
    """Fill one block after the other."""
    used = [0] * len(irreps)
    side = mult * sum(2 * l + 1 for l in degrees)
    result, row = np.zeros((side, side)), 0
    for la in degrees:
        column = 0
        for lb in degrees:
            a, b = 2 * la + 1, 2 * lb + 1
            for l in range(abs(la - lb), min(la + lb, len(irreps) - 1) + 1):
                table = so3.clebsch_gordan_for_degrees(la, lb, l)
                for number, (i, j) in enumerate(itertools.product(range(mult), repeat=2)):
                    block = table @ irreps[l][:, used[l] + number]
                    rows = slice(row + i * a, row + (i + 1) * a)
                    result[rows, column + j * b : column + (j + 1) * b] += block
                used[l] += mult**2
            column += mult * b
        row += mult * a
    return result


def rotation_of_space(rot, degrees, mult):
    d, side = so3.wigner_d(rot, max(degrees)), mult * sum(2 * l + 1 for l in degrees)
    result, start = np.zeros((side, side)), 0
    for l in np.repeat(degrees, mult):
        stop = start + 2 * l + 1
        result[start:stop, start:stop] = d[degree_slice(l), degree_slice(l)]
        start = stop
    return result


@pytest.mark.parametrize("degrees", [[0], [2, 4], DEGREES])
@pytest.mark.parametrize("max_degree", [None, 0, 1, 3])
def test_counts_are_those_of_the_product_of_a_space_with_itself(degrees, max_degree):
    counts = matrix.make_dict_irreps_mult(degrees, max_degree)
    limit = 2 * max(degrees) if max_degree is None else max_degree
    for l in range(limit + 1):
        found = sum(abs(a - b) <= l <= a + b for a, b in itertools.product(degrees, repeat=2))
        assert counts.get(l, 0) == found
    assert list(counts) == sorted(counts)


@pytest.mark.parametrize(
    ("degrees", "mult", "max_degree"), [([1], 1, 2), (DEGREES, 2, 4), ([0, 2], 3, 2), ([2, 2], 1, 3)]
)
def test_matrices_are_filled_block_by_block(library, rng, degrees, mult, max_degree):
    irreps = draw_irreps(rng, degrees, mult, max_degree)
    expected = by_definition(irreps, degrees, mult)
    actual = matrix.make_square_matrix(tree_map(library.array, irreps), degrees, mult, max_degree)
    assert library.owns(actual)
    assert_parity(actual, expected)
    shifted = matrix.make_square_matrix(tree_map(library.array, irreps), degrees, mult, max_degree, True)
    assert_parity(shifted, expected + np.eye(len(expected)))


@pytest.mark.parametrize("max_degree", [2, 3])
def test_rotated_irreps_make_rotated_matrices_with_the_same_traces(rng, max_degree):
    degrees, mult = [0, 1, 2], 2
    features = rng.normal(size=((max_degree + 1) ** 2, 3))
    rot = so3.random_rotation(rng)
    weights = matrix.init_matrix_irreps_weights(rng, 3, matrix.make_dict_irreps_mult(degrees, max_degree), mult, 0.3)

    def make(x):
        return matrix.make_square_matrix(matrix.combine_irreps(x, weights), degrees, mult, max_degree)

    m, moved = make(features), make(so3.wigner_d(rot, max_degree).T @ features)
    d = rotation_of_space(rot, degrees, mult)
    assert_parity(moved, d.T @ m @ d)
    assert_parity(moved @ moved @ moved, d.T @ m @ m @ m @ d)
    for power in (1, 2, 3):
        traces = [matrix.get_traces(np.linalg.matrix_power(x, power), degrees, mult) for x in (m, moved)]
        assert_parity(*traces)


def test_order_of_components_is_that_asked_for(rng):
    features = rng.normal(size=(9, 2))
    counts = matrix.make_dict_irreps_mult([1, 2], 2)
    weights = matrix.init_matrix_irreps_weights(rng, 2, counts, 1, 1.0)
    irreps = matrix.combine_irreps(features, weights)
    with Config.use(cartesian_order=False):
        from_config = matrix.make_square_matrix(irreps, [1, 2], 1, 2)
    given = matrix.make_square_matrix(irreps, [1, 2], 1, 2, cartesian_order=False)
    assert_parity(from_config, given)
    assert abs(given - matrix.make_square_matrix(irreps, [1, 2], 1, 2)).max() > 0.1


def test_leading_axes_are_a_batch(library, rng):
    irreps = draw_irreps(rng, DEGREES, 2, lead=(3, 2))
    expected = np.stack([by_definition([x[i, j] for x in irreps], DEGREES, 2) for i in range(3) for j in range(2)])
    actual = matrix.make_square_matrix(tree_map(library.array, irreps), DEGREES, 2, 4)
    assert_parity(actual, expected.reshape(3, 2, *expected.shape[1:]))
    traces = matrix.get_traces(actual, DEGREES, 2, True)
    assert tuple(traces.shape) == (3, 2, 16)


def test_dtypes_are_kept_and_transformations_of_jax_work(rng):
    irreps = [x.astype(np.float32) for x in draw_irreps(rng, [0, 1], 1)]
    assert matrix.make_square_matrix(irreps, [0, 1], 1, 2, True).dtype == np.float32
    wide = [jnp.asarray(x, jnp.float64) for x in irreps]
    run = lambda x: matrix.make_square_matrix(x, [0, 1], 1, 2)
    assert_parity(jit(jax.vmap(run))([jnp.stack([x, x]) for x in wide])[1], run(wide))
    of_torch = [torch.from_numpy(x).double().requires_grad_() for x in irreps]
    gradients = torch.autograd.grad(run(of_torch).square().sum(), of_torch)
    assert_parity(list(gradients), jit(jax.grad(lambda x: (run(x) ** 2).sum()))(wide))


def test_matrices_compile_as_a_whole_with_torch(rng):
    irreps = [torch.from_numpy(x).bfloat16() for x in draw_irreps(rng, DEGREES, 2, 3, lead=(2,))]
    run = lambda x: matrix.get_traces(matrix.make_square_matrix(x, DEGREES, 2, 3, True), DEGREES, 2)
    compiled = torch.compile(run, backend="eager", fullgraph=True)(irreps)
    assert compiled.dtype == torch.bfloat16
    torch.testing.assert_close(compiled, run(irreps), rtol=0, atol=0)


def test_traces_are_those_of_diagonal_blocks(library):
    mat = np.arange(64.0).reshape(8, 8)
    expected = [mat[0, 0], mat[0, 1], mat[1, 0], mat[1, 1]]
    expected += [np.trace(mat[2 + 3 * i : 5 + 3 * i, 2 + 3 * j : 5 + 3 * j]) for i in range(2) for j in range(2)]
    assert_parity(matrix.get_traces(library.array(mat), [0, 1], 2), np.asarray(expected))
    shifts = np.asarray([1, 0, 0, 1, 3, 0, 0, 3.0])
    assert_parity(matrix.get_traces(library.array(mat), [0, 1], 2, True), np.asarray(expected) - shifts)


@pytest.mark.parametrize(
    "make", [lambda: jax.random.PRNGKey(0), lambda: np.random.default_rng(0), lambda: torch.Generator().manual_seed(0)]
)
def test_weights_are_smaller_at_higher_degrees(make):
    counts = matrix.make_dict_irreps_mult([0, 2])
    weights = matrix.init_matrix_irreps_weights(make(), 20, counts, 5, 0.1)
    assert [tuple(w.shape) for w in weights] == [(20, counts.get(l, 0) * 25) for l in range(5)]
    for l, w in enumerate(weights):
        if 0 not in w.shape:
            np.testing.assert_allclose(np.asarray(w).std() * np.sqrt(2 * l + 1), 0.1, rtol=0.1)


def test_bad_input_is_refused(rng):
    irreps = draw_irreps(rng, [0, 1], 1)
    with pytest.raises(ValueError, match=r"expected degrees, all <= max_degree = 1, got \[0, 2\]"):
        matrix.make_square_matrix(irreps, [0, 2], 1, 1)
    with pytest.raises(ValueError, match=r"expected irreps of shape \(3, M\) for degree 1, got \(5, 2\)"):
        matrix.make_square_matrix([irreps[0], np.zeros((5, 2))], [0, 1], 1, 2)
    with pytest.raises(ValueError, match="expected 8 irreps of degree 0, got 2"):
        matrix.make_square_matrix(irreps, [0, 1], 2, 2)
    with pytest.raises(ValueError, match="expected a to be odd, got 2"):
        matrix.make_rectangular_matrix(irreps, [0, 0, 0], 2, 1, so3.clebsch_gordan(1, 1, 2), 1)
    with pytest.raises(ValueError, match=r"expected cg of at least shape \(4, 4, 9\)"):
        matrix.make_rectangular_matrix(irreps, [0, 0, 0], 3, 3, so3.clebsch_gordan(0, 1, 2), 1)
    with pytest.raises(ValueError, match=r"expected a matrix of shape \(..., 4, 4\), got \(3, 3\)"):
        matrix.get_traces(np.eye(3), [0, 1], 1)
    with pytest.raises(ValueError, match=r"expected weights of shape \(2, M\), got \(3, 4\) for degree 0"):
        matrix.combine_irreps(np.zeros((4, 2)), [np.zeros((3, 4))])
    with pytest.raises(ValueError, match=r"expected dict_irreps with at least one degree, got \{\}"):
        matrix.init_matrix_irreps_weights(rng, 1, {}, 1, 1.0)
