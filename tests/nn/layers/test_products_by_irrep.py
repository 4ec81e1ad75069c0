"""Tensor products and powers of features that are dictionaries by irrep."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from e3any_backends import backend_of
from layer_cases import assert_libraries_agree, features, random_parameters

from e3any import Irreps, nn
from e3any.testing import assert_equivariant, assert_parity


def test_uniform_dictionaries_couple_as_arrays(rng):
    x, y = features(rng, 3, 2, 4, 2), features(rng, 1, 1, 9, 2)
    layer = nn.Tensor(2)
    by_irrep = [nn.to_irreps(z) for z in (x, y)]
    order = layer.paths(*map(Irreps.of, by_irrep))
    (kernel,) = random_parameters(layer, rng, tuple(by_irrep), {}).values()
    assert kernel.shape == (len(order), 2)
    of_array = np.zeros((2, 2, 1, 3, 2, 3, 2))
    for weight, path in zip(kernel, order):
        (l1, p1), (l2, _), (l3, p3) = ((int(name[0]), "+-".index(name[1])) for name in path)
        of_array[p1, l1, 0, l2, p3, l3] = weight
    assert_parity(nn.from_irreps(layer({"kernel": kernel}, *by_irrep)), layer({"kernel": of_array}, x, y))


@dataclasses.dataclass(frozen=True)
class OfIrreps(nn.Layer):
    """The product of irreps that no array has, and the power of it, as one array."""

    def forward(self, p, x, z):
        y = nn.Tensor(2)(p / "tensor", x, nn.Tensor(1)(p / "first", x, x))
        y = nn.SymmetricContraction(2, 2, max_degree=1)(p / "power", y, z)
        xp = backend_of(*y.values()).xp
        return xp.concat([y[name] for name in ("0+", "1-", "1+")], axis=-2)


def test_libraries_agree_on_dictionaries(rng):
    x, z = Irreps("2x0+ + 2x1-").example(3), np.asarray([0, 1, 1])
    x = {name: features(rng, *block.shape) for name, block in x.items()}
    assert_libraries_agree(OfIrreps(), rng, (x, z))


@pytest.mark.parametrize("irreps", ["2x0+ + 2x1- + 2x1+ + 2x2-", "2x1 + 2x2"])
def test_powers_and_products_of_dictionaries_move_with_space(rng, irreps):
    x, z = Irreps(irreps).example(3), np.asarray([0, 1, 1])
    x = {name: features(rng, *block.shape) for name, block in x.items()}
    product, power = nn.Tensor(), nn.SymmetricContraction(2, 2)
    of_product, of_power = (random_parameters(layer, rng, (x, y), {}) for layer, y in ((product, x), (power, z)))
    for function in (lambda x: product(of_product, x, x), lambda x: power(of_power, x, z)):
        assert_equivariant(function, x, inversions=Irreps(irreps).has_parity)


def test_powers_of_uniform_dictionaries_are_those_of_arrays(rng):
    x, z, power = features(rng, 3, 1, 9, 2), np.asarray([0, 1, 1]), nn.SymmetricContraction(2, 2)
    params = random_parameters(power, rng, (x, z), {})
    assert_parity(nn.from_irreps(power(params, nn.to_irreps(x), z)), power(params, x, z))


def test_initial_weights_of_dictionaries_have_the_variance_of_those_of_arrays(rng):
    irreps = Irreps("400x0 + 400x1")
    layer = nn.Tensor()
    (spec,) = layer.parameters(irreps, irreps).values()
    ends = [c for _, _, c in layer.paths(irreps, irreps)]
    variances = spec.init(rng, spec.shape).var(axis=-1)
    np.testing.assert_allclose(variances * [ends.count(c) for c in ends], 1.0, atol=0.3)


def test_dictionaries_that_do_not_couple_are_refused():
    x, y = Irreps("2x0 + 3x1").example(3), Irreps("2x0 + 2x1").example(3)
    with pytest.raises(ValueError, match=r"expected factors with equally many features of all irreps, got 2x0 \+ 3x1"):
        nn.Tensor().parameters(x, y)
    with pytest.raises(ValueError, match=r"expected inputs with equally many features of all irreps, got 2x0 \+ 3x1"):
        nn.SymmetricContraction(2).parameters(x, np.zeros(3, int))
    with pytest.raises(ValueError, match="expected irreps that couple to a degree <= 1, got"):
        nn.Tensor().parameters(y, Irreps("2x0+").example(3))
    with pytest.raises(TypeError, match="expected two dictionaries by irrep or two arrays, got"):
        nn.Tensor().parameters(y, np.ones((3, 1, 4, 2)))
