"""An extension of Sphinx: the picture of performance.md, drawn from the table of the same page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

FILE = "generated/pictures/performance.svg"
FRAMEWORKS = {"jax": "JAX", "torch": "PyTorch"}


class Row(NamedTuple):
    """A case in one framework, and the time of every peer over that of e3any."""

    framework: str
    case: str
    mode: str
    ratios: dict[str, float]


def times(cell: str) -> dict[str, float]:
    """Return what a cell such as ``"torch 1.18, torch plain 4.41"`` says."""
    found = re.findall(r"([a-z][\w -]*?) ([\d.e+]+)(?:, |$)", cell)
    return {name: float(value) for name, value in found}


def rows(page: str) -> list[Row]:
    """Return the rows of the first table that have peers."""
    table = page.partition("| operation | sizes | mode |")[2].partition("\n\n")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    found = []
    for operation, sizes, mode, ours, peers, _ in cells:
        best = min(times(ours).values())
        names = {re.sub("-(jax|torch)$", "", name): time / best for name, time in times(peers).items()}
        ratios = {name: ratio for name, ratio in names.items() if name != "matmul"}  # no library, a bound
        if ratios:
            found.append(Row(ours.split()[0], f"{operation} {sizes}", mode, ratios))
    return found


def draw(page: str) -> Figure:
    """Return the picture: a mark for every peer and case, right of the line where e3any is faster."""
    found = rows(page)
    cases = {name: sorted({row.case for row in found if row.framework == name}) for name in FRAMEWORKS}
    counts = [len(each) for each in cases.values()]
    figure = Figure(figsize=(10, 0.5 + 0.2 * sum(counts)), layout="constrained")
    panels = figure.subplots(len(counts), 1, sharex=True, height_ratios=counts)
    for panel, (name, title) in zip(panels, FRAMEWORKS.items(), strict=True):
        _draw_marks(panel, [row for row in found if row.framework == name], cases[name])
        panel.set_title(f"{title}: time of a peer over that of e3any")
        panel.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    panels[-1].set_xlabel("full: with derivatives; hollow: values alone")
    return figure


def _draw_marks(panel: Any, found: list[Row], cases: list[str]) -> None:
    for number, peer in enumerate(sorted({peer for row in found for peer in row.ratios})):
        for filled in (True, False):
            marks = [
                (row.ratios[peer], cases.index(row.case))
                for row in found
                if peer in row.ratios and filled == (row.mode != "forward")
            ]
            style = {"color": f"C{number}", "markerfacecolor": f"C{number}" if filled else "none", "markersize": 4}
            panel.plot(*zip(*marks, strict=True) if marks else ([], []), "o", label=peer if filled else None, **style)
    panel.axvline(1.0, color="black", linewidth=1)
    panel.set_xscale("log")
    panel.set_yticks(range(len(cases)), cases, fontsize=7)
    panel.invert_yaxis()
    panel.grid(alpha=0.3)


def write(app: Any) -> None:
    """Write the picture before pages are read."""
    path = Path(app.srcdir) / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    draw((Path(app.srcdir) / "performance.md").read_text(encoding="utf-8")).savefig(path)


def setup(app: Any) -> dict[str, bool]:
    """Connect the event of Sphinx."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True}
