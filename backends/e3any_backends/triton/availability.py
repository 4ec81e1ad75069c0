"""Whether there are kernels for GPUs in this process."""

from __future__ import annotations

import importlib.util
import os
from functools import cache

__all__ = ["available", "is_interpreted"]


@cache
def available() -> bool:
    """Return whether Triton is installed; the extra ``gpu`` installs it."""
    return importlib.util.find_spec("triton") is not None


def is_interpreted() -> bool:
    """Return whether Triton runs kernels on the CPU, as ``TRITON_INTERPRET=1`` in the environment tells it."""
    return os.environ.get("TRITON_INTERPRET", "0") in ("1", "true", "True", "on", "ON", "yes")
