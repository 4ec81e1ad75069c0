"""e3x, whose layers and functions have the same names and arguments as those of e3any."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import e3x
import jax
import jax.numpy as jnp
from flax import linen

from e3any import nn, so3

from .. import model
from ..frameworks.jax import JaxProgram, module_program
from ..task import Task


def program(task: Task) -> JaxProgram:
    """Return a task done by the layer or function of the same name."""
    if isinstance(task.compute, model.Energies | model.ForceField):
        return module_program(_model(task.compute), task)
    options = {k: _translated(v) for k, v in task.options.items()}
    task = dataclasses.replace(task, inputs=tuple(map(_translated, task.inputs)), options=options)
    if isinstance(task.compute, nn.Layer):
        return module_program(_layer(task.compute), task)
    function = _translated(task.compute)
    return JaxProgram(task.bind(lambda _, *a, **k: function(*a, **k)), None, jax.tree.map(jnp.asarray, task.arrays))


def _layer(layer: nn.Layer) -> Any:
    """Return the module of the same name, with the fields that have no default values; e3x's irreps have a parity."""
    fields = [f for f in dataclasses.fields(layer) if getattr(layer, f.name) != f.default and f.name != "use_parity"]
    return getattr(e3x.nn, type(layer).__name__)(**{f.name: getattr(layer, f.name) for f in fields})


def _model(description: nn.Layer) -> Any:
    """Return the same model, with the same fields."""
    twin = Energies if isinstance(description, model.Energies) else ForceField
    return twin(**{f.name: getattr(description, f.name) for f in dataclasses.fields(description)})


def _translated(value: Any) -> Any:
    """Return the function of the same name; a factored basis as one array."""
    if isinstance(value, nn.FactoredBasis):
        return value.array()
    if isinstance(value, partial):
        return partial(_translated(value.func), **value.keywords)
    if not callable(value):
        return value
    return getattr(e3x.so3 if value.__name__ in so3.__all__ else e3x.nn, value.__name__)


class Energies(linen.Module):
    """The same model. Its basis is one array, because e3x has no factored basis."""

    features: int
    max_degree: int
    passes: int

    @linen.compact
    def __call__(self, positions: Any, numbers: Any, *, adj_idx: Any) -> Any:
        """Return energies (B,) of atoms (B*N,) with lists of neighbours (B*N, N-1)."""
        basis = e3x.nn.basis(
            e3x.ops.gather_src(positions, adj_idx=adj_idx) - positions[:, None, :],
            max_degree=self.max_degree,
            num=model.NUM_RADIAL,
            radial_fn=e3x.nn.reciprocal_bernstein,
            cutoff_fn=partial(e3x.nn.smooth_cutoff, cutoff=model.CUTOFF),
        )
        x = e3x.nn.Embed(model.NUM_ELEMENTS, self.features, name="embed")(numbers)
        for i in range(self.passes):
            last = i == self.passes - 1
            message = e3x.nn.MessagePass(0 if last else None, include_pseudotensors=not last, name=f"message_{i}")
            y = message(x, basis, adj_idx=adj_idx)
            if last:
                x = e3x.nn.change_max_degree_or_type(x, max_degree=0, include_pseudotensors=False)
            y = e3x.nn.silu(e3x.nn.Dense(self.features, name=f"refine_{i}")(e3x.nn.add(x, y)))
            x = e3x.nn.add(x, e3x.nn.Dense(self.features, name=f"update_{i}")(y))
        atomic = e3x.nn.Dense(1, use_bias=False, name="energy")(x)[:, 0, 0, 0]
        return jnp.sum(atomic.reshape(-1, adj_idx.shape[1] + 1), axis=-1)


class ForceField(linen.Module):
    """The same model, with a basis that is one array."""

    features: int
    max_degree: int
    passes: int
    num_radial: int

    @linen.compact
    def __call__(self, positions: Any, numbers: Any, shifts: Any, *, dst_idx: Any, src_idx: Any) -> Any:
        """Return the energy of atoms (N,) with E pairs, displaced by shifts (E, 3) of the cell."""
        basis = e3x.nn.basis(
            e3x.ops.gather_src(positions, src_idx=src_idx) + shifts - e3x.ops.gather_dst(positions, dst_idx=dst_idx),
            max_degree=self.max_degree,
            num=self.num_radial,
            radial_fn=e3x.nn.reciprocal_bernstein,
            cutoff_fn=partial(e3x.nn.smooth_cutoff, cutoff=model.CUTOFF),
        )
        lists = {"dst_idx": dst_idx, "src_idx": src_idx, "indices_are_sorted": True}
        x = e3x.nn.Embed(model.NUM_ELEMENTS, self.features, name="embed")(numbers)
        for i in range(self.passes):
            message = e3x.nn.MessagePass(self.max_degree, include_pseudotensors=False, name=f"message_{i}")
            product = e3x.nn.TensorDense(self.features, include_pseudotensors=False, name=f"product_{i}")
            y = message(x, basis, **lists)
            y = e3x.nn.add(y, product(y))
            if i == self.passes - 1:
                x, y = (e3x.nn.change_max_degree_or_type(a, max_degree=0) for a in (x, y))
            y = e3x.nn.silu(e3x.nn.Dense(self.features, name=f"refine_{i}")(e3x.nn.add(x, y)))
            x = e3x.nn.add(x, e3x.nn.Dense(self.features, name=f"update_{i}")(y))
        return jnp.sum(e3x.nn.Dense(1, use_bias=False, name="energy")(x))
