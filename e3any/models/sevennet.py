"""SevenNet, a potential for all elements whose irreps have numbers of features of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from e3any_backends import Array

from e3any import nn
from e3any.checks import check_integer, check_number
from e3any.irreps import Irreps
from e3any.models.parts import ELEMENTS, check_settings, check_structure, embedded, scalars_of, species_of

__all__ = ["SevenNet"]

_IRREPS = Irreps("128x0 + 64x1 + 32x2")


@dataclass(frozen=True)
class SevenNet(nn.Layer):
    r"""Energies of atoms from convolutions whose paths are mixed by a matrix, in irreps of SO(3).

    Park et al., `Scalable parallel algorithm for graph neural network interatomic potentials
    <https://doi.org/10.1021/acs.jctc.4c00190>`_, 2024. With the default sizes and the 89 elements of its training data
    it is SevenNet-0, whose weights ``docs/examples/pretrained.py`` reads.

    Parameters
    ----------
    elements : sequence of int
        Atomic numbers that the model knows, in the order of rows of its tables. Others have the energy zero.
    irreps : Irreps
        Features of atoms between interactions. The last interaction only has scalars.
    num_interactions : int
        Number of interactions.
    max_degree : int
        Largest degree of harmonics.
    num_radial : int
        Number of Bessel functions, with learned frequencies.
    hidden : sequence of int
        Hidden layers of the networks of the distance.
    readout : int
        Features of the linear map from which energies are read.
    cutoff : float
        Where messages end, in the unit of vectors.
    onset : float, optional
        Where messages begin to fade (:func:`e3any.nn.xplor_cutoff`); None for the envelope
        :func:`e3any.nn.polynomial_cutoff`, which the model SevenNet-l3i5 has.
    num_neighbours : float
        Average number of neighbours; messages are divided by its root.
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
    num_interactions: int = 5
    max_degree: int = 2
    num_radial: int = 8
    hidden: Sequence[int] = (64, 64)
    readout: int = 64
    cutoff: float = 5.0
    onset: float | None = 4.5
    num_neighbours: float = 36.0
    scale: Any = 1.0
    shift: Any = 0.0
    param_dtype: Any = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self)
        check_integer(self.readout, "readout", least=1)
        if self.onset is not None:
            check_number(self.onset, "onset")
            if not 0 <= self.onset < self.cutoff:
                raise ValueError(f"expected 0 <= onset < cutoff, got onset = {self.onset} and cutoff = {self.cutoff}")

    def forward(self, p: nn.Parameters, numbers: Array, vectors: Array, **lists: Any) -> Array:
        """Return the energies of atoms.

        Parameters
        ----------
        p : Parameters
            Parameters.
        numbers : integer array of shape (..., N)
            Atomic numbers, zero for padding.
        vectors : array of shape (..., E, 3)
            Vectors from receiving to sending atoms.
        **lists
            The list of edges, ``dst_idx`` and ``src_idx``, see :meth:`e3any.nn.PathMessagePass.forward`.

        Returns
        -------
        array of shape (..., N)
            Energies.

        Raises
        ------
        RuntimeError
            If neither or both kinds of index list are given.
        ValueError
            If shapes do not fit.
        TypeError
            If vectors are not a floating-point array, numbers or lists are not integer arrays, or arrays belong to
            different libraries.
        """
        check_structure(numbers, vectors, lists)
        num, dtype = len(self.elements), self.param_dtype
        envelope = partial(nn.polynomial_cutoff, cutoff=self.cutoff)
        if self.onset is not None:
            envelope = partial(nn.xplor_cutoff, cutoff=self.cutoff, onset=self.onset)
        basis = nn.BesselBasis(self.cutoff, dtype)(
            p / "basis",
            vectors,
            max_degree=self.max_degree,
            num=self.num_radial,
            cutoff_fn=envelope,
            factored=True,
        )
        basis = basis._replace(angular=basis.angular / math.sqrt(self.num_neighbours))
        species = species_of(numbers, self.elements)
        scalars = scalars_of(self.irreps)
        x = embedded(p / "embed", species, num, self.irreps, vectors, dtype)
        for i in range(self.num_interactions):
            irreps = self.irreps if i < self.num_interactions - 1 else scalars
            x = Interaction(irreps, self.hidden, dtype)(p / f"interaction_{i}", x, basis, **lists)
        for name, size in (("hidden", self.readout), ("energy", 1)):
            x = nn.Dense(size, use_bias=False, param_dtype=dtype)(p / name, x)
        energies = x[scalars.scalar][..., 0, 0]
        return nn.ScaleShift(num, self.scale, self.shift, param_dtype=dtype)(p / "scale", energies, species)


@dataclass(frozen=True)
class Interaction(nn.Layer):
    """Messages from all neighbours, added to a linear map of the atom itself, and gated."""

    irreps: Irreps
    hidden: Sequence[int] = (64, 64)
    param_dtype: Any = "float32"

    def forward(self, p: nn.Parameters, x: Any, basis: Any, **lists: Any) -> Any:
        """Return features of the irreps."""
        wide, dense = self.irreps.gated(), partial(nn.Dense, use_bias=False, param_dtype=self.param_dtype)
        message = nn.PathMessagePass(hidden=self.hidden, features=wide, param_dtype=self.param_dtype)
        y = message(p / "message", dense(Irreps.of(x))(p / "mix", x), basis, **lists)
        return nn.gate(nn.add(y, dense(wide)(p / "skip", x)), self.irreps, nn.silu, nn.silu)
