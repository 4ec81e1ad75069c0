"""Whether programs that are lowered for GPUs of NVIDIA have kernels, and for which GPU these are compiled."""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec

import jax

from e3any_backends.jax.private import Lowering
from e3any_backends.kernels.settings import switch

__all__ = ["capability", "is_installed", "obstacle"]


@cache
def is_installed() -> bool:
    """Return whether there is jax-triton, without importing it."""
    return find_spec("jax_triton") is not None


def obstacle(lowering: Lowering) -> str:
    """Return why a program for a GPU of NVIDIA has no kernels, empty if it has."""
    if reason := _missing():
        return reason
    if not switch.get():
        return "kernels are switched off"
    if lowering.is_exported:
        return "exported programs run without e3any"
    if lowering.num_devices != 1:
        return "the program is for several devices"
    if lowering.has_symbolic_sizes:
        return "sizes are symbols"
    return "" if capability() or _has_gpu() else "there is no GPU here, and E3ANY_CUDA_CAPABILITY is not set"


@cache
def _missing() -> str:
    """Return why kernels cannot be compiled, empty if they can."""
    try:
        import jax_triton  # noqa: F401
    except ImportError as error:  # it refuses a JAX without support for GPUs
        return f"jax-triton cannot be imported: {error}"
    return ""


def capability() -> int | None:
    """Return what kernels are compiled for: as the environment says, such as 90 for an H200, or None for the device."""
    value = os.environ.get("E3ANY_CUDA_CAPABILITY")
    return int(value) if value else None


def _has_gpu() -> bool:
    """Return whether there is a GPU, which need not be the default device."""
    try:
        return bool(jax.devices("cuda"))
    except RuntimeError:
        return False
