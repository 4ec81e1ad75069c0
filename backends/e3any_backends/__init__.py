"""Backends: operations that the array API standard lacks, in a class for each array library.

:func:`backend_of` returns the :class:`~e3any_backends.generic.Backend` of an array: its array namespace, and the few
operations that the standard lacks or can only express slowly. Each operation has a reference in
:mod:`e3any_backends.references` that uses only the array API. It is the specification and the fallback.
"""

from __future__ import annotations

from e3any_backends.arrays import Array
from e3any_backends.choose import backend_of, generator_backend
from e3any_backends.generic import Backend

__all__ = ["Array", "Backend", "backend_of", "generator_backend"]
