"""Layers as functions of parameters and inputs; activations, basis functions and features."""

from __future__ import annotations

import inspect

from e3any import nn as _core
from e3any.nn import *  # noqa: F403
from e3any.nn import Layer
from e3any.public_names import adopt
from e3any_numpy.function import accept_lists, function_class

__all__ = list(_core.__all__)

for _name in __all__:
    _value = getattr(_core, _name)
    if inspect.isfunction(_value):
        globals()[_name] = accept_lists(_value)
    elif inspect.isclass(_value) and issubclass(_value, Layer) and _value is not Layer:
        globals()[_name] = function_class(_value, __name__)

adopt(__name__)
