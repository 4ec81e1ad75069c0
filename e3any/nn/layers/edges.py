"""Dense and sparse lists of edges, as arguments of layers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from e3any_backends import Array, Backend, backend_of

from e3any.checks import check_flag, check_size, floating_backend
from e3any.layout import Layout
from e3any.nn.basis import FactoredBasis
from e3any.ops.index_lists import gather_dst, gather_src, index_kind
from e3any.ops.indexed import check_mask

__all__ = ["Edges"]


@dataclass(frozen=True)
class Edges:
    """Edges from sending to receiving nodes.

    Parameters
    ----------
    backend : Backend
        The backend of the lists and of the features of nodes.
    adj_idx : integer array of shape (..., N, M), optional
        Dense list.
    where : bool array of shape (..., N, M), optional
        Which edges of a dense list count.
    dst_idx, src_idx : integer arrays of shape (..., E), optional
        Sparse list.
    num_segments : int, optional
        Number of receiving nodes, with a sparse list.
    indices_are_sorted : bool
        Promise that ``dst_idx`` is in ascending order.
    """

    backend: Backend
    adj_idx: Array | None
    where: Array | None
    dst_idx: Array | None
    src_idx: Array | None
    num_segments: int | None
    indices_are_sorted: bool

    @classmethod
    def between(
        cls,
        receivers: Array,
        senders: Array,
        *,
        adj_idx: Array | None,
        where: Array | None,
        dst_idx: Array | None,
        src_idx: Array | None,
        num_segments: int | None,
        indices_are_sorted: bool,
    ) -> Edges:
        """Check index lists against the features of nodes, of shape (..., N, P, (L+1)**2, F), and fill in defaults.

        Raises
        ------
        RuntimeError
            If neither or both kinds of index list are given.
        TypeError
            If a list or mask has a wrong type, or half of a sparse list is missing.
        ValueError
            If shapes do not fit, or ``indices_are_sorted`` is neither True nor False.
        """
        kind = index_kind(adj_idx=adj_idx, dst_idx=dst_idx, src_idx=src_idx)
        if indices_are_sorted is not True and indices_are_sorted is not False:
            check_flag(indices_are_sorted, "indices_are_sorted")
        if kind == "sparse" and (dst_idx is None or src_idx is None):
            raise TypeError("expected both dst_idx and src_idx, got only one of them")
        indices: Any = adj_idx if kind == "dense" else dst_idx
        batch = tuple(indices.shape[: -2 if kind == "dense" else -1])
        _check_nodes(receivers, batch)
        if senders is not receivers:
            _check_nodes(senders, batch)
        backend = backend_of(receivers, senders, adj_idx, where, dst_idx, src_idx)
        # PyTorch does not compare unsigned integers.
        if kind == "sparse":
            if num_segments is not None:
                check_size(num_segments, "num_segments")
            num = receivers.shape[-4] if num_segments is None else num_segments
            dst_idx, src_idx = backend.as_index(dst_idx), backend.as_index(src_idx)
            return cls(backend, None, None, dst_idx, src_idx, num, indices_are_sorted)
        if where is not None:
            check_mask(where, tuple(indices.shape))
        return cls(backend, backend.as_index(adj_idx), where, None, None, None, False)

    @property
    def indices(self) -> Any:
        """The array that has one entry for every edge."""
        return self.dst_idx if self.adj_idx is None else self.adj_idx

    def sparse(self) -> Edges:
        """Convert a dense list to a sorted sparse list (..., N M), in which padding has the sender -1."""
        backend, sent = self.backend, self._sent
        xp = backend.xp
        if self.where is not None:
            sent = xp.where(self.where, sent, xp.full_like(sent, -1))
        *batch, num, degree = sent.shape
        numbers = xp.arange(num, dtype=sent.dtype, device=backend.device(sent))
        received = xp.broadcast_to(numbers[:, None], (*batch, num, degree))
        dst_idx, src_idx = (xp.reshape(idx, (*batch, num * degree)) for idx in (received, sent))
        return Edges(backend, None, None, dst_idx, src_idx, num, True)

    def gather_src(self, x: Array) -> Array:
        """Return the values of the sending node of every edge; zero for padding."""
        return gather_src(x, adj_idx=self.adj_idx, src_idx=self.src_idx)

    def gather_dst(self, x: Array) -> Array:
        """Return the values of the receiving node of every edge."""
        return gather_dst(x, adj_idx=self.adj_idx, dst_idx=self.dst_idx)

    def with_own_senders(self, gathered: Array, num_src: int) -> tuple[Array, Edges]:
        """Return one sending node for every edge, and the same edges from these nodes.

        Parameters
        ----------
        gathered : array of shape (*edges, ...)
            Values of the sending node of every edge.
        num_src : int
            Current number of sending nodes.

        Returns
        -------
        senders : array of shape (..., E, ...)
            The values, one node for every edge.
        edges : Edges
            The same edges, from these nodes.
        """
        backend, sent = self.backend, self._sent
        xp = backend.xp
        batch = tuple(sent.shape[: -1 if self.adj_idx is None else -2])
        num_edges = math.prod(sent.shape[len(batch) :])
        numbers = xp.reshape(backend.index(np.arange(num_edges), like=sent), tuple(sent.shape[len(batch) :]))
        numbers = xp.where(_in_range(sent, num_src), numbers, xp.full_like(numbers, num_edges))
        senders = xp.reshape(gathered, (*batch, num_edges, *gathered.shape[sent.ndim :]))
        name = "src_idx" if self.adj_idx is None else "adj_idx"
        return senders, replace(self, **{name: numbers})

    @property
    def _sent(self) -> Any:
        """The sending node of every edge."""
        return self.src_idx if self.adj_idx is None else self.adj_idx

    def reduction(self, num_src: int) -> dict[str, Any]:
        """Return the arguments of a reduction, for example of :func:`e3any.ops.indexed_sum`.

        Edges from nodes outside [0, num_src) are padding.
        """
        present = _in_range(self._sent, num_src)
        if self.adj_idx is not None:
            return {"adj_idx": self.adj_idx, "where": present if self.where is None else self.where & present}
        xp = self.backend.xp
        dst_idx = xp.where(present, self.dst_idx, xp.full_like(self.dst_idx, -1))
        sizes = {"num_segments": self.num_segments, "indices_are_sorted": self.indices_are_sorted}
        return {"dst_idx": dst_idx, **sizes}

    def check_basis(self, basis: Array | FactoredBasis) -> None:
        """Raise an error unless a basis has one entry for every edge."""
        indices: Any = self.dst_idx if self.adj_idx is None else self.adj_idx
        if isinstance(basis, FactoredBasis):
            basis.check(indices)
            shape = basis.radial.shape[:-2]
        else:
            floating_backend(indices, basis=basis)
            if Layout.of(basis, "basis").pseudotensors:
                raise ValueError(f"expected a basis with a parity axis of length 1, got shape {tuple(basis.shape)}")
            shape = basis.shape[:-3]
        if shape != indices.shape:
            found = tuple(shape)
            raise ValueError(f"expected a basis for index lists of shape {tuple(indices.shape)}, got {found}")


def _in_range(indices: Array, num: int) -> Array:
    return (indices >= 0) & (indices < num)


def _check_nodes(inputs: Array, batch: tuple[int, ...]) -> None:
    """Raise a ValueError unless inputs are features of nodes with the leading axes of an index list."""
    if inputs.ndim < 4 or tuple(inputs.shape[:-4]) != batch:
        expected = ", ".join([*map(str, batch), "N", "1 or 2", "(max_degree+1)**2", "features"])
        raise ValueError(f"expected inputs of shape ({expected}) for this index list, got {tuple(inputs.shape)}")
