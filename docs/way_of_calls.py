"""Print the way of calls through adapters (A), core (C) and backends (B), and how many functions they call there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import e3any_flax
import e3any_torch
import jax
import numpy as np
import torch
from e3any_backends import kernels

import e3any
from e3any import Layout, so3

ROOT = Path(e3any.__file__).parents[1]
#: Folders of the layers that calls go through.
LAYERS = {"adapters": "A", "e3any": "C", "backends": "B"}


class Way(NamedTuple):
    """What a call goes through.

    Attributes
    ----------
    calls : int
        Calls of functions of the packages, comprehensions included.
    files : int
        Files that these are in.
    layers : str
        The layer of each call, in the order of calls, repetitions left out.
    """

    calls: int
    files: int
    layers: str


def way_of(function: Callable[[], Any]) -> Way:
    """Call a function twice, and return the way of the second call."""
    function()
    files: list[str] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            files.append(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    own = [Path(name).relative_to(ROOT) for name in files if name.startswith(f"{ROOT}/")]
    own = [path for path in own if path.parts[0] in LAYERS]
    layers = [LAYERS[path.parts[0]] for path in own]
    return Way(len(own), len(set(own)), "".join(a for a, b in zip(layers, ["", *layers], strict=False) if a != b))


def cases() -> Iterator[tuple[str, bool, Callable[[], Any]]]:
    """Yield calls with their names and whether kernels are used."""
    rng = np.random.default_rng(0)

    module = e3any_flax.nn.TensorDense(features=32, max_degree=2)
    x = jax.numpy.asarray(rng.normal(size=(64, 1, 9, 32)), "float32")
    variables = module.init(jax.random.key(0), x)

    def trace() -> Any:
        # A new function each time: JAX keeps what it has traced. Kernels are chosen when a program is lowered.
        return jax.jit(lambda variables, x: module.apply(variables, x)).lower(variables, x)

    yield "tracing Flax TensorDense", True, trace
    yield "the same without kernels", False, trace

    nodes, edges = 200, 4000
    layouts = Layout(max_degree=2, features=32), Layout(max_degree=2, features=8)
    message = e3any_torch.nn.MessagePass(*layouts)
    y = torch.tensor(rng.normal(size=(nodes, 1, 9, 32)), dtype=torch.float32, requires_grad=True)
    r = torch.tensor(rng.normal(size=(edges, 3)), dtype=torch.float32)
    basis = e3any_torch.nn.basis(r, max_degree=2, num=8, radial_fn=e3any_torch.nn.exponential_bernstein, factored=True)
    src, dst = (torch.tensor(rng.integers(nodes, size=edges)) for _ in range(2))

    def forward() -> torch.Tensor:
        found: torch.Tensor = message(y, basis, src_idx=src, dst_idx=dst)
        return found

    yield "PyTorch MessagePass, forward", True, forward
    total = forward().sum()
    yield "PyTorch MessagePass, backward", True, lambda: total.backward(retain_graph=True)

    vectors = rng.normal(size=(1000, 3))
    for name, has_kernels in (("NumPy harmonics", True), ("the same without kernels", False)):
        yield name, has_kernels, lambda: so3.spherical_harmonics(vectors, 3)


def main() -> None:
    """Print the table."""
    print("| call | calls | files | way |\n| --- | --- | --- | --- |")
    for name, has_kernels, function in cases():
        # Threads that share the work of a kernel call functions as well.
        with kernels.enabled(has_kernels), kernels.threads(1):
            way = way_of(function)
        print(f"| {name} | {way.calls} | {way.files} | {way.layers} |", flush=True)


if __name__ == "__main__":
    main()
