"""Conversion of arguments to JAX arrays, as in :mod:`jax.numpy`: NumPy arrays, numbers, integers as real numbers.

Functions of the core accept arrays of one library and refuse everything else. Those of this package convert first::

    accept_arrays(globals())  # at the end of a file, for all functions that its ``__all__`` lists
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from e3any_backends.jax.precision import own_precision
from e3any_backends.numpy_arrays import native

from e3any_flax.e3x_errors import in_words_of_e3x

__all__ = ["accept_arrays", "as_jax"]

Function = Callable[..., Any]


def as_jax(tree: Any) -> Any:
    """Return a tree in which NumPy arrays are converted to JAX arrays."""
    return jax.tree.map(lambda x: _of_numpy(x) if isinstance(x, np.ndarray) else x, tree)


def _of_numpy(x: np.ndarray | np.generic | int | float) -> jax.Array:
    """Convert an array of NumPy, or a number."""
    x = native(x)
    if isinstance(x, np.ndarray) and (x.dtype.kind in "OSUMm" or x.dtype.names):
        raise TypeError(f"expected an array of numbers, got dtype {x.dtype}: convert it, x.astype(float)")
    return jnp.asarray(x)


def accept_arrays(names: dict[str, Any], *, integers: Collection[str] = (), signs: Collection[str] = ()) -> None:
    """Let the functions of a file accept the same arguments as :mod:`jax.numpy`, and return JAX arrays.

    Parameters
    ----------
    names : dict
        The global names of the file. Functions that ``__all__`` lists are replaced.
    integers : collection of str
        Functions whose integers, for example index lists, stay integers. All others convert them to real numbers.
    signs : collection of str
        Functions that multiply their one argument by -1, 0 or 1. They return integers for integers.
    """
    # A function with two names, for example silu and swish, stays one function.
    found: dict[Function, Function] = {}
    for name in names["__all__"]:
        function = names[name]
        if not inspect.isfunction(function):
            continue
        if function not in found:
            accepting = _accepting(function, real=name not in integers)
            accepting = _keeping_integers(accepting) if name in signs else accepting
            accepting.__module__ = names["__name__"]
            found[function] = accepting
        names[name] = found[function]


def _accepting(function: Function, real: bool) -> Function:
    signature = inspect.signature(function)
    parameters = signature.parameters
    convert = {name: _conversion(str(parameter.annotation), real) for name, parameter in parameters.items()}
    positional = [convert[name] for name, parameter in parameters.items() if parameter.kind != parameter.KEYWORD_ONLY]
    variadic = any(parameter.kind == parameter.VAR_POSITIONAL for parameter in parameters.values())
    defaults = {"xp": jnp} if "xp" in parameters else {}

    @functools.wraps(function)
    def accepting(*arguments: Any, **options: Any) -> Any:
        conversions = positional + [positional[-1]] * (len(arguments) - len(positional)) if variadic else positional
        # Too many arguments are passed on: the function raises.
        converted = [f(x) for f, x in zip(conversions, arguments, strict=False)] + list(arguments[len(conversions) :])
        options = {name: convert[name](x) if name in convert else x for name, x in options.items()}
        with in_words_of_e3x(), own_precision(converted, options):
            result = function(*converted, **(defaults | options))
        return result if "xp" in options else as_jax(result)

    if defaults:
        own = [p.replace(kind=p.KEYWORD_ONLY, default=jnp) if p.name == "xp" else p for p in parameters.values()]
        accepting.__signature__ = signature.replace(parameters=own)  # type: ignore[attr-defined]
    return accepting


def _keeping_integers(function: Function) -> Function:
    """Apply a function that multiplies by -1, 0 or 1 to the signs of integers, which real numbers represent exactly."""

    @functools.wraps(function)
    def accepting(x: Any) -> Any:
        x = as_jax(x)
        if not (isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.integer)):
            return function(x)
        sign = jnp.sign(x)
        return x * (function(sign) * sign).astype(int).astype(x.dtype)

    return accepting


def _conversion(annotation: str, real: bool) -> Callable[[Any], Any]:
    """Return the conversion of an argument for its annotation; numbers stay numbers if the core accepts them."""
    if annotation == "Array":
        return (lambda x: _as_real(_as_array(x))) if real else _as_array
    if "Array" not in annotation or "Callable" in annotation:
        return lambda x: x
    return _as_real_or_number if real and annotation.startswith("Array |") else as_jax


def _as_array(x: Any) -> Any:
    return _of_numpy(x) if isinstance(x, np.ndarray | np.generic | int | float) else x


def _as_real_or_number(x: Any) -> Any:
    return x.item() if isinstance(x, np.generic) else _as_real(x)


def _as_real(x: Any) -> Any:
    """Convert an array of integers to the dtype of its sum with 0.0."""
    x = as_jax(x)
    if isinstance(x, jax.Array) and not jnp.issubdtype(x.dtype, jnp.inexact):
        return x.astype(jnp.result_type(x, 1.0))
    return x
