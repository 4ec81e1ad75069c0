"""Linen modules from descriptions of layers."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from e3any_backends.jax.precision import own_precision
from flax import linen
from flax.core import Scope, init, meta
from flax.errors import ScopeParamShapeError

from e3any.nn import Layer, Parameters
from e3any.nn.layer import check_layer, check_layer_class
from e3any_flax.boundary import as_jax
from e3any_flax.e3x_errors import in_words_of_e3x

__all__ = ["LayerModule", "linen_class", "to_linen"]


class _ScopeParameters(Parameters):
    """Parameters in a scope of Flax, which creates them when a module is initialised."""

    def __init__(self, scope: Scope, is_initializing: bool) -> None:
        self._scope, self._is_initializing = scope, is_initializing
        self._children: dict[str, _ScopeParameters] = {}
        self._statistics: dict[str, Any] = {}
        # Whoever initialises a module need not say whether it is trained.
        self.training = False if is_initializing else None

    @classmethod
    def of(cls, scope: Scope | None) -> _ScopeParameters:
        """Return the parameters of the scope of a module."""
        if scope is None:
            raise ValueError("expected a bound module, got one outside of init and apply")
        return cls(scope, bool(scope.get_flag("initializing", False)))

    def param(self, name: str, shape: tuple[int, ...], init: Any, dtype: Any = None) -> Any:
        # Scope.param is for parameters that are created, or missing. It would evaluate the initialiser of others as
        # well, only to learn the shape, and would refuse to return one twice, to layers that are applied twice.
        value = meta.unbox(self._scope.get_variable("params", name))
        if value is None:
            value = self._scope.param(name, init, shape, jnp.dtype(dtype or "float32"))
        if np.shape(value) != tuple(shape):
            raise ScopeParamShapeError(name, self._scope.path_text, np.shape(value), tuple(shape))
        return value

    def statistic(self, name: str, shape: tuple[int, ...], init: Any, dtype: Any = None) -> Any:
        if name not in self._statistics:
            make = partial(init, jax.random.key(0), shape, jnp.dtype(dtype or "float32"))
            self._statistics[name] = self._scope.variable("batch_stats", name, make)
        value = self._statistics[name].value
        if value.shape != tuple(shape):
            raise ValueError(f"expected statistic {name!r} of shape {tuple(shape)}, got {value.shape}")
        return value

    def update(self, name: str, value: Any) -> None:
        if not self._is_initializing:
            self._statistics[name].value = value

    def uniform(self, shape: tuple[int, ...], like: Any) -> Any:
        return jax.random.uniform(self._scope.make_rng("dropout"), shape, jnp.promote_types(like.dtype, "float32"))

    def __truediv__(self, name: str) -> _ScopeParameters:
        # One child per name: a scope that is pushed again would repeat its random numbers.
        if name not in self._children:
            self._children[name] = _ScopeParameters(self._scope.push(name, reuse=True), self._is_initializing)
        return self._children[name]


def draw(specs: Mapping[str, Any], key: Any) -> dict[str, Any]:
    """Initialise parameters as a Linen module does, without applying it.

    Parameters
    ----------
    specs : mapping
        A nested mapping of :class:`~e3any.nn.ParameterSpec`, from :meth:`~e3any.nn.Layer.parameters`.
    key : jax.Array
        The key.

    Returns
    -------
    dict
        Parameters and statistics: those of the module after ``init`` with this key.
    """

    def fill(p: Parameters, specs: Mapping[str, Any]) -> None:
        for name, spec in specs.items():
            if isinstance(spec, Mapping):
                fill(p / name, spec)
            else:
                (p.statistic if spec.is_statistic else p.param)(name, spec.shape, spec.init, spec.dtype)

    _, variables = init(lambda scope: fill(_ScopeParameters.of(scope), specs))({"params": key})
    return merged(variables.get("params", {}), variables.get("batch_stats", {}))


def merged(*trees: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the leaves of several trees into one tree."""
    tree: dict[str, Any] = {}
    for one in trees:
        for name, value in one.items():
            tree[name] = merged(tree.get(name, {}), value) if isinstance(value, Mapping) else value
    return tree


def _apply(description: Layer, scope: Scope | None, inputs: Any, options: dict[str, Any]) -> Any:
    inputs, options = as_jax((inputs, options))
    with in_words_of_e3x(), own_precision(inputs, options):
        return description(_ScopeParameters.of(scope), *inputs, **options)


class LayerModule(linen.Module):
    """A Linen module that applies a description of a layer, or of a whole model.

    Parameters
    ----------
    description : e3any.nn.Layer
        The layer. Its parameters are those of the module, under the same names; statistics, of
        :class:`e3any.nn.BatchNorm`, are in the collection ``batch_stats``, and random numbers, of
        :class:`e3any.nn.Dropout`, from the stream ``dropout``.
    """

    description: Layer

    @linen.compact
    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Apply the layer to arrays of JAX or NumPy; see ``forward`` of the description."""
        return _apply(self.description, self.scope, inputs, options)


def to_linen(layer: Layer, *, name: str | None = None) -> LayerModule:
    """Return a Linen module for any description.

    Parameters
    ----------
    layer : e3any.nn.Layer
        Description of a layer or model, the user's own included.
    name : str, optional
        Name of the module in its parent.

    Returns
    -------
    LayerModule
        The module; it takes shapes from its first call.

    Raises
    ------
    TypeError
        If ``layer`` is not a description.
    """
    check_layer(layer)
    return LayerModule(layer, name=name)


def linen_class(
    description: type[Layer], module: str, *, base: type[linen.Module] = linen.Module, name: str | None = None
) -> type[linen.Module]:
    """Return a class of Linen modules whose attributes are the hyper-parameters of a description.

    Parameters
    ----------
    description : type
        Class of the description.
    module : str
        Name of the Python module that will contain the class.
    base : type
        Base class: ``linen.Module``, or a result of this function, whose attributes the new class also has.
    name : str, optional
        Name of the class; that of the description by default.

    Returns
    -------
    type
        A subclass of :class:`flax.linen.Module`.

    Raises
    ------
    TypeError
        If ``description`` is not a class of layers.
    """
    check_layer_class(description)
    fields = dataclasses.fields(description)

    def layer(self: Any) -> Layer:
        """Return the description that the module applies."""
        values = {field.name: getattr(self, field.name) for field in fields}
        if "param_dtype" in values:
            values["param_dtype"] = jnp.dtype(values["param_dtype"]).name
        return description(**values)

    def __post_init__(self: Any) -> None:
        # Check hyper-parameters, and read settings, when a module is built.
        with in_words_of_e3x():
            taken = layer(self)
        object.__setattr__(self, "description", taken)
        for field in fields:
            if field.name != "param_dtype":
                object.__setattr__(self, field.name, getattr(taken, field.name))
        linen.Module.__post_init__(self)

    def __call__(self: Any, *inputs: Any, **options: Any) -> Any:
        """Apply the layer to arrays of JAX or NumPy; see ``forward`` of the description."""
        return _apply(self.description, self.scope, inputs, options)

    __call__.__signature__ = _without_parameters(description)  # type: ignore[attr-defined]
    members: dict[str, Any] = {}
    for field in fields:
        if field.name == "param_dtype":
            members[field.name] = jnp.float32
        elif field.default_factory is not dataclasses.MISSING:
            members[field.name] = field.default_factory()
        elif field.kw_only:
            members[field.name] = dataclasses.field(default=field.default, kw_only=True)
        elif field.default is not dataclasses.MISSING:
            members[field.name] = field.default
    members |= {
        "__annotations__": {field.name: Any for field in fields},
        "__call__": linen.compact(__call__),
        "__post_init__": __post_init__,
    }
    members |= {"__doc__": description.__doc__, "__module__": module}
    return type(name or description.__name__, (base,), members)


def _without_parameters(description: type[Layer]) -> inspect.Signature:
    """Return the signature of ``forward`` without the argument for parameters, which modules do not have."""
    signature = inspect.signature(description.forward)
    return signature.replace(parameters=[p for p in signature.parameters.values() if p.name != "p"])
