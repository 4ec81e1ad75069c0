"""Cut-off functions, see :mod:`e3any.nn.cutoffs`."""

from __future__ import annotations

from e3any.nn.cutoffs import cosine_cutoff, polynomial_cutoff, smooth_cutoff, xplor_cutoff
from e3any_flax.boundary import accept_arrays
from e3any_flax.types import Array as Array

__all__ = ["cosine_cutoff", "polynomial_cutoff", "smooth_cutoff", "xplor_cutoff"]

accept_arrays(globals())
