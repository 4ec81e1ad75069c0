"""Print what programs do on accelerators, beside e3x, e3nn-jax and the least traffic: compiled and counted, not run.

    python asv_bench/device_table.py [--history] [PATTERN]

Programs of e3any that are not those of the history are compiled, and peers of other versions than its.
"""

from __future__ import annotations

import argparse
import warnings

import devices  # noqa: F401  (sets the environment before JAX is imported)
from devices.cases import CASES, EAGER
from devices.collect import Collection
from devices.history import FOLDER, History
from devices.table import compiled_rows, cycles_rows, eager_rows
from devices.targets import V5E

MAIN, PEERS = FOLDER / "main.json", FOLDER / "peers.json"


def main() -> None:
    """Collect figures and print three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", nargs="?", default="", help="only operations whose name contains this")
    parser.add_argument("--history", action="store_true", help="print the history, compile nothing")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    ours, peers = History.load(MAIN), History.load(PEERS)
    if not args.history:
        ours, peers = _ours(ours, args.pattern), _peers(peers, args.pattern)
    tables = compiled_rows(ours, peers), cycles_rows(ours, peers, V5E.name), eager_rows(ours)
    for title, rows in zip(("NVIDIA H200", "TPU v5e", "Eager PyTorch"), tables, strict=True):
        print(f"\n## {title}\n", *rows, sep="\n")


def _ours(before: History, pattern: str) -> History:
    collection = Collection(before)
    collection.compile(CASES, ["jax"], pattern)
    collection.count_eager(EAGER, pattern)
    return collection.now


def _peers(before: History, pattern: str) -> History:
    """Return the figures of peers, and keep them in the repository, as they take long."""

    def store(now: History) -> None:
        sections = {s: {**before.sections.get(s, {}), **cases} for s, cases in now.sections.items()}
        History({**before.versions, **now.versions}, {**before.sections, **sections}).save(PEERS)

    collection = Collection(before, store=store)
    collection.compile(CASES, ["e3x", "e3nn-jax"], pattern)
    return collection.now


if __name__ == "__main__":
    main()
