"""Assertions for tests of layers: equal numbers on all array libraries, equivariance, numbers of compilations.

Use them to test your own layers: ``from e3any.testing import assert_parity``. :mod:`e3any` does not import this
package. :mod:`e3any.testing.strategies` generates inputs; it alone imports hypothesis
(https://hypothesis.readthedocs.io).
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
