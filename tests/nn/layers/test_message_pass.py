"""Messages between nodes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from backends_matrix import Library
from layer_cases import (
    assert_dtypes_are_kept,
    assert_equals_e3x,
    assert_libraries_agree,
    assert_transformations_agree,
    cast,
    features,
    paths,
    random_parameters,
    torch_gradient,
    tree_map,
)

from e3any import Layout, nn
from e3any.testing import assert_equivariant, assert_parity

# Five nodes; numbers from 5 on are padding, and the last node has no neighbours.
DENSE = {"adj_idx": np.asarray([[1, 2, 9], [0, 4, 3], [3, 3, 0], [2, 5, 4], [5, 6, 9]])}
SPARSE = {"dst_idx": np.asarray([2, 0, 0, 1, 2, 4, 9, 2]), "src_idx": np.asarray([3, 1, 2, 0, 3, 1, 7, 0])}
EVEN = np.isin(DENSE["adj_idx"], [0, 2, 4])
LISTS = {"dense": DENSE, "sparse": SPARSE}
lists = pytest.mark.parametrize("kind", list(LISTS))


def shape_of(options):
    return (options["adj_idx"] if "adj_idx" in options else options["dst_idx"]).shape


def messages(rng, kind, parities, l, lb, *, separate_degrees=False, size=2):
    """Draw features of nodes and a factored basis of edges."""
    edges = shape_of(LISTS[kind])
    radial = features(rng, *edges, lb + 1 if separate_degrees else 1, 3)
    return features(rng, 5, parities, (l + 1) ** 2, size), nn.FactoredBasis(
        radial, features(rng, *edges, (lb + 1) ** 2)
    )


def by_definition(layer, params, x, basis, weights=None, *, dst_idx, src_idx):
    """Add message after message; one whose sender or receiver is out of range does not count."""
    filters = nn.Dense(x.shape[-1], layer.use_basis_bias)(params["filter"], basis)
    product = nn.Tensor(layer.max_degree, layer.include_pseudotensors)
    y = None
    for e, (i, j) in enumerate(zip(dst_idx, src_idx)):
        if i < 0 or j < 0 or max(i, j) >= len(x):
            continue
        message = product(params["tensor"], filters[e], x[j] if weights is None else weights[e] * x[j])
        y = np.zeros((len(x), *message.shape)) if y is None else y
        y[i] += message
    return y


def scaled(options):
    """Return weights of the edges of a list, without zeros."""
    count = int(np.prod(shape_of(options)))
    return np.cos(np.arange(count)).reshape(*shape_of(options), 1, 1, 1)


@pytest.mark.parametrize(
    ("kind", "parities", "l", "lb", "layer", "options"),
    [
        ("dense", 1, 0, 1, nn.MessagePass(), {}),
        ("sparse", 2, 1, 1, nn.MessagePass(use_basis_bias=True), {"num_segments": 6}),
        (
            "dense",
            2,
            1,
            2,
            nn.MessagePass(1, include_pseudotensors=False),
            {"where": np.isin(DENSE["adj_idx"], [0, 2, 4])},
        ),
        ("sparse", 1, 4, 1, nn.MessagePass(max_degree=4, include_pseudotensors=False), {}),
        ("dense", 1, 1, 2, nn.MessagePass(0, cartesian_order=False, use_basis_bias=True), {}),
    ],
)
def test_parameters_outputs_and_gradients_are_those_of_e3x(rng, kind, parities, l, lb, layer, options):
    x, basis = messages(rng, kind, parities, l, lb)
    assert_equals_e3x(layer, rng, (x, basis.array()), {**LISTS[kind], **options})


def test_weighted_messages_are_those_of_e3x(rng):
    x, basis = messages(rng, "dense", 1, 1, 1)
    assert_equals_e3x(nn.MessagePass(), rng, (x, basis.array(), scaled(DENSE)), DENSE)


@pytest.mark.parametrize(
    ("kind", "parities", "l", "lb", "layer"),
    [
        ("dense", 2, 1, 1, nn.MessagePass(use_basis_bias=True)),
        ("sparse", 1, 1, 2, nn.MessagePass(use_basis_bias=True, include_pseudotensors=False)),
        ("sparse", 1, 0, 2, nn.MessagePass()),
    ],
)
def test_parts_of_a_basis_give_what_e3x_gives_for_the_whole(rng, kind, parities, l, lb, layer):
    x, basis = messages(rng, kind, parities, l, lb, separate_degrees=kind == "sparse")
    assert_equals_e3x(layer, rng, (x, basis.array()), LISTS[kind], ours_only=(x, basis))


def test_float32_is_as_precise_as_e3x(rng):
    x, basis = messages(rng, "sparse", 1, 1, 1)
    assert_equals_e3x(nn.MessagePass(), rng, (x, basis.array(), scaled(SPARSE)), SPARSE, "float32", linear=True)


@pytest.mark.parametrize("factored", [False, True])
@pytest.mark.parametrize("parities", [1, 2])
def test_output_is_the_sum_of_messages(library, rng, parities, factored):
    layer = nn.MessagePass(use_basis_bias=True)
    x, parts = messages(rng, "sparse", parities, 2, 1)
    options = {"dst_idx": np.asarray([2, 0, 0, 1, 5, 4, -1, 2]), "src_idx": np.asarray([3, 1, 9, 0, 3, -2, 1, 0])}
    params = random_parameters(layer, rng, (x, parts.array()), options)
    expected = by_definition(layer, params, x, parts.array(), scaled(options), **options)
    inputs = (x, parts if factored else parts.array(), scaled(options))
    actual = layer(cast(params, library), *cast(inputs, library), **cast(options, library))
    assert_parity(actual, expected)


@lists
@pytest.mark.parametrize("separate_degrees", [False, True])
@pytest.mark.parametrize("parities", [1, 2])
def test_both_forms_of_a_basis_agree(rng, kind, parities, separate_degrees):
    layer = nn.MessagePass(3, use_basis_bias=True)
    x, parts = messages(rng, kind, parities, 2, 4, separate_degrees=separate_degrees)
    weights, options = scaled(LISTS[kind]), cast(LISTS[kind], Library.TORCH)
    params = tree_map(torch.from_numpy, random_parameters(layer, rng, (x, parts, weights), LISTS[kind]))
    x, parts, weights = tree_map(lambda a: torch.from_numpy(a).requires_grad_(), (x, parts, weights))
    outputs = [layer(params, x, basis, weights, **options) for basis in (parts, parts.array())]
    assert_parity(*outputs)
    grads = [torch.autograd.grad(y.sin().sum(), [x, *parts, weights]) for y in outputs]
    assert_parity(*grads)


@pytest.mark.parametrize("factored", [False, True])
def test_dense_and_sparse_lists_give_the_same(library, rng, factored):
    x, basis = messages(rng, "dense", 2, 1, 2)
    params = cast(random_parameters(nn.MessagePass(), rng, (x, basis), DENSE), library)
    x, basis = cast((x, basis if factored else basis.array()), library)
    dense = nn.MessagePass()(params, x, basis, **cast(DENSE, library))
    flat = tree_map(lambda a: library.xp.reshape(a, (15, *a.shape[2:])), basis)
    dst, src = np.repeat(np.arange(5), 3), DENSE["adj_idx"].ravel()
    sparse = nn.MessagePass()(params, x, flat, **cast({"dst_idx": dst, "src_idx": src}, library))
    assert_parity(sparse, dense)
    # These ascend.
    promised = cast({"dst_idx": dst, "src_idx": src}, library)
    assert_parity(nn.MessagePass()(params, x, flat, **promised, indices_are_sorted=True), dense)


@lists
@pytest.mark.parametrize("factored", [False, True])
def test_numbers_out_of_range_are_padding(library, rng, kind, factored):
    x, basis = messages(rng, kind, 1, 1, 1)
    params = cast(random_parameters(nn.MessagePass(), rng, (x, basis), LISTS[kind]), library)
    x, basis = cast((x, basis if factored else basis.array()), library)
    same = {name: np.where(i < 5, i, -i) for name, i in LISTS[kind].items()}
    outputs = [nn.MessagePass()(params, x, basis, **cast(options, library)) for options in (LISTS[kind], same)]
    np.testing.assert_array_equal(*map(library.numpy, outputs))
    if kind == "dense":
        assert not library.numpy(outputs[0])[4].any()
        assert library.numpy(outputs[0])[:4].any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("factored", [False, True])
def test_only_neighbours_of_the_mask_count(library, rng, factored):
    x, basis = messages(rng, "dense", 1, 1, 1)
    params = cast(random_parameters(nn.MessagePass(), rng, (x, basis), DENSE), library)
    x, basis = cast((x, basis if factored else basis.array()), library)
    masked = nn.MessagePass()(params, x, basis, **cast({**DENSE, "where": EVEN}, library))
    left_out = {"adj_idx": np.where(EVEN, DENSE["adj_idx"], 9)}
    np.testing.assert_array_equal(
        *map(library.numpy, (masked, nn.MessagePass()(params, x, basis, **cast(left_out, library))))
    )


@pytest.mark.parametrize("factored", [False, True])
def test_mask_is_passed_over_with_a_sparse_list(rng, factored):
    x, basis = messages(rng, "sparse", 1, 1, 1)
    params = random_parameters(nn.MessagePass(), rng, (x, basis), SPARSE)
    basis = basis if factored else basis.array()
    for where in (np.zeros(8, bool), np.zeros((5, 3), bool)):
        y = nn.MessagePass()(params, x, basis, **SPARSE, where=where)
        np.testing.assert_array_equal(y, nn.MessagePass()(params, x, basis, **SPARSE))


@pytest.mark.parametrize("factored", [False, True])
def test_number_of_receivers_may_differ_from_that_of_senders(library, rng, factored):
    x, basis = messages(rng, "sparse", 1, 1, 1)
    params = cast(random_parameters(nn.MessagePass(), rng, (x, basis), SPARSE), library)
    x, basis = cast((x, basis if factored else basis.array()), library)
    options = cast(SPARSE, library)
    full = library.numpy(nn.MessagePass()(params, x, basis, **options))
    for num in (0, 2, 5, 8):
        y = library.numpy(nn.MessagePass()(params, x, basis, **options, num_segments=num))
        assert y.shape == (num, 2, 4, 2)
        assert_parity(y[:5], full[:num])
        assert not y[5:].any()


@lists
@pytest.mark.parametrize("factored", [False, True])
def test_leading_axes_are_a_batch(library, rng, kind, factored):
    drawn = [messages(rng, kind, 2, 1, 1) for _ in range(3)]
    params = random_parameters(nn.MessagePass(), rng, drawn[0], LISTS[kind])
    offsets = [{n: (i + b) % 7 for n, i in LISTS[kind].items()} for b in range(3)]
    each = [(x, basis if factored else basis.array()) for x, basis in drawn]
    expected = np.stack([nn.MessagePass()(params, *inputs, **o) for inputs, o in zip(each, offsets)])
    x = np.stack([x for x, _ in each])
    basis = nn.FactoredBasis(*map(np.stack, zip(*(b for _, b in each)))) if factored else np.stack([b for _, b in each])
    stacked = {name: np.stack([o[name] for o in offsets]) for name in LISTS[kind]}
    actual = nn.MessagePass()(cast(params, library), *cast((x, basis), library), **cast(stacked, library))
    assert_parity(actual, expected)


@pytest.mark.parametrize("factored", [False, True])
def test_nothing_is_no_message(library, rng, factored):
    specs = nn.MessagePass().parameters(Layout(1, 2), Layout(1, 3))
    params = {n: {m: s for m, s in node.items()} for n, node in specs.items()}
    params["filter"] = {n: {"kernel": library.array(np.ones((3, 2)))} for n in params["filter"]}
    params["tensor"] = {"kernel": library.array(np.ones(specs["tensor"]["kernel"].shape))}
    none = np.zeros(0, int)
    for nodes, options in (
        (3, {"dst_idx": none, "src_idx": none}),
        (0, {"dst_idx": none, "src_idx": none}),
        (3, {"adj_idx": np.zeros((3, 0), int)}),
        (0, {"adj_idx": np.zeros((0, 2), int)}),
    ):
        edges = shape_of(options)
        basis = nn.FactoredBasis(np.ones((*edges, 1, 3)), np.ones((*edges, 4)))
        inputs = (features(rng, nodes, 1, 4, 2), basis if factored else basis.array())
        y = nn.MessagePass()(params, *cast(inputs, library), **cast(options, library))
        assert tuple(y.shape) == (nodes, 2, 4, 2)
        assert not library.numpy(y).any()


@pytest.mark.parametrize(
    ("kind", "factored", "parities"), [("dense", False, 1), ("sparse", True, 2), ("dense", True, 1)]
)
def test_libraries_agree(rng, kind, factored, parities):
    x, basis = messages(rng, kind, parities, 1, 2, separate_degrees=True)
    inputs = (x, basis if factored else basis.array(), scaled(LISTS[kind]))
    assert_libraries_agree(nn.MessagePass(1, use_basis_bias=True), rng, inputs, LISTS[kind])


@lists
@pytest.mark.parametrize("factored", [False, True])
@pytest.mark.parametrize("parities", [1, 2])
def test_layer_and_its_gradients_are_equivariant(rng, kind, parities, factored):
    layer = nn.MessagePass(use_basis_bias=True)
    options = cast(LISTS[kind], Library.TORCH)
    x, r = features(rng, 5, parities, 16, 2), features(rng, *shape_of(options), 3)

    def basis_of(r):
        return nn.basis(r, max_degree=2, num=3, radial_fn=nn.basic_bernstein, factored=factored)

    params = tree_map(torch.from_numpy, random_parameters(layer, rng, (x, basis_of(r / 10)), LISTS[kind]))
    x, r = torch.from_numpy(x), torch.from_numpy(r / 10)

    def call(x, r):
        return layer(params, x, basis_of(r), **options)

    kinds = ("features", "vectors")
    assert_equivariant(call, x, r, kinds=kinds)
    assert_equivariant(torch_gradient(call), x, r, kinds=kinds)
    assert_equivariant(torch_gradient(lambda r, x: call(x, r)), r, x, kinds=kinds[::-1], output="vectors")


@pytest.mark.parametrize(("kind", "factored"), [("sparse", False), ("dense", True)])
def test_transformations_of_jax_agree(rng, kind, factored):
    x, basis = messages(rng, kind, 1, 1, 1)
    inputs = (x, basis if factored else basis.array())
    assert_transformations_agree(nn.MessagePass(use_basis_bias=True), rng, inputs, LISTS[kind])


@pytest.mark.parametrize(("kind", "factored"), [("dense", False), ("sparse", True)])
def test_dtypes_are_kept(rng, kind, factored):
    x, basis = messages(rng, kind, 1, 1, 1)
    inputs = (x, basis if factored else basis.array())
    assert_dtypes_are_kept(nn.MessagePass(use_basis_bias=True), rng, inputs, LISTS[kind])


@pytest.mark.parametrize("factored", [False, True])
def test_dtype_of_the_computation_is_that_asked_for(library, rng, factored):
    x, basis = messages(rng, "dense", 1, 1, 1)
    params = cast(random_parameters(nn.MessagePass(), rng, (x, basis), DENSE), library)
    inputs, options = cast((x, basis if factored else basis.array()), library), cast(DENSE, library)
    y = nn.MessagePass(dtype="float32")(params, *inputs, **options)
    assert_parity(y, nn.MessagePass()(params, *inputs, **options), "float32")


def test_parameters_are_those_of_filter_and_product():
    specs = nn.MessagePass(1, use_basis_bias=True).parameters(Layout(1, 4, True), Layout(2, 8))
    assert set(paths(specs)) == {
        *("filter.0+.bias", "filter.0+.kernel", "filter.1-.kernel", "filter.2+.kernel", "tensor.kernel")
    }
    assert specs["filter"]["2+"]["kernel"].shape == (8, 4)
    assert specs["tensor"]["kernel"].shape == (1, 3, 2, 2, 2, 2, 4)


@pytest.fixture
def inputs(library, rng):
    """Nodes and an array basis for a dense list, and the list."""
    x, basis = messages(rng, "dense", 1, 1, 1)
    return *cast((x, basis.array()), library), cast(DENSE, library)["adj_idx"]


def test_missing_basis_is_refused(inputs):
    with pytest.raises(TypeError, match="expected a basis, got None"):
        nn.MessagePass()({}, inputs[0], adj_idx=inputs[2])


def test_neither_and_both_kinds_of_lists_are_refused(inputs):
    x, basis, adj = inputs
    with pytest.raises(RuntimeError, match="expected either adj_idx or dst_idx and src_idx, got neither"):
        nn.MessagePass()({}, x, basis)
    with pytest.raises(RuntimeError, match="expected either adj_idx or dst_idx and src_idx, got both"):
        nn.MessagePass()({}, x, basis, adj_idx=adj, src_idx=adj[0, :], dst_idx=adj[0, :])


@pytest.mark.parametrize("name", ["dst_idx", "src_idx"])
def test_half_of_a_sparse_list_is_refused(inputs, name):
    with pytest.raises(TypeError, match="expected both dst_idx and src_idx, got only one of them"):
        nn.MessagePass()({}, *inputs[:2], **{name: inputs[2]})


def test_lists_that_are_no_integers_or_differ_in_shape_are_refused(library, inputs):
    x, basis, adj = inputs
    with pytest.raises(TypeError, match="expected adj_idx to be an integer array, got dtype"):
        nn.MessagePass()({}, x, basis, adj_idx=library.array(np.ones((5, 3))))
    with pytest.raises(ValueError, match=r"expected adj_idx to have at least 2 axes, got shape \(5,\)"):
        nn.MessagePass()({}, x, basis, adj_idx=adj[:, 0])
    with pytest.raises(ValueError, match=r"expected dst_idx and src_idx of one shape, got \(3,\) and \(2,\)"):
        nn.MessagePass()({}, x, basis, dst_idx=adj[0, :], src_idx=adj[0, :2])


@pytest.mark.parametrize("shape", [(5, 4, 3), (5, 3, 4, 3), (5, 1, 5, 3)])
def test_shapes_that_are_not_those_of_features_are_refused(library, inputs, shape):
    with pytest.raises(ValueError, match=r"expected inputs of shape \(\.\.\., 1 or 2, \(max_degree\+1\)\*\*2, feat"):
        nn.MessagePass()({}, library.array(np.ones(shape)), inputs[1], adj_idx=inputs[2])


@pytest.mark.parametrize("shape", [(1, 4, 2), (2, 5, 1, 4, 2)])
def test_inputs_without_nodes_or_with_other_leading_axes_are_refused(library, inputs, shape):
    expected = r"expected inputs of shape \(N, 1 or 2, \(max_degree\+1\)\*\*2, features\) for this index list, got "
    with pytest.raises(ValueError, match=expected):
        nn.MessagePass()({}, library.array(np.ones(shape)), inputs[1], adj_idx=inputs[2])
    with pytest.raises(ValueError, match=r"expected inputs of shape \(5, N, 1 or 2"):
        nn.MessagePass()({}, inputs[0], inputs[1], dst_idx=inputs[2], src_idx=inputs[2])


def test_basis_of_another_shape_is_refused(library, inputs):
    x, basis, adj = inputs
    array = library.array
    with pytest.raises(ValueError, match=r"expected a basis for index lists of shape \(5, 2\), got \(5, 3\)"):
        nn.MessagePass()({}, x, basis, adj_idx=adj[:, :2])
    with pytest.raises(
        ValueError, match=r"expected a basis with a parity axis of length 1, got shape \(5, 3, 2, 4, 3\)"
    ):
        nn.MessagePass()({}, x, array(np.ones((5, 3, 2, 4, 3))), adj_idx=adj)
    with pytest.raises(ValueError, match=r"expected basis of shape \(\.\.\., 1 or 2, \(max_degree\+1\)\*\*2, features"):
        nn.MessagePass()({}, x, array(np.ones((5, 3, 1, 5, 3))), adj_idx=adj)
    for radial, angular, message in (
        ((5, 2, 1, 3), (5, 2, 4), r"expected a basis for index lists of shape \(5, 3\), got \(5, 2\)"),
        ((5, 3, 1, 3), (5, 3, 5), r"expected an angular part of shape \(\.\.\., \(max_degree\+1\)\*\*2\), got"),
        ((5, 3, 3, 3), (5, 3, 4), r"expected a radial part of shape \(5, 3, 1 or 2, num\), got \(5, 3, 3, 3\)"),
        ((5, 3, 1, 3), (5, 2, 4), r"expected a radial part of shape \(5, 2, 1 or 2, num\), got \(5, 3, 1, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            nn.MessagePass()({}, x, nn.FactoredBasis(array(np.ones(radial)), array(np.ones(angular))), adj_idx=adj)


@pytest.mark.parametrize("shape", [(5, 2, 1, 1, 1), (1, 5, 3, 1, 1, 1), (5, 3)])
def test_weights_that_do_not_broadcast_are_refused(library, inputs, shape):
    with pytest.raises(ValueError, match=r"expected weights that broadcast to shape \(5, 3, 1, 4, 2"):
        nn.MessagePass()({}, *inputs[:2], library.array(np.ones(shape)), adj_idx=inputs[2])


@pytest.mark.parametrize("factored", [False, True])
def test_masks_of_another_shape_or_kind_are_refused(library, rng, factored):
    x, basis = messages(rng, "dense", 1, 1, 1)
    x, basis = cast((x, basis if factored else basis.array()), library)
    for mask, error, message in (
        (np.ones((5, 2), bool), ValueError, r"expected where of shape \(5, 3\), as adj_idx, got \(5, 2\)"),
        (np.ones((5, 3)), TypeError, "expected where to be a bool array, got dtype"),
    ):
        with pytest.raises(error, match=message):
            nn.MessagePass()({}, x, basis, **cast(DENSE, library), where=library.array(mask))


def test_arrays_of_different_libraries_are_refused(rng):
    x, basis = messages(rng, "dense", 1, 1, 1)
    params = random_parameters(nn.MessagePass(), rng, (x, basis), DENSE)
    for parts in (basis, basis.array()):
        with pytest.raises(
            TypeError, match=r"expected arrays of (one library, got both|array_api_compat\.torch, got numpy)"
        ):
            nn.MessagePass()(params, x, cast(parts, Library.TORCH), **DENSE)
    with pytest.raises(TypeError, match="expected arrays of one library, got both"):
        nn.MessagePass()(params, x, basis, **cast(DENSE, Library.TORCH))


@pytest.mark.parametrize("degree", [-1, 2.0, True, "4"])
def test_degree_that_is_no_integer_or_negative_is_refused(degree):
    with pytest.raises(ValueError, match="expected max_degree to be an integer >= 0, got"):
        nn.MessagePass(degree)


@pytest.mark.parametrize("factored", [False, True])
def test_degrees_that_no_coupling_reaches_are_refused(library, rng, factored):
    x, basis = messages(rng, "dense", 1, 1, 1)
    params = cast(random_parameters(nn.MessagePass(), rng, (x, basis), DENSE), library)
    x, basis = cast((x, basis if factored else basis.array()), library)
    with pytest.raises(ValueError, match="expected max_degree <= 2 for factors of degrees 1 and 1, got 3"):
        nn.MessagePass(3)(params, x, basis, **cast(DENSE, library))


@pytest.mark.parametrize("factored", [False, True])
def test_missing_and_misshapen_parameters_are_refused(library, rng, factored):
    x, basis = messages(rng, "dense", 1, 1, 1)
    params = cast(random_parameters(nn.MessagePass(), rng, (x, basis), DENSE), library)
    inputs, options = cast((x, basis if factored else basis.array()), library), cast(DENSE, library)
    for missing, there, path in (
        ({"tensor": params["tensor"]}, "nothing", r"filter/0\+/kernel"),
        ({"filter": params["filter"]}, "nothing", "tensor/kernel"),
        ({**params, "filter": {"0+": params["filter"]["0+"]}}, "nothing", "filter/1-/kernel"),
    ):
        with pytest.raises(ValueError, match=f"expected a parameter '{path}', got a tree that has {there} there"):
            nn.MessagePass()(missing, *inputs, **options)
    wrong = {**params, "tensor": {"kernel": params["tensor"]["kernel"][..., :1]}}
    with pytest.raises(ValueError, match=r"expected parameter 'tensor/kernel' of shape \(1, 2, 1, 2, 2, 2, 2\), got"):
        nn.MessagePass()(wrong, *inputs, **options)
