"""Trees of parameters, statistics and random numbers, from which layers compute."""

from __future__ import annotations

import abc
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from e3any_backends import backend_of, generator_backend
from e3any_backends.arrays import dtype_name

from e3any.checks import FLOATING, check_flag, cut, shown
from e3any.files.dotted_names import DEEPEST
from e3any.nn.initializers import Initializer

Array: TypeAlias = Any
Tree: TypeAlias = Mapping[str, Any]

__all__ = [
    "ParameterSpec",
    "Parameters",
    "Recorder",
    "TreeParameters",
    "Variables",
    "check_tree",
    "initialize",
    "is_training",
    "leaves",
]


class Parameters(abc.ABC):
    """A node in a tree of parameters.

    Subclasses with statistics or random numbers also override :meth:`statistic`, :meth:`update` and :meth:`uniform`.

    Attributes
    ----------
    training : bool or None
        Whether a model is being trained; None if this is unknown, as in JAX and NumPy.
    """

    training: bool | None = None

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
            Its initialiser; see :mod:`e3any.nn.initializers`.
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

    def params_of(
        self, children: Sequence[str], name: str, shape: tuple[int, ...], init: Any, dtype: Any = None
    ) -> list[Array]:
        """Return the parameters of one name and shape in several child nodes; see :meth:`param`."""
        return [(self / child).param(name, shape, init, dtype) for child in children]

    def statistic(self, name: str, shape: tuple[int, ...], init: Any, dtype: Any = None) -> Array:
        """Return an array that is stored with the parameters but not learned, for example a running average.

        Parameters and result are those of :meth:`param`; the initialiser must not be random.
        """
        return self.param(name, shape, init, dtype)

    def update(self, name: str, value: Array) -> None:
        """Set the value of a statistic for the next call."""
        raise TypeError(f"expected something that keeps statistics, such as nn.Variables, got {type(self).__name__}")

    def uniform(self, shape: tuple[int, ...], like: Array) -> Array:
        """Return random numbers in [0, 1), of the library and device of ``like``, in at least single precision."""
        raise TypeError(f"expected a generator of random numbers beside the parameters, got {type(self).__name__}")


@dataclass(frozen=True)
class ParameterSpec:
    """Description of a parameter or a statistic that does not exist yet, see :meth:`Layer.parameters`.

    Attributes
    ----------
    shape : tuple of int
        Its shape.
    init : Initializer or callable
        Its initialiser.
    dtype : optional
        Its dtype; float32 if it is None.
    is_statistic : bool
        Whether it is a statistic, which layers update, instead of a learned parameter.
    """

    shape: tuple[int, ...]
    init: Initializer | Callable[..., Any]
    dtype: Any = None
    is_statistic: bool = False


class TreeParameters(Parameters):
    """Existing parameters in a nested mapping."""

    def __init__(self, tree: Tree, path: str = "") -> None:
        self._tree = _checked_mapping(tree, path)
        self._path = path

    def param(self, name: str, shape: tuple[int, ...], init: Any, dtype: Any = None) -> Array:
        """Return the array of a name, checked."""
        value = self._tree[name] if name in self._tree else self._missing(name)
        found = _shape(value, self._path + name)
        if found != tuple(shape):
            raise ValueError(f"expected parameter {self._path + name!r} of shape {tuple(shape)}, got {found}")
        if _is_floating(dtype) and not _is_floating(value.dtype):
            raise TypeError(f"expected parameter {self._path + name!r} of a floating-point dtype, got {value.dtype}")
        return value

    def __truediv__(self, name: str) -> Parameters:
        return TreeParameters(self._child(name), f"{self._path}{name}/")

    def _child(self, name: str) -> Tree:
        # A layer without parameters has no node in the tree: its child is empty.
        return _checked_mapping(self._tree.get(name, {}), f"{self._path}{name}/")

    def _missing(self, name: str) -> Any:
        present = ", ".join(map(str, self._tree)) or "nothing"
        raise ValueError(f"expected a parameter {self._path + name!r}, got a tree that has {cut(present)} there")


class Variables(TreeParameters):
    """Parameters in a nested mapping, with random numbers and statistics that layers update.

    Pass it to a layer instead of a tree::

        variables = nn.Variables(tree, generator=key, training=True)
        y = layer(variables, x)
        tree = variables.tree

    Parameters
    ----------
    tree : mapping
        A nested mapping of arrays, parameters and statistics. It is not changed.
    generator : optional
        Source of random numbers for :class:`e3any.nn.Dropout`: a generator of NumPy or PyTorch or a JAX key, of the
        library of the arrays.
    training : bool, optional
        Whether layers behave as in training, unless their own arguments decide it.

    Raises
    ------
    TypeError
        If the tree is not a mapping.
    ValueError
        If ``training`` is not True, False or None.
    """

    def __init__(self, tree: Tree, *, generator: Any = None, training: bool | None = None) -> None:
        super().__init__(tree)
        check_flag(training, "training", optional=True)
        self.training = training
        self._generator = generator
        self._changes: dict[str, Any] = {}
        self._root = self

    def __truediv__(self, name: str) -> Variables:
        child = copy.copy(self)
        child._tree = self._child(name)
        child._path = f"{self._path}{name}/"
        return child

    def statistic(self, name: str, shape: tuple[int, ...], init: Any, dtype: Any = None) -> Array:
        """Return the current value of a statistic."""
        value = super().param(name, shape, init, dtype)
        return self._changes.get(self._path + name, value)

    def update(self, name: str, value: Array) -> None:
        """Set the value of a statistic."""
        self._changes[self._path + name] = value

    def uniform(self, shape: tuple[int, ...], like: Array) -> Array:
        """Return uniform random numbers in [0, 1), and advance the generator."""
        root, backend = self._root, backend_of(like)
        if root._generator is None:
            return super().uniform(shape, like)
        if generator_backend(root._generator).xp.__name__ != backend.xp.__name__:
            raise TypeError(f"expected a generator of {backend.xp.__name__}, got {shown(root._generator)}")
        first, root._generator = backend.split(root._generator, 2)
        return backend.random_uniform(first, shape, backend.widened(like[..., :0]).dtype)

    @property
    def changes(self) -> dict[str, Any]:
        """New values of statistics under their paths, such as ``norm/0+/mean``."""
        return dict(self._changes)

    @property
    def tree(self) -> dict[str, Any]:
        """The tree, with the current statistics."""
        return self._replaced(self._tree, self._path)

    def _replaced(self, tree: Tree, path: str) -> dict[str, Any]:
        return {
            name: self._replaced(value, f"{path}{name}/")
            if isinstance(value, Mapping)
            else self._changes.get(path + name, value)
            for name, value in tree.items()
        }


class Recorder(Parameters):
    """Records the parameters and statistics that a layer requests, and returns zeros."""

    training = False

    def __init__(self, tree: dict[str, Any], path: str = "") -> None:
        self._tree = tree
        self._path = path

    def param(self, name: str, shape: tuple[int, ...], init: Any, dtype: Any = None) -> Array:
        """Record a parameter."""
        return self._record(name, ParameterSpec(tuple(int(n) for n in shape), init, dtype))

    def statistic(self, name: str, shape: tuple[int, ...], init: Any, dtype: Any = None) -> Array:
        """Record a statistic."""
        return self._record(name, ParameterSpec(tuple(int(n) for n in shape), init, dtype, is_statistic=True))

    def update(self, name: str, value: Array) -> None:
        """Ignore the value."""

    def uniform(self, shape: tuple[int, ...], like: Array) -> Array:
        """Return zeros."""
        return np.zeros(shape, np.float32)

    def _record(self, name: str, spec: ParameterSpec) -> Array:
        known = self._tree.setdefault(name, spec)
        if not isinstance(known, ParameterSpec) or known.shape != spec.shape:
            what = f"shape {known.shape}" if isinstance(known, ParameterSpec) else "a node"
            raise ValueError(f"expected another name than {self._path + name!r}, which is {what}, got {spec.shape}")
        zero = np.zeros(())
        return np.zeros(spec.shape, backend_of(zero).dtype(spec.dtype or "float32"))

    def __truediv__(self, name: str) -> Parameters:
        child = self._tree.setdefault(name, {})
        if isinstance(child, ParameterSpec):
            raise ValueError(f"expected another name than {self._path + name!r}, which is a parameter, for a node")
        return Recorder(child, f"{self._path}{name}/")


def _checked_mapping(tree: Any, path: str) -> Tree:
    if not isinstance(tree, Mapping):
        raise TypeError(f"expected a mapping of parameters at {path or 'the root'!r}, got {type(tree).__name__}")
    return tree


def is_training(p: Parameters, inference: bool | None, name: str) -> bool:
    """Return whether a layer is being trained.

    Parameters
    ----------
    p : Parameters
        The parameters of the layer; their ``training`` decides if ``inference`` is None.
    inference : bool or None
        The caller's choice: True if the layer is not being trained.
    name : str
        Name of ``inference`` in error messages.

    Returns
    -------
    bool
        Whether the layer is being trained.

    Raises
    ------
    ValueError
        If neither decides it, or ``inference`` is not True, False or None.
    """
    check_flag(inference, name, optional=True)
    if inference is not None:
        return not inference
    if p.training is None:
        raise ValueError(f"expected {name}=True or False where parameters do not know about training, got None")
    return p.training


def leaves(tree: Tree, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield (path, leaf) of a nested mapping, depth first in the order of the mapping.

    Raises
    ------
    ValueError
        If it is nested too deeply, or contains itself.
    """
    if len(path) > DEEPEST:
        raise ValueError(f"expected a tree of at most {DEEPEST} levels, got {shown(path)}")
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name), value


def initialize(specs: Tree, generator: Any) -> dict[str, Any]:
    """Initialise parameters.

    Parameters
    ----------
    specs : mapping
        A nested mapping of :class:`ParameterSpec`, from :meth:`Layer.parameters`.
    generator : numpy.random.Generator or torch.Generator
        Source of random numbers; it also determines the library of the arrays.

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
    return dtype is None or dtype_name(dtype) in FLOATING


def _shape(value: Any, path: str) -> tuple[int, ...]:
    if not hasattr(value, "shape"):
        raise TypeError(f"expected an array at {path!r}, got {type(value).__name__}")
    return tuple(value.shape)


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
        If the tree is not a mapping, a leaf is not an array, or a leaf that must be floating-point is not.
    """
    if not isinstance(tree, Mapping):
        raise TypeError(f"expected a mapping of parameters, got {type(tree).__name__}")
    ours, theirs = (dict(_by_path(nesting)) for nesting in (specs, tree))
    missing, unknown = sorted(ours.keys() - theirs.keys()), sorted(theirs.keys() - ours.keys())
    if missing or unknown:
        raise ValueError(
            f"expected the parameters of the layer, got a tree that lacks {shown(missing)} and adds {shown(unknown)}"
        )
    for name, expected in ours.items():
        found = theirs[name]
        if _shape(found, name) != _shape(expected, name):
            raise ValueError(f"expected parameter {name!r} of shape {expected.shape}, got {tuple(found.shape)}")
        if _is_floating(expected.dtype) and not _is_floating(found.dtype):
            raise TypeError(f"expected parameter {name!r} of a floating-point dtype, got {found.dtype}")
