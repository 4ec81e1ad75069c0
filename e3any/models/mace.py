"""MACE: messages whose products reach terms of several atoms, so that two layers are enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from e3any_backends import Array, backend_of
from numpy.typing import NDArray

from e3any import Layout, nn, ops
from e3any.checks import check_counts
from e3any.models.parts import check_degrees_and_sizes

__all__ = ["MACE"]


@dataclass(frozen=True)
class MACE(nn.Layer):
    """Higher order message passing (Batatia et al., `MACE <https://arxiv.org/abs/2206.07697>`_, 2022).

    Messages are summed over neighbours, and a symmetric contraction with weights for every element couples up to
    ``correlation`` copies of the sum, which are terms of ``correlation`` + 1 atoms. The last layer has scalars only.
    :func:`e3any.interop.mace_model` converts models of the package ``mace-torch``.

    Parameters
    ----------
    features : int
        Number of features of every irrep.
    max_degree : int
        Largest degree of harmonics and messages.
    hidden_degree : int
        Largest degree of features between layers.
    correlation : int
        Largest number of copies that are coupled.
    num_interactions : int
        Number of interactions.
    num_radial : int
        Number of radial functions.
    cutoff : float
        Largest length of edges.
    cutoff_order : int
        Order of :func:`e3any.nn.polynomial_cutoff`.
    hidden : sequence of int
        Sizes of the hidden layers of the radial networks.
    readout : int
        Number of hidden features of the last readout.
    num_neighbours : float
        Average number of neighbours, by which sums of messages are divided.
    density : bool
        Whether sums of messages are divided by one plus a learned density of neighbours instead.
    residual : bool
        Whether the first layer adds features of the atom itself to its result, as the others do. If not, its messages
        are mapped by a kernel for every element.
    num_elements : int
        Number of rows of the tables of elements: atomic numbers are less than it.
    scale, shift : float or sequence of float
        First values of the scale and the shift of energies, for all elements or one for each, see
        :class:`e3any.nn.ScaleShift`.
    radii : sequence of float, optional
        Covalent radii by atomic number, such as ``ase.data.covalent_radii``, for the next two.
    repulsion : bool
        Whether atoms repel each other within the sum of their radii (Ziegler, Biersack and Littmark, see
        :func:`e3any.nn.zbl_repulsion`).
    agnesi : bool
        Whether radial functions are those of Agnesi's function of the distance over the mean of the radii (Witt et al.,
        `ACEpotentials.jl <https://arxiv.org/abs/2309.03161>`_, 2023).
    use_parity : bool, optional
        Whether features are irreps of O(3), see :class:`e3any.nn.Tensor`; by default the setting of
        :class:`e3any.Config`. False is the option ``use_so3`` of ``mace-torch``.

    Raises
    ------
    ValueError
        If a size or a degree is not an integer in its range, a length is not positive, radii are missing, or a setting
        is neither True nor False.
    """

    features: int = 64
    max_degree: int = 3
    hidden_degree: int = 1
    correlation: int = 3
    num_interactions: int = 2
    num_radial: int = 8
    cutoff: float = 5.0
    cutoff_order: int = 5
    hidden: Sequence[int] = (64, 64, 64)
    readout: int = 16
    num_neighbours: float = 10.0
    density: bool = False
    residual: bool = True
    num_elements: int = 119
    scale: Any = 1.0
    shift: Any = 0.0
    radii: Sequence[float] | None = None
    repulsion: bool = False
    agnesi: bool = False
    use_parity: bool | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_degrees_and_sizes(self, "max_degree", "hidden_degree", sizes=("correlation", "cutoff_order", "readout"))
        check_counts(self.hidden, "hidden")
        if self.radii is None and (self.repulsion or self.agnesi):
            raise ValueError("expected radii with repulsion or agnesi, got None")

    def forward(self, p: nn.Parameters, numbers: Array, vectors: Array, **lists: Any) -> Array:
        """Return the energies (..., N) of atoms with numbers (..., N).

        Vectors (..., E, 3) go from receiving to sending atoms; the lists are ``dst_idx`` and ``src_idx`` (..., E), N
        for padding. Or vectors are (..., N, M, 3), and the list is dense, ``adj_idx`` and ``where`` (..., N, M).
        """
        lists = {"num_segments": numbers.shape[-1], **lists}
        edges = self._edges(p / "radial", numbers, vectors, lists)
        x = nn.Embed(self.num_elements, self.features, dtype=vectors.dtype)(p / "embed", numbers)
        energies = self._repulsion(numbers, vectors, lists) if self.repulsion else 0.0
        for i in range(self.num_interactions):
            is_last = i == self.num_interactions - 1
            degree = 0 if is_last else self.hidden_degree
            x = _Interaction(self, degree, self.residual or i > 0)(p / f"layer{i}", x, numbers, edges, **lists)
            y = nn.change_max_degree_or_type(x, max_degree=0)
            if is_last:
                y = nn.silu(nn.Dense(self.readout, use_bias=False)(p / "readout", y))
            energies = energies + nn.Dense(1, use_bias=False)(p / f"energy{i}", y)[..., 0, 0, 0]
        return nn.ScaleShift(self.num_elements, self.scale, self.shift)(p / "atoms", energies, numbers)

    def message(self) -> nn.PathMessagePass:
        """Return the layer that passes messages."""
        return nn.PathMessagePass(
            self.max_degree,
            self.hidden,
            include_pseudotensors=False,
            features=self.features,
            use_parity=self.use_parity,
        )

    def _edges(self, p: nn.Parameters, numbers: Array, vectors: Array, lists: dict[str, Any]) -> nn.FactoredBasis:
        """Return radial functions and harmonics of edges."""
        envelope = nn.polynomial_cutoff(ops.norm(vectors, axis=-1), cutoff=self.cutoff, order=self.cutoff_order)
        if self.agnesi:  # another length, and the same direction
            distances = _distances(vectors)
            x = 2.0 * distances / self._bonds(numbers, vectors, lists)
            transformed = 1.0 / (1.0 + 1.0805 * x**0.9183 / (1.0 + x ** (0.9183 - 4.5791)))
            vectors = vectors * (transformed / distances)[..., None]
        options = {"max_degree": self.max_degree, "num": self.num_radial, "factored": True}
        basis: nn.FactoredBasis = nn.BesselBasis(self.cutoff)(p, vectors, cutoff_fn=lambda _: envelope, **options)
        return basis

    def _repulsion(self, numbers: Array, vectors: Array, lists: dict[str, Any]) -> Array:
        """Return half of the repulsion of every pair, summed over neighbours."""
        xp, r = backend_of(vectors).xp, _distances(vectors)
        z1, z2 = (xp.astype(gather(numbers, **lists), r.dtype) for gather in (ops.gather_dst, ops.gather_src))
        # The constants of mace-torch, which are not those of nn.zbl_repulsion.
        x = r * (z1**0.3 + z2**0.3) / (0.4543 * 0.529)
        terms = ((0.1818, 3.2), (0.5099, 0.9423), (0.2802, 0.4028), (0.02817, 0.2016))
        screening = sum(factor * xp.exp(-exponent * x) for factor, exponent in terms)
        envelope = nn.polynomial_cutoff(r, self._bonds(numbers, vectors, lists), order=self.cutoff_order)
        return 0.5 * ops.indexed_sum(14.3996 * z1 * z2 / r * screening * envelope, **lists)

    def _bonds(self, numbers: Array, vectors: Array, lists: dict[str, Any]) -> Array:
        """Return the sum of the radii at both ends of edges."""
        backend = backend_of(vectors)
        radii = backend.table(_radii, tuple(self.radii or ()), like=vectors)
        ends = [gather(numbers, **lists) for gather in (ops.gather_dst, ops.gather_src)]
        first, second = (backend.xp.reshape(backend.take(radii, backend.xp.reshape(z, (-1,))), z.shape) for z in ends)
        return first + second


@dataclass(frozen=True)
class _Interaction(nn.Layer):
    """Messages from neighbours, their symmetric contraction, and a skip connection."""

    model: MACE
    degree: int
    residual: bool

    def forward(self, p: nn.Parameters, x: Array, numbers: Array, edges: nn.FactoredBasis, **lists: Any) -> Array:
        """Return features (..., N, 1, (degree+1)**2, features)."""
        model, of = self.model, self.model.num_elements
        kept = nn.change_max_degree_or_type(x, max_degree=min(self.degree, Layout.of(x).max_degree))
        x = nn.Dense(model.features, use_bias=False)(p / "up", x)
        x = model.message()(p / "message", x, edges, **lists) / self._neighbors(p, edges, lists)
        if not self.residual:
            x = nn.SpeciesDense(of, model.features, use_bias=False)(p / "species", x, numbers)
        product = nn.SymmetricContraction(of, model.correlation, self.degree, use_parity=model.use_parity)
        x = nn.Dense(model.features, use_bias=False)(p / "mix", product(p / "product", x, numbers))
        if not self.residual:
            return x
        return nn.add(x, nn.SpeciesDense(of, model.features, use_bias=False)(p / "species", kept, numbers))

    def _neighbors(self, p: nn.Parameters, edges: nn.FactoredBasis, lists: dict[str, Any]) -> Any:
        """Return the number of neighbours, or one plus their density."""
        if not self.model.density:
            return self.model.num_neighbours
        xp = backend_of(edges.radial).xp
        density = nn.Dense(1, use_bias=False)(p / "density", edges.radial[..., None, :, :])
        return 1.0 + ops.indexed_sum(xp.tanh(density * density), **lists)


def _distances(vectors: Array) -> Array:
    """Return lengths of at least 1e-3, so that derivatives of padding are finite."""
    xp, distances = backend_of(vectors).xp, ops.norm(vectors, axis=-1)
    return xp.where(distances < 1e-3, xp.full_like(distances, 1e-3), distances)


def _radii(radii: tuple[float, ...]) -> NDArray[np.float64]:
    # An envelope of width zero has no derivatives.
    return np.asarray([radius or 1.0 for radius in radii])
