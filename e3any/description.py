"""Layers as text, and back: what a checkpoint says of the model whose parameters it holds.

A description is JSON: ``{"version": 1, "layer": {"class": "Dense", "fields": {"features": 8, ...}}}``. Nothing of it is
executed: classes are looked up by name among the layers of :mod:`e3any.nn` and those that the caller names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from inspect import isabstract, isclass, isfunction, unwrap
from typing import Any, TypeAlias

import numpy as np
from e3any_backends.generic import dtype_name

from e3any import nn
from e3any.checks import check_dtype
from e3any.layout import Layout
from e3any.nn import initializers
from e3any.nn.layer import Layer, check_layer, check_layer_class

__all__ = ["VERSION", "describe", "layer_of"]

#: Version of the form of descriptions.
VERSION = 1

Json: TypeAlias = Any

_PUBLIC = {n: getattr(m, n) for m in (initializers, nn) for n in m.__all__}
_FUNCTIONS = {n: x for n, x in _PUBLIC.items() if isfunction(x)}
_CLASSES = {n: x for n, x in _PUBLIC.items() if isclass(x) and is_dataclass(x) and not isabstract(x)}
_CLASSES[Layout.__name__] = Layout


def describe(layer: Layer) -> str:
    """Return the description of a layer, with all of its hyper-parameters.

    Parameters
    ----------
    layer : Layer
        A layer or model. Fields may be numbers, strings, None, dtypes, arrays of NumPy, layers, layouts, initialisers,
        public functions of :mod:`e3any.nn`, ``functools.partial`` of these with options by name, and sequences.

    Returns
    -------
    str
        JSON. It is the same for equal layers.

    Raises
    ------
    TypeError
        If ``layer`` is no layer, or a field of another kind.

    Examples
    --------
    >>> from e3any import nn
    >>> layer_of(describe(nn.Dense(8))) == nn.Dense(8)
    True
    """
    check_layer(layer)
    return json.dumps({"version": VERSION, "layer": _encoded(layer, type(layer).__name__)}, sort_keys=True)


def layer_of(description: str, classes: Sequence[type[Layer]] = ()) -> Layer:
    """Return the layer that a description is of.

    Parameters
    ----------
    description : str
        What :func:`describe` has returned.
    classes : sequence of classes
        The classes of models that are not of :mod:`e3any.nn`.

    Returns
    -------
    Layer
        The layer.

    Raises
    ------
    ValueError
        If the text is no description of this version, names a class or function that is not known, or fields that a
        class does not have or accept.
    TypeError
        If a class is none of layers.
    """
    for layer_class in classes:
        check_layer_class(layer_class)
    try:
        content = json.loads(description)
    except (TypeError, ValueError) as error:
        raise ValueError(f"expected a description of a layer in JSON, got {description!r}") from error
    if not isinstance(content, dict) or content.get("version") != VERSION:
        version = content.get("version") if isinstance(content, dict) else content
        raise ValueError(f"expected a description of version {VERSION}, got {version!r}")
    layer = _decoded(content.get("layer"), _CLASSES | {c.__name__: c for c in classes})
    if not isinstance(layer, Layer):
        raise ValueError(f"expected the description of a layer, got {layer!r}")
    return layer


def _encoded(value: Any, where: str) -> Json:
    """Return a value as JSON; ``where`` is its name in errors."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_encoded(v, f"{where}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": value.dtype.name}
    if isinstance(value, Layer) or type(value) in _CLASSES.values():
        entries = {f.name: _encoded(getattr(value, f.name), f"{where}.{f.name}") for f in fields(value) if f.init}
        return {"class": type(value).__name__, "fields": entries}
    if isinstance(value, partial) and not value.args:
        options = {name: _encoded(v, f"{where}.{name}") for name, v in value.keywords.items()}
        return {**_encoded(value.func, where), "options": options}
    if isfunction(value) and _FUNCTIONS.get(value.__name__) is unwrap(value):  # adapters wrap functions
        return {"function": value.__name__}
    try:
        check_dtype(value, where)
    except TypeError:
        raise TypeError(f"expected {where} to be a hyper-parameter that can be described, got {value!r}") from None
    return dtype_name(value)


def _decoded(value: Json, classes: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return tuple(_decoded(v, classes) for v in value)
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return np.asarray(value["array"], value.get("dtype"))
    if "function" in value:
        function = _known(value["function"], _FUNCTIONS, "function")
        options = {name: _decoded(v, classes) for name, v in value.get("options", {}).items()}
        return partial(function, **options) if options else function
    if "class" not in value or not isinstance(value.get("fields"), dict):
        raise ValueError(f"expected a class and its fields, got {value!r}")
    found = _known(value["class"], classes, "class")
    arguments = {name: _decoded(v, classes) for name, v in value["fields"].items()}
    try:
        return found(**arguments)
    except TypeError as error:
        raise ValueError(f"expected fields of {found.__name__}, got {sorted(arguments)}: {error}") from error


def _known(name: Any, known: Mapping[str, Callable[..., Any]], kind: str) -> Any:
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"expected a {kind} of e3any.nn or one that is given, got {name!r}")
    return known[name]
