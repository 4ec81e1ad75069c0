"""Modules of PyTorch give the same numbers in every mode, at every size, with kernels and without."""

from __future__ import annotations

import os
from functools import cache

import e3any_torch
import pytest
import torch
from modes.cases import FAMILIES, KINDS, SIZES, Case
from modes.covering import rows_to_test
from modes.torch_modes import COMPILERS, EAGER, Run, reference, settings
from torch.utils._pytree import tree_map

from e3any import Layout, nn
from e3any.testing import assert_parity

pytestmark = [
    # PyTorch itself still uses what it warns of.
    pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled:UserWarning"),
]

SETTINGS = {"use_kernels": (True, False), "shares": (1, 3)}
MODES = {**EAGER, **COMPILERS}


def case_of(row):
    return Case(**{name: row[name] for name in ("kind", *SIZES)})


def allowed(row):
    kind, mode = KINDS[row["kind"]], MODES[row["mode"]]
    if kind.family != row["family"] or (mode.needs_parameters and not _has_parameters(row["kind"])):
        return False
    return case_of(row).exists


def quick(row):
    # Compilers take seconds for what has many terms.
    case, slow = case_of(row), {"attention": 1, "matrices": 2, "edges": 3}.get(row["family"], 4)
    return case.is_quick and (row["mode"] not in COMPILERS or case.max_degree <= slow)


@cache
def _has_parameters(kind):
    return bool(Case(kind).parameters())


def rows(modes):
    """Parametrize a test with kinds, one of which has every combination that is asked for of its family."""
    factors = {"kind": tuple(KINDS), "family": FAMILIES, **SIZES, "mode": tuple(modes), **SETTINGS}
    found = rows_to_test(factors, allowed, quick, ("kind",))
    return pytest.mark.parametrize("row", found, ids=[_name(row) for row in found])


def _name(row):
    how = f"{'kernels' if row['use_kernels'] else 'plain'}-{row['shares']}"
    return f"{row['mode'].replace(' ', '-')}-{case_of(row)}-{how}"


@pytest.fixture(scope="module")
def process_group(tmp_path_factory):
    """A group of one process."""
    file = tmp_path_factory.mktemp("group") / "store"
    torch.distributed.init_process_group("gloo", init_method=f"file://{file}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def assert_same(row):
    case, mode = case_of(row), MODES[row["mode"]]
    with settings(row["use_kernels"], row["shares"]):
        results = mode.run(Run.of(case, mode.order))
    expected = reference(case, mode.order)
    expected = {name: expected[name] for name in results}
    if mode.has_numbers:
        # All derivatives of one order together: those by a single parameter may cancel.
        assert_parity(joined(results), joined(expected), case.dtype)
    else:
        assert tree_map(lambda x: x.shape, results) == tree_map(lambda x: x.shape, expected)


def joined(results):
    return {name: torch.cat([x.flatten() for x in r]) if isinstance(r, list) else r for name, r in results.items()}


@rows(EAGER)
@pytest.mark.usefixtures("process_group")
def test_results_do_not_depend_on_the_mode(row):
    assert_same(row)


# Every kind is compiled, and every pair of sizes.
@rows(["aot_eager"])
def test_compiled_modules_give_the_same_numbers_and_gradients(row):
    torch._dynamo.reset()
    assert_same(row)


def trained(layer, run):
    """Return results in training, for the same random numbers, and the buffers afterwards."""
    torch.manual_seed(0)
    x = torch.from_numpy(Case("Dense", features=16).arguments()[0][0]).requires_grad_()
    module = e3any_torch.to_torch(layer, Layout(1, 16, True), generator=torch.Generator().manual_seed(0)).double()
    torch._dynamo.reset()
    return run(Run(module, (x,), {}, 1)), dict(module.named_buffers())


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.BatchNorm()])
@pytest.mark.parametrize("mode", ["checkpoints", "reentrant checkpoints", "hooks", "anomalies", "aot_eager"])
def test_layers_in_training_draw_and_average_in_all_modes(layer, mode):
    results, buffers = trained(layer, MODES[mode].run)
    expected, averages = trained(layer, EAGER["eager"].run)
    assert_parity(results, expected)
    if "checkpoints" not in mode:  # they average twice, as those of PyTorch's own layers do
        assert_parity(buffers, averages)


# Compilation by default takes half a minute each, and programs that are exported do not depend on kernels: one model is
# compiled in tests of training, and small layers are exported in tests/adapters.
@pytest.mark.skipif("E3ANY_MODES" not in os.environ, reason="make test-modes does it: it takes hours")
@rows(["inductor", "export"])
def test_programs_give_the_same_numbers_and_gradients(row):
    torch._dynamo.reset()
    assert_same(row)
