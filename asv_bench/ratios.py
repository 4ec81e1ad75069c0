"""Print process CPU times of e3any and its peers, measured in one process in turn, as a table of medians and ratios.

    python asv_bench/ratios.py [--targets] [--quick] [--samples N] [--results FILE] [--plot FILE] [PATTERN]

Ratios are the time of the fastest peer over that of e3any's fastest variant in the same framework. Peers that are not
installed are listed and left out.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

from instrument import table, targets
from instrument.cases import CASES, SMALL
from instrument.measure import use_one_core
from instrument.results import Results


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", nargs="?", default="", help="only operations whose name contains this")
    parser.add_argument("--targets", action="store_true", help="also print the targets, and whether they are met")
    parser.add_argument("--quick", action="store_true", help="one small case of everything, to see that all of it runs")
    parser.add_argument("--samples", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=15.0, help="time for the samples of one row, after three")
    parser.add_argument("--results", type=Path, help="file to read earlier results from, and to write to")
    parser.add_argument("--plot", type=Path, help="file for a picture of the ratios")
    return parser.parse_args()


def main() -> None:
    """Measure, and print tables."""
    args = arguments()
    use_one_core()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    results = Results.load(args.results)
    cases = [case for case in (SMALL if args.quick else CASES) if args.pattern in case.operation]
    results.add(cases, samples=1 if args.quick else args.samples, seconds=args.seconds)
    print(table.HEAD, *table.ratios(results), sep="\n")
    if args.targets:
        print("", targets.TARGET_HEAD, *(target.row(results) for target in targets.TARGETS), sep="\n")
        limits = [*targets.LIMITS, targets.wigner_limit(results)]
        print("", targets.LIMIT_HEAD, *(limit.row() for limit in limits), sep="\n")
    if args.plot is not None:
        from instrument.plot import draw

        draw(results, args.plot)


if __name__ == "__main__":
    main()
