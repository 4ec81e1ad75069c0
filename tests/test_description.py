"""Layers as text, and back."""

from __future__ import annotations

import dataclasses
import json
import random
import re
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from composed_model import Energies
from torch_cases import CASES

from e3any import Config, Layout, nn
from e3any.checkpoint import load, load_layer, load_metadata, save
from e3any.description import VERSION, describe, layer_of


@dataclasses.dataclass(frozen=True)
class Anything(nn.Layer):
    """A layer with a field of any kind."""

    field: object = None

    def forward(self, p, x):
        return x


LAYERS = {name: case.layer for name, case in CASES.items() if type(case.layer).__module__.startswith("e3any.")}
OPTIONS = {
    "function": nn.Gate(nn.relu),
    "nested": nn.Residual(nn.TensorDense(3, use_fused_tensor=True)),
    "sequence": nn.PathMessagePass(hidden=[3, 4]),
    "initialiser": nn.Dense(2, kernel_init=nn.initializers.Constant(0.5)),
    "function that draws": nn.Dense(2, kernel_init=nn.initializers.tensor_lecun_normal()),
}


@pytest.mark.parametrize("layer", [*LAYERS.values(), *OPTIONS.values()], ids=[*LAYERS, *OPTIONS])
def test_layers_are_what_their_descriptions_say(layer):
    text = describe(layer)
    assert layer_of(text) == layer
    assert describe(layer_of(text)) == text
    assert json.loads(text)["version"] == VERSION


@pytest.mark.parametrize(
    "value",
    [
        True,
        3,
        0.1,
        -1e-300,
        "text",
        None,
        (1, (2.5, None)),
        nn.silu,
        Layout(1, 2),
        nn.Tensor(),
        nn.initializers.Zeros(),
    ],
)
def test_fields_are_kept(value):
    assert layer_of(describe(Anything(value)), [Anything]) == Anything(value)


def test_functions_keep_their_options():
    layer = layer_of(describe(Anything(partial(nn.smooth_cutoff, cutoff=4.5))), [Anything])
    assert layer.field.func is nn.smooth_cutoff
    assert layer.field.keywords == {"cutoff": 4.5}


def test_arrays_are_kept():
    mask = np.asarray([[True, False]])
    layer = layer_of(describe(Anything(nn.initializers.MaskedScaling(np.asarray([0.1, 2.0]), mask))), [Anything])
    np.testing.assert_array_equal(layer.field.mask, mask)
    np.testing.assert_array_equal(layer.field.scale, [0.1, 2.0])
    assert layer.field.mask.dtype == bool


@pytest.mark.parametrize("dtype", [np.float32, np.dtype("float32"), torch.float32, jnp.float32, "float32"], ids=repr)
def test_dtypes_of_all_libraries_have_one_name(dtype):
    assert layer_of(describe(nn.Dense(2, dtype=dtype))) == nn.Dense(2, dtype="float32")


def test_settings_are_those_of_when_the_layer_was_built():
    with Config.use(cartesian_order=False):
        layer = nn.Tensor()
    assert layer_of(describe(layer)).cartesian_order is False


@pytest.mark.parametrize("value", [lambda x: x, object(), {"a": 1}, partial(nn.silu, 1), int, print, 1j])
def test_what_has_no_description_is_refused(value):
    with pytest.raises(TypeError, match=r"expected Anything\.field"):
        describe(Anything((value,)))


def test_only_layers_are_described():
    with pytest.raises(TypeError, match="expected the description of a layer"):
        describe(nn.Dense)


def changed(**changes):
    return json.dumps(json.loads(describe(nn.Dense(2))) | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected a description of a layer in JSON"),
        (None, "expected a description of a layer in JSON"),
        ("[]", "expected a description of version"),
        (changed(version=VERSION + 1), "expected a description of version 1, got 2"),
        (changed(layer=3), "expected the description of a layer, got 3"),
        (changed(layer={"class": "Dense"}), "expected a class and its fields"),
        (changed(layer={"class": "os.system", "fields": {}}), "expected a class of e3any.nn or one that is given"),
        (changed(layer={"class": "Dense", "fields": {"unknown": 1}}), "expected fields of Dense, got"),
        (changed(layer={"class": "Dense", "fields": {"features": -1}}), "expected features"),
        (changed(layer={"function": "eval"}), "expected a function of e3any.nn or one that is given"),
        (changed(layer={"class": "Layout", "fields": {"max_degree": 1, "features": 2}}), "expected the description of"),
        (describe(Anything()), "expected a class of e3any.nn or one that is given, got 'Anything'"),
    ],
)
def test_other_texts_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        layer_of(text)


def of_field(value):
    """Return a description whose field is any JSON."""
    return f'{{"version": 1, "layer": {{"class": "Anything", "fields": {{"field": {value}}}}}}}'


HOSTILE = {
    "deep lists": ("[" * 100_000 + "]" * 100_000, "moderate size and depth"),
    "a little too deep": ("[" * 102 + "]" * 102, "nested at most 100 times"),
    "deep layers": ('{"class": "Anything", "fields": {"field": ' * 300 + "1" + "}}" * 300, "nested at most 100 times"),
    "a name twice": ('{"function": "silu", "function": "relu"}', "expected every name once"),
    "NaN": ("NaN", "expected finite numbers"),
    "Infinity": ("[-Infinity]", "expected finite numbers"),
    "infinite": ("1e400", "expected finite numbers"),
    "long integer": ("1" * 5000, "at most 64 bits"),
    "half a character": ('"\\ud800"', "UTF-8"),
    "other float": ('{"float": "1"}', "expected a class and its fields"),
    "float of a list": ('{"float": ["inf"]}', "expected a class and its fields"),
    "nothing": ("{}", "expected a class and its fields"),
    "class of a list": ('{"class": ["Dense"], "fields": {}}', "expected a class of e3any.nn"),
    "fields of a list": ('{"class": "Dense", "fields": [8]}', "expected hyper-parameters by name"),
    "fields of None": ('{"class": "Dense", "fields": null}', "expected hyper-parameters by name"),
    "more than fields": ('{"class": "Dense", "fields": {"features": 2}, "more": 1}', "expected a class and its fields"),
    "abstract class": ('{"class": "Layer", "fields": {}}', "expected a class of e3any.nn"),
    "features of text": ('{"class": "Dense", "fields": {"features": "8"}}', "expected features"),
    "features of a list": ('{"class": "Dense", "fields": {"features": [8]}}', "expected features"),
    "setting of a number": ('{"class": "Tensor", "fields": {"use_fused_tensor": 1}}', "expected fields of Tensor"),
    "setting of a list": ('{"class": "Tensor", "fields": {"cartesian_order": []}}', "expected"),
    "dtype of a dictionary": ('{"class": "Dense", "fields": {"features": 1, "dtype": {"array": 1}}}', "expected"),
    "distribution of a list": ('{"class": "VarianceScaling", "fields": {"distribution": [[]]}}', "expected"),
    "negative degree": ('{"class": "Layout", "fields": {"max_degree": -1, "features": 2}}', "expected"),
    "unknown function": ('{"function": "eval"}', "expected a function of e3any.nn"),
    "function of a list": ('{"function": []}', "expected a function of e3any.nn"),
    "private function": ('{"function": "__import__"}', "expected a function of e3any.nn"),
    "options of a list": ('{"function": "silu", "options": [1]}', "expected hyper-parameters by name"),
    "unknown option": ('{"function": "smooth_cutoff", "options": {"unknown": 1}}', "expected options of smooth_cutoff"),
    "first argument": ('{"function": "smooth_cutoff", "options": {"r": 1}}', "expected options of smooth_cutoff"),
    "array of text": ('{"array": ["a"], "dtype": "float32"}', "expected an array of float32"),
    "array of objects": ('{"array": [{}], "dtype": "object"}', "expected a dtype of"),
    "array of no dtype": ('{"array": [1]}', "expected a dtype of"),
    "array of dates": ('{"array": [1], "dtype": "M8[s]"}', "expected a dtype of"),
    "array of records": ('{"array": [1], "dtype": [["a", "f4"]]}', "expected a dtype of"),
    "array of rows of different lengths": ('{"array": [[1], [1, 2]], "dtype": "int8"}', "expected an array of int8"),
    "array of large numbers": ('{"array": [300], "dtype": "uint8"}', "expected an array of uint8"),
    "array of large floats": ('{"array": [1e300], "dtype": "float32"}', "expected an array of float32"),
    "array of fractions": ('{"array": [1.5], "dtype": "int32"}', "expected an array of int32"),
    "array of bools as numbers": ('{"array": [2], "dtype": "bool"}', "expected an array of bool"),
    "array of long numbers": ('{"array": [0.1], "dtype": "bfloat16"}', "expected an array of bfloat16"),
    "array of another shape": ('{"array": [], "dtype": "int8", "shape": [3]}', "expected an array of int8"),
    "array of no shape": ('{"array": [], "dtype": "int8", "shape": "a"}', "expected an array of int8"),
    "huge shape": ('{"array": [], "dtype": "int8", "shape": [0, 18446744073709551615]}', "expected an array of int8"),
    "deep array": ('{"array": ' + "[" * 500 + "]" * 500 + ', "dtype": "int8"}', "expected an array of int8"),
    "more than an array": ('{"array": [1], "dtype": "int8", "class": "Dense"}', "expected an array and its dtype"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_are_value_errors(name):
    value, message = HOSTILE[name]
    with pytest.raises(ValueError, match=message) as error:
        layer_of(of_field(value), [Anything])
    assert len(str(error.value)) < 1200


NO_DESCRIPTIONS = ["null", "1", '""', "[]", '{"version": true, "layer": 1}', '{"version": 1.0}', b"\xff", 1]


@pytest.mark.parametrize("text", NO_DESCRIPTIONS)
def test_texts_that_are_no_descriptions_are_value_errors(text):
    with pytest.raises(ValueError, match="expected a description"):
        layer_of(text)


def mutated(value, rng):
    """Return JSON with one part of it replaced."""
    if isinstance(value, dict | list) and value and rng.random() < 0.85:
        key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
        changed = dict(value) if isinstance(value, dict) else list(value)
        if rng.random() < 0.1:
            del changed[key]
        elif isinstance(value, dict) and rng.random() < 0.1:
            changed[rng.choice(("features", "class", "options", "array", "dtype", "function", ""))] = changed.pop(key)
        else:
            changed[key] = mutated(value[key], rng)
        return changed
    return rng.choice((None, True, -1, 0, 7, 2**63, 1e300, 0.5, "", "float32", "Dense", [], [[]], {}, {"array": value}))


@pytest.mark.parametrize("name", [*LAYERS, *OPTIONS])
def test_changed_descriptions_are_layers_that_can_be_described_or_value_errors(name):
    rng = random.Random(name)
    content = json.loads(describe((LAYERS | OPTIONS)[name]))
    for _ in range(40):
        try:
            layer = layer_of(json.dumps(mutated(content, rng)))
        except ValueError:
            continue
        assert describe(layer_of(describe(layer))) == describe(layer)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "float32", "float64", ">f4", "bfloat16"])
@pytest.mark.parametrize("shape", [(), (0, 3), (3, 0), (2, 3)], ids=str)
def test_arrays_are_kept_with_dtype_and_shape(dtype, shape, rng):
    x = np.asarray(rng.normal(size=shape) * 3 + 4, dtype)
    found = layer_of(describe(Anything(x)), [Anything]).field
    assert (found.dtype.name, found.shape) == (x.dtype.name, shape)
    np.testing.assert_array_equal(found, x)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_infinite_numbers_are_kept_in_strict_json(dtype):
    x = np.asarray([[np.inf, -np.inf], [np.nan, 1.0]], dtype)
    text = describe(Anything((x, np.inf, float("nan"))))
    assert not {"NaN", "Infinity"} & set(re.findall(r"\w+", text))
    array, infinite, nan = layer_of(text, [Anything]).field
    np.testing.assert_array_equal(np.float64(array), np.float64(x))
    assert array.dtype == x.dtype
    assert infinite == np.inf
    assert nan != nan


def test_numbers_of_numpy_are_numbers():
    assert describe(Anything((np.int64(3), np.float64(0.5), np.bool_(True)))) == describe(Anything((3, 0.5, True)))


@pytest.mark.parametrize(
    "value",
    [
        2**64,
        -(2**63) - 1,
        "\ud800",
        np.zeros(2, complex),
        np.asarray(["a"]),
        np.asarray([None]),
        np.ma.masked_array([1.0], [True]),
        np.complex64(1),
        partial(nn.silu, unknown=1),
        partial(nn.smooth_cutoff, r=1),
    ],
)
def test_what_layer_of_refuses_is_not_described(value):
    with pytest.raises(TypeError, match=r"expected .*Anything\.field"):
        describe(Anything(value))


def test_classes_with_names_of_ours_are_not_described():
    @dataclasses.dataclass(frozen=True)
    class Dense(Anything):
        """Not that of e3any."""

    with pytest.raises(TypeError, match=r"of a class with another name than that of e3any\.nn, got Dense"):
        describe(Dense(1))


def test_fields_that_contain_themselves_are_not_described():
    endless = []
    endless.append(endless)
    with pytest.raises(TypeError, match="nested at most 100 times"):
        describe(Anything(endless))


def test_classes_are_those_of_layers():
    with pytest.raises(TypeError, match="expected a class of descriptions of layers"):
        layer_of(describe(nn.Dense(2)), [int])


def test_checkpoints_hold_their_layer(tmp_path):
    path, model = tmp_path / "model.safetensors", Energies(features=2, blocks=1)
    save(path, {"x": np.ones(2)}, {"note": "first"}, layer=model)
    assert load_layer(path, [Energies]) == model
    assert load_metadata(path)["note"] == "first"
    before = path.read_bytes()
    save(path, load(path), load_metadata(path))
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="got 'Energies'"):
        load_layer(path)


def test_checkpoints_without_a_layer_say_so(tmp_path):
    save(tmp_path / "model.safetensors", {"x": np.ones(2)})
    with pytest.raises(ValueError, match="expected a checkpoint that was saved with its layer"):
        load_layer(tmp_path / "model.safetensors")


def test_layers_that_cannot_be_described_leave_the_file_as_it_is(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(TypeError, match=r"expected Anything\.field"):
        save(path, {"x": np.ones(2)}, layer=Anything(object()))
    assert not path.exists()
