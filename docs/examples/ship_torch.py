"""A force field as an exported program of PyTorch, and as a library that AOTInductor compiles."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from e3any_torch import load_tree, to_torch
from torch.export import Dim
from torch.fx.experimental.proxy_tensor import make_fx


def program(model: Any, tree: dict[str, Any], inputs: tuple[Any, ...]) -> torch.export.ExportedProgram:
    """Return energy and forces, parameters included, for any numbers of atoms and neighbours.

    ``torch.export`` does not look into ``torch.autograd.grad``. ``make_fx`` does: it writes down the operations of the
    energy and of its derivative, with sizes as symbols, and the result is exported.
    """
    tensors = [torch.tensor(x) for x in inputs]
    module = to_torch(model, *tensors)
    load_tree(module, tree)
    module.requires_grad_(False)

    def energy_and_forces(numbers: Any, positions: Any, neighbours: Any) -> tuple[Any, Any]:
        positions = positions.detach().requires_grad_()
        energy = module(numbers, positions, neighbours)
        (gradient,) = torch.autograd.grad(energy, positions)
        return energy.detach(), -gradient

    # Parameters and tables are the tensors that are not fake: they become constants of the program.
    traced = make_fx(energy_and_forces, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*tensors)
    atoms, width = Dim("atoms", min=2), Dim("width", min=2)
    sizes = {0: atoms}, {0: atoms}, {0: atoms, 1: width}
    return torch.export.export(traced, tuple(tensors), dynamic_shapes=sizes)


def write(model: Any, tree: dict[str, Any], inputs: tuple[Any, ...], path: Path) -> None:
    """Write the program, which ``torch.export.load`` reads."""
    torch.export.save(program(model, tree, inputs), path)


def write_compiled(path: Path, compiled: Path) -> bool:
    """Compile a program to a library, which Python and C++ load; return whether there is a compiler to do so."""
    if not (shutil.which("g++") or shutil.which("clang++")):
        return False
    torch._inductor.aoti_compile_and_package(torch.export.load(path), package_path=str(compiled))
    return True
