"""Surfaces of harmonics and features: what the points of figures are."""

from __future__ import annotations

import numpy as np
import pytest

from e3any import interop, nn, plot, so3


def surfaces(figure):
    return [trace for trace in figure.data if trace.type == "surface"]


def texts(figure):
    (trace,) = [trace for trace in figure.data if trace.type == "scatter3d" and trace.mode == "text"]
    return trace


def points(trace, center=(0.0, 0.0, 0.0)):
    """Return the points (K, 3) of a surface around its centre, and its colours."""
    xyz = np.stack([np.asarray(trace[n], np.float64).ravel() for n in "xyz"], axis=-1)
    return xyz - center, np.asarray(trace.surfacecolor, np.float64).ravel()


def center(trace):
    """Return the centre of a surface that is even or odd: the middle of what it takes."""
    xyz, _ = points(trace)
    return (xyz.max(axis=0) + xyz.min(axis=0)) / 2


def values_at(xyz, coefficients):
    """Return the function that coefficients stand for, in the directions of points."""
    max_degree = int(len(coefficients) ** 0.5) - 1
    return so3.spherical_harmonics(xyz, max_degree) @ coefficients


def assert_surface_is(trace, coefficients, where, scale=1.0):
    xyz, colours = points(trace, where)
    radius = np.linalg.norm(xyz, axis=-1)
    np.testing.assert_allclose(radius, np.abs(colours), atol=1e-5)
    far = radius > 1e-2  # directions of points close to the centre are lost to rounding
    np.testing.assert_allclose(colours[far], values_at(xyz[far], coefficients) / scale, atol=1e-3)


@pytest.mark.parametrize("convention", ["e3x", "e3nn", "orca"])
def test_surfaces_are_the_harmonics_of_a_convention_in_its_order(convention):
    drawn = surfaces(plot.spherical_harmonics(2, convention=convention, resolution=9))
    basis = interop.change_of_basis(convention, 2)
    assert len(drawn) == 9
    for trace, coefficients in zip(drawn, basis):
        assert_surface_is(trace, coefficients, center(trace))


def test_every_degree_is_a_row_and_positions_are_written_below():
    figure = plot.spherical_harmonics(2, resolution=9)
    heights = [round(center(trace)[2], 3) for trace in surfaces(figure)]
    assert [heights.count(height) for height in sorted(set(heights), reverse=True)] == [1, 3, 5]
    labels = texts(figure)
    assert list(labels.text) == [f"[{i}]" for i in range(9)]
    assert all(z < height for z, height in zip(labels.z, heights))


def test_features_are_drawn_by_columns_and_parities_with_one_scale(library, rng):
    x = rng.normal(size=(2, 2, 4, 3))
    figure = plot.features(library.array(x), labels=list("abcdef"), resolution=6)
    drawn = surfaces(figure)
    assert len(drawn) == 12
    largest = max(np.abs(trace.surfacecolor).max() for trace in drawn)
    assert largest == pytest.approx(1)
    columns = np.moveaxis(x, -1, 1).reshape(6, 2, 4)
    y = so3.spherical_harmonics(np.asarray([0.0, 0.0, 1.0]), 1)
    at_pole = [float(trace.surfacecolor[0, 0]) for trace in drawn]  # the first point of every surface
    expected = (columns @ y).ravel()
    np.testing.assert_allclose(at_pole, expected * (at_pole[0] / expected[0]), rtol=1e-5)
    assert list(texts(figure).text) == [*"abcdef", "+", "-"]


def test_features_without_labels_have_none(rng):
    figure = plot.features(rng.normal(size=(1, 4, 2)), resolution=6)
    assert set(texts(figure).text) == {""}


def test_the_surface_of_rotated_features_is_the_rotated_surface(rng):
    x, rotation = rng.normal(size=(1, 9, 1)), so3.random_rotation(rng)
    (before,), (after,) = (
        surfaces(plot.features(features, resolution=12)) for features in (x, nn.rotate(x, so3.wigner_d(rotation, 2)))
    )
    scale = np.abs(values_at(points(before)[0], x[0, :, 0])).max()
    xyz, colours = points(after)
    far = np.linalg.norm(xyz, axis=-1) > 1e-2
    ratio = values_at(xyz[far] @ rotation.T, x[0, :, 0]) / colours[far]
    np.testing.assert_allclose(ratio, scale, rtol=0.1)  # scales are those of grids, which miss the largest value
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)


def test_features_of_the_mirror_image_are_the_mirrored_surface(rng):
    x = rng.normal(size=(1, 9, 1))
    (trace,) = surfaces(plot.features(nn.reflect(x), resolution=12))
    xyz, colours = points(trace)
    far = np.linalg.norm(xyz, axis=-1) > 1e-2
    ratio = values_at(-xyz[far], x[0, :, 0]) / colours[far]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)


def test_steps_of_the_slider_turn_features_once_around_the_axis():
    x = np.zeros((1, 4, 1))
    x[0, 1] = 1.0  # along the x axis
    figure = plot.rotated_features(x, axis=(0, 0, 2), num=4, resolution=9)
    assert [frame.name for frame in figure.frames] == ["0°", "90°", "180°", "270°"]
    assert [step.label for step in figure.layout.sliders[0].steps] == ["0°", "90°", "180°", "270°"]
    for frame, direction in zip(figure.frames, ([1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0])):
        xyz, colours = points(frame.data[0])
        np.testing.assert_allclose(xyz[np.argmax(colours)], direction, atol=1e-6)
    np.testing.assert_array_equal(figure.data[0].z, figure.frames[0].data[0].z)


def of_vector(v, max_degree):
    return so3.spherical_harmonics(np.asarray(v, np.float64), max_degree)[None, :, None]


def shown_by(figure, menu_entry):
    """Return the surfaces that an entry of the menu shows, in order, and the text below them."""
    (button,) = [button for button in figure.layout.updatemenus[0].buttons if button.label == menu_entry]
    assert button.method == "restyle"
    visible = button.args[0]["visible"]
    assert len(visible) == len(figure.data)
    assert visible[0]  # axes
    chosen = [trace for trace, shown in zip(figure.data[1:], visible[1:]) if shown]
    *drawn, text = chosen
    assert all(trace.type == "surface" for trace in drawn)
    return drawn, list(text.text)


def test_couplings_of_two_vectors_are_their_products(library):
    a, b = np.asarray([1.0, 0.0, 0.0]), np.asarray([0.6, 0.0, 0.8])
    figure = plot.couplings(*(library.array(of_vector(v, 2)) for v in (a, b)), resolution=9)
    drawn, names = shown_by(figure, "1 ⊗ 1 → 0, 1, 2")
    assert names == ["x, l = 1", "y, l = 1", "l = 0", "l = 1, pseudo", "l = 2", "⊗"]
    for trace, v in zip(drawn[:2], (a, b)):
        where = center(trace)
        assert_surface_is(trace, np.concatenate([[0.0], v]), where, scale=np.abs(points(trace, where)[0] @ v).max())
    dot, cross, tensor = drawn[2:]
    assert np.ptp(dot.surfacecolor) < 1e-6
    assert dot.surfacecolor[0, 0] > 0
    xyz, colours = points(cross, center(cross))
    direction = xyz[np.argmax(colours)] / np.linalg.norm(xyz[np.argmax(colours)])
    np.testing.assert_allclose(direction, np.cross(a, b) / np.linalg.norm(np.cross(a, b)), atol=1e-6)
    # Norms of irreps: a.b / sqrt(3), a x b / sqrt(2), and what is left of 1.
    rest = 1 - 0.6**2 / 3 - 0.8**2 / 2
    symmetric = np.zeros(9)
    symmetric[4:] = np.einsum("i,j,ijk->k", a, b, so3.clebsch_gordan_for_degrees(1, 1, 2))
    assert np.sum(symmetric**2) == pytest.approx(rest)
    scale = dot.surfacecolor[0, 0] / (0.6 / np.sqrt(3))
    assert_surface_is(tensor, symmetric, center(tensor), scale=1 / scale)
    assert colours.max() == pytest.approx(0.8 / np.sqrt(2) * scale, rel=1e-6)


def test_the_menu_of_couplings_has_all_pairs_and_begins_with_two_vectors():
    figure = plot.couplings(of_vector([0, 0, 1], 2), of_vector([1, 0, 0], 1), resolution=6)
    (menu,) = figure.layout.updatemenus
    assert [button.label for button in menu.buttons] == [
        "0 ⊗ 0 → 0",
        "0 ⊗ 1 → 1",
        "1 ⊗ 0 → 1",
        "1 ⊗ 1 → 0, 1, 2",
        "2 ⊗ 0 → 2",
        "2 ⊗ 1 → 1, 2, 3",
    ]
    assert menu.active == 3
    assert [trace.visible for trace in figure.data] == list(menu.buttons[3].args[0]["visible"])
    assert shown_by(figure, "2 ⊗ 1 → 1, 2, 3")[1][2:5] == ["l = 1", "l = 2, pseudo", "l = 3"]
    largest = [np.abs(trace.surfacecolor).max() for trace in shown_by(figure, "2 ⊗ 1 → 1, 2, 3")[0][2:]]
    assert max(largest) == pytest.approx(1)


def test_features_of_zeros_are_points():
    (trace,) = surfaces(plot.features(np.zeros((1, 1, 1)), resolution=4))
    assert not np.asarray(trace.x).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plot.features(np.ones((1, 4, 2)), labels=["a"]), "expected 2 labels, .* got 1"),
        (lambda: plot.features(np.ones((1, 4, 0))), "expected at least one feature, got shape"),
        (lambda: plot.features(np.ones((1, 4, 1)), resolution=3), "expected resolution .* >= 4, got 3"),
        (lambda: plot.couplings(np.ones((1, 4, 1)), np.ones((2, 4, 1))), "expected y of shape .* got .2, 4, 1."),
        (lambda: plot.rotated_features(np.ones((1, 4, 1)), axis=(0, 0, 0)), "expected axis .* got"),
        (lambda: plot.rotated_features(np.ones((1, 4, 1)), axis=(0, 1)), "expected axis .* got"),
        (lambda: plot.rotated_features(np.ones((1, 4, 1)), num=1), "expected num .* got 1"),
        (lambda: plot.spherical_harmonics(2, convention="other"), "expected a convention .* got 'other'"),
        (lambda: plot.spherical_harmonics(5, convention="orca"), "expected max_degree <= 4 .* got 5"),
        (lambda: plot.spherical_harmonics(1, resolution=2.5), "expected resolution .* got 2.5"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
