"""Files that are damaged or hostile: a ValueError says so, and nothing else happens."""

from __future__ import annotations

import json
import random
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import load_file
from safetensors.numpy import save as by_safetensors

from e3any import checkpoint, conventions, nn
from e3any.files.strict_json import parse

NOTES = {"format": "e3any", "conventions": str(conventions.VERSION)}
ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
DEEP = 100_000


def file_of(header, data=bytes(8)):
    """Return a file with any header: text, or what JSON has."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(**changes):
    return file_of({"__metadata__": NOTES, "x": ENTRY | changes})


def keyed(*keys):
    """Return a file with an array under every key."""
    entries = {k: {"dtype": "U8", "shape": [1], "data_offsets": [i, i + 1]} for i, k in enumerate(keys)}
    return file_of({"__metadata__": NOTES} | entries, bytes(len(keys)))


BY_SAFETENSORS = "Error while deserializing"
NOTES_TEXT, ENTRY_TEXT = json.dumps(NOTES).encode(), json.dumps(ENTRY).encode()
ENTRY_TWICE = b'{"__metadata__":%s,"x":%s,"x":%s}' % (NOTES_TEXT, ENTRY_TEXT.replace(b"F32", b"I32"), ENTRY_TEXT)
FILES = {
    "nothing": (b"", BY_SAFETENSORS),
    "half a length": (b"1234", BY_SAFETENSORS),
    "endless header": (b"\xff" * 8 + b"{}", BY_SAFETENSORS),
    "no JSON": (file_of(b"{"), BY_SAFETENSORS),
    "no text": (file_of(b'{"\xff": 1}'), BY_SAFETENSORS),
    "no object": (file_of([1]), BY_SAFETENSORS),
    "deep lists": (file_of(b'{"x":' + b"[" * DEEP + b"]" * DEEP + b"}"), BY_SAFETENSORS),
    "deep objects": (file_of(b'{"a":' * DEEP + b"1" + b"}" * DEEP), BY_SAFETENSORS),
    "deep names": (keyed(".".join("a" * 101)), "expected paths of at most 100 names"),
    "NaN": (file_of(b'{"x": NaN}'), BY_SAFETENSORS),
    "Infinity": (file_of(b'{"x": -Infinity}'), BY_SAFETENSORS),
    "infinite": (file_of(b'{"x": 1e999}'), BY_SAFETENSORS),
    "long integer": (file_of(b'{"x": ' + b"9" * 5000 + b"}"), BY_SAFETENSORS),
    "a name twice": (file_of(ENTRY_TWICE), "expected every name once, got 'x'"),
    "a note twice": (file_of(b'{"__metadata__":{"a":"1","a":"2"}}', b""), "expected every name once, got 'a'"),
    "half a character": (keyed("\ud800"), BY_SAFETENSORS),
    "notes of a list": (file_of({"__metadata__": [1]}), BY_SAFETENSORS),
    "a note of a number": (file_of({"__metadata__": NOTES | {"x": 1}}), BY_SAFETENSORS),
    "an entry of a number": (file_of({"__metadata__": NOTES, "x": 1}), BY_SAFETENSORS),
    "dtype of a list": (entry(dtype=["F32"]), BY_SAFETENSORS),
    "dtype of no name": (entry(dtype=""), BY_SAFETENSORS),
    "dtype of NumPy": (entry(dtype="float32"), BY_SAFETENSORS),
    "shape of a number": (entry(shape=2), BY_SAFETENSORS),
    "shape of bools": (entry(shape=[True, 2]), BY_SAFETENSORS),
    "shape of floats": (entry(shape=[2.0]), BY_SAFETENSORS),
    "negative shape": (entry(shape=[-1, -2]), BY_SAFETENSORS),
    "another shape": (entry(shape=[3]), BY_SAFETENSORS),
    "huge shape": (entry(shape=[2**62, 4]), BY_SAFETENSORS),
    "huge shape of nothing": (
        file_of({"__metadata__": NOTES, "x": ENTRY | {"shape": [0, 2**62, 2**62], "data_offsets": [0, 0]}}, b""),
        "array",
    ),
    "many axes": (entry(shape=[1] * 65 + [2]), "maximum supported dimension"),
    "one place": (entry(data_offsets=[0]), BY_SAFETENSORS),
    "places in reverse": (entry(data_offsets=[8, 0]), BY_SAFETENSORS),
    "places beyond": (entry(data_offsets=[8, 16]), BY_SAFETENSORS),
    "a gap at the end": (file_of({"__metadata__": NOTES, "x": ENTRY}, bytes(9)), BY_SAFETENSORS),
    "the same place": (file_of({"__metadata__": NOTES, "x": ENTRY, "y": ENTRY}), BY_SAFETENSORS),
    "no bools": (entry(dtype="BOOL", shape=[8]).replace(bytes(8), bytes([0, 1, 2] + [0] * 5)), "bools of 0 and 1"),
    "an empty name": (keyed(""), "expected names without dots, got ''"),
    "an empty name inside": (keyed("a..b"), "expected names without dots, got ''"),
    "a leaf and a node": (keyed("a", "a.b"), "expected either a parameter or a node"),
    "a node and a leaf": (keyed("a.b", "a"), "expected either a parameter or a node"),
}


@pytest.mark.parametrize("name", FILES)
def test_damaged_and_hostile_files_are_value_errors(tmp_path, name):
    content, message = FILES[name]
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError, match=r"expected a safetensors file, got a damaged one at") as error:
        checkpoint.load(tmp_path / "x")
    assert re.search(message, str(error.value), re.DOTALL)
    assert len(str(error.value)) < 800
    if message == BY_SAFETENSORS:
        with pytest.raises(ValueError, match=r"expected a safetensors file, got a damaged one at"):
            checkpoint.load_metadata(tmp_path / "x")


@pytest.mark.parametrize(("dtype", "shape"), [("F8_E4M3", [8]), ("F8_E5M2", [8]), ("F4", [16]), ("C64", [1])])
def test_dtypes_that_numpy_lacks_are_named_with_their_parameter(tmp_path, dtype, shape):
    (tmp_path / "x").write_bytes(entry(dtype=dtype, shape=shape))
    # Older releases of safetensors do not have all of them either.
    ours = rf"expected a dtype of \[.*'BF16'.*\] of 'x', got '{dtype}'"
    with pytest.raises(ValueError, match=f"{ours}|{BY_SAFETENSORS}"):
        checkpoint.load(tmp_path / "x")


@pytest.mark.parametrize("empty", [(0, 3), (0, 2**40), (2, 0, 5)])
def test_empty_arrays_of_any_shape_are_loaded(tmp_path, empty):
    checkpoint.save(tmp_path / "x", {"x": np.zeros(empty)})
    assert checkpoint.load(tmp_path / "x")["x"].shape == empty


def mutated(content, rng):
    """Return a file with a few changes of bytes, in its header more often than elsewhere."""
    changed, length = bytearray(content), 8 + int.from_bytes(content[:8], "little")
    for _ in range(rng.choice((1, 1, 2, 5))):
        place = rng.randrange(length if rng.random() < 0.9 else len(changed))
        change = rng.choice(("flip", "set", "delete", "insert", "copy"))
        if change == "flip":
            changed[place] ^= 1 << rng.randrange(8)
        elif change == "set":
            changed[place] = rng.choice(b'0123456789"{}[],:-.eE\\tfn')
        elif change == "delete":
            del changed[place : place + rng.randrange(1, 4)]
        elif change == "insert":
            changed[place:place] = rng.choice((b"9" * 30, b"[" * 20, b'"x":', b"null", b"1e400", b"\\ud800", b"-1"))
        else:
            changed[place:place] = changed[place : place + rng.randrange(60)]
        length = min(length, len(changed) - 1)
    # So that most changes of the header reach what reads it.
    if rng.random() < 0.7:
        changed[:8] = max(0, len(changed) - 8 - 56).to_bytes(8, "little")
    return bytes(changed)


@pytest.mark.parametrize("seed", range(4))
def test_changed_files_load_or_are_value_errors_and_save_writes_what_loads(tmp_path, seed):
    path, rng, loaded = tmp_path / "x", random.Random(seed), 0
    tree = {"a": {"kernel": np.ones((2, 3)), "b": np.arange(2, dtype="int16")}, "c": np.ones(4, bool)}
    checkpoint.save(path, tree, {"note": "first"}, layer=nn.Dense(2))
    content = path.read_bytes()
    for _ in range(150):
        path.write_bytes(mutated(content, rng))
        try:
            found, notes = checkpoint.load(path), checkpoint.load_metadata(path)
        except ValueError:
            continue
        loaded += 1
        checkpoint.save(path, found, notes)
        again = checkpoint.load(path)
        assert json.dumps(again, default=repr, sort_keys=True) == json.dumps(found, default=repr, sort_keys=True)
        try:
            nn_layer = checkpoint.load_layer(path)
        except ValueError:
            continue
        assert isinstance(nn_layer, nn.Layer)
    assert loaded > 5


ANY_NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.sampled_from(["a.b", "a", ".", "\0"])
ANY_ARRAYS = st.sampled_from(["float32", "float16", "bool", "uint16", "int64", "complex64"]).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, min_side=0, max_side=2))
)


def outcome(function, *arguments):
    """Return whether a function accepts its arguments."""
    try:
        function(*arguments)
    except (TypeError, ValueError):
        return False
    return True


@given(name=ANY_NAMES, x=ANY_ARRAYS, others=st.dictionaries(ANY_NAMES, ANY_ARRAYS, max_size=2))
@settings(derandomize=True, max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_load_accepts_what_save_accepts_and_nothing_else(tmp_path_factory, name, x, others):
    path = tmp_path_factory.mktemp("tree") / "x"
    if "." not in name:
        path.write_bytes(by_safetensors({name: x}, NOTES))
        accepted = outcome(checkpoint.load, path)
        assert accepted == outcome(checkpoint.save, path, {name: x})
        if accepted:
            found = checkpoint.load(path)[name]
            assert found.dtype == x.dtype
            np.testing.assert_array_equal(found, x)
    path.write_bytes(by_safetensors(others | {name: x}, NOTES))
    if outcome(checkpoint.load, path):
        tree = checkpoint.load(path)
        checkpoint.save(path, tree)
        assert by_safetensors(load_file(path)) == by_safetensors(others | {name: x})


def test_trees_that_are_too_deep_or_contain_themselves_are_refused(tmp_path):
    deep = np.zeros(1)
    for _ in range(100):
        deep = {"a": deep}
    checkpoint.save(tmp_path / "x", deep)
    checkpoint.load(tmp_path / "x")
    endless = {}
    endless["a"] = endless
    for tree in ({"a": deep}, endless):
        with pytest.raises(ValueError, match=r"expected .* of at most 100"):
            checkpoint.save(tmp_path / "x", tree)


@pytest.mark.parametrize("text", ["\ud800", "a\udfff"])
def test_halves_of_characters_are_refused(tmp_path, text):
    for tree, notes in (({text: np.zeros(1)}, {}), ({}, {text: ""}), ({}, {"": text})):
        with pytest.raises(ValueError, match=r"expected .* of whole characters"):
            checkpoint.save(tmp_path / "x", tree, notes)


def test_masks_are_not_lost(tmp_path):
    with pytest.raises(TypeError, match="expected an array without a mask at 'x', got MaskedArray: fill"):
        checkpoint.save(tmp_path / "x", {"x": np.ma.masked_array([1.0, 2.0], [True, False])})


def test_files_are_those_of_safetensors(tmp_path, rng):
    """Only the notes, which safetensors writes in random order, may be elsewhere."""
    names = ("uint64", "int64", "float64", "float32", "uint32", "int32", "float16", "uint16", "int16", "int8", "uint8")
    tensors = {f"{i}.ä\n{name}": rng.normal(size=(i, 3)).astype(name) for name in names for i in range(3)}
    tensors |= {"0": np.asarray(True), "𝒙": np.asarray(1.5)}
    checkpoint.save(tmp_path / "x", {k.replace(".", "-"): x for k, x in tensors.items()})
    expected = by_safetensors({k.replace(".", "-"): x for k, x in tensors.items()}, dict(sorted(NOTES.items())))
    ours = (tmp_path / "x").read_bytes()
    split, other = (8 + int.from_bytes(content[:8], "little") for content in (ours, expected))
    assert ours[split:] == expected[other:]
    assert json.loads(ours[8:split]) == json.loads(expected[8:other])
    assert list(json.loads(ours[8:split])) == list(json.loads(expected[8:other]))


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 1}', "[1e400]", "[" * DEEP, "NaN", "1" * 30, '"\\udc00"', b"\xff", "{"]
)
def test_strict_json_refuses_what_files_of_ours_never_have(text):
    with pytest.raises(ValueError, match=r"."):
        parse(text)
