"""Descriptions of layers as JSON text, which checkpoints store beside the parameters.

For example ``{"version": 1, "layer": {"class": "Dense", "fields": {"features": 8, ...}}}``. Reading a description
executes no code from it: classes are looked up by name among the layers of :mod:`e3any.nn` and the caller's classes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, fields, is_dataclass
from functools import partial
from inspect import isabstract, isclass, isfunction, signature
from typing import Any, TypeAlias

import numpy as np
from e3any_backends.arrays import dtype_name

from e3any import nn
from e3any.checks import check_dtype, shown
from e3any.files import arrays_as_json
from e3any.files.strict_json import parse
from e3any.irreps import Irreps
from e3any.layout import Layout
from e3any.nn import initializers
from e3any.nn.layer import Layer, check_layer, check_layer_class
from e3any.public_names import core_function

__all__ = ["VERSION", "describe", "layer_of"]

#: Version of the format of descriptions.
VERSION = 1

Json: TypeAlias = Any

# Encoding and decoding recurse once per level.
_DEEPEST = 100

_PUBLIC = {n: getattr(m, n) for m in (initializers, nn) for n in m.__all__}
_FUNCTIONS = {n: x for n, x in _PUBLIC.items() if isfunction(x)}
_CLASSES = {n: x for n, x in _PUBLIC.items() if isclass(x) and is_dataclass(x) and not isabstract(x)}
_CLASSES[Layout.__name__] = Layout
_CLASSES[Irreps.__name__] = Irreps


def describe(layer: Layer) -> str:
    """Return the description of a layer, with all of its hyper-parameters.

    Parameters
    ----------
    layer : Layer
        A layer or model. Its fields can be numbers, strings, None, dtypes, NumPy arrays, layers, layouts, irreps,
        initialisers, public functions of :mod:`e3any.nn`, ``functools.partial`` of these with options by name, and
        sequences.

    Returns
    -------
    str
        JSON. Equal layers have equal descriptions.

    Raises
    ------
    TypeError
        If ``layer`` is not a layer, a field has another type, or a class has the same name as another class of
        :mod:`e3any.nn`.

    Examples
    --------
    >>> from e3any import nn
    >>> layer_of(describe(nn.Dense(8))) == nn.Dense(8)
    True
    """
    check_layer(layer)
    return json.dumps(
        {"version": VERSION, "layer": _encoded(layer, type(layer).__name__)}, sort_keys=True, allow_nan=False
    )


def layer_of(description: str, classes: Sequence[type[Layer]] = ()) -> Layer:
    """Build a layer from its description.

    Parameters
    ----------
    description : str
        A result of :func:`describe`.
    classes : sequence of classes
        Your own classes that the description may name, in addition to those of :mod:`e3any.nn`.

    Returns
    -------
    Layer
        The layer.

    Raises
    ------
    ValueError
        If the text is not a description of this version, or names an unknown class or function, or fields that a class
        does not have or accept.
    TypeError
        If one of ``classes`` is not a class of layers.
    """
    for layer_class in classes:
        check_layer_class(layer_class)
    try:
        content = parse(description)
    except (TypeError, ValueError) as error:
        message = f"expected a description of a layer in JSON, got {shown(description)}: {error}"
        raise ValueError(message) from error
    version = content.get("version") if isinstance(content, dict) else None
    if type(version) is not int or version != VERSION:
        raise ValueError(f"expected a description of version {VERSION}, got {shown(version)} in {shown(content)}")
    if content.keys() != {"version", "layer"}:
        raise ValueError(f"expected a version and a layer, got {shown(sorted(content))}")
    layer = _decoded(content["layer"], _CLASSES | {c.__name__: c for c in classes})
    if not isinstance(layer, Layer):
        raise ValueError(f"expected the description of a layer, got {shown(layer)}")
    return layer


def _encoded(value: Any, where: str, depth: int = 0) -> Json:
    """Return a value as JSON; ``where`` is its name in errors."""
    if depth > _DEEPEST:
        raise TypeError(f"expected hyper-parameters nested at most {_DEEPEST} times, got {where[:80]}...")
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, bool | int | float | str):
        return _encoded_scalar(value, where)
    if isinstance(value, list | tuple):
        return [_encoded(v, f"{where}[{i}]", depth + 1) for i, v in enumerate(value)]
    if isinstance(value, np.ndarray):
        return arrays_as_json.encoded(value, where)
    if isinstance(value, Layer) or type(value) in _CLASSES.values():
        _check_name(type(value), where)
        entries = {f.name: _encoded(getattr(value, f.name), f"{where}.{f.name}", depth + 1) for f in _given(value)}
        return {"class": type(value).__name__, "fields": entries}
    if isinstance(value, partial) and not value.args and _is_public(value.func):
        return _encoded_partial(value, where, depth)
    if _is_public(value):
        return {"function": core_function(value).__name__}
    try:
        check_dtype(value, where)
    except TypeError:
        raise TypeError(f"expected {where} to be a hyper-parameter that can be described, got {shown(value)}") from None
    return dtype_name(value)


def _encoded_scalar(value: Any, where: str) -> Json:
    """Return None, a string or a number as JSON; infinite numbers and NaN, which JSON lacks, as a dictionary."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(float(value))}
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise TypeError(f"expected {where} to be an integer of at most 64 bits, got one of {value.bit_length()}")
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        raise TypeError(f"expected {where} to be a string of whole characters, got {shown(value)}")
    return value


def _given(value: Any) -> list[Field[Any]]:
    return [f for f in fields(value) if f.init]


def _check_name(layer_class: type, where: str) -> None:
    name = layer_class.__name__
    if _CLASSES.get(name, layer_class) is not layer_class:
        raise TypeError(f"expected {where} of a class with another name than that of e3any.nn, got {name}")


def _is_public(function: Any) -> bool:
    function = core_function(function)
    return isfunction(function) and _FUNCTIONS.get(function.__name__) is function


def _encoded_partial(value: partial[Any], where: str, depth: int) -> Json:
    function = core_function(value.func)
    try:
        _check_options(function, value.keywords)
    except ValueError as error:
        raise TypeError(f"{error} at {where}") from None
    options = {name: _encoded(v, f"{where}.{name}", depth + 1) for name, v in value.keywords.items()}
    return {"function": function.__name__, "options": options}


def _check_options(function: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Raise a ValueError unless all names are those of options of a function."""
    parameters = list(signature(function).parameters.values())
    # A first parameter without a default is the input, which the layer passes itself.
    first = [p.name for p in parameters[:1] if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    known = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    any_name = any(p.kind is p.VAR_KEYWORD for p in parameters)
    unknown = sorted(set(options) & set(first) if any_name else set(options) - (known - set(first)))
    if unknown:
        raise ValueError(f"expected options of {function.__name__} among {sorted(known)}, got {shown(unknown)}")


def _decoded(value: Json, classes: Mapping[str, Any], depth: int = 0) -> Any:
    if depth > _DEEPEST:
        raise ValueError(f"expected a description nested at most {_DEEPEST} times, got one nested more deeply")
    if isinstance(value, list):
        return tuple(_decoded(v, classes, depth + 1) for v in value)
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays_as_json.decoded(value)
    if value.keys() == {"float"} and value["float"] in ("inf", "-inf", "nan"):
        return float(value["float"])
    options = value.get("options", value.get("fields", {}))
    if not isinstance(options, dict):
        raise ValueError(f"expected hyper-parameters by name, got {shown(options)}")
    if value.keys() in ({"function"}, {"function", "options"}):
        function = _known(value["function"], _FUNCTIONS, "function")
        _check_options(function, options)
        chosen = {name: _decoded(v, classes, depth + 1) for name, v in options.items()}
        return partial(function, **chosen) if "options" in value else function
    if value.keys() != {"class", "fields"}:
        raise ValueError(f"expected a class and its fields, got {shown(value)}")
    found = _known(value["class"], classes, "class")
    arguments = {name: _decoded(v, classes, depth + 1) for name, v in options.items()}
    return _constructed(found, arguments)


def _constructed(found: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    try:
        return found(**arguments)
    except Exception as error:  # a user's class may raise anything
        message = f"expected fields of {found.__name__}, got {shown(sorted(arguments))}: {error}"
        raise ValueError(message) from error


def _known(name: Any, known: Mapping[str, Callable[..., Any]], kind: str) -> Any:
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"expected a {kind} of e3any.nn or one that is given, got {shown(name)}")
    return known[name]
