"""Curves and tables of matplotlib: what is drawn."""

from __future__ import annotations

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pytest

from e3any import nn, plot
from e3any.nn.layer import initialize
from e3any.testing import TOLERANCES


def lines(figure):
    """Return the curves of a figure by their labels."""
    (axes, *_) = figure.axes
    return {line.get_label(): line.get_xydata().T for line in axes.lines}


def test_radial_functions_are_those_of_the_function():
    drawn = lines(plot.radial_functions(nn.reciprocal_bernstein, 3, limits=(0, 5)))
    assert list(drawn) == ["k = 0", "k = 1", "k = 2"]
    for k, (x, y) in enumerate(drawn.values()):
        assert (x[0], x[-1]) == (0, 5)
        np.testing.assert_array_equal(y, nn.reciprocal_bernstein(x, 3)[:, k])


def test_functions_are_named_with_their_arguments():
    drawn = lines(plot.scalar_functions(nn.cosine_cutoff, partial(nn.smooth_cutoff, cutoff=0.5)))
    assert list(drawn) == ["cosine_cutoff", "smooth_cutoff(cutoff=0.5)"]
    x, y = drawn["smooth_cutoff(cutoff=0.5)"]
    assert y[0] == 1
    assert not y[x >= 0.5].any()


def test_activations_and_gates_differ_by_the_scalar():
    drawn = lines(plot.activations(nn.gelu, limits=(-2, 3)))
    (x, activation), (_, gate) = drawn.values()
    np.testing.assert_allclose(activation, x * gate, atol=1e-15)
    np.testing.assert_allclose(activation, nn.gelu(x[:, None, None, None])[:, 0, 0, 0])


def test_learning_curves_are_running_means():
    drawn = lines(plot.learning_curves({"long": [4.0, 2.0, 1.0, 3.0], "short": [5.0]}, window=2))
    np.testing.assert_allclose(drawn["long"], [[2, 3, 4], [3.0, 1.5, 2.0]])
    np.testing.assert_allclose(drawn["short"], [[1], [5.0]])


def test_errors_of_equivariance_stand_beside_what_tests_allow():
    figure = plot.equivariance_errors({"float32": {2: 2e-7, 1: 1e-7, 0: 0.0}, "model": {1: 1e-3}})
    drawn = lines(figure)
    np.testing.assert_allclose(drawn["float32"], [[1, 2], [1e-7, 2e-7]])
    np.testing.assert_allclose(drawn["model"], [[1], [1e-3]])
    allowed = [xy[1] for label, xy in drawn.items() if label.startswith("_")]
    np.testing.assert_array_equal(allowed, [[TOLERANCES["float32"]] * 2])
    assert figure.axes[0].get_yscale() == "log"


def test_weights_stand_at_their_paths(library, rng):
    kernel = np.zeros((1, 2, 1, 3, 2, 2, 4))
    kernel[0, 1, 0, 2, 1, 1] = [1.0, -1.0, 1.0, -1.0]  # 1- with 2+ to 1-
    kernel[0, 0, 0, 0, 0, 1] = 7.0  # no path: two scalars do not make a vector
    (axes, _) = (figure := plot.tensor_paths(library.array(kernel))).axes
    rows, columns = (
        [label.get_text() for label in labels] for labels in (axes.get_yticklabels(), axes.get_xticklabels())
    )
    matrix = axes.images[0].get_array()
    assert matrix.shape == (6, 4)
    assert matrix[rows.index("1- ⊗ 2+"), columns.index("1-")] == 1
    assert matrix.sum() == 1
    assert len(figure.axes) == 2


def test_paths_are_those_that_contribute_to_a_product(rng):
    x, y = (rng.normal(size=(1, 9, 2)) for _ in range(2))
    layer = nn.Tensor(2)
    params = initialize(layer.parameters(x, y), rng)
    matrix = plot.tensor_paths(params["kernel"]).axes[0].images[0].get_array()
    assert np.isfinite(np.ma.filled(matrix, np.nan)).sum() == (np.ma.filled(matrix, 0.0) > 0).sum() == 11 + 4


def test_figures_are_drawn_where_asked_and_not_kept_by_pyplot():
    before = plt.get_fignums()
    figure, (axes, matrix) = plt.subplots(1, 2)
    for drawn in (
        plot.radial_functions(nn.sinc, axes=axes),
        plot.scalar_functions(nn.smooth_switch, axes=axes),
        plot.activations(nn.relu, axes=axes),
        plot.learning_curves({"run": [1.0]}, axes=axes),
        plot.equivariance_errors({"float64": {1: 1e-15}}, axes=axes),
        plot.tensor_paths(np.ones((1, 1, 1, 1, 1, 1, 1)), axes=matrix),
    ):
        assert drawn is figure
    plt.close(figure)
    plot.activations(nn.relu)
    assert plt.get_fignums() == before


@pytest.mark.parametrize(
    ("error", "call", "message"),
    [
        (TypeError, lambda: plot.radial_functions(3), "expected function to be a function, got 3"),
        (ValueError, lambda: plot.radial_functions(nn.sinc, 0), "expected num .* got 0"),
        (ValueError, lambda: plot.radial_functions(nn.sinc, limits=(1, 0)), "expected limits .* got"),
        (ValueError, lambda: plot.radial_functions(lambda x, num: x), "expected functions of shape .* got"),
        (ValueError, plot.scalar_functions, "expected at least one function, got none"),
        (ValueError, lambda: plot.scalar_functions(lambda x: x[1:]), "expected values of shape .* got"),
        (TypeError, lambda: plot.activations(nn.relu, "relu"), "expected every one of functions .* got 'relu'"),
        (ValueError, lambda: plot.learning_curves({"run": []}), "expected losses .* got"),
        (ValueError, lambda: plot.learning_curves({"run": [1.0]}, window=0), "expected window .* got 0"),
        (ValueError, lambda: plot.equivariance_errors({}), "expected at least one error .* got"),
        (ValueError, lambda: plot.equivariance_errors({"float32": {1: -1.0}}), "expected errors >= 0, got -1.0"),
        (ValueError, lambda: plot.tensor_paths(np.ones((1, 2, 1, 2, 1, 2))), "expected a kernel of shape .* got"),
        (ValueError, lambda: plot.tensor_paths(np.ones((3, 2, 1, 2, 1, 2, 1))), "expected a kernel of shape .* got"),
        (TypeError, lambda: plot.tensor_paths(np.ones((1, 2, 1, 2, 1, 2, 1), int)), "expected kernel .* got"),
    ],
)
def test_bad_input_is_refused(error, call, message):
    with pytest.raises(error, match=message):
        call()
