"""The choice between the two tensor products, for layers that offer both."""

from __future__ import annotations

from typing import Any

from e3any.nn.initializers import fused_tensor_normal, tensor_lecun_normal
from e3any.nn.layers.fused_tensor import FusedTensor
from e3any.nn.layers.tensor import Tensor

__all__ = ["product_of"]


def product_of(layer: Any) -> tuple[str, Tensor | FusedTensor]:
    """Return the tensor product that the fields of a layer describe, and the name of its parameters."""
    options = {
        name: getattr(layer, name)
        for name in ("max_degree", "include_pseudotensors", "cartesian_order", "dtype", "param_dtype", "precision")
    }
    init = layer.tensor_kernel_init
    if layer.use_fused_tensor:
        return "fused_tensor", FusedTensor(**options, kernel_init=fused_tensor_normal if init is None else init)
    return "tensor", Tensor(**options, kernel_init=tensor_lecun_normal() if init is None else init)
