"""See :mod:`e3any_flax.so3._tables`."""

from e3any_flax.so3 import _tables

_generate_clebsch_gordan_lookup_table = _tables._generate_clebsch_gordan_lookup_table
