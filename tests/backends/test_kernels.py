"""Kernels that need no C compiler, compared with the references."""

from __future__ import annotations

import itertools
import logging
import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
import torch._dynamo  # before anything of PyTorch is replaced, which it keeps lists of
from e3any_backends import backend_of, kernels
from e3any_backends.generic import Backend
from e3any_backends.kernels import availability, contraction, harmonic_maps, maps, memory, schedule
from e3any_backends.kernels.parallel import pool
from e3any_backends.torch import operators, values
from e3any_torch import nn
from fuzz.settings import forget_plans
from torch.autograd import grad

from e3any import Layout, so3
from e3any.nn.layers.couplings import coupling_plan
from e3any.testing import assert_parity

# PyTorch itself still uses what it warns of.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")

REFERENCES = ("couple_by_matmul", "couple_pairs_by_matmul", "contract_entries", "edge_products_by_segments")
REFERENCES += ("linear_by_matmul",)
ROUNDING = {"float32": 1e-6, "float64": 1e-13}


def as_library(library, *arrays):
    return [torch.from_numpy(a) if library == "torch" else a for a in arrays]


def assert_rounding(actual, expected, condition=1.0):
    """Compare arrays up to rounding, which may have been amplified by ``condition``, relative to the largest number."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    scale = max(1.0, np.abs(expected).max(initial=0.0))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=ROUNDING[str(expected.dtype)] * scale * condition)


def both(function, *arguments):
    """Return what a function gives with kernels, and without."""
    with kernels.enabled(False):
        reference = function(*arguments)
    return function(*arguments), reference


@pytest.fixture
def only_kernels(monkeypatch):
    """Let references fail while kernels are on."""

    def fail(*_):
        raise AssertionError("expected a kernel, got the reference")

    def switch():
        for name in REFERENCES:
            monkeypatch.setattr(f"e3any_backends.generic.{name}", fail)

    return switch


def tensor(max_degree, parities=(1, 1, 1)):
    """Return the coupling of two features, and that of sums of their products, as functions of arrays."""
    n = max_degree + 1
    plan = coupling_plan((parities[0], n, parities[1], n, parities[2], n), False)
    return (
        lambda x, y, w: backend_of(x, y, w).couple_features(x, y, w, plan),
        lambda pairs, w: backend_of(pairs, w).couple_pair_features(pairs, w, plan),
    )


def factors(rng, max_degree, lead, features, dtype="float64", parities=(1, 1, 1)):
    """Return random factors and weights; ``lead`` are the leading axes of the factors."""
    n = max_degree + 1
    x, y = (rng.normal(size=(*own, p, n**2, features)) for own, p in zip(lead, parities))
    p1, p2, p3 = parities
    return [a.astype(dtype) for a in (x, y, rng.normal(size=(p1, n, p2, n, p3, n, features)))]


def pairs(rng, lead, features, dtype="float64", parities=(1, 1)):
    """Return random sums of products for L=2, and weights."""
    shapes = (*lead, 9, parities[0], 9, features), (1, 3, parities[0], 3, parities[1], 3, features)
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def edges(rng, features, num_edges=40, dtype="float64"):
    """Return arguments of sums over edges; some edges are padding, and their numbers are not finite."""
    src, dst = rng.integers(-1, 7, num_edges), rng.integers(-2, 6, num_edges)
    x, angular, radial = (
        rng.normal(size=shape).astype(dtype) for shape in ((6, 8, features), (num_edges, 9), (num_edges, 3, features))
    )
    return x, angular, radial, src, dst, 5


@pytest.fixture(params=["programs", "tables"])
def programs_and_tables(request, monkeypatch):
    """Let kernels of contractions be programs of their own, and one loop over tables."""
    if request.param == "tables":
        monkeypatch.setattr(schedule, "MAX_ENTRIES", -1)
    forget_plans()
    yield
    forget_plans()


@pytest.mark.usefixtures("programs_and_tables")
@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("features", [1, 5, 32, 48, 600])
@pytest.mark.parametrize("max_degree", [0, 1, 3])
def test_coupling_is_that_of_the_reference(rng, library, dtype, features, max_degree):
    arrays = as_library(library, *factors(rng, max_degree, [(40,), (40,)], features, dtype, (2, 2, 2)))
    assert_rounding(*both(tensor(max_degree, (2, 2, 2))[0], *arrays))


@pytest.mark.usefixtures("programs_and_tables")
@pytest.mark.parametrize("parities", list(itertools.product((1, 2), repeat=3)), ids=str)
def test_parities_of_kernels_are_those_of_the_reference(rng, parities):
    (product, of_pairs) = tensor(2, parities)
    assert_rounding(*both(product, *factors(rng, 2, [(7,), (7,)], 3, parities=parities)))
    if parities[0] == 1:
        assert_rounding(*both(of_pairs, *pairs(rng, (7,), 3, parities=parities[1:])))


@pytest.mark.usefixtures("programs_and_tables")
@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("features", [3, 16])
@pytest.mark.parametrize(
    "lead",
    [[(), ()], [(0,), (0,)], [(0,), (1,)], [(5, 3), ()], [(5, 1), (3,)], [(1, 3), (5, 1)], [(1,), (1, 1)]],
    ids=str,
)
def test_leading_axes_broadcast(rng, only_kernels, library, features, lead):
    arrays = as_library(library, *factors(rng, 1, lead, features))

    def derivatives():
        if library == "numpy":
            return [tensor(1)[0](*arrays)]
        leaves = [a.clone().requires_grad_() for a in arrays]
        value = tensor(1)[0](*leaves)
        return [value.detach(), *grad((value * value).sum(), leaves)]

    with kernels.enabled(False):
        expected = derivatives()
    only_kernels()
    for actual, reference in zip(derivatives(), expected):
        assert_rounding(actual, reference)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_arrays_need_not_be_contiguous(rng, only_kernels, library):
    x, y, w = factors(rng, 1, [(6,), (6,)], 4)
    x, y = np.ascontiguousarray(x.swapaxes(0, 3)).swapaxes(0, 3), np.repeat(y, 2, axis=2)[..., ::2, :]
    arrays = as_library(library, x, y, w)
    with kernels.enabled(False):
        expected = tensor(1)[0](x, y, w)
    only_kernels()
    assert_rounding(tensor(1)[0](*arrays), expected)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_no_kernel_is_called_where_they_are_switched_off(rng, library, monkeypatch):
    def fail(*_):
        raise AssertionError("expected no kernel")

    monkeypatch.setattr(contraction, "contract", fail)
    arrays = as_library(library, *factors(rng, 1, [(6,), (6,)], 4))
    with kernels.enabled(False):
        tensor(1)[0](*arrays)
    with pytest.raises(AssertionError, match="no kernel"):
        tensor(1)[0](*arrays)


@pytest.mark.usefixtures("programs_and_tables")
@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("features", [1, 5, 32])
def test_coupling_of_pairs_is_that_of_the_reference(rng, library, dtype, features):
    arrays = as_library(library, *pairs(rng, (30,), features, dtype, (2, 2)))
    assert_rounding(*both(tensor(2, (1, 2, 2))[1], *arrays))


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("features", [1, 5, 32])
@pytest.mark.parametrize("num_edges", [0, 1, 40])
def test_sums_over_edges_are_those_of_the_reference(rng, library, dtype, features, num_edges):
    *arrays, num = edges(rng, features, num_edges, dtype)
    arrays = as_library(library, *arrays)
    assert_rounding(*both(backend_of(arrays[0]).edge_products, *arrays, num))


def test_padding_may_be_anything(rng):
    x, angular, radial, src, dst, num = edges(rng, 3)
    expected = backend_of(x).edge_products(x, angular, radial, src, dst, num)
    padding = (src < 0) | (src >= len(x)) | (dst < 0) | (dst >= num)
    angular[padding], radial[padding] = np.nan, np.inf
    assert padding.any()
    np.testing.assert_array_equal(backend_of(x).edge_products(x, angular, radial, src, dst, num), expected)


def cases(rng):
    """Return every operation of tensors with a kernel, with operands."""
    *arrays, src, dst, num = edges(rng, 3)
    backend = backend_of(torch.zeros(1))
    both_indices = torch.from_numpy(src), torch.from_numpy(dst)
    return {
        "couple": (tensor(2, (1, 2, 2))[0], factors(rng, 2, [(5,), (1,)], 3, parities=(1, 2, 2))),
        "couple_pairs": (tensor(2)[1], pairs(rng, (5,), 3)),
        "edge_products": (lambda x, a, r: backend.edge_products(x, a, r, *both_indices, num), arrays),
        "linear": (lambda x, w, b: backend.linear(x, w, torch.tensor([0, 1, 1, 0]), b), matrices(rng, 8, 16)),
    }


def matrices(rng, features, width, lead=(7, 2), dtype="float64"):
    """Return rows of four components, two matrices, and a bias."""
    shapes = (*lead, 4, features), (2, features, width), (width,)
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lead", [(), (0,), (1,), (5,), (6,), (3, 23)], ids=str)
@pytest.mark.parametrize("has_bias", [False, True])
def test_linear_maps_are_those_of_the_reference(rng, only_kernels, library, dtype, lead, has_bias):
    x, w, bias = as_library(library, *matrices(rng, 32, 16, lead, dtype))
    (which,) = as_library(library, np.asarray([1, 0, 0, 1]))
    expected = Backend.linear(backend_of(x), x, w, which, bias if has_bias else None)
    only_kernels()
    assert_rounding(backend_of(x).linear(x, w, which, bias if has_bias else None), expected, 4.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [16, 32, 48])
@pytest.mark.parametrize("rows", [1, 6, 67])
def test_linear_maps_of_one_vector_or_more_are_sums_of_products(rng, dtype, width, rows):
    x, w, _ = matrices(rng, 16, width, (rows,), dtype)
    which, g = np.asarray([0, 1, 1, 0]), rng.normal(size=(rows, 4, width)).astype(dtype)
    value, (dx, dw) = maps.Linear().value([x, w], [which]), maps.Linear().vjp([x, w], [which], g)
    assert_rounding(value, np.einsum("ncf,cfg->ncg", x, w[which]), 4.0)
    assert_rounding(dx, np.einsum("ncg,cfg->ncf", g, w[which]), 4.0)
    products = np.einsum("ncf,ncg->cfg", x, g)
    assert_rounding(dw, np.stack([products[0] + products[3], products[1] + products[2]]), 4.0)


def test_matrices_that_do_not_fill_vectors_are_left_to_libraries(rng):
    x, w, bias = as_library("torch", *matrices(rng, 8, 12))
    backend, which = backend_of(x), torch.tensor([0, 1, 1, 0])
    assert not backend.supports("linear", x, w[0])
    assert backend.supports("linear", x, w[0, :, :8])
    assert_parity(backend.linear(x, w, which, bias), Backend.linear(backend, x, w, which, bias))


@pytest.mark.parametrize("name", ["couple", "couple_pairs", "edge_products", "linear"])
def test_derivatives_to_third_order_are_those_of_the_reference(rng, name):
    function, arrays = cases(rng)[name]

    def derivatives(*arrays):
        leaves = [torch.from_numpy(a).requires_grad_() for a in arrays]
        values = [function(*leaves)]
        results = [values[0].detach()]
        for _ in range(3):
            values = grad(sum((v * v).mean() for v in values), leaves, create_graph=True)
            results += [v.detach() for v in values]
        return results

    for actual, expected in zip(*both(derivatives, *arrays)):
        assert_rounding(actual, expected)


def test_only_needed_derivatives_of_derivatives_are_taken(rng):
    function, arrays = cases(rng)["couple"]
    x, y, w = (torch.from_numpy(a) for a in arrays)
    (gradient,) = grad(function(x.requires_grad_(), y, w).sin().sum(), x, create_graph=True)
    actual = grad(gradient.sum(), x)
    with kernels.enabled(False):
        (gradient,) = grad(function(x, y, w).sin().sum(), x, create_graph=True)
        assert_parity(actual, grad(gradient.sum(), x))


def test_batches_of_gradients_take_the_reference(rng):
    for function, arrays in cases(rng).values():
        x, *rest = (torch.from_numpy(a) for a in arrays)
        value = function(x.requires_grad_(), *rest)
        batch = torch.stack([torch.ones_like(value), value.detach()])
        (actual,) = grad(value, x, batch, is_grads_batched=True, retain_graph=True)
        assert_parity(actual, torch.stack([grad(value, x, g, retain_graph=True)[0] for g in batch]))


@pytest.mark.parametrize("name", ["couple", "couple_pairs", "edge_products"])
def test_operators_keep_the_rules_of_pytorch(rng, name, monkeypatch):
    calls = []
    monkeypatch.setattr("torch.compiler.is_compiling", lambda: True)
    operator = operators.value_operator

    class Record(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is operator:
                calls.append(args)
            return func(*args, **(kwargs or {}))

    function, arrays = cases(rng)[name]
    with Record():
        function(*(torch.from_numpy(a) for a in arrays))
    monkeypatch.undo()
    ((operands, indices, *arguments),) = calls
    operands = [o.requires_grad_() for o in operands]
    torch.library.opcheck(operator, (operands, indices, *arguments))
    g = torch.ones_like(operator(operands, indices, *arguments)).requires_grad_()
    torch.library.opcheck(operators.gradients_operator, (operands, indices, g, *arguments))


def test_compiled_layers_call_kernels(rng):
    module = nn.Tensor(Layout(1, 3, True), Layout(1, 3, True)).double()
    x, y = (torch.from_numpy(rng.normal(size=(4, 2, 4, 3))).requires_grad_() for _ in range(2))
    names = []

    def record(graph, _):
        names.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    torch._dynamo.reset()
    torch.compile(module, fullgraph=True, backend=record)(x, y)
    assert sum("multilinear" in name for name in names) == 1

    torch._dynamo.reset()
    run = torch.compile(module, fullgraph=True, backend="aot_eager")
    actual, expected = (grad(f(x, y).sin().sum(), [x, y, *module.parameters()]) for f in (run, module))
    assert_parity(actual, expected)


@pytest.fixture
def at_any_size(monkeypatch):
    """Let kernels of harmonics serve few vectors as well."""
    monkeypatch.setattr(availability, "_LEAST_HARMONICS", 0)


def points(rng, dtype="float64"):
    """Return more vectors than a block has; some are zero, on an axis, tiny or huge."""
    r = rng.normal(size=(600, 3))
    r[:5] = [[0, 0, 0], [0, 0, 2], [0, -1, 0], [1e-30, 2e-30, 0], [1e30, 0, 1e30]]
    return r.astype(dtype)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("max_degree", [1, 2, 7])
@pytest.mark.parametrize("cartesian_order", [False, True])
@pytest.mark.usefixtures("at_any_size")
def test_harmonics_are_those_of_the_reference(rng, library, dtype, max_degree, cartesian_order):
    for r in (points(rng, dtype), rng.normal(size=(2, 0, 3)).astype(dtype), rng.normal(size=3).astype(dtype)):
        (r,) = as_library(library, r)
        options = {"max_degree": max_degree, "cartesian_order": cartesian_order}
        # Polynomials of degree L amplify the rounding of unit vectors by L.
        assert_rounding(*both(partial(so3.spherical_harmonics, normalization="4pi", **options), r), max_degree)
    solid = as_library(library, rng.normal(size=(4, 5, 3)).astype(dtype).swapaxes(0, 1))[0]
    assert_rounding(*both(partial(so3.solid_harmonics, **options), solid), max_degree)


@pytest.mark.parametrize("function", [so3.spherical_harmonics, so3.solid_harmonics])
@pytest.mark.parametrize("cartesian_order", [False, True])
@pytest.mark.usefixtures("at_any_size")
def test_derivatives_of_harmonics_are_those_of_the_reference(rng, function, cartesian_order):
    weights = torch.from_numpy(rng.normal(size=(600, 16)))
    direction = torch.from_numpy(rng.normal(size=(600, 3)))

    def derivatives(r):
        r = torch.from_numpy(r).requires_grad_()
        w = weights.clone().requires_grad_()
        value = function(r, max_degree=3, cartesian_order=cartesian_order)
        (gradient,) = grad((value * w).sum(), r, create_graph=True)
        along = (gradient * direction).sum()
        second = grad(along, [r, w], retain_graph=True)  # by the kernel
        again = grad(along, [r, w], create_graph=True)  # by the reference, for a third derivative
        (third,) = grad((again[0] * direction).sum(), r)
        return [x.detach() for x in (value, gradient, *second, *again, third)]

    r = rng.normal(size=(600, 3))
    r[:2] = [[0, 0, 0], [0, 0, 2]]
    for actual, expected in zip(*both(derivatives, r)):
        assert_rounding(actual, expected)


@pytest.mark.usefixtures("at_any_size")
def test_derivatives_of_harmonics_are_finite_everywhere(rng):
    r = torch.from_numpy(points(rng)).requires_grad_()
    (gradient,) = grad(so3.spherical_harmonics(r, 4).sin().sum(), r, create_graph=True)
    (second,) = grad(gradient.sin().sum(), r)
    assert torch.isfinite(gradient).all()
    assert torch.isfinite(second[:3]).all()


@pytest.mark.usefixtures("at_any_size")
def test_compiled_harmonics_and_their_gradients_call_kernels(rng):
    r = torch.from_numpy(points(rng)[3:40]).requires_grad_()
    names = []

    def record(graph, _):
        names.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    torch._dynamo.reset()
    torch.compile(lambda r: so3.spherical_harmonics(r, 2), fullgraph=True, backend=record)(r)
    assert [name for name in names if "e3any" in name] == ["e3any.harmonics.default"]

    torch._dynamo.reset()
    run = torch.compile(lambda r: so3.spherical_harmonics(r, 2), fullgraph=True, backend="aot_eager")
    compiled, eager = run(r), so3.spherical_harmonics(r, 2)
    assert_parity(compiled.detach(), eager.detach())
    assert_parity(grad(compiled.sin().sum(), r), grad(eager.sin().sum(), r))


@pytest.mark.parametrize("unit", [False, True])
def test_the_operator_of_harmonics_keeps_the_rules_of_pytorch(rng, unit):
    kernel = harmonic_maps.Harmonics((1.0, 1.0, 2.0), tuple(range(9)), unit)
    options = list(kernel.factors), list(kernel.order), unit
    operator = operators.harmonics_operator
    r, c = (torch.from_numpy(rng.normal(size=(4, 3))).requires_grad_() for _ in range(2))
    w = torch.from_numpy(rng.normal(size=(4, 9))).requires_grad_()
    for operands, is_gradient in (([r], False), ([r, w], True)):
        torch.library.opcheck(operator, (operands, is_gradient, *options))
        assert torch.autograd.gradcheck(lambda *o, g=is_gradient: operator(list(o), g, *options), operands)
    second = operator([r, w, c], True, *options)
    assert_parity(second, grad((operator([r, w], True, *options) * c).sum(), r)[0])
    with pytest.raises(RuntimeError, match="expected at most second derivatives of harmonics"):
        grad(second.sum(), r)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (lambda f, x, *rest: torch.func.vmap(lambda a: f(a, *rest))(x[None]), "torch.func"),
        (lambda f, x, *rest: torch.func.jvp(lambda a: f(a, *rest), (x,), (x,)), "torch.func"),
        (lambda f, *o: f(*(a.bfloat16() for a in o)), "bfloat16"),
        (lambda f, *o: f(*(a.to("meta") for a in o)), "not on the CPU"),
        (lambda f, *o: torch.fx.experimental.proxy_tensor.make_fx(f)(*o), "traced"),
    ],
)
def test_logs_say_why_a_case_is_not_supported(rng, caplog, case, reason):
    function, arrays = cases(rng)["couple"]
    with caplog.at_level(logging.DEBUG, logger="e3any"):
        case(function, *(torch.from_numpy(a) for a in arrays))
    (message,) = {record.getMessage() for record in caplog.records}
    assert message.startswith("no kernel for contraction: ")
    assert reason in message


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_few_harmonics_take_the_reference(rng, library, caplog):
    (few, many) = as_library(library, *(rng.normal(size=(n, 3)).astype("float32") for n in (10, 2048)))
    with caplog.at_level(logging.DEBUG, logger="e3any"):
        so3.spherical_harmonics(many, 1)
        assert not caplog.records
        so3.spherical_harmonics(few, 1)
    assert [r.getMessage() for r in caplog.records] == ["no kernel for harmonics: fewer than 1024 numbers"]


def test_switch_is_local_to_its_block():
    assert kernels.used()
    with kernels.enabled(False):
        assert not kernels.used()
        with kernels.enabled():
            assert kernels.used()
    assert kernels.used()


def run_python(program, **environment):
    path = os.pathsep.join(p for p in sys.path if p)
    environment = {**os.environ, "PYTHONPATH": path, **environment}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
    ).stdout


PRODUCT = """
import sys
if {missing}:
    sys.modules["numba"] = None  # importing it fails
import numpy as np
import e3any_numpy
from e3any_backends import kernels
assert "numba" not in sys.modules or {missing}
layer = e3any_numpy.nn.Tensor()
x = np.ones((2, 1, 4, 3))
params = layer.init(np.random.default_rng(0), x, x)
print(kernels.used(), "numba" in sys.modules, float(np.sum(layer(params, x, x))))
"""


def test_numba_is_optional_and_loaded_late():
    used, loaded, value = run_python(PRODUCT.format(missing=False)).split()
    assert (used, loaded) == ("True", "True")
    missing, _, reference = run_python(PRODUCT.format(missing=True)).split()
    assert missing == "False"
    assert float(reference) == pytest.approx(float(value), rel=1e-12)
    off, loaded, reference = run_python(PRODUCT.format(missing=False), E3ANY_KERNELS="0").split()
    assert (off, loaded) == ("False", "False")
    assert float(reference) == pytest.approx(float(value), rel=1e-12)


@pytest.mark.parametrize("make", [memory.empty, memory.zeros])
@pytest.mark.parametrize("shape", [(3,), (0, 5), (70_001,), (1, 300, 333)])
def test_large_results_begin_where_a_line_of_the_cache_does(make, shape):
    x = make(shape, np.float32)
    assert (x.shape, x.dtype, x.flags.c_contiguous, x.flags.writeable) == (shape, np.float32, True, True)
    assert x.size < 2**16 or x.ctypes.data % 64 == 0
    assert make is memory.empty or not x.any()


@pytest.mark.parametrize("features", [3, 16])
@pytest.mark.parametrize("threads", [1, 2])
def test_derivatives_of_edges_that_are_passed_over_are_zero(rng, monkeypatch, features, threads):
    src, dst = np.asarray([0, 9, 1, 1, -1, 0]), np.asarray([1, 0, 7, 0, 1, -2])
    shapes = (2, 4, features), (len(src), 4), (len(src), 2, features)
    operands, g = [rng.normal(size=shape) for shape in shapes], rng.normal(size=(2, 4, 4, features))
    monkeypatch.setattr(pool, "GRAIN", 0.1)
    monkeypatch.setattr(maps, "empty", lambda shape, dtype: np.full(shape, np.nan, dtype))
    _, *gradients = maps.EdgeProducts(2).vjp(operands, [src, dst], g, count=lambda: threads)
    for gradient in gradients:
        sums = np.abs(gradient).sum(axis=tuple(range(1, gradient.ndim)))
        np.testing.assert_array_equal(sums > 0, [True, False, False, True, False, False])


def test_memory_of_tensors_holds_their_numbers():
    negative, zeros = torch.tensor([1 + 2j]).conj().imag, torch._efficientzerotensor((2,))
    assert (negative.is_neg(), negative.is_contiguous(), zeros.data_ptr()) == (True, True, 0)
    assert [a.tolist() for a in values.as_numpy([negative, zeros])] == [[-2.0], [0.0, 0.0]]
