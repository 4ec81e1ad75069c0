"""PyTorch modules from descriptions of layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from inspect import Parameter
from types import FunctionType
from typing import Any

import numpy as np
import torch
from e3any_backends import backend_of
from torch.utils._pytree import tree_map

from e3any import Irreps, Layout
from e3any.nn import FactoredBasis, Layer, Parameters
from e3any.nn.interface import call_signature, constructor_signature, document, non_default_fields, with_layouts
from e3any.nn.layer import check_layer, check_layer_class, check_tree, initialize, leaves
from e3any_torch.trees import to_numpy

__all__ = ["LayerModule", "module_class", "to_torch"]


class _ModuleParameters(Parameters):
    """Parameters, and buffers, that are attributes of a module and of its children."""

    def __init__(self, node: torch.nn.Module | None, training: bool, root: LayerModule, path: str = "") -> None:
        self._node = node
        self._root = root
        self._path = path
        self.training = training

    def param(self, name: str, shape: tuple[int, ...], init: Any, dtype: Any = None) -> Any:
        value = getattr(self._node, name, None)
        if value is None or value.shape != shape:
            self._refuse(name, value, shape)
        return value

    def params_of(
        self, children: Sequence[str], name: str, shape: tuple[int, ...], init: Any, dtype: Any = None
    ) -> list[Any]:
        found = []
        for child in children:
            value = getattr(getattr(self._node, child, None), name, None)
            if value is None or value.shape != shape:
                self._refuse(f"{child}.{name}", value, shape)
            found.append(value)
        return found

    def _refuse(self, name: str, value: Any, shape: tuple[int, ...]) -> None:
        """Raise a ValueError unless a parameter has a shape, which may be a list."""
        if value is None or tuple(value.shape) != tuple(shape):
            found = "none" if value is None else tuple(value.shape)
            raise ValueError(
                f"expected parameter {self._path + name!r} of shape {tuple(shape)}, got {found}: "
                f"the module {self._root._built_for()} was built for inputs of another layout"
            )

    def __truediv__(self, name: str) -> _ModuleParameters:
        # A missing child, of a module for another layout, raises when a parameter of it is requested.
        child = getattr(self._node, name, None)
        return _ModuleParameters(child, bool(self.training), self._root, f"{self._path}{name}.")

    def update(self, name: str, value: Any) -> None:
        with torch.no_grad():
            getattr(self._node, name).copy_(value)

    def uniform(self, shape: tuple[int, ...], like: Any) -> Any:
        return torch.rand(shape, dtype=torch.promote_types(like.dtype, torch.float32), device=like.device)


class LayerModule(torch.nn.Module):
    """A PyTorch module that applies a description of a layer, or of a whole model.

    Parameters
    ----------
    description : e3any.nn.Layer
        The layer. Its parameters are those of the module, under the same names.
    *inputs : Layout or Irreps or tensor or array
        Layouts or examples of the inputs: only layouts and shapes matter. Without inputs, the module is lazy: it gets
        its parameters at the first call, or before that from a ``state_dict``. It can't be compiled or exported
        without parameters.
    generator : torch.Generator, optional
        Source of initial parameters; by default PyTorch's global generator.
    **options
        Inputs by name, for example index lists.

    Raises
    ------
    TypeError
        If ``description`` is not a description of a layer.

    Notes
    -----
    Modules are pure functions of their inputs and parameters, with two exceptions in training (``module.train()``):
    :class:`e3any.nn.BatchNorm` updates its buffers, :class:`e3any.nn.Dropout` uses the global generator of PyTorch.
    Therefore

    - :func:`torch.compile` compiles them without graph breaks, and :func:`torch.export.export` exports them with
      dynamic sizes; inputs can include a factored basis;
    - :mod:`torch.func` transforms them in forward and reverse mode, to any order;
    - :mod:`copy`, :mod:`pickle` and ``state_dict`` keep their whole state, and changes of a parameter by
      :mod:`torch.nn.utils`, for example a parametrization or pruning, take effect;
    - :class:`torch.autocast` changes the precision of matrix products, but not the dtype of features.

    As in :mod:`torch.nn`, new parameters have the dtype of :func:`torch.set_default_dtype`; their initial values are
    those in float32.
    """

    def __init__(
        self, description: Layer, *inputs: Any, generator: torch.Generator | None = None, **options: Any
    ) -> None:
        super().__init__()
        check_layer(description)
        self.description = description
        self._layouts = tuple(x for x in inputs if isinstance(x, Layout | Irreps))
        self._generator = generator
        # As in torch.nn, the default when a module is made, and not at its first call, decides.
        self._default_dtype = torch.get_default_dtype()
        self._is_built = False
        if inputs or options or not _needs_inputs(description):
            self._build(inputs, options)
        else:
            # Follows the module to other devices and dtypes until it has parameters.
            self.register_buffer("_placeholder", torch.empty(0), persistent=False)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Apply the layer to tensors; see ``forward`` of the description."""
        if not self._is_built:
            self._build(inputs, options)
        return self.description.forward(_ModuleParameters(self, self.training, self), *inputs, **options)

    def _built_for(self) -> str:
        """Return the name of the layer, and the layouts that its module was built for."""
        layouts = ", ".join(map(repr, self._layouts))
        return type(self.description).__name__ + (f" for {layouts}" if layouts else "")

    def _build(self, inputs: Any, options: dict[str, Any]) -> None:
        device = self._device(inputs)
        if torch.compiler.is_compiling():
            raise RuntimeError("expected a module with parameters to compile or export, got one that was never called")
        inputs, options = tree_map(self._example, (inputs, options))
        specs = self.description.parameters(*inputs, **options)
        # Tensors that are created in inference mode or in a transformation of torch.func can't be used outside of it.
        with torch.inference_mode(False), torch._C._DisableFuncTorch():
            if any(True for _ in self.parameters()):
                check_tree(_tree(self), specs)
            else:
                self._register(self._first_values(specs, device), device)
            self._make_buffers(specs)
        self._generator, self._is_built = None, True

    def _device(self, inputs: Any) -> Any:
        """Return the device of new parameters: that of the module if it was moved, of the inputs, or the default."""
        placeholder = getattr(self, "_placeholder", None)
        if placeholder is not None and placeholder.device.type != "cpu":
            return placeholder.device
        default = torch.get_default_device()
        elsewhere = default if default.type != "cpu" else None
        return next((x.device for x in inputs if isinstance(x, torch.Tensor)), elsewhere)

    def _first_values(self, specs: Any, device: Any) -> Iterable[tuple[tuple[str, ...], torch.Tensor]]:
        """Return initial parameters by path; on devices without memory they are not initialised."""
        probe = torch.empty(0, device=device)
        if _has_numbers(probe):
            generator = self._generator or torch.Generator().manual_seed(int(torch.randint(2**62, ()).item()))
            return leaves(initialize(specs, generator))
        dtype = backend_of(probe).dtype
        return [
            (path, torch.empty(spec.shape, dtype=dtype(spec.dtype or "float32"), device=device))
            for path, spec in leaves(specs)
        ]

    def _example(self, x: Any) -> Any:
        """Return a tensor as an array. The dtype of a converted module becomes float32, in which it is described."""
        if not isinstance(x, torch.Tensor):
            return x
        like = next(self.parameters(), getattr(self, "_placeholder", None))
        x = x.float() if x.dtype == torch.bfloat16 or (like is not None and x.dtype == like.dtype) else x
        return to_numpy(x) if _has_numbers(x) else np.ones(x.shape, str(x.dtype).removeprefix("torch."))

    def _register(self, values: Iterable[tuple[tuple[str, ...], torch.Tensor]], device: Any) -> None:
        """Create parameters under paths, on a device.

        All have the dtype to which the module was converted. If it was not, those in float32 get the default dtype.
        """
        placeholder, dtype = getattr(self, "_placeholder", None), None
        if placeholder is not None:
            dtype = placeholder.dtype if placeholder.dtype != self._default_dtype else None
            del self._placeholder
        for (*path, name), value in values:
            node: torch.nn.Module = self
            for child in path:
                if child not in dict(node.named_children()):
                    node.add_module(child, torch.nn.Module())
                node = getattr(node, child)
            kind = dtype or (self._default_dtype if value.dtype == torch.float32 else value.dtype)
            node.register_parameter(name, torch.nn.Parameter(value.to(device=device, dtype=kind)))

    def _make_buffers(self, specs: Any) -> None:
        """Turn parameters that are statistics into buffers."""
        for (*path, name), spec in leaves(specs):
            if spec.is_statistic:
                node = self.get_submodule(".".join(path))
                value = getattr(node, name).detach()
                delattr(node, name)
                node.register_buffer(name, value)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *arguments: Any, **options: Any) -> None:
        """Load a state. A module without parameters gets those of the state."""
        if not (self._is_built or any(True for _ in self.parameters())):
            state = {k.removeprefix(prefix): value for k, value in state_dict.items() if k.startswith(prefix)}
            self._register(((tuple(k.split(".")), value.clone()) for k, value in state.items()), self._device(()))
        super()._load_from_state_dict(state_dict, prefix, *arguments, **options)

    def output_layout(self, *layouts: Layout | Irreps) -> Layout | Irreps:
        """Return the layout of the output for layouts of inputs; by default for those that the module was built for.

        Parameters
        ----------
        *layouts : Layout or Irreps
            Layouts of inputs.

        Returns
        -------
        Layout or Irreps
            The layout of the output; see :meth:`e3any.nn.Layer.output_layout`.

        Raises
        ------
        ValueError, TypeError
            See :meth:`e3any.nn.Layer.output_layout`.
        """
        return self.description.output_layout(*(layouts or self._layouts))

    def extra_repr(self) -> str:
        """Return the layouts for which the module was built, and the hyper-parameters that differ from defaults."""
        options = [f"{name}={value!r}" for name, value in non_default_fields(self.description).items()]
        named = type(self) is LayerModule
        first = [f"{type(self.description).__name__}({', '.join(options)})"] if named else options
        return ", ".join([*map(repr, self._layouts), *first])


def _has_numbers(x: torch.Tensor) -> bool:
    """Return whether a tensor has memory: it is not a fake, meta or functorch tensor."""
    if type(x) not in (torch.Tensor, torch.nn.Parameter) or x.is_meta:
        return False
    return not torch._C._functorch.is_functorch_wrapped_tensor(x)


def _needs_inputs(description: Layer) -> bool:
    """Return whether parameters depend on inputs. Those of a layer with an example of its own do not."""
    return not description.example()[0]


def _tree(node: torch.nn.Module) -> dict[str, Any]:
    """Return parameters and buffers as a nested dictionary."""
    return {
        **dict(node.named_parameters(recurse=False)),
        **dict(node.named_buffers(recurse=False)),
        **{name: _tree(child) for name, child in node.named_children()},
    }


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

    Raises
    ------
    TypeError
        If ``layer`` is not a description.
    """
    return LayerModule(layer, *inputs, generator=generator, **options)


_GENERATOR = Parameter("generator", Parameter.KEYWORD_ONLY, default=None, annotation=torch.Generator | None)


def module_class(description: type[Layer], module: str) -> type[LayerModule]:
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
        inputs; all others are hyper-parameters, and ``generator``.

    Raises
    ------
    TypeError
        If ``description`` is not a class of layers.
    """
    check_layer_class(description)

    def __init__(self: LayerModule, *arguments: Any, generator: torch.Generator | None = None, **options: Any) -> None:
        layer, layouts = with_layouts(description, arguments, options)
        LayerModule.__init__(self, layer, *layouts, generator=generator)

    # A copy of the method with a signature of its own: what reads it, such as torch.export, learns the names of inputs.
    method = LayerModule.forward
    forward = FunctionType(method.__code__, method.__globals__, method.__name__, method.__defaults__)
    forward.__kwdefaults__ = method.__kwdefaults__
    forward.__signature__ = call_signature(description)  # type: ignore[attr-defined]
    forward.__doc__ = description.forward.__doc__
    members = {"__init__": __init__, "forward": forward, "__doc__": document(description), "__module__": module}
    members["__signature__"] = constructor_signature(description, options=[_GENERATOR])
    return type(description.__name__, (LayerModule,), members)


# Programs that torch.export saves contain example inputs and the names of their types.
torch.serialization.add_safe_globals([FactoredBasis])
torch.utils._pytree._register_namedtuple(FactoredBasis, serialized_type_name="e3any.nn.FactoredBasis")
