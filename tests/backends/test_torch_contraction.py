"""Products of slices in eager PyTorch, held against the standard forms."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from e3any_backends import _torch_contraction, backend_of, kernels
from e3any_backends.coupling import contract_entries
from e3any_backends.tables import attribute
from torch.autograd import grad

from e3any.nn.layers.couplings import couple, coupling_plan
from e3any.nn.layers.fused_tensor import _coupling as matrix_coupling

# PyTorch itself still uses what it warns of.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")

LEADS = [
    [(1, 300), (1, 300), (1, 1)],
    [(2, 5, 1), (1, 1, 3), (2, 5, 3)],
    [(1,), (1,), (1,)],
    [(2, 4), (2, 1), (1, 4)],
    [(1, 4, 1), (1, 1, 3), (1, 1, 1)],
    [(3, 7), (3, 7), (3, 1)],
    [(1, 0), (1, 1), (1, 1)],
]


@pytest.fixture(autouse=True)
def no_kernels():
    with kernels.enabled(False):
        yield


@pytest.fixture
def small_blocks(monkeypatch):
    """Let blocks of rows be shorter than what tests have."""
    monkeypatch.setattr(_torch_contraction, "_SLICE", 128)
    _torch_contraction._plan.cache_clear()
    yield
    _torch_contraction._plan.cache_clear()


def plan(max_degree, parities=2):
    n = max_degree + 1
    return coupling_plan((parities, n) * 3, False)


def random(*shape, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, requires_grad=True)


def entries(operands, number, name, output):
    """Contract a form in the standard alone."""
    return contract_entries(backend_of(*operands), operands, attribute(number, name), output)


# Forms, and slots of outputs.
CASES = [*(("product_form", slot) for slot in range(4)), *(("pair_form", slot) for slot in range(3))]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("lead", LEADS, ids=str)
@pytest.mark.parametrize(("name", "output"), CASES)
def test_values_and_derivatives_are_those_of_the_standard(small_blocks, name, output, lead):
    number = plan(1).merged.number
    sizes = [size for slot, size in enumerate(attribute(number, name).sizes) if slot != output]
    operands = [random(*own, size, 4) for own, size in zip(lead, sizes)]
    derivatives = []
    for contract in (_torch_contraction.contract, entries):
        torch.manual_seed(1)
        value = contract(operands, number, name, output)
        g = random(*value.shape)
        first = grad(value, operands, g, create_graph=True)
        second = grad(first, [g, *operands], [random(*o.shape) for o in operands], create_graph=True)
        third = grad([torch.sum(s**2) for s in second], [g, *operands])
        derivatives.append([value, *first, *second, *third])
    torch.testing.assert_close(*derivatives)


@pytest.mark.parametrize("shapes", [((7, 1), (7, 3), (1, 3)), ((7, 3), (1, 1), (7, 1))], ids=str)
def test_features_broadcast(shapes):
    number = plan(1).merged.number
    sizes = attribute(number, "product_form").sizes
    operands = [random(1, rows, sizes[slot], f) for (rows, f), slot in zip(shapes, (0, 1, 3))]
    values = [c(operands, number, "product_form", 2) for c in (_torch_contraction.contract, entries)]
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*(grad(value.sum(), operands) for value in values))


def matrices(slot):
    """Return the number of tables of matrices: of a factor, of the product, or of products of matrices."""
    coupling = matrix_coupling(((2, 1), (2, 2), (3, 2)), False)
    return (coupling.x.number, "form") if slot == 0 else (coupling.number, "product_form")


@pytest.mark.parametrize("output", range(3))
@pytest.mark.parametrize("which", range(2))
def test_forms_of_matrices_are_those_of_the_standard(small_blocks, which, output):
    number, name = matrices(which)
    sizes = [size for slot, size in enumerate(attribute(number, name).sizes) if slot != output]
    operands = [random(1, 50, sizes[0], 3), random(1, 1, sizes[1], 3)]
    values = [contract(operands, number, name, output) for contract in (_torch_contraction.contract, entries)]
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*(grad(torch.sum(value**2), operands) for value in values))


def test_derivatives_are_those_of_differences(small_blocks):
    number, sizes = plan(1, 1).merged.number, attribute(plan(1, 1).merged.number, "product_form").sizes
    operands = [random(1, rows, sizes[slot], 2) for rows, slot in ((3, 0), (3, 1), (1, 3))]
    contract = lambda *o: _torch_contraction.contract(o, number, "product_form", 2)
    assert torch.autograd.gradcheck(contract, operands)
    assert torch.autograd.gradgradcheck(contract, operands)


def coupled(max_degree=1, rows=5, features=3, dtype=torch.float64):
    """Return a coupling and its operands."""
    n, table = max_degree + 1, plan(max_degree)
    shapes = (rows, 2, n**2, features), (rows, 2, n**2, features), (2, n, 2, n, 2, n, features)
    return lambda x, y, w: couple(backend_of(x, y, w), x, y, w, table), [random(*s, dtype=dtype) for s in shapes]


@pytest.fixture
def only_slices(monkeypatch):
    """Let the plain form fail from then on."""

    def fail(*_):
        raise AssertionError("expected products of slices, got the plain form")

    return lambda: [
        monkeypatch.setattr(f"e3any_backends.generic.{name}", fail)
        for name in ("couple_by_matmul", "couple_pairs_by_matmul", "couple_matrices_by_matmul")
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_eager_layers_take_slices(only_slices, dtype):
    function, operands = coupled(dtype=dtype)
    only_slices()
    assert function(*operands).dtype == dtype
    with torch.no_grad():
        torch.testing.assert_close(function(*operands), function(*operands))


def test_inference_leaves_nothing_behind():
    function, operands = coupled(features=7)
    vars(_torch_contraction._kept).clear()
    with torch.inference_mode():
        function(*operands)
    grad(function(*operands).sum(), operands)


def test_values_may_be_written_to():
    function, operands = coupled()
    value = function(*operands)
    expected = value.detach() + 1
    value += 1
    torch.testing.assert_close(value.detach(), expected)
    grad(value.sum(), operands)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_takes_the_plain_form(monkeypatch, dtype):
    monkeypatch.setattr(_torch_contraction, "_evaluate", None)
    function, operands = coupled(dtype=dtype)
    assert function(*operands).dtype == dtype


def test_transformations_take_the_plain_form():
    function, (x, y, w) = coupled()
    expected = grad(function(x, y, w).sum(), x)[0]
    loss = lambda x: function(x, y, w).sum()
    torch.testing.assert_close(torch.func.grad(loss)(x), expected)
    torch.testing.assert_close(torch.func.jvp(loss, (x,), (x,))[1], torch.sum(expected * x))
    torch.testing.assert_close(torch.func.vmap(lambda x, y: function(x, y, w))(x, y), function(x, y, w))


def test_batches_of_gradients_take_the_plain_form():
    function, operands = coupled()
    value = function(*operands)
    batch = torch.stack([torch.ones_like(value), value.detach()])
    actual = grad(value, operands, batch, is_grads_batched=True, retain_graph=True)
    expected = [grad(value, operands, g, retain_graph=True) for g in batch]
    torch.testing.assert_close(actual, tuple(map(torch.stack, zip(*expected))))


def test_programs_may_be_compiled_and_exported():
    function, operands = coupled()
    value = function(*operands)
    torch.testing.assert_close(torch.compile(function, fullgraph=True, backend="aot_eager")(*operands), value)

    class Module(torch.nn.Module):
        def forward(self, *operands):
            return function(*operands)

    exported = torch.export.export(Module(), tuple(o.detach() for o in operands))
    torch.testing.assert_close(exported.module()(*operands), value)


def test_threads_share_no_memory():
    function, operands = coupled(rows=300, features=16)
    expected = function(*operands)
    with ThreadPoolExecutor(2) as pool:
        for actual in pool.map(lambda _: function(*operands), range(20)):
            torch.testing.assert_close(actual, expected)


def test_nothing_is_kept_but_operands():
    function, operands = coupled(max_degree=2)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        function(*operands)
    assert {x.untyped_storage().data_ptr() for x in kept} == {o.untyped_storage().data_ptr() for o in operands}
