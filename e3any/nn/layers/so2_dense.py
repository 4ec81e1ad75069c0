"""Linear maps of features in the frames of edges, which mix degrees order by order."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from e3any_backends import Array, Backend
from numpy.typing import NDArray

from e3any.checks import check_count, check_degree, floating_backend
from e3any.layout import Layout
from e3any.nn.initializers import lecun_normal, zeros
from e3any.nn.layer import Layer, Parameters
from e3any.nn.layers.orders import signs, slots

__all__ = ["SO2Dense"]


@dataclass(frozen=True)
class SO2Dense(Layer):
    r"""A linear map of features in the frames of edges, with a kernel for every order m.

    .. math::
        y_0 = x_0 A_0 + b \qquad
        \begin{aligned} y_m &= x_m A_m - x_{-m} B_m \\ y_{-m} &= x_m B_m + x_{-m} A_m \end{aligned}

    Here x_m holds the components of order m of all degrees and features, and the matrices mix degrees and features.
    These are all linear maps that commute with rotations about the z axis, which in a frame is the edge (Passaro and
    Zitnick, `Reducing SO(3) convolutions to SO(2) <https://arxiv.org/abs/2302.03655>`_, 2023). So the message ::

        frame = nn.edge_frame(vectors, max_degree)
        y = nn.from_frame(nn.SO2Dense(features)(p, nn.to_frame(x, frame)), frame)

    is equivariant. It is as general as the sum of all couplings of x with the harmonics of the edge, with a matrix for
    each path of degrees.

    Maps of proper tensors of O(3) have no :math:`B_m`, because it changes sign under a reflection in a plane of the
    edge. With both parities, :math:`A_m` also mixes tensors with pseudotensors: :math:`x_m` then consists of
    :math:`x_m` of tensors, of parity :math:`(-1)^l`, and :math:`-x_{-m}` of pseudotensors, and :math:`x_{-m}` of
    :math:`x_{-m}` and :math:`x_m`.

    Parameters are ``{m}/kernel`` of shape ((L-m+1) F_in, (L'-m+1) F_out) for every order m, such as ``0/kernel``, and
    ``0/bias`` of shape (L'+1, F_out). Rows and columns are ordered by degree, then by feature. With
    ``use_parity=False``, kernels of m > 0 have the shape (2, ..., ...), A_m before B_m. With both parities, rows and
    columns of m > 0 are those of tensors, then those of pseudotensors, and pseudotensors of m = 0 have a kernel
    ``0/pseudo_kernel`` of their own.

    Parameters
    ----------
    features : int
        Number of output features.
    max_degree : int, optional
        Largest degree of the output L'; by default that of the inputs.
    max_order : int, optional
        Largest order that is mapped; components of higher orders are zero in the output. By default all are mapped.
    include_pseudotensors : bool, optional
        Whether the output has both parities; by default as the inputs.
    use_parity : bool, optional
        Whether features are irreps of O(3), so that the map commutes with inversions of space. False is for irreps of
        SO(3), without parity, as in eSCN; by default the setting of :class:`e3any.Config`.
    use_bias : bool
        Whether to add a bias to the components of order 0 of tensors.
    cartesian_order : bool, optional
        Order of components, see :mod:`e3any.conventions`; by default that of :class:`e3any.Config`.
    dtype : optional
        Dtype of the computation; that of inputs and parameters by default.
    param_dtype : optional
        Dtype that parameters are created with.
    precision : optional
        Precision of matrix products, see :class:`e3any.nn.Dense`.
    kernel_init, bias_init : Initializer or callable
        Initialisers of parameters. By default, the variance of a kernel is one over the number of numbers that enter an
        output, so that outputs are as large as inputs.

    Raises
    ------
    ValueError
        If a number is not an integer >= 0, or a setting is neither True nor False.
    TypeError
        If a dtype is not a floating-point dtype.

    Examples
    --------
    >>> from e3any import Layout
    >>> layer = SO2Dense(features=8, max_order=1)
    >>> {m: tree["kernel"].shape for m, tree in layer.parameters(Layout(max_degree=2, features=4)).items()}
    {'0': (12, 24), '1': (8, 16)}
    """

    layouts: ClassVar[tuple[str, ...]] = ("inputs",)

    features: int
    max_degree: int | None = None
    max_order: int | None = None
    include_pseudotensors: bool | None = None
    use_parity: bool | None = field(default=None, kw_only=True)
    use_bias: bool = True
    cartesian_order: bool | None = None
    dtype: Any = None
    param_dtype: Any = "float32"
    precision: Any = None
    kernel_init: Any = lecun_normal
    bias_init: Any = zeros

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self.features, "features")
        for name in ("max_degree", "max_order"):
            if getattr(self, name) is not None:
                check_degree(getattr(self, name), name)

    def forward(self, p: Parameters, inputs: Array, scale: Array | None = None) -> Array:
        """Apply the linear map.

        Parameters
        ----------
        p : Parameters
            Parameters.
        inputs : array of shape (..., P, (L+1)**2, F_in)
            Features in frames, see :func:`e3any.nn.to_frame`.
        scale : array of shape (..., S, F_in), optional
            Factors of the inputs, for example functions of the length of the edge: one for every order m, for tensors
            and pseudotensors if there are both, and for every degree l >= m, in this order. :meth:`num_scales` is S.

        Returns
        -------
        array of shape (..., P', (L'+1)**2, F_out)
            Features in frames.

        Raises
        ------
        ValueError
            If shapes do not fit, or ``use_parity`` is False and inputs or outputs have both parities.
        TypeError
            If an argument is not a floating-point array.
        """
        backend = floating_backend(inputs=inputs) if scale is None else floating_backend(inputs=inputs, scale=scale)
        layout = Layout.of(inputs)
        out = self._output(layout)
        lead = tuple(inputs.shape[:-3])
        if scale is not None and tuple(scale.shape) != (expected := (*lead, self.num_scales(layout), layout.features)):
            raise ValueError(f"expected scale of shape {expected}, got {tuple(scale.shape)}")
        kernels, pseudo, bias = self._parameters(p, layout, out)
        inputs, scale, pseudo, bias, *kernels = backend.promote(inputs, scale, pseudo, bias, *kernels, dtype=self.dtype)
        orders = _by_order(backend, inputs, layout, len(kernels) - 1, self.cartesian_order)
        if scale is not None:
            orders = _scaled(backend, orders, scale)
        mapped = self._order_zero(backend, orders[0], kernels[0], pseudo, bias, layout, out)
        for x, kernel in zip(orders[1:], kernels[1:], strict=True):
            mapped.append(self._pairs(backend, x, kernel))
        return _from_orders(backend, mapped, out, len(kernels) - 1, self.cartesian_order)

    def num_scales(self, layout: Layout) -> int:
        """Return the number of factors of each feature that :meth:`forward` takes.

        Parameters
        ----------
        layout : Layout
            Layout of the inputs.

        Returns
        -------
        int
            The number.
        """
        orders = range(self._largest_order(layout, self._output(layout)) + 1)
        return layout.num_parities * sum(layout.max_degree + 1 - m for m in orders)

    def _output(self, layout: Layout) -> Layout:
        degree = layout.max_degree if self.max_degree is None else self.max_degree
        both = layout.pseudotensors if self.include_pseudotensors is None else self.include_pseudotensors
        if not self.use_parity and (layout.pseudotensors or both):
            found = "inputs" if layout.pseudotensors else "an output"
            raise ValueError(f"expected features of one parity for use_parity=False, got {found} of both parities")
        return Layout(degree, self.features, both)

    def _largest_order(self, layout: Layout, out: Layout) -> int:
        degrees = min(layout.max_degree, out.max_degree)
        return degrees if self.max_order is None else min(degrees, self.max_order)

    def _parameters(self, p: Parameters, layout: Layout, out: Layout) -> tuple[list[Array], Array | None, Array | None]:
        """Return the kernels of all orders, that of pseudotensors of order 0, and the bias."""
        zero, dtype = p / "0", self.param_dtype
        shape: tuple[int, ...] = ((layout.max_degree + 1) * layout.features, (out.max_degree + 1) * out.features)
        kernels = [zero.param("kernel", shape, self.kernel_init, dtype)]
        has_pseudo = layout.pseudotensors and out.pseudotensors
        pseudo = zero.param("pseudo_kernel", shape, self.kernel_init, dtype) if has_pseudo else None
        bias_shape = out.max_degree + 1, out.features
        bias = zero.param("bias", bias_shape, self.bias_init, dtype) if self.use_bias else None
        for m in range(1, self._largest_order(layout, out) + 1):
            sizes = [x.num_parities * (x.max_degree + 1 - m) * x.features for x in (layout, out)]
            # Both parts in one array: initialisers count rows of both as inputs, since both enter an output.
            shape = tuple(sizes) if self.use_parity else (2, *sizes)
            kernels.append((p / str(m)).param("kernel", shape, self.kernel_init, dtype))
        return kernels, pseudo, bias

    def _order_zero(
        self,
        backend: Backend,
        x: Array,
        kernel: Array,
        pseudo: Array | None,
        bias: Array | None,
        layout: Layout,
        out: Layout,
    ) -> list[Array]:
        """Map the components (..., P (L+1), F) of order 0; return those of tensors, and of pseudotensors if any."""
        tensors, *pseudotensors = backend.pieces(x, [layout.max_degree + 1] * layout.num_parities, -2)
        y = self._product(backend, tensors, kernel, out.max_degree + 1)
        mapped = [y if bias is None else y + backend.aligned(bias, y)]
        if out.pseudotensors:
            mapped.append(
                backend.xp.zeros_like(mapped[0])
                if pseudo is None
                else self._product(backend, pseudotensors[0], pseudo, out.max_degree + 1)
            )
        return mapped

    def _pairs(self, backend: Backend, x: Array, kernel: Array) -> Array:
        """Map pairs (..., 2 n, F) of an order above 0, all u before all v."""
        xp, (*lead, rows, features) = backend.xp, x.shape
        x = xp.reshape(x, (*lead, 2, rows // 2, features))
        size = kernel.shape[-1] // self.features if self.features else 0
        if self.use_parity:
            y = self._product(backend, x, kernel, size)
        else:
            both = xp.concat([kernel[0, ...], kernel[1, ...]], axis=-1)
            products = self._product(backend, x, both, 2 * size)
            a, b = backend.pieces(products, [size, size], -2)
            u, v = a[..., 0, :, :] - b[..., 1, :, :], a[..., 1, :, :] + b[..., 0, :, :]
            y = xp.stack([u, v], axis=-3)
        return xp.reshape(y, (*lead, 2 * size, self.features))

    def _product(self, backend: Backend, x: Array, kernel: Array, size: int) -> Array:
        """Multiply (..., n, F), degrees and features as one axis, with a matrix: shape (..., size, features)."""
        # One large matrix product instead of many small ones.
        lead = tuple(x.shape[:-2])
        flat = backend.xp.reshape(x, (math.prod(lead), x.shape[-2] * x.shape[-1]))
        return backend.xp.reshape(backend.matmul(flat, kernel, self.precision), (*lead, size, self.features))


def _by_order(backend: Backend, x: Array, layout: Layout, max_order: int, cartesian_order: Any) -> list[Array]:
    """Return the components (..., rows, F) of the orders 0, ..., max_order, see :mod:`e3any.nn.layers.orders`."""
    degree, parities = layout.max_degree, layout.num_parities
    flat = backend.xp.reshape(x, (*x.shape[:-3], parities * (degree + 1) ** 2, layout.features))
    table = backend.table(slots, degree, parities, max_order, bool(cartesian_order), like=x)
    rows = backend.select(flat, table, axis=flat.ndim - 2)
    if parities == 2:
        rows = rows * backend.aligned(backend.table(signs, degree, parities, max_order, like=x), rows)
    sizes = [parities * (degree + 1 - m) * (2 if m else 1) for m in range(max_order + 1)]
    return backend.pieces(rows, sizes, -2)


def _from_orders(backend: Backend, orders: list[Array], out: Layout, max_order: int, cartesian_order: Any) -> Array:
    """Undo :func:`_by_order`; components of higher orders are zero."""
    degree, parities = out.max_degree, out.num_parities
    rows = backend.xp.concat(orders, axis=-2)
    if parities == 2:
        rows = rows * backend.aligned(backend.table(signs, degree, parities, max_order, like=rows), rows)
    if max_order < degree:  # one more row, of zeros
        rows = backend.xp.concat([rows, backend.xp.zeros_like(rows[..., :1, :])], axis=-2)
    table = backend.table(_rows_of_components, degree, parities, max_order, bool(cartesian_order), like=rows)
    flat = backend.select(rows, table, axis=rows.ndim - 2)
    return backend.xp.reshape(flat, (*flat.shape[:-2], *out.shape))


def _rows_of_components(max_degree: int, num_parities: int, max_order: int, cartesian_order: bool) -> NDArray[np.intp]:
    """Return the row of every component of a feature; the row after the last one for higher orders."""
    filled = slots(max_degree, num_parities, max_order, cartesian_order)
    rows = np.full(num_parities * (max_degree + 1) ** 2, len(filled), np.intp)
    rows[filled] = np.arange(len(filled))
    return rows


def _scaled(backend: Backend, orders: list[Array], scale: Array) -> list[Array]:
    """Multiply the components of every order by factors, those of a pair by the same one."""
    xp = backend.xp
    sizes = [x.shape[-2] // (2 if m else 1) for m, x in enumerate(orders)]
    factors = backend.pieces(scale, sizes, -2)
    doubled = [xp.concat([factor, factor], axis=-2) if m else factor for m, factor in enumerate(factors)]
    return [x * factor for x, factor in zip(orders, doubled, strict=True)]
