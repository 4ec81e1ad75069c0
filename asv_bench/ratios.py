"""Print process CPU times of e3any and its peers, measured in one process in turn, as a table of medians and ratios.

    python asv_bench/ratios.py [--quick] [--samples N] [PATTERN]

The order of competitors rotates from sample to sample, and a call before each sample is thrown away, so that none runs
always after the same one. Ratios are the time of the best peer in the same framework over that of e3any.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import programs
from tqdm import tqdm

#: Operation, sizes, names of sizes, competitors: those of e3any with their peers.
CASES: list[tuple[str, tuple[int, ...], str, dict[str, tuple[str, ...]]]] = [
    *(
        ("spherical_harmonics", (l,), f"L={l}, 10,000 points", {"jax": ("e3x",), "torch": ("e3nn", "sphericart")})
        for l in (2, 4, 8)
    ),
    *(
        ("tensor", (l, p, 32), f"L={l}, P={p}, F=32, 256 rows", {"jax": ("e3x",), "torch": ("e3nn",)})
        for l, p in ((1, 1), (2, 1), (3, 1), (2, 2))
    ),
    *(
        (
            "message_pass",
            (l, p, 32),
            f"L={l}, P={p}, F=32, 2,560 edges",
            {"jax": ("e3x",), "torch": ("torch einsum",)},
        )
        for l, p in ((1, 1), (2, 1), (2, 2))
    ),
]


def measure(calls: dict[str, Callable[[], Any]], samples: int) -> dict[str, float]:
    """Return medians of process CPU time in milliseconds."""
    names = list(calls)
    times: dict[str, list[float]] = {name: [] for name in names}
    for call in calls.values():
        call()
    for i in range(samples):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            calls[name]()
            start = time.process_time()
            calls[name]()
            times[name].append(1000 * (time.process_time() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def rows(pattern: str, samples: int, quick: bool) -> Iterator[str]:
    """Yield the rows of the table."""
    modes = programs.MODES[: 2 if quick else 3]
    cases = [case for case in CASES if pattern in case[0]][:: 3 if quick else 1]
    for (name, sizes, title, competitors), mode in tqdm([(c, m) for c in cases for m in modes], desc="benchmarks"):
        operation = getattr(programs, name)
        everyone = [c for ours, peers in competitors.items() for c in (ours, *peers)]
        medians = measure({c: operation(c, *sizes).call(mode) for c in everyone}, samples)
        for ours, peers in competitors.items():
            best = min(peers, key=medians.__getitem__)
            others = ", ".join(f"{peer} {medians[peer]:.3g}" for peer in peers)
            ratio = medians[best] / medians[ours]
            yield f"| {name} | {title} | {mode} | {ours} {medians[ours]:.3g} | {others} | {ratio:.1f} |"
    if pattern in "training_step":
        medians = measure({c: programs.training_step(c) for c in ("jax", "torch")}, samples)
        times = ", ".join(f"{name} {value:.3g}" for name, value in medians.items())
        yield f"| training_step | ethanol, 8 molecules | energies and forces | {times} | | |"


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", nargs="?", default="", help="only operations whose name contains this")
    parser.add_argument("--quick", action="store_true", help="few cases and samples, to see that all of it runs")
    parser.add_argument("--samples", type=int, default=15)
    args = parser.parse_args()
    table = list(rows(args.pattern, 2 if args.quick else args.samples, args.quick))
    print("| operation | sizes | mode | e3any, ms | peers, ms | ratio |\n|---|---|---|---|---|---|")
    print("\n".join(table))


if __name__ == "__main__":
    main()
