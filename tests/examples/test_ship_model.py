"""What ``docs/examples/ship_model.py`` exports runs without e3any and gives the same numbers."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "docs" / "examples"))

ship_model = pytest.importorskip("ship_model")
ship_flax = pytest.importorskip("ship_flax")
ship_torch = pytest.importorskip("ship_torch")
data = pytest.importorskip("force_field_data")

WRITERS = {"ethanol.stablehlo": ship_flax.write, "ethanol.program.pt2": ship_torch.write}


@pytest.mark.parametrize("name", WRITERS)
def test_shipped_models_give_the_numbers_of_the_model(name, tmp_path):
    frame = data.load(data.ETHANOL).take(0)
    model, tree = ship_model.read(None, frame)
    cases = ship_model.molecules(frame)
    WRITERS[name](model, tree, cases["one molecule"], tmp_path / name)
    for inputs in cases.values():
        energy, forces = ship_model.expected(model, tree, inputs)
        e, f = ship_model.run(tmp_path / name, inputs)
        np.testing.assert_allclose(e, energy, rtol=1e-5)
        # The differences of energies have errors of the order of their step squared.
        np.testing.assert_allclose(f, forces, atol=1e-4 * np.abs(forces).max())
