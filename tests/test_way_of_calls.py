"""How many functions a call goes through: counted, so that layers do not ask twice what they know."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from e3any_backends import kernels

MOST = {
    "tracing Flax TensorDense": 200,
    "PyTorch MessagePass, forward": 100,
    "PyTorch MessagePass, backward": 40,
    "NumPy harmonics": 50,
}


def _way_of_calls():
    path = Path(__file__).parents[1] / "docs" / "way_of_calls.py"
    spec = importlib.util.spec_from_file_location("way_of_calls", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def ways():
    script, found = _way_of_calls(), {}
    for name, has_kernels, function in script.cases():
        if name in MOST:
            with kernels.enabled(has_kernels), kernels.threads(1):
                found[name] = script.way_of(function)
    return found


@pytest.mark.parametrize("name", MOST)
def test_calls_go_through_few_functions(ways, name):
    assert 0 < ways[name].calls <= MOST[name]


def test_backward_passes_stay_in_backends(ways):
    assert ways["PyTorch MessagePass, backward"].layers == "B"
