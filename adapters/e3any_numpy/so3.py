"""See :mod:`e3any.so3`; lists can replace arrays."""

from __future__ import annotations

import inspect

from e3any import so3 as _core
from e3any.public_names import adopt
from e3any.so3 import *  # noqa: F403
from e3any_numpy.function import accept_lists

__all__ = list(_core.__all__)

for _name in filter(lambda name: inspect.isfunction(getattr(_core, name)), __all__):
    globals()[_name] = accept_lists(getattr(_core, _name))

adopt(__name__)
