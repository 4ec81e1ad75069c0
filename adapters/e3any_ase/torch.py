"""Derivatives of energies with PyTorch, of descriptions and of modules."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from e3any.checks import cut
from e3any.nn import Layer
from e3any_ase.elements import names, of_embeddings
from e3any_ase.energies import Derivatives, total_energy

__all__ = ["TorchEvaluator"]

_logger = logging.getLogger("e3any")


class TorchEvaluator:
    """A description with parameters, or a copy of a module; see :class:`e3any_ase.ModelCalculator`.

    Parameters
    ----------
    model : e3any.nn.Layer or torch.nn.Module
        The model.
    params : mapping, optional
        Parameters of a description.
    dtype : {'float32', 'float64'}, optional
        Precision; that of the parameters of a module by default, or float32 for a description.
    device : str, optional
        The device, for example ``"cuda"``; that of a module by default, or the CPU for a description.

    Raises
    ------
    ValueError
        If parameters are missing, have no values, or are given for a module, which contains its own, or PyTorch knows
        no such device.
    """

    def __init__(
        self, model: Any, params: Mapping[str, Any] | None, dtype: str | None, device: str | None = None
    ) -> None:
        place = None if device is None else _device(device)
        self._has_rows: set[int] = set()
        # Tensors that are created in inference mode can't be used by autograd.
        with torch.inference_mode(False):
            if isinstance(model, Layer):
                self._take_description(model, params, dtype, place)
            else:
                self._take_module(model, params, dtype, place)

    def _take_description(
        self, model: Layer, params: Mapping[str, Any] | None, dtype: str | None, device: torch.device | None
    ) -> None:
        if params is None:
            raise ValueError(f"expected params of {type(model).__name__}, got none")
        self._model: Any = model
        self._device = device or torch.device("cpu")
        self.dtype = dtype or "float32"
        _check_values(params)
        self._params: dict[str, Any] | None = _tensors(params, getattr(torch, self.dtype), self._device)
        self.elements = of_embeddings(self._params)

    def _take_module(
        self, model: torch.nn.Module, params: Mapping[str, Any] | None, dtype: str | None, device: torch.device | None
    ) -> None:
        if params is not None:
            raise ValueError("expected no params with a torch.nn.Module, which holds its own, got some")
        state = {name: x for name, x in model.state_dict().items() if isinstance(x, torch.Tensor)}
        _check_values(dict(model.named_parameters()) | dict(model.named_buffers()))
        # A copy, because the user's module can be trained further, and keeps its precision.
        self._params = None
        self.dtype = dtype or ("float64" if any(x.dtype == torch.float64 for x in state.values()) else "float32")
        self._device = device or next((x.device for x in state.values()), torch.device("cpu"))
        self._model = copy.deepcopy(model).eval()
        # Modules of TorchScript have no requires_grad_, and parameters of their copies are no leaves.
        for x in self._model.parameters():
            x.detach_()
        self._model = self._model.to(getattr(torch, self.dtype))
        if device is not None:
            self._model = self._model.to(device)
        self.elements = of_embeddings(state)

    def __call__(self, structure: Mapping[str, Any], /) -> Derivatives:
        """Return energies and derivatives of a padded structure."""
        kind = getattr(torch, self.dtype)
        # The caller may have disabled gradients.
        with torch.inference_mode(False), torch.enable_grad(), _default_device(self._device):
            self._check_tables(structure)
            tensors = _tensors({**structure, "axes": np.eye(3)}, kind, self._device)
            moves, strain = (
                torch.zeros(n, 3, dtype=kind, device=self._device, requires_grad=True)
                for n in (len(structure["numbers"]), 3)
            )
            try:
                energy, energies = total_energy(self._apply, moves, strain, tensors)
            except IndexError as error:
                present = sorted(set(structure["numbers"].tolist()) - {0})
                raise ValueError(
                    f"expected elements that all tables of the model have rows for, got {names(present)}: {error}"
                ) from error
            # A model that does not use vectors has derivatives, too: they are zero.
            energy = energy + 0 * moves.sum()
            gradients = torch.autograd.grad(energy, (moves, strain), materialize_grads=True)
            return Derivatives(*(x.detach().cpu().numpy() for x in (energies, *gradients)))

    def _check_tables(self, structure: Mapping[str, Any]) -> None:
        """Raise a ValueError if a table of the model has no row for an element."""
        # Embeddings, and ops.gather_src of a table, are zero for an index out of bounds.
        for number in sorted(set(structure["numbers"].tolist()) - self._has_rows - {0}):
            # Two atoms of one element and no padding, which is out of bounds on purpose.
            pair = {
                "numbers": np.full(2, number, structure["numbers"].dtype),
                "vectors": np.asarray([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]]),
                "dst_idx": np.asarray([0, 1], structure["dst_idx"].dtype),
                "src_idx": np.asarray([1, 0], structure["src_idx"].dtype),
            }
            inputs = _tensors(pair, getattr(torch, self.dtype), self._device)
            reads = _Reads(inputs.values())
            try:
                with torch.no_grad(), reads:
                    self._apply(inputs.pop("numbers"), inputs.pop("vectors"), **inputs)
            except Exception as error:  # a user's module can raise anything; the evaluation itself raises it again
                _logger.debug("whether tables have rows for %s is not known: %s", number, cut(str(error)))
                return
            if reads.outside:
                raise ValueError(f"expected elements that all tables of the model have rows for, got {names([number])}")
            self._has_rows.add(number)

    def _apply(self, *inputs: Any, **lists: Any) -> Any:
        return self._model(*(() if self._params is None else (self._params,)), *inputs, **lists)


def _default_device(device: torch.device) -> AbstractContextManager[Any]:
    """Make a device that of new tensors, unless it is already: each call of torch within the context is slower."""
    return nullcontext() if torch.get_default_device() == device else device


def _device(name: str) -> torch.device:
    try:
        return torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"expected the name of a device of PyTorch, such as 'cuda', got {name!r}") from error


class _Reads(TorchDispatchMode):
    """Look for rows of tables that are replaced by zeros, as ``take`` of the backend does for indices out of bounds.

    Tables are tensors that do not depend on the inputs. Values of atoms can be padded by the model itself.
    """

    def __init__(self, inputs: Any) -> None:
        super().__init__()
        self.outside = False
        # By id; tensors are kept, so that no id is used again.
        self._dependent = {id(x): x for x in inputs}
        self._rows: dict[int, torch.Tensor] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        name = func.overloadpacket
        if name is torch.ops.aten.masked_fill and id(args[0]) in self._rows:
            self.outside |= bool(args[1].any())
        if name is torch.ops.aten.index_select and id(args[0]) not in self._dependent:
            self._rows[id(found)] = found
        if any(id(x) in self._dependent for x in tree_leaves((args, kwargs))):
            self._dependent |= {id(x): x for x in tree_leaves(found) if isinstance(x, torch.Tensor)}
        return found


def _check_values(params: Mapping[str, Any]) -> None:
    """Raise a ValueError if parameters have no values."""
    for name, x in params.items():
        if isinstance(x, Mapping):
            _check_values(x)
        elif isinstance(x, torch.Tensor) and x.is_meta:
            raise ValueError(
                f"expected parameters with values, got {name!r} on the device meta: load them, for example with "
                f"load_state_dict(..., assign=True)"
            )


def _tensors(tree: Mapping[str, Any], dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """Return a nested mapping of arrays as tensors; floating-point arrays get the dtype."""
    return {
        name: _tensors(x, dtype, device) if isinstance(x, Mapping) else _tensor(x, dtype, device)
        for name, x in tree.items()
    }


def _tensor(x: Any, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    tensor = x.detach().clone() if isinstance(x, torch.Tensor) else torch.from_numpy(_known(np.array(x)))
    return tensor.to(device, dtype) if tensor.is_floating_point() else tensor.to(device)


def _known(x: Any) -> Any:
    """Return an array of a dtype that PyTorch accepts from NumPy, which bfloat16 is not."""
    return x.astype(np.float32) if x.dtype.name == "bfloat16" else x
