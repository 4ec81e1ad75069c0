"""The tetracubes and the moment of inertia in ``docs/examples``, and what they share."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
sys.path.append(str(EXAMPLES))

from layer_cases import cast  # noqa: E402

from e3any import checkpoint, so3  # noqa: E402
from e3any.nn.layer import initialize  # noqa: E402
from e3any.testing import assert_parity  # noqa: E402

tetracubes = pytest.importorskip("tetracubes")
moment_of_inertia = pytest.importorskip("moment_of_inertia")
fitting = pytest.importorskip("fitting")

PROGRAMS = {"tetracubes": tetracubes, "moment_of_inertia": moment_of_inertia}
programs = pytest.mark.parametrize("program", PROGRAMS)


def distances(shape):
    points = np.asarray(shape, float)
    return np.linalg.norm(points[:, None] - points, axis=-1)


@programs
def test_frameworks_train_alike(program, tmp_path, monkeypatch, capsys):
    trees, tables = {}, {}
    for framework in ("flax", "torch"):
        output = tmp_path / framework
        monkeypatch.setattr(sys, "argv", [program, "--smoke", "--framework", framework, "--output", str(output)])
        PROGRAMS[program].main()
        assert (output / f"{program}.png").stat().st_size > 10_000
        trees[framework] = {path.name: checkpoint.load(path) for path in sorted(output.glob("*.safetensors"))}
        tables[framework] = capsys.readouterr().out
    assert len(trees["flax"]) == {"tetracubes": 2, "moment_of_inertia": 1}[program]
    assert_parity(trees["torch"], trees["flax"], rtol=1e-4)
    assert "5 steps with torch" in tables["torch"]
    assert "| NumPy - torch" in tables["torch"] or "NumPy - other |" in tables["torch"]


def test_shapes_are_all_there_are():
    shapes = [np.asarray(shape) for shape in tetracubes.SHAPES.values()]
    kinds = {tuple(np.sort(distances(shape).ravel()).round(6)) for shape in shapes[:7]}
    assert len(kinds) == 7
    for shape in shapes:
        links = np.isclose(distances(shape), 1)
        assert (np.linalg.matrix_power(np.eye(4) + links, 3) > 0).all()


def test_screws_are_mirror_images_that_no_rotation_maps():
    right, left = (np.asarray(s) - np.mean(s, axis=0) for s in list(tetracubes.SHAPES.values())[6:])
    np.testing.assert_allclose(distances(right), distances(left))
    fits = []
    for order in itertools.permutations(range(4)):
        u, _, v = np.linalg.svd(right[list(order)].T @ left)
        rotation = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
        fits.append(np.abs(right[list(order)] @ rotation - left).max())
    assert min(fits) > 0.1


def test_mirrored_screws_are_in_the_data():
    shapes, labels = tetracubes.tetracubes(3, np.random.default_rng(0))
    assert (shapes.shape, shapes.dtype) == ((24, 4, 3), np.float32)
    np.testing.assert_array_equal(labels, np.repeat(np.arange(8), 3))
    for right, left in zip(shapes[18:21], shapes[21:]):
        np.testing.assert_allclose(distances(right), distances(left), atol=1e-6)


@pytest.mark.parametrize("pseudoscalars", [True, False])
def test_scores_are_invariant_and_see_reflections_by_pseudoscalars_alone(pseudoscalars, rng):
    model = tetracubes.Classifier(pseudoscalars=pseudoscalars)
    shapes = tetracubes.tetracubes(1, rng)[0].astype("float64")
    params = initialize(model.parameters(shapes), rng)
    scores = model(params, shapes)
    turned = (shapes + 1) @ so3.random_rotation(rng)
    assert_parity(model(params, turned), scores, rtol=1e-6)
    change = np.abs(model(params, -shapes) - scores)
    assert change.max() < 1e-12 if not pseudoscalars else change[6:].max() > 1e-6


def test_confusion_counts_rows_in_per_cent():
    labels = np.repeat(np.arange(8), 2)
    classes = labels.copy()
    classes[-1] = 6
    matrix = tetracubes.confusion(classes, labels)
    assert (matrix[7, 6], matrix[7, 7], matrix[0, 0]) == (50, 50, 100)


def test_tensor_of_inertia_is_that_of_mechanics():
    tensor = moment_of_inertia.inertia(np.asarray([2.0]), np.asarray([[0.0, 0.0, 3.0]]))
    np.testing.assert_allclose(tensor, np.diag([18.0, 18.0, 0.0]))


def test_predicted_tensors_are_symmetric_equivariant_and_add_up(library, rng):
    model = moment_of_inertia.Inertia(features=2)
    masses, positions = rng.uniform(size=(2, 4)), rng.normal(size=(2, 4, 3))
    params = initialize(model.parameters(masses[:1], positions[:1]), rng)
    rotation = so3.random_rotation(rng)

    def predict(*inputs):
        return np.asarray(model(*(cast(x, library) for x in (params, *inputs))))

    tensor = predict(masses, positions)
    assert_parity(tensor, np.swapaxes(tensor, -1, -2), rtol=1e-12)
    assert_parity(predict(masses, positions @ rotation), rotation.T @ tensor @ rotation, rtol=1e-6)
    parts = predict(masses[:, :1], positions[:, :1]) + predict(masses[:, 1:], positions[:, 1:])
    assert_parity(parts, tensor, rtol=1e-6)


def test_losses_are_those_of_numpy(library, rng):
    scores, targets = rng.normal(size=(5, 8)), np.eye(8)[[0, 3, 3, 7, 1]]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    arrays = cast((scores, targets), library)
    entropy, square = float(fitting.cross_entropy(*arrays)), float(fitting.mean_square(*arrays))
    assert entropy == pytest.approx(-np.log((probabilities * targets).sum(axis=-1)).mean(), rel=1e-12)
    assert square == pytest.approx(((scores - targets) ** 2).mean(), rel=1e-12)
    assert float(fitting.cross_entropy(*cast((1e4 * scores, targets), library))) < 1e5
