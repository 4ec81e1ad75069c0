"""Vectors along edges: padding has no length, and no part in any derivative."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from backends_matrix import Library
from e3any_backends import backend_of
from layer_cases import jit, random_parameters, tree_map

from e3any import nn, ops

CUTOFF, NODES = 2.5, 5


def crystal() -> dict[str, np.ndarray]:
    """Return three nodes in a cell, and all neighbours, images included, within a cut-off."""
    positions = np.asarray([(0.0, 0.0, 0.0), (1.1, 0.9, 0.2), (2.0, 0.3, 1.7)])
    cell = np.asarray([(2.9, 0.0, 0.2), (0.3, 3.1, 0.0), (0.0, -0.2, 3.0)])
    edges = []
    for i, j in itertools.product(range(3), repeat=2):
        for shift in itertools.product((-1, 0, 1), repeat=3):
            if 0.0 < np.linalg.norm(positions[j] + shift @ cell - positions[i]) < CUTOFF:
                edges.append((i, j, *shift))
    table = np.asarray(edges)
    return {"positions": positions, "cell": cell, "lists": table[:, :2], "shifts": table[:, 2:]}


def padded(kind: str) -> dict[str, Any]:
    """Return the crystal with nodes and edges that are padding, as arguments of ``energy``."""
    graph = crystal()
    positions = ops.pad_rows(graph["positions"], NODES)
    dst_idx, src_idx = graph["lists"].T
    if kind == "sparse":
        size = len(dst_idx) + 7
        lists = ops.pad_sparse_indices(dst_idx, src_idx, graph["shifts"], num_nodes=NODES, num_edges=size)
        index = dict(zip(("dst_idx", "src_idx"), lists, strict=False))
        return {"positions": positions, "cell": graph["cell"], "shifts": lists[2], "index": index}
    adj_idx = ops.sparse_to_dense_indices(dst_idx, src_idx, 3)
    width = adj_idx.shape[1]
    shifts = np.zeros((3, width, 3), int)
    for i in range(3):
        rows = graph["shifts"][dst_idx == i]
        shifts[i, : len(rows)] = rows
    adj_idx = np.where(adj_idx == 3, NODES, adj_idx)
    adj_idx, shifts = ops.pad_dense_indices(adj_idx, shifts, num_nodes=NODES, width=width + 2)
    where = adj_idx < NODES
    return {"positions": positions, "cell": graph["cell"], "shifts": shifts, "index": {"adj_idx": adj_idx}} | {
        "where": where
    }


def waves(x: Any, num: int) -> Any:
    """Return sin(k x) / x, a user's own radial functions, which have no derivative at zero."""
    xp = backend_of(x).xp
    return xp.stack([xp.sin((k + 1.0) * x) / x for k in range(num)], axis=-1)


LAYER = nn.MessagePass(1, include_pseudotensors=False)


def energy(params: Any, features: Any, positions: Any, strain: Any, graph: dict[str, Any]) -> Any:
    vectors = ops.displacements(positions, graph["cell"], graph["shifts"], strain, **graph["index"])
    basis = nn.basis(vectors, max_degree=1, num=2, radial_fn=waves, factored=True)
    options = {"where": graph["where"]} if "where" in graph else {}
    y = LAYER(params, features, basis, **graph["index"], **options)
    return (y * y)[:3].sum()


def setup(kind: str) -> tuple[Any, Any, Any, dict[str, Any]]:
    rng, graph = np.random.default_rng(0), padded(kind)
    features = ops.pad_rows(rng.normal(size=(3, 1, 4, 16)), NODES)
    shape = graph["shifts"].shape[:-1]
    basis = nn.FactoredBasis(np.ones((*shape, 1, 2)), np.ones((*shape, 4)))
    params = random_parameters(LAYER, rng, (features, basis), graph["index"])
    return params, features, 0.05 * rng.normal(size=(3, 3)), graph


def gradients(library: Library, params: Any, features: Any, strain: Any, graph: dict[str, Any]) -> tuple:
    """Return derivatives by positions, strain and parameters."""
    if library is Library.JAX:
        of = tree_map(jnp.asarray, (params, features, strain, graph))

        def function(positions: Any, strain: Any, params: Any) -> Any:
            return energy(params, of[1], positions, strain, of[3])

        return jit(jax.grad(function, argnums=(0, 1, 2)))(of[3]["positions"], of[2], of[0])
    params, features, strain, graph = tree_map(torch.from_numpy, (params, features, strain, graph))
    positions = graph["positions"]
    tree_map(lambda x: x.requires_grad_(), (positions, strain, params))
    energy(params, features, positions, strain, graph).backward()
    return positions.grad, strain.grad, tree_map(lambda x: x.grad, params)


@pytest.mark.parametrize("kind", ["sparse", "dense"])
@pytest.mark.parametrize("library", [Library.JAX, Library.TORCH])
def test_padding_has_no_part_in_forces_and_stress(kind, library):
    params, features, strain, graph = setup(kind)
    rng = np.random.default_rng(1)
    by_positions, by_strain, by_params = gradients(library, params, features, strain, graph)
    for leaf in (by_positions, by_strain, *jax.tree.leaves(tree_map(library.numpy, by_params))):
        assert np.isfinite(library.numpy(leaf) if library.owns(leaf) else leaf).all()
    by_positions, by_strain = library.numpy(by_positions), library.numpy(by_strain)
    assert not by_positions[3:].any()
    value = partial(energy, params, features, graph=graph)
    for at, gradient in ((0, by_positions), (1, by_strain)):
        along = rng.normal(size=gradient.shape) * (np.arange(len(gradient))[:, None] < 3)
        ends = []
        for sign in (1, -1):
            moved = [graph["positions"], strain]
            moved[at] = moved[at] + sign * 1e-5 * along
            ends.append(float(value(*moved)))
        assert float((gradient * along).sum()) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_padding_changes_no_energy(kind):
    params, features, strain, graph = setup(kind)
    alone = crystal()
    index = dict(zip(("dst_idx", "src_idx"), alone["lists"].T, strict=True))
    expected = energy(params, features[:3], alone["positions"], strain, {**alone, "index": index})
    assert energy(params, features, graph["positions"], strain, graph) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_vectors_of_padding_are_constant_and_have_a_length(kind, library):
    graph = tree_map(library.array, padded(kind))
    vectors = library.numpy(ops.displacements(graph["positions"], graph["cell"], graph["shifts"], **graph["index"]))
    index = [library.numpy(x) for x in graph["index"].values()]
    present = np.all([x < NODES for x in index], axis=0)
    assert (~present).any()
    np.testing.assert_array_equal(vectors[~present], np.broadcast_to([0.5, 0.75, 1.0], (int((~present).sum()), 3)))
    half = ops.displacements(np.ones((2, 3)), dst_idx=np.asarray([0, 2, -1]), src_idx=np.asarray([2, 0, 1]))
    np.testing.assert_array_equal(half, [[0.5, 0.75, 1.0]] * 3)
