"""Trees with statistics that change and random numbers."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
import pytest
import torch
from backends_matrix import Library
from layer_cases import cast, features, random_parameters

from e3any import Layout, nn
from e3any.testing import assert_parity


@dataclass(frozen=True)
class Block(nn.Layer):
    """A layer that knows nothing of statistics and randomness, of two that do."""

    def forward(self, p, x):
        return nn.Dropout(0.5)(p / "dropout", nn.BatchNorm()(p / "norm", nn.Dense(4)(p / "dense", x)))


LAYOUT = Layout(1, 3, pseudotensors=True)


def test_changes_are_in_the_tree_that_is_read_afterwards_and_not_in_the_one_given(library, rng):
    x = features(rng, 5, *LAYOUT.shape)
    given = random_parameters(Block(), rng, (LAYOUT,), {})
    params = cast(given, library)
    norm = nn.Variables(params["norm"], training=True)
    dense = nn.Dense(4)(params["dense"], library.array(x))
    nn.BatchNorm()(norm, dense)
    new = norm.tree
    assert set(norm.changes) == {"0+/mean", "0+/var", "1+/var", "0-/var", "1-/var"}
    assert new["0+"]["scale"] is params["norm"]["0+"]["scale"]
    batch = library.numpy(dense)[:, 0, 0].mean(axis=0)
    assert_parity(new["0+"]["mean"], 0.9 * given["norm"]["0+"]["mean"] + 0.1 * batch)


def test_a_whole_model_is_told_once(rng):
    x = features(rng, 50, *LAYOUT.shape)
    params = random_parameters(Block(), rng, (LAYOUT,), {})
    variables = nn.Variables(params, generator=np.random.default_rng(1), training=True)
    y = Block()(variables, x)
    assert 0.4 < (y == 0).mean() < 0.6
    assert set(variables.changes) == {f"norm/{name}" for name in ("0+/mean", "0+/var", "1+/var", "0-/var", "1-/var")}
    still = nn.Variables(variables.tree, training=False)
    dense = nn.Dense(4)(params["dense"], x)
    assert_parity(Block()(still, x), nn.BatchNorm()(variables.tree["norm"], dense, use_running_average=True))
    assert still.changes == {}


def test_averages_go_on_where_a_layer_is_applied_twice(rng):
    x = features(rng, 5, 1, 1, 2)
    params = {"0+": {"scale": np.ones(2), "bias": np.zeros(2), "mean": np.zeros(2), "var": np.ones(2)}}
    variables = nn.Variables(params, training=True)
    for _ in range(2):
        nn.BatchNorm()(variables, x)
    np.testing.assert_allclose(variables.tree["0+"]["mean"], (1 - 0.9**2) * x.mean(0)[0, 0])


GENERATORS = {
    Library.NUMPY: lambda: np.random.default_rng(3),
    Library.JAX: lambda: jax.random.key(3),
    Library.TORCH: lambda: torch.Generator().manual_seed(3),
}


@pytest.mark.parametrize("of", GENERATORS, ids=lambda of: of.value)
def test_numbers_repeat_with_the_generator_and_differ_within(of):
    x = of.array(np.ones((40, 1, 4, 8)))
    twice = []
    for _ in range(2):
        variables = nn.Variables({}, generator=GENERATORS[of](), training=True)
        twice.append([of.numpy(nn.Dropout(0.5)(variables, x)) for _ in range(2)])
    np.testing.assert_array_equal(*twice)
    assert (twice[0][0] != twice[0][1]).any()


def test_layers_ask_for_what_a_plain_tree_does_not_offer(library, rng):
    x = library.array(features(rng, 5, *LAYOUT.shape))
    params = cast(random_parameters(nn.BatchNorm(), rng, (LAYOUT,), {}), library)
    with pytest.raises(ValueError, match="expected use_running_average=True or False where parameters do not know"):
        nn.BatchNorm()(params, x)
    with pytest.raises(ValueError, match="expected deterministic=True or False where parameters do not know"):
        nn.Dropout(0.5)({}, x)
    with pytest.raises(TypeError, match=r"expected something that keeps statistics, such as nn\.Variables, got Tree"):
        nn.BatchNorm()(params, x, use_running_average=False)
    with pytest.raises(TypeError, match="expected a generator of random numbers beside the parameters, got Variables"):
        nn.Dropout(0.5)(nn.Variables({}, training=True), x)
    with pytest.raises(TypeError, match="expected a mapping of parameters at 'the root', got list"):
        nn.Variables([1.0])


def test_generators_of_another_library_are_refused(rng):
    with pytest.raises(TypeError, match=r"expected a generator of .*numpy, got"):
        nn.Dropout(0.5)(nn.Variables({}, generator=torch.Generator(), training=True), features(rng, 2, 1, 1, 3))
