"""Assertions for tests of layers: equal numbers on all array libraries, equivariance, numbers of compilations.

Not imported by :mod:`e3any`; for the tests of one's own layers, ``from e3any.testing import assert_parity``.
:mod:`e3any.testing.strategies` draws inputs for them with hypothesis, which is imported there alone.
"""

from e3any.testing.assertions import (
    TOLERANCES,
    TraceCounter,
    assert_equivariant,
    assert_parity,
    count_traces,
    equivariance_error,
    to_numpy,
)

__all__ = [
    "TOLERANCES",
    "TraceCounter",
    "assert_equivariant",
    "assert_parity",
    "count_traces",
    "equivariance_error",
    "to_numpy",
]
