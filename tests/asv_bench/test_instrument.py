"""The benchmarks compare like with like."""

import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from e3any.nn.initializers import allowed_couplings

sys.path.append(str(Path(__file__).parents[2] / "asv_bench"))

from instrument import competitors, tasks
from instrument.agreement import check_agreement
from instrument.cases import CASES, SMALL, Key
from instrument.irreps import couplings, flat, irreps, stacked
from instrument.measure import measure
from instrument.results import Results
from instrument.targets import TARGETS


@pytest.mark.parametrize("parities", [1, 2])
@pytest.mark.parametrize("max_degree", [0, 1, 3])
def test_peers_have_the_couplings_of_e3any(max_degree, parities):
    degrees = max_degree + 1
    kinds = irreps(max_degree, parities)
    ours = allowed_couplings(parities, degrees, parities, degrees, parities, degrees)
    assert len(couplings(kinds, kinds, kinds)) == np.count_nonzero(ours)


def test_layouts_hold_every_number_once():
    x = np.arange(2 * 2 * 9 * 3).reshape(2, 2, 9, 3)
    for layout in (flat(x), stacked(x).reshape(2, -1)):
        np.testing.assert_array_equal(np.sort(layout), x.reshape(2, -1))


def test_the_twin_of_the_model_in_e3x_returns_the_same_energies():
    sizes = (2, 3, 4, 1, 2)
    with jax.enable_x64(False):
        calls = {name: competitors.program(name, "energies", *sizes).call("forward") for name in ("jax", "e3x")}
        check_agreement(calls)
        energies = np.asarray(calls["jax"]())
    assert energies.shape == (2,)
    assert np.ptp(energies) > 1e-3


def test_other_numbers_are_an_error():
    ones = np.ones(3)
    check_agreement({"jax": lambda: (ones, ones), "e3x": lambda: (ones * (1 + 1e-5), None)})
    with pytest.raises(ValueError, match="expected the numbers of e3x"):
        check_agreement({"jax": lambda: ones, "e3x": lambda: ones * 1.01})


@pytest.mark.parametrize(("milliseconds", "warm", "times"), [(6.4, 16, 2), (40.0, 3, 1)])
def test_every_sample_follows_calls_that_are_thrown_away(monkeypatch, milliseconds, warm, times):
    log = []
    calls = {name: (lambda name=name: log.append(name)) for name in "ab"}
    monkeypatch.setattr("time.process_time", lambda: 1e-3 * milliseconds * len(log))
    result = measure(calls, samples=2, seconds=60.0)
    a, b = "a" * (warm + times), "b" * (warm + times)
    tried = warm + (1 if times == 1 else 1 + times)
    assert "".join(log) == "ab" + "a" * tried + "b" * tried + a + b + b + a
    assert result == pytest.approx({"a": milliseconds, "b": milliseconds})


def test_a_run_goes_on_where_another_stopped(tmp_path):
    path = tmp_path / "results.json"
    (case,) = [case for case in SMALL if case.operation == "wigner_d"]
    first = Results.load(path)
    first.times[Key("wigner_d", case.sizes, "forward")] = {"jax": 1.0, "e3x": 3.0}
    first.save()
    second = Results.load(path)
    second.add([case], samples=1, seconds=1.0)
    assert second.times == first.times
    assert second.ratio(Key("wigner_d", case.sizes, "forward"), "jax", ("e3x", "e3j")) == pytest.approx(3.0)


def test_targets_name_cases_and_competitors_that_are_measured():
    measured = {key: case.competitors for case in CASES for key in case.by_mode()}
    for target in TARGETS:
        for key in target.keys:
            assert target.ours in measured[key], (target.text, key)
        assert any(peer in measured[key] for key in target.keys for peer in target.peers), target.text


def test_what_cannot_be_done_is_said():
    with pytest.raises(competitors.Unavailable, match="no fused_tensor of matmul-jax"):
        competitors.program("matmul-jax", "fused_tensor", 1, 1, 2)
    with pytest.raises(competitors.Unavailable, match="NumPy has no derivatives"):
        competitors.program("numpy", "activation", 1, 1, 2, 4).call("backward")


def test_rotations_of_the_benchmark_are_rotations():
    (q,) = tasks.wigner_d(1, 10).inputs
    np.testing.assert_allclose(q @ np.swapaxes(q, 1, 2), np.broadcast_to(np.eye(3), q.shape), atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(q), 1, atol=1e-5)
