"""Cartesian tensors of any rank and symmetry of indices, and their irreps."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from e3any_backends import Array, Backend, backend_of
from e3any_backends.forms.tables import host_table
from numpy.typing import NDArray

from e3any.checks import check_flag, floating_backend, shown
from e3any.config import cartesian_order_or_default
from e3any.conventions import PARITIES, cartesian_permutation, degree_slice
from e3any.layout import Layout
from e3any.so3.clebsch_gordan import clebsch_gordan_for_degrees

__all__ = ["CartesianTensor", "Irrep"]

# Vectors of a basis are normalised or zero up to rounding: no length in between occurs.
_ZERO = 1e-6


class Irrep(NamedTuple):
    """An irrep of a tensor.

    Attributes
    ----------
    degree : int
        Its degree.
    parity : str
        Its parity, ``'+'`` or ``'-'``.
    multiplicity : int
        How many times it occurs.
    """

    degree: int
    parity: str
    multiplicity: int


@dataclass(frozen=True)
class CartesianTensor:
    r"""Cartesian tensors of any rank whose indices have any symmetry, as irreps and back.

    .. math::
        y^{(l)}_{mk} = \sum_{ij\dots} Q^{(lk)}_{ij\dots m} \, x_{ij\dots} \qquad
        x_{ij\dots} = \sum_{lkm} Q^{(lk)}_{ij\dots m} \, y^{(l)}_{mk}

    with an orthonormal basis Q of the tensors of that symmetry. Norms are kept, :math:`\lVert x\rVert^2 = \sum_l
    \lVert y^{(l)}\rVert^2`, and the two formulas are inverse to each other. A tensor without the symmetry is projected
    onto it.

    Parameters
    ----------
    symmetry : str
        A letter for every index, and the permutations of indices, with a sign, under which the tensor is equal. For
        example ``"ij"`` is any matrix, ``"ij=ji"`` a symmetric and ``"ij=-ji"`` an antisymmetric one, ``"ijk=ikj"``
        are piezoelectric and ``"ijkl=jikl=klij"`` elastic constants. Symmetries that follow from others can be left
        out.
    pseudotensor : bool
        Whether the parity of the tensors is the opposite of that of their rank, as it is for a magnetic field: a
        vector that keeps its sign under inversion.

    Raises
    ------
    ValueError
        If ``symmetry`` is not such an equation, or only zero satisfies it, or ``pseudotensor`` is neither True nor
        False.

    Notes
    -----
    Under a rotation R every index transforms as a row vector, :math:`x'_{ij\dots} = \sum_{ab\dots} x_{ab\dots} R_{ai}
    R_{bj} \dots`, and components as :math:`y' = y D(R)`, see :mod:`e3any.conventions`.

    If a degree occurs more than once, the following rule fixes its copies on all machines. Vectors are coupled one by
    one from the left, :math:`((1 \otimes 1)_{l_2} \otimes 1)_{l_3} \dots`. The tensors of these paths, in ascending
    order of :math:`(\dots, l_3, l_2)`, are projected onto the symmetry and orthonormalised one after the other.
    Linearly dependent ones are left out. For example, the first scalar of ``"ijkl=jikl=klij"`` is a multiple of
    :math:`\delta_{ij} \delta_{kl}`.

    Examples
    --------
    >>> import numpy as np
    >>> matrix = CartesianTensor("ij")
    >>> [f"{l}{parity}" for l, parity, multiplicity in matrix.irreps]
    ['0+', '1+', '2+']
    >>> scalar, pseudovector, other = matrix.to_irreps(np.eye(3))
    >>> scalar.round(3)
    array([[1.732]])
    >>> CartesianTensor("ijkl=jikl=klij").layout
    Layout(max_degree=4, features=2, pseudotensors=False)
    """

    symmetry: str
    pseudotensor: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.symmetry, str):
            raise ValueError(f"expected a symmetry such as 'ij=ji' or 'ijk=-jik', got {shown(self.symmetry)}")
        check_flag(self.pseudotensor, "pseudotensor")
        if not _multiplicities(self.symmetry):
            raise ValueError(
                f"expected a symmetry that a tensor can have, got {shown(self.symmetry)}, which makes it zero"
            )

    @property
    def rank(self) -> int:
        """Number of indices."""
        return _rank(self.symmetry)

    @property
    def num_components(self) -> int:
        """Number of independent components: the sum over all irreps."""
        return sum(irrep.multiplicity * (2 * irrep.degree + 1) for irrep in self.irreps)

    @property
    def irreps(self) -> tuple[Irrep, ...]:
        """The irreps by degree."""
        parity = PARITIES[(self.rank + self.pseudotensor) % 2]
        return tuple(Irrep(l, parity, n) for l, n in _multiplicities(self.symmetry))

    @property
    def layout(self) -> Layout:
        """The smallest layout of features that holds all irreps."""
        return Layout(
            max_degree=max(irrep.degree for irrep in self.irreps),
            features=max(irrep.multiplicity for irrep in self.irreps),
            pseudotensors=any(irrep.parity != PARITIES[irrep.degree % 2] for irrep in self.irreps),
        )

    def to_irreps(self, x: Array, cartesian_order: bool | None = None) -> list[Array]:
        """Return the components of tensors.

        Parameters
        ----------
        x : array of shape (..., 3, ..., 3)
            Tensors.
        cartesian_order : bool, optional
            Whether the components are in Cartesian order; the default is that of :class:`e3any.Config`.

        Returns
        -------
        list of arrays of shape (..., 2*degree + 1, multiplicity)
            The components of every one of :attr:`irreps`.

        Raises
        ------
        ValueError
            If ``x`` has another shape.
        TypeError
            If ``x`` is not a floating-point array.
        """
        backend, cartesian_order = floating_backend(x=x), cartesian_order_or_default(cartesian_order)
        if tuple(x.shape[max(x.ndim - self.rank, 0) :]) != (3,) * self.rank:
            raise ValueError(f"expected x of shape (...{', 3' * self.rank}), got {tuple(x.shape)}")
        lead = x.shape[: x.ndim - self.rank]
        basis = self._basis(backend, x, cartesian_order)
        y = backend.matmul(backend.xp.reshape(x, (*lead, 3**self.rank)), basis, precision="highest")
        blocks, start = [], 0
        for l, _, n in self.irreps:
            stop = start + (2 * l + 1) * n
            blocks.append(backend.xp.reshape(y[..., start:stop], (*lead, 2 * l + 1, n)))
            start = stop
        return blocks

    def from_irreps(self, blocks: Sequence[Array], cartesian_order: bool | None = None) -> Array:
        """Return the tensors with given components, the inverse of :meth:`to_irreps`.

        Parameters
        ----------
        blocks : sequence of arrays of shape (..., 2*degree + 1, multiplicity)
            The components of every one of :attr:`irreps`.
        cartesian_order : bool, optional
            Whether the components are in Cartesian order; the default is that of :class:`e3any.Config`.

        Returns
        -------
        array of shape (..., 3, ..., 3)
            Tensors of the symmetry.

        Raises
        ------
        ValueError
            If there are more or fewer arrays, or one has another shape.
        TypeError
            If one is not a floating-point array.
        """
        if not hasattr(blocks, "__len__") or len(blocks) != len(self.irreps):
            found = len(blocks) if hasattr(blocks, "__len__") else type(blocks).__name__
            raise ValueError(f"expected {len(self.irreps)} arrays, for {self.irreps}, got {found}")
        cartesian_order = cartesian_order_or_default(cartesian_order)
        backend = floating_backend(**{f"block {i}": block for i, block in enumerate(blocks)})
        lead = tuple(blocks[0].shape[:-2])
        for (l, _, n), block in zip(self.irreps, blocks, strict=True):
            if tuple(block.shape) != (*lead, 2 * l + 1, n):
                expected = ", ".join([*map(str, lead), str(2 * l + 1), str(n)])
                raise ValueError(f"expected shape ({expected}) for degree {l}, got {tuple(block.shape)}")
        blocks = backend.promote(*blocks)
        flat = [backend.xp.reshape(y, (*y.shape[:-2], y.shape[-2] * y.shape[-1])) for y in blocks]
        y = backend.xp.concat(flat, axis=-1)
        basis = self._basis(backend, y, cartesian_order)
        x = backend.matmul(y, backend.xp.matrix_transpose(basis), precision="highest")
        return backend.xp.reshape(x, (*x.shape[:-1], *(3,) * self.rank))

    def to_features(self, x: Array, cartesian_order: bool | None = None) -> Array:
        """Return the components of tensors as features of layers.

        Parameters
        ----------
        x : array of shape (..., 3, ..., 3)
            Tensors.
        cartesian_order : bool, optional
            Whether the components are in Cartesian order; the default is that of :class:`e3any.Config`.

        Returns
        -------
        array of shape (..., 1 or 2, (L+1)**2, F)
            Features of :attr:`layout`. Irreps that the tensors lack are zero.

        Raises
        ------
        ValueError
            If ``x`` has another shape.
        TypeError
            If ``x`` is not a floating-point array.
        """
        blocks = dict(zip(self._slots(), self.to_irreps(x, cartesian_order), strict=True))
        backend, layout, lead = backend_of(x), self.layout, x.shape[: x.ndim - self.rank]
        xp = backend.xp
        rows = []
        for p, l in itertools.product(range(layout.num_parities), range(layout.max_degree + 1)):
            present = [blocks[p, l]] if (p, l) in blocks else []
            missing = layout.features - sum(block.shape[-1] for block in present)
            zeros = xp.zeros((*lead, 2 * l + 1, missing), dtype=x.dtype, device=backend.device(x))
            rows.append(xp.concat([*present, zeros], axis=-1))
        return xp.reshape(xp.concat(rows, axis=-2), (*lead, *layout.shape))

    def from_features(self, features: Array, cartesian_order: bool | None = None) -> Array:
        """Return the tensors whose components are features of layers.

        Parameters
        ----------
        features : array of shape (..., 1 or 2, (L+1)**2, F)
            Features of :attr:`layout`, or of one with more degrees or both parities. Irreps that the tensors lack
            are ignored.
        cartesian_order : bool, optional
            Whether the components are in Cartesian order; the default is that of :class:`e3any.Config`.

        Returns
        -------
        array of shape (..., 3, ..., 3)
            Tensors of the symmetry.

        Raises
        ------
        ValueError
            If a degree, parity or channel that is needed is missing, or if there are more channels.
        TypeError
            If ``features`` is not a floating-point array.
        """
        floating_backend(features=features)
        cartesian_order = cartesian_order_or_default(cartesian_order)
        given, needed = Layout.of(features, "features"), self.layout
        if given.max_degree < needed.max_degree or given.pseudotensors < needed.pseudotensors:
            raise ValueError(f"expected features that hold {needed}, got {given}")
        if given.features != needed.features:
            raise ValueError(f"expected {needed.features} channels for {self.symmetry!r}, got {given.features}")
        blocks = [
            features[..., p, degree_slice(l), :n] for (p, l), (_, _, n) in zip(self._slots(), self.irreps, strict=True)
        ]
        return self.from_irreps(blocks, cartesian_order)

    def _slots(self) -> list[tuple[int, int]]:
        """Return the position on the parity axis, and the degree, of every irrep."""
        pseudotensors = self.layout.pseudotensors
        return [(PARITIES.index(parity) if pseudotensors else 0, l) for l, parity, _ in self.irreps]

    def _basis(self, backend: Backend, like: Array, cartesian_order: bool) -> Array:
        return backend.table(_basis, self.symmetry, cartesian_order, like=like)


@host_table
def _rank(symmetry: str) -> int:
    return len(_parse(symmetry)[0])


@host_table
def _multiplicities(symmetry: str) -> tuple[tuple[int, int], ...]:
    """Return (degree, multiplicity) of every degree that occurs."""
    return tuple((degree, block.shape[-1]) for degree, block in _blocks(symmetry))


def _basis(symmetry: str, cartesian_order: bool) -> NDArray[np.float64]:
    """Return an orthonormal basis of shape (3**rank, components), by degree, order m and copy, the last fastest."""
    blocks = []
    for degree, block in _blocks(symmetry):
        ordered = block if cartesian_order else block[:, np.argsort(cartesian_permutation(degree))]
        blocks.append(ordered.reshape(len(block), -1))
    return np.concatenate(blocks, axis=1)


@lru_cache(maxsize=64)
def _blocks(symmetry: str) -> list[tuple[int, NDArray[np.float64]]]:
    """Return the orthonormal basis of every degree, shape (3**rank, 2l+1, copies), in Cartesian order."""
    indices, generators = _parse(symmetry)
    symmetric = _symmetric_basis(len(indices), generators)
    blocks = []
    for degree, paths in _paths(len(indices)).items():
        # Rotations commute with permutations of indices: one component m stands for all.
        copies = _independent_copies(symmetric.T @ paths[..., 0])
        if copies.shape[1] > 0:
            blocks.append((degree, np.einsum("ipm,pk->imk", paths, copies)))
    return blocks


def _parse(symmetry: str) -> tuple[str, list[tuple[tuple[int, ...], int]]]:
    """Return the letters of the indices, and the permutations of axes with their signs."""
    terms = [term.strip() for term in symmetry.split("=")]
    indices = terms[0]
    for term in terms:
        letters = term.removeprefix("-") if term is not indices else term
        if not re.fullmatch("[a-zA-Z]+", letters) or Counter(letters) != Counter(set(indices)):
            raise ValueError(f"expected a symmetry such as 'ij=ji' or 'ijk=-jik', got {shown(symmetry)}")
    generators = [
        (tuple(indices.index(letter) for letter in term.removeprefix("-")), -1 if term.startswith("-") else 1)
        for term in terms[1:]
    ]
    return indices, generators


def _symmetric_basis(rank: int, generators: list[tuple[tuple[int, ...], int]]) -> NDArray[np.float64]:
    """Return an orthonormal basis of tensors with a symmetry: each is a sum of entries that are equal up to sign."""
    size = 3**rank
    numbers = np.arange(size).reshape((3,) * rank)
    moves = [(numbers.transpose(axes).ravel(), sign) for axes, sign in generators]
    orbit, signs = np.full(size, -1), np.zeros(size)
    columns = []
    for start in range(size):
        if orbit[start] < 0:
            members, consistent = _orbit(start, moves, orbit, signs)
            if consistent:
                column = np.zeros(size)
                column[members] = signs[members] / math.sqrt(len(members))
                columns.append(column)
    return np.stack(columns, axis=1) if columns else np.zeros((size, 0))


def _orbit(
    start: int, moves: list[tuple[NDArray[np.intp], int]], orbit: NDArray[np.intp], signs: NDArray[np.float64]
) -> tuple[list[int], bool]:
    """Return the entries that a symmetry makes equal to entry ``start`` up to sign, and whether their signs agree."""
    orbit[start], signs[start] = start, 1.0
    members, consistent = [start], True
    for entry in members:
        for move, sign in moves:
            other = int(move[entry])
            if orbit[other] < 0:
                orbit[other], signs[other] = start, sign * signs[entry]
                members.append(other)
            consistent = consistent and signs[other] == sign * signs[entry]
    return members, consistent


@lru_cache(maxsize=8)
def _paths(rank: int) -> dict[int, NDArray[np.float64]]:
    """Return an orthonormal basis of all tensors: for every degree, shape (3**rank, paths, 2l+1)."""
    paths = {1: np.eye(3)[:, None, :]}
    for _ in range(rank - 1):
        # In ascending order of (next degree, degrees before it).
        longer: dict[int, list[NDArray[np.float64]]] = {}
        for l1 in sorted(paths):
            for l in range(abs(l1 - 1), l1 + 2):
                table = clebsch_gordan_for_degrees(l1, 1, l, cartesian_order=True)
                longer.setdefault(l, []).append(_append_vector(paths[l1], table))
        paths = {l: np.concatenate(longer[l], axis=1) for l in sorted(longer)}
    return paths


def _append_vector(paths: NDArray[np.float64], table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Couple one more vector: shape (3**(k-1), paths, 2*l1+1) to (3**k, paths, 2l+1)."""
    size, num, _ = paths.shape
    coupled: NDArray[np.float64] = np.einsum("ipa,abm->ibpm", paths, table)
    return coupled.reshape(3 * size, num, table.shape[-1])


def _independent_copies(projected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return coefficients (paths, copies) of paths whose tensors are orthonormal and have the symmetry.

    ``projected`` (components, paths) is one component m of the tensors of all paths, in a basis of that symmetry.
    """
    # Gram-Schmidt on the columns of the projector P^T P, from left to right, without linearly dependent columns.
    projector = projected.T @ projected
    copies: list[NDArray[np.float64]] = []
    for column in projector.T:
        length = math.sqrt(max(column @ column, 0.0))
        for _ in range(2):  # twice is enough against rounding: https://doi.org/10.1007/s00211-005-0615-4
            for copy in copies:
                column = column - copy * (copy @ column)
        rest = math.sqrt(column @ column)
        if rest > _ZERO * max(length, 1.0):
            copies.append(column / rest)
    return np.stack(copies, axis=1) if copies else np.zeros((len(projector), 0))
