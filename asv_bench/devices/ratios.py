"""The few ratios of process CPU times that are the same from run to run, to within the margin of the history."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from instrument.cases import Case, Key
from instrument.results import Results

from .collect import case_name
from .history import History, grown
from .targets import versions

__all__ = ["RATIOS", "Ratio", "measure"]

_PACKAGES = ("jax", "jaxlib", "torch", "numba", "e3x", "e3nn")
_SAMPLES, _SECONDS = 5, 10.0


class Ratio(NamedTuple):
    """An operation in e3any beside one peer in the same framework."""

    key: Key
    ours: str
    peer: str


#: Calls of at least 0.1 ms without large arrays, beside peers whose times do not depend on the memory that is free.
RATIOS: tuple[Ratio, ...] = (
    Ratio(Key("spherical_harmonics", (4,), "backward"), "jax", "e3x"),
    Ratio(Key("tensor", (2, 1, 32), "backward"), "jax", "e3x"),
    Ratio(Key("dense", (3, 2, 32), "forward"), "jax", "e3x"),
    Ratio(Key("tensor", (2, 1, 32), "backward"), "torch", "e3nn script"),
)


def measure(before: History, now: History) -> None:
    """Add times of e3any relative to a peer; what is equal to within the margin keeps its figure."""
    now.versions["cpu"] = {**versions(_PACKAGES), "processor": _processor()}
    same = before.versions.get("cpu") == now.versions["cpu"]
    for ratio in RATIOS:
        case = f"{case_name(ratio.key)}, {ratio.ours} / {ratio.peer}"
        known = before.get("cpu", case) if same else None
        measured = _relative_time(ratio)
        if known is not None and measured is not None:
            one = History(sections={"cpu": {case: {"relative_time": measured}}})
            if [*grown(before, one)]:  # a disturbance does not come twice
                measured = min(measured, _relative_time(ratio) or measured)
            one.put("cpu", case, {"relative_time": measured})
            if not [*grown(before, one), *grown(one, History(sections={"cpu": {case: known}}))]:
                measured = known["relative_time"]
        if measured is not None:
            now.put("cpu", case, {"relative_time": measured})


def _relative_time(ratio: Ratio) -> float | None:
    """Return the time of e3any over that of the peer, or None if the peer is not installed."""
    results = Results()
    results.add(_case(ratio), _SAMPLES, _SECONDS)
    quotient = results.ratio(ratio.key, ratio.ours, (ratio.peer,))
    return None if quotient is None else round(1 / quotient, 4)


def _case(ratio: Ratio) -> Iterable[Case]:
    yield Case(ratio.key.operation, ratio.key.sizes, (ratio.key.mode,), (ratio.ours, ratio.peer))


def _processor() -> str | None:
    """Return the name of the processor; ratios of another cannot be compared."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
