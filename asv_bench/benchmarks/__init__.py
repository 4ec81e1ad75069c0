"""Benchmarks for asv. With ``E3ANY_BENCH_QUICK`` set, sizes are tiny, to see that all of them run."""

import sys
from pathlib import Path

# asv imports this package alone.
sys.path.insert(0, str(Path(__file__).parents[1]))

from instrument.measure import use_one_core

use_one_core()
