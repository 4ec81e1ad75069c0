"""Voigt's and Mandel's notation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from backends_matrix import Library

from e3any.so3 import CartesianTensor, random_rotation, tensor_to_voigt, voigt_to_tensor
from e3any.testing import assert_parity

CONVENTIONS = {"stress": 1.0, "stiffness": 1.0, "strain": 2.0, "compliance": 2.0, "mandel": np.sqrt(2.0)}
PAIRS = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


def symmetric(rng: np.random.Generator, rank: int, *lead: int) -> np.ndarray:
    tensor = CartesianTensor("ij=ji" if rank == 2 else "ijkl=jikl=ijlk")
    return tensor.from_irreps(tensor.to_irreps(rng.normal(size=(*lead, *(3,) * rank))))


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_components_are_those_of_the_definition(rng, convention):
    f = np.asarray([1.0] * 3 + [CONVENTIONS[convention]] * 3)
    x, y = symmetric(rng, 2), symmetric(rng, 4)
    assert_parity(tensor_to_voigt(x, 2, convention), f * np.asarray([x[p] for p in PAIRS]))
    matrix = np.asarray([[y[(*p, *q)] for q in PAIRS] for p in PAIRS])
    assert_parity(tensor_to_voigt(y, 4, convention), f[:, None] * f * matrix)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("rank", [2, 4])
def test_each_function_is_the_inverse_of_the_other(library: Library, compiled, rng, rank, convention):
    x = symmetric(rng, rank, 2, 1)
    v = compiled(lambda x: tensor_to_voigt(x, rank, convention))(library.array(x))
    assert library.owns(v)
    assert tuple(v.shape) == (2, 1, *(6,) * (rank // 2))
    assert_parity(library.numpy(compiled(lambda v: voigt_to_tensor(v, rank, convention))(v)), x)
    w = rng.normal(size=(6,) * (rank // 2))
    assert_parity(tensor_to_voigt(voigt_to_tensor(w, rank, convention), rank, convention), w)


def test_hooke_law_holds_in_voigt_and_mandel_notation(rng):
    stiffness, strain = symmetric(rng, 4), symmetric(rng, 2)
    stress = np.einsum("ijkl,kl->ij", stiffness, strain)
    matrix = tensor_to_voigt(stiffness, 4, "stiffness")
    assert_parity(matrix @ tensor_to_voigt(strain, 2, "strain"), tensor_to_voigt(stress))
    mandel = tensor_to_voigt(stiffness, 4, "mandel") @ tensor_to_voigt(strain, 2, "mandel")
    assert_parity(mandel, tensor_to_voigt(stress, 2, "mandel"))


def test_compliance_is_the_inverse_of_stiffness(rng):
    matrix = np.eye(6) + 0.1 * rng.normal(size=(6, 6))
    stiffness = voigt_to_tensor(matrix, 4, "stiffness")
    compliance = voigt_to_tensor(np.linalg.inv(matrix), 4, "compliance")
    delta = np.eye(3)
    identity = (np.einsum("ik,jl->ijkl", delta, delta) + np.einsum("il,jk->ijkl", delta, delta)) / 2
    assert_parity(np.einsum("ijkl,klmn->ijmn", compliance, stiffness), identity)


def test_mandel_notation_keeps_norms_and_rotates_orthogonally(rng):
    x, rot = symmetric(rng, 2), random_rotation(rng)
    assert_parity(np.linalg.norm(tensor_to_voigt(x, 2, "mandel")), np.linalg.norm(x))
    basis = voigt_to_tensor(np.eye(6), 2, "mandel")
    rotation = tensor_to_voigt(rot.T @ basis @ rot, 2, "mandel")
    assert_parity(rotation @ rotation.T, np.eye(6))


def test_symmetric_part_counts(rng):
    x = rng.normal(size=(3, 3))
    assert_parity(tensor_to_voigt(x), tensor_to_voigt((x + x.T) / 2))


def test_dtype_is_kept(library: Library, compiled):
    for rank in (2, 4):
        x = library.array(np.zeros((0, *(3,) * rank)), "float32")
        v = compiled(lambda x, rank=rank: tensor_to_voigt(x, rank))(x)
        assert v.dtype == compiled(lambda v, rank=rank: voigt_to_tensor(v, rank))(v).dtype == x.dtype
    assert voigt_to_tensor(torch.ones(6, dtype=torch.bfloat16), 2, "mandel").dtype == torch.bfloat16
    assert jax.eval_shape(tensor_to_voigt, jnp.eye(3, dtype=jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.parametrize(("function", "length"), [(tensor_to_voigt, 3), (voigt_to_tensor, 6)])
def test_bad_input_is_refused(library: Library, function, length):
    with pytest.raises(ValueError, match=r"expected x of shape \(\.\.\., [36]"):
        function(library.array(np.ones((length, 4))))
    with pytest.raises(ValueError, match="expected rank to be 2 or 4, got 3"):
        function(library.array(np.ones(length)), 3)
    with pytest.raises(ValueError, match=r"expected a convention of \('stress', .*, got 'voigt'"):
        function(library.array(np.ones((length, length))), convention="voigt")
    with pytest.raises(TypeError, match="expected x to be a floating-point array"):
        function(library.array(np.ones((length, length)), "int32"))
    with pytest.raises(TypeError, match="got list"):
        function([1.0] * length)
