"""What the functions of adapters do with bad input: descriptions, modules, trees and checkpoints that are no such."""

from __future__ import annotations

import importlib
import pickle

import e3any_flax
import e3any_numpy
import e3any_torch
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from safetensors.numpy import save_file

from e3any import Layout, checkpoint, conventions, nn

FLAX, TORCH = {"1-": {"kernel": jnp.ones((2, 2))}}, {"kernel": torch.ones(2)}
NO_LAYER = [None, "Dense", nn.Dense, torch.nn.Linear(1, 1)]
NO_CLASS = [None, "Dense", nn.Dense(2), torch.nn.Linear]
NO_HOLDER = [None, "params", 3]

CASES = {
    "e3any_flax.to_linen": (e3any_flax.to_linen, NO_LAYER),
    "e3any_flax.to_nnx": (lambda layer: e3any_flax.to_nnx(layer, Layout(1, 2), rngs=nnx.Rngs(0)), NO_LAYER),
    "e3any_flax.linen_class": (lambda layer: e3any_flax.linen_class(layer, "here"), NO_CLASS),
    "e3any_flax.to_tree": (e3any_flax.to_tree, NO_HOLDER),
    "e3any_flax.load_tree": (lambda like: e3any_flax.load_tree(like, {}), NO_HOLDER),
    "e3any_flax.load_e3x": (e3any_flax.load_e3x, [b"", b"no variables", pickle.dumps({"params": {}})]),
    "e3any_flax.nnx.LayerModule": (lambda layer: e3any_flax.nnx.LayerModule(layer, rngs=nnx.Rngs(0)), NO_LAYER),
    "e3any_flax.nnx.to_nnx": (lambda layer: e3any_flax.nnx.to_nnx(layer, rngs=nnx.Rngs(0)), [*NO_LAYER, nn.Dense(2)]),
    "e3any_flax.nnx.nnx_class": (lambda layer: e3any_flax.nnx.nnx_class(layer, "here"), NO_CLASS),
    "e3any_numpy.LayerFunction": (e3any_numpy.LayerFunction, NO_LAYER),
    "e3any_numpy.to_numpy": (e3any_numpy.to_numpy, NO_LAYER),
    "e3any_numpy.function_class": (lambda layer: e3any_numpy.function_class(layer, "here"), NO_CLASS),
    "e3any_torch.LayerModule": (e3any_torch.LayerModule, NO_LAYER),
    "e3any_torch.to_torch": (e3any_torch.to_torch, NO_LAYER),
    "e3any_torch.module_class": (lambda layer: e3any_torch.module_class(layer, "here"), NO_CLASS),
    "e3any_torch.to_tree": (e3any_torch.to_tree, NO_HOLDER),
    "e3any_torch.to_state_dict": (e3any_torch.to_state_dict, NO_HOLDER),
    "e3any_torch.load_tree": (lambda module: e3any_torch.load_tree(module, {}), [*NO_HOLDER, {}]),
}

# What adapters take from the core, and what has no arguments of its own.
MODULES = {"matrix", "nn", "nnx", "ops", "parallel", "so3"}
FROM_CORE = {"Config", "Irreps", "Layout", "__version__", *MODULES, *nn.__all__}
ELSEWHERE = {"e3any_flax.LayerModule"}  # made by to_linen


@pytest.mark.parametrize("adapter", ["e3any_flax", "e3any_flax.nnx", "e3any_numpy", "e3any_torch"])
def test_every_public_name_has_a_line(adapter):
    names = {f"{adapter}.{name}" for name in set(importlib.import_module(adapter).__all__) - FROM_CORE}
    assert names - ELSEWHERE == {name for name in CASES if name.rpartition(".")[0] == adapter}


@pytest.mark.parametrize(("function", "wrong"), CASES.values(), ids=CASES)
def test_bad_input_is_refused(function, wrong):
    for value in wrong:
        with pytest.raises((TypeError, ValueError), match=r"expected [\s\S]*\bgot "):
            function(value)


LAYOUT = Layout(max_degree=1, features=2)
RIGHT = {"0+": {"kernel": np.ones((2, 3)), "bias": np.ones(3)}, "1-": {"kernel": np.ones((2, 3))}}
WRONG = {
    "missing parameter": {"0+": RIGHT["0+"]},
    "another parameter": {**RIGHT, "2+": {"kernel": np.ones((2, 3))}},
    "another layer": {"kernel": np.ones((1, 2, 1, 2, 1, 2, 3))},
    "shape": {**RIGHT, "1-": {"kernel": np.ones((3, 2))}},
    "integers": {**RIGHT, "1-": {"kernel": np.ones((2, 3), int)}},
    "strings": {**RIGHT, "1-": {"kernel": np.full((2, 3), "x")}},
    "objects": {**RIGHT, "1-": {"kernel": np.full((2, 3), None)}},
    "complex numbers": {**RIGHT, "1-": {"kernel": np.ones((2, 3), complex)}},
    "lists": {**RIGHT, "1-": {"kernel": [[1.0] * 3] * 2}},
    "nothing": None,
}


@pytest.mark.parametrize("tree", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("holder", ["linen", "nnx", "torch"])
def test_trees_of_other_modules_are_refused_and_change_nothing(holder, tree):
    if holder == "linen":
        target = {"params": jax.tree.map(jnp.zeros_like, RIGHT)}
    elif holder == "nnx":
        target = e3any_flax.to_nnx(nn.Dense(3), LAYOUT, rngs=nnx.Rngs(0))
    else:
        target = e3any_torch.to_torch(nn.Dense(3), LAYOUT)
    adapter = e3any_torch if holder == "torch" else e3any_flax
    before = adapter.to_tree(target)
    with pytest.raises((TypeError, ValueError), match=r"expected [\s\S]*\bgot "):
        adapter.load_tree(target, tree)
    jax.tree.map(np.testing.assert_array_equal, adapter.to_tree(target), before)


class Bomb:
    """What runs code when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def _damaged(path, kind):
    checkpoint.save(path, RIGHT)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-5])
    elif kind == "other conventions":
        save_file({"x": np.ones(2)}, path, metadata={"format": "e3any", "conventions": str(conventions.VERSION + 1)})
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb(path.with_name("exploded"))))
    elif kind == "torch.save":
        torch.save({"params": Bomb(path.with_name("exploded"))}, path)
    else:  # NumPy
        with path.open("wb") as file:
            np.save(file, np.asarray([Bomb(path.with_name("exploded"))]), allow_pickle=True)


@pytest.mark.parametrize("kind", ["truncated", "other conventions", "pickle", "torch.save", "numpy.save"])
def test_files_that_are_no_checkpoints_change_nothing_and_run_nothing(tmp_path, kind):
    path = tmp_path / "model.safetensors"
    _damaged(path, kind)
    module = e3any_torch.to_torch(nn.Dense(3), LAYOUT)
    before = e3any_torch.to_tree(module)
    with pytest.raises(ValueError, match=r"expected [\s\S]*\bgot "):
        e3any_torch.load_tree(module, checkpoint.load(path))
    if kind != "other conventions":
        with pytest.raises(ValueError, match=r"expected [\s\S]*\bgot "):
            e3any_flax.load_e3x(path)
    jax.tree.map(np.testing.assert_array_equal, e3any_torch.to_tree(module), before)
    assert not path.with_name("exploded").exists()


def test_the_bomb_is_one(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "exploded"))).close()
    assert (tmp_path / "exploded").exists()
