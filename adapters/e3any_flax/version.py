"""The version of the package."""

from e3any import __version__ as __version__

__all__ = ["__version__"]
