"""Checks of categories of samples, such as the species of atoms."""

from __future__ import annotations

from e3any_backends import Array, backend_of

from e3any.checks import shown

__all__ = ["check_categories"]


def check_categories(inputs: Array, categories: Array, lead: tuple[int, ...]) -> None:
    """Raise an error unless there is an integer for every sample of the inputs."""
    backend = backend_of(inputs, categories)
    if not hasattr(categories, "shape") or not backend.is_integer(categories):
        raise TypeError(f"expected categories to be an integer array, got {shown(categories)}")
    if tuple(categories.shape) != lead:
        raise ValueError(f"expected categories of shape {lead}, got {tuple(categories.shape)}")
    backend.check_devices(inputs, categories)
