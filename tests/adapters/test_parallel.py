"""The exchange of rows between parts of a graph: rows that the adapters send, and inputs that they refuse."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import e3any_flax.parallel
import e3any_torch.parallel
import jax
import numpy as np
import pytest
import torch
from jax.sharding import Mesh, PartitionSpec
from part_cases import SIZES, exchanged, random_partition
from torch import distributed

from e3any.parallel import partition_graph


class Processes:
    """Processes of PyTorch that take turns: the first time they only send, the second time they receive."""

    def __init__(self, monkeypatch, num):
        self.num, self.rank, self.sent = num, 0, {}
        functions = {"is_initialized": lambda: True, "get_world_size": lambda group: num}
        functions |= {"get_rank": lambda group: self.rank, "all_to_all_single": self.all_to_all_single}
        for name, function in functions.items():
            monkeypatch.setattr(distributed, name, function)

    def all_to_all_single(self, output, rows, received, sent, group):
        assert (sum(received), sum(sent)) == (len(output), len(rows))
        self.sent.setdefault(self.rank, torch.split(rows, sent))
        blocks = [self.sent[sender][self.rank] for sender in range(self.num) if sender in self.sent]
        if len(self.sent) == self.num:
            assert [len(block) for block in blocks] == received
            output.copy_(torch.cat(blocks))

    def run(self, function):
        """Return the results of all processes."""
        for _ in range(2):
            results = []
            for rank in range(self.num):
                self.rank = rank
                results.append(function(rank))
        return results


@pytest.mark.parametrize("size", SIZES)
def test_processes_of_torch_receive_the_rows_of_others(monkeypatch, rng, size):
    partition, *_ = random_partition(rng, *size)
    x = rng.normal(size=(size[0], 2, 3))
    expected = exchanged(partition, partition.split_nodes(x))
    x = torch.from_numpy(x)

    def exchange(rank):
        halo = partition.part(rank, like=x if rank % 2 else None)["halo"]
        return e3any_torch.parallel.exchange(partition.split_nodes(x, rank), halo)

    for found, rows in zip(Processes(monkeypatch, size[1]).run(exchange), expected):
        np.testing.assert_array_equal(found, rows)


PARTITION = partition_graph(*np.asarray([[0, 1, 2], [1, 2, 0]]), np.asarray([0, 0, 1]), 2)
OWN, HALO = np.zeros((2, 3)), PARTITION.part(0)["halo"]


def test_wrong_exchanges_in_torch_are_refused(monkeypatch):
    x, exchange = torch.from_numpy(OWN), e3any_torch.parallel.exchange
    for call in (lambda: exchange(x, HALO), lambda: e3any_torch.parallel.sum_parts(x)):
        with pytest.raises(ValueError, match=r"expected a process group of torch\.distributed, got none"):
            call()
    processes = Processes(monkeypatch, 2)
    for wrong, halo, message in (
        (OWN, HALO, "expected x to be a tensor, got array"),
        ({"0+": OWN}, HALO, "expected x to be a tensor, got array"),
        (x, {1: x}, "expected halo to be a Halo of a GraphPartition, got"),
        (x[:1], HALO, r"expected x with the 2 rows of one part, got shape \(1, 3\)"),
        (x[0, 0], HALO, r"expected x with the 2 rows of one part, got shape \(\)"),
        (x, PARTITION.halo, r"expected the halo of one part, with 1 rows, got rows of shape \(2,\)"),
        (x, PARTITION.part(1)["halo"], "expected the halo of part 0 in the process of this rank, got that of part 1"),
        (x.to("meta"), PARTITION.part(0, like=x)["halo"], "expected tensors on one device, got"),
        (x, replace(HALO, num_parts=3), "expected a group of as many processes for 3 parts of a graph, got 2"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            exchange(wrong, halo)
    processes.rank = -1
    with pytest.raises(ValueError, match="expected a group that has this process, got 'group'"):
        exchange(x, HALO, "group")
    with pytest.raises(TypeError, match=r"expected x to be a tensor, got 1\.0"):
        e3any_torch.parallel.sum_parts(1.0)


def test_wrong_exchanges_in_jax_are_refused():
    exchange = e3any_flax.parallel.exchange
    mesh = Mesh(np.asarray(jax.devices()[:1]), ("parts",))

    def sharded(x, halo, axis_name="parts"):
        specs = (PartitionSpec("parts"), PartitionSpec("parts"))
        function = partial(exchange, axis_name=axis_name)
        return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=specs[0], check_vma=False)(x, halo)

    whole = partition_graph(*np.asarray([[0, 1, 2], [1, 2, 0]]), np.zeros(3, int), 1)
    np.testing.assert_array_equal(sharded(OWN, replace(whole.halo, num_rows=2)), OWN)
    for wrong, halo, message in (
        (OWN[:1], HALO, r"expected x with the 2 rows of one part, got shape \(1, 3\)"),
        (OWN, PARTITION.halo, r"expected the halo of one part, with 1 rows, got rows of shape \(2,\)"),
        (OWN, HALO, "expected an axis 'parts' of as many devices for 2 parts of a graph, got 1"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            sharded(wrong, halo)
    with pytest.raises(ValueError, match=r"expected the name of an axis of jax\.shard_map, got 'other'"):
        sharded(OWN, HALO, "other")
    with pytest.raises(ValueError, match=r"expected the name of an axis of jax\.shard_map, got 'parts'"):
        exchange(OWN, HALO, "parts")
    with pytest.raises(TypeError, match="expected halo to be a Halo of a GraphPartition, got None"):
        exchange(OWN, None, "parts")
    with pytest.raises(TypeError, match="expected x to be an array of JAX or NumPy, got 'x'"):
        exchange({"0+": "x"}, HALO, "parts")


@pytest.mark.parametrize("axis_name", [None, 1, 2.5, ["parts"]])
def test_axes_that_are_none_are_refused(axis_name):
    with pytest.raises(ValueError, match=r"expected the name of an axis of jax\.shard_map, got"):
        e3any_flax.parallel.exchange(OWN, HALO, axis_name)
