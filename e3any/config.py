"""Defaults of shared options, read whenever a function is called."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

from e3any.checks import check_flag, shown

Normalization = Literal["racah", "schmidt", "4pi", "orthonormal"]

_DEFAULTS: dict[str, Any] = {
    "cartesian_order": True,
    "normalization": "racah",
    "use_fused_tensor": False,
    "use_parity": True,
}
_settings: dict[str, Any] = dict(_DEFAULTS)


class _Settings(type):
    """The settings as attributes of a class, which can be read and set.

    Other attributes cannot be set: a misspelt setting would change nothing. Subclasses can have settings of their own,
    which are their annotated attributes.
    """

    def __setattr__(cls, name: str, value: Any) -> None:
        if not name.startswith("__"):
            _check_name(name, cls.__names())
        super().__setattr__(name, value)

    def __delattr__(cls, name: str) -> None:
        _check_name(name, cls.__names())
        raise ValueError(f"expected a value for {shown(name)}, got none: Config.set_{name}() restores the default")

    def __names(cls) -> list[str]:
        return [*_DEFAULTS, *(name for base in cls.__mro__ for name in vars(base).get("__annotations__", ()))]

    @property
    def cartesian_order(cls) -> bool:
        """Whether components are in Cartesian order, see :mod:`e3any.conventions`."""
        return bool(_settings["cartesian_order"])

    @cartesian_order.setter
    def cartesian_order(cls, value: bool) -> None:
        _update(cartesian_order=value)

    @property
    def normalization(cls) -> Normalization:
        """The normalisation of spherical harmonics, see :mod:`e3any.conventions`."""
        value: Normalization = _settings["normalization"]
        return value

    @normalization.setter
    def normalization(cls, value: Normalization) -> None:
        _update(normalization=value)

    @property
    def use_fused_tensor(cls) -> bool:
        """Whether layers couple by the fused tensor product."""
        return bool(_settings["use_fused_tensor"])

    @use_fused_tensor.setter
    def use_fused_tensor(cls, value: bool) -> None:
        _update(use_fused_tensor=value)

    @property
    def use_parity(cls) -> bool:
        """Whether irreps have a parity: those of O(3) have, those of SO(3) have none."""
        return bool(_settings["use_parity"])

    @use_parity.setter
    def use_parity(cls, value: bool) -> None:
        _update(use_parity=value)


class Config(metaclass=_Settings):
    """Defaults of options that many functions share.

    ``Config.cartesian_order``, ``Config.normalization``, ``Config.use_fused_tensor`` and ``Config.use_parity`` are the
    defaults. They apply to arguments that are ``None``. Functions read them at each call, layers when they are built.
    ``Config.set_*`` changes a default from then on, ``Config.use`` within a block.

    Examples
    --------
    >>> from e3any import Config
    >>> with Config.use(cartesian_order=False):
    ...     Config.cartesian_order
    False
    """

    def __setattr__(self, name: str, value: Any) -> None:
        raise ValueError(
            f"expected settings of the class, {type(self).__name__}.{name} = ..., got {shown(name)} of an instance, "
            f"which nothing reads"
        )

    def __delattr__(self, name: str) -> None:
        raise ValueError(f"expected settings of the class, got {shown(name)} of an instance to delete")

    @staticmethod
    def set_cartesian_order(cartesian_order: bool = True) -> None:
        """Set the default order of components."""
        _update(cartesian_order=cartesian_order)

    @staticmethod
    def set_normalization(normalization: Normalization = "racah") -> None:
        """Set the default normalisation of spherical harmonics."""
        _update(normalization=normalization)

    @staticmethod
    def set_use_fused_tensor(use_fused_tensor: bool = False) -> None:
        """Set whether layers couple by the fused tensor product."""
        _update(use_fused_tensor=use_fused_tensor)

    @staticmethod
    def set_use_parity(use_parity: bool = True) -> None:
        """Set whether irreps have a parity, O(3), or none, SO(3)."""
        _update(use_parity=use_parity)

    @staticmethod
    @contextmanager
    def use(**settings: Any) -> Iterator[None]:
        """Set defaults within a ``with`` block.

        Parameters
        ----------
        **settings
            ``cartesian_order``, ``normalization``, ``use_fused_tensor`` or ``use_parity``.

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
    _settings.update({name: value if name == "normalization" else bool(value) for name, value in settings.items()})


def _check(settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        if name not in _DEFAULTS:
            _check_name(name, _DEFAULTS)
        if name == "normalization":
            check_normalization(value)
        else:
            check_flag(value, name)


def _check_name(name: str, names: Collection[str]) -> None:
    """Raise a ValueError that names the nearest setting unless ``name`` is one."""
    if name not in names:
        nearest = difflib.get_close_matches(name, names, n=1) or difflib.get_close_matches(name.lower(), names, n=1)
        remedy = f"; write {nearest[0]!r}" if nearest else ""
        raise ValueError(f"expected a setting of {sorted(names)}, got {shown(name)}{remedy}")


def check_normalization(value: Any) -> None:
    """Raise a ValueError unless ``value`` names a normalisation."""
    if not isinstance(value, str) or value not in get_args(Normalization):
        raise ValueError(f"expected a normalization of {get_args(Normalization)}, got {shown(value)}")


def setting_or_default(name: str, value: Any) -> Any:
    """Return the value of an argument, or the setting of this name where it is ``None``; checks it."""
    if value is None:
        return _settings[name]
    _check({name: value})
    return value if name == "normalization" else bool(value)


def cartesian_order_or_default(value: bool | None) -> bool:
    """Return the value of an argument, or the default where it is ``None``; checks it."""
    return bool(setting_or_default("cartesian_order", value))


def normalization_or_default(value: Normalization | None) -> Normalization:
    """Return the value of an argument, or the default where it is ``None``; checks it."""
    normalization: Normalization = setting_or_default("normalization", value)
    return normalization
