"""Dropout of whole irreps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from e3any_backends import Array

from e3any.checks import check_fraction, floating_backend
from e3any.conventions import component_degrees
from e3any.layout import Layout
from e3any.nn.layer import Layer, Parameters, is_training

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

    def forward(self, p: Parameters, inputs: Array, *, deterministic: bool | None = None) -> Array:
        """Drop irreps.

        Parameters
        ----------
        p : Parameters
            Source of random numbers: the stream ``dropout`` of Flax, the global generator of PyTorch, or that of
            :class:`e3any.nn.Variables`.
        inputs : array of shape (..., P, (L+1)**2, F)
            Features.
        deterministic : bool, optional
            True to return features unchanged. By default False if the module is being trained, else True. Linen modules
            and NumPy functions do not know this and need the argument.

        Returns
        -------
        array of shape (..., P, (L+1)**2, F)
            Features, some of which are zero.

        Raises
        ------
        ValueError
            If the shape is not that of features, or it is unknown whether the layer is being trained.
        TypeError
            If the inputs are not a floating-point array, or there is no generator of their library.
        """
        backend, layout = floating_backend(inputs=inputs), Layout.of(inputs)
        if not is_training(p, deterministic, "deterministic") or self.rate == 0.0:
            return backend.promote(inputs)[0]
        shape = (*inputs.shape[:-3], layout.num_parities, layout.max_degree + 1, layout.features)
        kept = p.uniform(shape, like=inputs) >= self.rate
        kept = backend.select(kept, backend.table(component_degrees, layout.max_degree, like=inputs), axis=-2)
        scaled = inputs if self.rate == 1.0 else inputs / (1.0 - self.rate)
        return backend.xp.where(kept, scaled, backend.xp.zeros_like(inputs))
