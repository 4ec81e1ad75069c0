"""Initialisers, see :mod:`e3any.nn.initializers`."""

from __future__ import annotations

from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from e3any.conventions import parity_names
from e3any.nn import initializers as _core
from e3any.nn.initializers import *  # noqa: F403
from e3any.nn.initializers import Distribution, Mode
from e3any_flax.boundary import accept_arrays
from e3any_flax.e3x_errors import in_words_of_e3x
from e3any_flax.types import Array as Array
from e3any_flax.types import Dtype, PRNGKey, Shape

__all__ = list(_core.__all__)

accept_arrays(globals())

_valid_distributions = get_args(Distribution)
_valid_modes = get_args(Mode)


def _random_array(
    key: PRNGKey,
    shape: Shape,
    distribution: Distribution = "truncated_normal",
    variance: Any = 1.0,
    dtype: Dtype = jnp.float32,
) -> Array:
    """Return independent random entries of mean zero; real and imaginary parts have half of the variance."""
    if jnp.issubdtype(dtype, jnp.complexfloating):
        real = jnp.finfo(dtype).dtype
        parts = [_random_array(k, shape, distribution, np.asarray(variance) / 2, real) for k in jax.random.split(key)]
        return parts[0] + 1j * parts[1]
    return _fused_tensor_init(distribution, variance)(key, shape, jnp.dtype(dtype))


def _fused_tensor_init(
    distribution: Distribution, scale: Any = 1.0, mask: Any = True, dtype: Dtype = "float32"
) -> _core.MaskedScaling:
    """Return an initialiser of entries with given variances, zero outside of a mask."""
    with in_words_of_e3x():
        return _core.MaskedScaling(scale, mask, distribution, dtype)


def _compute_tensor_fans_and_mask(shape: Shape, dtype: Dtype = jnp.float32) -> tuple[Array, Array, Array]:
    """Return fan-in, fan-out and the mask of allowed couplings for the kernel of a tensor product."""
    mask = jnp.broadcast_to(_core.allowed_couplings(*shape[:6])[..., None], shape)
    couplings = mask[..., :1].astype(jnp.dtype(dtype))
    return couplings.sum((0, 1, 2, 3), keepdims=True), couplings.sum((4, 5), keepdims=True), mask


def _parity_degree_index_parity_list(num_parity: int, num_degree: int) -> list[tuple[int, int, int]]:
    """List position on the parity axis, degree, and parity (0 or 1) of every irrep."""
    if num_parity not in (1, 2):
        raise ValueError(f"expected 1 or 2 parities, got {num_parity} (num_parity should be 1 or 2)")
    return [(p, l, int(name.endswith("-"))) for p, l, name in parity_names(num_degree - 1, num_parity)]
