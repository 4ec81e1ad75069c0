"""PaiNN: scalars and vectors of atoms, without tensor products."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from e3any_backends import Array, backend_of

from e3any import nn, ops
from e3any.irreps import Irreps
from e3any.models.parts import check_degrees_and_sizes

__all__ = ["PaiNN"]


@dataclass(frozen=True)
class PaiNN(nn.Layer):
    """The polarizable atom interaction network (Schütt et al., `Equivariant message passing for the prediction of
    tensorial properties <https://arxiv.org/abs/2102.03150>`_, 2021).

    Atoms have scalars and vectors. Messages scale both by functions of the distance and of the neighbour's scalars, and
    add the direction of the edge to the vectors. Updates of an atom use the norms and scalar products of its vectors.

    Parameters
    ----------
    features : int
        Number of scalars, and of vectors, of every atom.
    num_interactions : int
        Number of interactions.
    num_radial : int
        Number of radial functions.
    cutoff : float
        Largest length of edges.
    num_elements : int
        Number of rows of the table of elements: atomic numbers are less than it.
    scale, shift : float or sequence of float
        First values of the scale and the shift of energies, for all elements or one for each, see
        :class:`e3any.nn.ScaleShift`.

    Raises
    ------
    ValueError
        If a size or a degree is not an integer in its range, or a length is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> model = PaiNN(features=8, num_interactions=1)
    >>> water = np.asarray([8, 1, 1]), np.asarray([[0.8, 0.6, 0.0], [-0.8, 0.6, 0.0]])
    >>> edges = {"dst_idx": np.asarray([0, 0]), "src_idx": np.asarray([1, 2])}
    >>> params = nn.layer.initialize(model.parameters(*water, **edges), np.random.default_rng(0))
    >>> model(params, *water, **edges).shape
    (3,)
    """

    features: int = 64
    num_interactions: int = 3
    num_radial: int = 20
    cutoff: float = 5.0
    num_elements: int = 119
    scale: Any = 1.0
    shift: Any = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_degrees_and_sizes(self)

    def forward(self, p: nn.Parameters, numbers: Array, vectors: Array, **lists: Any) -> Array:
        """Return the energies (..., N) of atoms with numbers (..., N).

        Vectors (..., E, 3) go from receiving to sending atoms; the lists are ``dst_idx`` and ``src_idx`` (..., E), N
        for padding. Or vectors are (..., N, M, 3), and the list is dense, ``adj_idx`` and ``where`` (..., N, M).
        """
        xp = backend_of(numbers, vectors).xp
        lists = {"num_segments": numbers.shape[-1], **lists}
        edges = nn.basis(
            vectors,
            max_degree=1,
            num=self.num_radial,
            radial_fn=partial(nn.bessel, limit=self.cutoff),
            cutoff_fn=partial(nn.cosine_cutoff, cutoff=self.cutoff),
            factored=True,
        )
        scalars = Irreps({"0+": self.features})
        x = nn.Embed(self.num_elements, scalars, dtype=vectors.dtype)(p / "embed", numbers)
        x["1-"] = xp.zeros_like(xp.concat([x["0+"]] * 3, axis=-2))
        for i in range(self.num_interactions):
            y = _Message(self.features)(p / f"message{i}", x, edges, **lists)
            x = {name: x[name] + y[name] for name in x}
            y = _Update(self.features)(p / f"update{i}", x)
            x = {name: x[name] + y[name] for name in x}
        energies = _Network(self.features, 1)(p / "energy", x["0+"])[..., 0, 0]
        return nn.ScaleShift(self.num_elements, self.scale, self.shift)(p / "atoms", energies, numbers)


@dataclass(frozen=True)
class _Network(nn.Layer):
    """Two linear maps of scalars with an activation between them."""

    hidden: int
    features: int

    def forward(self, p: nn.Parameters, x: Array) -> Array:
        """Return scalars (..., 1, features)."""
        y = nn.silu(nn.Dense(self.hidden)(p / "hidden", {"0+": x}))
        return nn.Dense(self.features)(p / "out", y)["0+"]


@dataclass(frozen=True)
class _Message(nn.Layer):
    """Sums over neighbours of scaled scalars, scaled vectors, and scaled directions of edges."""

    features: int

    def forward(self, p: nn.Parameters, x: dict[str, Array], edges: nn.FactoredBasis, **lists: Any) -> dict[str, Array]:
        """Return scalars and vectors."""
        weights = _Network(self.features, 3 * self.features)(p / "network", x["0+"])
        # Radial functions vanish at the cut-off, so a filter has no bias.
        filters = nn.Dense(3 * self.features, use_bias=False)(p / "filter", {"0+": edges.radial})["0+"]
        filters = filters * ops.gather_src(weights, **lists)
        scalars, along, scales = _thirds(filters)
        vectors = scales * ops.gather_src(x["1-"], **lists) + along * edges.angular[..., 1:, None]
        return {name: ops.indexed_sum(y, **lists) for name, y in (("0+", scalars), ("1-", vectors))}


@dataclass(frozen=True)
class _Update(nn.Layer):
    """Scalars from norms and scalar products of vectors, and vectors scaled by scalars."""

    features: int

    def forward(self, p: nn.Parameters, x: dict[str, Array]) -> dict[str, Array]:
        """Return scalars and vectors."""
        xp = backend_of(x["0+"]).xp
        mixed = nn.Dense(2 * self.features, use_bias=False)(p / "mix", {"1-": x["1-"]})["1-"]
        u, v = mixed[..., : self.features], mixed[..., self.features :]
        norms = ops.norm(v, axis=-2, keepdims=True)
        network = _Network(self.features, 3 * self.features)
        weights = network(p / "network", xp.concat([x["0+"], norms], axis=-1))
        scalars, products, vectors = _thirds(weights)
        return {"0+": scalars + products * xp.sum(u * v, axis=-2, keepdims=True), "1-": vectors * u}


def _thirds(x: Array) -> tuple[Array, Array, Array]:
    """Split features into three equal parts."""
    size = x.shape[-1] // 3
    return x[..., :size], x[..., size : 2 * size], x[..., 2 * size :]
