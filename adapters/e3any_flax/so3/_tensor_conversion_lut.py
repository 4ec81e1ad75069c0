"""See :mod:`e3any_flax.so3._tables`."""

from e3any_flax.so3 import _tables

_generate_tensor_conversion_lookup_table = _tables._generate_tensor_conversion_lookup_table
