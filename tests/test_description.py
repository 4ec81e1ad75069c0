"""Layers as text, and back."""

from __future__ import annotations

import dataclasses
import json
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
