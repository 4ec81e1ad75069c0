"""Benchmarks for asv. With ``E3ANY_BENCH_QUICK`` set, sizes are tiny, to see that all of them run."""
