"""The choice between the two tensor products, for layers that offer both."""

from __future__ import annotations

from typing import Any

from e3any.nn.layers.fused_tensor import FusedTensor
from e3any.nn.layers.tensor import Tensor

__all__ = ["product_of"]


def product_of(layer: Any) -> tuple[str, Tensor | FusedTensor]:
    """Return the tensor product that the fields of a layer describe, and the name of its parameters."""
    fields = (
        *(layer.max_degree, layer.include_pseudotensors, layer.cartesian_order),
        *(layer.dtype, layer.param_dtype, layer.precision),
    )
    options = {} if layer.tensor_kernel_init is None else {"kernel_init": layer.tensor_kernel_init}
    options["use_parity"] = layer.use_parity
    if layer.use_fused_tensor:
        return "fused_tensor", FusedTensor(*fields, **options)
    return "tensor", Tensor(*fields, **options)
