"""Whether kernels can be used: if they can be imported and compiled, and if they support given arrays.

Kernels fail soft. The first call of :func:`available` imports numba and all kernel modules. Any error then, and any
error of a compilation later, switches kernels off for the rest of the process, with one warning of the logger
``e3any``; the reference takes over. At level DEBUG the logger says why a call uses no kernel.
"""

from __future__ import annotations

import importlib
import logging
import math
from functools import cache

import numpy as np

from e3any_backends.arrays import Array
from e3any_backends.kernels.settings import switch

__all__ = ["KernelError", "available", "fills_vectors", "give_up", "harmonics_are_few", "harmonics_compile"]
__all__ += ["log_fallback", "used", "warn"]

# For fewer harmonics, the first call of a kernel, which compiles it, takes longer than thousands of calls save.
_LEAST_HARMONICS = 1024

_logger = logging.getLogger("e3any")
_failures: list[str] = []
_warned: set[str] = set()


class KernelError(Exception):
    """A kernel does not work here; the reference has to be used."""


# -- imports and compilations -------------------------------------------------------------------------------


def used() -> bool:
    """Return whether kernels are switched on and work."""
    return switch.get() and _import() and not _failures


def available() -> bool:
    """Return whether kernels work: their modules can be imported, and none has failed since."""
    return _import() and not _failures


@cache
def _import() -> bool:
    from e3any_backends.kernels.parallel.pool import undisturbed

    return undisturbed(_try_import)


def _try_import() -> bool:
    try:
        numba = importlib.import_module("numba")
        if numba.config.DISABLE_JIT:
            raise KernelError("NUMBA_DISABLE_JIT is set")
        for name in ("maps", "xla.handlers"):
            importlib.import_module(f"{__package__}.{name}")
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "numba":
            _logger.debug("no kernels: %s", error)
        else:
            give_up(error)
        return False
    return True


def harmonics_compile(dtype: str) -> bool:
    """Compile all kernels of harmonics for a dtype; return whether they compile.

    A program of :func:`torch.compile` that calls them has no reference to go back to.
    """
    return _compile_harmonics(dtype)


@cache
def _compile_harmonics(dtype: str) -> bool:
    from e3any_backends.kernels.harmonic_maps import Harmonics

    kernel, r = Harmonics((1.0, 1.0), (0, 1, 2, 3), True), np.zeros((1, 3), dtype)
    try:
        g = kernel.jvp(r, kernel.vjp(r, kernel.value(r)))
        kernel.second_vjp(r, g, r)
    except KernelError:
        return False
    return True


def give_up(error: Exception) -> KernelError:
    """Switch kernels off for the rest of the process, with one warning; return the error to raise."""
    reason = f"{type(error).__name__}: {error}"
    _failures.append(reason)
    warn("kernels", f"kernels are switched off, and the reference is used, which is slower: {reason}")
    return KernelError(reason)


def warn(subject: str, message: str) -> None:
    """Log a warning, once for each subject."""
    if subject not in _warned:
        _warned.add(subject)
        _logger.warning("%s", message)


def log_fallback(operation: str, reason: str) -> None:
    """Log why an operation uses no kernel."""
    _logger.debug("no kernel for %s: %s", operation, reason)


# -- arrays -------------------------------------------------------------------------------------------------


def harmonics_are_few(r: Array, components: int) -> bool:
    """Return whether harmonics of vectors (..., 3) are too few for a kernel, and log it."""
    few: bool = math.prod(r.shape[:-1]) * components < _LEAST_HARMONICS
    if few:
        log_fallback("harmonics", f"fewer than {_LEAST_HARMONICS} numbers")
    return few


def fills_vectors(x: Array, matrix: Array) -> bool:
    """Return whether both sizes of a matrix (F, G) are multiples of the vector length, as linear kernels need."""
    lanes, (num_in, num_out) = 512 // (8 * x.dtype.itemsize), matrix.shape
    return bool(num_in > 0 and num_out > 0 and num_in % lanes == 0 and num_out % lanes == 0)
