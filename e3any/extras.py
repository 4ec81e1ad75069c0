"""Optional packages, and the extras that install them."""

from __future__ import annotations

from importlib import import_module

__all__ = ["require"]


def require(extra: str, *modules: str) -> None:
    """Import modules of optional packages.

    Parameters
    ----------
    extra : str
        The extra of e3any that installs them.
    *modules : str
        Their names.

    Raises
    ------
    ModuleNotFoundError
        If one is not installed; the message names the extra.
    """
    for module in modules:
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:  # an installed package lacks one of its own dependencies
                raise
            message = f"expected the package {module!r}, got none: pip install 'e3any[{extra}]' installs it"
            raise ModuleNotFoundError(message, name=module) from error
