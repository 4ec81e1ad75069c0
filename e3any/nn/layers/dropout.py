"""Dropout of whole irreps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from e3any_backends import Array, Backend

from e3any.checks import check_fraction, floating_backend
from e3any.conventions import component_degrees
from e3any.irreps import Features, in_order, irrep_backend
from e3any.layout import Layout
from e3any.nn.layer import Layer, Parameters, is_training
from e3any.nn.layers.blocks import promoted

__all__ = ["Dropout"]


@dataclass(frozen=True)
class Dropout(Layer):
    r"""Set random irreps to zero in training.

    .. math::
        y^{(l_p)}_{mf} = \frac{b^{(l_p)}_f}{1 - q}\, x^{(l_p)}_{mf} \qquad b^{(l_p)}_f \in \{0, 1\}, \quad
        P(b = 0) = q

    All components of a feature of an irrep are dropped together, so that the layer stays equivariant (Srivastava et
    al., `Dropout <https://jmlr.org/papers/v15/srivastava14a.html>`_, 2014). Samples, degrees, parities and features are
    dropped independently. There are no parameters.

    Parameters
    ----------
    rate : float
        The probability q in [0, 1] that an irrep is dropped.

    Raises
    ------
    ValueError
        If ``rate`` is not in [0, 1].
    TypeError
        If ``rate`` is not a number.
    """

    rate: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction(self.rate, "rate")

    def example(self, *layouts: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the smallest inputs, and an option to drop nothing."""
        inputs, options = super().example(*layouts)
        return inputs, {**options, "deterministic": True}

    def forward(self, p: Parameters, inputs: Features, *, deterministic: bool | None = None) -> Features:
        """Drop irreps.

        Parameters
        ----------
        p : Parameters
            Source of random numbers: the stream ``dropout`` of Flax, the global generator of PyTorch, or that of
            :class:`e3any.nn.Variables`.
        inputs : array of shape (..., P, (L+1)**2, F), or dictionary of arrays (..., 2l+1, F) by irrep
            Features.
        deterministic : bool, optional
            True to return features unchanged. By default False if the module is being trained, else True. Linen modules
            and NumPy functions do not know this and need the argument.

        Returns
        -------
        array or dictionary of the shapes of the inputs
            Features, some of which are zero.

        Raises
        ------
        ValueError
            If the shape is not that of features, or it is unknown whether the layer is being trained.
        TypeError
            If the inputs are not a floating-point array, or there is no generator of their library.
        """
        if isinstance(inputs, Mapping):
            return self._by_irrep(p, inputs, deterministic)
        backend, layout = floating_backend(inputs=inputs), Layout.of(inputs)
        if not is_training(p, deterministic, "deterministic") or self.rate == 0.0:
            return backend.promote(inputs)[0]
        shape = (*inputs.shape[:-3], layout.num_parities, layout.max_degree + 1, layout.features)
        kept = p.uniform(shape, like=inputs) >= self.rate
        kept = backend.select(kept, backend.table(component_degrees, layout.max_degree, like=inputs), axis=-2)
        return self._kept(backend, inputs, kept)

    def _by_irrep(self, p: Parameters, inputs: Mapping[str, Array], deterministic: bool | None) -> dict[str, Array]:
        backend = irrep_backend(inputs)
        (inputs,) = promoted(backend, inputs)
        if not is_training(p, deterministic, "deterministic") or self.rate == 0.0:
            return dict(inputs)
        shapes = {name: (*x.shape[:-2], 1, x.shape[-1]) for name, x in inputs.items()}
        kept = {name: p.uniform(shapes[name], like=inputs[name]) >= self.rate for name in in_order(inputs)}
        return {name: self._kept(backend, x, kept[name]) for name, x in inputs.items()}

    def _kept(self, backend: Backend, x: Array, kept: Array) -> Array:
        scaled = x if self.rate == 1.0 else x / (1.0 - self.rate)
        return backend.xp.where(kept, scaled, backend.xp.zeros_like(x))
