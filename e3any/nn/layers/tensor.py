"""The tensor product of two features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

from e3any_backends import Array

from e3any.checks import check_broadcast, check_degree, floating_backend
from e3any.irreps import Features, Irreps, in_order, irrep_backend, irrep_of
from e3any.layout import Layout
from e3any.nn.initializers import TensorVarianceScaling, path_scaling, tensor_lecun_normal
from e3any.nn.layer import Layer, Parameters
from e3any.nn.layers.blocks import promoted
from e3any.nn.layers.couplings import coupling_plan, output_layout
from e3any.nn.layers.irrep_paths import IrrepPath, candidates, irrep_paths, path_table

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
    effect. For factors by irrep it is (paths, F), in the order of :meth:`paths`.

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

    def forward(self, p: Parameters, inputs1: Features, inputs2: Features) -> Features:
        """Couple two features.

        Parameters
        ----------
        p : Parameters
            Parameters.
        inputs1 : array of shape (..., P1, (L1+1)**2, F), or dictionary of arrays (..., 2l+1, F) by irrep
            First factor. All irreps of a dictionary have the same number of features.
        inputs2 : array of shape (..., P2, (L2+1)**2, F), or dictionary
            Second factor; leading axes broadcast.

        Returns
        -------
        array of shape (..., P3, (L3+1)**2, F), or dictionary of all irreps that paths end in
            The product.

        Raises
        ------
        ValueError
            If shapes are not those of features, features differ, leading axes do not broadcast, or ``max_degree`` is
            out of reach.
        TypeError
            If an input is not a floating-point array, or inputs belong to different libraries.
        """
        if isinstance(inputs1, Mapping) or isinstance(inputs2, Mapping):
            return self._by_irrep(p, inputs1, inputs2)
        backend = floating_backend(inputs1=inputs1, inputs2=inputs2)
        x, y = Layout.of(inputs1, "inputs1"), Layout.of(inputs2, "inputs2")
        check_broadcast("leading axes", inputs1.shape[:-3], inputs2.shape[:-3])
        kernel = self.kernel(p, x, y)
        inputs1, inputs2, kernel = backend.promote(inputs1, inputs2, kernel, dtype=self.dtype)
        return backend.couple_features(inputs1, inputs2, kernel, self.plan(kernel))

    def paths(self, first: Irreps, second: Irreps) -> tuple[IrrepPath, ...]:
        """List the paths of factors by irrep, in the order of their weights.

        Parameters
        ----------
        first, second : Irreps
            Irreps of the factors.

        Returns
        -------
        tuple of (str, str, str)
            The irreps of both factors and of the product, sorted in this order, each by degree, then by parity.

        Raises
        ------
        ValueError
            If no path ends in an irrep of the product.
        """
        degree = max(first.max_degree, second.max_degree) if self.max_degree is None else self.max_degree
        ends = candidates(degree, first.has_parity, self.include_pseudotensors)
        found = irrep_paths(tuple(first), tuple(second), ends)
        if not found:
            raise ValueError(f"expected irreps that couple to a degree <= {degree}, got {first} and {second}")
        return found

    def _by_irrep(self, p: Parameters, x: Any, y: Any) -> dict[str, Array]:
        """Couple dictionaries."""
        if not (isinstance(x, Mapping) and isinstance(y, Mapping)):
            raise TypeError(f"expected two dictionaries by irrep or two arrays, got {type(x)} and {type(y)}")
        backend = irrep_backend(x, "inputs1")
        irrep_backend(y, "inputs2")
        first, second = Irreps.of(x, "inputs1"), Irreps.of(y, "inputs2")
        widths = {count for irreps in (first, second) for _, count in irreps.items()}
        if len(widths) > 1:
            raise ValueError(
                f"expected factors with equally many features of all irreps, got {first} and {second}; "
                f"see nn.Dense for the same number"
            )
        check_broadcast("leading axes", *(next(iter(z.values())).shape[:-2] for z in (x, y)))
        paths = self.paths(first, second)
        init = path_scaling(self.kernel_init, paths) if isinstance(self.kernel_init, TensorVarianceScaling) else None
        kernel = p.param("kernel", (len(paths), *widths), init or self.kernel_init, self.param_dtype)
        x, y, parts = promoted(backend, x, y, {"kernel": kernel}, dtype=self.dtype)
        outputs = in_order({c for _, _, c in paths})
        table = path_table(tuple(first), tuple(second), tuple(outputs), bool(self.cartesian_order), False)
        factors = [backend.xp.concat([z[name] for name in irreps], axis=-2) for z, irreps in ((x, first), (y, second))]
        rank = max(z.ndim for z in factors)
        left, right, weights = (
            backend.xp.reshape(z, (*(1,) * (rank + 1 - z.ndim), *z.shape)) for z in (*factors, parts["kernel"])
        )
        product = backend.couple(left, right, weights, table)
        blocks = backend.pieces(product, [2 * irrep_of(name)[0] + 1 for name in outputs], -2)
        return dict(zip(outputs, blocks, strict=True))

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
