"""Cartesian tensors of any rank and symmetry of indices."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from backends_matrix import Library

from e3any.config import Config
from e3any.conventions import degree_slice
from e3any.layout import Layout
from e3any.so3 import CartesianTensor, Irrep, random_rotation, tensor_to_irreps, wigner_d
from e3any.testing import assert_parity

# The irreps, and what is added up to make a random tensor symmetric: permutations of axes with signs.
SYMMETRIES = {
    "i": ("1-", [(1, (0,))]),
    "ij": ("0+ 1+ 2+", [(1, (0, 1))]),
    "ij=ji": ("0+ 2+", [(1, (0, 1)), (1, (1, 0))]),
    "ij=-ji": ("1+", [(1, (0, 1)), (-1, (1, 0))]),
    "ijk=ikj": ("2x1- 2- 3-", [(1, (0, 1, 2)), (1, (0, 2, 1))]),
    "ijk=-jik=-ikj": (
        "0-",
        [(1, (0, 1, 2)), (1, (1, 2, 0)), (1, (2, 0, 1)), (-1, (1, 0, 2)), (-1, (0, 2, 1)), (-1, (2, 1, 0))],
    ),
    "ijkl=jikl=ijlk=klij": (
        "2x0+ 2x2+ 4+",
        [(1, (*p, *q)) for a, b in (((0, 1), (2, 3)), ((2, 3), (0, 1))) for p in (a, a[::-1]) for q in (b, b[::-1])],
    ),
    "ijkl": ("3x0+ 6x1+ 6x2+ 3x3+ 4+", [(1, (0, 1, 2, 3))]),
}


@pytest.fixture(params=list(SYMMETRIES))
def symmetry(request):
    return request.param


def irreps_of(text: str) -> tuple[Irrep, ...]:
    irreps = []
    for term in text.split():
        multiplicity, _, name = term.rpartition("x")
        irreps.append(Irrep(int(name[:-1]), name[-1], int(multiplicity or 1)))
    return tuple(irreps)


def random_tensor(rng: np.random.Generator, symmetry: str, *lead: int) -> np.ndarray:
    """Draw tensors of a symmetry."""
    terms = SYMMETRIES[symmetry][1]
    x = rng.normal(size=(*lead, *(3,) * len(terms[0][1])))
    n = len(lead)
    return sum(sign * np.transpose(x, (*range(n), *(n + axis for axis in axes))) for sign, axes in terms)


def rotated(x: np.ndarray, rot: np.ndarray, rank: int) -> np.ndarray:
    """Multiply every index, as a row vector, by a rotation."""
    for _ in range(rank):
        x = np.moveaxis(x, -rank, -1) @ rot
    return x


def test_irreps_are_those_of_the_literature(symmetry):
    tensor = CartesianTensor(symmetry)
    assert tensor.irreps == irreps_of(SYMMETRIES[symmetry][0])
    assert tensor.rank == symmetry.find("=") % (len(symmetry) + 1)
    assert tensor.num_components == sum(n * (2 * l + 1) for l, _, n in tensor.irreps)


def test_pseudotensors_have_the_other_parity():
    assert CartesianTensor("ij", pseudotensor=True).irreps == irreps_of("0- 1- 2-")
    assert CartesianTensor("i", pseudotensor=True).layout == Layout(1, 1, pseudotensors=True)


def test_tensors_are_sums_of_their_irreps_and_norms_are_kept(rng, symmetry):
    tensor, x = CartesianTensor(symmetry), random_tensor(rng, symmetry, 2)
    blocks = tensor.to_irreps(x)
    assert [block.shape for block in blocks] == [(2, 2 * l + 1, n) for l, _, n in tensor.irreps]
    assert_parity(tensor.from_irreps(blocks), x)
    norms = sum(np.sum(block**2, axis=(1, 2)) for block in blocks)
    assert_parity(norms, np.sum(x.reshape(2, -1) ** 2, axis=1))


def test_irreps_give_tensors_of_the_symmetry_and_come_again(rng, symmetry):
    tensor = CartesianTensor(symmetry)
    blocks = [rng.normal(size=(2, 2 * l + 1, n)) for l, _, n in tensor.irreps]
    x = tensor.from_irreps(blocks)
    for sign, axes in SYMMETRIES[symmetry][1]:
        assert_parity(sign * np.transpose(x, (0, *(1 + axis for axis in axes))), x)
    assert_parity(tensor.to_irreps(x), blocks)


@pytest.mark.parametrize("cartesian_order", [True, False])
def test_rotating_the_tensor_rotates_its_irreps(rng, symmetry, cartesian_order):
    tensor, x, rot = CartesianTensor(symmetry), random_tensor(rng, symmetry), random_rotation(rng)
    d = wigner_d(rot, tensor.layout.max_degree, cartesian_order)
    actual = tensor.to_irreps(rotated(x, rot, tensor.rank), cartesian_order)
    for (l, _, _), before, after in zip(tensor.irreps, tensor.to_irreps(x, cartesian_order), actual):
        assert_parity(after, d[degree_slice(l), degree_slice(l)].T @ before)


def test_parts_of_matrices_are_trace_cross_product_and_traceless_part(rng):
    x = rng.normal(size=(3, 3))
    scalar, pseudovector, other = CartesianTensor("ij").to_irreps(x)
    assert_parity(scalar[:, 0], np.asarray([np.trace(x) / np.sqrt(3)]))
    axial = np.asarray([x[1, 2] - x[2, 1], x[2, 0] - x[0, 2], x[0, 1] - x[1, 0]])
    assert_parity(pseudovector[:, 0], axial / np.sqrt(2))
    symmetric = (x + x.T) / 2 - np.trace(x) / 3 * np.eye(3)
    assert_parity(other[:, 0], tensor_to_irreps(symmetric, 2) * np.sqrt(2 / 3))


def test_copies_of_elastic_constants_are_fixed(rng):
    elastic = CartesianTensor("ijkl=jikl=klij")
    delta = np.eye(3)
    scalars = [np.eye(2)[k][None] for k in range(2)]
    zeros = [np.zeros((5, 2)), np.zeros((9, 1))]
    first, second = (elastic.from_irreps([scalar, *zeros]) for scalar in scalars)
    volumetric = np.einsum("ij,kl->ijkl", delta, delta)
    identity = (np.einsum("ik,jl->ijkl", delta, delta) + np.einsum("il,jk->ijkl", delta, delta)) / 2
    assert_parity(first, volumetric / 3)
    assert_parity(second, (identity - volumetric / 3) / np.sqrt(5))


def test_equations_that_generate_the_same_symmetry_give_the_same_numbers(rng):
    x = rng.normal(size=(3, 3, 3, 3))
    first, second = (CartesianTensor(s).to_irreps(x) for s in ("ijkl=jikl=klij", " abcd = bacd = abdc = cdab "))
    assert_parity(first, second)


def test_part_of_less_symmetry_is_left_out(rng):
    x = rng.normal(size=(3, 3))
    for symmetry, part in (("ij=ji", (x + x.T) / 2), ("ij=-ji", (x - x.T) / 2)):
        tensor = CartesianTensor(symmetry)
        assert_parity(tensor.from_irreps(tensor.to_irreps(x)), part)


def test_high_ranks_are_complete_and_orthonormal(rng):
    x = rng.normal(size=(3,) * 6)
    tensor = CartesianTensor("ijklmn")
    assert tensor.irreps == irreps_of("15x0+ 36x1+ 40x2+ 29x3+ 15x4+ 5x5+ 6+")
    assert_parity(tensor.from_irreps(tensor.to_irreps(x)), x)
    symmetric = CartesianTensor("ijklmn=jiklmn=jklmni")
    assert symmetric.irreps == irreps_of("0+ 2+ 4+ 6+")


class TestFeatures:
    def test_features_hold_all_irreps_and_give_the_tensor_again(self, rng, symmetry):
        tensor, x = CartesianTensor(symmetry), random_tensor(rng, symmetry, 2, 1)
        features = tensor.to_features(x)
        assert Layout.of(features) == tensor.layout
        assert_parity(tensor.from_features(features), x)
        assert_parity(np.sum(features**2), np.sum(x**2))

    def test_irreps_lie_where_layers_expect_them(self, rng):
        x = rng.normal(size=(3, 3))
        tensor = CartesianTensor("ij")
        assert tensor.layout == Layout(max_degree=2, features=1, pseudotensors=True)
        for (l, _, _), block in zip(tensor.irreps, tensor.to_irreps(x)):
            assert_parity(tensor.to_features(x)[0, degree_slice(l)], block)
        assert not tensor.to_features(x)[1].any()
        assert CartesianTensor("ij=ji").layout == Layout(max_degree=2, features=1)

    def test_features_of_larger_layouts_are_read(self, rng):
        tensor = CartesianTensor("ijkl=jikl=klij")
        features = rng.normal(size=(2, 2, 36, 2))
        assert_parity(tensor.from_features(features), tensor.from_features(features[:, :1, :25]))

    def test_features_that_lack_something_are_refused(self, library: Library):
        with pytest.raises(ValueError, match=r"expected features that hold Layout\(max_degree=2, .*got Layout"):
            CartesianTensor("ij=ji").from_features(library.array(np.zeros((1, 4, 1))))
        with pytest.raises(ValueError, match="expected features that hold Layout"):
            CartesianTensor("ij").from_features(library.array(np.zeros((1, 9, 1))))
        with pytest.raises(ValueError, match="expected 1 channels for 'ij=ji', got 2"):
            CartesianTensor("ij=ji").from_features(library.array(np.zeros((1, 9, 2))))
        with pytest.raises(ValueError, match="expected features of shape"):
            CartesianTensor("ij=ji").from_features(library.array(np.zeros((9, 1))))


@pytest.mark.parametrize("cartesian_order", [True, False])
def test_numbers_are_the_same_in_all_libraries(library: Library, compiled, rng, cartesian_order):
    tensor = CartesianTensor("ijk=ikj")
    x = random_tensor(rng, "ijk=ikj", 2)
    both = compiled(lambda x: (tensor.to_irreps(x, cartesian_order), tensor.to_features(x, cartesian_order)))
    blocks, features = both(library.array(x))
    assert_parity([library.numpy(b) for b in blocks], tensor.to_irreps(x, cartesian_order))
    assert_parity(library.numpy(features), tensor.to_features(x, cartesian_order))
    inverse = compiled(lambda f: tensor.from_features(f, cartesian_order))(features)
    assert library.owns(inverse)
    assert_parity(library.numpy(inverse), x)


def test_dtype_is_kept(library: Library, compiled):
    tensor = CartesianTensor("ij=ji")
    for dtype in ("float32", "float64"):
        x = library.array(np.eye(3), dtype)
        features = compiled(tensor.to_features)(x)
        assert features.dtype == compiled(tensor.from_features)(features).dtype == x.dtype
    assert tensor.from_features(tensor.to_features(torch.eye(3, dtype=torch.bfloat16))).dtype == torch.bfloat16
    assert jax.eval_shape(tensor.to_features, jnp.eye(3, dtype=jnp.bfloat16)).dtype == jnp.bfloat16


def test_default_order_is_that_of_the_settings(rng):
    tensor, x = CartesianTensor("ij"), rng.normal(size=(3, 3))
    with Config.use(cartesian_order=False):
        assert_parity(tensor.to_features(x), tensor.to_features(x, cartesian_order=False))
        assert_parity(tensor.from_features(tensor.to_features(x)), x)


@pytest.mark.parametrize("symmetry", ["", "ij=jk", "ii", "ij=j", "ij=jij", "-ij", "ij==ji", "ij=--ji", "i1", 3])
def test_what_is_no_symmetry_is_refused(symmetry):
    with pytest.raises(ValueError, match="expected a symmetry such as 'ij=ji'"):
        CartesianTensor(symmetry)


def test_symmetries_of_zero_alone_are_refused():
    for symmetry in ("ij=ji=-ji", "i=-i", "ijkl=-jikl=-ikjl=-ijlk"):
        with pytest.raises(ValueError, match="which makes it zero"):
            CartesianTensor(symmetry)


def test_tensors_cannot_be_changed_and_are_keys():
    tensor = CartesianTensor("ij=ji")
    with pytest.raises(dataclasses.FrozenInstanceError):
        tensor.symmetry = "ij"
    assert {tensor: 1}[CartesianTensor("ij=ji")] == 1


def test_arrays_of_other_shapes_are_refused(library: Library):
    tensor = CartesianTensor("ij=ji")
    with pytest.raises(ValueError, match=r"expected x of shape \(\.\.\., 3, 3\), got \(3,\)"):
        tensor.to_irreps(library.array(np.ones(3)))
    with pytest.raises(TypeError, match="expected x to be a floating-point array"):
        tensor.to_irreps(library.array(np.eye(3), "int32"))
    with pytest.raises(TypeError, match="got list"):
        tensor.to_features([[1.0]])
    with pytest.raises(ValueError, match="expected 2 arrays, for "):
        tensor.from_irreps([library.array(np.ones((1, 1)))])
    with pytest.raises(ValueError, match=r"expected shape \(5, 1\) for degree 2, got \(5,\)"):
        tensor.from_irreps([library.array(np.ones((1, 1))), library.array(np.ones(5))])
