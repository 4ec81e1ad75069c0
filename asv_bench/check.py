"""Compare what is computed here with the history in the repository; fail where a figure has grown without being named.

    python asv_bench/check.py [--update] [--again] [--ratios] [PATTERN]

Programs are traced and lowered, which needs no packages of accelerators. Those whose fingerprint is that of the history
are not compiled. Growth is named in asv_bench/history/growth.toml.
"""

from __future__ import annotations

import argparse
import warnings

import devices  # noqa: F401  (sets the environment before JAX is imported)
from devices.cases import CASES, EAGER
from devices.collect import Collection
from devices.history import FOLDER, Growth, History, grown, named_growth, unnamed
from devices.ratios import measure
from instrument.measure import use_one_core

MAIN, NAMED = FOLDER / "main.json", FOLDER / "growth.toml"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", nargs="?", default="", help="only operations whose name contains this")
    parser.add_argument("--update", action="store_true", help="write the history, if no growth is without a name")
    parser.add_argument("--again", action="store_true", help="also compile programs that have not changed")
    parser.add_argument("--ratios", action="store_true", help="also measure ratios of process CPU times")
    return parser.parse_args()


def collect(args: argparse.Namespace, before: History) -> Collection:
    """Return the figures of today."""
    collection = Collection(before, args.again)
    collection.compile(CASES, ["jax"], args.pattern)
    collection.count_eager(EAGER, args.pattern)
    if args.ratios:
        use_one_core()
        measure(before, collection.now)
    return collection


def report(before: History, collection: Collection) -> list[Growth]:
    """Print what has changed or is not compared, and return the growth that is not named."""
    now = collection.now
    comparable = History(sections={s: cases for s, cases in now.sections.items() if _is_comparable(collection, s)})
    for section in sorted(set(now.sections) - set(comparable.sections)):
        print(f"not compared, other versions: {section}: {before.versions.get(section)}, now {now.versions[section]}")
    for section, case in collection.not_compiled:
        print(f"changed, and not compiled as packages are missing: {section} {case}")
    growth = [*grown(before, comparable)]
    problems = unnamed(growth, named_growth(NAMED))
    for one in growth:
        if one not in problems:
            print(f"named: {one}")
    for one in grown(comparable, before):
        print(f"{one.name} is {one.before:,} instead of {one.after:,}")
    return problems


def _is_comparable(collection: Collection, section: str) -> bool:
    """Return whether figures of a section mean the same as in the history; operations in StableHLO depend on JAX."""
    before, now = (h.versions.get(section) or {} for h in (collection.before, collection.now))
    return all(before[name] == found for name, found in now.items() if found is not None and name in before)


def merged(before: History, collection: Collection) -> History:
    """Return the history with the figures of today in place of those of the same cases."""
    result = History({**before.versions}, {section: {**cases} for section, cases in before.sections.items()})
    for section, cases in collection.now.sections.items():
        for case, figures in cases.items():
            if (section, case) not in collection.not_compiled:
                result.put(section, case, figures)
                result.versions[section] = collection.now.versions[section]
    return result


def main() -> None:
    """Compare, and write if that is wanted."""
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    args = arguments()
    before = History.load(MAIN)
    collection = collect(args, before)
    problems = report(before, collection)
    new = [(s, c) for s, cases in collection.now.sections.items() for c in cases if before.get(s, c) is None]
    if problems:
        raise SystemExit("\n".join([*map(str, problems), f"expected no growth, or its name in {NAMED}"]))
    if args.update and args.pattern and not all(_is_comparable(collection, s) for s in collection.now.sections):
        raise SystemExit("expected all cases, as the versions are others than those of the history, got a pattern")
    if args.update:
        merged(before, collection).save(MAIN)
    elif new:
        raise SystemExit(
            "\n".join([f"{s} {c}" for s, c in new] + ["expected cases of the history; --update adds them"])
        )
    print(f"{sum(map(len, collection.now.sections.values()))} cases, no growth that is not named")


if __name__ == "__main__":
    main()
