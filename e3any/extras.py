"""Packages that only a part of the library needs, and the extra that installs them."""

from __future__ import annotations

from importlib import import_module

__all__ = ["require"]


def require(extra: str, *modules: str) -> None:
    """Import modules of other packages.

    Parameters
    ----------
    extra : str
        The extra of this package that installs them.
    *modules : str
        Their names.

    Raises
    ------
    ModuleNotFoundError
        If one is not installed; the message says how it is.
    """
    for module in modules:
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:  # a package that is installed lacks one of its own
                raise
            message = f"expected the package {module!r}, got none: pip install 'e3any[{extra}]' installs it"
            raise ModuleNotFoundError(message, name=module) from error
