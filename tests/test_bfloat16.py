"""bfloat16 in trees and files: in every framework, and where no package gives NumPy the dtype."""

from __future__ import annotations

import sys
import textwrap

import e3any_flax
import e3any_torch
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_checkpoint import start

from e3any import checkpoint, nn
from e3any.files.bfloat16 import bfloat16_bits, from_bfloat16_bits

SHAPES = [(), (0, 3), (1, 2), (128, 33)]
BITS = np.arange(2**16, dtype=np.uint16)


@pytest.fixture(params=["ml_dtypes", "numpy alone"])
def alone(request, monkeypatch):
    """With the package that has the dtype, and without it."""
    if request.param == "numpy alone":
        monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    return request.param == "numpy alone"


def numbers(rng, shape):
    """Return a tensor of PyTorch and the same numbers in float32."""
    x = torch.from_numpy(rng.normal(size=shape)).bfloat16()
    return x, x.float().numpy()


def test_numbers_of_all_bits_are_kept(alone, tmp_path):
    x = from_bfloat16_bits(BITS)
    assert x.dtype == (np.float32 if alone else ml_dtypes.bfloat16)
    np.testing.assert_array_equal(bfloat16_bits(x), BITS)
    np.testing.assert_array_equal(np.float32(x), np.float32(BITS.view(ml_dtypes.bfloat16)))
    checkpoint.save(tmp_path / "x", {"x": x})
    np.testing.assert_array_equal(bfloat16_bits(checkpoint.load(tmp_path / "x")["x"]), BITS)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_checkpoints_of_pytorch_hold_it_and_every_library_reads_it(alone, shape, rng, tmp_path):
    x, expected = numbers(rng, shape)
    checkpoint.save(tmp_path / "x", e3any_torch.to_tree({"a.x": x, "y": torch.ones(2)}))
    tree = checkpoint.load(tmp_path / "x")
    assert tree["a"]["x"].dtype == (np.float32 if alone else ml_dtypes.bfloat16)
    assert tree["y"].dtype == np.float32
    np.testing.assert_array_equal(tree["a"]["x"].astype(np.float32), expected)
    state = e3any_torch.to_state_dict(tree)
    assert state["a.x"].dtype == torch.bfloat16
    assert torch.equal(state["a.x"], x)
    assert torch.equal(load_file(tmp_path / "x")["a.x"], x)
    like = {"a": {"x": jnp.zeros(shape, "bfloat16")}, "y": jnp.zeros(2)}
    of_jax = e3any_flax.load_tree(like, tree)["a"]["x"]
    assert of_jax.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.asarray(of_jax, np.float32), expected)
    before = (tmp_path / "x").read_bytes()
    checkpoint.save(tmp_path / "x", tree)
    assert (tmp_path / "x").read_bytes() == before


@pytest.mark.parametrize("order", ["C", "F", "reversed"])
def test_parameters_of_jax_and_pytorch_give_the_same_file(alone, order, rng, tmp_path):
    x, expected = numbers(rng, (4, 5))
    of_jax = jnp.asarray(expected, "bfloat16")
    trees = {
        "C": (e3any_flax.to_tree({"x": of_jax}), e3any_torch.to_tree({"x": x})),
        "F": (e3any_flax.to_tree({"x": of_jax.T}), e3any_torch.to_tree({"x": x.T})),
        "reversed": [
            {"x": tree["x"][::-1]} for tree in (e3any_flax.to_tree({"x": of_jax}), e3any_torch.to_tree({"x": x}))
        ],
    }[order]
    for name, tree in zip("ab", trees, strict=True):
        checkpoint.save(tmp_path / name, tree)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_is_computed_from_marked_arrays_is_saved_without_loss(monkeypatch, rng, tmp_path):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    x = from_bfloat16_bits(BITS[:100])
    for y in (x + x, x * np.float32(1.1), x - np.float32(1e-3), np.stack([x, np.sqrt(x)])):
        checkpoint.save(tmp_path / "x", {"y": y})
        loaded = checkpoint.load(tmp_path / "x")["y"]
        assert loaded.dtype == np.float32
        np.testing.assert_array_equal(loaded, y)


def test_layers_compute_with_it_in_single_precision(alone, rng):
    x = rng.normal(size=(5, 2, 9, 16)).astype(np.float32)
    kernels = {n: numbers(rng, (16, 8)) for n in ("0+", "1+", "2+", "0-", "1-", "2-")}
    biases = {"0+": {"bias": np.zeros(8, np.float32)}}
    tree = e3any_torch.to_tree({f"{name}.kernel": of_torch for name, (of_torch, _) in kernels.items()})
    short = {name: node | biases.get(name, {}) for name, node in tree.items()}
    single = {name: {"kernel": of_numpy} | biases.get(name, {}) for name, (_, of_numpy) in kernels.items()}
    y = nn.Dense(8)(short, x)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, nn.Dense(8)(single, x))


@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_fresh_processes_need_no_package_that_has_it(framework, tmp_path):
    checkpoint.save(tmp_path / "x", {"x": np.asarray([0.1, -2.0], ml_dtypes.bfloat16)})
    of_torch = """
        import torch, e3any_torch
        assert e3any_torch.to_state_dict(tree)["x"].dtype == torch.bfloat16
        tree = e3any_torch.to_tree({"x": torch.tensor([0.1, -2.0], dtype=torch.bfloat16)})
    """
    script = f"""
        import sys
        sys.modules |= dict.fromkeys(("ml_dtypes", "jax"))
        from e3any import checkpoint
        tree = checkpoint.load(sys.argv[1])
        assert tree["x"].tolist() == [0.10009765625, -2.0], tree
        assert tree["x"].dtype == "float32"
        {textwrap.dedent(of_torch).strip().replace(chr(10), chr(10) + " " * 8) if framework == "torch" else ""}
        checkpoint.save(sys.argv[1] + "y", tree)
        assert ("torch" in sys.modules) == {framework == "torch"}
    """
    assert start(script, tmp_path / "x").wait(120) == 0
    assert (tmp_path / "xy").read_bytes() == (tmp_path / "x").read_bytes()


def test_dtypes_that_numpy_lacks_are_named_with_their_parameter(tmp_path):
    with pytest.raises(TypeError, match=r"expected a tensor of a dtype of NumPy at 'a\.x', got torch\.float8_e5m2"):
        e3any_torch.to_tree({"a.x": torch.zeros(2).to(torch.float8_e5m2)})
    tree = e3any_flax.to_tree({"a": {"x": jnp.zeros(2, jnp.float8_e5m2)}})
    with pytest.raises(TypeError, match="expected an array of real numbers or bools at 'a/x', got dtype float8_e5m2"):
        checkpoint.save(tmp_path / "x", tree)
