"""Kernels for GPUs run on the CPU, in Triton's interpreter, where Triton is installed."""

from __future__ import annotations

import importlib.util
import os

import pytest

# Triton reads this once, when it is imported.
os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_collection_modifyitems(items):
    if importlib.util.find_spec("triton") is None:
        for item in items:
            if "backends/triton" in str(item.path):
                item.add_marker(pytest.mark.skip(reason="Triton is not installed (extra gpu)"))
