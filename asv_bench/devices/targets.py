"""Devices that programs are compiled for, and whether their compilers are installed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from . import gpu, tpu

__all__ = ["H200", "TARGETS", "V5E", "Target", "versions"]


@dataclass(frozen=True)
class Target:
    """A device.

    Parameters
    ----------
    name : str
        Name in the history.
    platform : str
        Name of the platform in JAX.
    packages : tuple of str
        Packages whose versions determine the figures. All must be installed.
    count : callable
        Function that counts what a module does, from its scheduled text.
    topology : dict
        How JAX's plugin is told which device it is.
    architecture : str
        The device for ptxas; empty if its programs are not PTX.
    bytes_per_second : float
        Bandwidth of memory that programs reach; 0 if times are not estimated from bytes.
    launch_seconds : float
        Least time of a launch.
    """

    name: str
    platform: str
    packages: tuple[str, ...]
    count: Callable[[str], dict[str, int]]
    topology: dict[str, Any] = field(default_factory=dict)
    architecture: str = ""
    bytes_per_second: float = 0.0
    launch_seconds: float = 0.0

    def missing(self) -> list[str]:
        """Return the packages that are not installed."""
        return [name for name, found in versions(self.packages).items() if found is None]

    def device(self) -> Any:
        """Return the device, as JAX knows it."""
        return _device(self.name)


H200 = Target(
    "h200",
    platform="cuda",
    packages=("jax", "jaxlib", "jax-cuda13-plugin", "jax-cuda13-pjrt", "triton"),
    count=gpu.count,
    # What XLA writes with --xla_dump_to on a machine with an H200: sizes of caches, registers and shared memory.
    topology={"target_config": Path(__file__).with_name("h200.txtpb").read_text(), "topology": "1x1x1"},
    architecture="sm_90a",
    bytes_per_second=4.3e12,
    launch_seconds=3e-6,
)
V5E = Target(
    "v5e",
    platform="tpu",
    packages=("jax", "jaxlib", "libtpu"),
    count=tpu.count,
    topology={"topology_name": "v5e:2x2"},
)
TARGETS: dict[str, Target] = {target.name: target for target in (H200, V5E)}


def versions(packages: tuple[str, ...]) -> dict[str, str | None]:
    """Return the versions of packages, None for those that are not installed."""
    return {name: _version(name) for name in packages}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@lru_cache
def _device(name: str) -> Any:
    import jax
    from jax.experimental import topologies

    target = TARGETS[name]
    jax.devices("cpu")  # plugins are registered with the first backend
    return topologies.get_topology_desc(platform=target.platform, **target.topology).devices[0]
