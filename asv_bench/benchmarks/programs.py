"""What is measured: one operation of one library, as a function of parameters and inputs, in several modes.

Every operation maps a competitor and sizes to a :class:`Program`; modes turn a program into a call without arguments
that returns when the work is done. Peers get the same numbers as inputs, and are imported when they are asked for.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from e3any_flax import to_linen
from e3any_numpy import to_numpy
from e3any_torch import to_torch

from e3any import nn, so3
from e3any.nn.initializers import allowed_couplings

sys.path.append(str(Path(__file__).parents[2] / "docs" / "examples"))

#: "forward"; "backward": with all first derivatives; "second": all derivatives of the gradient by the first input.
MODES = ("forward", "backward", "second")


@dataclass(frozen=True)
class Program:
    """A function ``apply(params, *inputs)`` in a framework, with what it is applied to."""

    framework: str
    apply: Callable[..., Any]
    params: Any
    inputs: tuple[Any, ...]

    def call(self, mode: str) -> Callable[[], Any]:
        """Return a call that does the work once."""
        if self.framework == "jax":
            return self._call_jax(mode)
        if self.framework == "torch":
            return self._call_torch(mode)
        if mode != "forward":
            raise NotImplementedError("NumPy has no derivatives")
        return partial(self.apply, self.params, *self.inputs)

    def _call_jax(self, mode: str) -> Callable[[], Any]:
        inexact = [i for i, x in enumerate(self.inputs, start=1) if jnp.issubdtype(jnp.result_type(x), jnp.inexact)]

        def loss(*args: Any) -> Any:
            return jnp.sum(self.apply(*args) ** 2)

        def slope(*args: Any) -> Any:
            return jnp.sum(jax.grad(loss, 1)(*args) ** 2)

        argnums = (0, *inexact)
        functions = {
            "forward": self.apply,
            "backward": jax.value_and_grad(loss, argnums),
            "second": jax.value_and_grad(slope, argnums),
        }
        function = jax.jit(functions[mode])
        return lambda: jax.block_until_ready(function(self.params, *self.inputs))

    def _call_torch(self, mode: str) -> Callable[[], Any]:
        leaves = [x for x in (*_leaves(self.params), *self.inputs) if x.dtype.is_floating_point]

        def forward() -> Any:
            with torch.no_grad():
                return self.apply(self.params, *self.inputs)

        def backward() -> Any:
            for x in leaves:
                x.requires_grad_()
            value = torch.sum(self.apply(self.params, *self.inputs) ** 2)
            if mode == "second":
                (gradient,) = torch.autograd.grad(value, self.inputs[0], create_graph=True)
                value = torch.sum(gradient**2)
            return torch.autograd.grad(value, leaves, allow_unused=True)

        return forward if mode == "forward" else backward


def _leaves(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return [leaf for value in tree.values() for leaf in _leaves(value)]
    return [] if tree is None else [tree]


def _program(framework: str, layer: nn.Layer, inputs: tuple[Any, ...], options: dict[str, Any]) -> Program:
    """Return a layer of e3any in a framework; inputs are of NumPy."""
    if framework == "jax":
        module = to_linen(layer)
        params = jax.jit(partial(module.init, **options))(jax.random.key(0), *inputs)
        return Program("jax", partial(module.apply, **options), params, jax.tree.map(jnp.asarray, inputs))
    if framework == "torch":
        module = to_torch(layer, *inputs, **options)
        options = {k: torch.from_numpy(v) for k, v in options.items()}
        params = {k: v.detach() for k, v in module.named_parameters()}

        def apply(params: Any, *inputs: Any) -> Any:
            return torch.func.functional_call(module, params, _packed(inputs), options)

        return Program("torch", apply, params, _flat(inputs))
    function = to_numpy(layer)
    return Program(
        "numpy", partial(function, **options), function.init(np.random.default_rng(0), *inputs, **options), inputs
    )


def _flat(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return tensors, a factored basis as its two parts."""
    parts = [part for x in inputs for part in (x if isinstance(x, tuple) else (x,))]
    return tuple(torch.from_numpy(part) for part in parts)


def _packed(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (inputs[0], nn.FactoredBasis(*inputs[1:])) if len(inputs) == 3 else inputs


def spherical_harmonics(competitor: str, max_degree: int, num: int = 10_000) -> Program:
    """Spherical harmonics of ``num`` points."""
    r = np.random.default_rng(0).normal(size=(num, 3)).astype(np.float32)
    if competitor == "numpy":
        return Program("numpy", lambda _, r: so3.spherical_harmonics(r, max_degree), None, (r,))
    if competitor == "jax":
        return Program("jax", lambda _, r: so3.spherical_harmonics(r, max_degree), None, (jnp.asarray(r),))
    if competitor == "e3x":
        import e3x

        return Program("jax", lambda _, r: e3x.so3.spherical_harmonics(r, max_degree), None, (jnp.asarray(r),))
    if competitor == "torch":
        return Program("torch", lambda _, r: so3.spherical_harmonics(r, max_degree), None, (torch.from_numpy(r),))
    if competitor == "e3nn":
        from e3nn import o3

        irreps = list(range(max_degree + 1))
        return Program("torch", lambda _, r: o3.spherical_harmonics(irreps, r, True), None, (torch.from_numpy(r),))
    if competitor == "sphericart":
        import sphericart.torch

        module = sphericart.torch.SphericalHarmonics(max_degree)
        return Program("torch", lambda _, r: module(r), None, (torch.from_numpy(r),))
    raise ValueError(f"expected a competitor, got {competitor!r}")


def tensor(competitor: str, max_degree: int, parities: int, features: int, num: int = 256) -> Program:
    """All couplings of two features, feature by feature."""
    rng = np.random.default_rng(0)
    shape = (num, parities, (max_degree + 1) ** 2, features)
    x, y = (rng.normal(size=shape).astype(np.float32) for _ in range(2))
    layer = nn.Tensor(include_pseudotensors=parities == 2)
    if competitor in ("jax", "torch", "numpy"):
        return _program(competitor, layer, (x, y), {})
    if competitor == "e3x":
        import e3x

        module = e3x.nn.Tensor(include_pseudotensors=parities == 2)
        return Program("jax", module.apply, module.init(jax.random.key(0), x, y), (jnp.asarray(x), jnp.asarray(y)))
    if competitor == "e3nn":
        module = _e3nn_tensor(max_degree, parities, features)
        width = module.irreps_in1.dim
        inputs = tuple(torch.from_numpy(a.reshape(num, width)) for a in (x, y))
        weights = torch.randn(module.weight_numel)
        return Program("torch", lambda w, x, y: module(x, y, w), weights, inputs)
    raise ValueError(f"expected a competitor, got {competitor!r}")


def _e3nn_tensor(max_degree: int, parities: int, features: int) -> Any:
    """Return the 'uuu' tensor product of e3nn with the same couplings, compiled by TorchScript as by default."""
    from e3nn import o3

    signs = ((1, -1), (-1, 1))[:parities]
    irreps = o3.Irreps([(features, (l, pair[l % 2])) for pair in signs for l in range(max_degree + 1)])
    paths = [
        (i, j, k, "uuu", True)
        for i, (_, a) in enumerate(irreps)
        for j, (_, b) in enumerate(irreps)
        for k, (_, c) in enumerate(irreps)
        if c in a * b
    ]
    return o3.TensorProduct(irreps, irreps, irreps, paths, shared_weights=True, internal_weights=False)


def message_pass(
    competitor: str, max_degree: int, parities: int, features: int, num: int = 128, degree: int = 20
) -> Program:
    """Messages from ``degree`` neighbours to each of ``num`` nodes, on a dense list, with filters of 8 functions."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(num, parities, (max_degree + 1) ** 2, features)).astype(np.float32)
    r = rng.normal(size=(num, degree, 3)).astype(np.float32)
    options = {"adj_idx": rng.integers(0, num, (num, degree))}
    basis = nn.basis(r, max_degree=max_degree, num=8, radial_fn=nn.reciprocal_bernstein, factored=True)
    layer = nn.MessagePass(include_pseudotensors=parities == 2)
    if competitor in ("jax", "torch", "numpy"):
        return _program(competitor, layer, (x, basis), options)
    if competitor == "jax (array basis)":
        return _program("jax", layer, (x, basis.array()), options)
    if competitor == "e3x":
        import e3x

        module = e3x.nn.MessagePass(include_pseudotensors=parities == 2, use_fused_tensor=False)
        inputs = jnp.asarray(x), jnp.asarray(basis.array())
        params = module.init(jax.random.key(0), *inputs, **options)
        return Program("jax", partial(module.apply, **options), params, inputs)
    if competitor == "torch einsum":
        return _einsum_message_pass(layer, x, basis.array(), options["adj_idx"])
    raise ValueError(f"expected a competitor, got {competitor!r}")


def _einsum_message_pass(layer: nn.MessagePass, x: Any, basis: Any, adj_idx: Any) -> Program:
    """Return the layer as one would write it down in PyTorch: filters for every edge, coupled by one dense table."""
    program = _program("torch", layer, (x, basis), {"adj_idx": adj_idx})
    max_degree = math.isqrt(x.shape[-2]) - 1
    degree = torch.from_numpy(np.repeat(np.arange(max_degree + 1), 2 * np.arange(max_degree + 1) + 1))
    table = torch.from_numpy(so3.clebsch_gordan(max_degree, max_degree, max_degree).astype(np.float32))
    shape = program.params["tensor.kernel"].shape[:-1]
    mask = torch.from_numpy(allowed_couplings(*shape).astype(np.float32))
    index = torch.from_numpy(adj_idx)

    def apply(params: Any, x: Any, basis: Any) -> Any:
        kernels = torch.stack([params[f"filter.{l}{'+-'[l % 2]}.kernel"] for l in range(max_degree + 1)])
        filters = torch.einsum("ijlk,lkf->ijlf", basis[:, :, 0], kernels[degree])
        kernel = (params["tensor.kernel"] * mask[..., None])[0]
        kernel = kernel[degree][:, :, degree][:, :, :, :, degree]
        couplings = torch.einsum("lmn,lqmrnf->lqmrnf", table, kernel)
        return torch.einsum("ijlf,ijqmf,lqmrnf->ijrnf", filters, x[index], couplings).sum(1)

    return Program("torch", apply, program.params, program.inputs)


def training_step(competitor: str, batch_size: int = 8) -> Callable[[], Any]:
    """Return a call of one step of the force field in the examples: energies, forces and their derivatives."""
    import force_field
    import force_field_data

    split = force_field_data.load(force_field_data.ETHANOL).split(gap=20)
    model = force_field.Energy(scale=split.train.scale())
    field = force_field.force_field({"jax": "flax"}.get(competitor, competitor), model, split.train)
    batch = next(split.train.batches(batch_size))
    return partial(field.step, batch, 1e-3)
