"""Layers on several devices of JAX, and in several processes of PyTorch: the same numbers as on one."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"


EIGHT_DEVICES = "--xla_force_host_platform_device_count=8"
COMPILES_FASTER = "--xla_backend_optimization_level=0"


def start(*command: object, **environment: str) -> subprocess.Popen:
    path = os.pathsep.join(str(ROOT / folder) for folder in (".", "backends", "adapters"))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        [sys.executable, *map(str, command)], env={**os.environ, "PYTHONPATH": path, **environment}, **pipes
    )


def result(process: subprocess.Popen) -> str:
    try:
        output, errors = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    return output


def run(*command: object, **environment: str) -> str:
    return result(start(*command, **environment))


@pytest.fixture(scope="module")
def sharding() -> dict:
    flags = f"{EIGHT_DEVICES} {COMPILES_FASTER}"
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


# -- one graph ----------------------------------------------------------------------------------------------


def losses(lines: list[str]) -> dict[str, tuple[float, float]]:
    """Return the losses and norms of gradients that examples print, by what computes them."""
    found = (re.fullmatch(r"(.*): loss (\S+), norm of its gradient (\S+)", line) for line in lines)
    return {match[1]: (float(match[2]), float(match[3])) for match in found if match}


@pytest.fixture(scope="module")
def one_graph() -> list[str]:
    flags = f"{EIGHT_DEVICES} {COMPILES_FASTER}"
    program = Path(__file__).parent / "one_graph_flax_program.py"
    return run(program, XLA_FLAGS=flags, JAX_PLATFORMS="cpu").splitlines()


@pytest.fixture(scope="module")
def one_graph_of_processes() -> list[str]:
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2)
    program = Path(__file__).parent / "one_graph_torch_program.py"
    return run(*torchrun, program, E3ANY_KERNELS="0", OMP_NUM_THREADS="1").splitlines()


def test_parts_on_eight_devices_have_the_loss_and_gradients_of_one_graph(one_graph):
    found = losses(one_graph)
    assert found["8 devices"] == pytest.approx(found["one device"], rel=1e-12)
    assert float(one_graph[4].removeprefix("gradients differ by ")) < 1e-12


def test_training_on_forces_sends_positions_scalars_and_features(one_graph):
    (size,) = re.findall(r"and (\d+) received", one_graph[1])
    (sent,) = re.findall(r"a device sends (\d+) bytes", one_graph[2])
    positions, scalars, features = 3, 4, 4 * 4
    assert int(sent) == 8 * int(size) * (3 * positions + 2 * scalars + 4 * features)


def test_exchanges_in_jax_are_gathers_with_all_derivatives(one_graph):
    for report in json.loads(one_graph[-1]):
        assert max(report["errors"]) < 1e-12
        assert report["bytes"] == report["counted"] > 0


def test_parts_in_two_processes_of_jax_have_the_loss_and_gradients_of_one_graph(one_graph):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    environment = {"XLA_FLAGS": COMPILES_FASTER, "JAX_PLATFORMS": "cpu"}
    processes = [start(EXAMPLES / "one_graph_flax.py", address, 2, rank, **environment) for rank in range(2)]
    for process in processes:
        found = losses(result(process).splitlines())
        assert found["2 devices"] == pytest.approx(losses(one_graph)["one device"], rel=1e-12)


def test_parts_in_two_processes_of_torch_have_the_loss_and_gradients_of_one_graph(one_graph, one_graph_of_processes):
    found = losses(one_graph_of_processes)
    assert found["2 processes"] == pytest.approx(found["one process"], rel=1e-12)
    assert found["2 processes"] == pytest.approx(losses(one_graph)["one device"], rel=1e-12)
    assert float(one_graph_of_processes[3].removeprefix("gradients differ by ")) < 1e-12


def test_exchanges_in_torch_are_gathers_with_all_derivatives(one_graph_of_processes):
    for report in json.loads(one_graph_of_processes[-1]):
        for case in report.values():
            assert max(case["errors"]) < 1e-12
            assert case["bytes"] == case["counted"]
