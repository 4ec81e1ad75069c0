"""Same seeds give the same numbers, run after run and whatever the order of sets and of memory is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# Prints a digest of each of the things that are drawn, computed or written.
PROGRAM = """
import hashlib, sys
import e3any_flax, e3any_torch, jax, numpy as np, torch
from e3any import Layout, checkpoint, nn, ops, so3
from e3any.nn.layer import initialize, leaves
from e3any_flax.linen import draw

def show(name, *arrays):
    print(name, hashlib.sha256(b"".join(np.ascontiguousarray(x).tobytes() for x in arrays)).hexdigest())

layer, r = nn.MessagePass(use_fused_tensor=False), np.random.default_rng(0).normal(size=(6, 3))
basis = nn.basis(r, max_degree=2, num=3, radial_fn=nn.sinc, factored=True)
lists = dict(zip(("dst_idx", "src_idx"), ops.sparse_pairwise_indices(3)))
x = np.random.default_rng(1).normal(size=(3, 2, 9, 2))
specs = layer.parameters(x, basis, **lists)
params = initialize(specs, np.random.default_rng(2))
show("numpy parameters", *(value for _, value in leaves(params)))
show("numpy output", layer(params, x, basis, **lists))
dense = nn.Dense(2, use_bias=False).parameters(Layout(1, 2))
show("jax parameters", *(value for _, value in leaves(draw(dense, jax.random.key(3)))))
for library, key in ("numpy", np.random.default_rng(4)), ("torch", torch.Generator().manual_seed(4)):
    show(f"{library} rotations", so3.random_rotation(key, num=3))

torch.manual_seed(5)
module = e3any_torch.nn.TensorDense(Layout(2, 4), 3)
for _ in range(3):
    gradients = torch.autograd.grad(module(torch.ones(7, 1, 9, 4)).square().sum(), [*module.parameters()])
    with torch.no_grad():
        for parameter, gradient in zip(module.parameters(), gradients):
            parameter -= 0.01 * gradient
show("torch, trained", *(value for _, value in leaves(e3any_torch.to_tree(module))))
checkpoint.save(sys.argv[1], params, {name: name for name in ("one", "two", "three")})
show("checkpoint", np.fromfile(sys.argv[1], np.uint8))
"""


def run(path: Path, seed: int) -> list[str]:
    """Return what the program prints, with another seed of Python's hashes."""
    folders = [str(Path(__file__).parents[1] / folder) for folder in (".", "backends", "adapters")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "PYTHONHASHSEED": str(seed)}
    command = [sys.executable, "-c", PROGRAM, str(path)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()


def test_same_seeds_give_the_same_numbers_in_every_process(tmp_path):
    first, second = (run(tmp_path / str(seed), seed) for seed in (1, 2))
    assert len(first) == 7
    assert first == second
