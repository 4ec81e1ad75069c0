"""What numbers the arrays of a case have."""

from __future__ import annotations

import numpy as np

from fuzz.programs import Program, Spec

INDEX_DTYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")

# What a case may have beside ordinary numbers, and how often derivatives are compared then: those at extreme numbers
# overflow, in one form or the other.
SPECIALS = {"none": 2, "zeros": 2, "sizes": 2, "denormal": 0, "extreme": 0, "nan": 1, "infinite": 1}


def specials(program: Program, library: str) -> list[str]:
    """Return which special numbers a program can be given."""
    roles = {spec.role for spec in program.specs.values()}
    found = ["none"] * 6 + ["zeros"] * 2
    if program.is_algebraic:
        found += ["sizes", "nan", "infinite"] + ["denormal"] * (library != "jax")  # XLA takes them for zero
    if "vectors" in roles:
        found += ["extreme"] * 2
    return found


def filled(spec: Spec, dtype: str, special: str, rng: np.random.Generator) -> np.ndarray:
    """Draw an array; ``dtype`` is that of numbers, or of indices."""
    if spec.role == "mask":
        return rng.random(spec.shape) < rng.choice([0.0, 0.5, 0.8, 1.0])
    if spec.role == "index":
        return indices(spec, dtype, rng)
    if spec.role == "vectors":
        return vectors(spec.shape, dtype, special, rng)
    array = rng.normal(size=spec.shape)
    if spec.role == "parameters" and array.ndim == 2:  # softmax is to have several terms
        array /= max(1, len(array)) ** 0.5
    if spec.role == "positive":
        array = np.where(rng.random(spec.shape) < 0.2, 0.0, np.abs(array))
    rows = rng.random(spec.shape[:1] + (1,) * (len(spec.shape) - 1)) < 0.4
    if spec.role != "parameters":
        if special == "zeros":
            array = np.where(rows, rng.choice([0.0, -0.0]), array)
        elif special == "sizes":
            power = {"float32": 6, "float64": 40}[dtype]
            array = array * 10.0 ** (rng.integers(-power, power + 1, rows.shape))
        elif special == "denormal":
            array = np.where(rows, array * np.finfo(dtype).smallest_normal / 8, array)
    return array.astype(dtype)


def poisoned(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return which of the numbers of an array are to be no numbers."""
    which = np.zeros(array.shape, bool)
    if array.size:
        which.reshape(-1)[rng.integers(array.size, size=int(rng.integers(1, 3)))] = True
    return which


def indices(spec: Spec, dtype: str, rng: np.random.Generator) -> np.ndarray:
    """Draw numbers of rows, and of rows that do not exist."""
    info, shape = np.iinfo(dtype), spec.shape
    most = min(spec.num, int(info.max))
    array = rng.integers(most, size=shape) if most else np.zeros(shape, np.int64)
    form = rng.choice(["any", "any", "any", "one", "all padding"])
    if form == "one" and array.size:
        array = np.full(shape, array.flat[0])
    # What another dtype would take for a row is among them.
    outside = [spec.num, spec.num + 1, int(info.max), 2**8, 2**16 + 1, 2**32, 2**32 + 1, 2**63, 2**63 + 1]
    outside += [-1, -2, -spec.num, int(info.min)] if info.min < 0 else []
    outside = [n for n in outside if info.min <= n <= info.max and not 0 <= n < spec.num]
    share = 1.0 if form == "all padding" or not most else float(rng.choice([0.0, 0.0, 0.2]))
    array = array.astype(dtype)
    if outside:
        array = np.where(rng.random(shape) < share, rng.choice(np.asarray(outside, dtype), size=shape), array)
    elif not most:
        raise ValueError("expected a dtype that holds the number of rows")
    return np.sort(array, axis=-1) if spec.ascending else array


def vectors(shape: tuple[int, ...], dtype: str, special: str, rng: np.random.Generator) -> np.ndarray:
    """Draw vectors: zero, on axes and in planes, in the same place, of all sizes."""
    array = rng.normal(size=shape)
    if special == "none" or not array.size:
        return array.astype(dtype)
    rows, info = array.reshape(-1, 3), np.finfo(dtype)
    for n, form in enumerate(rng.choice(["usual", "zero", "axis", "plane", "same", "nearly"], size=len(rows))):
        axis = int(rng.integers(3))
        if form == "zero":
            rows[n] = rng.choice([0.0, -0.0], 3)
        elif form == "axis":
            rows[n] = np.where(np.arange(3) == axis, rows[n], rng.choice([0.0, -0.0], 3))
        elif form == "plane":
            rows[n, axis] = 0.0
        elif form == "same":
            rows[n] = rows[0]
        elif form == "nearly":
            rows[n] = np.where(np.arange(3) == axis, rows[n], rows[n] * float(info.eps))
    if special == "extreme":
        largest = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-30)
        sizes = [info.max * 0.99, info.max * 0.55, info.smallest_normal * 1.5, info.smallest_normal * 0.7]
        sizes += [info.smallest_subnormal, info.max**0.5, info.smallest_normal**0.5, 1.0]
        rows = rows / largest * rng.choice(np.asarray(sizes, np.float64), size=(len(rows), 1))
    return rows.reshape(shape).astype(dtype)
