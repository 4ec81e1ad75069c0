"""Data and training of the force field in ``docs/examples``."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import types
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
sys.path.append(str(EXAMPLES))

import force_field_data as data  # noqa: E402

from e3any.testing import assert_parity  # noqa: E402

ATOMS = 3


def arrays(count=60):
    rng = np.random.default_rng(0)
    return {
        "numbers": np.asarray([8, 1, 1], np.int8),
        "positions": rng.normal(size=(count, ATOMS, 3)),
        "energies": np.arange(count) - 1e4,
        "forces": rng.normal(size=(count, ATOMS, 3)).astype(np.float32),
    }


def frames(count=60):
    """Frames whose energies, before they are made relative, tell their time."""
    given = arrays(count)
    return data.Frames(np.tile(given["numbers"], (count, 1)), given["positions"], given["energies"], given["forces"])


# Without forces, which is soon learnt.
FRAMES = data.Frames(
    frames(4).numbers,
    frames(4).positions.astype(np.float32),
    np.zeros(4, np.float32),
    np.zeros((4, ATOMS, 3), np.float32),
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "frames.npz"


class TestLoad:
    def test_frames_are_those_of_the_file(self, path):
        np.savez(path, **arrays(), notes="units: eV")
        loaded = data.load(path)
        assert loaded.numbers.shape == (60, ATOMS)
        np.testing.assert_array_equal(loaded.numbers, np.tile([8, 1, 1], (60, 1)))
        for name, dtype in (("positions", np.float32), ("energies", np.float64), ("forces", np.float32)):
            assert getattr(loaded, name).dtype == dtype
            np.testing.assert_allclose(getattr(loaded, name), arrays()[name], rtol=1e-7)

    def test_ethanol_is_there(self):
        ethanol = data.load(data.ETHANOL)
        assert ethanol.positions.shape == ethanol.forces.shape == (2000, 9, 3)
        assert sorted(ethanol.numbers[0]) == [1] * 6 + [6] * 2 + [8]
        # Forces are the negative gradient of energies: frames of one trajectory lie on it, if only nearly.
        steps = np.diff(ethanol.positions, axis=0)
        means = 0.5 * (ethanol.forces[1:] + ethanol.forces[:-1])
        work = np.sum(means * steps, axis=(1, 2))
        assert np.corrcoef(work, -np.diff(ethanol.energies))[0, 1] > 0.5

    def test_a_file_is_missing(self, path):
        with pytest.raises(FileNotFoundError, match=r"expected a file of frames, got no file at .*frames\.npz"):
            data.load(path)

    def test_a_folder_is_no_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="expected a file of frames"):
            data.load(tmp_path)

    @pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 no archive"])
    def test_it_is_no_archive(self, path, content):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"expected frames of molecular dynamics in .*frames\.npz"):
            data.load(path)

    def test_it_is_a_single_array(self, path):
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
        with pytest.raises(ValueError, match="expected frames of molecular dynamics"):
            data.load(path)

    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_it_is_damaged(self, path, save):
        save(path, **arrays())
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match="expected frames of molecular dynamics"):
            data.load(path)
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes(64) + content[middle + 64 :])
        with pytest.raises(ValueError, match="expected frames of molecular dynamics"):
            data.load(path)

    @pytest.mark.parametrize("name", data.Frames._fields)
    def test_an_array_is_missing(self, path, name):
        given = arrays()
        del given[name]
        np.savez(path, **given)
        with pytest.raises(ValueError, match=f"expected frames of molecular dynamics in .*{name}"):
            data.load(path)

    @pytest.mark.parametrize("name", ["positions", "energies", "forces"])
    @pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
    def test_a_number_is_not_finite(self, path, name, number):
        given = {k: np.array(v) for k, v in arrays().items()}
        given[name].flat[-1] = number
        np.savez(path, **given)
        with pytest.raises(ValueError, match=f"expected finite numbers in .*, got NaN or infinity in {name!r}"):
            data.load(path)

    @pytest.mark.parametrize(
        ("name", "shape"),
        [
            ("numbers", (60, ATOMS)),
            ("numbers", (ATOMS + 1,)),
            ("positions", ()),
            ("positions", (60,)),
            ("positions", (60, ATOMS)),
            ("positions", (60, ATOMS, 2)),
            ("energies", (60, 1)),
            ("energies", (59,)),
            ("forces", (59, ATOMS, 3)),
            ("forces", (60, 3, ATOMS, 1)),
        ],
    )
    def test_a_shape_does_not_fit(self, path, name, shape):
        given = arrays() | {name: np.zeros(shape, arrays()[name].dtype)}
        np.savez(path, **given)
        with pytest.raises(ValueError, match=rf"expected {name!r} of shape \(.*\) in .*, got \(.*\)"):
            data.load(path)

    @pytest.mark.parametrize(
        ("name", "dtype", "expected"),
        [("numbers", float, "integers"), ("energies", str, "real numbers"), ("forces", complex, "real numbers")],
    )
    def test_an_array_is_of_another_kind(self, path, name, dtype, expected):
        np.savez(path, **arrays() | {name: arrays()[name].astype(dtype)})
        with pytest.raises(ValueError, match=rf"expected {name!r} to be {expected} in .*, got dtype"):
            data.load(path)


class TestSplit:
    @pytest.mark.parametrize(("count", "gap"), [(60, 0), (60, 20), (101, 7), (2000, 20)])
    def test_parts_follow_in_time_with_gaps_between_them(self, count, gap):
        split = frames(count).split(gap)
        times = [np.round(part.energies + split.reference + 1e4).astype(int) for part in split[:3]]
        assert times[0][0] == 0
        assert times[2][-1] == count - 1
        for part in times:
            np.testing.assert_array_equal(np.diff(part), 1)
        for before, after in pairwise(times):
            assert after[0] - before[-1] == gap + 1

    def test_parts_have_their_sizes(self):
        split = frames(2000).split(gap=20)
        assert [len(part.energies) for part in split[:3]] == [1568, 98, 294]

    def test_all_arrays_are_split_alike(self):
        whole = frames()
        split = whole.split(gap=2)
        np.testing.assert_array_equal(split.train.positions, whole.positions[: len(split.train.energies)])
        np.testing.assert_array_equal(split.test.forces, whole.forces[-len(split.test.energies) :])

    def test_energies_are_relative_to_their_mean_in_training(self):
        split = frames().split(gap=2)
        assert split.train.energies.dtype == np.float32
        assert split.train.energies.mean() == pytest.approx(0.0, abs=1e-4)
        assert split.test.energies[-1] + split.reference == pytest.approx(59 - 1e4)

    @pytest.mark.parametrize("limit", [60, 2000])
    def test_a_limit_leaves_the_first_frames(self, limit):
        split, expected = frames(100).split(4, limit), frames(min(limit, 100)).split(4)
        for actual, part in zip(split[:3], expected[:3], strict=True):
            np.testing.assert_array_equal(actual.positions, part.positions)

    @pytest.mark.parametrize(("count", "gap", "limit"), [(59, 20, None), (10, 0, None), (0, 0, None), (100, 1, 21)])
    def test_too_few_frames_are_refused(self, count, gap, limit):
        with pytest.raises(ValueError, match=rf"expected at least {20 + 2 * gap} frames to split, got"):
            frames(count).split(gap, limit)


class TestBatches:
    def test_every_frame_comes_once_in_order(self):
        batches = list(frames().batches(25))
        assert [len(batch.energies) for batch in batches] == [25, 25, 10]
        np.testing.assert_array_equal(np.concatenate([b.positions for b in batches]), frames().positions)

    def test_shuffled_batches_have_one_size(self):
        batches = list(frames().batches(25, np.random.default_rng(0)))
        assert [len(batch.energies) for batch in batches] == [25, 25]
        energies = np.concatenate([b.energies for b in batches])
        assert len(set(energies)) == 50
        assert np.any(np.diff(energies) < 0)

    def test_shuffled_batches_keep_frames_together(self):
        whole = frames()
        for batch in whole.batches(7, np.random.default_rng(0)):
            times = np.round(batch.energies + 1e4).astype(int)
            for array, expected in zip(batch, whole, strict=True):
                np.testing.assert_array_equal(array, expected[times])

    def test_a_generator_decides_and_moves_on(self):
        rng = np.random.default_rng(0)
        first, second = (next(frames().batches(20, rng)).energies for _ in range(2))
        again = next(frames().batches(20, np.random.default_rng(0))).energies
        np.testing.assert_array_equal(first, again)
        assert np.any(first != second)

    def test_fewer_frames_than_a_batch_are_refused(self):
        with pytest.raises(ValueError, match="expected at least one batch of 61 frames, got 60 frames"):
            next(frames().batches(61, np.random.default_rng(0)))


class Field:
    """A field whose forces are all one parameter, trained by adding numbers that depend on the batch."""

    def __init__(self, model):
        self.model = model
        self.value = np.zeros(1)
        self.steps = 0
        self.rates = []  # since it was made

    def energies_and_forces(self, numbers, positions):
        return np.zeros(len(positions)), np.broadcast_to(self.value, positions.shape)

    def step(self, batch, rate):
        self.steps += 1
        self.rates.append(rate)
        self.value = self.value + rate * batch.forces[0, 0, 0]
        return float(np.abs(self.value[0]))

    def tree(self):
        return {"value": self.value}

    def state(self):
        return {"params": self.tree(), "optimizer": {"steps": np.asarray(self.steps)}}

    def restore(self, state):
        self.value, self.steps = state["params"]["value"], int(state["optimizer"]["steps"])


def test_errors_are_means_over_all_frames():
    field = Field(None)
    field.value = np.full(1, 2.0)
    error = data.errors(field, frames())
    assert error == pytest.approx(
        {"energy": np.mean(1e4 - np.arange(60)), "forces": np.abs(2 - frames().forces).mean()}
    )


def test_forces_have_a_scale():
    assert frames().scale() == pytest.approx(np.sqrt(np.mean(arrays()["forces"].astype(float) ** 2)), rel=1e-6)


class TestTraining:
    @pytest.fixture
    def program(self):
        """The script, if what it imports is installed."""
        return pytest.importorskip("force_field")

    @pytest.fixture
    def split(self):
        return frames(80).split(gap=2)

    def run(self, program, split, folder, epochs=4, seed=0, stop_after=None):
        """Train, perhaps not to the end; return the field and its history."""
        args = argparse.Namespace(epochs=epochs, batch_size=8, learning_rate=0.1, seed=seed)
        field, step = Field(program.Energy()), Field.step
        if stop_after is not None:

            def interrupted(self, batch, rate):
                if len(self.rates) == stop_after:
                    raise KeyboardInterrupt
                return step(self, batch, rate)

            field.step = types.MethodType(interrupted, field)
            with pytest.raises(KeyboardInterrupt):
                program.train(field, split, args, folder)
            return field, None
        return field, program.train(field, split, args, folder)

    def test_the_learning_rate_rises_and_falls_to_zero(self, program):
        rates = np.asarray([program.learning_rate(f) for f in np.linspace(0.0, 1.0, 1001)])
        peak = int(np.argmax(rates))
        assert rates[0] == pytest.approx(0.05)
        assert 0.9 < rates[peak] <= 1.0
        assert peak < 100
        assert np.all(np.diff(rates[: peak + 1]) > 0)
        assert np.all(np.diff(rates[peak:]) < 0)
        assert rates[-1] == pytest.approx(0.0, abs=1e-12)

    def test_the_whole_schedule_is_run_through(self, program, split, tmp_path):
        field, history = self.run(program, split, tmp_path, epochs=4)
        steps = 4 * (len(split.train.energies) // 8)
        expected = [0.1 * program.learning_rate(i / steps) for i in range(steps)]
        np.testing.assert_allclose(field.rates, expected)
        assert field.rates[-1] < 0.1 * max(field.rates)
        assert [entry["epoch"] for entry in history] == [0, 1, 2, 3]

    def test_an_interrupted_run_goes_on_as_if_it_had_not_been(self, program, split, tmp_path):
        (tmp_path / "whole").mkdir()
        (tmp_path / "parts").mkdir()
        whole, expected = self.run(program, split, tmp_path / "whole")
        self.run(program, split, tmp_path / "parts", stop_after=17)  # in the third of four epochs
        resumed, history = self.run(program, split, tmp_path / "parts")
        assert len(resumed.rates) == len(whole.rates) // 2
        np.testing.assert_array_equal(resumed.value, whole.value)
        np.testing.assert_allclose(resumed.rates, whole.rates[len(whole.rates) // 2 :])
        assert history == expected
        assert resumed.steps == whole.steps
        for name in ("model.safetensors", "training.safetensors"):
            assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()

    def test_a_finished_run_is_not_run_again(self, program, split, tmp_path):
        _, expected = self.run(program, split, tmp_path)
        field, history = self.run(program, split, tmp_path)
        assert field.rates == []
        assert history == expected

    @pytest.mark.parametrize("changed", [{"epochs": 5}, {"seed": 1}])
    def test_other_settings_start_afresh(self, program, split, tmp_path, changed):
        self.run(program, split, tmp_path)
        field, history = self.run(program, split, tmp_path, **changed)
        assert len(history) == changed.get("epochs", 4)
        assert len(field.rates) == len(history) * (len(split.train.energies) // 8)

    @pytest.mark.parametrize("keep", [0, 10, 200, -1])
    def test_a_damaged_state_is_refused_and_left_as_it_is(self, program, split, tmp_path, keep):
        self.run(program, split, tmp_path)
        path = tmp_path / "training.safetensors"
        content = path.read_bytes()[:keep]
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"expected a safetensors file, got a damaged one at .*training"):
            self.run(program, split, tmp_path)
        assert path.read_bytes() == content

    def test_the_best_parameters_are_kept(self, program, split, tmp_path):
        from e3any import checkpoint

        _, history = self.run(program, split, tmp_path)
        best = Field(None)
        best.value = checkpoint.load(tmp_path / "model.safetensors")["value"]
        smallest = min(entry["forces"] for entry in history)
        assert data.errors(best, split.validation)["forces"] == pytest.approx(smallest)
        notes = checkpoint.load_metadata(tmp_path / "model.safetensors")
        assert float(notes["reference_energy"]) == split.reference


@pytest.mark.parametrize("framework", ["flax", "torch"])
class TestField:
    @pytest.fixture
    def field(self, framework):
        """A function that makes a small field of a framework, if what the script imports is installed."""
        program = pytest.importorskip("force_field")
        model = program.Energy(features=2, max_degree=1, num_interactions=1, num_basis=4, scale=0.5)
        return lambda seed=0: program.force_field(framework, model, FRAMES, seed)

    def test_training_goes_on_from_a_state(self, field, tmp_path):
        from e3any import checkpoint

        whole, resumed = field(), field(seed=1)
        for _ in range(2):
            whole.step(FRAMES, 1e-2)
        checkpoint.save(tmp_path / "state", whole.state())
        resumed.restore(checkpoint.load(tmp_path / "state"))
        assert resumed.step(FRAMES, 1e-2) == whole.step(FRAMES, 1e-2)
        assert_parity(resumed.state(), whole.state(), rtol=0)

    def test_steps_make_the_loss_smaller(self, field):
        trained = field()
        losses = [trained.step(FRAMES, 1e-2) for _ in range(20)]
        assert losses[-1] < 0.9 * losses[0]

    def test_forces_are_the_derivative_of_energies_in_double_precision(self, field):
        positions = FRAMES.positions.astype(float)
        moved = np.random.default_rng(1).normal(size=positions.shape)
        energies = [field().energies_and_forces(FRAMES.numbers, positions + h * moved)[0] for h in (-1e-5, 1e-5)]
        _, forces = field().energies_and_forces(FRAMES.numbers, positions)
        derivative = (energies[1] - energies[0]) / 2e-5
        np.testing.assert_allclose(derivative, -np.sum(forces * moved, axis=(1, 2)), rtol=1e-6, atol=1e-8)


def train_small(program, folder, killed_before=None):
    """Train a small field in PyTorch, from where the last run in the folder stopped; return how many steps it takes.

    Before one step, if it is given, the process kills itself.
    """
    split = data.load(data.ETHANOL).split(gap=2, limit=60)
    model = program.Energy(features=2, max_degree=1, num_interactions=1, num_basis=4, scale=split.train.scale())
    field = program.force_field("torch", model, split.train)
    steps, step = [], field.step

    def counted(batch, rate):
        if len(steps) == killed_before:
            os.kill(os.getpid(), signal.SIGKILL)
        steps.append(rate)
        return step(batch, rate)

    field.step = counted
    folder.mkdir(exist_ok=True)
    program.train(field, split, argparse.Namespace(epochs=4, batch_size=8, learning_rate=1e-2, seed=0), folder)
    return len(steps)


def test_a_killed_run_goes_on_to_the_result_of_one_that_was_not(tmp_path):
    program = pytest.importorskip("force_field")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train_small(program, whole) == 4 * 5
    killed = f"import pathlib, force_field; train_small(force_field, pathlib.Path({str(parts)!r}), killed_before=13)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", f"from test_force_field import train_small; {killed}"]
    assert subprocess.run(command, cwd=Path(__file__).parent, env=environment).returncode == -signal.SIGKILL
    assert train_small(program, parts) == 2 * 5  # it was in the third epoch
    for name in ("model.safetensors", "training.safetensors"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes()
