"""Dropout of irreps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from layer_cases import features

from e3any import nn
from e3any.interop import from_features, to_features
from e3any.layout import Layout
from e3any.testing import assert_parity

IRREPS = [(0, 1), (1, -1), (2, 1)]


class Uniform(nn.Parameters):
    """Has given numbers in place of random ones."""

    training = True

    def __init__(self, numbers):
        self.numbers = numbers

    def param(self, name, shape, init, dtype=None):
        raise AssertionError(name)

    def __truediv__(self, name):
        return self

    def uniform(self, shape, like):
        assert tuple(shape) == self.numbers.shape
        return self.numbers


def test_irreps_that_are_kept_are_those_of_e3nn_for_the_same_draw(library, rng):
    e3nn, o3 = pytest.importorskip("e3nn.nn"), pytest.importorskip("e3nn.o3")
    x = features(rng, 7, 1, 9, 4)
    oracle = e3nn.Dropout(o3.Irreps([(4, irrep) for irrep in IRREPS]), 0.3).train()
    state = torch.get_rng_state()
    expected = oracle(torch.from_numpy(to_features(x, "e3nn", IRREPS)))
    torch.set_rng_state(state)
    kept = oracle(torch.ones((7, 36), dtype=torch.float64)).numpy() > 0
    kept = from_features(kept.astype(float), "e3nn", IRREPS, Layout(2, 4))
    numbers = np.where(np.abs(kept[..., [0, 3, 8], :]) > 0, 0.9, 0.1)
    y = nn.Dropout(0.3)(Uniform(library.array(numbers)), library.array(x))
    assert library.owns(y)
    assert_parity(to_features(library.numpy(y), "e3nn", IRREPS), expected)
    assert 0 < numbers.mean() < 0.9


@pytest.mark.parametrize("rate", [0.0, 0.2, 1.0])
def test_whole_irreps_are_dropped_at_the_rate(rate):
    x = np.ones((400, 2, 9, 4))
    variables = nn.Variables({}, generator=np.random.default_rng(0), training=True)
    y = nn.Dropout(rate)(variables, x)
    for l in range(3):
        block = y[..., l**2 : (l + 1) ** 2, :]
        np.testing.assert_array_equal(block, np.broadcast_to(block[..., :1, :], block.shape))
    # Five standard deviations of 9600 independent decisions.
    assert abs((y[..., [0, 1, 4], :] == 0).mean() - rate) <= 5 * (rate * (1 - rate) / 9600) ** 0.5
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate) if rate < 1 else 0)


def test_nothing_is_dropped_in_use(library, rng):
    x = library.array(features(rng, 3, 1, 4, 2))
    assert nn.Dropout(0.5)({}, x, deterministic=True) is x
    assert nn.Dropout(0.5)(nn.Variables({}, training=False), x) is x


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_dtypes_are_kept(dtype):
    variables = nn.Variables({}, generator=torch.Generator(), training=True)
    assert nn.Dropout(0.5)(variables, torch.ones((3, 1, 4, 2), dtype=dtype)).dtype == dtype
