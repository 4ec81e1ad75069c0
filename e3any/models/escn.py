"""ESCN: messages in frames of edges, as in eSCN and UMA."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from e3any_backends import Array, backend_of

from e3any import Layout, nn, ops
from e3any.checks import check_integer
from e3any.models.parts import check_degrees_and_sizes

__all__ = ["ESCN"]


@dataclass(frozen=True)
class ESCN(nn.Layer):
    """Equivariant spherical channel network, with messages in the frames of edges (Passaro and Zitnick, `Reducing SO(3)
    convolutions to SO(2) <https://arxiv.org/abs/2302.03655>`_, 2023).

    A message rotates both ends of an edge to its frame, mixes them order by order with an activation between two maps,
    and rotates back. Atoms then have a network at every point of a sphere. Norms and residual connections are those of
    eSEN and `UMA <https://arxiv.org/abs/2506.23971>`_.

    Energies do not change with a rotation up to the error of the grid, see :class:`e3any.nn.SphereActivation`.

    Parameters
    ----------
    features : int
        Number of features of every irrep.
    max_degree : int
        Largest degree of features.
    max_order : int
        Largest order that messages have in frames.
    num_interactions : int
        Number of interactions.
    num_radial : int
        Number of radial functions.
    cutoff : float
        Largest length of edges.
    grid_precision : int, optional
        Precision of the grid on the sphere, see :class:`e3any.nn.SphereActivation`.
    num_neighbours : float
        Average number of neighbours, by which sums of messages are divided.
    num_elements : int
        Number of rows of the tables of elements: atomic numbers are less than it.
    scale, shift : float or sequence of float
        First values of the scale and the shift of energies, for all elements or one for each, see
        :class:`e3any.nn.ScaleShift`.

    Raises
    ------
    ValueError
        If a size or a degree is not an integer in its range, or a length is not positive.
    """

    features: int = 32
    max_degree: int = 2
    max_order: int = 2
    num_interactions: int = 2
    num_radial: int = 16
    cutoff: float = 5.0
    grid_precision: int | None = None
    num_neighbours: float = 10.0
    num_elements: int = 119
    scale: Any = 1.0
    shift: Any = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_degrees_and_sizes(self, "max_degree", "max_order")
        if self.grid_precision is not None:
            check_integer(self.grid_precision, "grid_precision")

    def forward(self, p: nn.Parameters, numbers: Array, vectors: Array, **lists: Any) -> Array:
        """Return the energies (..., N) of atoms with numbers (..., N).

        Vectors (..., E, 3) go from receiving to sending atoms; the lists are ``dst_idx`` and ``src_idx`` (..., E), N
        for padding. Or vectors are (..., N, M, 3), and the list is dense, ``adj_idx`` and ``where`` (..., N, M).
        """
        lists = {"num_segments": numbers.shape[-1], **lists}
        x = nn.Embed(self.num_elements, self.features, dtype=vectors.dtype)(p / "embed", numbers)
        edges, envelope = self._edges(p / "edges", numbers, vectors, lists)
        frame = nn.edge_frame(vectors, self.max_degree)
        x = nn.change_max_degree_or_type(x, self.max_degree)
        for i in range(self.num_interactions):
            q = p / f"layer{i}"
            y = _Message(self)(q / "message", nn.JointRMSNorm()(q / "norm0", x), edges, frame, **lists)
            x = x + ops.indexed_sum(y * envelope / self.num_neighbours, **lists)
            points = nn.SphereActivation(_Network(2 * self.features, self.features), self.grid_precision)
            x = x + points(q / "points", nn.JointRMSNorm()(q / "norm1", x))
        scalars = nn.change_max_degree_or_type(nn.JointRMSNorm()(p / "norm", x), 0)
        energies = _Network(self.features, 1)(p / "energy", scalars)[..., 0, 0, 0]
        return nn.ScaleShift(self.num_elements, self.scale, self.shift)(p / "atoms", energies, numbers)

    def _edges(self, p: nn.Parameters, numbers: Array, vectors: Array, lists: dict[str, Any]) -> tuple[Array, Array]:
        """Return scalars of edges, from their lengths and the elements at both ends, and their envelopes."""
        xp = backend_of(vectors).xp
        radial = nn.basis(vectors, max_degree=0, num=self.num_radial, radial_fn=partial(nn.bessel, limit=self.cutoff))
        embed = nn.Embed(self.num_elements, self.features, dtype=vectors.dtype)
        ends = _ends(embed(p / "receiver", numbers), embed(p / "sender", numbers), lists)
        edges = nn.silu(nn.Dense(self.features)(p / "mix", xp.concat([radial, ends], axis=-1)))
        envelope = nn.polynomial_cutoff(ops.norm(vectors, axis=-1), cutoff=self.cutoff)
        return edges, envelope[..., None, None, None]


@dataclass(frozen=True)
class _Network(nn.Layer):
    """Two linear maps with an activation between them, of scalars or of values at points of a sphere."""

    hidden: int
    features: int

    def forward(self, p: nn.Parameters, x: Array) -> Array:
        """Return features of degree 0."""
        return nn.Dense(self.features)(p / "out", nn.silu(nn.Dense(self.hidden)(p / "hidden", x)))


@dataclass(frozen=True)
class _Message(nn.Layer):
    """Features of both ends of edges, mixed in their frames."""

    model: ESCN

    def forward(self, p: nn.Parameters, x: Array, edges: Array, frame: tuple[Array, ...], **lists: Any) -> Array:
        """Return features (..., E, 1, (max_degree+1)**2, features) of edges."""
        model, xp = self.model, backend_of(x).xp
        ends = _ends(x, x, lists)
        first = nn.SO2Dense(model.features, max_order=model.max_order, use_parity=False)
        second = nn.SO2Dense(model.features, max_order=model.max_order, use_parity=False)
        num, size = first.num_scales(Layout.of(ends)), ends.shape[-1]
        scale = nn.Dense(num * size)(p / "scale", edges)
        scale = xp.reshape(scale, (*scale.shape[:-3], num, size))
        y = nn.silu(first(p / "first", nn.to_frame(ends, frame), scale))
        return nn.from_frame(second(p / "second", y), frame)


def _ends(receivers: Array, senders: Array, lists: dict[str, Any]) -> Array:
    """Return features of both ends of edges, one after the other."""
    xp, sent = backend_of(receivers, senders).xp, ops.gather_src(senders, **lists)
    # Along a row of a dense list all edges have the same receiver.
    received = xp.broadcast_to(ops.gather_dst(receivers, **lists), sent.shape)
    return xp.concat([received, sent], axis=-1)
