"""Models of the literature as descriptions of public layers: energies of atoms from numbers, vectors and lists.

A model is called as ``model(params, numbers, vectors, dst_idx=..., src_idx=...)``: atomic numbers (..., N), zero for
padding, vectors (..., E, 3) from receiving to sending atoms, and the sparse list (..., E), N for padding. It returns
the energies (..., N) of atoms. So it is what :class:`e3any_ase.ModelCalculator` takes, and adapters make modules of it.
"""

from e3any.models.escn import ESCN
from e3any.models.mace import MACE
from e3any.models.nequip import NequIP
from e3any.models.painn import PaiNN
from e3any.models.sevennet import SevenNet

__all__ = ["ESCN", "MACE", "NequIP", "PaiNN", "SevenNet"]
