"""Layers as frozen descriptions, and the parameters that they are applied to.

A layer is a frozen dataclass of hyper-parameters with one method ``forward(p, *inputs)``. It gets its parameters from
``p.param(name, shape, init)``, and passes ``p / name`` to the layers inside it::

    @dataclass(frozen=True)
    class Block(nn.Layer):
        features: int

        def forward(self, p, x):
            y = nn.Dense(self.features)(p / "dense", x)
            return nn.add(x, nn.silu(y))

``p`` holds the parameters: it is a nested dictionary of arrays, or an object of an adapter that also creates them.
The shape of a parameter follows from the inputs, its name from the path, for example ``dense/0+/kernel``.
"""

from __future__ import annotations

import abc
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from e3any_backends.forms.tables import lookup

from e3any.checks import check_dtype, check_flag, shown
from e3any.config import setting_or_default
from e3any.irreps import Irreps
from e3any.layout import Layout
from e3any.nn.initializers import Initializer
from e3any.nn.parameters import (
    Parameters,
    ParameterSpec,
    Recorder,
    Tree,
    TreeParameters,
    Variables,
    check_tree,
    initialize,
    is_training,
    leaves,
)

_SETTINGS = ("cartesian_order", "use_fused_tensor", "use_parity")
_DTYPES = ("dtype", "param_dtype")
# How fields are declared as flags, by type or text, and whether they can be None.
_FLAGS = {"bool": False, str(bool): False, "bool | None": True, "Optional[bool]": True, "typing.Optional[bool]": True}

__all__ = [
    "Layer",
    "ParameterSpec",
    "Parameters",
    "Variables",
    "check_layer",
    "check_layer_class",
    "check_tree",
    "initialize",
    "is_training",
    "leaves",
]


@dataclass(frozen=True)
class Layer(abc.ABC):
    """A description of a layer, or of a whole model: a frozen dataclass of hyper-parameters.

    Subclasses are frozen dataclasses that define :meth:`forward`. Calling a layer applies it to parameters, for example
    a nested mapping of arrays::

        y = layer({"kernel": kernel}, x)

    If a field has the name of a setting of :class:`~e3any.Config` and is None, it takes the setting when the layer is
    built. These fields are checked then, and so are ``dtype``, ``param_dtype`` and fields that are declared as ``bool``
    or ``bool | None``.

    Raises
    ------
    ValueError
        If a setting has an unknown value, or a field that is declared as ``bool`` is neither True nor False.
    TypeError
        If a dtype is not a floating-point dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from e3any import nn
    >>> @dataclass(frozen=True)
    ... class Block(nn.Layer):
    ...     features: int
    ...
    ...     def forward(self, p, x):
    ...         return nn.add(x, nn.silu(nn.Dense(self.features)(p / "dense", x)))
    >>> sorted(Block(8).parameters(np.ones((1, 4, 8), np.float32)))
    ['dense']
    """

    #: Inputs whose layouts the constructors of modules take, in this order, and how many of the last ones are optional.
    layouts: ClassVar[tuple[str, ...]] = ("inputs",)
    num_optional_layouts: ClassVar[int] = 0
    # Names of fields that are True or False, and whether they can be None.
    _flags: ClassVar[dict[str, bool]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        declared = {name: _FLAGS.get(str(kind)) for name, kind in inspect.get_annotations(cls).items()}
        cls._flags = {**cls._flags, **{name: found for name, found in declared.items() if found is not None}}
        for name, value in list(vars(cls).items()):
            if isinstance(value, Initializer):
                setattr(cls, name, _default(value))

    def __post_init__(self) -> None:
        for name in _SETTINGS:
            value = getattr(self, name, True)
            if value is not True and value is not False:
                object.__setattr__(self, name, setting_or_default(name, value))
        for name in _DTYPES:
            value = getattr(self, name, None)
            if value is not None and value != "float32":
                check_dtype(value, name)
        for name, is_optional in self._flags.items():
            value = getattr(self, name)
            if value is True or value is False:  # the fast way out: models build their layers at every call
                continue
            check_flag(value, f"{name} of {type(self).__name__}", optional=is_optional)
            if value is not None:
                object.__setattr__(self, name, bool(value))

    @abc.abstractmethod
    def forward(self, p: Parameters, /, *inputs: Any, **options: Any) -> Any:
        """Compute the outputs from parameters and inputs, with array API functions only."""

    def __call__(self, p: Parameters | Tree, /, *inputs: Any, **options: Any) -> Any:
        """Apply the layer.

        Parameters
        ----------
        p : Parameters or mapping
            The parameters.
        *inputs, **options
            Arguments of :meth:`forward`.

        Returns
        -------
        Any
            The result of :meth:`forward`.

        Raises
        ------
        ValueError
            If a parameter is missing or has another shape than the inputs require.
        TypeError
            If the tree is not a mapping, a parameter is not a floating-point array of the library of the inputs, or the
            layer needs statistics or random numbers that the tree lacks, see :class:`Variables`.
        """
        return self.forward(p if isinstance(p, Parameters) else TreeParameters(p), *inputs, **options)

    def example(self, *layouts: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the smallest inputs of given layouts, as NumPy arrays.

        Parameters
        ----------
        *layouts : Layout or Irreps or array
            Layouts or irreps of the inputs; arrays are returned as they are.

        Returns
        -------
        inputs : tuple
            Positional inputs.
        options : dict
            Inputs by name.
        """
        return tuple(x.example(1) if isinstance(x, Layout | Irreps) else x for x in layouts), {}

    def parameters(self, *inputs: Any, **options: Any) -> dict[str, Any]:
        """List the parameters that the layer has for given inputs.

        Parameters
        ----------
        *inputs, **options
            Example inputs as NumPy arrays, of which only shapes and dtypes matter. A :class:`~e3any.Layout` or
            :class:`~e3any.Irreps` can replace features.

        Returns
        -------
        dict
            A nested dictionary of :class:`ParameterSpec`.
        """
        tree: dict[str, Any] = {}
        self._record(tree, inputs, options)
        return tree

    def output_layout(self, *inputs: Any, **options: Any) -> Layout | Irreps:
        """Return the layout of the output for given layouts of inputs.

        Parameters
        ----------
        *inputs, **options
            See :meth:`parameters`.

        Returns
        -------
        Layout or Irreps
            Degrees, features and parities of the output; the irreps of a dictionary.

        Raises
        ------
        ValueError
            If inputs do not fit together, or the output does not have the shape of features.
        TypeError
            If the output is not an array, for example the tuple that some basis functions return.

        Examples
        --------
        >>> from e3any import Layout, nn
        >>> nn.TensorDense(features=8).output_layout(Layout(max_degree=0, features=16))
        Layout(max_degree=0, features=8, pseudotensors=False)
        """
        outputs = self._record({}, inputs, options)
        return (Irreps if isinstance(outputs, Mapping) else Layout).of(outputs, "outputs")

    def _record(self, tree: dict[str, Any], inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Apply the layer to an example, record its parameters in ``tree``, and return its outputs."""
        if any(isinstance(i, Layout | Irreps) for i in inputs) or not (inputs or options):
            inputs, found = self.example(*inputs)
            options = {**found, **options}
        return self.forward(Recorder(tree), *inputs, **options)


def _default(initializer: Initializer) -> Any:
    """Return a field with a default that compilers can trace, because they trace models that build their layers."""
    _initializers.append(initializer)
    number = len(_initializers) - 1
    return field(default_factory=lambda: lookup(_initializer, number))


_initializers: list[Initializer] = []


def _initializer(number: int) -> Initializer:
    return _initializers[number]


def check_layer(layer: Any) -> None:
    """Raise a TypeError unless ``layer`` is the description of a layer."""
    if not isinstance(layer, Layer):
        raise TypeError(f"expected the description of a layer, got {shown(layer)}")


def check_layer_class(layer_class: Any) -> None:
    """Raise a TypeError unless ``layer_class`` is a class of such descriptions."""
    if not (isinstance(layer_class, type) and issubclass(layer_class, Layer)):
        raise TypeError(f"expected a class of descriptions of layers, got {shown(layer_class)}")
