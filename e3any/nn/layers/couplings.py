r"""Tables of couplings for the backends: which irreps of two features couple to which irreps of a third.

The tables list degrees only, without parities. The parity of a product is the sum (mod 2) of the parities of its
factors. For two factors with both parities, one table of degrees therefore holds for all four combinations, which are
leading axes (s, r):

.. math:: z^{(r)} = \sum_s x^{(s)} \otimes y^{(s \oplus r)} .

A factor of proper tensors has one slot for both parities, in which degree l has parity :math:`l \bmod 2`. It adds the
*class* :math:`l_1 \bmod 2` (:math:`l_2 \bmod 2`) to the parity of the path. Paths of class 0 and 1 end in separate
blocks, which :mod:`e3any_backends.references.parities` moves to their parities.

Irreps of SO(3) have no parity: three features with one slot, and a path for every triangle of degrees. For example,
two vectors couple to a vector, their cross product, which is a pseudovector under O(3).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from e3any_backends.forms.couplings import Coupling, CouplingPlan, Path
from e3any_backends.forms.tables import host_table
from numpy.typing import NDArray

from e3any.conventions import degree_slice
from e3any.layout import Layout
from e3any.nn.initializers import allowed_couplings
from e3any.so3 import clebsch_gordan_for_degrees

__all__ = ["check_one_parity", "coupling_plan", "output_layout"]

Triple = tuple[int, int, int]


def output_layout(
    x: Layout, y: Layout, max_degree: int | None, include_pseudotensors: bool, use_parity: bool = True
) -> Layout:
    """Return the layout of the coupling of two features.

    Parameters
    ----------
    x, y : Layout
        Layouts of the factors.
    max_degree : int, optional
        Largest degree of the product; the larger one of the factors' by default.
    include_pseudotensors : bool
        Whether the product has both parities. Two factors of proper tensors produce no pseudotensors if one of the
        three degrees is zero; the product then always has a parity axis of length one.
    use_parity : bool
        Whether irreps have a parity. Without it the product has a parity axis of length one.

    Returns
    -------
    Layout
        The layout of the product.

    Raises
    ------
    ValueError
        If the numbers of features differ, ``max_degree`` is larger than L1 + L2, or a factor has both parities
        without ``use_parity``.
    """
    if not use_parity:
        check_one_parity(x, "features")
        check_one_parity(y, "features")
    if x.features != y.features:
        raise ValueError(f"expected factors with equal numbers of features, got {x.features} and {y.features}")
    degree = max(x.max_degree, y.max_degree) if max_degree is None else max_degree
    if degree > x.max_degree + y.max_degree:
        raise ValueError(
            f"expected max_degree <= {x.max_degree + y.max_degree} for factors of degrees {x.max_degree} and "
            f"{y.max_degree}, got {degree}"
        )
    only_proper = not (x.pseudotensors or y.pseudotensors) and 0 in (x.max_degree, y.max_degree, degree)
    return Layout(degree, x.features, include_pseudotensors and use_parity and not only_proper)


def check_one_parity(layout: Layout, name: str) -> None:
    """Raise a ValueError unless features can be irreps of SO(3), which have no parity."""
    if layout.pseudotensors:
        raise ValueError(
            f"expected {name} with a parity axis of length 1 for use_parity=False, got {layout}: "
            f"see change_max_degree_or_type(x, include_pseudotensors=False)"
        )


@host_table
def coupling_plan(kernel_shape: tuple[int, ...], cartesian_order: bool, use_parity: bool = True) -> CouplingPlan:
    """Tabulate the couplings of a kernel of shape (P1, L1+1, P2, L2+1, P3, L3+1)."""
    p1, n1, p2, n2, p3, n3 = kernel_shape
    one_parity_out = p1 == p2 == p3 == 1
    num_classes = 2 if (p1 == 1 and n1 > 1) or (p2 == 1 and n2 > 1) else 1
    num_classes = 1 if one_parity_out else num_classes
    keeps_all = not (one_parity_out and use_parity)
    triples = [t for t in _triples(n1, n2, n3) if keeps_all or sum(t) % 2 == 0]
    classes = [0 if one_parity_out else _class(t, p1, p2) for t in triples]
    paths = tuple(
        Path(
            degree_slice(l1),
            degree_slice(l2),
            _shifted(degree_slice(l3), c * n3**2),
            clebsch_gordan_for_degrees(l1, l2, l3, cartesian_order=cartesian_order),
        )
        for (l1, l2, l3), c in zip(triples, classes, strict=True)
    )
    coupling = Coupling(paths, n1**2, n2**2, num_classes * n3**2)
    index, mask = _weights(kernel_shape, triples, use_parity)
    return CouplingPlan(kernel_shape, coupling, index, mask, not mask.all(), num_classes)


def _triples(n1: int, n2: int, n3: int) -> Iterator[Triple]:
    for l1 in range(n1):
        for l2 in range(n2):
            for l3 in range(abs(l1 - l2), min(l1 + l2, n3 - 1) + 1):
                yield l1, l2, l3


def _class(triple: Triple, p1: int, p2: int) -> int:
    """Return the class of a path: the parity that factors of proper tensors add to it."""
    return ((triple[0] if p1 == 1 else 0) + (triple[1] if p2 == 1 else 0)) % 2


def _shifted(s: slice, by: int) -> slice:
    return slice(s.start + by, s.stop + by)


def _weights(
    kernel_shape: tuple[int, ...], triples: list[Triple], use_parity: bool
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return, for every (s, r, path), the position of its weight in the flattened kernel, and 1 if it is allowed."""
    p1, _, p2, _, p3, _ = kernel_shape
    sums, outs = (2 if p1 == p2 == 2 else 1), max(p1, p2)
    allowed = allowed_couplings(*kernel_shape, use_parity=use_parity)
    index = np.zeros((sums, outs, len(triples)), np.intp)
    mask = np.zeros((sums, outs, len(triples), 1))
    for s in range(sums):
        for r in range(outs):
            for number, (l1, l2, l3) in enumerate(triples):
                i = (s if p2 == 2 else r) if p1 == 2 else 0
                j = (s ^ r) if p2 == 2 else 0
                k = (r ^ _class((l1, l2, l3), p1, p2)) if p3 == 2 else 0
                index[s, r, number] = np.ravel_multi_index((i, l1, j, l2, k, l3), kernel_shape)
                mask[s, r, number] = allowed[i, l1, j, l2, k, l3]
    return index, mask
