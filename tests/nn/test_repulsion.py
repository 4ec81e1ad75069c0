"""Repulsion of atoms at short distances."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import torch

from e3any import nn
from e3any.testing import assert_parity

R = np.asarray([0.3, 0.9, 1.7, 4.0])
Z1, Z2 = np.asarray([1, 6, 29, 92]), np.asarray([1, 8, 79, 3])


def test_energies_are_those_of_the_published_formula(library):
    with mpmath.workdps(30):
        terms = [("0.18175", "3.19980"), ("0.50986", "0.94229"), ("0.28022", "0.40290"), ("0.02817", "0.20162")]
        expected = []
        for r, z1, z2 in zip(R, Z1, Z2):
            a = mpmath.mpf("0.46850") / (mpmath.mpf(int(z1)) ** 0.23 + mpmath.mpf(int(z2)) ** 0.23)
            screening = sum(mpmath.mpf(c) * mpmath.exp(-mpmath.mpf(d) * float(r) / a) for c, d in terms)
            expected.append(float(mpmath.mpf("14.399645") * int(z1) * int(z2) / float(r) * screening))
    y = nn.zbl_repulsion(*map(library.array, (R, Z1, Z2)))
    assert library.owns(y)
    assert_parity(y, np.asarray(expected))


def test_units_are_those_of_the_constants():
    bohr, hartree = 1.8897261246, 1 / 27.211386
    y = nn.zbl_repulsion(R * bohr, Z1, Z2, coulomb=14.399645 * bohr * hartree, length=bohr)
    assert_parity(y, nn.zbl_repulsion(R, Z1, Z2) * hartree)


def test_charges_are_not_screened_at_short_distances():
    np.testing.assert_allclose(
        nn.zbl_repulsion(np.asarray(1.2e-3), Z1, Z2) * 1.2e-3 / (14.399645 * Z1 * Z2), 1.0, rtol=0.03
    )


def test_derivatives_of_all_orders_agree_and_are_finite_for_padding():
    r = np.append(R, [0.0, 0.0])
    z1, z2 = np.append(Z1, [6, 0]), np.append(Z2, [6, 0])
    first = lambda r: jax.grad(lambda r: nn.zbl_repulsion(r, jnp.asarray(z1), jnp.asarray(z2)).sum())(r)
    of_jax = jax.jit(lambda r: (first(r), jax.grad(lambda r: first(r).sum())(r)))(jnp.asarray(r))
    assert np.isfinite(of_jax).all()
    x = torch.tensor(r, requires_grad=True)
    y = nn.zbl_repulsion(x, torch.from_numpy(z1), torch.from_numpy(z2)).sum()
    one = torch.autograd.grad(y, x, create_graph=True)[0]
    assert_parity((one, torch.autograd.grad(one.sum(), x)[0]), of_jax)


def test_dtypes_are_kept_and_shapes_broadcast(library):
    y = nn.zbl_repulsion(library.array(np.ones((2, 4)), "float32"), library.array(Z1), library.array(Z2[:1]))
    assert str(y.dtype).endswith("float32")
    assert tuple(y.shape) == (2, 4)
