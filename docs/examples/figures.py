"""Figures without a display."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt

__all__ = ["mark_sizes", "plt", "save"]


def mark_sizes(axis: Any, sizes: Sequence[int]) -> None:
    """Put the numbers of samples on a logarithmic axis."""
    axis.set_xticks(sizes, [str(size) for size in sizes])
    axis.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)


def save(figure: Any, path: Path) -> None:
    """Write a figure and forget it."""
    figure.savefig(path, dpi=150)
    plt.close(figure)
    print(f"wrote {path}")
