"""Laws of layers that work row by row, for layouts, features and parameters that are drawn."""

from __future__ import annotations

import numpy as np
import torch
from backends_matrix import Library
from drawn_cases import Products, products, rows
from e3any_backends import kernels
from hypothesis import assume, given
from hypothesis import strategies as st
from layer_cases import cast, torch_gradient, tree_map

from e3any import Layout, nn
from e3any.testing import assert_equivariant, assert_parity, strategies

ACTIVATIONS = [nn.silu, nn.gelu, nn.mish, nn.relu, nn.leaky_relu, nn.hard_tanh, nn.serf, nn.soft_sign]


def apply(case: Products, *inputs):
    return case.layer(case.params, *(inputs or case.inputs))


@given(products(), strategies.rotations())
def test_layers_are_equivariant(case, rotation):
    assert_equivariant(lambda *inputs: apply(case, *inputs), *case.inputs, rotation=rotation)


@given(products(), strategies.rotations())
def test_gradients_of_layers_are_equivariant(case, rotation):
    params, inputs = cast((case.params, case.inputs), Library.TORCH)
    gradient = torch_gradient(lambda *inputs: case.layer(params, *inputs))
    assert_equivariant(gradient, *inputs, rotation=rotation)


@given(st.data(), strategies.layouts(), strategies.rotations())
def test_activations_are_equivariant(data, layout, rotation):
    activation = data.draw(st.sampled_from(ACTIVATIONS))
    assert_equivariant(activation, data.draw(rows(layout, 3)), rotation=rotation)


@given(strategies.layouts(least_features=0), st.integers(0, 4), st.booleans(), st.data())
def test_features_survive_a_larger_layout(layout, degree, pseudotensors, data):
    x = data.draw(strategies.features(layout, 2))
    larger = nn.change_max_degree_or_type(x, layout.max_degree + degree, pseudotensors or layout.pseudotensors)
    assert Layout.of(larger).pseudotensors == (pseudotensors or layout.pseudotensors)
    assert_parity(nn.change_max_degree_or_type(larger, layout.max_degree, layout.pseudotensors), x)


@given(products(), st.data())
def test_order_of_rows_is_kept(case, data):
    order = data.draw(st.permutations(range(len(case.inputs[0]))))
    assert_parity(apply(case, *(x[order] for x in case.inputs)), apply(case)[order])


@given(products(), st.sampled_from([np.nan, np.inf, 1e30]))
def test_rows_do_not_depend_on_each_other(case, value):
    inputs = [x.copy() for x in case.inputs]
    for x in inputs:
        x[1:] = value
    with np.errstate(all="ignore"):
        alone = apply(case, *inputs)[:1]
    assert_parity(alone, apply(case)[:1])


@given(products(), st.data())
def test_products_are_linear_in_each_factor(case, data):
    assume(not isinstance(case.layer, nn.TensorDense) and not getattr(case.layer, "use_bias", False))
    first, *rest = case.inputs
    other = data.draw(rows(Layout.of(first), len(first)))
    a, b = data.draw(st.tuples(st.integers(-8, 8), st.integers(1, 8)))
    sum_of_images = a / 4 * apply(case, first, *rest) + b / 4 * apply(case, other, *rest)
    assert_parity(apply(case, a / 4 * first + b / 4 * other, *rest), sum_of_images)


@given(products(), st.sampled_from(["float64", "float32"]))
def test_libraries_agree_and_keep_dtypes(case, dtype):
    params, inputs = cast((case.params, case.inputs), Library.NUMPY, dtype)
    expected = case.layer(params, *inputs)
    for library in (Library.STRICT, Library.TORCH):
        actual = case.layer(*(cast(x, library, dtype) for x in (params, *inputs)))
        assert library.owns(actual)
        assert_parity(actual, expected, dtype)


@given(products(), st.sampled_from(["float64", "float32"]))
def test_kernels_give_what_plain_forms_give(case, dtype):
    params, inputs = tree_map(lambda x: torch.from_numpy(x.astype(dtype)).requires_grad_(), (case.params, case.inputs))
    results = []
    for enabled in (True, False):
        with kernels.enabled(enabled):
            y = case.layer(params, *inputs)
            results.append([y.detach(), torch.autograd.grad(y.sin().sum(), inputs[0])[0]])
    assert_parity(*results, dtype)
