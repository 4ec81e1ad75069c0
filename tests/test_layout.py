"""The layout of features."""

from __future__ import annotations

import numpy as np
import pytest

from e3any.checks import check_degree, check_vectors
from e3any.layout import Layout

LAYOUTS = [Layout(l, f, both) for l in (0, 1, 4) for f in (0, 1, 7) for both in (False, True)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("lead", [(), (3,), (0, 2)])
def test_layout_is_read_off_an_array_of_it(library, layout, lead):
    example = layout.example(*lead)
    assert example.shape == (*lead, *layout.shape)
    assert example.dtype == np.float32
    assert Layout.of(library.array(example)) == layout


def test_shape_has_parities_components_and_features():
    assert Layout(2, 5).shape == (1, 9, 5)
    assert Layout(3, 4, pseudotensors=True).shape == (2, 16, 4)
    assert Layout(3, 4).num_parities == 1
    assert Layout(3, 4, pseudotensors=True).num_parities == 2


@pytest.mark.parametrize("shape", [(), (4,), (4, 3)])
def test_fewer_than_three_axes_raise(library, shape):
    with pytest.raises(ValueError, match=r"expected inputs of shape .*, got \("):
        Layout.of(library.array(np.zeros(shape)))


@pytest.mark.parametrize("parities", [0, 3, 4])
def test_other_parity_axes_raise(library, parities):
    with pytest.raises(ValueError, match=rf"got a parity axis of length {parities} in \({parities}, 4, 3\)"):
        Layout.of(library.array(np.zeros((parities, 4, 3))))


@pytest.mark.parametrize("components", [0, 2, 3, 5, 8, 10])
def test_numbers_of_components_that_are_no_squares_raise(library, components):
    with pytest.raises(ValueError, match=rf"expected y of shape .* got {components} components"):
        Layout.of(library.array(np.zeros((1, components, 3))), "y")


@pytest.mark.parametrize("value", [-1, 1.0, True, "2", None])
def test_bad_degrees_and_features_raise(value):
    with pytest.raises(ValueError, match="expected max_degree to be an integer >= 0, got"):
        Layout(value, 3)
    with pytest.raises(ValueError, match="expected features to be an integer >= 0, got"):
        Layout(1, value)
    with pytest.raises(ValueError, match="expected num to be an integer >= 0, got"):
        check_degree(value, "num")


def test_integers_of_numpy_are_degrees():
    assert Layout(np.int64(2), np.int32(3)).shape == (1, 9, 3)


@pytest.mark.parametrize("shape", [(), (2,), (3, 4), (3, 0)])
def test_other_than_vectors_raise(library, shape):
    with pytest.raises(ValueError, match=r"expected r of shape \(\.\.\., 3\), got \("):
        check_vectors(library.array(np.zeros(shape)))


def test_layout_is_immutable_and_hashable():
    assert len({Layout(1, 2), Layout(1, 2), Layout(1, 2, pseudotensors=True)}) == 2
    with pytest.raises(AttributeError):
        Layout(1, 2).features = 3
