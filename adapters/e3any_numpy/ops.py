"""See :mod:`e3any.ops`; lists can replace arrays."""

from __future__ import annotations

from e3any import ops as _core
from e3any.ops import *  # noqa: F403
from e3any.public_names import adopt
from e3any_numpy.function import accept_lists

__all__ = list(_core.__all__)

# Graphs are lists of mappings, not of numbers.
for _name in set(__all__) - {"pad_graphs"}:
    globals()[_name] = accept_lists(getattr(_core, _name))

adopt(__name__)
