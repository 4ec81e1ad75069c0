"""Measure errors of functions by degree and dtype, and of layers by dtype, and write docs/precision.md.

Run from the root of the repository: ``python docs/precision_table.py``.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import torch
from sympy.physics import wigner
from tqdm import tqdm

from e3any import so3
from e3any.conventions import degree_slice

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests")]
jax.config.update("jax_enable_x64", True)
CASES = importlib.import_module("torch_cases").CASES
layer_cases = importlib.import_module("layer_cases")

DTYPES = ("float64", "float32", "bfloat16", "float16")
DEGREES = (1, 2, 4, 8, 16, 30, 60, 100)
HEAD = """# Precision

What is computed, and how well: errors that `python docs/precision_table.py` measured, on a CPU. The tests hold the
limits: in float64 1e-12 for harmonics to degree 100, and for Wigner-D matrices and Clebsch-Gordan coefficients to
degree 60.

## Dtypes

- The result has the promoted dtype of inputs and parameters: float64, float32, bfloat16 and float16 go in and come out
  of every layer. `dtype=` of a layer casts inputs and parameters first: with
  `dtype="float32"` a layer with parameters and inputs of 16 bits computes in float32, and returns it.
- NumPy has no bfloat16 of its own. In trees from `checkpoint.load` and `e3any_torch.to_tree` such parameters have the
  dtype of the package `ml_dtypes` where it is installed, as with JAX. Elsewhere they are float32 with the same values,
  and become bfloat16 again in `checkpoint.save` and `e3any_torch.to_state_dict`. So `module.bfloat16()` has a
  checkpoint of half the size, and no library rounds anything on the way.
- Sums of 16-bit numbers over edges, and harmonics of 16-bit vectors, are computed in float32 and rounded once; so are
  the sums of tensor products in JAX.
- JAX without `jax_enable_x64` computes the same in float32, and warns of nothing.
- Under `torch.autocast` only products that mix features are rounded, where parameters meet features. What depends on
  directions keeps its precision: couplings, harmonics, Wigner-D matrices. Features keep their dtype.
- Products of matrices are not rounded to TF32 (or on TPUs to bfloat16) unless you ask for it: TF32 keeps three digits,
  so that a model is equivariant to three digits. In JAX the products of layers have the highest precision unless
  `precision=` of a layer or `jax.default_matmul_precision` says otherwise; those of Clebsch-Gordan coefficients and
  rotations always have it. In PyTorch the setting is yours: `torch.set_float32_matmul_precision`, which is `"highest"`
  by default, applies to all products and is changed by nothing here.
"""
BY_DEGREE = """
## Spherical harmonics

Largest error of a component, at random vectors, vectors on the axes and close to them, in Racah's normalisation (each
degree has norm 1), from values of mpmath with 50 digits at the vectors as rounded to the dtype. Computed by PyTorch.
"""
OF_MATRICES = """
## Wigner-D matrices

Largest error of the harmonics Y(r) D(R), from those of mpmath at the rotated vectors. The rotation is rounded to the
dtype first, which for 16 bits and for high degrees is most of the error.
"""
OF_COEFFICIENTS = """
## Clebsch-Gordan coefficients

Degrees (l, l, l), float64: the largest error of 40 coefficients from sympy's exact ones, and that of the sums of
products that are 0 or 1. In other dtypes they are rounded.
"""
OF_QUADRATURE = """
## Quadrature

Largest error of the mean of a harmonic (of norm 1 on the sphere) over the rules of Lebedev, for all degrees to the
precision of the rule or to 40. In float32 points and weights are rounded, and sums are taken in float64.
"""
OF_LAYERS = """
## Layers

Largest error of the output relative to its largest value, from that in float64. Features have degree 1; inputs and
parameters are numbers of 8 bits, exact in every dtype, so that errors are those of computing. The gradient is that of
the sum of squares by all parameters, each relative to its own largest value.
"""


def harmonics_by_mpmath(r: Any, max_degree: int) -> list[np.ndarray]:
    """Return real harmonics of vectors in the order m = -l..l, degree by degree, from 50 digits."""
    r = np.vectorize(mpmath.mpf, otypes=[object])(np.asarray(r, np.float64))
    norms = [mpmath.sqrt(sum(x * x for x in row)) for row in r]
    x, y, z = (np.asarray([row[i] / n for row, n in zip(r, norms, strict=True)], object) for i in range(3))
    out = [np.zeros((len(x), 2 * l + 1)) for l in range(max_degree + 1)]
    cosine, sine = np.full_like(x, mpmath.mpf(1)), np.full_like(x, mpmath.mpf(0))
    for m in range(max_degree + 1):
        below, legendre = np.full_like(x, mpmath.mpf(0)), np.full_like(x, mpmath.fac2(2 * m - 1))
        for l in range(m, max_degree + 1):
            norm = mpmath.sqrt((2 if m else 1) * mpmath.fac(l - m) / mpmath.fac(l + m))
            out[l][:, l - m], out[l][:, l + m] = norm * legendre * sine, norm * legendre * cosine
            below, legendre = legendre, ((2 * l + 1) * z * legendre - (l + m) * below) / (l - m + 1)
        cosine, sine = cosine * x - sine * y, cosine * y + sine * x
    return out


def vectors() -> np.ndarray:
    """Return vectors at random, on the axes, and close to them."""
    special = [[0, 0, 1], [0, 0, -1], [1, 0, 0], [0, -1, 0], [1e-3, 0, 1], [0, 1e-2, -1], [0.1, 0.1, 1], [1, 1e-3, 0]]
    return np.concatenate([special, np.random.default_rng(0).normal(size=(8, 3))])


def as_numpy(x: torch.Tensor) -> np.ndarray:
    """Return a tensor in float64."""
    return x.detach().double().numpy()


def rows_of_harmonics() -> Iterator[list[Any]]:
    """Yield degrees and errors of harmonics."""
    errors = {}
    for dtype in DTYPES:
        r = torch.from_numpy(vectors()).to(getattr(torch, dtype))
        exact = harmonics_by_mpmath(as_numpy(r), DEGREES[-1])
        y = as_numpy(so3.spherical_harmonics(r, DEGREES[-1], cartesian_order=False))
        for l in DEGREES:
            errors[l, dtype] = np.abs(y[:, degree_slice(l)] - exact[l]).max()
    for l in DEGREES:
        yield [l, *(errors[l, dtype] for dtype in DTYPES)]


def rows_of_matrices() -> Iterator[list[Any]]:
    """Yield degrees and errors of Wigner-D matrices."""
    rot, r = so3.random_rotation(np.random.default_rng(1)), vectors()
    degrees = [l for l in DEGREES if l <= 60]
    before, after = harmonics_by_mpmath(r, 60), harmonics_by_mpmath(r @ rot, 60)
    matrices = {
        dtype: as_numpy(so3.wigner_d(torch.from_numpy(rot).to(getattr(torch, dtype)), 60, cartesian_order=False))
        for dtype in DTYPES
    }
    for l in degrees:
        blocks = [matrices[dtype][degree_slice(l), degree_slice(l)] for dtype in DTYPES]
        yield [l, *(np.abs(before[l] @ block - after[l]).max() for block in blocks)]


def rows_of_coefficients() -> Iterator[list[Any]]:
    """Yield degrees, errors of single coefficients, and of orthonormality."""
    complex_coefficients = importlib.import_module("e3any.so3.clebsch_gordan")._complex_coefficients
    rng = np.random.default_rng(0)
    for l in (l for l in DEGREES if l <= 60):
        table, error = complex_coefficients(l, l, l), 0.0
        for _ in range(40):
            m1 = int(rng.integers(-l, l + 1))
            m2 = int(rng.integers(max(-l, -l - m1), min(l, l - m1) + 1))
            exact = float(wigner.clebsch_gordan(l, l, l, m1, m2, m1 + m2))
            error = max(error, abs(table[l + m1, l + m2] - exact))
        matrix = so3.clebsch_gordan_for_degrees(l, l, l).reshape(-1, 2 * l + 1)
        yield [l, error, np.abs(matrix.T @ matrix - np.eye(2 * l + 1)).max()]


def rows_of_quadrature() -> Iterator[list[Any]]:
    """Yield precisions of rules, numbers of points, and errors of means."""
    for precision in (3, 11, 23, 41, 71, 131):
        grid, weights = so3.lebedev_quadrature(precision=precision)
        errors = []
        for dtype in ("float64", "float32"):
            r, w = (x.astype(dtype).astype("float64") for x in (grid, weights))
            means = w @ so3.spherical_harmonics(r, min(precision, 40), normalization="orthonormal")
            means[0] -= 1 / math.sqrt(4 * math.pi)
            errors.append(np.abs(means).max())
        yield [precision, len(weights), *errors]


def relative(actual: np.ndarray, exact: np.ndarray) -> float:
    """Return the largest difference relative to the largest value."""
    return float(np.abs(actual - exact).max() / (np.abs(exact).max() or 1.0))


def arrays_of(case: Any, make: Callable[[Any], Any]) -> Any:
    """Return parameters, inputs and options, as numbers of 8 bits in arrays that a function makes."""
    inputs, options = layer_cases.tree_map(lambda x: x.numpy(), case.arguments(torch.float32))
    params = layer_cases.random_parameters(case.layer, np.random.default_rng(0), inputs, options)

    def rounded(x: Any) -> Any:
        return make(x.astype(jnp.bfloat16).astype(np.float64) if x.dtype.kind == "f" else x)

    return layer_cases.tree_map(rounded, (params, inputs, options))


def by_torch(case: Any, dtype: str) -> list[np.ndarray]:
    """Return the output and the gradients by all parameters."""

    def make(x: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(np.array(x))
        return tensor.to(getattr(torch, dtype)) if x.dtype.kind == "f" else tensor

    params, inputs, options = arrays_of(case, make)
    layer_cases.tree_map(lambda x: x.requires_grad_(), params)
    out = case.layer(params, *inputs, **options)
    leaves: list[torch.Tensor] = []
    layer_cases.tree_map(leaves.append, params)
    gradients = torch.autograd.grad(out.square().sum(), leaves, allow_unused=True) if leaves else []
    return [as_numpy(x) for x in (out, *gradients) if x is not None]


def by_jax(case: Any, dtype: str) -> np.ndarray:
    """Return the output."""
    arguments = arrays_of(case, lambda x: jnp.asarray(x, dtype if x.dtype.kind == "f" else None))
    out = layer_cases.jit(lambda p, i, o: case.layer(p, *i, **o))(*arguments)
    return np.asarray(out).astype(np.float64)


def rows_of_layers() -> Iterator[list[Any]]:
    """Yield names of layers, and errors of output and gradient in PyTorch, and of output in JAX."""
    for name, case in tqdm(CASES.items(), unit="layer"):
        exact = by_torch(case, "float64")
        ours = [by_torch(case, dtype) for dtype in DTYPES[1:]]
        gradients = [max((relative(a, e) for a, e in zip(o[1:], exact[1:], strict=True)), default=None) for o in ours]
        yield [
            f"`{name}`",
            *(relative(o[0], exact[0]) for o in ours),
            *gradients,
            *(relative(by_jax(case, dtype), exact[0]) for dtype in DTYPES[1:]),
        ]


def table(head: list[str], rows: Iterator[list[Any]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head)]
    lines += [[cell(x) for x in row] for row in rows]
    return "\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def cell(x: Any) -> str:
    """Return what a table says."""
    if x is None:
        return "–"
    return f"{x:.0e}" if isinstance(x, float) and x else str(x if isinstance(x, str | int) else 0)


def main() -> None:
    """Measure and write."""
    mpmath.mp.dps = 50
    short = ("f32", "bf16", "f16")
    of_layers = [f"{what}, {d}" for what, d in product(("PyTorch", "its gradient", "JAX"), short)]
    parts = [
        HEAD,
        BY_DEGREE + table(["degree", *DTYPES], rows_of_harmonics()),
        OF_MATRICES + table(["degree", *DTYPES], rows_of_matrices()),
        OF_COEFFICIENTS + table(["degree", "coefficients", "orthonormality"], rows_of_coefficients()),
        OF_QUADRATURE + table(["precision", "points", "float64", "float32"], rows_of_quadrature()),
        OF_LAYERS + table(["layer", *of_layers], rows_of_layers()),
    ]
    (ROOT / "docs" / "precision.md").write_text("".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
