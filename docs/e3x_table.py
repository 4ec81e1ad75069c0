"""Write e3x.md: every public name of e3x, where e3any has it, and how far its numbers are from those of e3x.

python docs/e3x_table.py
"""

from __future__ import annotations

import importlib
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import e3any_flax
import e3any_numpy
import e3any_torch
import e3x
import jax
import jax.numpy as jnp
import numpy as np
from e3any_flax import nnx
from tqdm import tqdm

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "adapters")]
jax.config.update("jax_enable_x64", True)
drop_in = importlib.import_module("test_drop_in")  # the program for e3x that the tests run as well
jit = importlib.import_module("layer_cases").jit

# Names of the development version that 1.0.2 lacks.
OF_DEVELOPMENT = {"matrix": ["init_matrix_irreps_weights", "make_square_matrix"]}
MODULES = {"so3": "so3", "ops": "ops", "nn": "nn", "initializers": "nn.initializers"}
DTYPES = ("float32", "float64")
HEAD = """# Every name of e3x

`import e3any_flax as e3x` is all that a program for e3x 1.0.2, or its development version, changes. This table is
written by `python docs/e3x_table.py`: every public name of e3x, and whether it is there for NumPy, JAX (functions) or
Linen (layers), NNX (layers), and PyTorch. The last columns are the largest difference from e3x 1.0.2 that was measured,
relative to the largest value, of values and of gradients. Layers have inputs of degrees 1 and 2 (`Dense`, `FusedTensor`
and the basis of degree 4 as well), functions of degrees up to 3; the tests compare layers up to degree 4. The reference
is e3x in float64 throughout, as what e3x computes in float32 has errors of its own: its gradients of attention and of
`ExponentialBasis`, sums that cancel, are off by up to 6e-6 and 3e-6 here. Moving every
input and parameter by half a unit in its last place moves these gradients of e3x in float64 by 4e-6 and 2e-6 already.
The tests hold NumPy, JAX and PyTorch to each other. Of functions of rotations the derivatives along rotations are
compared. A dash: there is nothing to compare.

| name | NumPy | JAX, Linen | NNX | PyTorch | values, f32 | values, f64 | gradients, f32 | gradients, f64 |
|---|---|---|---|---|---|---|---|---|
"""


def lookup(library: Any, path: str) -> Any:
    """Return a module by its dotted path, or None."""
    for part in path.split("."):
        library = getattr(library, part, None)
    return library


def difference(ours: Any, theirs: Any) -> float | None:
    """Return the largest difference of floating-point arrays, each relative to the largest value."""
    found = []
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        if b.dtype.kind != "f" or not b.size:
            if not np.array_equal(a, b):
                return np.inf
            continue
        a, b = a.astype(np.float64), b.astype(np.float64)
        found.append(np.abs(a - b).max() / (np.abs(b).max() or 1.0))
    return max(found) if found else None


def exact_in_float32(x: Any) -> Any:
    """Round to single precision, so that differences are those of computing, not of rounded inputs."""
    return jnp.asarray(x, jnp.float32).astype(jnp.float64)


def cotangent(x: Any) -> Any:
    """Return weights of a sum."""
    return jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape)


def tangential(gradients: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of gradients along rotations and traceless symmetric tensors.

    Functions of these are defined beyond them in different ways.
    """
    rot, g = arrays["rotation"], gradients["rotation"]
    turned = jnp.einsum("bji,bjk->bik", rot, g)
    along = jnp.einsum("bij,bjk->bik", rot, 0.5 * (turned - jnp.swapaxes(turned, 1, 2)))
    t = 0.5 * (gradients["traceless"] + gradients["traceless"].T)
    return gradients | {"rotation": along, "traceless": t - jnp.eye(3, dtype=t.dtype) * jnp.trace(t) / 3}


def function_results(library: str, group: str, name: str, dtype: str) -> tuple[Any, Any]:
    """Return the result of a function in the program for e3x, and the gradients of a weighted sum."""

    def run(arrays: dict[str, Any]) -> Any:
        return jax.tree.leaves(getattr(drop_in.PROGRAMS[library], group)(SimpleNamespace(**arrays))[name]())

    arrays = drop_in.arrays_of(dtype)
    if name in drop_in.EAGER:
        return run(arrays), None
    floats = {n: x for n, x in arrays.items() if x.dtype.kind == "f"}

    def loss(floats: dict[str, Any]) -> Any:
        leaves = [x for x in run(arrays | floats) if jnp.issubdtype(jnp.asarray(x).dtype, jnp.floating)]
        return sum((x * cotangent(x)).sum() for x in leaves) + 0.0

    gradients = tangential(jit(jax.grad(loss))(floats), floats)
    return jit(run)(arrays), None if group == "initializers" else gradients


def layer_inputs(name: str, parities: int, degree: int, dtype: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return inputs of a layer, and those by name: four nodes with all their neighbours."""
    rng = np.random.default_rng(degree)
    dst, src = np.nonzero(~np.eye(4, dtype=bool))
    x, y, r = (
        exact_in_float32(rng.normal(size=size))
        for size in [(4, parities, (degree + 1) ** 2, 4), (4, parities, (degree + 1) ** 2, 4), (12, 3)]
    )
    basis = exact_in_float32(e3x.nn.basis(r, max_degree=min(degree, 2), num=3, radial_fn=e3x.nn.basic_fourier))
    x, y, r, basis = (a.astype(dtype) for a in (x, y, r, basis))
    edges = {"dst_idx": jnp.asarray(dst), "src_idx": jnp.asarray(src)}
    options = {"max_degree": degree, "num": 3}
    return {
        "Dense": ((x,), {}),
        "Embed": ((jnp.arange(4),), {}),
        "ExponentialBasis": ((r,), options),
        "FusedTensor": ((x, y), {}),
        "MessagePass": ((x, basis), edges),
        "MultiHeadAttention": ((x, y, basis), edges),
        "SelfAttention": ((x, basis), edges),
        "Tensor": ((x, y), {}),
        "TensorDense": ((x,), {}),
    }[name]


def layer_results(library: Any, name: str, parities: int, degree: int, dtype: str, params: Any) -> Any:
    """Return parameters, if none are given, else the output and the gradients of a weighted sum."""
    arguments = {"Dense": {"features": 3}, "Embed": {"num_embeddings": 4, "features": 3}}.get(name, {})
    layer = getattr(library.nn, name)(**arguments)
    inputs, options = layer_inputs(name, parities, degree, dtype)
    if name == "ExponentialBasis":
        options = options | {"radial_fn": library.nn.exponential_gaussian}
    apply = (
        partial(layer.apply, **options) if name == "ExponentialBasis" else lambda p, *i: layer.apply(p, *i, **options)
    )
    if params is None:
        return layer.init(jax.random.PRNGKey(0), *inputs, **options)
    params = jax.tree.map(lambda x: x.astype(dtype), params)
    floats = tuple(i for i, x in enumerate(inputs) if x.dtype.kind == "f")

    def loss(p: Any, *inputs: Any) -> Any:
        out = apply(p, *inputs)
        return (out * cotangent(out)).sum()

    return jit(apply)(params, *inputs), jit(jax.grad(loss, (0, *(1 + i for i in floats))))(params, *inputs)


def layer_row(name: str) -> list[float | None]:
    """Return the largest differences of a layer, over layouts."""
    rows = []
    layouts = [(2, 1), (1, 2)] + [(1, 4)] * (name in ("Dense", "ExponentialBasis", "FusedTensor"))
    for parities, degree in layouts:
        variables = layer_results(e3x, name, parities, degree, "float64", None)
        rng = np.random.default_rng(0)
        variables = jax.tree.map(lambda x, rng=rng: exact_in_float32(rng.normal(size=x.shape)), variables)
        theirs = layer_results(e3x, name, parities, degree, "float64", variables)
        pairs = [
            [
                difference(a, b)
                for a, b in zip(layer_results(e3any_flax, name, parities, degree, d, variables), theirs, strict=True)
            ]
            for d in DTYPES
        ]
        rows.append([pair[i] for i in range(2) for pair in pairs])
    return [max((r for r in column if r is not None), default=None) for column in zip(*rows, strict=True)]


def function_row(group: str, name: str) -> list[float | None]:
    """Return the largest differences of a function."""
    theirs = {"float64": function_results("e3x", group, name, "float64")}
    # Random numbers depend on the precision that they are drawn in.
    theirs["float32"] = (
        function_results("e3x", group, name, "float32") if group == "initializers" else theirs["float64"]
    )
    ours = {d: function_results("e3any_flax", group, name, d) for d in DTYPES}
    return [None if theirs[d][i] is None else difference(ours[d][i], theirs[d][i]) for i in range(2) for d in DTYPES]


def main() -> None:
    """Measure and write the table; with arguments, measure these names again."""
    again, lines = set(sys.argv[1:]), []
    path = ROOT / "docs" / "e3x.md"
    known = {row.split("`")[1]: row for row in path.read_text("utf-8").splitlines() if "`" in row} if again else {}
    names = [(group, name) for group in MODULES for name in drop_in.public(MODULES[group])]
    for group, name in tqdm(names, unit="name"):
        if again and f"{MODULES[group]}.{name}" not in again:
            lines.append(known[f"{MODULES[group]}.{name}"])
            continue
        is_layer = group == "nn" and drop_in.is_layer(name)
        typing_only = name.endswith("InitializerFn") or name == "Normalization"
        measured = [None] * 4 if typing_only else layer_row(name) if is_layer else function_row(group, name)
        lines.append(line(f"{MODULES[group]}.{name}", name, MODULES[group], is_layer, measured))
    for group, extra in OF_DEVELOPMENT.items():
        lines += [line(f"{group}.{name} (development)", name, group, False, [None] * 4) for name in extra]
    for name in sorted(n for n in vars(e3x.Config) if not n.startswith("_")):
        lines.append(line(f"Config.{name}", name, "Config", False, [None] * 4))
    path.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")


def line(title: str, name: str, path: str, is_layer: bool, measured: list[float | None]) -> str:
    """Return a row of the table."""
    has = [hasattr(lookup(library, path), name) for library in (e3any_numpy, e3any_flax, e3any_torch)]
    there = ["yes" if h else "no" for h in has]
    there.insert(2, ("yes" if hasattr(nnx, name) else "no") if is_layer else "–")
    cells = ["–" if m is None else f"{m:.0e}" if m else "0" for m in measured]
    return f"| `{title}` | " + " | ".join([*there, *cells]) + " |"


if __name__ == "__main__":
    main()
