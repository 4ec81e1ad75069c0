"""A picture of ratios: one mark for every peer and case."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt

from .cases import FRAMEWORKS
from .results import Results


def draw(results: Results, path: Path) -> None:
    """Draw ratios of every peer's time to e3any's, in the mode "backward"; right of 1 e3any is faster."""
    figure, panels = plt.subplots(1, 2, figsize=(13, 12), layout="constrained")
    for panel, name in zip(panels, ("jax", "torch"), strict=True):
        _panel(panel, results, *FRAMEWORKS[name])
        panel.set_title(f"{name}: time of peers over that of e3any")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _panel(panel: plt.Axes, results: Results, ours: tuple[str, ...], peers: tuple[str, ...]) -> None:
    measured = {key: set(times) for key, times in results.times.items() if key.mode == "backward"}
    rows = [key for key, names in measured.items() if names & set(ours) and names & set(peers)]
    for peer in peers:
        points = [(results.times[key].get(peer), results.times[key], i) for i, key in enumerate(rows)]
        marks = [(time / min(times[o] for o in ours if o in times), i) for time, times, i in points if time is not None]
        if marks:
            panel.plot(*zip(*marks, strict=True), "o", label=peer)
    panel.axvline(1.0, color="black", linewidth=1)
    panel.set_xscale("log")
    panel.set_yticks(range(len(rows)), [f"{key.operation} {key.title}" for key in rows], fontsize=7)
    panel.invert_yaxis()
    panel.grid(axis="x", alpha=0.3)
    panel.legend()
