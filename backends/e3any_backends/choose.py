"""The backend of given arrays. A framework is imported when the first of its arrays comes."""

from __future__ import annotations

import sys

import array_api_compat
import numpy as np

from e3any_backends.arrays import Array
from e3any_backends.generic import Backend
from e3any_backends.kernels.parallel.pool import undisturbed
from e3any_backends.numpy_arrays import check_class, converting, is_usual

__all__ = ["backend_of", "generator_backend"]

_backends: dict[str, Backend] = {}
# Backends by class of array, for classes that need no further checks.
_by_class: dict[type, Backend] = {}


def backend_of(*arrays: Array) -> Backend:
    """Return the backend of the library that all given arrays belong to.

    Parameters
    ----------
    *arrays : array
        Arrays of any array API library. ``None`` and Python scalars are ignored.

    Returns
    -------
    Backend
        The backend: native for NumPy, JAX and PyTorch, generic for every other library.

    Raises
    ------
    TypeError
        If there is no array among the arguments, if they belong to different libraries, or if one is of a subclass of
        :class:`numpy.ndarray` that computes otherwise, such as a masked array.
    ValueError
        If they are on devices that the library does not combine.
    """
    found: Backend | None = None
    for array in arrays:
        backend = _by_class.get(type(array))
        if backend is None:
            # float64 and complex128 of NumPy are Python numbers as well.
            if array is None or (isinstance(array, (bool, int, float, complex)) and not isinstance(array, np.generic)):
                continue
            backend = _backend(array)
        if found is not None and backend is not found:
            if _name(backend) != _name(found):
                raise TypeError(f"expected arrays of one library, got both {_name(found)} and {_name(backend)}")
            backend = _native("numpy converted")
        found = backend
    if found is None:
        raise TypeError("expected at least one array, got none")
    if len(arrays) > 1:
        found.check_devices(*arrays)
    return found


def generator_backend(generator: object) -> Backend:
    """Return the backend of a random generator.

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
    library = type(generator).__module__.partition(".")[0]
    if _is_jax(generator):
        return _native("jax")
    if type(generator).__name__ == "Generator" and library in ("numpy", "torch"):
        return _native(library)
    raise TypeError(
        "expected a JAX key, a numpy.random.Generator or a torch.Generator, "
        f"got {type(generator).__module__}.{type(generator).__name__}"
    )


def _is_jax(array: object) -> bool:
    # Without importing JAX: if it is not loaded, there are no arrays of it.
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(array, jax.Array)


def _backend(array: object) -> Backend:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        return _native("torch")
    if _is_jax(array):
        return _by_class.setdefault(type(array), _native("jax"))
    if isinstance(array, (np.ndarray, np.generic)):  # torch.compile takes no union of types of NumPy
        check_class(array)
        # While PyTorch compiles, arrays of NumPy are tensors in disguise, and their byte order cannot be asked for.
        if torch is not None and torch.compiler.is_compiling():
            return _native("numpy")
        return _native("numpy" if is_usual(array) else "numpy converted")
    if not array_api_compat.is_array_api_obj(array):
        raise TypeError(f"expected an array of an array API library, got {type(array).__name__}")
    xp = array_api_compat.array_namespace(array)
    return _backends.setdefault(xp.__name__, Backend(xp))


def _native(library: str) -> Backend:
    backend = _backends.get(library)
    if backend is None:
        # NumPy, for one, has parts that cannot be imported again after a signal handler has interrupted their import.
        backend = _backends[library] = undisturbed(_load_backend, library)
    return backend


def _load_backend(library: str) -> Backend:
    if library == "jax":
        from e3any_backends.jax.backend import JaxBackend

        return JaxBackend()
    if library == "torch":
        from e3any_backends.torch.backend import CLASSES, TorchBackend

        backend: Backend = TorchBackend()
        _by_class.update(dict.fromkeys(CLASSES, backend))
        return backend
    if library == "numpy converted":
        return converting(_native("numpy"))
    from e3any_backends.numpy import NumpyBackend

    return NumpyBackend()


def _name(backend: Backend) -> str:
    return str(backend.xp.__name__)
