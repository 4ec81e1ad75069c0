"""Sums over edges with weights of every edge and path: kernels against the reference, to second derivatives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from e3any_backends import backend_of, kernels
from e3any_backends.kernels import path_map
from e3any_backends.kernels.maps import PathSums

from e3any.nn.layers.irrep_paths import candidates, path_form

# Numbers of features on both sides of a vector, and those of irreps that are not one block.
IRREPS = {
    "parts of a vector": (("0", 2), ("1", 33)),
    "one block": (("0+", 16), ("1-", 16)),
    "full vectors": (("0", 128), ("1", 16), ("2", 2)),
}


def problem(name, num_edges=40, dtype="float64"):
    """Return a form, operands and indices; numbers of padding are not finite."""
    rng, irreps = np.random.default_rng(0), IRREPS[name]
    has_parity = irreps[0][0].endswith("+")
    form = path_form(irreps, candidates(2, has_parity, False), candidates(2, has_parity, True), False)
    src, dst = rng.integers(-1, 7, num_edges), rng.integers(-2, 6, num_edges)
    sizes = (6, form.blocks[-1].x.stop), (num_edges, form.num_harmonics), (num_edges, form.blocks[-1].weights.stop)
    return form, [rng.normal(size=size).astype(dtype) for size in sizes], [src, dst]


def assert_close(found, wanted, tolerance=1e-12):
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(np.asarray(b)).max(initial=1.0))


@pytest.fixture(params=["programs", "tables"])
def programs_and_tables(request, monkeypatch):
    """Let kernels be programs of their own, and one loop over tables."""
    if request.param == "tables":
        monkeypatch.setattr(path_map, "path_program", lambda *_: None)


@pytest.mark.usefixtures("programs_and_tables")
@pytest.mark.parametrize("name", IRREPS)
def test_sums_and_gradients_are_those_of_the_reference(name):
    form, operands, indices = problem(name)
    kernel = PathSums(form.number, 5)
    leaves = [torch.from_numpy(o).requires_grad_() for o in operands]
    value = kernel.reference(backend_of(leaves[0]), leaves, [torch.from_numpy(i) for i in indices])
    g = torch.randn(value.shape, generator=torch.Generator().manual_seed(0), dtype=value.dtype)
    wanted = [value.detach(), *torch.autograd.grad(value, leaves, g)]
    assert_close([kernel.value(operands, indices), *kernel.vjp(operands, indices, g.numpy())], wanted)


def test_padding_has_no_effect_and_no_gradient():
    form, operands, (src, dst) = problem("parts of a vector")
    kernel, padding = PathSums(form.number, 5), (src < 0) | (src >= 6) | (dst < 0) | (dst >= 5)
    wild = [operands[0], *(np.where(padding[:, None], np.nan, o) for o in operands[1:])]
    g = np.ones((5, form.num_sums))
    assert_close([kernel.value(wild, [src, dst])], [kernel.value(operands, [src, dst])], 0)
    for found, wanted in zip(kernel.vjp(wild, [src, dst], g), kernel.vjp(operands, [src, dst], g), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert not wanted[padding].any()


def test_shares_have_the_same_gradients(monkeypatch):
    form, operands, indices = problem("one block", 90)
    kernel, g = PathSums(form.number, 5), np.ones((5, form.num_sums))
    one = [kernel.value(operands, indices), *kernel.vjp(operands, indices, g)]
    monkeypatch.setattr(path_map, "num_shares", lambda *_: 3)
    assert_close([kernel.value(operands, indices), *kernel.vjp(operands, indices, g)], one)


def second_derivatives_of_torch(form, operands, indices):
    backend = backend_of(torch.from_numpy(operands[0]))
    leaves, lists = [torch.from_numpy(o).requires_grad_() for o in operands], [torch.from_numpy(i) for i in indices]
    gradients = torch.autograd.grad(backend.path_sums(*leaves, *lists, 5, form).sin().sum(), leaves, create_graph=True)
    return [*(g.detach() for g in gradients), *torch.autograd.grad(sum((g**2).sum() for g in gradients), leaves)]


def second_derivatives_of_jax(form, operands, indices):
    backend = backend_of(jnp.asarray(operands[0]))
    function = lambda *a: jnp.sum(jnp.sin(backend.path_sums(*a, *map(jnp.asarray, indices), 5, form)))
    gradients = jax.grad(function, (0, 1, 2))
    squares = jax.grad(lambda *a: sum(jnp.sum(g**2) for g in gradients(*a)), (0, 1, 2))
    return jax.jit(lambda *a: (*gradients(*a), *squares(*a)))(*map(jnp.asarray, operands))


def test_second_derivatives_are_those_of_the_reference_in_every_library():
    problems = problem("parts of a vector")
    with kernels.enabled(False):
        wanted = second_derivatives_of_torch(*problems)
    assert_close(second_derivatives_of_torch(*problems), wanted)
    assert_close(second_derivatives_of_jax(*problems), wanted)


def test_batches_are_one_graph():
    form, operands, indices = problem("one block")
    x, angular, weights = map(jnp.asarray, operands)
    sums = lambda x: backend_of(x).path_sums(x, angular, weights, *map(jnp.asarray, indices), 5, form)
    found = jax.jit(jax.vmap(sums))(jnp.stack([x, 2 * x]))
    assert_close([found[1]], [2 * found[0]])
    assert_close([found[0]], [PathSums(form.number, 5).value(operands, indices)])
