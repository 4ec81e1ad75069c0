"""Models of atoms: numbers that do not depend on the library, laws of energies and forces, compilers, calculators."""

from __future__ import annotations

from functools import cache, partial

import e3any_torch
import jax
import numpy as np
import pytest
import torch
from array_trees import random_parameters, tree_map
from layer_cases import jit

from e3any import nn, ops, so3
from e3any.models import ESCN, MACE, PaiNN
from e3any.nn.layer import initialize
from e3any.testing import assert_parity

SMALL = {"features": 4, "num_layers": 2, "num_basis": 3, "num_elements": 9}
RADII = (0.2, 0.31, 0.28, 1.28, 0.96, 0.84, 0.76, 0.71, 0.66)
MODELS = {
    "PaiNN": PaiNN(**SMALL),
    "MACE": MACE(**SMALL, hidden=(5,), max_degree=2, radii=RADII, shift=tuple(range(9))),
    "MACE_with_density": MACE(**SMALL, hidden=(5,), max_degree=2, density=True, residual=False, correlation=2),
    "MACE_of_SO3": MACE(**SMALL, hidden=(5,), max_degree=2, correlation=2, use_parity=False),
    "ESCN": ESCN(**SMALL),
}
NUMBERS = np.asarray([6, 8, 1, 1, 0])
POSITIONS = np.random.default_rng(0).normal(size=(4, 3)) * 1.2
# The last atom and edge are padding.
LISTS = dict(zip(("dst_idx", "src_idx"), (np.append(i, 5) for i in ops.sparse_pairwise_indices(4)), strict=True))
models = pytest.mark.parametrize("name", MODELS)


def vectors_of(positions):
    vectors = positions[LISTS["src_idx"][:-1]] - positions[LISTS["dst_idx"][:-1]]
    return np.concatenate([vectors, [[1.0, 0.0, 0.0]]])


@cache
def tree_of(name):
    specs = MODELS[name].parameters(NUMBERS, vectors_of(POSITIONS), **LISTS)
    return tree_map(lambda x: x.astype(np.float64), initialize(specs, np.random.default_rng(1)))


def module_of(name):
    module = e3any_torch.to_torch(MODELS[name], NUMBERS, vectors_of(POSITIONS), **LISTS).double()
    e3any_torch.load_tree(module, tree_of(name))
    return partial(module, torch.as_tensor(NUMBERS), **{k: torch.as_tensor(v) for k, v in LISTS.items()}), module
