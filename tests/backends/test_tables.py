"""Tables: computed once, and arrays of every library."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from e3any_backends import backend_of
from e3any_backends.forms.tables import Tables, _known, host_table, lookup, tables_of
from torch._subclasses import FakeTensorMode

calls = []


def numbers(kind, num):
    calls.append(kind)
    return np.arange(num).astype(kind)


@dataclass(frozen=True, eq=False)
class Pair(Tables):
    """Two arrays."""

    first: np.ndarray
    second: np.ndarray


def test_tables_are_computed_once():
    calls.clear()
    table = host_table(numbers)
    assert lookup(numbers, "int8", 3) is lookup(numbers, "int8", 3) is table("int8", 3)
    assert table("int8", 2).shape == (2,)
    assert calls == ["int8", "int8"]
    assert table.__name__ == "numbers"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_have_the_dtype_of_the_array_and_positions_none(library, dtype):
    like = library.array(np.ones(2), dtype)
    backend = backend_of(like)
    for kind, expected in (("float64", like.dtype), ("bool", backend.xp.bool)):
        table = backend.table(numbers, kind, 3, like=like)
        assert library.owns(table)
        assert table.dtype == expected
        np.testing.assert_array_equal(library.numpy(table), np.arange(3).astype(kind))
    index = backend.table(numbers, "int16", 3, like=like)
    assert backend.is_integer(index)
    assert index.dtype == backend.as_index(index).dtype
    np.testing.assert_array_equal(library.numpy(backend.select(index, index[1:], axis=0)), [1, 2])


def test_attributes_of_objects_are_tables(library):
    pairs = [Pair(np.arange(2.0) + i, np.arange(3) + i) for i in range(2)]
    like = library.array(np.ones(1))
    for pair in pairs:
        for name in ("first", "second"):
            table = backend_of(like).table_of(pair, name, like=like)
            np.testing.assert_array_equal(library.numpy(table), getattr(pair, name))
    assert pairs[0] != pairs[1]


def test_rows_along_any_axis_are_selected(library, rng):
    x, index = rng.normal(size=(3, 4, 2)), np.asarray([2, 0, 2])
    array = library.array(x)
    backend = backend_of(array)
    for axis in (0, 1):
        rows = backend.select(array, backend.index(index, like=array), axis=axis)
        np.testing.assert_array_equal(library.numpy(rows), np.take(x, index, axis=axis))


def test_device_is_that_of_the_array(library):
    x = library.array(np.ones(1))
    assert backend_of(x).device(x) == x.device


def tables(kind, like):
    return backend_of(like).table(numbers, "float64", kind, like=like)


def test_tensors_are_kept_unless_a_transformation_made_them():
    like = torch.ones(1)
    assert tables(11, like) is tables(11, like)
    assert tables(11, like.double()).dtype == torch.float64
    with torch.inference_mode():
        assert tables(12, torch.ones(1)).is_inference()
    assert not tables(12, like).is_inference()
    torch.func.vmap(lambda x: x + tables(13, x).sum())(torch.ones(2))
    torch.func.jacrev(lambda x: x * tables(13, x).sum())(like)
    tables(13, like).data_ptr()
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(like)
        assert (fake * tables(14, fake)).shape == (14,)
        assert (fake * tables(11, fake)).shape == (11,)
    tables(14, like).data_ptr()


def test_numbers_of_objects_do_not_keep_them():
    pair = Pair(np.ones(1), np.ones(1))
    number = pair.number
    assert number in _known
    del pair
    assert number not in _known


@host_table
def _pair(n):
    return Pair(np.ones(n), np.ones(n))


def test_tables_that_are_looked_up_outlive_any_number_of_others():
    first = _pair(1)
    number = first.number
    del first
    for n in range(5000):
        lookup(str, n)
    assert tables_of(number) is _pair(1)
    assert _pair(1).number == number
