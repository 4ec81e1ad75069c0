"""How modules of the adapters describe themselves: signatures, documentation, stubs, layouts, errors."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from pathlib import Path

import e3any_numpy
import e3any_torch
import numpy as np
import pytest
import torch
from e3any_flax import nnx as e3any_nnx
from flax import nnx

from e3any import Layout, nn

LAYERS = sorted(
    (x for x in vars(nn).values() if inspect.isclass(x) and issubclass(x, nn.Layer) and x is not nn.Layer),
    key=lambda x: x.__name__,
)
every_layer = pytest.mark.parametrize("layer", LAYERS, ids=lambda x: x.__name__)
#: Hyper-parameters without default values.
OPTIONS = {
    nn.Dense: {"features": 3},
    nn.Dropout: {"rate": 0.5},
    nn.Embed: {"num_embeddings": 4, "features": 3},
    nn.Residual: {"layer": nn.Dense(16)},
    nn.SO2Dense: {"features": 3},
    nn.ScaleShift: {"num_embeddings": 3},
    nn.SpeciesDense: {"num_embeddings": 3, "features": 2},
    nn.SymmetricContraction: {"num_embeddings": 3},
}


def described(layer):
    """Return a description, and layouts of its inputs at a size that models have."""
    return layer(**OPTIONS.get(layer, {})), [Layout(2, 16) for _ in layer.layouts]


@every_layer
def test_constructors_name_layouts_then_hyper_parameters(layer):
    fields = list(inspect.signature(layer).parameters)
    for module_class, last in (
        (getattr(e3any_torch.nn, layer.__name__), ["generator"]),
        (getattr(e3any_nnx, layer.__name__), ["rngs"]),
    ):
        assert list(inspect.signature(module_class).parameters) == [*layer.layouts, *fields, *last]
    assert list(inspect.signature(getattr(e3any_numpy.nn, layer.__name__)).parameters) == fields


@every_layer
def test_calls_name_the_inputs_of_the_layer(layer):
    names = list(inspect.signature(layer.forward).parameters)[2:]
    torch_names = list(inspect.signature(getattr(e3any_torch.nn, layer.__name__).forward).parameters)
    nnx_names = list(inspect.signature(getattr(e3any_nnx, layer.__name__).__call__).parameters)
    assert torch_names == ["self", *names]
    assert sorted(nnx_names) == sorted(["self", *names, "rngs"])


@every_layer
def test_documentation_says_which_layouts_and_inputs(layer):
    for module_class in (getattr(e3any_torch.nn, layer.__name__), getattr(e3any_nnx, layer.__name__)):
        section = module_class.__doc__.split("Inputs\n------\n")[1]
        assert [name for name in layer.layouts if f"``{name}``" in section] == list(layer.layouts)
        first = list(inspect.signature(layer.forward).parameters)[2]
        assert re.search(rf"^{first}( |,)", section, re.MULTILINE) or "forward" in section
    assert "Layout" not in getattr(e3any_numpy.nn, layer.__name__).__doc__.split("Inputs\n------\n")[1]


# ScaleShift maps invariants of any shape, which have no layout.
@pytest.mark.parametrize("layer", [x for x in LAYERS if x is not nn.ScaleShift], ids=lambda x: x.__name__)
def test_layouts_of_outputs_are_those_that_layers_return(layer):
    description, layouts = described(layer)
    inputs, options = description.example(*layouts)
    params = e3any_numpy.to_numpy(description).init(np.random.default_rng(0), *inputs, **options)
    expected = Layout.of(description(nn.Variables(params, training=False), *inputs, **options))
    assert description.output_layout(*layouts) == expected
    if layer.layouts:
        assert getattr(e3any_torch.nn, layer.__name__)(*layouts, **OPTIONS.get(layer, {})).output_layout() == expected


@every_layer
def test_constructors_take_what_their_signatures_say(layer):
    _, layouts = described(layer)
    options = OPTIONS.get(layer, {})
    for module_class, extra in (
        (getattr(e3any_torch.nn, layer.__name__), {"generator": torch.Generator().manual_seed(0)}),
        (getattr(e3any_nnx, layer.__name__), {"rngs": nnx.Rngs(0)}),
    ):
        inspect.signature(module_class).bind(*layouts, **options, **extra)
        module = module_class(*layouts, **options, **extra)
        assert module.description == layer(**options)


def test_representations_show_layouts_and_what_is_not_default():
    module = e3any_torch.nn.Dense(Layout(1, 16), 8, use_bias=False)
    assert repr(module).splitlines()[1].strip() == f"{Layout(1, 16)}, features=8, use_bias=False"
    assert "Gate()" in repr(e3any_torch.to_torch(nn.Gate(), np.zeros((1, 1, 4, 16), np.float32)))


def test_errors_name_the_layer_and_the_layouts_it_was_built_for():
    module = e3any_torch.nn.TensorDense(Layout(max_degree=1, features=16))
    with pytest.raises(
        ValueError, match=r"the module TensorDense for Layout\(max_degree=1, features=16, .*another layout"
    ):
        module(torch.zeros(2, 1, 4, 8))


def test_outputs_that_are_no_features_have_no_layout():
    class Pair(nn.Layer):
        def forward(self, p, x):
            return x, x

    with pytest.raises(TypeError, match="expected outputs to be an array, got"):
        Pair().output_layout(Layout(0, 1))


def test_stubs_have_the_layers_and_signatures_of_today():
    path = Path(__file__).parents[2] / "docs" / "stubs.py"
    spec = importlib.util.spec_from_file_location("stubs", path)
    stubs = sys.modules["stubs"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stubs)
    for module in stubs.MODULES:
        text = stubs.path(module).read_text(encoding="utf-8")
        for layer in LAYERS:
            (body,) = re.findall(rf"^class {layer.__name__}\(.*?(?=^class |\Z)", text, re.MULTILINE | re.DOTALL)
            for name in [*inspect.signature(layer).parameters, *list(inspect.signature(layer.forward).parameters)[2:]]:
                assert re.search(rf"\b{name}: ", body), (module.name, layer, name)
