"""The mathematics of rotations; tables are tensors."""

from __future__ import annotations

from typing import Any

import array_api_compat.torch as _xp

from e3any import so3 as _core
from e3any.public_names import adopt, with_namespace
from e3any.so3 import *  # noqa: F403

__all__ = list(_core.__all__)

clebsch_gordan: Any = with_namespace(_core.clebsch_gordan, _xp)
clebsch_gordan_for_degrees: Any = with_namespace(_core.clebsch_gordan_for_degrees, _xp)
delley_quadrature: Any = with_namespace(_core.delley_quadrature, _xp)
lebedev_quadrature: Any = with_namespace(_core.lebedev_quadrature, _xp)

adopt(__name__)
