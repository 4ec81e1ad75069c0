"""Machine code of kernels on disk, in the folders of numba's cache.

A file that cannot be read or written costs a compilation and one warning, no error. The cache of numba itself
(https://numba.readthedocs.io/en/stable/developer/caching.html) does not fit, for three reasons. A damaged file raises
an error in every process until somebody deletes it. Flipped bits in machine code are not noticed. And the cache
compares one source file, while a kernel consists of functions of several.
"""

from __future__ import annotations

import hashlib
import pickle
import uuid
from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

import llvmlite
import numba
from numba.core.caching import FunctionCache
from numba.core.serialize import dumps

from e3any_backends import kernels

if TYPE_CHECKING:
    from numba.core.codegen import JITCPUCodegen
    from numba.core.compiler import CompileResult

    from e3any_backends.kernels.code.annotations import CPUContext

__all__ = ["Disk"]

_DIGEST = 32

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Disk:
    """The machine code of one function: a file for each signature and kind of processor.

    ============  ==============================================================================
    bytes 0-31    SHA-256 of all that follows
    bytes 32-63   SHA-256 of the origin: all sources of kernels, versions of compilers, signature
    from 64       the pickled machine code
    ============  ==============================================================================

    Parameters
    ----------
    function : callable
        The function.
    """

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function

    @cached_property
    def _cache(self) -> FunctionCache:
        """numba's cache of the function, which knows the folder and how to pickle code."""
        return FunctionCache(self._function)

    @property
    def cache_path(self) -> str | None:
        """The folder, or None; numba shows it in its statistics."""
        return _attempt(lambda: str(self._cache.cache_path))

    def load_overload(self, signature: object, target_context: CPUContext) -> CompileResult | None:
        """Return the compiled function of a signature, or None. numba calls this method."""
        return _attempt(self._load, signature, target_context)

    def save_overload(self, signature: object, compiled: CompileResult) -> None:
        """Write the compiled function of a signature. numba calls this method."""
        _attempt(self._save, signature, compiled)

    def _load(self, signature: object, target_context: CPUContext) -> CompileResult | None:
        target_context.refresh()  # registers all functions that the code can call
        path, origin = self._entry(signature, target_context.codegen())
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        if data[:_DIGEST] != _digest(data[_DIGEST:]):
            raise ValueError(f"{path} is damaged")
        if data[_DIGEST : 2 * _DIGEST] != origin:
            return None
        return self._cache._impl.rebuild(target_context, pickle.loads(data[2 * _DIGEST :]))

    def _save(self, signature: object, compiled: CompileResult) -> None:
        if compiled.library.has_dynamic_globals:  # addresses of this process; numba itself would warn of each function
            raise ValueError("machine code contains addresses, as it does with NUMBA_OPT=0")
        path, origin = self._entry(signature, compiled.codegen)
        data = origin + dumps(self._cache._impl.reduce(compiled))
        path.parent.mkdir(parents=True, exist_ok=True)
        # A rename is atomic: other processes see the whole file or none.
        temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:16]}")
        try:
            temporary.write_bytes(_digest(data) + data)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _entry(self, signature: object, codegen: JITCPUCodegen) -> tuple[Path, bytes]:
        """Return the file of a signature, and the digest of its origin."""
        key = repr(self._cache._index_key(signature, codegen))
        origin = repr((key, _sources(), self._cache._impl.locator.get_source_stamp()))
        name = f"{self._cache._impl.filename_base}-{_digest(key.encode()).hex()[:16]}.e3any"
        return Path(self._cache.cache_path) / name, _digest(origin.encode())


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@cache
def _sources() -> tuple[str, ...]:
    """Return digests of all modules of kernels, and the versions of their compilers."""
    files = sorted(Path(__file__).parents[1].rglob("*.py"))
    return (numba.__version__, llvmlite.__version__, *(_digest(file.read_bytes()).hex() for file in files))


def _attempt(function: Callable[[*Ts], T], *arguments: *Ts) -> T | None:
    """Call a function; if it fails, warn once and return None."""
    try:
        return function(*arguments)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        kernels.warn(
            "disk", f"machine code of kernels is compiled anew, as it cannot be written to disk or read there: {reason}"
        )
    return None
