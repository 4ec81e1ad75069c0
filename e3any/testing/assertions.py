"""Assertions of parity and equivariance, and the number of compilations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from e3any_backends import backend_of
from numpy.typing import NDArray

from e3any.checks import check_flag, check_vectors, floating_backend, shown
from e3any.irreps import Irreps, irrep_backend
from e3any.layout import Layout
from e3any.nn.features import reflect, rotate
from e3any.so3 import random_rotation, wigner_d

__all__ = [
    "TOLERANCES",
    "TraceCounter",
    "assert_equivariant",
    "assert_parity",
    "count_traces",
    "equivariance_error",
    "to_numpy",
]

Kind: TypeAlias = Literal["features", "vectors", "invariant"]

#: Largest error for every floating-point dtype, relative to the largest value of an array.
TOLERANCES: Mapping[str, float] = {
    "float64": 1e-12,
    "float32": 1e-5,
    "float16": 1e-2,
    "bfloat16": 6e-2,
}


def to_numpy(x: Any) -> NDArray[Any]:
    """Copy an array of any library to NumPy.

    Parameters
    ----------
    x : array
        Array of NumPy, JAX, PyTorch or another library of the array API, or a Python number.

    Returns
    -------
    numpy.ndarray
        Its values. Those of a 16-bit dtype that NumPy lacks are returned as float32.
    """
    if hasattr(x, "detach"):
        x = x.detach().cpu()
        x = (x.float() if dtype_name(x) == "bfloat16" else x).numpy()
    elif not isinstance(x, np.ndarray) and not hasattr(x, "__array__") and hasattr(x, "__dlpack__"):
        x = np.from_dlpack(x)
    array: NDArray[Any] = np.asarray(x)
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def dtype_name(x: Any) -> str:
    """Return the name of the dtype of an array of any library, such as ``"float64"``."""
    return str(x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype).rpartition(".")[-1]


def assert_parity(actual: Any, desired: Any, dtype: str | None = None, *, rtol: float | None = None) -> None:
    r"""Raise an AssertionError unless arrays of any two libraries have the same shape, kind and numbers.

    .. math:: \max |a - d| \le \mathrm{rtol} \cdot \max |d|

    Arrays of integers and bools must be equal.

    Parameters
    ----------
    actual : array or nested mapping or sequence of arrays
        The computed arrays.
    desired : array or nested mapping or sequence of arrays
        The expected arrays, in the same nesting.
    dtype : str, optional
        The dtype that ``actual`` must have. By default only the kind must be that of ``desired``: floating-point,
        integer or bool.
    rtol : float, optional
        Largest error relative to the largest value of an array; by default that of :data:`TOLERANCES` for the less
        precise dtype of both.

    Raises
    ------
    AssertionError
        If arrays differ in shape, kind or numbers, or if mappings or sequences differ in structure.

    Examples
    --------
    >>> assert_parity(np.asarray([1.0, 2.0 + 1e-13]), np.asarray([1.0, 2.0]))
    """
    ours, theirs = dict(_arrays(actual)), dict(_arrays(desired))
    if ours.keys() != theirs.keys():
        raise AssertionError(f"expected arrays at {shown(sorted(theirs))}, got {shown(sorted(ours))}")
    for path, array in ours.items():
        _assert_array_parity(path, array, theirs[path], dtype, rtol)


def _arrays(x: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, array) of a nesting."""
    if isinstance(x, Mapping):
        items: Any = x.items()
    elif isinstance(x, list | tuple):
        items = enumerate(x)
    else:
        yield path, x
        return
    for name, value in items:
        yield from _arrays(value, f"{path}/{name}")


def _assert_array_parity(path: str, actual: Any, desired: Any, dtype: str | None, rtol: float | None) -> None:
    where = f" at {path}" if path else ""
    names = dtype_name(actual), dtype_name(desired)
    if dtype is not None and names[0] != dtype:
        raise AssertionError(f"expected dtype {dtype}{where}, got {names[0]}")
    a, d = to_numpy(actual), to_numpy(desired)
    if a.dtype.kind != d.dtype.kind:
        raise AssertionError(f"expected a dtype of the kind of {names[1]}{where}, got {names[0]}")
    if a.shape != d.shape:
        raise AssertionError(f"expected shape {d.shape}{where}, got {a.shape}")
    if d.dtype.kind != "f":
        np.testing.assert_array_equal(a, d, err_msg=where)
        return
    if not np.array_equal(np.isfinite(a), np.isfinite(d)):
        raise AssertionError(f"expected {np.isfinite(d).sum()} finite values{where}, got {np.isfinite(a).sum()}")
    np.testing.assert_array_equal(a[~np.isfinite(a)], d[~np.isfinite(d)], err_msg=where)
    a, d = (x[np.isfinite(x)].astype(np.float64) for x in (a, d))
    if not a.size:
        return
    allowed = max(TOLERANCES[name] for name in names) if rtol is None else rtol
    error, largest = abs(a - d).max(), abs(d).max()
    if error > allowed * largest:
        raise AssertionError(
            f"expected an error of at most {allowed:g} of the largest value {largest:g}{where}, "
            f"got {error / largest if largest else error:g}"
        )


class TraceCounter:
    """A function that counts how often it runs, see :func:`count_traces`.

    Attributes
    ----------
    count : int
        How often it ran.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self.count = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Count, and call the function."""
        self.count += 1
        return self._function(*args, **kwargs)


def count_traces(function: Callable[..., Any]) -> TraceCounter:
    """Count how often a function is compiled.

    Parameters
    ----------
    function : callable
        A function that runs once for every compilation: with JAX the function to compile, ``jax.jit(counted)``; with
        PyTorch the backend of the compiler, ``torch.compile(f, backend=counted)``.

    Returns
    -------
    TraceCounter
        The same function, with an attribute ``count``.

    Examples
    --------
    >>> counted = count_traces(np.sum)
    >>> counted([1, 2]), counted.count
    (np.int64(3), 1)
    """
    return TraceCounter(function)


def assert_equivariant(
    function: Callable[..., Any],
    *inputs: Any,
    kinds: Sequence[Kind] | None = None,
    output: Kind = "features",
    cartesian_order: bool | None = None,
    rng: np.random.Generator | None = None,
    rotation: NDArray[Any] | None = None,
    inversions: bool = True,
    rtol: float | None = None,
) -> None:
    r"""Raise an AssertionError unless a function commutes with rotations and reflections.

    .. math:: f(D\,x) = D\,f(x) \qquad D \in O(3)

    One rotation is tried, by itself and together with the inversion of space. Functions of irreps of SO(3), which have
    no parity, commute with rotations alone: give ``inversions=False``.

    Parameters
    ----------
    function : callable
        A function of arrays.
    *inputs : array
        Its arguments.
    kinds : sequence of {'features', 'vectors', 'invariant'}, optional
        How each of the inputs transforms: as features (..., P, (L+1)**2, F) or dictionaries of them by irrep, as
        vectors (..., 3), or not at all.
        All are features by default.
    output : {'features', 'vectors', 'invariant'}
        How the output transforms.
    cartesian_order : bool, optional
        Order of components, see :mod:`e3any.conventions`.
    rng : numpy.random.Generator, optional
        Generator of the random rotation; seeded with 0 by default.
    rotation : numpy.ndarray of shape (3, 3), optional
        The rotation, instead of a random one.
    inversions : bool
        Whether the function also has to commute with the inversion of space.
    rtol : float, optional
        Largest error relative to the largest value; by default that of :data:`TOLERANCES`.

    Raises
    ------
    AssertionError
        If the function does not commute with them.
    ValueError
        If there are not as many kinds as inputs, a kind is unknown, shapes are not those of their kind, or
        ``inversions`` is neither True nor False.
    TypeError
        If an input that transforms, or the rotation, is not a floating-point array.

    Examples
    --------
    >>> from e3any import nn
    >>> x = np.random.default_rng(1).normal(size=(5, 2, 9, 4))
    >>> assert_equivariant(nn.silu, x)
    """
    for moved, expected in _moved(function, inputs, kinds, output, cartesian_order, rng, rotation, inversions):
        assert_parity(moved, expected, rtol=rtol)


def equivariance_error(
    function: Callable[..., Any],
    *inputs: Any,
    kinds: Sequence[Kind] | None = None,
    output: Kind = "features",
    cartesian_order: bool | None = None,
    rng: np.random.Generator | None = None,
    rotation: NDArray[Any] | None = None,
    inversions: bool = True,
) -> float:
    r"""Return how far a function is from commuting with rotations and reflections.

    .. math:: \max_D \frac{\max |f(D\,x) - D\,f(x)|}{\max |D\,f(x)|}

    over one rotation D, by itself and, with ``inversions``, together with the inversion of space. Parameters and
    errors are those of :func:`assert_equivariant`, which raises if the error is too large.

    Returns
    -------
    float
        The error, relative to the largest value.

    Examples
    --------
    >>> from e3any import nn
    >>> x = np.random.default_rng(1).normal(size=(5, 2, 9, 4))
    >>> equivariance_error(nn.silu, x) < 1e-14
    True
    """
    pairs = _moved(function, inputs, kinds, output, cartesian_order, rng, rotation, inversions)
    return max(_difference(*pair) for pair in pairs)


def _difference(actual: Any, desired: Any) -> float:
    """Return the largest difference relative to the largest value."""
    if isinstance(desired, Mapping):
        return max(_difference(actual[name], block) for name, block in desired.items())
    a, d = to_numpy(actual).astype(np.float64), to_numpy(desired).astype(np.float64)
    error, largest = float(abs(a - d).max(initial=0.0)), float(abs(d).max(initial=0.0))
    return error / largest if largest else float("inf") if error else 0.0


def _moved(
    function: Callable[..., Any],
    inputs: Sequence[Any],
    kinds: Sequence[Kind] | None,
    output: Kind,
    cartesian_order: bool | None,
    rng: np.random.Generator | None,
    rotation: NDArray[Any] | None,
    inversions: bool,
) -> Iterator[tuple[Any, Any]]:
    """Yield (function of moved inputs, moved function value) for a rotation, without and with the inversion."""
    check_flag(inversions, "inversions")
    of_inputs: Sequence[Kind] = ["features"] * len(inputs) if kinds is None else kinds
    if len(of_inputs) != len(inputs):
        raise ValueError(f"expected {len(inputs)} kinds, one for each input, got {len(of_inputs)}")
    if rotation is None:
        rotation = random_rotation(np.random.default_rng(0) if rng is None else rng)
    floating_backend(rotation=rotation)
    if tuple(rotation.shape) != (3, 3):
        raise ValueError(f"expected rotation of shape (3, 3), got {tuple(rotation.shape)}")
    value = function(*inputs)
    for inverted in (False, True) if inversions else (False,):
        how = (rotation, inverted, cartesian_order)
        moved = function(*(_transformed(x, kind, *how) for x, kind in zip(inputs, of_inputs, strict=True)))
        yield moved, _transformed(value, output, *how)


def _transformed(x: Any, kind: Kind, rotation: Any, inverted: bool, cartesian_order: bool | None) -> Any:
    """Rotate an array that transforms as ``kind``, and invert space if ``inverted``."""
    if kind == "invariant":
        return x
    if isinstance(x, Mapping) and kind == "features":
        backend, degree = irrep_backend(x, "features"), Irreps.of(x, "features").max_degree
        some = next(iter(x.values()))
        moved = rotate(x, backend.constant(wigner_d(rotation, degree, cartesian_order), like=some))
        return reflect(moved) if inverted else moved
    backend = backend_of(x)
    if kind == "vectors":
        check_vectors(x)
        return backend.matmul(x, backend.constant(-rotation if inverted else rotation, like=x), "highest")
    if kind != "features":
        raise ValueError(f"expected a kind 'features', 'vectors' or 'invariant', got {shown(kind)}")
    matrix = wigner_d(rotation, Layout.of(x).max_degree, cartesian_order)
    rotated = rotate(x, backend.constant(matrix, like=x))
    return reflect(rotated) if inverted else rotated
