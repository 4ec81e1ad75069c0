"""Derivatives of energies with JAX, of descriptions and of modules of Flax."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from importlib import import_module
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from e3any.checks import cut
from e3any.nn import Layer
from e3any_ase.elements import names, of_embeddings
from e3any_ase.energies import Derivatives, total_energy

__all__ = ["JaxEvaluator", "is_module"]

_logger = logging.getLogger("e3any")
_INPUTS = ("numbers", "vectors", "dst_idx", "src_idx")
# An array of a program, and whether it depends on the inputs of the model.
_Traced: TypeAlias = tuple[Any, bool]
# Steps of a program that call another one, whose inputs are theirs.
_CALLS = ("jit", "pjit", "closed_call", "core_call", "checkpoint", "remat", "custom_jvp_call", "custom_vjp_call")


class JaxEvaluator:
    """A description, a Linen module or an NNX module, compiled; see :class:`e3any_ase.ModelCalculator`.

    Parameters
    ----------
    model : e3any.nn.Layer, flax.linen.Module or flax.nnx.Module
        The model.
    params : mapping, optional
        Its parameters, or the variables of a Linen module.
    dtype : {'float32', 'float64'}, optional
        Precision; that of parameters by default, or float32 for a description.
    device : str, optional
        The device, for example ``"cuda"`` or ``"cuda:1"``; the default device of JAX by default.

    Raises
    ------
    ValueError
        If parameters are missing, or given for an NNX module, which contains its own, or JAX has no such device.
    """

    def __init__(
        self, model: Any, params: Mapping[str, Any] | None, dtype: str | None, device: str | None = None
    ) -> None:
        # The name, and not the device: this can be pickled.
        self._device = device
        _on(device)
        self._apply, tree = _functional(model, params)
        self.dtype = dtype or ("float32" if isinstance(model, Layer) else _dtype_of(tree))
        # NumPy arrays keep their precision, independently of jax_enable_x64, and can be pickled.
        self._params = jax.tree.map(partial(_as_numpy, self.dtype), tree)
        self.elements = of_embeddings(_nested(self._params))
        self._compiled: Any = None
        self._has_rows: set[int] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_compiled": None}

    def __call__(self, structure: Mapping[str, Any], /) -> Derivatives:
        """Return energies and derivatives of a padded structure."""
        # The setting of the process may have changed since the calculator was made.
        with jax.enable_x64(True) if self.dtype == "float64" else nullcontext(), _on(self._device):
            self._check_tables({name: _as_numpy(self.dtype, structure[name]) for name in _INPUTS})
            if self._compiled is None:
                self._compiled = jax.jit(partial(_differentiate, self._apply))
            rest = {name: _as_numpy(self.dtype, x) for name, x in {**structure, "axes": np.eye(3)}.items()}
            moves = np.zeros((len(structure["numbers"]), 3), self.dtype)
            found = self._compiled(self._params, moves, np.zeros((3, 3), self.dtype), rest)
            return Derivatives(*map(np.asarray, found))

    def _check_tables(self, inputs: Mapping[str, Any]) -> None:
        """Raise a ValueError if a table of the model has no row for an element."""
        # JAX does not raise for an index out of bounds, it uses the last row:
        # https://docs.jax.dev/en/latest/notebooks/Common_Gotchas_in_JAX.html#out-of-bounds-indexing
        new = set(inputs["numbers"].tolist()) - self._has_rows - {0}
        if not new:
            return
        # Atoms of one element and no padding, which is out of bounds on purpose.
        graph = {name: np.ones_like(x) if name == "vectors" else np.zeros_like(x) for name, x in inputs.items()}
        reads = jax.jit(partial(_reads_outside, self._apply))
        for number in sorted(new):
            try:
                is_outside = bool(reads(self._params, graph | {"numbers": graph["numbers"] + number}))
            except NotImplementedError as error:
                _logger.debug("whether tables have rows for %s is not known: %s", number, cut(str(error)))
                return
            if is_outside:
                raise ValueError(f"expected elements that all tables of the model have rows for, got {names([number])}")
            self._has_rows.add(number)


def _on(name: str | None) -> AbstractContextManager[Any]:
    """Return a context in which JAX computes on a device, by its name, or on its default device."""
    if name is None:
        return nullcontext()
    platform, _, number = name.partition(":")
    try:
        return jax.default_device(jax.devices(platform)[int(number or 0)])
    except (RuntimeError, ValueError, IndexError) as error:
        raise ValueError(f"expected the name of a device of JAX, such as 'cuda:0', got {name!r}") from error


def _reads_outside(apply: Callable[..., Any], params: Any, inputs: Mapping[str, Any]) -> Any:
    """Return whether the model reads out of bounds of a table: an array that does not depend on its inputs."""
    # Arrays that do can be padded by the model itself, as lists of edges are. Parameters become constants.
    program = jax.make_jaxpr(lambda inputs: apply(params, **inputs))(inputs)
    outside: list[Any] = []
    _interpret(program.jaxpr, program.consts, [(x, True) for x in jax.tree.leaves(inputs)], outside)
    # The compiler removes everything that no index depends on.
    return jnp.any(jnp.asarray(outside, bool))


def _interpret(jaxpr: Any, consts: Sequence[Any], inputs: Sequence[_Traced], outside: list[Any]) -> list[_Traced]:
    """Evaluate a program, and note for each read of a table whether an index is out of bounds.

    The way is that of https://docs.jax.dev/en/latest/notebooks/Writing_custom_interpreters_in_Jax.html. Loops and
    branches are evaluated as they are: what they read is not seen.
    """
    known = dict(zip(jaxpr.constvars, ((x, False) for x in consts), strict=True))
    known |= dict(zip(jaxpr.invars, inputs, strict=True))

    def read(atoms: Sequence[Any]) -> list[_Traced]:
        return [(x.val, False) if isinstance(x, Literal) else known[x] for x in atoms]

    for step in jaxpr.eqns:
        given = read(step.invars)
        inner = step.params.get("jaxpr", step.params.get("call_jaxpr"))
        if step.primitive.name in _CALLS and inner is not None:
            results = _interpret(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), given, outside)
        else:
            if step.primitive.name == "gather" and not given[0][1]:
                outside.append(_is_outside(given[0][0], given[1][0], step.params))
            options = step.primitive.get_bind_params(step.params)
            # Before JAX 0.10 functions stand beside the options.
            functions, options = options if isinstance(options, tuple) else ((), options)
            found = step.primitive.bind(*functions, *(x for x, _ in given), **options)
            depends = any(is_dependent for _, is_dependent in given)
            results = [(x, depends) for x in (found if step.primitive.multiple_results else [found])]
        known |= dict(zip(step.outvars, results, strict=True))
    return read(jaxpr.outvars)


def _is_outside(table: Any, indices: Any, options: Mapping[str, Any]) -> Any:
    """Return whether an index of a gather is out of bounds."""
    axes = options["dimension_numbers"].start_index_map
    last = np.asarray([table.shape[axis] - options["slice_sizes"][axis] for axis in axes])
    return jnp.any((indices < 0) | (indices > last))


def _differentiate(apply: Callable[..., Any], params: Any, moves: Any, strain: Any, structure: Any) -> Any:
    energy = jax.value_and_grad(partial(total_energy, partial(apply, params)), argnums=(0, 1), has_aux=True)
    (_, energies), gradients = energy(moves, strain, structure)
    return energies, *gradients


def _functional(model: Any, params: Mapping[str, Any] | None) -> tuple[Callable[..., Any], Any]:
    """Return a model as a function of its parameters, which can be pickled, and the parameters."""
    if is_module(model, "nnx"):
        if params is not None:
            raise ValueError("expected no params with an NNX module, which holds its own, got some")
        return _functional_nnx(model)
    if params is None:
        raise ValueError(f"expected params of {type(model).__name__}, got none")
    if isinstance(model, Layer):
        return partial(_apply_layer, model), params
    return partial(_apply_linen, model), params if "params" in params else {"params": params}


def _functional_nnx(model: Any) -> tuple[Callable[..., Any], Any]:
    from flax import nnx

    module = nnx.clone(model)
    module.eval()
    definition, state = nnx.split(module)
    return partial(_apply_nnx, definition), state


def _apply_layer(model: Layer, params: Any, numbers: Any, vectors: Any, **lists: Any) -> Any:
    return model(params, numbers, vectors, **lists)


def _apply_linen(model: Any, variables: Any, numbers: Any, vectors: Any, **lists: Any) -> Any:
    return model.apply(variables, numbers, vectors, **lists)


def _apply_nnx(definition: Any, state: Any, numbers: Any, vectors: Any, **lists: Any) -> Any:
    from flax import nnx

    return nnx.merge(definition, state)(numbers, vectors, **lists)


def is_module(model: Any, kind: str) -> bool:
    """Return whether a model is a module of ``flax.linen`` or ``flax.nnx``."""
    return isinstance(model, import_module(f"flax.{kind}").Module)


def _as_numpy(dtype: str, x: Any) -> Any:
    """Return real numbers as a NumPy array of a dtype; return integers and random keys unchanged."""
    if not hasattr(x, "dtype") or not jnp.issubdtype(x.dtype, jnp.floating):
        return x
    return np.asarray(x).astype(dtype)


def _dtype_of(tree: Any) -> str:
    """Return float64 if a parameter has it, else float32."""
    return "float64" if any(getattr(x, "dtype", None) == np.float64 for x in jax.tree.leaves(tree)) else "float32"


def _nested(tree: Any) -> dict[str, Any]:
    """Return the leaves of any tree under the names on their paths."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {".".join(_name(key) for key in path if _name(key) != "value"): leaf for path, leaf in leaves}


def _name(key: Any) -> str:
    return str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key))))
