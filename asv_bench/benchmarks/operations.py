"""Process CPU time of operations and of a step of training, for every array library.

Peers are measured beside them, in one process, by ``ratios.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar

from . import programs

LIBRARIES = ["jax", "torch", "numpy"]


class _Operation:
    """Times one call; compilation and the first call are left to the setup. NumPy has no derivatives: n/a."""

    timer = time.process_time
    timeout = 600.0
    sample_time = 0.1
    build: ClassVar[Callable[..., programs.Program]]

    def setup(self, competitor: str, mode: str, *sizes: Any) -> None:
        self.call = type(self).build(competitor, *sizes).call(mode)
        self.call()

    def time_call(self, *_: Any) -> None:
        self.call()


class SphericalHarmonics(_Operation):
    """10,000 points; first and second derivatives with respect to them."""

    build = programs.spherical_harmonics
    params = (LIBRARIES, programs.MODES[:2], [2, 8])
    param_names = ("library", "mode", "max_degree")


class Tensor(_Operation):
    """256 rows of 32 features."""

    build = programs.tensor
    params = (LIBRARIES, programs.MODES[:2], [2], [1, 2], [32])
    param_names = ("library", "mode", "max_degree", "parities", "features")


class MessagePass(_Operation):
    """128 nodes with 20 neighbours each."""

    build = programs.message_pass
    params = (LIBRARIES, programs.MODES[:2], [2], [1, 2], [32])
    param_names = ("library", "mode", "max_degree", "parities", "features")


class TrainingStep:
    """A step of the force field in the examples, 8 molecules of 9 atoms."""

    timer = time.process_time
    timeout = 600.0
    params = (["jax", "torch"],)
    param_names = ("library",)

    def setup(self, library: str) -> None:
        self.step = programs.training_step(library)
        self.step()

    def time_step(self, library: str) -> None:
        self.step()
