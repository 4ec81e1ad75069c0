"""Defaults that are looked up when a function is called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

Normalization = Literal["racah", "schmidt", "4pi", "orthonormal"]

_DEFAULTS: dict[str, Any] = {"cartesian_order": True, "normalization": "racah", "use_fused_tensor": False}
_settings: dict[str, Any] = dict(_DEFAULTS)


class Config:
    """Defaults of options that many functions share.

    An argument that is given always wins; an argument that is ``None`` takes the value set here at the time of the
    call. ``Config.set_*`` changes a default from then on, ``Config.use`` within a block.

    Examples
    --------
    >>> from e3any import Config
    >>> with Config.use(cartesian_order=False):
    ...     Config.cartesian_order()
    False
    """

    @staticmethod
    def cartesian_order() -> bool:
        """Return whether components are in Cartesian order, see :mod:`e3any.conventions`."""
        return bool(_settings["cartesian_order"])

    @staticmethod
    def normalization() -> Normalization:
        """Return the normalisation of spherical harmonics, see :mod:`e3any.conventions`."""
        value: Normalization = _settings["normalization"]
        return value

    @staticmethod
    def use_fused_tensor() -> bool:
        """Return whether layers couple by the fused tensor product."""
        return bool(_settings["use_fused_tensor"])

    @staticmethod
    def set_cartesian_order(cartesian_order: bool) -> None:
        """Set the default order of components."""
        _update(cartesian_order=cartesian_order)

    @staticmethod
    def set_normalization(normalization: Normalization) -> None:
        """Set the default normalisation of spherical harmonics."""
        _update(normalization=normalization)

    @staticmethod
    def set_use_fused_tensor(use_fused_tensor: bool) -> None:
        """Set whether layers couple by the fused tensor product."""
        _update(use_fused_tensor=use_fused_tensor)

    @staticmethod
    @contextmanager
    def use(**settings: Any) -> Iterator[None]:
        """Set defaults within a ``with`` block.

        Parameters
        ----------
        **settings
            ``cartesian_order``, ``normalization`` or ``use_fused_tensor``.

        Raises
        ------
        ValueError
            If a setting is unknown or a value is of a wrong kind.
        """
        before = dict(_settings)
        _update(**settings)
        try:
            yield
        finally:
            _settings.update(before)


def _update(**settings: Any) -> None:
    _check(settings)
    _settings.update(settings)


def _check(settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        if name not in _DEFAULTS:
            raise ValueError(f"expected a setting of {sorted(_DEFAULTS)}, got {name!r}")
        if name == "normalization":
            check_normalization(value)
        elif not isinstance(value, bool):
            raise ValueError(f"expected {name} to be True or False, got {value!r}")


def check_normalization(value: Any) -> None:
    """Raise a ValueError unless ``value`` names a normalisation."""
    if value not in get_args(Normalization):
        raise ValueError(f"expected a normalization of {get_args(Normalization)}, got {value!r}")


def cartesian_order_or_default(value: bool | None) -> bool:
    """Return the value of an argument, or the default where it is ``None``."""
    return Config.cartesian_order() if value is None else value


def normalization_or_default(value: Normalization | None) -> Normalization:
    """Return the value of an argument, or the default where it is ``None``; checks it."""
    if value is None:
        return Config.normalization()
    check_normalization(value)
    return value
