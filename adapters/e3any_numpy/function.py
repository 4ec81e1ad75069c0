"""Functions of NumPy arrays and lists from descriptions of layers and from functions of arrays."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from e3any.nn import Layer
from e3any.nn.interface import constructor_signature, document
from e3any.nn.layer import check_layer, check_layer_class, initialize

__all__ = ["LayerFunction", "accept_lists", "function_class", "to_numpy"]


def as_array(x: Any) -> Any:
    """Return a list as an array, and anything else unchanged."""
    return np.asarray(x) if isinstance(x, list) else x


def accept_lists(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function of arrays accept lists as well."""

    @functools.wraps(function)
    def wrapped(*inputs: Any, **options: Any) -> Any:
        return function(*map(as_array, inputs), **{name: as_array(x) for name, x in options.items()})

    return wrapped


class LayerFunction:
    """A function that applies a description of a layer to parameters and inputs.

    Parameters
    ----------
    description : e3any.nn.Layer
        The layer.

    Raises
    ------
    TypeError
        If ``description`` is not a description of a layer.
    """

    def __init__(self, description: Layer) -> None:
        check_layer(description)
        self.description = description

    def init(self, rng: np.random.Generator, *inputs: Any, **options: Any) -> dict[str, Any]:
        """Initialise parameters for inputs.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of random numbers.
        *inputs, **options
            Inputs of the layer, or :class:`~e3any.Layout` for features.

        Returns
        -------
        dict
            A nested dictionary of arrays.
        """
        inputs = tuple(map(as_array, inputs))
        return initialize(self.description.parameters(*inputs, **{k: as_array(x) for k, x in options.items()}), rng)

    def __call__(self, params: Mapping[str, Any], *inputs: Any, **options: Any) -> Any:
        """Apply the layer to a nested mapping of arrays and to inputs; see ``forward`` of the description."""
        return accept_lists(self.description)(params, *inputs, **options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.description!r})"


def to_numpy(layer: Layer) -> LayerFunction:
    """Return a function of NumPy arrays for any description.

    Parameters
    ----------
    layer : e3any.nn.Layer
        Description of a layer or model, the user's own included.

    Returns
    -------
    LayerFunction
        The function.

    Raises
    ------
    TypeError
        If ``layer`` is not a description.
    """
    return LayerFunction(layer)


def function_class(description: type[Layer], module: str) -> type[LayerFunction]:
    """Return a class of functions that is constructed from the hyper-parameters of a description.

    Parameters
    ----------
    description : type
        Class of the description.
    module : str
        Name of the Python module that will contain the class.

    Returns
    -------
    type
        A subclass of :class:`LayerFunction` of the same name.

    Raises
    ------
    TypeError
        If ``description`` is not a class of layers.
    """
    check_layer_class(description)

    def __init__(self: LayerFunction, *arguments: Any, **options: Any) -> None:
        LayerFunction.__init__(self, description(*arguments, **options))

    members = {"__init__": __init__, "__doc__": document(description, layouts=False), "__module__": module}
    members["__signature__"] = constructor_signature(description, layouts=False)
    return type(description.__name__, (LayerFunction,), members)
