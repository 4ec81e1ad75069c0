"""Messages between nodes, with weights for every edge and path that a small network computes from the distance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import index
from typing import Any, ClassVar

import numpy as np
from e3any_backends import Array, Backend, backend_of

from e3any.checks import check_callable, check_count, check_counts, check_degree, floating_backend, shown
from e3any.irreps import Features, Irreps, irrep_backend, irrep_of
from e3any.layout import Layout
from e3any.nn.activations import silu
from e3any.nn.basis import FactoredBasis
from e3any.nn.features import from_irreps, to_irreps
from e3any.nn.initializers import lecun_normal
from e3any.nn.layer import Layer, Parameters
from e3any.nn.layers.blocks import promoted
from e3any.nn.layers.couplings import coupling_plan, output_layout
from e3any.nn.layers.dense import Dense
from e3any.nn.layers.edges import Edges
from e3any.nn.layers.irrep_paths import IrrepPath, candidates, edge_path_sums, irrep_paths, path_sums
from e3any.nn.layers.summed_paths import factor_of_path, num_weights, summed_form, summed_paths, weight_of_path
from e3any.ops.indexed import indexed_sum

__all__ = ["PathMessagePass"]


@dataclass(frozen=True)
class PathMessagePass(Layer):
    r"""Sum couplings of neighbours with harmonics, weighted for every edge, path and feature by a network.

    .. math::
        y_i^{(c)} = \frac{1}{\sqrt{n_c}} \sum_{j \in \mathcal{N}(i)} \sum_{b, a} w^{(bac)}(r_{ij}) \,
        \mathrm{couple}\bigl(Y^{(b)}(\hat r_{ij}), x_j^{(a)}\bigr)^{(c)} \qquad
        w(r) = W_n\, \phi(\cdots \phi(W_0\, g(r)))

    with radial functions g and the number :math:`n_c` of paths that end in an irrep c.

    With ``features``, the sums of all paths are kept apart, and a learned matrix mixes those that end in an irrep:

    .. math::
        y_i^{(c)} = \sum_{a, b} \Bigl(\sum_{j \in \mathcal{N}(i)} w^{(abc)}(r_{ij}) \,
        \mathrm{couple}\bigl(x_j^{(a)}, Y^{(b)}(\hat r_{ij})\bigr)^{(c)}\Bigr) W^{(abc)}

    This is the convolution of NequIP (Batzner et al., `E(3)-equivariant graph neural networks
    <https://arxiv.org/abs/2101.03164>`_, 2022), MACE and SevenNet. Irreps can then have numbers of features of their
    own, see :class:`e3any.Irreps`.

    :class:`MessagePass` is cheaper. Its weight of a path is the product of a weight for the distance and b, and a
    weight for b, a and c, so that no weights are stored for every edge and path.

    The network has no biases: if the activation of zero is zero, weights are zero where the radial functions are, for
    example beyond a cut-off. Parameters are ``mlp0/0+/kernel``, ``mlp1/0+/kernel``, ..., the last one of shape
    (H, paths * F), path by path in the order of :meth:`paths`; with ``features`` also ``out/{irrep}/kernel``, whose
    rows are those of the paths that end in the irrep, in the same order.

    Parameters
    ----------
    max_degree : int, optional
        Largest degree of the output; the larger one of the inputs' and the basis' by default. Not with irreps as
        ``features``.
    hidden : sequence of int
        Sizes of the hidden layers of the network.
    activation : callable
        Activation after each hidden layer, for example :func:`e3any.nn.silu`.
    include_pseudotensors : bool
        Whether the output has both parities. It always has one if the inputs are proper tensors, and inputs, basis or
        output have degree 0 only.
    cartesian_order : bool, optional
        Order of components, see :mod:`e3any.conventions`; by default that of :class:`e3any.Config`.
    dtype, param_dtype, precision : optional
        See :class:`Dense`.
    kernel_init : Initializer or callable
        Initialiser of parameters.
    use_parity : bool, optional
        Whether irreps of arrays have a parity, see :class:`Tensor`; by default the setting of :class:`e3any.Config`.
    features : int or Irreps, optional
        Number of features that each irrep of the output is mixed to, or irreps for an output by irrep. By default paths
        are added instead. It is required for inputs by irrep.

    Raises
    ------
    ValueError
        If a number is not an integer >= 0, a setting is neither True nor False, or there is a ``max_degree`` beside
        irreps.
    TypeError
        If ``hidden`` is not a sequence, the activation can't be called, or a dtype is not a floating-point dtype.
    """

    layouts: ClassVar[tuple[str, ...]] = ("inputs", "basis")

    max_degree: int | None = None
    hidden: Sequence[int] = (64, 64)
    activation: Any = silu
    include_pseudotensors: bool = True
    cartesian_order: bool | None = None
    dtype: Any = None
    param_dtype: Any = "float32"
    precision: Any = None
    kernel_init: Any = lecun_normal
    use_parity: bool | None = field(default=None, kw_only=True)
    features: int | Irreps | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_degree is not None:
            check_degree(self.max_degree)
        check_counts(self.hidden, "hidden")
        object.__setattr__(self, "hidden", tuple(self.hidden))
        check_callable(self.activation, "activation")
        if isinstance(self.features, Irreps):
            if self.max_degree is not None:
                raise ValueError(f"expected max_degree None with features of irreps, got {self.max_degree}")
        elif self.features is not None:
            check_count(self.features, "features")
            object.__setattr__(self, "features", int(self.features))

    def example(self, *layouts: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return two nodes with the layouts of inputs and basis, and one edge."""
        if len(layouts) != 2 or not isinstance(layouts[0], Layout | Irreps) or not isinstance(layouts[1], Layout):
            return super().example(*layouts)
        inputs, basis = layouts
        parts = FactoredBasis(basis.example(1)[:, 0, :1, :], basis.example(1)[:, 0, :, 0])
        edge = np.zeros((1,), np.int32)
        return (inputs.example(2), parts), {"dst_idx": edge, "src_idx": edge}

    def forward(
        self,
        p: Parameters,
        inputs: Features,
        basis: FactoredBasis,
        *,
        adj_idx: Array | None = None,
        where: Array | None = None,
        dst_idx: Array | None = None,
        src_idx: Array | None = None,
        num_segments: int | None = None,
        indices_are_sorted: bool = False,
    ) -> Features:
        """Pass messages along a dense list of neighbours (``adj_idx``) or a sparse list of edges.

        Parameters
        ----------
        p : Parameters
            Parameters.
        inputs : array of shape (..., N, P, (L+1)**2, F), or dictionary of arrays (..., N, 2l+1, F) by irrep
            Features of N nodes.
        basis : FactoredBasis
            Radial functions of shape (..., N, M, 1 or Lb+1, K) and harmonics of shape (..., N, M, (Lb+1)**2), for a
            dense list, or (..., E, 1 or Lb+1, K) and (..., E, (Lb+1)**2); see :func:`e3any.nn.basis` with
            ``factored=True``.
        adj_idx, where, dst_idx, src_idx, num_segments, indices_are_sorted
            See :meth:`MessagePass.forward`.

        Returns
        -------
        array of shape (..., N, P', (L'+1)**2, F')
            The sums of messages; a dictionary of arrays (..., N, 2l+1, F') if inputs are one, or if ``features`` are
            irreps. Irreps that no path ends in are left out of a dictionary.

        Raises
        ------
        RuntimeError
            If neither or both kinds of index list are given.
        TypeError
            If the basis is not factored, a list is not an integer array, another input is not a floating-point array,
            or arrays belong to different libraries.
        ValueError
            If shapes do not fit, or ``num_segments`` is not an integer >= 0.
        """
        if not isinstance(basis, FactoredBasis):
            raise TypeError(f"expected a factored basis, see nn.basis(..., factored=True), got {type(basis).__name__}")
        lists: dict[str, Any] = {
            "adj_idx": adj_idx,
            "where": where,
            "dst_idx": dst_idx,
            "src_idx": src_idx,
            "num_segments": num_segments,
            "indices_are_sorted": indices_are_sorted,
        }
        if isinstance(inputs, Mapping):
            return self._apart(p, inputs, basis, lists, self._outputs(Irreps.of(inputs), basis.max_degree))
        backend, layout = floating_backend(inputs=inputs), Layout.of(inputs)
        if self.features is not None:
            return self._apart_of_array(p, inputs, basis, lists)
        edges = Edges.between(inputs, inputs, **lists)
        edges.check_basis(basis)
        harmonics = Layout(basis.max_degree, layout.features)
        use_parity = bool(self.use_parity)
        out = self._output_layout(layout, basis.max_degree)
        shapes = [(n.num_parities, n.max_degree + 1) for n in (harmonics, layout, out)]
        kernel_shape = tuple(n for shape in shapes for n in shape)
        weights = self._network(backend, p, basis.radial, num_weights(kernel_shape, use_parity) * layout.features)
        x, angular, weights = backend.promote(inputs, basis.angular, weights[..., 0, 0, :], dtype=self.dtype)
        order = bool(self.cartesian_order)
        if backend.sums_paths(x, angular, weights):
            form = summed_form(kernel_shape, order, use_parity, index(layout.features))
            rows = backend.xp.reshape(x, (*x.shape[:-3], math.prod(x.shape[-3:])))
            sums = edge_path_sums(backend, rows, angular, weights, edges, form)
            return backend.xp.reshape(
                sums, (*sums.shape[:-1], out.num_parities, (out.max_degree + 1) ** 2, layout.features)
            )
        gathered = edges.gather_src(x)
        shape = (*angular.shape[:-1], 1, angular.shape[-1], layout.features)
        y = backend.xp.broadcast_to(angular[..., None, :, None], shape)
        plan = coupling_plan(kernel_shape, order, use_parity)
        messages = backend.couple_paths(y, gathered, self._by_parity(backend, weights, kernel_shape), plan)
        return indexed_sum(messages, **edges.reduction(x.shape[-4]))

    def _by_parity(self, backend: Backend, weights: Array, kernel_shape: tuple[int, ...]) -> Array:
        """Return the weights (1, R, *edges, paths, F) of the paths of the table."""
        xp, lead = backend.xp, tuple(weights.shape[:-1])
        kind = kernel_shape, bool(self.use_parity)
        num = num_weights(*kind)
        features = weights.shape[-1] // num
        x = xp.reshape(weights, (*lead, num, features))
        which = backend.table(weight_of_path, *kind, like=x)
        x = backend.select(x, xp.reshape(which, (-1,)), axis=-2)
        x = xp.reshape(x, (*lead, *which.shape, features))
        x = x * backend.aligned(backend.table(factor_of_path, *kind, like=x), x)
        order = (x.ndim - 3, *range(x.ndim - 3), x.ndim - 2, x.ndim - 1)
        return xp.permute_dims(x, order)[None, ...]

    def _network(self, backend: Backend, p: Parameters, radial: Array, num: int) -> Array:
        """Return the output (*edges, 1, 1, num) of the network of radial functions."""
        x = backend.xp.reshape(radial, (*radial.shape[:-2], 1, 1, radial.shape[-2] * radial.shape[-1]))
        for number, size in enumerate((*self.hidden, num)):
            x = self._dense(size)(p / f"mlp{number}", self.activation(x) if number else x)
        return x

    def _dense(self, features: int | Irreps) -> Dense:
        return Dense(features, False, self.dtype, self.param_dtype, self.precision, self.kernel_init)

    def paths(self, inputs: Layout | Irreps, max_filter: int) -> tuple[IrrepPath, ...]:
        """List the paths of messages in the order of their weights.

        Parameters
        ----------
        inputs : Layout or Irreps
            Layout or irreps of the inputs.
        max_filter : int
            Largest degree of the basis.

        Returns
        -------
        tuple of (str, str, str)
            The irreps of the inputs, of the harmonics, and of the output. With ``features`` they are sorted in this
            order, each by degree, then by parity.

        Raises
        ------
        ValueError
            If ``max_filter`` is not an integer >= 0, or no path ends in an irrep of the output.
        TypeError
            If ``inputs`` are neither a layout nor irreps.

        Examples
        --------
        >>> PathMessagePass(features=Irreps("8x0 + 4x1")).paths(Irreps("8x0 + 4x1"), 1)
        (('0', '0', '0'), ('0', '1', '1'), ('1', '0', '1'), ('1', '1', '0'), ('1', '1', '1'))
        """
        check_degree(max_filter, "max_filter")
        if isinstance(inputs, Irreps):
            return _message_paths(inputs, max_filter, self._outputs(inputs, max_filter))
        if not isinstance(inputs, Layout):
            raise TypeError(f"expected inputs to be a Layout or Irreps, got {shown(inputs)}")
        if isinstance(self.features, Irreps):
            return self.paths(Irreps.of_layout(inputs, use_parity=self.use_parity), max_filter)
        out = self._output_layout(inputs, max_filter)
        if self.features is not None:
            irreps = Irreps.of_layout(inputs, use_parity=self.use_parity)
            return _message_paths(irreps, max_filter, Irreps.of_layout(out, use_parity=self.use_parity))
        shapes = [(n.num_parities, n.max_degree + 1) for n in (Layout(max_filter, 1), inputs, out)]
        named = summed_paths(tuple(n for shape in shapes for n in shape), bool(self.use_parity))
        return named if self.use_parity else tuple((a[:-1], b[:-1], c[:-1]) for a, b, c in named)

    def _output_layout(self, inputs: Layout, max_filter: int) -> Layout:
        """Return the layout of the output of an array."""
        harmonics = Layout(max_filter, inputs.features)
        out = output_layout(harmonics, inputs, self.max_degree, self.include_pseudotensors, bool(self.use_parity))
        return replace(out, features=self.features) if isinstance(self.features, int) else out

    def _outputs(self, inputs: Irreps, max_filter: int) -> Irreps:
        """Return the irreps of the output of a dictionary, without those that no path ends in."""
        if self.features is None:
            raise ValueError("expected features, an integer or irreps, for inputs by irrep, got None")
        wanted = self.features
        if not isinstance(wanted, Irreps):
            degree = max(inputs.max_degree, max_filter) if self.max_degree is None else self.max_degree
            wanted = Irreps(
                dict.fromkeys(candidates(degree, inputs.has_parity, self.include_pseudotensors), self.features)
            )
        ends = {c for _, _, c in _message_paths(inputs, max_filter, wanted)}
        if not ends:
            raise ValueError(
                f"expected features of irreps that {inputs} and harmonics up to degree {max_filter} couple to, "
                f"got {wanted}"
            )
        return Irreps({name: count for name, count in wanted.items() if name in ends})

    def _apart_of_array(self, p: Parameters, inputs: Array, basis: FactoredBasis, lists: dict[str, Any]) -> Any:
        """Keep the paths of an array apart."""
        x, layout = to_irreps(inputs, use_parity=self.use_parity), Layout.of(inputs)
        if isinstance(self.features, Irreps):
            return self._apart(p, x, basis, lists, self._outputs(Irreps.of(x), basis.max_degree))
        out = Irreps.of_layout(self._output_layout(layout, basis.max_degree), use_parity=self.use_parity)
        ends = {c for _, _, c in _message_paths(Irreps.of(x), basis.max_degree, out)}
        y = self._apart(p, x, basis, lists, Irreps({name: out[name] for name in out if name in ends}))
        # An array also has irreps that no path ends in, such as pseudoscalars of proper tensors.
        zeros = backend_of(*y.values()).xp.zeros_like(y[out.scalar])
        for name in out:
            if name not in y:
                shape = (*zeros.shape[:-2], 2 * irrep_of(name)[0] + 1, zeros.shape[-1])
                y[name] = backend_of(zeros).xp.broadcast_to(zeros, shape)
        return from_irreps(y)

    def _apart(
        self, p: Parameters, x: Mapping[str, Array], basis: FactoredBasis, lists: dict[str, Any], outputs: Irreps
    ) -> dict[str, Array]:
        """Sum messages path by path, and mix the paths that end in the same irrep."""
        backend, irreps = irrep_backend(x), Irreps.of(x)
        nodes = x[next(iter(irreps))][..., None, :, :]
        edges = Edges.between(nodes, nodes, **lists)
        edges.check_basis(basis)
        paths, filters = _message_paths(irreps, basis.max_degree, outputs), _filters(irreps, basis.max_degree)
        widths = [irreps[a] for a, _, _ in paths]
        weights = self._network(backend, p, basis.radial, sum(widths))[..., 0, 0, :]
        x, parts = promoted(backend, x, {"angular": basis.angular, "weights": weights}, dtype=self.dtype)
        order = bool(self.cartesian_order)
        sums = path_sums(backend, x, parts["angular"], parts["weights"], edges, filters, tuple(outputs), order)
        wide: dict[str, list[Array]] = {}
        for (_, _, c), block in zip(paths, sums, strict=True):
            wide.setdefault(c, []).append(block)
        joined = {
            c: blocks[0] if len(blocks) == 1 else backend.xp.concat(blocks, axis=-1) for c, blocks in wide.items()
        }
        mixed: dict[str, Array] = self._dense(outputs)(p / "out", joined)
        return mixed


def _filters(inputs: Irreps, max_filter: int) -> tuple[str, ...]:
    """Return the irreps of harmonics, which are proper tensors."""
    return candidates(max_filter, inputs.has_parity, False)


def _message_paths(inputs: Irreps, max_filter: int, outputs: Irreps) -> tuple[IrrepPath, ...]:
    return irrep_paths(tuple(inputs), _filters(inputs, max_filter), tuple(outputs))
