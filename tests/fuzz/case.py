"""One case: drawn from a seed and its number, computed, and compared with what is right."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from fuzz import interrupts
from fuzz.kinds import KINDS, MAPS
from fuzz.libraries import LIBRARIES
from fuzz.placements import PLACEMENTS, placed, prepared
from fuzz.programs import Program, Sizes
from fuzz.reference import Weights, differences, expected, magnitudes, poison_differences, rows_without, shape_of
from fuzz.settings import Settings
from fuzz.values import INDEX_DTYPES, SPECIALS, filled, poisoned, specials

# With JAX so many cases one after the other share a program, which takes longer to compile than to run.
CASES_OF_PROGRAM = {"numpy": 1, "torch": 1, "jax": 16}
_INTERRUPTS = "interrupts"
Arrays = dict[str, np.ndarray]
Compare = Callable[[Arrays], list[str]]
_POISON = {"nan": (np.nan,), "infinite": (np.inf, -np.inf)}


@dataclass(frozen=True)
class Call:
    """What cases share that have the same program."""

    kind: str
    program: Program
    settings: Settings
    dtype: str
    dtypes: dict[str, str]  # of all arrays

    def __str__(self) -> str:
        shapes = ", ".join(f"{n} {self.dtypes[n]}{list(s.shape)}" for n, s in self.program.specs.items())
        return f"{self.program.text}\n{shapes}\n{self.settings}"


def kinds_of(library: str) -> dict[str, Any]:
    """Return the kinds of calls of a library."""
    kinds = {**KINDS, _INTERRUPTS: interrupts.program}
    return {**kinds, **MAPS} if library == "numpy" else kinds


def rng_of(*numbers: int) -> np.random.Generator:
    return np.random.default_rng(numbers)


@lru_cache(maxsize=4)
def _drawn(library: str, seed: int, number: int, names: tuple[str, ...]) -> Call:
    rng = rng_of(seed, [*LIBRARIES].index(library), number, 0)
    kind = names[int(rng.integers(len(names)))]
    program = kinds_of(library)[kind](Sizes(rng))
    dtype = str(rng.choice(["float32", "float64"]))
    dtypes = {}
    for name, spec in program.specs.items():
        dtypes[name] = dtype if spec.is_float else "bool" if spec.role == "mask" else str(rng.choice(INDEX_DTYPES))
        if spec.role == "index":
            if program.map is not None:
                dtypes[name] = str(rng.choice(["int32", "int64"]))
            elif np.iinfo(dtypes[name]).max <= spec.num:
                dtypes[name] = "int32"
    settings = Settings.drawn(rng)
    if program.map is not None or kind == _INTERRUPTS:
        settings = replace(settings, kernels=True)
    if kind == _INTERRUPTS:
        settings = replace(settings, threads=max(2, settings.threads), eager=False)
    return Call(kind, program, settings, dtype, dtypes)


@dataclass(frozen=True)
class Case:
    """A call, and what its arrays are."""

    call: Call
    special: str
    order: int
    placements: dict[str, str]
    rng: np.random.Generator

    def __str__(self) -> str:
        return f"{self.call}\nnumbers: {self.special}; memory: {self.placements}"


def drawn(library: str, seed: int, number: int, names: tuple[str, ...] = ()) -> Case:
    """Draw a case of one of the kinds that are named, or of any."""
    call = _drawn(library, seed, number // CASES_OF_PROGRAM[library], names or tuple(kinds_of(library)))
    rng, program = rng_of(seed, [*LIBRARIES].index(library), number, 1), call.program
    special = "none" if call.kind == _INTERRUPTS else str(rng.choice(specials(program, library)))
    order = min(program.order, SPECIALS[special], 1 if call.kind == _INTERRUPTS else 2)
    if library == "numpy" and program.map is None:
        order = 0
    is_usual = program.map is not None or call.kind == _INTERRUPTS
    choices = ("usual", "at end", "at begin") if is_usual else PLACEMENTS[library]
    return Case(call, special, order, {n: str(rng.choice(choices)) for n in program.specs}, rng)


def run(library: str, case: Case) -> list[str]:
    """Run a case once; return differences from what is right, in words."""
    arrays = {n: filled(s, case.call.dtypes[n], case.special, case.rng) for n, s in case.call.program.specs.items()}
    arrays = {n: prepared(a, case.placements[n], case.rng) for n, a in arrays.items()}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        weights = _weights(case.call, arrays, case.rng)
        compare = _interrupted if case.call.kind == _INTERRUPTS else _compared
        return compare(library, case, arrays, weights)


def _call(library: str, case: Case, arrays: Arrays, weights: Weights) -> Arrays:
    """Return what a library computes."""
    # One program of JAX serves all cases.
    order = case.call.program.order if library == "jax" else case.order
    results = LIBRARIES[library](case.call.program, arrays, weights, order, case.call.settings.eager)
    return {n: np.asarray(r) for n, r in results.items()}


def _compared(library: str, case: Case, arrays: Arrays, weights: Weights) -> list[str]:
    """Return differences from what is right."""
    given, compare = _right(case, arrays, weights)
    laid = {n: placed(a, case.placements[n], case.rng) for n, a in given.items()}
    with case.call.settings.applied():
        found = compare(_call(library, case, laid, weights))
    changed = [n for n, a in laid.items() if not np.array_equal(a, given[n], equal_nan=a.dtype.kind == "f")]
    return found + [f"{n} was written to" for n in changed]


def _interrupted(library: str, case: Case, arrays: Arrays, weights: Weights) -> list[str]:
    """Return what interrupts of calls do."""
    with case.call.settings.applied():
        return interrupts.differences(lambda: _call(library, case, arrays, weights), case.rng)


def _right(case: Case, arrays: Arrays, weights: Weights) -> tuple[Arrays, Compare]:
    """Return the arrays that are given, and what compares results with those that are right."""
    call, rng, order = case.call, case.rng, case.order
    if case.special in _POISON:
        return _poisoned(case, arrays, weights)
    flushed = {n: _flushed(a, call.program.specs[n].role, call.dtype) for n, a in arrays.items()}
    results = expected(call.program, flushed, weights, order)
    sizes = magnitudes(call.program, flushed, weights, order, results, rng)
    return arrays, lambda actual: differences(call.program, actual, results, sizes, call.dtype)


def _weights(call: Call, arrays: dict[str, np.ndarray], rng: np.random.Generator) -> Weights:
    """Draw what results are multiplied with."""
    shape = shape_of(call.program, arrays)
    value = rng.normal(size=shape).astype(call.dtype)
    if rng.random() < 0.3:  # what a sum is differentiated with
        value = np.broadcast_to(np.ones((), call.dtype), shape)
    if call.program.map is not None:
        value = np.ascontiguousarray(value)
    tangents = {n: rng.normal(size=a.shape).astype(call.dtype) for n, a in arrays.items() if a.dtype.kind == "f"}
    return Weights(value, tangents)


def _flushed(array: np.ndarray, role: str, dtype: str) -> np.ndarray:
    """Return vectors, of which those count as zero whose components are all as small as that."""
    if role != "vectors" or not array.size:
        return array
    zero = np.abs(array).max(axis=-1, keepdims=True) <= np.finfo(dtype).smallest_normal
    return np.where(zero, np.zeros((), array.dtype), array)


def _own_rows(program: Program, result: str, name: str, rows: np.ndarray, arrays: Arrays) -> np.ndarray:
    """Return which rows of a derivative belong to the edges that some rows of an array belong to.

    Rows of nodes belong to the edges that they send, and those of edges to them and to their senders.
    """
    wrt, own = result.rpartition(" ")[2], rows.reshape(-1)
    if wrt not in program.specs:
        return np.zeros((), bool)
    senders = next((arrays[n] for n in ("src_idx", "adj_idx") if n in arrays), None)
    sent = "y" if "y" in program.specs else "x"
    of_edges = program.specs[name].of_edges, program.specs[wrt].of_edges
    if of_edges == (True, False) and wrt == sent and senders is not None:
        own = np.isin(np.arange(program.specs[wrt].shape[0]), senders[own])
    elif of_edges == (False, True) and name == sent and senders is not None:
        own = np.isin(senders, np.flatnonzero(own)).any(axis=tuple(range(1, senders.ndim)))
    elif of_edges != (True, True):
        return np.zeros((), bool)
    return own.reshape(-1, *(1,) * (len(program.specs[wrt].shape) - 1))


def _poisoned(case: Case, arrays: Arrays, weights: Weights) -> tuple[Arrays, Compare]:
    """Return arrays with infinities or NaN, and what compares results."""
    call, rng, order = case.call, case.rng, case.order
    names = [n for n, a in arrays.items() if call.program.specs[n].role == "features" and a.size]
    if not names:
        return arrays, lambda actual: []
    name = names[int(rng.integers(len(names)))]
    spec, which = call.program.specs[name], poisoned(arrays[name], rng)
    rows = which.any(axis=tuple(range(1 if spec.has_rows else 0, which.ndim)), keepdims=True)
    poison, *ordinary = (np.asarray(v, call.dtype) for v in (rng.choice(_POISON[case.special]), 1.3, -0.4))
    variants = [np.where(where, v, arrays[name]) for where, v in zip((which, which, rows), (*ordinary, ordinary[1]))]
    one, other, far = (expected(call.program, {**arrays, name: v}, weights, order) for v in variants)
    sizes = magnitudes(call.program, {**arrays, name: variants[0]}, weights, order, one, rng)
    depends = {n: right != other[n] for n, right in one.items()}
    # A form may multiply whole rows, and what is no number with zeros.
    free = {n: rows_without(call.program, n, depends[n] | (right != far[n])) for n, right in one.items()}
    # So do derivatives with respect to other numbers of the same edge and its sender, also of an edge that is padding:
    # its cotangent is zero, which is multiplied with its basis, and with the features of its sender.
    free |= {n: f & ~_own_rows(call.program, n, name, rows, arrays) for n, f in free.items()}

    def compare(actual: Arrays) -> list[str]:
        apart = {n: np.where(free[n], size, np.inf) for n, size in sizes.items()}
        lost = poison_differences(actual, depends, free)
        return lost or differences(call.program, actual, one, apart, call.dtype)

    return {**arrays, name: np.where(which, poison, arrays[name])}, compare
