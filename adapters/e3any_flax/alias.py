"""Imports of the files of this package under the name of e3x."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["find_under_other_names"]

_PACKAGE = __name__.partition(".")[0]


class _Finder(MetaPathFinder, Loader):
    """Finds ``e3any_flax.nn.modules`` as ``e3x.nn.modules`` if ``sys.modules["e3x"]`` is this package."""

    # Without it Python would execute the files again, and create a second set of classes.

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        name, _, rest = fullname.partition(".")
        if not rest or name == _PACKAGE or sys.modules.get(name) is not sys.modules.get(_PACKAGE):
            return None
        module = import_module(f"{_PACKAGE}.{rest}")
        return ModuleSpec(fullname, self, loader_state=(module, module.__spec__))

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module: ModuleType = spec.loader_state[0]
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import has replaced the spec of the module by that of the other name.
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state[1]


def find_under_other_names() -> None:
    """Let imports find the files of this package under every name that it has in ``sys.modules``."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
