"""Compare random calls of the library with reference forms, and print every difference.

A case is drawn from a seed and its number: sizes on both sides of what kernels choose by, how arrays lie in memory,
special numbers, indices of every dtype, threads. Cases run in a process of their own, and where one ends it, such as a
kernel that goes beyond an array, that is a difference too.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence

from tqdm import tqdm

from fuzz.worker import Result, watch, work

LIBRARIES = ("numpy", "torch", "jax")


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--library", choices=LIBRARIES, action="append", help="which library (default: all)")
    parser.add_argument("--cases", type=int, default=300, help="number of cases of each library (default: 300)")
    parser.add_argument("--seed", type=int, default=0, help="what cases are drawn from (default: 0)")
    parser.add_argument("--case", type=int, help="run the case of this number alone, and say what it is")
    parser.add_argument("--kinds", default="", help="kinds, such as 'tensor,dense' (default: all)")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--numbers", type=json.loads, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run cases; return 1 if there are differences."""
    options = parsed(arguments)
    names = tuple(filter(None, options.kinds.split(",")))
    if options.worker is not None:
        work(options.library[0], options.seed, options.numbers, names, options.worker)
        return 0
    numbers = list(range(options.cases)) if options.case is None else [options.case]
    cases: Counter[tuple[str, str]] = Counter()
    wrong: Counter[tuple[str, str]] = Counter()
    for library in options.library or LIBRARIES:
        with tqdm(total=len(numbers), desc=library, file=sys.stderr, mininterval=1.0) as bar:
            for result in watch(library, options.seed, numbers, names):
                bar.update()
                cases[library, result.kind] += 1
                wrong[library, result.kind] += bool(result.differences)
                if result.differences or options.case is not None:
                    tqdm.write(report(library, options.seed, names, result), file=sys.stdout)
    print(table(cases, wrong))
    return int(wrong.total() > 0)


def report(library: str, seed: int, names: tuple[str, ...], result: Result) -> str:
    """Return the differences of a case, and how to repeat it."""
    kinds = f" --kinds '{','.join(names)}'" if names else ""
    repeat = f'make fuzz ARGS="--library {library} --seed {seed} --case {result.number}{kinds}"'
    lines = [f"{library} {result.number}: {result.kind}", repeat, result.text, *result.differences]
    return "\n  ".join(line for text in lines for line in text.splitlines()) + "\n"


def table(cases: Counter[tuple[str, str]], wrong: Counter[tuple[str, str]]) -> str:
    """Return how many cases there were of every library and kind, and how many of them differ."""
    rows = [(library, kind, str(num), str(wrong[library, kind])) for (library, kind), num in sorted(cases.items())]
    total = [(library, "all", *(str(sum(n for (l, _), n in c.items() if l == library)) for c in (cases, wrong)))
             for library in dict.fromkeys(library for library, _ in cases)]  # fmt: skip
    rows = [("library", "kind", "cases", "differ"), *rows, *total]
    return "\n".join(f"{a:8}{b:24}{c:>8}{d:>8}" for a, b, c, d in rows)


if __name__ == "__main__":
    sys.exit(main())
