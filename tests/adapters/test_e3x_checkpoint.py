"""Parameters that programs for e3x have saved, loaded in every framework."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import e3any_flax
import e3any_torch
import e3x
import flax.core
import jax
import jax.numpy as jnp
import msgpack
import numpy as np
import orbax.checkpoint as ocp
import pytest
import torch
from composed_model import molecule
from e3any_flax import load_e3x
from flax import linen, serialization
from flax.training.train_state import TrainState
from layer_cases import KEY, jit

from e3any import nn
from e3any.testing import assert_parity


class Model(linen.Module):
    """A program for e3x."""

    @linen.compact
    def __call__(self, numbers, r, dst_idx, src_idx):
        basis = e3x.nn.basis(r, max_degree=1, num=3, radial_fn=e3x.nn.reciprocal_bernstein)
        x = e3x.nn.Embed(num_embeddings=10, features=4, dtype="float64")(numbers)
        y = e3x.nn.MessagePass(max_degree=1)(x, basis, dst_idx=dst_idx, src_idx=src_idx)
        x = e3x.nn.TensorDense(features=2)(e3x.nn.silu(e3x.nn.add(x, y)))
        return e3x.nn.Dense(features=1, name="energy")(x)


@dataclass(frozen=True)
class Description(nn.Layer):
    """The same model; names are those that Linen gives."""

    def forward(self, p, numbers, r, dst_idx, src_idx):
        basis = nn.basis(r, max_degree=1, num=3, radial_fn=nn.reciprocal_bernstein)
        x = nn.Embed(10, 4, "float64")(p / "Embed_0", numbers)
        y = nn.MessagePass(max_degree=1)(p / "MessagePass_0", x, basis, dst_idx=dst_idx, src_idx=src_idx)
        x = nn.TensorDense(features=2)(p / "TensorDense_0", nn.silu(nn.add(x, y)))
        return nn.Dense(features=1)(p / "energy", x)


@pytest.fixture(scope="module")
def trained():
    """Variables of e3x in double precision, biases drawn too, and what the model gives for them."""
    drawn = jit(Model().init)(KEY, *molecule("float64"))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda x: jnp.asarray(x, "float64") + rng.normal(size=x.shape), drawn)
    return variables, jit(Model().apply)(variables, *molecule("float64"))


def save_by_orbax(path, variables):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, variables)
    return path


def save_by_manager(path, variables):
    with ocp.CheckpointManager(path) as manager:
        manager.save(7, args=ocp.args.StandardSave(variables))
    return path / "7"


def save_by(serialize, path, variables):
    path.write_bytes(serialize(variables))
    return path


def train_state(variables):
    """Return the bytes of a state of training that has variables where many programs have parameters."""
    state = TrainState(step=3, apply_fn=Model().apply, params=variables, tx=None, opt_state={"count": jnp.asarray(3)})
    return serialization.to_bytes(state)


FORMATS = {
    "to_bytes": partial(save_by, serialization.to_bytes),
    "msgpack": partial(save_by, serialization.msgpack_serialize),
    "parameters": partial(save_by, lambda variables: serialization.to_bytes(variables["params"])),
    "frozen": partial(save_by, lambda variables: serialization.to_bytes(flax.core.freeze(variables))),
    "train_state": partial(save_by, train_state),
    "orbax": save_by_orbax,
    "orbax_manager": save_by_manager,
}


@pytest.mark.parametrize("kind", FORMATS)
def test_loaded_parameters_are_those_that_were_saved(kind, trained, tmp_path):
    variables, _ = trained
    tree = load_e3x(FORMATS[kind](tmp_path / "saved", variables))
    jax.tree.map(np.testing.assert_array_equal, tree, variables["params"])
    leaves = jax.tree.leaves(tree)
    assert {type(x) for x in leaves} == {np.ndarray}
    assert all(x.flags.writeable for x in leaves)


def test_contents_of_a_file_will_do(trained):
    variables, _ = trained
    tree = load_e3x(serialization.to_bytes(variables))
    jax.tree.map(np.testing.assert_array_equal, tree, variables["params"])


def test_loaded_parameters_give_the_outputs_of_e3x_in_every_framework(trained, tmp_path):
    variables, expected = trained
    tree = load_e3x(save_by_orbax(tmp_path / "saved", variables))
    inputs = molecule("float64")
    model = Description()
    assert_parity(model(tree, *inputs), expected, "float64", rtol=1e-12)
    linen_module = e3any_flax.to_linen(model)
    assert_parity(jit(linen_module.apply)({"params": tree}, *inputs), expected, "float64", rtol=1e-12)
    module = e3any_torch.to_torch(model, *molecule("float64")).double()
    e3any_torch.load_tree(module, tree)
    assert_parity(module(*map(torch.from_numpy, inputs)).detach(), expected, "float64", rtol=1e-12)


def test_narrow_and_scalar_parameters_are_kept():
    saved = serialization.to_bytes({"params": {"a": jnp.asarray([0.5], "bfloat16"), "gamma": jnp.asarray(0.3)}})
    tree = load_e3x(saved)
    assert (tree["a"].dtype, tree["gamma"].shape) == (jnp.bfloat16, ())


def test_missing_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected a file or a folder, got none at .*saved"):
        load_e3x(tmp_path / "saved")


@pytest.mark.parametrize("content", [b"", b"text", b"\xc1", b"\x93NUMPY", b"\x81\xa1a"])
def test_files_of_other_kinds_are_refused(content, tmp_path):
    (tmp_path / "saved").write_bytes(content)
    with pytest.raises(ValueError, match=r"expected variables that Flax has serialized, got damaged .*saved"):
        load_e3x(tmp_path / "saved")


def test_files_that_are_cut_or_changed_are_refused_or_give_arrays(trained):
    content = serialization.to_bytes(trained[0])
    for i in range(0, len(content), 97):
        with pytest.raises(ValueError, match="expected variables that Flax has serialized, got damaged bytes"):
            load_e3x(content[:i])
    rng = np.random.default_rng(0)
    for _ in range(200):
        changed = bytearray(content)
        changed[rng.integers(len(content))] ^= int(rng.integers(1, 256))
        try:
            kinds = {type(x) for x in jax.tree.leaves(load_e3x(bytes(changed)))}
        except ValueError as error:
            kinds = {str(error).partition(" ")[0]}
        assert kinds in ({np.ndarray}, {"expected"})


@pytest.mark.parametrize("value", [{}, {"params": {}}, {"params": 3}, [np.ones(2)], "text", None])
def test_contents_without_parameters_are_refused(value):
    with pytest.raises(ValueError, match="expected a nested mapping of parameters in bytes, got"):
        load_e3x(serialization.msgpack_serialize(value))


def test_leaves_that_are_no_arrays_are_named():
    with pytest.raises(ValueError, match=r"expected an array at 'a/b' in bytes, got str"):
        load_e3x(serialization.msgpack_serialize({"params": {"a": {"b": "text"}}}))


def test_folders_without_a_checkpoint_are_refused(trained, tmp_path):
    save_by_manager(tmp_path / "manager", trained[0])
    with pytest.raises(
        ValueError, match=r"expected a checkpoint of Orbax in .*manager', got a folder that has \['7'\]"
    ):
        load_e3x(tmp_path / "manager")


@pytest.mark.parametrize("content", ["", "{}", "text"])
def test_damaged_checkpoints_of_orbax_are_refused(content, trained, tmp_path):
    path = save_by_orbax(tmp_path / "saved", trained[0])
    (path / "_METADATA").write_text(content)
    with pytest.raises(ValueError, match=r"expected a checkpoint of Orbax, got a damaged one in .*saved"):
        load_e3x(path)


def of_msgpack(tree):
    """Return a tree as MessagePack has it, with whatever names and values."""
    return msgpack.packb(tree, default=serialization._msgpack_ext_pack, strict_types=True)


def deep(levels):
    tree = np.zeros(1)
    for _ in range(levels):
        tree = {"a": tree}
    return tree


def array_of(shape, dtype, data):
    """Return an array as Flax writes it, with any shape, dtype and bytes."""
    return msgpack.packb({"x": msgpack.ExtType(1, msgpack.packb((shape, dtype, data)))})


HOSTILE = {
    "deep": of_msgpack(deep(120)),
    "very deep": b"\x81\xa1a" * 50_000 + b"\xc0",
    "deep lists": b"\x81\xa1a" + b"\x91" * 50_000 + b"\xc0",
    "numbers as names": of_msgpack({1.5: np.zeros(1)}),
    "bytes as names": of_msgpack({b"a": np.zeros(1)}),
    "a name twice": of_msgpack({1: np.zeros(1), "1": np.zeros(2)}),
    "text": of_msgpack({"a": "x" * 1_000_000}),
    "lists": of_msgpack({"a": [1] * 100_000}),
    "many lists": of_msgpack([[1] * 100] * 1000),
    "objects": array_of((1,), "object", bytes(8)),
    "huge": array_of((2**62, 4), "float32", b""),
    "unknown dtype": array_of((1,), "float33", bytes(4)),
    "no shape": array_of("a", "float32", bytes(4)),
    "a long length": b"\xdf\xff\xff\xff\xff",
    "long bytes": b"\x81\xa1a\xc6\xff\xff\xff\xff",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_contents_are_value_errors(name):
    with pytest.raises(ValueError, match="expected ") as error:
        load_e3x(HOSTILE[name])
    assert len(str(error.value)) < 600


def test_names_with_dots_and_numbers_are_kept():
    tree = load_e3x(of_msgpack({"params": {"a.b": {0: np.ones(2)}}}))
    np.testing.assert_array_equal(tree["a.b"]["0"], np.ones(2))
