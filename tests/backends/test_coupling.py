"""Tables of couplings, and the emitters of their products."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from coupling_cases import by_einsum, couple, dense, large, loss, operands, small
from e3any_backends import backend_of, kernels
from e3any_backends.forms.couplings import Coupling, Path
from e3any_backends.generic import Backend
from e3any_backends.jax import contractions
from layer_cases import jit

from e3any.testing import assert_parity

LETTERS = "xyw"
FACTORS = pytest.mark.parametrize("factor", range(3), ids=list(LETTERS))


@pytest.fixture(params=["unrolled", "loop", "kernel"])
def emitter(request, monkeypatch):
    """All forms that the primitive can take."""
    monkeypatch.setattr(contractions, "_MAX_UNROLLED", 0 if request.param == "loop" else 10**9)
    jax.clear_caches()
    with kernels.enabled(request.param == "kernel"):
        yield
    jax.clear_caches()


def broadcast_einsum(x, y, w, coupling):
    lead = np.broadcast_shapes(*(a.shape[:-2] for a in (x, y, w)))
    features = np.broadcast_shapes(*(a.shape[-1:] for a in (x, y, w)))
    return by_einsum(*(np.broadcast_to(a, (*lead, a.shape[-2], *features)) for a in (x, y, w)), coupling)


@pytest.mark.parametrize("table", [small, large])
def test_forms_list_the_coefficients(table):
    coupling = table()
    entries = dense(coupling)
    for form, expected in (
        (coupling.product_form, entries.transpose(1, 2, 3, 0)),
        (coupling.pair_form, entries.transpose(1, 2, 3, 0).reshape(-1, coupling.num_z, coupling.num_paths)),
    ):
        assert form.sizes == expected.shape
        assert form.values.all()
        found = np.zeros(form.sizes)
        np.add.at(found, form.columns, form.values)
        np.testing.assert_array_equal(found, expected)


def test_small_tables_are_one_matrix_and_large_ones_one_for_each_pair_of_blocks():
    assert [block.matrix.shape for block in small().blocks] == [(2 + 3 + 3 + 1 + 2, 20)]
    assert [block.matrix.shape for block in large().blocks] == [(12, 25), (12, 35), (12, 35), (12, 49)]


@pytest.mark.parametrize("table", [small, large])
def test_product_is_that_of_the_definition(library, rng, table):
    arrays = operands(rng, table())
    actual = couple(table())(*map(library.array, arrays))
    assert library.owns(actual)
    assert_parity(actual, by_einsum(*arrays, table()), "float64")


@pytest.mark.parametrize(
    ("outer", "features"),
    [
        (((1,), (1,), (1,)), (2, 2, 2)),
        (((2,), (2,), (2,)), (3, 3, 3)),
        (((1, 3, 1), (1, 1, 4), (1, 1, 1)), (2, 2, 2)),
        (((2, 5, 1), (2, 5, 4), (2, 1, 1)), (2, 2, 2)),
        (((1, 3), (1, 3), (1, 3)), (1, 4, 1)),
    ],
)
def test_axes_in_front_of_components_broadcast(library, rng, outer, features):
    arrays = operands(rng, small(), outer=outer, features=features)
    actual = couple(small())(*map(library.array, arrays))
    assert_parity(actual, broadcast_einsum(*arrays, small()), "float64")


@pytest.mark.parametrize(
    ("outer", "features"), [(((2, 0),) * 3, 2), (((1, 3),) * 3, 0), (((1, 0, 1), (1, 1, 2), (1, 1, 1)), 2)]
)
def test_empty_axes_give_empty_products(library, rng, outer, features):
    arrays = operands(rng, small(), outer=outer, features=(features,) * 3)
    actual = couple(small())(*map(library.array, arrays))
    assert tuple(actual.shape) == broadcast_einsum(*arrays, small()).shape


def test_empty_axes_may_be_compiled(rng):
    arrays = [jnp.asarray(a) for a in operands(rng, small(), outer=((1, 0), (1, 0), (1, 1)))]
    value, gradient = jit(jax.value_and_grad(lambda *a: couple(small())(*a).sum(), argnums=2))(*arrays)
    assert value == 0.0
    assert gradient.shape == arrays[2].shape
    assert not gradient.any()


def test_gradients_of_empty_axes_are_empty_or_zero(rng):
    arrays = operands(rng, small(), outer=((1, 0), (1, 0), (1, 1)))
    grads = jax.grad(lambda *a: couple(small())(*a).sum(), argnums=(0, 1, 2))(*map(jnp.asarray, arrays))
    assert [g.shape for g in grads] == [a.shape for a in arrays]
    assert grads[2].size
    assert not grads[2].any()


@pytest.mark.parametrize("table", [small, large])
def test_pairs_are_coupled_as_their_product_is(library, rng, table):
    x, y, w = operands(rng, table())
    pairs = x[..., :, None, :] * y[..., None, :, :]
    pairs, w_ = library.array(pairs), library.array(w)
    actual = backend_of(pairs).couple_pairs(pairs, w_, table())
    assert_parity(actual, by_einsum(x, y, w, table()), "float64")


def test_pairs_need_not_be_products(library, rng):
    coupling = small()
    pairs, w = rng.normal(size=(2, 3, 5, 4, 2)), rng.normal(size=(2, 1, coupling.num_paths, 2))
    expected = np.einsum("saxyf,sbpf,pxyz->azf", pairs, w, dense(coupling))
    pairs, w = library.array(pairs), library.array(w)
    assert_parity(backend_of(pairs).couple_pairs(pairs, w, coupling), expected, "float64")


def test_native_products_are_those_of_the_standard(rng):
    arrays = tuple(map(jnp.asarray, operands(rng, small())))
    assert_parity(couple(small())(*arrays), Backend(jnp).couple(*arrays, small()))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtypes_are_kept_and_sums_are_of_single_precision(rng, dtype):
    arrays = [jnp.asarray(a, dtype) for a in operands(rng, small())]
    expected = by_einsum(*(np.asarray(a, np.float64) for a in arrays), small())
    rtol = {"float32": 1e-6, "bfloat16": 2**-8, "float16": 2**-11}[dtype]
    assert_parity(couple(small())(*arrays), expected, dtype, rtol=rtol)


def einsum_of(coupling):
    return lambda x, y, w: by_einsum(x, y, w, coupling, jnp)


@pytest.mark.usefixtures("emitter")
def test_first_derivatives_are_those_of_the_definition(rng):
    arrays = tuple(map(jnp.asarray, operands(rng, small())))
    actual, expected = (
        jit(jax.grad(loss(f), argnums=(0, 1, 2)))(*arrays) for f in (couple(small()), einsum_of(small()))
    )
    assert_parity(actual, expected)
    leaves = [torch.from_numpy(np.array(a)).requires_grad_() for a in arrays]
    couple(small())(*leaves).sin().sum().backward()
    assert_parity([leaf.grad for leaf in leaves], list(expected))


@FACTORS
@pytest.mark.usefixtures("emitter")
def test_derivatives_by_operands_that_broadcast_are_sums(rng, factor):
    shapes = ((2, 3, 4), (2, 1, 4), (1, 1, 1))
    outer = shapes[-factor:] + shapes[:-factor]
    arrays = tuple(map(jnp.asarray, operands(rng, small(), outer=outer, features=(2, 1, 2))))

    def broadcast(x, y, w):
        wide = (jnp.broadcast_to(a, (2, 3, 4, a.shape[-2], 2)) for a in (x, y, w))
        return einsum_of(small())(*wide)

    actual, expected = (jit(jax.grad(loss(f), argnums=(0, 1, 2)))(*arrays) for f in (couple(small()), broadcast))
    assert_parity(actual, expected)


@FACTORS
def test_derivatives_by_one_operand_leave_the_others_alone(rng, factor):
    arrays = tuple(map(jnp.asarray, operands(rng, small())))
    actual, expected = (jit(jax.grad(loss(f), argnums=factor))(*arrays) for f in (couple(small()), einsum_of(small())))
    assert_parity(actual, expected)


def second_derivatives(function, arrays, tangents):
    """Return products of the Hessian with tangents, in reverse and forward mode over reverse and forward mode."""
    grad = jax.grad(loss(function), argnums=(0, 1, 2))

    def derivative(*arrays):
        return jax.jvp(loss(function), arrays, tangents)[1]

    def projected(*arrays):
        return sum(jnp.vdot(g, t) for g, t in zip(grad(*arrays), tangents))

    return (
        jax.grad(projected, argnums=(0, 1, 2))(*arrays),
        jax.jvp(grad, arrays, tangents)[1],
        jax.grad(derivative, argnums=(0, 1, 2))(*arrays),
        jax.jvp(derivative, arrays, tangents)[1],
    )


@pytest.mark.usefixtures("emitter")
def test_second_derivatives_are_those_of_the_definition(rng):
    arrays, tangents = (tuple(map(jnp.asarray, operands(rng, small()))) for _ in range(2))
    actual, expected = (
        jit(partial(second_derivatives, f))(arrays, tangents) for f in (couple(small()), einsum_of(small()))
    )
    assert_parity(actual, expected)
    assert_parity(actual[1], actual[0])
    assert_parity(actual[2], actual[0])


def test_second_derivatives_of_pytorch_are_those_of_jax(rng):
    arrays, tangents = operands(rng, small()), operands(rng, small())
    hessians = jit(partial(second_derivatives, einsum_of(small())))(
        tuple(map(jnp.asarray, arrays)), tuple(map(jnp.asarray, tangents))
    )
    leaves = [torch.from_numpy(a).requires_grad_() for a in arrays]
    gradients = torch.autograd.grad(couple(small())(*leaves).sin().sum(), leaves, create_graph=True)
    derivative = sum((g * torch.from_numpy(t)).sum() for g, t in zip(gradients, tangents))
    assert_parity(torch.autograd.grad(derivative, leaves), hessians[0])


def test_fourth_derivative_along_a_line_is_that_of_the_definition(rng):
    arrays, tangents = (tuple(map(jnp.asarray, operands(rng, small(), outer=((1,),) * 3))) for _ in range(2))

    def along(function):
        derivative = lambda t: loss(function)(*(a + t * d for a, d in zip(arrays, tangents)))
        for _ in range(4):
            derivative = jax.grad(derivative)
        return jit(derivative)(0.3)

    assert_parity(along(couple(small())), along(einsum_of(small())))


@pytest.mark.parametrize("active", [(0,), (1,), (2,), (0, 1), (0, 1, 2)], ids=lambda a: "".join(LETTERS[i] for i in a))
@pytest.mark.usefixtures("emitter")
def test_tangents_are_those_of_the_definition(rng, active):
    arrays, tangents = (tuple(map(jnp.asarray, operands(rng, small()))) for _ in range(2))

    def pushed(function):
        def partially(*some):
            full = list(arrays)
            for i, a in zip(active, some):
                full[i] = a
            return function(*full)

        return jax.jvp(partially, tuple(arrays[i] for i in active), tuple(tangents[i] for i in active))

    assert_parity(jit(lambda: pushed(couple(small())))(), jit(lambda: pushed(einsum_of(small())))())


@FACTORS
def test_transposes_are_adjoint(rng, factor):
    arrays, others = (tuple(map(jnp.asarray, operands(rng, small()))) for _ in range(2))
    cotangent = jnp.asarray(rng.normal(size=(3, 7, 2)))

    def linear(a):
        return couple(small())(*(a if i == factor else b for i, b in enumerate(others)))

    transposed = jax.linear_transpose(linear, arrays[factor])
    left = jnp.vdot(linear(arrays[factor]), cotangent)
    assert_parity(jnp.vdot(arrays[factor], transposed(cotangent)[0]), left)
    # The transpose is linear and is transposed in turn.
    twice = jax.linear_transpose(lambda c: transposed(c)[0], cotangent)
    assert_parity(twice(arrays[factor])[0], linear(arrays[factor]))


@pytest.mark.parametrize(
    "axes",
    [(0, None, None), (None, 0, None), (None, None, 0), (0, 1, None), (2, 3, 4), (-1, None, 0)],
    ids=str,
)
@pytest.mark.usefixtures("emitter")
def test_each_operand_can_be_mapped_over(rng, axes):
    arrays = operands(rng, small())
    stacked = []
    for array, axis in zip(arrays, axes):
        many = array if axis is None else np.stack([array, 2 * array, array - 1], axis=axis)
        stacked.append(jnp.asarray(many))

    def one(i):
        return tuple(a if axis is None else jnp.take(a, i, axis=axis) for a, axis in zip(stacked, axes))

    def values_and_gradients(*arrays):
        return couple(small())(*arrays), jax.grad(loss(couple(small())), argnums=(0, 1, 2))(*arrays)

    actual = jit(jax.vmap(values_and_gradients, in_axes=axes))(*stacked)
    f = einsum_of(small())
    each = [(f(*one(i)), jax.grad(loss(f), argnums=(0, 1, 2))(*one(i))) for i in range(3)]
    assert_parity(actual, jax.tree.map(lambda *a: jnp.stack(a), *each))


def test_maps_can_be_nested_and_differentiated(rng):
    x, y, w = map(jnp.asarray, operands(rng, small(), outer=((4, 1, 3), (5, 1, 3), (1, 3))))

    def total(function, x, y, w):
        both = jax.vmap(jax.vmap(function, (None, 0, None)), (0, None, None))
        return jnp.sum(jnp.sin(both(x, y, w)))

    actual, expected = (
        jit(jax.grad(partial(total, f), argnums=(0, 1, 2)))(x, y, w) for f in (couple(small()), einsum_of(small()))
    )
    assert_parity(actual, expected)


def test_differentiation_never_leaves_the_primitive(rng):
    arrays, tangents = (tuple(map(jnp.asarray, operands(rng, small()))) for _ in range(2))

    def primitives(function):
        names = [str(e.primitive) for e in jax.make_jaxpr(function)(*arrays).eqns]
        return names.count(str(contractions._primitive)), [n for n in names if "dot_general" in n or "scatter" in n]

    square = lambda x, y, w: jnp.sum(couple(small())(x, y, w) ** 2)
    grad = jax.grad(square, argnums=(0, 1, 2))
    # The product, and one primitive for the gradients by all operands.
    assert primitives(couple(small())) == (1, [])
    assert primitives(grad) == (2, [])
    assert primitives(jax.vmap(grad, in_axes=(1, 1, 1)))[0] == 2
    count, others = primitives(lambda *a: jax.jvp(grad, a, tangents))
    assert count == 4
    assert not others


def test_product_runs_without_jit(rng):
    arrays = tuple(map(jnp.asarray, operands(rng, small())))
    with jax.disable_jit():
        actual = couple(small())(*arrays)
        gradients = jax.grad(loss(couple(small())), argnums=(0, 1, 2))(*arrays)
    assert_parity(actual, couple(small())(*arrays))
    assert_parity(gradients, jax.grad(loss(einsum_of(small())), argnums=(0, 1, 2))(*arrays))


@pytest.mark.usefixtures("emitter")
def test_sizes_may_be_symbols(rng):
    x, y, w = map(jnp.asarray, operands(rng, small(), outer=((1, 3), (1, 3), (1, 1))))
    (n,) = jax.export.symbolic_shape("n")
    shapes = [jax.ShapeDtypeStruct((1, size, *a.shape[2:]), a.dtype) for a, size in ((x, n), (y, n), (w, 1))]
    exported = jax.export.export(jit(jax.grad(loss(couple(small())), argnums=(0, 2))))(*shapes)
    expected = jax.grad(loss(lambda x, y, w: couple(small())(x, y, w)), argnums=(0, 2))(x, y, w)
    assert_parity(exported.call(x, y, w), expected)


def test_shapes_that_do_not_broadcast_are_refused(rng):
    arrays = map(jnp.asarray, operands(rng, small(), outer=((1, 3), (1, 2), (1, 1))))
    with pytest.raises(ValueError, match=r"expected shapes that broadcast, got \(3, 2\), \(2, 2\), \(1, 2\)"):
        couple(small())(*arrays)


def test_table_without_paths_gives_zeros(library):
    nothing = Coupling((), 3, 2, 4)
    x, y, w = (library.array(np.ones((2, 5, n, 1))) for n in (3, 2, 0))
    z = couple(nothing)(x, y, w)
    assert tuple(z.shape) == (5, 4, 1)
    assert not library.numpy(z).any()


@pytest.mark.usefixtures("emitter")
def test_components_without_coefficients_are_zero_with_zero_gradients(rng):
    x, y, w = map(jnp.asarray, operands(rng, small()))
    assert not couple(small())(x, y, w)[..., 6, :].any()
    dx, dy = jax.grad(loss(couple(small())), argnums=(0, 1))(x, y, w)
    assert not dx[..., 4, :].any()
    assert not dy[..., 3, :].any()


def test_programs_do_not_grow_beyond_a_number_of_couplings(rng):
    def lines(size):
        paths = [Path(slice(i, i + 12), slice(0, 12), slice(0, 12), rng.normal(size=(12, 12, 12))) for i in range(size)]
        coupling = Coupling(tuple(paths), 12 + size, 12, 12)
        arrays = operands(rng, coupling, outer=((1, 3),) * 3)
        return jax.jit(jax.grad(loss(couple(coupling)), (0, 1, 2))).lower(*arrays).as_text().count("\n")

    with kernels.enabled(False):
        assert lines(1) == lines(8)
    assert lines(1) == lines(8)
