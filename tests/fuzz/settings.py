"""With which of its choices the library computes a case."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from unittest import mock

import numpy as np
import torch
from e3any_backends import kernels

from fuzz.guards import guarded_results


@dataclass(frozen=True)
class Settings:
    """Choices of a case.

    Parameters
    ----------
    kernels : bool
        Whether kernels are on.
    threads : int
        How many threads may share work.
    shared : bool
        Whether they share the least work.
    tables : bool
        Whether contractions are loops over tables, never programs.
    eager : bool
        Whether JAX computes one operation at a time.
    """

    kernels: bool
    threads: int
    shared: bool
    tables: bool
    eager: bool

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Settings:
        return cls(
            bool(rng.random() < 0.8),
            int(rng.choice([1, 2, 3, 7])),
            bool(rng.random() < 0.6),
            bool(rng.random() < 0.15),
            bool(rng.random() < 0.04),
        )

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Compute with these choices; what kernels return is guarded."""
        from e3any_backends.kernels import availability, schedule
        from e3any_backends.kernels.parallel import pool

        with ExitStack() as stack:
            stack.enter_context(kernels.enabled(self.kernels))
            stack.enter_context(kernels.threads(self.threads))
            stack.enter_context(mock.patch.object(pool, "cpus", return_value=self.threads))
            stack.enter_context(mock.patch.object(torch, "get_num_threads", return_value=self.threads))
            if self.shared:
                stack.enter_context(mock.patch.object(pool, "GRAIN", 1))
                stack.enter_context(mock.patch.object(pool, "_PARTIAL_WORK", 0))
                stack.enter_context(mock.patch.object(availability, "_LEAST_HARMONICS", 0))
            if self.tables:
                stack.enter_context(mock.patch.object(schedule, "MAX_ENTRIES", -1))
                forget_plans()
                stack.callback(forget_plans)
            stack.enter_context(guarded_results())
            yield


def forget_plans() -> None:
    """Let contractions be planned again: those that were made for the same shapes are kept."""
    from e3any_backends.kernels import maps, schedule

    for cache in (schedule.plan, maps.value_of, maps.gradients_of):
        cache.cache_clear()
