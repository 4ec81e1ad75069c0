"""The strategies that are offered to users: what they draw, and that they draw what is special."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from e3any import Layout, ops
from e3any.testing import strategies

IDENTITY = np.eye(3)
HALF_TURN = np.diag([-1.0, -1.0, 1.0])
QUARTER_TURN = np.asarray([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])


def found(strategy, condition):
    """Return a drawn value that fulfils a condition; an error if there is none."""
    return find(strategy, condition, settings=settings(max_examples=2000))


@given(data=st.data())
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_numbers_are_exact_in_all_dtypes(data, dtype):
    x = data.draw(strategies.numbers(2, 0, 3, dtype=dtype))
    assert (x.shape, x.dtype) == ((2, 0, 3), dtype)
    x = data.draw(strategies.numbers(4, 3, dtype=dtype))
    assert (x.shape, x.dtype) == ((4, 3), dtype)
    assert np.array_equal(np.asarray(jnp.asarray(x, "bfloat16"), "float64"), x)
    assert np.abs(x).max() <= 4


def test_arrays_of_numbers_may_be_zero_or_without_zeros():
    assert found(strategies.numbers(20), lambda x: not x.any()).shape == (20,)
    assert found(strategies.numbers(20), lambda x: x.all() and (x < 0).any()).shape == (20,)


@given(data=st.data())
def test_layouts_and_features_are_those_asked_for(data):
    layout = data.draw(strategies.layouts(2, 3))
    assert layout.max_degree <= 2
    assert 1 <= layout.features <= 3
    x = data.draw(strategies.features(layout, 5, dtype="float32"))
    assert (x.shape, x.dtype) == ((5, *layout.shape), "float32")


def test_layouts_reach_their_bounds():
    smallest, largest = Layout(0, 0, False), Layout(3, 4, True)
    assert found(strategies.layouts(least_features=0), lambda x: x == smallest) == smallest
    assert found(strategies.layouts(least_features=0), lambda x: x == largest) == largest
    assert found(strategies.layouts(pseudotensors=True), lambda x: True).pseudotensors
    with pytest.raises(ValueError, match="expected features to be an integer >= 3, got 2"):
        strategies.layouts(features=2, least_features=3)


@given(strategies.vectors(2, 3, zero=False))
def test_vectors_are_nonzero_if_asked_for(r):
    assert r.shape == (2, 3, 3)
    assert r.any(axis=-1).all()


@pytest.mark.parametrize(
    "special",
    [
        lambda r: not r[2].any(),
        lambda r: r[1].any() and not r[1, :2].any(),
        lambda r: r[1].any() and np.array_equal(r[1], r[2]),
        lambda r: r.all(),
    ],
    ids=["zero", "on the third axis", "coincident", "general"],
)
def test_special_vectors_are_drawn(special):
    assert special(found(strategies.vectors(4), special))


@given(strategies.rotations())
def test_rotations_are_orthogonal_and_proper(rotation):
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-15)
    np.testing.assert_allclose(np.linalg.det(rotation), 1, rtol=1e-15)


@pytest.mark.parametrize("special", [IDENTITY, HALF_TURN, QUARTER_TURN])
def test_rotations_of_a_cube_are_drawn(special):
    # Hypothesis draws quaternions one by one: the rotation is one of a few thousand.
    near = lambda rotation: np.abs(rotation - special).max() < 1e-15
    assert near(find(strategies.rotations(), near, settings=settings(max_examples=20000)))


def test_rotations_have_the_dtype_asked_for():
    assert found(strategies.rotations(dtype="float32"), lambda rotation: True).dtype == np.float32


@given(strategies.sparse_lists(4, 6, padding=False), strategies.dense_lists(4, 3, padding=False))
def test_lists_without_padding_have_none(sparse, dense):
    assert {name: i.shape for name, i in (sparse | dense).items()} == {
        "dst_idx": (6,),
        "src_idx": (6,),
        "adj_idx": (4, 3),
    }
    for idx in (sparse | dense).values():
        assert ((idx >= 0) & (idx < 4)).all()


def test_padding_on_one_end_or_all_edges_is_drawn():
    def outside(idx):
        return (idx < 0) | (idx >= 4)

    one_end = lambda lists: (outside(lists["dst_idx"]) & ~outside(lists["src_idx"])).any()
    assert one_end(found(strategies.sparse_lists(4, 6), one_end))
    everything = lambda lists: outside(lists["adj_idx"]).all()
    assert everything(found(strategies.dense_lists(4, 3), everything))


@given(strategies.sparse_lists(0, 3, padding=False))
def test_all_edges_between_no_nodes_are_padding(lists):
    np.testing.assert_array_equal(ops.gather_src(np.ones((0, 2)), **lists), np.zeros((3, 2)))
    np.testing.assert_array_equal(ops.gather_dst(np.ones((0, 2)), **lists), np.zeros((3, 2)))
