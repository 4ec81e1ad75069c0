"""What is right: the standard's own forms in double precision, differentiated by PyTorch, and how exact it can be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import array_api_compat.torch
import numpy as np
import torch
from e3any_backends import choose, kernels
from e3any_backends.generic import Backend

from e3any.testing import TOLERANCES
from fuzz.programs import Program
from fuzz.roundings import UNIT, Roundings

# How far inputs are moved, relative to their sizes, to see how much results follow.
_STEP = 2.0**-10
# How often results are computed with errors.
_SAMPLES = 2
# Roundings of the largest number that any number may have.
_ROUNDINGS = 8


class Reference(Backend):
    """The twin of all backends, for tensors of PyTorch."""

    def __init__(self) -> None:
        super().__init__(array_api_compat.torch)

    def owns(self, x: Any) -> bool:
        return isinstance(x, torch.Tensor)

    def stop_gradient(self, x: Any) -> Any:
        return x.detach()


@contextmanager
def reference() -> Iterator[None]:
    """Compute with the reference in place of the backend of PyTorch."""
    found = choose.backend_of(torch.empty(0))
    classes = [c for c, backend in choose._by_class.items() if backend is found]
    choose._backends["torch"] = reference = Reference()
    choose._by_class.update(dict.fromkeys(classes, reference))
    try:
        with kernels.enabled(False):
            yield
    finally:
        choose._backends["torch"] = found
        choose._by_class.update(dict.fromkeys(classes, found))


@dataclass(frozen=True)
class Weights:
    """What results are multiplied with before they are differentiated: the value, and first derivatives by name."""

    of_value: np.ndarray
    of_gradients: Mapping[str, np.ndarray]


def torch_derivatives(program: Program, arrays: Mapping[str, Any], weights: Any, order: int) -> dict[str, Any]:
    """Return value and derivatives for tensors; ``weights`` has tensors too."""
    leaves = {n: a.requires_grad_() for n, a in arrays.items() if program.specs[n].is_float} if order else {}
    value = program.function(arrays)
    results = {"value": value}
    if order and leaves:
        gradients = _gradients(value, weights.of_value, leaves, order > 1)
        results |= {f"d/d {n}": s for n, s in zip(leaves, gradients)}
        if order > 1:
            total = [s for s in zip(gradients, (weights.of_gradients[n] for n in leaves)) if s[0].requires_grad]
            seconds = [torch.zeros_like(a) for a in leaves.values()]
            if total:
                outputs, cotangents = zip(*total)
                found = torch.autograd.grad(outputs, list(leaves.values()), cotangents, allow_unused=True)
                seconds = [zero if f is None else f for f, zero in zip(found, seconds)]
            results |= {f"d2/d {n}": s for n, s in zip(leaves, seconds)}
    return {n: r.detach() for n, r in results.items()}


def _gradients(value: Any, weights: Any, leaves: Mapping[str, Any], more: bool) -> list[Any]:
    zeros = [torch.zeros_like(a) for a in leaves.values()]
    if not value.requires_grad:
        return zeros
    found = torch.autograd.grad(value, list(leaves.values()), weights, create_graph=more, allow_unused=True)
    return [zero if f is None else f for f, zero in zip(found, zeros)]


def expected(
    program: Program, arrays: Mapping[str, np.ndarray], weights: Weights, order: int, dtype: str = "float64"
) -> dict[str, np.ndarray]:
    """Return value and derivatives in double precision, or in another."""

    def tensor(a: np.ndarray) -> Any:
        return torch.from_numpy(np.array(a, {"f": dtype, "b": "bool"}.get(a.dtype.kind, "int64"), order="C"))

    with reference():
        given = Weights(tensor(weights.of_value), {n: tensor(w) for n, w in weights.of_gradients.items()})
        results = torch_derivatives(program, {n: tensor(a) for n, a in arrays.items()}, given, order)
    return {n: r.numpy() for n, r in results.items()}


def shape_of(program: Program, arrays: Mapping[str, np.ndarray]) -> tuple[int, ...]:
    """Return the shape of the value."""
    dtypes = {"f": torch.float64, "b": torch.bool}
    with reference(), torch.device("meta"):
        tensors = {n: torch.empty(a.shape, dtype=dtypes.get(a.dtype.kind, torch.int64)) for n, a in arrays.items()}
        return tuple(program.function(tensors).shape)


def magnitudes(
    program: Program,
    arrays: Mapping[str, np.ndarray],
    weights: Weights,
    order: int,
    results: Mapping[str, np.ndarray],
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Return how large every row of results is, and what it is the difference of: rounding is relative to that.

    The largest of the numbers of a row, of the change of any if all inputs change by their own size, as if it went on
    like that, of the error of the reference in single precision, in units of that precision, and of the error that
    errors of all operations make, in units of these: a derivative can be zero for all inputs, as a sum of terms that
    cancel.
    """

    def moved(a: np.ndarray) -> np.ndarray:
        return a * (1 + _STEP * rng.choice([-1.0, 1.0], a.shape)) if a.dtype.kind == "f" else a

    found = {n: _largest(r) for n, r in results.items()}
    near = {n: moved(a) for n, a in arrays.items()}
    weights_near = Weights(moved(weights.of_value), {n: moved(w) for n, w in weights.of_gradients.items()})
    results_near = expected(program, near, weights_near, order)
    single = expected(program, arrays, weights, order, "float32")
    single_near = expected(program, near, weights_near, order, "float32")
    unit = float(np.finfo("float32").eps)
    rounded = [_rounded(program, arrays, weights, order, child) for child in rng.spawn(_SAMPLES)]
    for n in found:
        changes = [(r[n] - results[n]) / UNIT for r in rounded]
        changes += [(results_near[n] - results[n]) / _STEP, (single[n] - results[n]) / unit]
        changes.append((single_near[n] - results_near[n]) / unit)
        for change in changes:
            finite = np.where(np.isfinite(change), change, 0.0)  # where single precision has no such numbers
            found[n] = np.maximum(found[n], _largest(finite))
    return found


def _rounded(
    program: Program, arrays: Mapping[str, np.ndarray], weights: Weights, order: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return value and derivatives by operations with errors."""
    with Roundings(rng):
        return expected(program, arrays, weights, order)


def _largest(array: np.ndarray) -> np.ndarray:
    """Return the largest size of every row."""
    axes = tuple(range(1, array.ndim))
    return np.abs(array).max(axis=axes, keepdims=True, initial=0.0) if axes else np.abs(array)


def differences(
    program: Program,
    actual: Mapping[str, np.ndarray],
    results: Mapping[str, np.ndarray],
    sizes: Mapping[str, np.ndarray],
    dtype: str,
) -> list[str]:
    """Return in words where results are farther from the right ones than rounding explains."""
    info, found = np.finfo(dtype), []
    for name, right in results.items():
        ours = actual[name]
        ours = ours.astype(ours.dtype.newbyteorder("="))  # what numbers are only moved by may keep their byte order
        if str(ours.dtype) != dtype or ours.shape != right.shape:
            found.append(f"{name}: expected {dtype}{right.shape}, got {ours.dtype}{ours.shape}")
            continue
        allowed = TOLERANCES[dtype] * sizes[name] + 1e4 * float(info.smallest_subnormal)
        if not program.is_algebraic:
            allowed = allowed + _ROUNDINGS * float(info.eps) * _largest_of_order(name, sizes)
        error = np.abs(ours.astype("float64") - right)
        # What is larger than any number of the dtype, or passes by one on the way, may be an infinity.
        wrong = ~(error <= allowed) & (sizes[name] < 1e-3 * float(info.max))
        if wrong.any():
            excess = np.where(wrong, np.nan_to_num(error / allowed, nan=np.inf), 0.0)
            place = np.unravel_index(np.argmax(excess), right.shape)
            found.append(
                f"{name}{[int(n) for n in place]}: expected {right[place]:.9g}, got {ours[place]:.9g}; {wrong.sum()} "
                f"of {right.size} numbers are wrong; allowed is an error of "
                f"{float(np.broadcast_to(allowed, right.shape)[place]):.2g}"
            )
    return found


def _largest_of_order(name: str, sizes: Mapping[str, np.ndarray]) -> float:
    """Return the largest size of the derivatives of one order.

    One may be the difference of numbers like others, and zero at all inputs: that of a softmax of one term.
    """
    order = name.partition(" ")[0]
    return max(float(s[np.isfinite(s)].max(initial=0.0)) for n, s in sizes.items() if n.partition(" ")[0] == order)


def poison_differences(
    actual: Mapping[str, np.ndarray], depends: Mapping[str, np.ndarray], free: Mapping[str, np.ndarray]
) -> list[str]:
    """Return in words where an infinity or NaN was lost, or got into rows that are free of it."""
    found = []
    for name in depends:  # a program may return derivatives of a higher order as well
        ours = actual[name]
        rows = np.broadcast_to(free[name], ours.shape)
        for what, where in (("lost", depends[name] & np.isfinite(ours)), ("spread", rows & ~np.isfinite(ours))):
            if where.any():
                found.append(f"{name}: {where.sum()} of {ours.size} numbers {what} what is no number")
    return found


def rows_without(program: Program, name: str, where: np.ndarray) -> np.ndarray:
    """Return which rows of a result have none of some numbers; of a result without rows, none."""
    spec = program.specs.get(name.rpartition(" ")[2])
    given = [spec] if spec else [s for s in program.specs.values() if s.role == "features"]
    if not (where.ndim and all(s.has_rows for s in given)):
        return np.zeros((1,) * where.ndim, bool)
    return ~where.any(axis=tuple(range(1, where.ndim)), keepdims=True)
