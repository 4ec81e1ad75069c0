"""Partitions of graphs: from their own rows and those received, parts compute the values of the whole graph."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import jax
import numpy as np
import pytest
import torch
from layer_cases import random_parameters
from part_cases import SIZES, exchanged, random_partition

from e3any import nn, ops
from e3any.parallel import partition_graph, partition_nodes


@dataclass(frozen=True)
class Energies(nn.Layer):
    """Energies of nodes by messages and by attention, one after the other."""

    def forward(self, p, x, positions, dst_idx, src_idx, *, exchange=lambda x: x, is_sorted=False):
        lists = {"dst_idx": dst_idx, "src_idx": src_idx}
        vectors = ops.displacements(exchange(positions), **lists)
        basis = nn.basis(vectors, max_degree=1, num=3, radial_fn=nn.reciprocal_bernstein, factored=True)
        lists |= {"num_segments": x.shape[0], "indices_are_sorted": is_sorted}
        x = nn.add(x, nn.MessagePass(1, include_pseudotensors=False)(p / "message", exchange(x), basis, **lists))
        attention = nn.MultiHeadAttention(num_heads=1, max_degree=1, include_pseudotensors=False)
        return nn.add(x, attention(p / "attention", x, exchange(x), basis, **lists))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("growth", [None, 1.3])
def test_parts_compute_what_the_whole_graph_gives(rng, size, growth):
    partition, dst_idx, src_idx = random_partition(rng, *size, growth=growth)
    num_nodes, num_parts, _ = size
    x, positions = rng.normal(size=(num_nodes, 1, 4, 2)), rng.normal(size=(num_nodes, 3))
    layer = Energies()
    params = random_parameters(layer, rng, (np.ones((2, 1, 4, 2)), np.ones((2, 3)), *np.asarray([[0], [1]])), {})
    expected = layer(params, x, positions, dst_idx, src_idx)

    rows = {name: partition.split_nodes(value) for name, value in (("x", x), ("positions", positions))}
    # Parts wait for each other at every exchange, so what they send is computed for all of them at once.
    states = [rows["positions"], rows["x"]]
    found = None
    for step in range(2):
        outputs = []
        for part in range(num_parts):
            own, sent = partition.part(part), iter([exchanged(partition, state)[part] for state in states])
            given = [partition.split_nodes(value, part) for value in (x, positions)]
            edges = own["dst_idx"], own["src_idx"]
            seen = []

            def exchange(y, sent=sent, seen=seen):
                seen.append(y)
                return next(sent)

            if step == 0:
                with pytest.raises(StopIteration):
                    layer(params, *given, *edges, exchange=exchange, is_sorted=True)
                outputs.append(seen[-1])
            else:
                outputs.append(layer(params, *given, *edges, exchange=exchange, is_sorted=True))
        found = np.concatenate(outputs)
        states.append(found)
    np.testing.assert_allclose(partition.join_nodes(found), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_every_node_and_edge_is_in_one_part(rng, size):
    partition, dst_idx, src_idx = random_partition(rng, *size)
    num_nodes, num_parts, num_edges = size
    assert partition.num_parts == num_parts
    assert sorted(partition.nodes[partition.node_mask]) == list(range(num_nodes))
    present = (src_idx >= 0) & (src_idx < num_nodes)
    assert sorted(partition.edges[partition.edges < num_edges]) == list(np.flatnonzero(present))
    x, e = rng.normal(size=(num_nodes, 2)), rng.integers(1, 9, num_edges)
    np.testing.assert_array_equal(partition.join_nodes(partition.split_nodes(x)), x)
    assert not partition.split_nodes(x)[~partition.node_mask].any()
    for part in range(num_parts):
        own = partition.part(part)
        assert (np.diff(own["dst_idx"]) >= 0).all()
        edges = partition.split_edges(np.arange(num_edges) + 1, part) - 1
        nodes = exchanged(partition, partition.split_nodes(np.arange(num_nodes) + 1))[part] - 1
        inside = edges >= 0
        for list_of_part, whole in ((own["dst_idx"], dst_idx), (own["src_idx"], src_idx)):
            np.testing.assert_array_equal(nodes[list_of_part[inside]], whole[edges[inside]])
            assert (list_of_part[~inside] == partition.halo.num_rows + partition.halo.size).all()
        np.testing.assert_array_equal(partition.split_edges(e, part)[inside], e[edges[inside]])


@pytest.mark.parametrize("size", SIZES)
def test_rounds_send_what_is_needed_once(rng, size):
    partition, dst_idx, src_idx = random_partition(rng, *size)
    num_nodes, num_parts, _ = size
    halo, owner = partition.halo, np.zeros(num_nodes + 1, int)
    owner[partition.nodes] = np.repeat(np.arange(num_parts), halo.num_rows)
    needed = {(owner[s], owner[d], s) for d, s in zip(dst_idx, src_idx) if 0 <= s < num_nodes and owner[s] != owner[d]}
    counts = np.zeros((num_parts, num_parts), int)
    for sender, receiver, _ in needed:
        counts[sender, receiver] += 1
    np.testing.assert_array_equal(partition.sent, counts)
    pairs = [pair for _, pairs in halo.rounds for pair in pairs]
    assert sorted(pairs) == sorted(zip(*np.nonzero(counts)))
    for each in halo.rounds:
        assert (
            len({sender for sender, _ in each.pairs})
            == len({receiver for _, receiver in each.pairs})
            == len(each.pairs)
        )
        assert each.size == max(counts[pair] for pair in each.pairs)
    assert halo.size <= sum(max(counts[i, (i + d) % num_parts] for i in range(num_parts)) for d in range(1, num_parts))
    blocks = np.split(halo.rows.reshape(num_parts, -1), np.cumsum([each.size for each in halo.rounds])[:-1], axis=1)
    for block in blocks if halo.rounds else []:
        assert (np.diff(block) > 0).all()  # the promise of e3any_flax.parallel.exchange


def test_sizes_are_those_of_buckets(rng):
    partition, *_ = random_partition(rng, 40, 8, 300, growth=1.3, multiple=4)
    halo = partition.halo
    for size in (halo.num_rows, len(partition.edges) // 8, *(each.size for each in halo.rounds)):
        assert size == ops.bucket_size(size, growth=1.3, multiple=4)


def test_parts_are_compact_and_balanced(rng):
    positions = rng.uniform(size=(101, 3)) * np.asarray([8.0, 1.0, 1.0])
    for num_parts in (1, 2, 3, 7, 8):
        parts = partition_nodes(positions, num_parts)
        assert np.ptp(np.bincount(parts, minlength=num_parts)) <= 2
    slabs = [positions[parts == part, 0] for part in range(8)]
    assert all(slab.max() < after.min() for slab, after in pairwise(slabs))
    weights = np.where(positions[:, 0] < 4, 3.0, 1.0)
    heavy = [weights[partition_nodes(positions, 4, weights) == part].sum() for part in range(4)]
    assert max(heavy) - min(heavy) <= 6
    assert sorted(partition_nodes(np.zeros((3, 3)), 8)) == sorted(set(partition_nodes(np.zeros((3, 3)), 8)))
    assert partition_nodes(np.zeros((0, 3)), 4).shape == (0,)
    short = torch.from_numpy(positions).to(torch.bfloat16)
    np.testing.assert_array_equal(partition_nodes(short, 8), partition_nodes(short.double().numpy(), 8))


def test_values_that_are_wrong_or_unknown_are_refused():
    idx, parts = np.asarray([0, 1]), np.asarray([0, 2])
    with pytest.raises(ValueError, match=r"expected parts in \[0, 2\), got numbers from 0 to 2"):
        partition_graph(idx, idx, parts, 2)
    for wrong in (np.nan, np.inf):
        with pytest.raises(ValueError, match="expected positions that are finite, got"):
            partition_nodes(np.asarray([[0.0, wrong]]), 2)
    for wrong in (np.nan, -1.0):
        with pytest.raises(ValueError, match="expected weights that are finite and >= 0, got"):
            partition_nodes(np.zeros((1, 2)), 2, np.asarray([wrong]))
    with pytest.raises(TypeError, match=r"expected an array whose values are known, got int\w+\[2\] while JAX traces"):
        jax.jit(lambda idx: partition_graph(idx, idx, idx, 2))(idx)


def test_results_are_of_the_library_of_values(library, rng):
    partition, dst_idx, src_idx = random_partition(rng, 12, 3, 40)
    parts = np.zeros(12, int)
    same = partition_graph(*map(library.array, (dst_idx, src_idx, parts)), 3)
    assert type(same.dst_idx) is np.ndarray
    x = rng.normal(size=(12, 2))
    rows = partition.split_nodes(library.array(x))
    assert library.owns(rows)
    np.testing.assert_array_equal(library.numpy(rows), partition.split_nodes(x))
    np.testing.assert_array_equal(library.numpy(partition.join_nodes(rows)), x)
    own = partition.part(1, like=rows)
    assert all(library.owns(array) for array in (own["dst_idx"], own["src_idx"], own["halo"].rows))
    np.testing.assert_array_equal(library.numpy(own["src_idx"]), partition.part(1)["src_idx"])
    assert own["halo"].part == 1
