"""Cycles of a module that XLA has scheduled for a TPU, by the estimates of its compiler."""

from __future__ import annotations

import re

from .hlo import Module

__all__ = ["count"]

_FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id", "iota",
    "copy-start", "copy-done", "async-start", "async-done", "while",
}  # fmt: skip
_ESTIMATE = re.compile(r'"estimated_cycles":"(\d+)"')
# The compiler writes numbers near 2**63 where it has no estimate.
_NO_ESTIMATE = 2**60


def count(text: str) -> dict[str, int]:
    """Return cycles, the number of steps without an estimate (gathers and scatters), and loops of unknown length."""
    counts = dict.fromkeys(("cycles", "unestimated", "unknown_loops"), 0)
    for instruction, _, times in Module.parse(text).steps():
        estimate = _ESTIMATE.search(instruction.attributes)
        if instruction.opcode == "while":
            counts["unknown_loops"] += 1
        elif estimate is not None and int(estimate[1]) < _NO_ESTIMATE:
            counts["cycles"] += times * int(estimate[1])
        elif instruction.opcode not in _FREE:
            counts["unestimated"] += times
    return counts
