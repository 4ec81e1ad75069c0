"""One graph over several devices or processes: nodes in parts, and the rows of features that parts exchange.

Tables are of NumPy and made once for a graph. ``e3any_flax.parallel`` and ``e3any_torch.parallel`` have the exchange.
"""

from e3any.parallel.bisection import partition_nodes
from e3any.parallel.halo import Halo
from e3any.parallel.partition import GraphPartition, partition_graph

__all__ = ["GraphPartition", "Halo", "partition_graph", "partition_nodes"]
