"""How modules of the adapters are constructed and called: signatures and documentation, from descriptions of layers."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, Signature
from typing import Any

from e3any.checks import shown
from e3any.irreps import Irreps
from e3any.layout import Layout
from e3any.nn.layer import Layer, check_layer_class

__all__ = ["call_signature", "constructor_signature", "document", "non_default_fields", "with_layouts"]


def with_layouts(
    layer_class: type[Layer], arguments: Sequence[Any], options: Mapping[str, Any]
) -> tuple[Layer, list[Layout | Irreps]]:
    """Build a layer from its hyper-parameters, and return the layouts of inputs that come before them.

    Parameters
    ----------
    layer_class : type
        Class of the description.
    arguments : sequence
        Layouts and hyper-parameters.
    options : mapping
        Hyper-parameters by name.

    Returns
    -------
    layer : e3any.nn.Layer
        The description.
    layouts : list of Layout or Irreps
        Layouts of its inputs.

    Raises
    ------
    ValueError
        If a hyper-parameter is wrong. If there is no layout, the message shows where it belongs, for users who meant
        the sizes of inputs.
    """
    # Irreps describe inputs, but beyond the number of these they are hyper-parameters: Dense(inputs, features).
    num = max(len(layer_class.layouts), sum(isinstance(a, Layout) for a in arguments))
    layouts = [a for a in arguments if isinstance(a, Layout | Irreps)][:num]
    rest = [a for a in arguments if not any(a is layout for layout in layouts)]
    try:
        return layer_class(*rest, **options), layouts
    except ValueError as error:
        if layouts or len(rest) < 2:
            raise
        example = f"{layer_class.__name__}(Layout(max_degree=0, features={shown(rest[0])}), ...)"
        raise ValueError(f"{error}; if inputs were meant, their layout comes first: {example}") from None


def constructor_signature(
    layer_class: type[Layer], *, layouts: bool = True, options: Sequence[Parameter] = ()
) -> Signature:
    """Return the signature of the constructor of a module.

    Parameters
    ----------
    layer_class : type
        Class of the description.
    layouts : bool
        Whether layouts of inputs come first, by position only.
    options : sequence of inspect.Parameter
        Further parameters of the module, by name only, for example ``generator``.

    Returns
    -------
    inspect.Signature
        Layouts, hyper-parameters, options.

    Raises
    ------
    TypeError
        If ``layer_class`` is not a class of layers.

    Examples
    --------
    >>> from e3any import nn
    >>> str(constructor_signature(nn.ExponentialBasis))
    "(initial_gamma: 'float' = 1.0, param_dtype: 'Any' = 'float32')"
    """
    check_layer_class(layer_class)
    fields = inspect.signature(layer_class).parameters.values()
    names = layer_class.layouts if layouts else ()
    first = [Parameter(name, Parameter.POSITIONAL_ONLY, annotation="Layout | Irreps") for name in names]
    return Signature([*first, *fields, *options])


def call_signature(layer_class: type[Layer]) -> Signature:
    """Return the signature of the call of a module: that of ``forward``, without parameters.

    Parameters
    ----------
    layer_class : type
        Class of the description.

    Returns
    -------
    inspect.Signature
        ``self``, then the inputs of the layer.

    Raises
    ------
    TypeError
        If ``layer_class`` is not a class of layers.
    """
    check_layer_class(layer_class)
    signature = inspect.signature(layer_class.forward)
    this, _, *inputs = signature.parameters.values()
    return signature.replace(parameters=[this, *inputs])


def document(layer_class: type[Layer], *, layouts: bool = True) -> str:
    """Return the documentation of a module: that of the layer, and how to construct and call the module.

    Parameters
    ----------
    layer_class : type
        Class of the description.
    layouts : bool
        Whether the module is constructed from layouts of inputs.

    Returns
    -------
    str
        Documentation with a section on inputs.

    Raises
    ------
    TypeError
        If ``layer_class`` is not a class of layers.
    """
    names = layer_class.layouts if layouts else ()
    required = len(names) - layer_class.num_optional_layouts
    order = ", ".join(
        f"``{name}``" if n < required else f"and ``{name}``, if there is one" for n, name in enumerate(names)
    )
    constructed = (
        f"The constructor takes first, by position, the :class:`e3any.Layout` of {order}.\n\n" if names else ""
    )
    inputs = _entries(layer_class.forward) or f"See ``forward`` of :class:`e3any.nn.{layer_class.__name__}`."
    return f"{inspect.cleandoc(layer_class.__doc__ or '')}\n\nInputs\n------\n{constructed}{inputs}\n"


def _entries(forward: Callable[..., Any]) -> str:
    """Return the documentation of the parameters of a function, without the first parameter."""
    found = re.search(r"\nParameters\n-+\n(.*?)(?=\n\n\w+\n---|\Z)", inspect.getdoc(forward) or "", re.DOTALL)
    return re.sub(r"\Ap : .*?\n(?=\w)", "", found[1], flags=re.DOTALL) if found else ""


def non_default_fields(layer: Layer) -> dict[str, Any]:
    """Return the hyper-parameters of a layer that differ from their defaults.

    Parameters
    ----------
    layer : e3any.nn.Layer
        The layer.

    Returns
    -------
    dict
        Their values by name.
    """
    fields = {f.name: f for f in dataclasses.fields(layer) if f.init}
    given = {name: f for name, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING}
    values = {name: getattr(layer, name) for name in fields}
    default = type(layer)(**{name: values[name] for name in given})
    return {name: x for name, x in values.items() if name in given or x != getattr(default, name)}
