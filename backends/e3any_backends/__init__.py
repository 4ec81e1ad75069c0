"""What the array API standard has no word for, one small class per array library.

A :class:`~e3any_backends.generic.Backend` bundles the array namespace of a library with the few operations
that the standard lacks or can only say slowly. The class in ``generic.py`` is written in the standard alone: it
is the specification and the fallback, and every native version is tested against it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import array_api_compat

from e3any_backends.generic import Array, Backend

__all__ = ["Array", "Backend", "backend_of", "generator_backend"]


def backend_of(*arrays: Array) -> Backend:
    """Return the backend of the library that all given arrays belong to.

    Parameters
    ----------
    *arrays : array
        Arrays of any array API library. ``None`` and Python scalars are passed over.

    Returns
    -------
    Backend
        The backend: native for NumPy, JAX and PyTorch, generic for every other library.

    Raises
    ------
    TypeError
        If there is no array among the arguments, or if they belong to different libraries.
    """
    found = [a for a in arrays if a is not None and not isinstance(a, bool | int | float | complex)]
    if not found:
        raise TypeError("expected at least one array, got none")
    for a in found:
        if not (array_api_compat.is_array_api_obj(a)):
            raise TypeError(f"expected an array of an array API library, got {type(a).__name__}")
    kinds = {_kind(a) for a in found}
    if len(kinds) > 1:
        names = ", ".join(sorted(kinds))
        raise TypeError(f"expected arrays of one library, got a mixture of {names}")
    return _backend(next(iter(kinds)), found[0])


def generator_backend(generator: Any) -> Backend:
    """Return the backend that a random generator draws for.

    Parameters
    ----------
    generator : jax.Array or numpy.random.Generator or torch.Generator
        A JAX key, or the generator object of NumPy or PyTorch.

    Returns
    -------
    Backend
        The backend of the library of ``generator``.

    Raises
    ------
    TypeError
        If ``generator`` is none of these.
    """
    if array_api_compat.is_jax_array(generator):
        return _native("jax")
    library = type(generator).__module__.partition(".")[0]
    if type(generator).__name__ == "Generator" and library in ("numpy", "torch"):
        return _native(library)
    raise TypeError(
        "expected a JAX key, a numpy.random.Generator or a torch.Generator, "
        f"got {type(generator).__module__}.{type(generator).__name__}"
    )


def _kind(array: Array) -> str:
    if array_api_compat.is_jax_array(array):
        return "jax"
    if array_api_compat.is_torch_array(array):
        return "torch"
    if array_api_compat.is_numpy_array(array) or type(array).__module__ == "numpy":
        return "numpy"
    return type(array).__module__.partition(".")[0]


def _backend(kind: str, array: Array) -> Backend:
    if kind in ("numpy", "jax", "torch"):
        return _native(kind)
    return _generic(array_api_compat.array_namespace(array))


@cache
def _native(kind: str) -> Backend:
    # A framework is imported only once one of its arrays has been seen.
    if kind == "jax":
        from e3any_backends.jax import JaxBackend

        return JaxBackend()
    if kind == "torch":
        from e3any_backends.torch import TorchBackend

        return TorchBackend()
    from e3any_backends.numpy import NumpyBackend

    return NumpyBackend()


@cache
def _generic(xp: Any) -> Backend:
    return Backend(xp)
