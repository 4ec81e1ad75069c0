"""Checkpoints."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import save_file

from e3any import checkpoint, conventions
from e3any.checkpoint import load, load_layer, load_metadata, save

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


def test_tree_of_no_arrays_is_a_header_alone(path):
    save(path, {}, metadata={"note": "empty"})
    content = path.read_bytes()
    assert len(content) == 8 + int.from_bytes(content[:8], "little")
    assert load(path) == {}
    assert load_metadata(path)["note"] == "empty"


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


NAMES = st.text(st.characters(exclude_characters=".", exclude_categories=["Cs"]), min_size=1, max_size=8)
DTYPES = st.sampled_from(["float64", "float32", "float16", "int64", "int32", "int8", "uint8", "bool", ">f8"])
ARRAYS = DTYPES.flatmap(lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, min_side=0, max_side=3)))
TREES = st.recursive(ARRAYS, lambda leaf: st.dictionaries(NAMES, leaf, max_size=4), max_leaves=8)


@given(tree=st.dictionaries(NAMES, TREES, max_size=3), notes=st.dictionaries(NAMES, NAMES, max_size=3))
@settings(derandomize=True, max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_saving_what_was_loaded_gives_the_same_bytes_for_all_trees(tmp_path_factory, tree, notes):
    path = tmp_path_factory.mktemp("tree") / "model.safetensors"
    save(path, tree, notes)
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


def test_the_package_that_is_missing_is_named(path, tree, monkeypatch):
    save(path, tree)
    before = path.read_bytes()
    monkeypatch.setitem(sys.modules, "safetensors", None)
    for function in (load, load_metadata, load_layer, lambda name: save(name, {})):
        with pytest.raises(ImportError, match=r"pip install 'e3any\[checkpoint\]'") as error:
            function(path)
        assert error.value.name == "safetensors"
    assert path.read_bytes() == before


def test_notes_that_no_reader_accepts_are_not_written(path, tree, monkeypatch):
    monkeypatch.setattr(checkpoint, "_LONGEST_HEADER", 1000)
    save(path, tree, {"note": "a" * 100})
    before = path.read_bytes()
    with pytest.raises(ValueError, match="expected names and notes of at most 1000 bytes, got"):
        save(path, tree, {"note": "a" * 1000})
    assert path.read_bytes() == before


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


def test_the_name_of_the_notes_is_no_name_of_a_parameter(path):
    with pytest.raises(ValueError, match="expected another name than that of the notes, got '__metadata__'"):
        save(path, {"__metadata__": np.zeros(2)})
    save(path, {"layer": {"__metadata__": np.zeros(2)}})
    assert_equal_trees(load(path), {"layer": {"__metadata__": np.zeros(2)}})


@pytest.mark.parametrize("tree", [None, [np.zeros(2)], np.zeros(2), {1: np.zeros(2)}, {"layer": {(): np.zeros(2)}}])
def test_other_than_mappings_of_strings_raise(path, tree):
    with pytest.raises(TypeError, match=r"expected .*, got"):
        save(path, tree)
    assert not path.exists()


@pytest.mark.parametrize("notes", [{"epoch": 1}, {1: "epoch"}, {"note": None}])
def test_notes_other_than_strings_raise(path, tree, notes):
    with pytest.raises(TypeError, match="expected metadata of strings, got"):
        save(path, tree, notes)
    assert not path.exists()


@pytest.mark.parametrize("dtype", ["object", "complex128", "U2", "M8[s]"])
def test_other_than_real_numbers_raise(path, dtype):
    with pytest.raises(TypeError, match="expected an array of real numbers or bools at 'x', got dtype"):
        save(path, {"x": np.zeros(2, dtype)})
    assert not path.exists()


@pytest.mark.parametrize("names", [("a", "a.b"), ("a.b", "a"), ("a.b.c", "a.b")])
def test_a_name_is_not_both_that_of_a_parameter_and_of_a_node(path, names):
    save_file({name: np.zeros(2) for name in names}, path, metadata=NOTES)
    with pytest.raises(ValueError, match=r"expected either a parameter or a node at '[ab]', got both in"):
        load(path)


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


def test_files_have_the_permissions_that_new_files_have(path, tree):
    save(path, tree)
    (path.parent / "other").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((path.parent / "other").stat().st_mode)


def start(script: str, *arguments: object) -> subprocess.Popen:
    """Start a Python program."""
    folders = [str(Path(__file__).parents[1] / folder) for folder in (".", "backends", "adapters")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)], env=environment)


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_process_that_dies_while_it_writes_leaves_the_old_file_alone(path, tree, function):
    save(path, tree)
    before = path.read_bytes()
    script = f"""
        import os, sys
        import numpy as np
        from e3any import checkpoint

        os.{function} = lambda *_: os._exit(9)
        checkpoint.save(sys.argv[1], {{"x": np.zeros(3)}})
    """
    assert start(script, path).wait(60) == 9
    assert path.read_bytes() == before
    assert_equal_trees(load(path), tree)


def test_processes_load_and_save_side_by_side(path):
    script = """
        import sys
        import numpy as np
        from e3any import checkpoint

        path, number = sys.argv[1], int(sys.argv[2])
        for _ in range(60):
            checkpoint.save(path, {"layer": {"x": np.full(2000, number), "y": np.full((3, 5), number)}})
            tree = checkpoint.load(path)["layer"]
            assert set(tree["x"]) | set(tree["y"].ravel()) in ({1}, {2})
    """
    programs = [start(script, path, number) for number in (1, 2)]
    assert [program.wait(60) for program in programs] == [0, 0]
    assert os.listdir(path.parent) == [path.name]
