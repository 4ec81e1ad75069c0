"""sphericart with JAX, whose wheels are each for one release of JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import sphericart.jax

from ..frameworks.jax import JaxProgram
from ..task import Task


def spherical_harmonics(task: Task) -> JaxProgram:
    """Return harmonics of unit vectors."""
    degree = task.options["max_degree"]
    arrays = jax.tree.map(jnp.asarray, task.arrays)
    return JaxProgram(lambda _, r: sphericart.jax.spherical_harmonics(r, degree), None, arrays)


def solid_harmonics(task: Task) -> JaxProgram:
    """Return harmonic polynomials."""
    degree = task.options["max_degree"]
    arrays = jax.tree.map(jnp.asarray, task.arrays)
    return JaxProgram(lambda _, r: sphericart.jax.solid_harmonics(r, degree), None, arrays)
