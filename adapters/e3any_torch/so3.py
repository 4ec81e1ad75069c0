"""The mathematics of rotations; tables are tensors."""

from __future__ import annotations

from functools import partial
from typing import Any

import array_api_compat.torch as _xp

from e3any import so3 as _core
from e3any.so3 import *  # noqa: F403

__all__ = list(_core.__all__)

clebsch_gordan: Any = partial(_core.clebsch_gordan, xp=_xp)
clebsch_gordan_for_degrees: Any = partial(_core.clebsch_gordan_for_degrees, xp=_xp)
delley_quadrature: Any = partial(_core.delley_quadrature, xp=_xp)
lebedev_quadrature: Any = partial(_core.lebedev_quadrature, xp=_xp)
