"""What e3x 1.0.2 does wrong is right here: every test holds for e3any_flax, and shows that it does not for e3x."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import e3any_flax
import e3x
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from layer_cases import jit

R = np.random.default_rng(0).normal(size=(5, 3))


def holds(law: Callable, library) -> bool:
    try:
        return bool(law(library))
    except Exception:  # what a program for e3x would have to catch
        if library is not e3x:
            raise
        return False


def settings_work(e3):
    """Setters change what functions do."""
    before = e3.so3.spherical_harmonics(R, 2)
    e3.Config.set_normalization("4pi")
    try:
        after = e3.so3.spherical_harmonics(R, 2)
    finally:
        e3.Config.set_normalization("racah")
    return not np.allclose(before, after)


def norms_are_independent(e3):
    """A large vector does not make a small one vanish."""
    x = jnp.asarray([[1e30, 0.0], [3e-15, 4e-15]], jnp.float32)
    return np.allclose(e3.ops.norm(x, axis=-1), [1e30, 5e-15], rtol=1e-6, atol=0.0)


def norms_of_nothing_are_nothing(e3):
    return e3.ops.norm(jnp.zeros((0, 3)), axis=-1).shape == (0,)


def mish_is_finite(e3):
    return np.isfinite(e3.nn.mish(jnp.full((1, 1, 1), -100.0, jnp.float32))).all()


def attention_without_weights_is_finite(e3):
    x, edges = jnp.ones((2, 1, 1, 2)), {"dst_idx": jnp.asarray([0, 1]), "src_idx": jnp.asarray([1, 0])}
    layer = e3.nn.SelfAttention(use_relative_positional_encoding_qk=False, use_relative_positional_encoding_v=False)
    run = lambda key: layer.init_with_output(key, x, None, jnp.zeros(2), **edges)[0]
    return np.isfinite(jit(run)(jax.random.PRNGKey(0))).all()


def small_dtypes_are_kept(e3):
    x = jnp.ones((2, 1, 4, 2), jnp.bfloat16)
    layer = e3.nn.Tensor(param_dtype=jnp.bfloat16)
    return jit(lambda key: layer.init_with_output(key, x, x)[0])(jax.random.PRNGKey(0)).dtype == jnp.bfloat16


def single_precision_is_kept_beside_double(e3):
    return e3.so3.spherical_harmonics(jnp.asarray(R, jnp.float32), 2).dtype == jnp.float32


def cutoffs_can_be_learned(e3):
    slope = jax.jit(jax.grad(lambda cutoff: e3.nn.smooth_cutoff(jnp.asarray([0.5, 1.0]), cutoff).sum()))(2.0)
    return np.isfinite(slope)


def perturbations_can_be_traced(e3):
    run = jax.jit(lambda p: e3.so3.random_rotation(jax.random.PRNGKey(0), p))
    return run(0.5).shape == (3, 3)


def sinc_is_as_documented(e3):
    r"""The formula of the documentation has a k below the fraction, as the function does."""
    documented = re.sub(r"\s", "", e3.nn.sinc.__doc__.partition("Args:")[0].partition("Parameters")[0])
    denominators = re.findall(r"frac\{[^{}]*\\sin[^}]*\}\{([^{}]*)\}", documented)
    return any("k" in d for d in denominators)


def tables_are_read_once(e3, monkeypatch):
    """A table that was used before is neither read nor computed again."""
    e3.so3.clebsch_gordan(1, 1, 2)
    opened = []
    for name in ("open", "read_bytes"):
        original = getattr(Path, name)
        monkeypatch.setattr(Path, name, lambda self, *a, f=original, **k: opened.append(self) or f(self, *a, **k))
    load = np.load
    monkeypatch.setattr(np, "load", lambda *a, **k: opened.append(a) or load(*a, **k))
    e3.so3.clebsch_gordan(1, 1, 2)
    return not opened


def files_of(package: str) -> list[Path]:
    """Return what is installed, without what Python and numba compile and keep beside it."""
    paths = Path(str(files(package))).rglob("*")
    return [p for p in paths if p.is_file() and "__pycache__" not in p.parts]


LAWS = [
    settings_work,
    norms_are_independent,
    norms_of_nothing_are_nothing,
    mish_is_finite,
    attention_without_weights_is_finite,
    small_dtypes_are_kept,
    single_precision_is_kept_beside_double,
    cutoffs_can_be_learned,
    perturbations_can_be_traced,
    sinc_is_as_documented,
]


@pytest.mark.parametrize("law", LAWS)
def test_law_holds_here_and_not_in_e3x(law):
    assert holds(law, e3any_flax)
    assert not holds(law, e3x)


def test_tables_are_read_once(monkeypatch):
    assert tables_are_read_once(e3any_flax, monkeypatch)
    assert not tables_are_read_once(e3x, monkeypatch)


def test_packages_are_small():
    packages = ("e3any", "e3any_backends", "e3any_flax", "e3any_torch", "e3any_numpy")
    ours = [path for package in packages for path in files_of(package)]
    in_a_wheel = sum(len(zlib.compress(p.read_bytes())) for p in ours)
    assert in_a_wheel < 1e6 < 9e7 < sum(p.stat().st_size for p in files_of("e3x"))


def test_packages_are_typed():
    for package in ("e3any", "e3any_backends", "e3any_flax", "e3any_torch", "e3any_numpy"):
        assert (files(package) / "py.typed").is_file()
    assert not (files("e3x") / "py.typed").is_file()


def test_only_public_interfaces_of_jax_are_used():
    def uses_private(package: str) -> bool:
        texts = (p.read_text(encoding="utf-8") for p in Path(str(files(package))).rglob("*.py"))
        return any(re.search(r"jax\._src|jax\.core\.as_named_shape|lax\.lax\b", text) for text in texts)

    assert not any(uses_private(p) for p in ("e3any", "e3any_backends", "e3any_flax"))
    assert uses_private("e3x")
