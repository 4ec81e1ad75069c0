"""PyTorch modules from descriptions of layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from e3any import Layout
from e3any.nn import Layer, Parameters
from e3any.nn.layer import check_tree, initialize

__all__ = ["LayerModule", "load_tree", "module_class", "to_torch", "to_tree"]


class _ModuleParameters(Parameters):
    """Parameters that are attributes of a module and of its children."""

    def __init__(self, node: torch.nn.Module | None, path: str = "") -> None:
        self._node = node
        self._path = path

    def param(self, name: str, shape: tuple[int, ...], init: Any, dtype: Any = None) -> Any:
        value = getattr(self._node, name, None)
        if value is None or tuple(value.shape) != tuple(shape):
            found = "none" if value is None else tuple(value.shape)
            raise ValueError(
                f"expected parameter {self._path + name!r} of shape {tuple(shape)}, got {found}: "
                "the module was built for inputs of another layout"
            )
        return value

    def __truediv__(self, name: str) -> _ModuleParameters:
        # The child of a module that was built for another layout is missed once a parameter is asked of it.
        return _ModuleParameters(getattr(self._node, name, None), f"{self._path}{name}.")


class LayerModule(torch.nn.Module):
    """A PyTorch module that applies a description of a layer, or of a whole model.

    Parameters
    ----------
    description : e3any.nn.Layer
        The layer. Its parameters are those of the module, under the same names.
    *inputs : Layout or tensor or array
        What the layer is going to be applied to: only layouts and shapes matter. Without any, the module is lazy
        and creates its parameters when it is called for the first time.
    generator : torch.Generator, optional
        Where initial parameters are drawn from; by default PyTorch's global seed decides.
    **options
        Inputs that are given by name, such as index lists.
    """

    def __init__(
        self, description: Layer, *inputs: Any, generator: torch.Generator | None = None, **options: Any
    ) -> None:
        super().__init__()
        self.description = description
        self._generator = generator
        self._is_built = False
        if inputs or options or not _needs_inputs(description):
            self._build(inputs, options)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Apply the layer to tensors; see ``forward`` of the description."""
        if not self._is_built:
            self._build(inputs, options)
        return self.description(_ModuleParameters(self), *inputs, **options)

    def _build(self, inputs: Any, options: dict[str, Any]) -> None:
        device = next((x.device for x in inputs if isinstance(x, torch.Tensor)), torch.device("cpu"))
        generator = self._generator or torch.Generator().manual_seed(int(torch.randint(2**62, ()).item()))
        specs = self.description.parameters(*map(_to_numpy, inputs), **{k: _to_numpy(v) for k, v in options.items()})
        _register(self, initialize(specs, generator), device)
        self._generator, self._is_built = None, True

    def extra_repr(self) -> str:
        """Return the description."""
        return repr(self.description)


def _needs_inputs(description: Layer) -> bool:
    """Return whether parameters depend on inputs, which those of a layer with an example of its own do not."""
    return not description.example()[0]


def _register(node: torch.nn.Module, tree: Mapping[str, Any], device: torch.device) -> None:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            child = torch.nn.Module()
            node.add_module(name, child)
            _register(child, value, device)
        else:
            node.register_parameter(name, torch.nn.Parameter(value.to(device)))


def _to_numpy(x: Any) -> Any:
    if isinstance(x, torch.Tensor):
        x = x.detach().cpu()
        return (x.float() if x.dtype == torch.bfloat16 else x).numpy()
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*map(_to_numpy, x))
    return x


def to_torch(layer: Layer, *inputs: Any, generator: torch.Generator | None = None, **options: Any) -> LayerModule:
    """Return a PyTorch module for any description.

    Parameters
    ----------
    layer : e3any.nn.Layer
        Description of a layer or model, the user's own included.
    *inputs, generator, **options
        See :class:`LayerModule`.

    Returns
    -------
    LayerModule
        The module.
    """
    return LayerModule(layer, *inputs, generator=generator, **options)


def module_class(description: type[Layer], module: str) -> type[LayerModule]:
    """Return a class of modules that is constructed from layouts of inputs and hyper-parameters.

    Parameters
    ----------
    description : type
        Class of the description.
    module : str
        Where the class is going to live.

    Returns
    -------
    type
        A subclass of :class:`LayerModule` of the same name. Its leading arguments that are layouts describe the
        inputs; all others are hyper-parameters, and ``generator``.
    """

    def __init__(self: LayerModule, *arguments: Any, generator: torch.Generator | None = None, **options: Any) -> None:
        layouts = [a for a in arguments if isinstance(a, Layout)]
        rest = [a for a in arguments if not isinstance(a, Layout)]
        LayerModule.__init__(self, description(*rest, **options), *layouts, generator=generator)

    members = {"__init__": __init__, "__doc__": description.__doc__, "__module__": module}
    return type(description.__name__, (LayerModule,), members)


def to_tree(module: torch.nn.Module) -> dict[str, Any]:
    """Return the parameters of a module as a nested dictionary of NumPy arrays.

    Parameters
    ----------
    module : torch.nn.Module
        The module.

    Returns
    -------
    dict
        The tree, ready for :func:`e3any.checkpoint.save`; bfloat16, which NumPy lacks, becomes float32.
    """
    tree: dict[str, Any] = {}
    for key, value in module.named_parameters():
        *names, last = key.split(".")
        node = tree
        for name in names:
            node = node.setdefault(name, {})
        node[last] = _to_numpy(value).copy()
    return tree


def load_tree(module: torch.nn.Module, tree: Mapping[str, Any]) -> None:
    """Copy a nested mapping of arrays to the parameters of a module.

    Parameters
    ----------
    module : torch.nn.Module
        The module, which has its parameters.
    tree : mapping
        The tree, from :func:`e3any.checkpoint.load`.

    Raises
    ------
    ValueError
        If parameters are missing or left over, or if a shape differs; nothing is copied then.
    """
    check_tree(tree, to_tree(module))
    with torch.no_grad():
        for key, parameter in module.named_parameters():
            value: Any = tree
            for name in key.split("."):
                value = value[name]
            array = np.array(value)
            parameter.copy_(torch.from_numpy(array.astype(np.float32) if array.dtype.name == "bfloat16" else array))
