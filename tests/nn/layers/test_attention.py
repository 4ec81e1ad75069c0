"""Attention between nodes."""

from __future__ import annotations

import e3x
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from layer_cases import (
    assert_dtypes_are_kept,
    assert_equals_e3x,
    assert_libraries_agree,
    assert_transformations_agree,
    cast,
    features,
    jit,
    paths,
    random_parameters,
    torch_gradient,
    tree_map,
)

from e3any import Layout, nn
from e3any.testing import assert_equivariant, assert_parity

# Four nodes; numbers from 5 on are padding on all libraries, the last node has no neighbours.
DENSE = {"adj_idx": np.asarray([[1, 2, 9], [0, 3, 3], [3, 1, 0], [9, 5, 7]])}
SPARSE = {"dst_idx": np.asarray([2, 0, 0, 1, 2, 9, 2]), "src_idx": np.asarray([3, 1, 2, 0, 3, 7, 0])}
LISTS = {"dense": DENSE, "sparse": SPARSE}
# Gradients of e3x are no numbers where a node has no neighbours.
OF_E3X = {
    "dense": {"adj_idx": np.asarray([[1, 2, 9], [0, 3, 3], [3, 1, 0], [9, 5, 1]])},
    "sparse": {"dst_idx": np.asarray([2, 0, 0, 1, 2, 9, 3]), "src_idx": np.asarray([3, 1, 2, 0, 3, 7, 0])},
}
lists = pytest.mark.parametrize("kind", list(LISTS))


def shape_of(kind):
    return next(iter(LISTS[kind].values())).shape


def cutoffs(kind):
    """Return factors of the edges, one of them zero."""
    count = int(np.prod(shape_of(kind)))
    return (np.arange(count) % 5 / 4.0).reshape(shape_of(kind))


def problem(rng, kind, parities=1, l=1, lb=1, *, features_=4, num=3):
    """Draw features of nodes, a factored basis and cut-offs of edges."""
    basis = nn.FactoredBasis(features(rng, *shape_of(kind), 1, num), features(rng, *shape_of(kind), (lb + 1) ** 2))
    return features(rng, 4, parities, (l + 1) ** 2, features_), basis, cutoffs(kind)


@pytest.mark.parametrize(
    ("kind", "parities", "layer"),
    [
        ("dense", 1, nn.SelfAttention(num_heads=2)),
        ("sparse", 2, nn.SelfAttention(num_heads=2, qkv_features=6, out_features=3, use_basis_bias=True)),
        ("dense", 2, nn.SelfAttention(use_relative_positional_encoding_qk=False, query_use_bias=True)),
        (
            "sparse",
            1,
            nn.SelfAttention(
                use_relative_positional_encoding_v=False, key_use_bias=True, value_use_bias=True, output_use_bias=False
            ),
        ),
        ("dense", 1, nn.SelfAttention(2, include_pseudotensors=False, use_fused_tensor=True)),
    ],
)
def test_parameters_outputs_and_gradients_are_those_of_e3x(rng, kind, parities, layer):
    x, basis, cutoff = problem(rng, kind, parities)
    cutoff = np.maximum(cutoff, 0.1)  # e3x divides zero by zero
    # The parts of the basis, where that is another computation.
    parts = (x, basis, cutoff) if layer.use_relative_positional_encoding_qk and not layer.use_fused_tensor else None
    assert_equals_e3x(layer, rng, (x, basis.array(), cutoff), OF_E3X[kind], ours_only=parts)


@lists
def test_queries_and_keys_of_different_layouts_attend_as_in_e3x(rng, kind):
    x, basis, _ = problem(rng, kind, 2, 2)
    layer = nn.MultiHeadAttention(1, num_heads=2)
    assert_equals_e3x(layer, rng, (x, features(rng, 4, 1, 4, 3), basis.array()), OF_E3X[kind])


def test_float32_is_as_precise_as_e3x(rng):
    x, basis, _ = problem(rng, "sparse")
    assert_equals_e3x(nn.SelfAttention(num_heads=2), rng, (0.5 * x, basis.array()), OF_E3X["sparse"], "float32")


@lists
def test_nodes_whose_cutoffs_are_all_zero_get_the_bias_alone(library, rng, kind):
    x, basis, cutoff = problem(rng, kind)
    layer, zero = nn.SelfAttention(num_heads=2), np.zeros_like(cutoff)
    params = random_parameters(layer, rng, (x, basis), LISTS[kind])
    y = layer(*(cast(a, library) for a in (params, x, basis, zero)), **cast(LISTS[kind], library))
    expected = np.zeros((4, 2, 4, 4))
    expected[:, 0, 0] = params["out"]["0+"]["bias"]
    assert_parity(y, expected)


def test_where_all_cutoffs_are_zero_e3x_gives_no_number(rng):
    x, basis, cutoff = problem(rng, "dense")
    params = random_parameters(nn.SelfAttention(), rng, (x, basis), DENSE)
    theirs = e3x.nn.SelfAttention().apply
    y = jit(theirs)({"params": params}, x, basis.array(), jnp.zeros_like(cutoff), **DENSE)
    assert np.isnan(y).any()


@pytest.mark.parametrize("factored", [False, True])
def test_gradients_are_finite_where_cutoffs_are_zero(rng, factored):
    x, basis, cutoff = problem(rng, "sparse")
    layer = nn.SelfAttention(num_heads=2)
    inputs = (x, basis if factored else basis.array(), np.zeros_like(cutoff))
    params = random_parameters(layer, rng, inputs, SPARSE)
    params, inputs, options = (tree_map(torch.from_numpy, a) for a in (params, inputs, SPARSE))
    floating = [inputs[0].requires_grad_(), inputs[2].requires_grad_()]
    (gradient,) = torch.autograd.grad(layer(params, *inputs, **options).sum(), floating[:1], create_graph=True)
    second = torch.autograd.grad(gradient.square().sum(), floating, allow_unused=True)
    assert all(bool(torch.isfinite(g).all()) for g in (gradient, *second) if g is not None)


@lists
def test_weights_of_the_neighbours_of_a_node_sum_to_one(rng, kind):
    """With equal values, no filter and no linear map, every node with neighbours gets the value."""
    layer = nn.SelfAttention(use_relative_positional_encoding_v=False, num_heads=2, output_use_bias=False, max_degree=1)
    x, basis, cutoff = problem(rng, kind)
    x = np.broadcast_to(x[:1], x.shape)
    params = random_parameters(layer, rng, (x, basis), LISTS[kind])
    y = layer(params, x, basis, cutoff, **LISTS[kind])
    expected = nn.Dense(4, use_bias=False)(params["out"], nn.Dense(4, use_bias=False)(params["value"], x))
    assert_parity(y[:3], expected[:3])
    assert_parity(y[3], np.zeros_like(expected[3]))


@pytest.mark.parametrize("fused", [False, True])
@lists
def test_both_forms_of_a_basis_agree(rng, kind, fused):
    layer = nn.SelfAttention(2, num_heads=2, use_fused_tensor=fused)
    x, basis, cutoff = problem(rng, kind, 2, 2, 2)
    params = random_parameters(layer, rng, (x, basis), LISTS[kind])
    results = [layer(params, x, b, cutoff, **LISTS[kind]) for b in (basis, basis.array())]
    assert_parity(*results)


@pytest.mark.parametrize("factored", [False, True])
def test_edges_with_padding_at_either_end_do_not_count(library, rng, factored):
    x, parts, _ = problem(rng, "sparse")
    basis = parts if factored else parts.array()
    layer = nn.SelfAttention(num_heads=2)
    options = {"dst_idx": np.asarray([2, 0, 5, 1, 2, 2, -3]), "src_idx": np.asarray([3, 1, 2, 4, -1, 0, 0])}
    params = random_parameters(layer, rng, (x, basis), options)
    inside = np.asarray([0, 1, 5])
    expected = layer(
        params, x, tree_map(lambda b: b[inside], basis), **{name: index[inside] for name, index in options.items()}
    )
    actual = layer(*(cast(a, library) for a in (params, x, basis)), **cast(options, library))
    assert_parity(actual, expected)


@pytest.mark.parametrize("factored", [False, True])
def test_dense_and_sparse_lists_give_the_same(library, rng, factored):
    x, parts, cutoff = problem(rng, "dense", 2)
    adj, layer = DENSE["adj_idx"], nn.SelfAttention(num_heads=2)
    sparse = {"dst_idx": np.repeat(np.arange(4), 3), "src_idx": adj.ravel()}
    flat = nn.FactoredBasis(*(part.reshape(12, *part.shape[2:]) for part in parts))
    params = random_parameters(layer, rng, (x, parts), DENSE)
    expected = layer(params, x, flat, cutoff.ravel(), **sparse)
    inputs = (params, x, parts if factored else parts.array(), cutoff)
    assert_parity(layer(*(cast(a, library) for a in inputs), **cast(DENSE, library)), expected)


def test_only_neighbours_of_the_mask_count(rng):
    x, basis, _ = problem(rng, "dense")
    layer, where = nn.SelfAttention(num_heads=2), np.asarray([[1, 0, 1], [1, 1, 0], [0, 0, 0], [1, 1, 1]], bool)
    params = random_parameters(layer, rng, (x, basis), DENSE)
    masked = {"adj_idx": np.where(where, DENSE["adj_idx"], 4)}
    for b in (basis, basis.array()):
        assert_parity(layer(params, x, b, where=where, **DENSE), layer(params, x, b, **masked))


@pytest.mark.parametrize("factored", [False, True])
def test_leading_axes_are_a_batch(library, rng, factored):
    one, two = problem(rng, "dense"), problem(rng, "dense")
    layer = nn.SelfAttention(num_heads=2)
    params = random_parameters(layer, rng, one, DENSE)
    other = {"adj_idx": DENSE["adj_idx"][::-1]}
    expected = np.stack([layer(params, *one, **DENSE), layer(params, *two, **other)])
    basis = nn.FactoredBasis(*(np.stack(parts) for parts in zip(one[1], two[1])))
    inputs = (np.stack([one[0], two[0]]), basis if factored else basis.array(), np.stack([one[2], two[2]]))
    options = {"adj_idx": np.stack([DENSE["adj_idx"], other["adj_idx"]])}
    actual = layer(*(cast(a, library) for a in (params, *inputs)), **cast(options, library))
    assert_parity(actual, expected)


@lists
def test_libraries_agree(rng, kind):
    x, basis, cutoff = problem(rng, kind)
    assert_libraries_agree(nn.SelfAttention(num_heads=2), rng, (x, basis, np.maximum(cutoff, 0.1)), LISTS[kind])


@pytest.mark.parametrize("factored", [False, True])
@lists
def test_layer_and_its_gradient_are_equivariant(rng, kind, factored):
    x, _, cutoff = problem(rng, kind, 2, 2)
    r = features(rng, *shape_of(kind), 3)

    def attend(x, r):
        basis = nn.basis(r, max_degree=2, num=3, radial_fn=nn.basic_bernstein, factored=factored)
        return layer(params, x, basis, cutoff, **options)

    layer, options = nn.SelfAttention(num_heads=2), LISTS[kind]
    basis = nn.basis(r, max_degree=2, num=3, radial_fn=nn.basic_bernstein)
    params = random_parameters(layer, rng, (x, basis), options)
    assert_equivariant(attend, x, r, kinds=["features", "vectors"])
    params, x, r, options, cutoff = tree_map(torch.from_numpy, [params, x, r, dict(options), cutoff])
    assert_equivariant(torch_gradient(attend), x, r, kinds=["features", "vectors"])


@lists
def test_transformations_of_jax_agree(rng, kind):
    assert_transformations_agree(nn.SelfAttention(num_heads=2), rng, problem(rng, kind), LISTS[kind])


def test_dtypes_are_kept(rng):
    assert_dtypes_are_kept(nn.SelfAttention(num_heads=2), rng, problem(rng, "sparse"), SPARSE)


def test_parameters_are_those_of_projections_encodings_and_filters():
    layer = nn.MultiHeadAttention(num_heads=2, qkv_features=6, out_features=5)
    specs = layer.parameters(Layout(1, 4, pseudotensors=True), Layout(0, 3), Layout(1, 8))
    assert set(paths(specs)) == {
        *(f"{name}.0+.kernel" for name in ("query", "key", "value", "filter", "out")),
        *("filter.1-.kernel", "out.1-.kernel", "tensor.kernel", "relative_positional_encoding.kernel", "out.0+.bias"),
    }
    assert specs["relative_positional_encoding"]["kernel"].shape == (8, 6)
    assert specs["out"]["0+"]["kernel"].shape == (6, 5)
    plain = nn.SelfAttention(use_relative_positional_encoding_qk=False, use_relative_positional_encoding_v=False)
    assert set(plain.parameters(Layout(0, 4))) == {"query", "key", "value", "out"}


def test_heads_that_do_not_divide_the_features_are_refused(rng):
    x, basis, _ = problem(rng, "dense")
    with pytest.raises(ValueError, match="expected num_heads that divides the 4 features of queries, got 3"):
        nn.SelfAttention(num_heads=3)({}, x, basis, **DENSE)
    with pytest.raises(ValueError, match="expected num_heads that divides qkv_features, got 4 and 6"):
        nn.SelfAttention(num_heads=4, qkv_features=6)
    with pytest.raises(ValueError, match="expected num_heads that divides qkv_features, got 0"):
        nn.SelfAttention(num_heads=0)


@pytest.mark.parametrize("option", ["use_relative_positional_encoding_qk", "use_relative_positional_encoding_v"])
def test_missing_basis_is_refused_where_it_is_needed(library, rng, option):
    x = library.array(problem(rng, "dense")[0])
    others = {"use_relative_positional_encoding_qk": False, "use_relative_positional_encoding_v": False}
    with pytest.raises(TypeError, match="expected a basis for relative positional encodings, got None"):
        nn.SelfAttention(**{**others, option: True})({}, x, **cast(DENSE, library))


def test_shapes_that_do_not_fit_are_refused(library, rng):
    x, basis, cutoff = (cast(a, library) for a in problem(rng, "dense"))
    options, layer = cast(DENSE, library), nn.SelfAttention()
    with pytest.raises(ValueError, match=r"expected cutoff_value of shape \(4, 3\), as the index list, got \(4, 2\)"):
        layer({}, x, basis, cutoff[:, :2], **options)
    with pytest.raises(ValueError, match=r"expected a basis for index lists of shape \(4, 3\), got \(4, 2\)"):
        layer({}, x, nn.FactoredBasis(basis.radial[:, :2, ...], basis.angular[:, :2, ...]), **options)
    with pytest.raises(ValueError, match=r"expected inputs of shape \(N, 1 or 2"):
        layer({}, x[None, ...], basis, **options)
    with pytest.raises(RuntimeError, match="expected either adj_idx or dst_idx and src_idx, got neither"):
        layer({}, x, basis)
