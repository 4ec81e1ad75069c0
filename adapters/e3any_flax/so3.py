"""The mathematics of rotations; tables are JAX arrays."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax.numpy as jnp

from e3any import so3 as _core
from e3any.so3 import *  # noqa: F403

__all__ = list(_core.__all__)

clebsch_gordan: Any = partial(_core.clebsch_gordan, xp=jnp)
clebsch_gordan_for_degrees: Any = partial(_core.clebsch_gordan_for_degrees, xp=jnp)
delley_quadrature: Any = partial(_core.delley_quadrature, xp=jnp)
lebedev_quadrature: Any = partial(_core.lebedev_quadrature, xp=jnp)
