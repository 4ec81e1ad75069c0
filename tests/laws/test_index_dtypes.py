"""Indices of every integer dtype number the same rows, on every library; what numbers no row is padding."""

from __future__ import annotations

import numpy as np
import pytest
from e3any_backends import kernels
from layer_cases import cast, random_parameters, tree_map

from e3any import nn, ops
from e3any.testing import assert_parity

NODES, FEATURES = 5, 16
DTYPES = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
# Numbers that are no rows, some of which another dtype would take for one.
PADDING = [NODES, 255, 2**16, 2**32, 2**32 + 1, 2**63, 2**63 + 1, 2**64 - 1]


def lists(dtype, kind):
    """Return a list of neighbours with the padding that a dtype can hold."""
    rng, most = np.random.default_rng(0), np.iinfo(dtype).max
    shape = (NODES, 6) if kind == "dense" else (30,)
    dst, src = (rng.integers(NODES, size=shape).astype(dtype) for _ in range(2))
    padding = np.asarray([p for p in PADDING if p <= most], dtype)
    src.flat[: len(padding)] = padding
    if kind == "dense":
        return {"adj_idx": src}
    dst.flat[-len(padding) :] = padding
    return {"dst_idx": dst, "src_idx": src}


def plain(options):
    """Return the same list of dtype int64, with -1 for padding."""
    return {n: np.where(i < NODES, i.astype(np.int64), -1) for n, i in options.items()}


CALLS = {
    "message pass": lambda p, x, b, o: nn.MessagePass(2)(p, x, b, **o),
    "path message pass": lambda p, x, b, o: nn.PathMessagePass(1, hidden=())(p, x, b, **o),
    "attention": lambda p, x, b, o: nn.SelfAttention(num_heads=2)(p, x, b, **o),
    "gathering": lambda p, x, b, o: ops.gather_src(x, **o),
}
LAYERS = {
    "message pass": nn.MessagePass(2),
    "path message pass": nn.PathMessagePass(1, hidden=()),
    "attention": nn.SelfAttention(num_heads=2),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("name", list(CALLS))
def test_indices_of_every_dtype_number_the_same_rows(rng, library, name, kind, dtype):
    options = lists(dtype, kind)
    edges = next(iter(options.values())).shape
    x = rng.normal(size=(NODES, 2, 4, FEATURES))
    basis = nn.FactoredBasis(rng.normal(size=(*edges, 1, 3)), rng.normal(size=(*edges, 4)))
    usual = plain(options)
    params = random_parameters(LAYERS[name], rng, (x, basis), usual) if name in LAYERS else {}
    expected = CALLS[name](params, x, basis, usual)
    given = tree_map(library.array, options)
    actual = CALLS[name](*(cast(a, library) for a in (params, x, basis)), given)
    assert_parity(actual, expected, "float64")


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32", "uint64"])
def test_padding_at_the_end_of_sorted_lists_stays_there(rng, library, dtype):
    options = lists(dtype, "sparse")
    options["dst_idx"] = np.sort(options["dst_idx"])
    options["dst_idx"][-1] = np.iinfo(dtype).max
    x, layer = rng.normal(size=(NODES, 1, 4, FEATURES)), LAYERS["message pass"]
    basis = nn.FactoredBasis(rng.normal(size=(30, 1, 3)), rng.normal(size=(30, 4)))
    params = random_parameters(layer, rng, (x, basis), options)
    expected = layer(params, x, basis, **plain(options))
    with kernels.enabled(False):
        arguments = [cast(a, library) for a in (params, x, basis)]
        actual = layer(*arguments, **tree_map(library.array, options), indices_are_sorted=True)
    assert_parity(actual, expected, "float64")


@pytest.mark.parametrize("dtype", DTYPES)
def test_categories_of_every_dtype_are_the_same(rng, library, dtype):
    layer, x = nn.SymmetricContraction(3, 2, 1), rng.normal(size=(6, 1, 4, 2))
    categories = np.asarray([0, 2, 1, 3, np.iinfo(dtype).max, 1], dtype)
    params = random_parameters(layer, rng, (x, categories), {})
    expected = layer(params, x, np.asarray([0, 2, 1, -1, -1, 1]))
    actual = layer(*(cast(a, library) for a in (params, x)), library.array(categories))
    assert_parity(actual, expected, "float64")
