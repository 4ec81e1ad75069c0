"""Names, arguments and defaults: programs for e3x call the functions of e3any as they are."""

from __future__ import annotations

import inspect
import typing

import e3any_flax
import e3any_numpy
import e3any_torch
import e3x
import pytest
from backends_matrix import Library

from e3any import Config, so3
from e3any.testing import assert_parity

FUNCTIONS = [name for name in dir(e3x.so3) if inspect.isfunction(getattr(e3x.so3, name))]
DEFAULTS = {"cartesian_order": Config.cartesian_order, "normalization": Config.normalization}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_are_those_of_e3x_in_the_same_order_with_the_same_defaults(name):
    theirs = list(inspect.signature(getattr(e3x.so3, name)).parameters.values())
    ours = list(inspect.signature(getattr(so3, name)).parameters.values())
    for mine, expected in zip(ours, theirs):
        assert (mine.name, mine.kind) == (expected.name, expected.kind)
        default = DEFAULTS[mine.name] if mine.name in DEFAULTS and mine.default is None else mine.default
        assert default == expected.default
    assert len(ours) >= len(theirs)
    assert all(extra.default is None for extra in ours[len(theirs) :])


@pytest.mark.parametrize("library", [so3, e3any_flax.so3, e3any_torch.so3, e3any_numpy.so3])
def test_every_name_of_e3x_exists(library):
    assert set(FUNCTIONS) <= set(library.__all__)
    assert set(typing.get_args(library.Normalization)) == set(typing.get_args(e3x.so3.Normalization))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("spherical_harmonics", (2,)),
        ("solid_harmonics", (2,)),
        ("wigner_d", (2,)),
        ("rotation", (0.1,)),
        ("alignment_rotation", ([1.0, 0.0, 0.0],)),
        ("rotation_euler", (0.0, 0.0)),
        ("euler_angles_from_rotation", ()),
        ("tensor_to_irreps", (1,)),
        ("irreps_to_tensor", (1,)),
        ("is_traceless_symmetric", (1,)),
    ],
)
def test_lists_are_refused(name, arguments):
    with pytest.raises(TypeError, match="expected an array of an array API library, got list"):
        getattr(so3, name)([1.0, 0.0, 0.0], *arguments)


@pytest.mark.parametrize("name", ["lebedev_quadrature", "delley_quadrature"])
def test_adapters_return_quadrature_rules_as_arrays_of_their_library(name):
    for adapter, library in ((e3any_flax, Library.JAX), (e3any_torch, Library.TORCH), (e3any_numpy, Library.NUMPY)):
        for actual, expected in zip(getattr(adapter.so3, name)(num=20), getattr(so3, name)(num=20)):
            assert library.owns(actual)
            assert_parity(library.numpy(actual), expected, dtype="float64")


def test_numpy_functions_of_tensors_take_lists():
    assert e3any_numpy.so3.tensor_to_irreps([1.0, 2.0, 3.0], 1).tolist() == [1.0, 2.0, 3.0]
    assert isinstance(e3any_numpy.so3.CartesianTensor("ij"), so3.CartesianTensor)
