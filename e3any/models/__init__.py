"""Whole models of atoms as descriptions: energies of atoms from their numbers, vectors along edges and lists of edges.

The arguments of a call are those that :class:`e3any_ase.ModelCalculator` gives.
"""

from e3any.models.escn import ESCN
from e3any.models.mace import MACE
from e3any.models.painn import PaiNN

__all__ = ["ESCN", "MACE", "PaiNN"]
