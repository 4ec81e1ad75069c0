"""Layers give the same numbers in every mode of JAX, at every size, with kernels and without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from modes.cases import FAMILIES, KINDS, SIZES, Case
from modes.covering import rows_to_test
from modes.jax_modes import MODES, Run, arguments_of, assert_same, settings

SETTINGS = {"use_kernels": (True, False), "shares": (1, 3)}


def case_of(row):
    return Case(**{name: row[name] for name in ("kind", *SIZES)})


def allowed(row):
    return KINDS[row["kind"]].family == row["family"] and case_of(row).exists


def quick(row):
    """Whether XLA compiles a row in about a second: it takes long for couplings of many degrees without kernels."""
    case, has_kernel = case_of(row), row["use_kernels"] and not row["mode"].startswith("eager")
    is_small = case.num * case.features * case.parities**2 * (case.max_degree + 1) ** 5 < 5e4
    return case.is_quick and is_small and case.max_degree <= (4 if has_kernel else 1)


FACTORS = {"kind": tuple(KINDS), "family": FAMILIES, **SIZES, "mode": tuple(MODES), **SETTINGS}
ROWS = rows_to_test(FACTORS, allowed, quick, once=("kind",))


def name(row):
    how = f"{'kernels' if row['use_kernels'] else 'plain'}-{row['shares']}"
    return f"{row['mode'].replace(', ', '-')}-{case_of(row)}-{how}"


@pytest.mark.parametrize("row", ROWS, ids=map(name, ROWS))
def test_results_do_not_depend_on_the_mode(row):
    case, mode = case_of(row), MODES[row["mode"]]
    arguments = arguments_of(case)
    with mode.context(row["dtype"]), settings(row["use_kernels"], row["shares"]):
        results = mode.run(Run.of(case.layer, arguments))
    assert_same(results, case.layer, arguments, case.dtype)


def test_results_do_not_depend_on_the_number_of_devices():
    flags = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    program = Path(__file__).parent / "sharded_program.py"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    finished = subprocess.run([sys.executable, program], env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.split("\n")[-2] == "8 devices"
