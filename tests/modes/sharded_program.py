"""Run by ``test_jax_modes.py`` in a process that has several devices: compares numbers of layers."""

from __future__ import annotations

import os

import jax
from array_trees import tree_map
from modes.cases import KINDS, Case
from modes.jax_modes import Run, arguments_of, assert_same, sharded

# One of every primitive and of every kind of list.
SOME = ("Dense", "Tensor", "MessagePass, sparse", "MessagePass, dense", "spherical_harmonics")


def main() -> None:
    """Compare results, for every kind if all modes are tested."""
    jax.config.update("jax_enable_x64", True)
    num = len(jax.devices())
    for kind in KINDS if os.environ.get("E3ANY_MODES") else SOME:
        case = Case(kind, features=16, rows=num)
        # Without the edge that is padding, lists can be split.
        arguments = tree_map(lambda x: x[:-1] if x.ndim and len(x) == 2 * num + 1 else x, arguments_of(case))
        assert_same(sharded(Run.of(case.layer, arguments)), case.layer, arguments, case.dtype)
    print(f"{num} devices")


if __name__ == "__main__":
    main()
