"""Checkpoints."""

from __future__ import annotations

import os

import numpy as np
import pytest
from safetensors.numpy import save_file

from e3any import conventions
from e3any.checkpoint import load, load_metadata, save

NOTES = {"format": "e3any", "conventions": str(conventions.VERSION)}


@pytest.fixture
def tree(rng):
    return {
        "dense": {
            "0+": {"kernel": rng.normal(size=(2, 3)), "bias": np.zeros(3, np.float32)},
            "1-": {"kernel": rng.normal(size=(3, 2)).T},
        },
        "step": np.asarray(7),
        "empty": np.zeros((0, 3)),
    }


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def assert_equal_trees(actual, expected):
    assert set(actual) == set(expected)
    for name, value in expected.items():
        if isinstance(value, dict):
            assert_equal_trees(actual[name], value)
        else:
            assert actual[name].dtype == value.dtype
            assert actual[name].shape == value.shape
            np.testing.assert_array_equal(actual[name], value)


def test_what_was_saved_is_loaded(path, tree):
    save(path, tree)
    assert_equal_trees(load(path), tree)
    save(str(path), tree)
    assert_equal_trees(load(str(path)), tree)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int64", "uint8", "bool"])
def test_dtype_is_kept(path, dtype):
    tree = {"x": np.ones((2, 2), dtype)}
    save(path, tree)
    assert_equal_trees(load(path), tree)


def test_saving_what_was_loaded_gives_the_same_bytes(path, tree):
    save(path, tree, {"note": "first", "author": "me"})
    before = path.read_bytes()
    save(path, load(path), load_metadata(path))
    assert path.read_bytes() == before


def test_order_of_names_does_not_change_the_bytes(path, tree):
    save(path, tree)
    before = path.read_bytes()
    save(path, dict(reversed(tree.items())))
    assert path.read_bytes() == before


def test_metadata_are_kept_and_cannot_forge_the_format(path, tree):
    save(path, tree, {"note": "first", "format": "other", "conventions": "0"})
    assert load_metadata(path) == {"note": "first", **NOTES}


def test_missing_files_raise(path):
    for function in (load, load_metadata):
        with pytest.raises(FileNotFoundError, match=r"expected a checkpoint, got no file at .*model"):
            function(path)
    with pytest.raises(FileNotFoundError):
        load(path.parent)


@pytest.mark.parametrize("keep", [0, 4, 20, 0.5, -1])
def test_truncated_files_raise(path, tree, keep):
    save(path, tree)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    for function in (load, load_metadata):
        with pytest.raises(ValueError, match="expected a safetensors file, got a damaged one"):
            function(path)


@pytest.mark.parametrize("notes", [None, {"format": "pt"}, {"conventions": "1"}])
def test_other_formats_raise(path, notes):
    save_file({"x": np.zeros(2)}, path, metadata=notes)
    with pytest.raises(ValueError, match="expected a checkpoint of format 'e3any', got"):
        load(path)


@pytest.mark.parametrize("version", [None, "0", "1000"])
def test_other_conventions_raise(path, version):
    notes = {"format": "e3any"} | ({} if version is None else {"conventions": version})
    save_file({"x": np.zeros(2)}, path, metadata=notes)
    with pytest.raises(ValueError, match=rf"expected conventions {conventions.VERSION}, got {version!r}"):
        load(path)


@pytest.mark.parametrize("name", ["", "a.b", "."])
def test_names_with_dots_and_without_letters_raise(path, name):
    with pytest.raises(ValueError, match="expected names without dots, got"):
        save(path, {"layer": {name: np.zeros(2)}})
    with pytest.raises(ValueError, match="expected names without dots, got"):
        save(path, {name: {"kernel": np.zeros(2)}})
    assert not path.exists()


@pytest.mark.parametrize("leaf", [1.0, [1.0], None])
def test_other_than_numpy_arrays_raise(path, leaf):
    with pytest.raises(TypeError, match="expected a NumPy array at 'layer/kernel', got"):
        save(path, {"layer": {"kernel": leaf}})


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_an_error_while_writing_leaves_the_old_file_alone(path, tree, monkeypatch, function):
    save(path, tree)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("no space")

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(OSError, match="no space"):
        save(path, {"x": np.zeros(3)})
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]
