"""Tables in Markdown of times, ratios and targets."""

from __future__ import annotations

from collections.abc import Iterator

from .cases import FRAMEWORKS
from .results import Results

HEAD = "| operation | sizes | mode | e3any, ms | peers, ms | best peer / e3any |\n|---|---|---|---|---|---|"


def ratios(results: Results) -> Iterator[str]:
    """Yield a row for every case and framework."""
    for key, times in results.times.items():
        for ours, peers in FRAMEWORKS.values():
            mine = {name: times[name] for name in ours if name in times}
            others = {name: times[name] for name in peers if name in times}
            if mine:
                ratio = f"{min(others.values()) / min(mine.values()):.2g}" if others else ""
                yield f"| {key.operation} | {key.title} | {key.mode} | {_list(mine)} | {_list(others)} | {ratio} |"


def _list(times: dict[str, float]) -> str:
    return ", ".join(f"{name} {time:.3g}" for name, time in sorted(times.items(), key=lambda item: item[1]))
