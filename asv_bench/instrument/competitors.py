"""Competitors by name: e3any in a framework, or a peer."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from . import tasks
from .program import Program, Unavailable

#: Name: file of the framework, options. Without "plain", PyTorch and NumPy use kernels if numba is installed.
OURS: dict[str, tuple[str, dict[str, Any]]] = {
    "numpy": ("numpy", {}),
    "jax": ("jax", {}),
    "torch": ("torch", {}),
    "numpy plain": ("numpy", {"kernels": False}),
    "torch plain": ("torch", {"kernels": False}),
    "torch compiled": ("torch", {"compiled": True}),
}

#: Name: file of the peer, options.
PEERS: dict[str, tuple[str, dict[str, Any]]] = {
    "e3x": ("e3x", {}),
    "e3nn-jax": ("e3nn_jax", {}),
    "e3j": ("e3j", {}),
    "cuequivariance-jax": ("cuequivariance_jax", {}),
    "sphericart-jax": ("sphericart_jax", {}),
    "e3nn script": ("e3nn", {}),
    "e3nn compiled": ("e3nn", {"compiled": True}),
    "cuequivariance-torch": ("cuequivariance_torch", {}),
    "sphericart": ("sphericart", {}),
    "matmul-jax": ("matmul_jax", {}),
    "matmul-torch": ("matmul_torch", {}),
}


def program(name: str, operation: str, *sizes: Any) -> Program:
    """Return a task done by a competitor.

    Parameters
    ----------
    name : str
        A key of :data:`OURS` or :data:`PEERS`.
    operation : str
        The name of a function in :mod:`instrument.tasks`.
    *sizes
        Its arguments.

    Raises
    ------
    Unavailable
        If the peer is not installed, or has no such operation.
    """
    task = getattr(tasks, operation)(*sizes)
    if name in OURS:
        file, options = OURS[name]
        build = import_module(f".frameworks.{file}", __package__).program
    else:
        file, options = PEERS[name]
        module = _peer(name, file)
        build = getattr(module, "program", None) or getattr(module, operation, None)
        if build is None:
            raise Unavailable(f"no {operation} of {name} to compare with")
    result = build(task, **options)
    if not isinstance(result, Program):
        raise TypeError(f"expected a program of {name}, got {type(result).__name__}")
    return result


def _peer(name: str, file: str) -> ModuleType:
    try:
        return import_module(f".peers.{file}", __package__)
    except ImportError as error:
        raise Unavailable(f"{name} cannot be imported: {str(error).splitlines()[0]:.100}") from None
