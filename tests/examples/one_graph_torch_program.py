"""Run by ``test_several_devices.py`` in two processes: prints what it finds as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "docs" / "examples"))
sys.path.append(str(Path(__file__).parents[1]))

import numpy as np
import one_graph_torch
import torch
from e3any_torch.parallel import exchange, sum_parts
from part_cases import received
from torch import distributed

from e3any.parallel import partition_graph

# Parts of nodes, receivers and senders: rows both ways, one way only, an empty part, fewer nodes than parts, no edges.
GRAPHS = {
    "both": ([0, 1, 0, 1, 1], [0, 1, 2, 3, 3, 4], [1, 0, 1, 2, 2, 4]),
    "one way": ([0, 0, 1, 1], [2, 3, 1], [0, 0, 0]),
    "other way": ([1, 1, 0, 0, 0], [2, 3, 1], [0, 1, 0]),
    "empty part": ([1, 1, 1], [0, 1, 2], [1, 2, 0]),
    "one node": ([0], [0, 0], [0, 0]),
    "no edges": ([0, 1], [], []),
}


def derivatives(exchanging, total, x, weights):
    """Return rows after an exchange, the gradient of a function of them, and that of its squared sum."""
    x = x.clone().requires_grad_()
    y = exchanging(x)
    (gradient,) = torch.autograd.grad((torch.sin(y) * weights).sum(), x, create_graph=True)
    squared = total((gradient**2).sum()) ** 2
    return y.detach(), gradient.detach(), torch.autograd.grad(squared, x)[0]


def difference(parts, dst_idx, src_idx, rank, sent) -> dict:
    """Return how much an exchange and its derivatives differ from gathers in one process, and the bytes of both."""
    partition = partition_graph(*(np.asarray(each, int) for each in (dst_idx, src_idx, parts)), 2)
    halo, rows = partition.part(rank, like=torch.zeros(1))["halo"], received(partition)
    rng = np.random.default_rng(0)
    x, weights = (torch.from_numpy(rng.normal(size=(n, 3))) for n in (len(partition.nodes), rows.size))
    inside, clipped = torch.from_numpy(rows.reshape(-1) >= 0)[:, None], torch.from_numpy(rows.reshape(-1).clip(0))
    expected = derivatives(lambda x: torch.where(inside, x[clipped], 0), lambda x: x, x, weights)
    sent.clear()
    own, of_rank = (torch.chunk(each, 2)[rank] for each in (x, weights))
    # Each process has a half of the square of the sum.
    found = derivatives(lambda x: exchange({"1-": x}, halo)["1-"], lambda x: sum_parts(x) / 2**0.5, own, of_rank)
    errors = [float(abs(f - torch.chunk(e, 2)[rank]).max()) if f.numel() else 0.0 for f, e in zip(found, expected)]
    sends = any(rank == sender for _, pairs in halo.rounds for sender, _ in pairs)
    return {"errors": errors, "bytes": sent[:1], "counted": [halo.size * 24 * sends] if halo.rounds else []}


def main() -> None:
    """Compare the numbers of one and of two processes."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    one_graph_torch.compare()
    sent, send = [], distributed.all_to_all_single

    def counting(output, rows, *sizes, **options):
        sent.append(rows.nbytes)
        return send(output, rows, *sizes, **options)

    distributed.all_to_all_single = counting
    report = {name: difference(*graph, distributed.get_rank(), sent) for name, graph in GRAPHS.items()}
    reports = [None, None]
    distributed.all_gather_object(reports, report)
    if distributed.get_rank() == 0:
        print(json.dumps(reports))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
