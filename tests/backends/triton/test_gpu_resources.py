"""Kernels are compiled for GPUs that are not there: no register is spilled up to degree 3."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from e3any_backends.triton.edge_cotangents import EdgeTerms, edge_cotangents
from e3any_backends.triton.edge_form import edge_form, passes, path_form
from e3any_backends.triton.node_sums import Sources, node_sums
from e3any_backends.triton.path_sums import PathTerms, path_cotangents, path_sums
from e3any_backends.triton.programs import Program
from e3any_backends.triton.resources import compile_for
from e3any_backends.triton.rows import row_contractions
from e3any_backends.triton.source import Features

from e3any.nn.layers.couplings import coupling_plan
from e3any.nn.layers.summed_paths import summed_form

ONE = Sources(((0, 0, 0),))
VALUE = Program((0, 1, 3), (2,), ((0, (0, 1, 2)),))


def kernel(name, degree, parities, dtype, block):
    features = Features.of(64, dtype, block)
    plan = coupling_plan((1, degree + 1, parities, degree + 1, parities, degree + 1), False)
    form = edge_form(plan.merged.number)
    table = summed_form(plan.kernel_shape, False, True, 64)
    if name == "node sums":
        return node_sums(form, features, ONE, True, False)
    if name == "weights":
        return node_sums(form, features, ONE, False, True)
    if name == "edge cotangents":
        return edge_cotangents(form, features, EdgeTerms(((0, 0),), ((0, 0),)))
    if name == "path sums":
        return path_sums(path_form(table.number, 0), features, PathTerms(((0, 0, 0),)))
    if name == "path cotangents":
        return path_cotangents(path_form(table.number, 0), features, PathTerms((), ((0, 0),), ((0, 0),)))
    gradients = VALUE.transposed([True], range(3)).needed()[0]
    return row_contractions(plan.merged.product_form, 8, gradients, features)


# Name, degree, parities, dtype, features of a program, warps, architecture.
CASES = [
    ("node sums", 1, 2, "bfloat16", 64, 2, 90),
    ("node sums", 2, 1, "float32", 64, 2, 90),
    ("node sums", 2, 1, "float64", 64, 2, 90),
    ("node sums", 3, 1, "float32", 64, 2, 90),
    ("node sums", 2, 1, "float32", 64, 2, 100),
    ("weights", 2, 1, "float32", 64, 2, 90),
    ("edge cotangents", 2, 1, "float32", 64, 1, 90),
    ("edge cotangents", 2, 1, "float32", 64, 1, 100),
    ("edge cotangents", 3, 1, "float32", 64, 1, 90),
    ("rows", 2, 1, "float32", 64, 2, 90),
    ("path sums", 3, 1, "float32", 64, 2, 90),
    ("path cotangents", 2, 1, "float32", 64, 1, 90),
]


@pytest.fixture(scope="module")
def compiled():
    """Return what kernels need, from a process that compiles where this one interprets."""
    environment = os.environ | {"TRITON_INTERPRET": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return dict(zip(CASES, json.loads(run.stdout), strict=True))


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(map(str, case)))
def test_nothing_is_spilled(compiled, case):
    registers, stack, spills, _ = compiled[case]
    assert 16 <= registers <= 255
    assert (stack, spills) == (0, 0)


@pytest.mark.parametrize(("degree", "num"), [(1, 1), (2, 1), (3, 2), (4, 6)])
def test_passes_have_every_pair_once(degree, num):
    form = edge_form(coupling_plan((1, degree + 1, 1, degree + 1, 1, degree + 1), False).merged.number)
    found = passes(form, 144)
    pairs = [(m, k) for part in found for m in part.harmonics for k in part.components]
    assert len(pairs) == len(set(pairs)) == (degree + 1) ** 4
    assert all(len(part.harmonics) * len(part.components) <= 144 for part in found)
    assert len(found) == num


if __name__ == "__main__":
    print(json.dumps([compile_for(kernel(*case[:5]), case[3], *case[5:]) for case in CASES]))
