"""Kernels for CPUs: loops over tables, compiled by numba where it is installed. No C compiler is needed.

The reference of every operation is its specification and its fallback. A kernel is used for NumPy arrays, PyTorch
tensors and JAX programs on the CPU, in float32 and float64. numba is imported when the first kernel is called.

>>> with enabled(False):  # or E3ANY_KERNELS=0 in the environment
...     used()
False
"""

from __future__ import annotations

from e3any_backends.kernels.availability import (
    KernelError,
    available,
    fills_vectors,
    give_up,
    harmonics_are_few,
    harmonics_compile,
    log_fallback,
    used,
    warn,
)
from e3any_backends.kernels.settings import enabled, most_threads, threads

__all__ = ["KernelError", "available", "enabled", "fills_vectors", "give_up", "harmonics_are_few"]
__all__ += ["harmonics_compile", "log_fallback", "most_threads", "threads", "used", "warn"]
