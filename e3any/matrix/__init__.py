"""Matrices whose blocks are coupled from irreps, such as Hamiltonians in a basis of orbitals."""

from e3any.matrix.irreps_weights import combine_irreps, init_matrix_irreps_weights, make_dict_irreps_mult
from e3any.matrix.square_matrix import (
    compute_side_lengths,
    get_traces,
    make_rectangular_matrix,
    make_square_matrix,
)

__all__ = [
    "combine_irreps",
    "compute_side_lengths",
    "get_traces",
    "init_matrix_irreps_weights",
    "make_dict_irreps_mult",
    "make_rectangular_matrix",
    "make_square_matrix",
]
