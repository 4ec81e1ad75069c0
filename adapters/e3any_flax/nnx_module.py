"""NNX modules from descriptions of layers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from inspect import Parameter
from typing import Any

import jax
import numpy as np
from e3any_backends.jax.precision import own_precision
from flax import nnx

from e3any.checks import shown
from e3any.nn import Layer, Variables
from e3any.nn.interface import call_signature, constructor_signature, document, with_layouts
from e3any.nn.layer import check_layer, check_layer_class
from e3any_flax.boundary import as_jax
from e3any_flax.linen import draw

__all__ = ["LayerModule", "nnx_class", "to_nnx"]


class LayerModule(nnx.Module):
    """An NNX module that applies a description of a layer, or of a whole model.

    Parameters are :class:`flax.nnx.Param` in nodes of :class:`flax.nnx.Dict`, under the names that they have
    everywhere: ``module["0+"].kernel``, ``module.dense["0+"].kernel``. Statistics, of :class:`e3any.nn.BatchNorm`, are
    :class:`flax.nnx.BatchStat`, which training updates. ``module.train()`` and ``module.eval()`` switch between
    training, the initial mode, and inference.

    Parameters
    ----------
    description : e3any.nn.Layer
        The layer. Its parameters are those of the module, under the same names.
    *inputs : Layout or array
        Layouts or examples of the inputs: only layouts, shapes and dtypes matter.
    rngs : flax.nnx.Rngs
        Source of initial parameters: one key of the stream ``params``. The parameters are those of the Linen module of
        the description after ``init`` with this key.
    **options
        Inputs by name, for example index lists.

    Raises
    ------
    ValueError
        If parameters depend on inputs and there are none, or if NNX modules have an attribute with the name of a
        parameter.
    TypeError
        If ``description`` is not a description of a layer.
    """

    def __init__(self, description: Layer, *inputs: Any, rngs: nnx.Rngs, **options: Any) -> None:
        check_layer(description)
        if not (inputs or options or description.example()[0]):
            name = type(description).__name__
            raise ValueError(f"expected layouts or examples of the inputs of {name}, got none")
        self.description = description
        self.deterministic = False
        inputs, options = jax.tree.map(_to_numpy, (inputs, options))
        specs = description.parameters(*inputs, **options)
        _register(self, draw(specs, rngs.params()), specs)

    def __call__(self, *inputs: Any, rngs: nnx.Rngs | None = None, **options: Any) -> Any:
        """Apply the layer to arrays of JAX or NumPy; see ``forward`` of the description.

        Random numbers, of :class:`e3any.nn.Dropout`, come from the stream ``dropout`` of ``rngs``.
        """
        inputs, options = as_jax((inputs, options))
        key = None if rngs is None else rngs.dropout()
        tree = _parameters(self)
        variables = Variables(tree, generator=key, training=not self.deterministic)
        with own_precision(tree, inputs, options):
            outputs = self.description(variables, *inputs, **options)
        for path, value in variables.changes.items():
            *names, last = path.split("/")
            vars(reduce(lambda node, name: vars(node)[name], names, self))[last].set_value(value)
        return outputs

    def __getitem__(self, name: str) -> Any:
        """Return a node or a parameter by name, also if the name is not a Python identifier."""
        return vars(self)[name]


def _to_numpy(x: Any) -> Any:
    if isinstance(x, jax.core.Tracer | jax.ShapeDtypeStruct):
        return np.zeros(x.shape, x.dtype)
    return np.asarray(x) if isinstance(x, jax.Array) else x


def _register(node: nnx.Module, tree: Mapping[str, Any], specs: Mapping[str, Any]) -> None:
    for name, value in tree.items():
        if hasattr(node, name):
            raise ValueError(f"expected names that are no attributes of {type(node).__name__}, got {shown(name)}")
        if isinstance(value, Mapping):
            setattr(node, name, nnx.Dict())
            _register(getattr(node, name), value, specs[name])
        else:
            setattr(node, name, (nnx.BatchStat if specs[name].is_statistic else nnx.Param)(value))


def _parameters(node: nnx.Module) -> dict[str, Any]:
    """Return the arrays of a module as a nested dictionary."""
    tree: dict[str, Any] = {}
    for name, value in vars(node).items():
        if isinstance(value, nnx.Variable):
            tree[name] = value[...]
        elif isinstance(value, nnx.Dict):
            tree[name] = _parameters(value)
    return tree


def to_nnx(layer: Layer, *inputs: Any, rngs: nnx.Rngs, **options: Any) -> LayerModule:
    """Return an NNX module for any description.

    Parameters
    ----------
    layer : e3any.nn.Layer
        Description of a layer or model, the user's own included.
    *inputs, rngs, **options
        See :class:`LayerModule`.

    Returns
    -------
    LayerModule
        The module.

    Raises
    ------
    ValueError, TypeError
        See :class:`LayerModule`.
    """
    return LayerModule(layer, *inputs, rngs=rngs, **options)


_RNGS = Parameter("rngs", Parameter.KEYWORD_ONLY, annotation=nnx.Rngs)


def nnx_class(description: type[Layer], module: str) -> type[LayerModule]:
    """Return a class of modules that is constructed from layouts of inputs and hyper-parameters.

    Parameters
    ----------
    description : type
        Class of the description.
    module : str
        Name of the Python module that will contain the class.

    Returns
    -------
    type
        A subclass of :class:`LayerModule` of the same name. Its leading arguments that are layouts describe the
        inputs; all others are hyper-parameters, and ``rngs``.

    Raises
    ------
    TypeError
        If ``description`` is not a class of layers.
    """
    check_layer_class(description)

    def __init__(self: LayerModule, *arguments: Any, rngs: nnx.Rngs, **options: Any) -> None:
        layer, layouts = with_layouts(description, arguments, options)
        LayerModule.__init__(self, layer, *layouts, rngs=rngs)

    def __call__(self: LayerModule, *inputs: Any, rngs: nnx.Rngs | None = None, **options: Any) -> Any:
        return LayerModule.__call__(self, *inputs, rngs=rngs, **options)

    call = call_signature(description)
    named = [p for p in call.parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
    others = [p for p in call.parameters.values() if p.kind is Parameter.VAR_KEYWORD]
    __call__.__signature__ = call.replace(parameters=[*named, _RNGS.replace(default=None), *others])  # type: ignore[attr-defined]
    __call__.__doc__ = LayerModule.__call__.__doc__
    members = {"__init__": __init__, "__call__": __call__, "__doc__": document(description), "__module__": module}
    members["__signature__"] = constructor_signature(description, options=[_RNGS])
    return type(description.__name__, (LayerModule,), members)
