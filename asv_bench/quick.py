"""Run every benchmark of asv and every peer once, on tiny sizes, to see that all of it works.

python asv_bench/quick.py
"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

os.environ["E3ANY_BENCH_QUICK"] = "1"
_KINDS = ("time_", "peakmem_", "track_")


def benchmarks() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield a call for every benchmark and its parameters; a call returns None or a tracked number."""
    for module in ("accelerators", "operations", "start"):
        for name, thing in vars(import_module(f"benchmarks.{module}")).items():
            if name.startswith(_KINDS):
                yield f"{module}.{name}", thing
            elif inspect.isclass(thing) and hasattr(thing, "params") and not name.startswith("_"):
                methods = [method for method in dir(thing) if method.startswith(_KINDS)]
                for method, values in product(methods, product(*thing.params)):
                    yield f"{module}.{name}.{method} {values}", lambda t=thing, m=method, v=values: _run(t, m, v)


def _run(cls: type, method: str, values: tuple[Any, ...]) -> Any:
    """Run a benchmark as asv does."""
    benchmark = cls()
    if hasattr(benchmark, "setup_cache"):
        values = (_cached(cls), *values)
    if hasattr(benchmark, "setup"):
        benchmark.setup(*values)
    return getattr(benchmark, method)(*values)


@cache
def _cached(cls: Any) -> Any:
    return cls().setup_cache()


def main() -> None:
    """Run everything, peers in a process of their own; stop at the first error."""
    script = Path(__file__).with_name("ratios.py")
    peers = subprocess.Popen([sys.executable, "-W", "ignore", str(script), "--quick"])
    count = skipped = 0
    for name, call in benchmarks():
        print(name, flush=True)
        try:
            call()
            count += 1
        except NotImplementedError as reason:
            print(f"    n/a: {reason}")
            skipped += 1
    print(f"{count} benchmarks ran, {skipped} are not applicable", flush=True)
    if peers.wait():
        raise SystemExit("the benchmarks of peers have failed")


if __name__ == "__main__":
    main()
