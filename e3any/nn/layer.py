"""Layers as frozen descriptions, and the parameters that they are applied to.

A layer is a frozen dataclass of hyper-parameters with one method ``forward(p, *inputs)``. It asks ``p`` for the
parameters that it needs, ``p.param(name, shape, init)``, and hands ``p / name`` to the layers that it consists of::

    @dataclass(frozen=True)
    class Block(nn.Layer):
        features: int

        def forward(self, p, x):
            y = nn.Dense(self.features)(p / "dense", x)
            return nn.add(x, nn.silu(y))

``p`` is whatever holds the parameters: a nested dictionary of arrays, or an object of an adapter that creates them.
So shapes follow from the inputs, and names are the path that is written down.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from e3any_backends import backend_of
from e3any_backends.generic import dtype_name
from e3any_backends.tables import lookup

from e3any.checks import check_dtype
from e3any.config import setting_or_default
from e3any.layout import Layout
from e3any.nn.initializers import Initializer

Array: TypeAlias = Any
Tree: TypeAlias = Mapping[str, Any]

_SETTINGS = ("cartesian_order", "use_fused_tensor")
_DTYPES = ("dtype", "param_dtype")

__all__ = [
    "Layer",
    "ParameterSpec",
    "Parameters",
    "check_layer",
    "check_layer_class",
    "check_tree",
    "initialize",
    "leaves",
]


class Parameters(abc.ABC):
    """A node in a tree of parameters."""

    @abc.abstractmethod
    def param(self, name: str, shape: tuple[int, ...], init: Any, dtype: Any = None) -> Array:
        """Return the parameter of a name.

        Parameters
        ----------
        name : str
            Its name in this node.
        shape : tuple of int
            The shape that it must have.
        init : Initializer or callable
            How it is drawn; see :mod:`e3any.nn.initializers`.
        dtype : optional
            The dtype that it is created with; float32 by default.

        Returns
        -------
        array
            The parameter.
        """

    @abc.abstractmethod
    def __truediv__(self, name: str) -> Parameters:
        """Return the child node of a name."""


@dataclass(frozen=True)
class Layer(abc.ABC):
    """A description of a layer, or of a whole model: a frozen dataclass of hyper-parameters.

    Subclasses are frozen dataclasses that define :meth:`forward`. Calling a layer applies it to parameters, which may
    be a nested mapping of arrays::

        y = layer({"kernel": kernel}, x)

    A field that bears the name of a setting of :class:`~e3any.Config` and is None takes its value when the layer is
    built. It is checked then, as are fields ``dtype`` and ``param_dtype``.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, value in list(vars(cls).items()):
            if isinstance(value, Initializer):
                setattr(cls, name, _default(value))

    def __post_init__(self) -> None:
        for name in _SETTINGS:
            if hasattr(self, name):
                object.__setattr__(self, name, setting_or_default(name, getattr(self, name)))
        for name in _DTYPES:
            check_dtype(getattr(self, name, None), name)

    @abc.abstractmethod
    def forward(self, p: Parameters, /, *inputs: Any, **options: Any) -> Any:
        """Compute the outputs from parameters and inputs, with array API functions only."""

    def __call__(self, p: Parameters | Tree, /, *inputs: Any, **options: Any) -> Any:
        """Apply the layer.

        Parameters
        ----------
        p : Parameters or mapping
            Where the layer finds its parameters.
        *inputs, **options
            What :meth:`forward` takes.

        Returns
        -------
        Any
            What :meth:`forward` returns.

        Raises
        ------
        ValueError
            If a parameter is missing or has another shape than the inputs require.
        TypeError
            If the tree is no mapping, or a parameter no floating-point array of the library of the inputs.
        """
        return self.forward(p if isinstance(p, Parameters) else _TreeParameters(p), *inputs, **options)

    def example(self, *layouts: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the smallest inputs of given layouts, as NumPy arrays.

        Parameters
        ----------
        *layouts : Layout or array
            What the layer is to be applied to; arrays are passed on.

        Returns
        -------
        inputs : tuple
            Positional inputs.
        options : dict
            Inputs by name.
        """
        return tuple(x.example(1) if isinstance(x, Layout) else x for x in layouts), {}

    def parameters(self, *inputs: Any, **options: Any) -> dict[str, Any]:
        """List the parameters that the layer has for given inputs.

        Parameters
        ----------
        *inputs, **options
            Example inputs, of NumPy; only their shapes and dtypes matter. A :class:`~e3any.Layout` may stand for
            the features that it describes.

        Returns
        -------
        dict
            A nested dictionary of :class:`ParameterSpec`.
        """
        if any(isinstance(i, Layout) for i in inputs) or not (inputs or options):
            inputs, found = self.example(*inputs)
            options = {**found, **options}
        tree: dict[str, Any] = {}
        self.forward(_Recorder(tree), *inputs, **options)
        return tree


def _default(initializer: Initializer) -> Any:
    """Return a field with a default that compilers can hand on: they trace models that construct their layers."""
    _initializers.append(initializer)
    number = len(_initializers) - 1
    return field(default_factory=lambda: lookup(_initializer, number))


_initializers: list[Initializer] = []


def _initializer(number: int) -> Initializer:
    return _initializers[number]


@dataclass(frozen=True)
class ParameterSpec:
    """Shape, dtype and initialiser of a parameter that is yet to be created."""

    shape: tuple[int, ...]
    init: Initializer | Callable[..., Any]
    dtype: Any = None


class _TreeParameters(Parameters):
    """Parameters that exist, in a nested mapping."""

    def __init__(self, tree: Tree, path: str = "") -> None:
        if not isinstance(tree, Mapping):
            raise TypeError(f"expected a mapping of parameters at {path or 'the root'!r}, got {type(tree).__name__}")
        self._tree = tree
        self._path = path

    def param(self, name: str, shape: tuple[int, ...], init: Any, dtype: Any = None) -> Array:
        value = self._tree[name] if name in self._tree else self._missing(name)
        found = _shape(value, self._path + name)
        if found != tuple(shape):
            raise ValueError(f"expected parameter {self._path + name!r} of shape {tuple(shape)}, got {found}")
        if _is_floating(dtype) and not _is_floating(value.dtype):
            raise TypeError(f"expected parameter {self._path + name!r} of a floating-point dtype, got {value.dtype}")
        return value

    def __truediv__(self, name: str) -> Parameters:
        # A layer without parameters has no node; its child is empty until something is asked of it.
        return _TreeParameters(self._tree.get(name, {}), f"{self._path}{name}/")

    def _missing(self, name: str) -> Any:
        present = ", ".join(map(str, self._tree)) or "nothing"
        raise ValueError(f"expected a parameter {self._path + name!r}, got a tree that has {present} there")


class _Recorder(Parameters):
    """Writes down what is asked for, and answers with zeros."""

    def __init__(self, tree: dict[str, Any], path: str = "") -> None:
        self._tree = tree
        self._path = path

    def param(self, name: str, shape: tuple[int, ...], init: Any, dtype: Any = None) -> Array:
        spec = ParameterSpec(tuple(int(n) for n in shape), init, dtype)
        known = self._tree.setdefault(name, spec)
        if not isinstance(known, ParameterSpec) or known.shape != spec.shape:
            what = f"shape {known.shape}" if isinstance(known, ParameterSpec) else "a node"
            raise ValueError(f"expected another name than {self._path + name!r}, which is {what}, got {spec.shape}")
        zero = np.zeros(())
        return np.zeros(shape, backend_of(zero).dtype(dtype or "float32"))

    def __truediv__(self, name: str) -> Parameters:
        child = self._tree.setdefault(name, {})
        if isinstance(child, ParameterSpec):
            raise ValueError(f"expected another name than {self._path + name!r}, which is a parameter, for a node")
        return _Recorder(child, f"{self._path}{name}/")


def leaves(tree: Tree, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield (path, leaf) of a nested mapping, depth first in the order of the mapping."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name), value


def initialize(specs: Tree, generator: Any) -> dict[str, Any]:
    """Draw parameters.

    Parameters
    ----------
    specs : mapping
        A nested mapping of :class:`ParameterSpec`, from :meth:`Layer.parameters`.
    generator : numpy.random.Generator or torch.Generator
        Where randomness comes from; it also decides the kind of arrays.

    Returns
    -------
    dict
        Arrays in the same nesting.
    """
    return {
        name: initialize(spec, generator)
        if isinstance(spec, Mapping)
        else spec.init(generator, spec.shape, spec.dtype or "float32")
        for name, spec in specs.items()
    }


def _by_path(tree: Tree) -> Iterator[tuple[str, Any]]:
    for path, leaf in leaves(tree):
        yield "/".join(map(str, path)), leaf


def _is_floating(dtype: Any) -> bool:
    return dtype is None or "float" in dtype_name(dtype)


def _shape(value: Any, path: str) -> tuple[int, ...]:
    if not hasattr(value, "shape"):
        raise TypeError(f"expected an array at {path!r}, got {type(value).__name__}")
    return tuple(value.shape)


def check_layer(layer: Any) -> None:
    """Raise a TypeError unless ``layer`` is the description of a layer."""
    if not isinstance(layer, Layer):
        raise TypeError(f"expected the description of a layer, got {layer!r}")


def check_layer_class(layer_class: Any) -> None:
    """Raise a TypeError unless ``layer_class`` is a class of such descriptions."""
    if not (isinstance(layer_class, type) and issubclass(layer_class, Layer)):
        raise TypeError(f"expected a class of descriptions of layers, got {layer_class!r}")


def check_tree(tree: Tree, specs: Tree) -> None:
    """Check that a tree has exactly the parameters that a layer has.

    Parameters
    ----------
    tree : mapping
        A nested mapping of arrays.
    specs : mapping
        A nested mapping of :class:`ParameterSpec` or of arrays.

    Raises
    ------
    ValueError
        If parameters are missing or left over, or if a shape differs.
    TypeError
        If the tree is no mapping, a leaf no array, or one that is to be of floating-point numbers is not.
    """
    if not isinstance(tree, Mapping):
        raise TypeError(f"expected a mapping of parameters, got {type(tree).__name__}")
    ours, theirs = (dict(_by_path(nesting)) for nesting in (specs, tree))
    missing, unknown = sorted(ours.keys() - theirs.keys()), sorted(theirs.keys() - ours.keys())
    if missing or unknown:
        raise ValueError(f"expected the parameters of the layer, got a tree that lacks {missing} and adds {unknown}")
    for name, expected in ours.items():
        found = theirs[name]
        if _shape(found, name) != _shape(expected, name):
            raise ValueError(f"expected parameter {name!r} of shape {expected.shape}, got {tuple(found.shape)}")
        if _is_floating(expected.dtype) and not _is_floating(found.dtype):
            raise TypeError(f"expected parameter {name!r} of a floating-point dtype, got {found.dtype}")
