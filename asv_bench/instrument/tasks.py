"""The tasks that are measured, as functions of sizes: degree L, parities P, features F."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from e3any import nn, ops, so3

from .frames import InFrames, PathByPath
from .model import NUM_ELEMENTS, Energies, ForceField
from .task import Task

NUM_RADIAL = 8
_SORTED = {"indices_are_sorted": True}


def spherical_harmonics(max_degree: int, points: int = 10_000) -> Task:
    """Spherical harmonics of points."""
    return Task(so3.spherical_harmonics, (_normal(points, 3),), options={"max_degree": max_degree})


def solid_harmonics(max_degree: int, points: int = 10_000) -> Task:
    """Solid harmonics of points."""
    return Task(so3.solid_harmonics, (_normal(points, 3),), options={"max_degree": max_degree})


def wigner_d(max_degree: int, rotations: int = 1_000) -> Task:
    """Wigner's D-matrices of rotations."""
    q, r = np.linalg.qr(np.random.default_rng(0).normal(size=(rotations, 3, 3)))
    q = q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None]
    q[:, :, 0] *= np.linalg.det(q)[:, None]
    return Task(so3.wigner_d, (q.astype(np.float32),), options={"max_degree": max_degree})


def basis(max_degree: int, edges: int = 4_000) -> Task:
    """Radial functions with a cut-off times spherical harmonics."""
    options = {
        "max_degree": max_degree,
        "num": NUM_RADIAL,
        "radial_fn": nn.reciprocal_bernstein,
        "cutoff_fn": partial(nn.smooth_cutoff, cutoff=5.0),
    }
    return Task(nn.basis, (_normal(edges, 3),), options=options)


def activation(max_degree: int, parities: int, features: int, rows: int = 1_024) -> Task:
    """A gated activation: the most used one."""
    return Task(nn.silu, (_features(rows, parities, max_degree, features),))


def dense(max_degree: int, parities: int, features: int, rows: int = 1_024) -> Task:
    """A linear map."""
    return Task(nn.Dense(features), (_features(rows, parities, max_degree, features),))


def tensor(max_degree: int, parities: int, features: int, rows: int = 256) -> Task:
    """All couplings of two features, feature by feature."""
    layer = nn.Tensor(include_pseudotensors=parities == 2)
    return Task(layer, _pair(rows, parities, max_degree, features))


def fused_tensor(max_degree: int, parities: int, features: int, rows: int = 256) -> Task:
    """The product of two features through products of matrices."""
    layer = nn.FusedTensor(include_pseudotensors=parities == 2)
    return Task(layer, _pair(rows, parities, max_degree, features))


def tensor_dense(max_degree: int, parities: int, features: int, rows: int = 256) -> Task:
    """The product of two linear maps of one feature."""
    layer = nn.TensorDense(include_pseudotensors=parities == 2)
    return Task(layer, (_features(rows, parities, max_degree, features),))


def layer(name: str, max_degree: int, parities: int, features: int, rows: int = 1_024) -> Task:
    """A layer that maps features row by row and needs no arguments: a norm, a gate."""
    return Task(getattr(nn, name)(), (_features(rows, parities, max_degree, features),))


def embed(features: int, atoms: int = 1_024) -> Task:
    """Features of elements."""
    return Task(nn.Embed(NUM_ELEMENTS, features), (_elements(atoms),))


def symmetric_contraction(max_degree: int, parities: int, features: int, correlation: int = 3, rows: int = 256) -> Task:
    """Products of up to ``correlation`` factors that end in vectors, with weights for every element."""
    layer = nn.SymmetricContraction(NUM_ELEMENTS, correlation, max_degree=1)
    return Task(layer, (_features(rows, parities, max_degree, features), _elements(rows)))


def message_pass(
    max_degree: int,
    parities: int,
    features: int,
    lists: str = "sparse",
    form: str = "factored",
    edges: int = 4_000,
    neighbours: int = 20,
) -> Task:
    """Messages along edges; lists are "sparse" or "dense", the basis "factored" or not."""
    x, basis, index = _graph(max_degree, parities, features, lists, edges, neighbours)
    layer = nn.MessagePass(include_pseudotensors=parities == 2)
    inputs = x, basis if form == "factored" else basis.array()
    return Task(layer, inputs, index, {"indices_are_sorted": lists == "sparse"})


def edge_messages(max_degree: int, features: int, form: str = "frames", edges: int = 1_000) -> Task:
    """Maps of features of edges: in frames with all orders ("frames") or up to 2 ("orders 2"), or by "couplings"."""
    forms = {"frames": InFrames(features), "orders 2": InFrames(features, 2), "couplings": PathByPath(features)}
    return Task(forms[form], (_features(edges, 1, max_degree, features), _normal(edges, 3)))


def path_message_pass(max_degree: int, parities: int, features: int, edges: int = 4_000, neighbours: int = 20) -> Task:
    """Messages along edges, with weights for every edge and path."""
    x, basis, index = _graph(max_degree, parities, features, "sparse", edges, neighbours)
    return Task(nn.PathMessagePass(include_pseudotensors=parities == 2), (x, basis), index, _SORTED)


def self_attention(max_degree: int, parities: int, features: int, edges: int = 4_000, neighbours: int = 20) -> Task:
    """Attention between nodes, with four heads."""
    x, basis, index = _graph(max_degree, parities, features, "sparse", edges, neighbours)
    return Task(nn.SelfAttention(include_pseudotensors=parities == 2, num_heads=4), (x, basis), index, _SORTED)


def multi_head_attention(max_degree: int, parities: int, features: int, edges: int = 4_000) -> Task:
    """Attention from nodes to others, with four heads."""
    x, basis, index = _graph(max_degree, parities, features, "sparse", edges)
    layer = nn.MultiHeadAttention(include_pseudotensors=parities == 2, num_heads=4)
    return Task(layer, (x, x[::-1].copy(), basis), index, _SORTED)


def energies(molecules: int = 10, atoms: int = 9, features: int = 32, max_degree: int = 2, passes: int = 3) -> Task:
    """Energies of molecules, ethanol in number of atoms."""
    rng = np.random.default_rng(0)
    positions = rng.normal(scale=1.5, size=(molecules * atoms, 3)).astype(np.float32)
    numbers = rng.choice([1, 6, 8], molecules * atoms)
    inside = np.asarray(ops.dense_pairwise_indices(atoms))
    neighbours = (inside + atoms * np.arange(molecules)[:, None, None]).reshape(-1, atoms - 1)
    return Task(Energies(features, max_degree, passes), (positions, numbers), {"adj_idx": neighbours})


def force_field(
    features: int = 64, max_degree: int = 2, passes: int = 2, edges: int = 4_000, neighbours: int = 20
) -> Task:
    """The energy of a large structure."""
    rng, atoms = np.random.default_rng(0), edges // neighbours
    dst, src = np.sort(rng.integers(0, atoms, edges)), rng.integers(0, atoms, edges)
    inputs = _normal(atoms, 3), _elements(atoms), _normal(edges, 3)
    return Task(ForceField(features, max_degree, passes), inputs, {"dst_idx": dst, "src_idx": src})


def _elements(atoms: int) -> Any:
    return np.random.default_rng(0).integers(0, NUM_ELEMENTS, atoms)


def _normal(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def _features(rows: int, parities: int, max_degree: int, features: int) -> Any:
    return _normal(rows, parities, (max_degree + 1) ** 2, features)


def _pair(rows: int, parities: int, max_degree: int, features: int) -> tuple[Any, Any]:
    both = _features(2 * rows, parities, max_degree, features)
    return both[:rows], both[rows:]


def _graph(
    max_degree: int, parities: int, features: int, lists: str, edges: int, neighbours: int = 20
) -> tuple[Any, Any, dict[str, Any]]:
    """Return features of nodes, a factored basis of edges, and index lists."""
    rng, nodes = np.random.default_rng(0), edges // neighbours
    shape = (nodes, neighbours) if lists == "dense" else (edges,)
    index = {"adj_idx": rng.integers(0, nodes, shape)}
    if lists == "sparse":
        index = {"dst_idx": np.sort(rng.integers(0, nodes, shape)), "src_idx": index["adj_idx"]}
    r = rng.normal(size=(*shape, 3)).astype(np.float32)
    basis = nn.basis(r, max_degree=max_degree, num=NUM_RADIAL, radial_fn=nn.reciprocal_bernstein, factored=True)
    return _features(nodes, parities, max_degree, features), basis, index
