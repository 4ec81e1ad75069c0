"""The tensor product of two features."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

from e3any_backends import Array

from e3any.checks import check_broadcast, check_degree, floating_backend
from e3any.layout import Layout
from e3any.nn.initializers import TensorVarianceScaling, tensor_lecun_normal
from e3any.nn.layer import Layer, Parameters
from e3any.nn.layers.couplings import coupling_plan, output_layout

__all__ = ["Tensor"]

_kernel_init = tensor_lecun_normal()


@dataclass(frozen=True)
class Tensor(Layer):
    r"""Couple two features, with a learned weight for every coupling path and feature.

    .. math::
        z^{(c)} = \sum_{(a, b)} w_{(a,b,c)} \circ \left(x^{(a)} \otimes y^{(b)}\right)^{(c)}

    The sum runs over all irreps a, b that couple to c; the coupling is that of
    :func:`e3any.so3.clebsch_gordan`, feature by feature.

    The parameter ``kernel`` has the shape (P1, L1+1, P2, L2+1, P3, L3+1, F). Entries of forbidden couplings have no
    effect.

    Parameters
    ----------
    max_degree : int, optional
        Largest degree of the product; the larger one of the factors' by default.
    include_pseudotensors : bool
        Whether the product has both parities. It always has one if both factors are proper tensors and one of the
        three degrees is zero, because no coupling gives pseudotensors then.
    cartesian_order : bool, optional
        Order of components, see :mod:`e3any.conventions`; by default that of :class:`e3any.Config`.
    dtype : optional
        Dtype of the computation; that of inputs and parameters by default.
    param_dtype : optional
        Dtype that the parameter is created with.
    precision : optional
        Accepted for compatibility: the product is summed term by term in at least float32.
    kernel_init : Initializer or callable
        Initialiser of the parameter.
    use_parity : bool, optional
        Whether irreps have a parity. If not, they are irreps of SO(3): features have P = 1, and all degrees with
        :math:`|l_1-l_2| \le l_3 \le l_1+l_2` couple; by default the setting of :class:`e3any.Config`.

    Raises
    ------
    ValueError
        If a number is not an integer >= 0, or a setting is neither True nor False.
    TypeError
        If a dtype is not a floating-point dtype.
    """

    layouts: ClassVar[tuple[str, ...]] = ("inputs1", "inputs2")

    max_degree: int | None = None
    include_pseudotensors: bool = True
    cartesian_order: bool | None = None
    dtype: Any = None
    param_dtype: Any = "float32"
    precision: Any = None
    kernel_init: Any = _kernel_init
    use_parity: bool | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_degree is not None and (type(self.max_degree) is not int or self.max_degree < 0):
            check_degree(self.max_degree)

    def forward(self, p: Parameters, inputs1: Array, inputs2: Array) -> Array:
        """Couple two features.

        Parameters
        ----------
        p : Parameters
            Parameters.
        inputs1 : array of shape (..., P1, (L1+1)**2, F)
            First factor.
        inputs2 : array of shape (..., P2, (L2+1)**2, F)
            Second factor; leading axes broadcast.

        Returns
        -------
        array of shape (..., P3, (L3+1)**2, F)
            The product.

        Raises
        ------
        ValueError
            If shapes are not those of features, features differ, leading axes do not broadcast, or ``max_degree`` is
            out of reach.
        TypeError
            If an input is not a floating-point array, or inputs belong to different libraries.
        """
        backend = floating_backend(inputs1=inputs1, inputs2=inputs2)
        x, y = Layout.of(inputs1, "inputs1"), Layout.of(inputs2, "inputs2")
        check_broadcast("leading axes", inputs1.shape[:-3], inputs2.shape[:-3])
        kernel = self.kernel(p, x, y)
        inputs1, inputs2, kernel = backend.promote(inputs1, inputs2, kernel, dtype=self.dtype)
        return backend.couple_features(inputs1, inputs2, kernel, self.plan(kernel))

    def kernel(self, p: Parameters, x: Layout, y: Layout) -> Array:
        """Return the kernel for factors of two layouts."""
        z = output_layout(x, y, self.max_degree, self.include_pseudotensors, bool(self.use_parity))
        shape = (
            *(1 + x.pseudotensors, x.max_degree + 1),
            *(1 + y.pseudotensors, y.max_degree + 1),
            *(1 + z.pseudotensors, z.max_degree + 1),
            x.features,
        )
        init = self.kernel_init if self.use_parity else partial(_init_without_parity, self.kernel_init)
        return p.param("kernel", shape, init, self.param_dtype)

    def plan(self, kernel: Array) -> Any:
        """Return the table of couplings that belongs to a kernel."""
        return coupling_plan(tuple(kernel.shape[:6]), bool(self.cartesian_order), bool(self.use_parity))


def _init_without_parity(init: Any, *arguments: Any) -> Array:
    """Initialise a kernel whose couplings are not restricted by parity."""
    if isinstance(init, TensorVarianceScaling):
        init = replace(init, use_parity=False)
    return init(*arguments)
