"""Tables of couplings, and their products by the definition."""

from __future__ import annotations

from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from e3any_backends import backend_of
from e3any_backends.forms.couplings import Coupling, Path


@lru_cache
def small():
    """Couplings without any symmetry: two paths of one pair of blocks, one whose blocks overlap others, zeros."""
    rng = np.random.default_rng(1)
    blocks = [
        (slice(0, 1), slice(0, 2), slice(0, 2)),
        (slice(0, 1), slice(0, 2), slice(2, 5)),
        (slice(1, 4), slice(2, 3), slice(2, 5)),
        (slice(1, 4), slice(0, 2), slice(5, 6)),
    ]
    paths = []
    for block in blocks:
        coefficients = rng.normal(size=[s.stop - s.start for s in block])
        paths.append(Path(*block, np.where(rng.random(coefficients.shape) < 0.3, 0.0, coefficients)))
    # Coefficients of equal size are multiplied once; component 6 of z, 3 of y and 4 of x are in no path.
    paths.append(Path(slice(2, 4), slice(1, 2), slice(0, 2), 0.5 * np.asarray([[[1.0, -1.0]], [[-1.0, 0.0]]])))
    return Coupling(tuple(paths), 5, 4, 7)


@lru_cache
def large():
    """Couplings of so many components that the matrices are kept apart."""
    rng = np.random.default_rng(2)
    slices = [slice(0, 5), slice(5, 12)]
    paths = [Path(x, y, z, rng.normal(size=(x.stop - x.start, y.stop - y.start, z.stop - z.start)))
             for x in slices for y in slices for z in slices]  # fmt: skip
    return Coupling(tuple(paths), 12, 12, 12)


def dense(coupling):
    """Return the table as one array of shape (num_paths, num_x, num_y, num_z)."""
    table = np.zeros((coupling.num_paths, coupling.num_x, coupling.num_y, coupling.num_z))
    for number, path in enumerate(coupling.paths):
        table[number, path.x, path.y, path.z] = path.coefficients
    return table


def by_einsum(x, y, w, coupling, xp=np):
    """Couple by the definition."""
    table = xp.asarray(dense(coupling)) if xp is np else xp.asarray(dense(coupling), dtype=x.dtype)
    return xp.einsum("s...xf,s...yf,s...pf,pxyz->...zf", x, y, w, table)


def operands(rng, coupling, *, outer=((2, 3), (2, 3), (2, 3)), features=(2, 2, 2)):
    """Draw x, y and w, with given axes in front of their components."""
    sizes = coupling.num_x, coupling.num_y, coupling.num_paths
    return tuple(rng.normal(size=(*lead, n, f)) for lead, n, f in zip(outer, sizes, features))


def couple(coupling):
    """Return the product as a function of arrays of any library."""
    return lambda x, y, w: backend_of(x, y, w).couple(x, y, w, coupling)


def loss(function):
    return lambda *arrays: jnp.sum(jnp.sin(function(*arrays)))
