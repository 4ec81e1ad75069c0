"""Basis functions with learned frequencies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
from layer_cases import assert_libraries_agree, assert_transformations_agree, cast, compiled, features

from e3any import nn
from e3any.nn.layer import initialize
from e3any.testing import assert_parity

OPTIONS = {"max_degree": 1, "num": 3, "cutoff_fn": partial(nn.polynomial_cutoff, cutoff=2.5)}


@dataclass(frozen=True)
class Learned(nn.Layer):
    """A basis with learned frequencies."""

    def forward(self, p, r):
        return nn.BesselBasis(2.5)(p / "basis", r, **OPTIONS)


def test_functions_are_first_those_of_bessel(library, rng):
    r = features(rng, 6, 3)
    params = initialize(nn.BesselBasis(2.5).parameters(r, **OPTIONS), rng)
    assert params["frequencies"].dtype == np.float32
    params = cast({"frequencies": np.pi * np.arange(1, 4)}, library)
    y = compiled(library, partial(nn.BesselBasis(2.5), **OPTIONS))(params, library.array(r))
    assert library.owns(y)
    assert_parity(y, nn.basis(r, radial_fn=partial(nn.bessel, limit=2.5), **OPTIONS))


@pytest.mark.parametrize("x", [0.0, 1e-9, 0.3, 2.4, 7.0])
def test_given_frequencies_are_those_of_the_sines(library, x):
    frequencies = np.asarray([0.0, 0.7, 5.1, 20.0])
    y = nn.bessel(library.array(np.asarray(x)), 4, 2.5, library.array(frequencies))
    assert_parity(y, np.sqrt(2 / 2.5) * frequencies / 2.5 * np.sinc(frequencies * x / 2.5 / np.pi))


def test_libraries_agree_at_zero_vectors_too(rng):
    r = np.concatenate([features(rng, 3, 3), np.zeros((1, 3))])
    assert_libraries_agree(Learned(), rng, (r,))
    assert_transformations_agree(Learned(), rng, (r,))


def test_frequencies_of_another_number_raise():
    with pytest.raises(ValueError, match=r"expected frequencies of shape \(3,\), got \(4,\)"):
        nn.bessel(np.ones(2), 3, 1.0, np.ones(4))
