"""Layers on several devices of JAX, and in several processes of PyTorch: the same numbers as on one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"


def run(script: Path, **environment: str) -> str:
    path = os.pathsep.join(str(ROOT / folder) for folder in (".", "backends", "adapters"))
    finished = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def sharding() -> dict:
    flags = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"  # compiles faster
    program = Path(__file__).parent / "sharding_program.py"
    return json.loads(run(program, XLA_FLAGS=flags, JAX_PLATFORMS="cpu").splitlines()[-1])


def test_losses_and_gradients_do_not_depend_on_the_number_of_devices(sharding):
    assert sharding["devices"] == 8
    assert sharding["errors"].keys() == {"jit", "shard_map"}
    assert all(error < 1e-5 for error in sharding["errors"].values())


def test_layers_that_treat_rows_by_themselves_need_no_communication(sharding):
    assert sharding["communication"]["layers"] == []


def test_devices_communicate_nothing_but_sums_of_gradients(sharding):
    assert sharding["communication"]["derivatives"] == ["all-reduce"]
    assert sharding["communication"]["shard_map"] == ["all-reduce"]


def test_two_processes_of_torch_train_as_one():
    lines = run(EXAMPLES / "distributed_torch.py", E3ANY_KERNELS="0").splitlines()
    losses = [[float(x) for x in re.findall(r"\d+\.\d+", line)] for line in lines if line.startswith("step")]
    assert len(losses) == 3
    assert losses[-1][0] < losses[0][0]
    for one, mean_of_two in losses:
        assert one == pytest.approx(mean_of_two, rel=1e-5)
    differences = [float(line.rpartition(" ")[2]) for line in lines if line.startswith("process")]
    assert len(differences) == 2
    assert all(difference < 1e-6 for difference in differences)
