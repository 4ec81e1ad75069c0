"""Tables in Markdown of the history: e3any beside its peers and the least traffic."""

from __future__ import annotations

from collections.abc import Iterator

from .history import Figures, History
from .targets import H200, Target

__all__ = ["compiled_rows", "cycles_rows", "eager_rows"]

_PEERS = ("e3x", "e3nn-jax")


def compiled_rows(ours: History, peers: History, target: Target = H200) -> Iterator[str]:
    """Yield the rows of a GPU; the estimate is bytes over the bandwidth and a time for each launch."""
    numbers = "launches | GB | in and out, GB | temporary, MB | registers | spilled | estimate, ms"
    yield f"| operation | {numbers} | e3x | e3nn-jax |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for case, f in sorted(ours.sections.get(target.name, {}).items()):
        beside = " | ".join(_launches(peers.get(f"{target.name} {name}", case)) for name in _PEERS)
        if "launches" in f:
            traffic = f"{f['launches']:,} | {_giga(f['bytes'])} | {_giga(f['minimum'])} | {f['temporary'] / 1e6:,.0f}"
            kernels = f"{f['registers']} | {f['spilled']} | {milliseconds(target, f):.3g}"
            yield f"| {case} | {traffic} | {kernels} | {beside} |"


def cycles_rows(ours: History, peers: History, target: str) -> Iterator[str]:
    """Yield the rows of a TPU, whose compiler estimates cycles, but not those of gathers and scatters."""
    yield "| operation | M cycles | steps without estimate | temporary, MB | e3x, M cycles | e3nn-jax, M cycles |"
    yield "|---|---|---|---|---|---|"
    for case, f in sorted(ours.sections.get(target, {}).items()):
        beside = " | ".join(_cycles(peers.get(f"{target} {name}", case)) for name in _PEERS)
        if "cycles" in f:
            yield (
                f"| {case} | {f['cycles'] / 1e6:.3g} | {f['unestimated']:,} | {f['temporary'] / 1e6:,.0f} | {beside} |"
            )


def eager_rows(ours: History) -> Iterator[str]:
    """Yield the rows of eager PyTorch; every pass is counted alone."""
    yield "| operation | launches | GB |\n|---|---|---|"
    for case, f in sorted(ours.sections.get("eager", {}).items()):
        yield f"| {case} | {f['launches']:,} | {_giga(f['bytes'])} |"


def milliseconds(target: Target, figures: Figures) -> float:
    """Return an estimate of the time of a call."""
    return 1e3 * (figures["bytes"] / target.bytes_per_second + figures["launches"] * target.launch_seconds)


def _launches(figures: Figures | None) -> str:
    if figures is None:
        return ""
    return f"{figures['launches']:,}, {_giga(figures['bytes'])} GB" if "launches" in figures else "fails"


def _cycles(figures: Figures | None) -> str:
    if figures is None:
        return ""
    return f"{figures['cycles'] / 1e6:.3g}" if "cycles" in figures else "fails"


def _giga(number: int) -> str:
    return f"{number / 1e9:.3g}"
