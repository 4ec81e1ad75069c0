"""NequIP, a potential of convolutions whose self-connections know the species."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from e3any_backends import Array

from e3any import nn
from e3any.checks import check_count
from e3any.irreps import Irreps
from e3any.models.parts import ELEMENTS, check_settings, check_structure, embedded, scalars_of, species_of

__all__ = ["NequIP"]

_IRREPS = Irreps("64x0+ + 64x1- + 64x2+")


@dataclass(frozen=True)
class NequIP(nn.Layer):
    r"""Energies of atoms from convolutions whose paths are mixed by a matrix, in irreps of O(3).

    Batzner et al., `E(3)-equivariant graph neural networks <https://arxiv.org/abs/2101.03164>`_, 2022. It was made for
    small sets of data of molecules and materials. With ``norm_epsilon`` it is the variant Nequix (Koker et al.,
    `Training a foundation model for materials on a budget <https://arxiv.org/abs/2508.16067>`_, 2025).

    Parameters
    ----------
    elements : sequence of int
        Atomic numbers that the model knows, in the order of rows of its tables. Others have the energy zero.
    irreps : Irreps
        Features of atoms between interactions. The last interaction only has scalars. Pseudoscalars are gated.
    num_interactions : int
        Number of interactions.
    max_degree : int
        Largest degree of harmonics.
    num_radial : int
        Number of Bessel functions, with learned frequencies.
    hidden : sequence of int
        Hidden layers of the networks of the distance.
    readout : int, optional
        Features of a linear map before energies are read; None for energies that are read from scalars.
    cutoff : float
        Where messages end, in the unit of vectors.
    order : int
        The order p of the envelope (:func:`e3any.nn.polynomial_cutoff`).
    num_neighbours : float
        Average number of neighbours; messages are divided by its root.
    species_skip : bool
        Whether self-connections have a kernel for every species (:class:`e3any.nn.SpeciesDense`).
    norm_epsilon : float, optional
        The number epsilon of norms before gates (:class:`e3any.nn.JointRMSNorm`); None for no norms.
    embedding : int, optional
        Number of scalars that species are embedded as; by default as many as ``irreps`` have.
    scale, shift : float or sequence of float
        First values of scale and shift of energies, one or one for each element; see :class:`e3any.nn.ScaleShift`.
    param_dtype : optional
        Dtype that parameters are created with.

    Raises
    ------
    ValueError
        If a number is not positive or an integer where it has to be, elements occur twice, irreps lack scalars, or a
        setting is neither True nor False.
    TypeError
        If elements are not a sequence, a number is none, or a dtype is not a floating-point dtype.
    """

    layouts: ClassVar[tuple[str, ...]] = ()

    elements: Sequence[int] = ELEMENTS
    irreps: Irreps = _IRREPS
    num_interactions: int = 4
    max_degree: int = 2
    num_radial: int = 8
    hidden: Sequence[int] = (64, 64)
    readout: int | None = 16
    cutoff: float = 5.0
    order: int = 6
    num_neighbours: float = 20.0
    species_skip: bool = True
    norm_epsilon: float | None = None
    embedding: int | None = None
    scale: Any = 1.0
    shift: Any = 0.0
    param_dtype: Any = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self)
        if self.readout is not None:
            check_count(self.readout, "readout")
        check_count(self.order, "order")
        if self.norm_epsilon is not None:
            nn.JointRMSNorm(self.norm_epsilon)
        if self.embedding is not None:
            check_count(self.embedding, "embedding")

    def forward(self, p: nn.Parameters, numbers: Array, vectors: Array, **lists: Any) -> Array:
        """Return the energies (..., N) of atoms; arguments and errors are those of :meth:`SevenNet.forward`.

        Parameters
        ----------
        p : Parameters
            Parameters.
        numbers : integer array of shape (..., N)
            Atomic numbers, zero for padding.
        vectors : array of shape (..., E, 3)
            Vectors from receiving to sending atoms.
        **lists
            The list of edges, ``dst_idx`` and ``src_idx``.
        """
        check_structure(numbers, vectors, lists)
        num, dtype = len(self.elements), self.param_dtype
        basis = nn.BesselBasis(self.cutoff, dtype)(
            p / "basis",
            vectors,
            max_degree=self.max_degree,
            num=self.num_radial,
            cutoff_fn=partial(nn.polynomial_cutoff, cutoff=self.cutoff, order=self.order),
            factored=True,
        )
        basis = basis._replace(angular=basis.angular / math.sqrt(self.num_neighbours))
        species = species_of(numbers, self.elements)
        scalars = scalars_of(self.irreps)
        embedding = scalars if self.embedding is None else Irreps({scalars.scalar: self.embedding})
        x = embedded(p / "embed", species, num, embedding, vectors, dtype)
        for i in range(self.num_interactions):
            irreps = self.irreps if i < self.num_interactions - 1 else scalars
            skip = num if self.species_skip else None
            interaction = Interaction(irreps, self.hidden, skip, self.norm_epsilon, dtype)
            x = interaction(p / f"interaction_{i}", x, basis, species, **lists)
        for name, size in (("hidden", self.readout), ("energy", 1)):
            if size is not None:
                x = nn.Dense(size, use_bias=False, param_dtype=dtype)(p / name, x)
        energies = x[scalars.scalar][..., 0, 0]
        return nn.ScaleShift(num, self.scale, self.shift, param_dtype=dtype)(p / "scale", energies, species)


@dataclass(frozen=True)
class Interaction(nn.Layer):
    """Messages from all neighbours, added to a linear map of the atom itself, and gated."""

    irreps: Irreps
    hidden: Sequence[int] = (64, 64)
    num_species: int | None = None
    norm_epsilon: float | None = None
    param_dtype: Any = "float32"

    def forward(self, p: nn.Parameters, x: Any, basis: Any, species: Any, **lists: Any) -> Any:
        """Return features of the irreps that inputs and harmonics couple to."""
        options = {"use_bias": False, "param_dtype": self.param_dtype}
        paths = nn.PathMessagePass(features=self.irreps).paths(Irreps.of(x), basis.max_degree)
        ends = {c for _, _, c in paths}
        irreps = Irreps({name: num for name, num in self.irreps.items() if name in ends})
        wide = irreps.gated()
        message = nn.PathMessagePass(hidden=self.hidden, features=wide, param_dtype=self.param_dtype)
        y = message(p / "message", nn.Dense(Irreps.of(x), **options)(p / "mix", x), basis, **lists)
        if self.num_species is None:
            skip = nn.Dense(wide, **options)(p / "skip", x)
        else:
            skip = nn.SpeciesDense(self.num_species, wide, **options)(p / "skip", x, species)
        y = nn.add(y, skip)
        if self.norm_epsilon is not None:
            norm = nn.JointRMSNorm(self.norm_epsilon, centre=False, use_bias=False, param_dtype=self.param_dtype)
            y = norm(p / "norm", y)
        return nn.gate(y, irreps, nn.silu, nn.silu)
