"""Process CPU time of every operation in every array library; times of training steps and compilation; memory.

Peers are measured beside them, in one process, by ``ratios.py``.
"""

from __future__ import annotations

import os
import time
from typing import Any, ClassVar

from instrument import competitors

QUICK = bool(os.environ.get("E3ANY_BENCH_QUICK"))
LIBRARIES = ["jax", "torch", "numpy"]
MODES = ["forward"] if QUICK else ["forward", "backward"]
WITH_FORCES = ["second"] if QUICK else [*MODES, "second"]


def _sizes(*values: int) -> list[int]:
    return [1] if QUICK else list(values)


class _Operation:
    """Times one call; compilation and the first call are left to the setup. NumPy has no derivatives: n/a."""

    timer = time.process_time
    timeout = 600.0
    sample_time = 0.1
    operation: ClassVar[str]

    def setup(self, library: str, mode: str, *sizes: Any) -> None:
        self.call = competitors.program(library, self.operation, *sizes).call(mode)
        self.call()

    def time_call(self, *_: Any) -> None:
        self.call()


class SphericalHarmonics(_Operation):
    """10,000 points; derivatives with respect to them."""

    operation = "spherical_harmonics"
    params = ([*LIBRARIES, "torch compiled"], MODES, _sizes(2, 8))
    param_names = ("library", "mode", "max_degree")


class SolidHarmonics(SphericalHarmonics):
    """10,000 points; derivatives with respect to them."""

    operation = "solid_harmonics"
    params = (LIBRARIES, MODES, _sizes(4))


class WignerD(SphericalHarmonics):
    """1,000 rotations."""

    operation = "wigner_d"
    params = (LIBRARIES, MODES, _sizes(4))


class Basis(SphericalHarmonics):
    """4,000 displacements, 8 radial functions."""

    operation = "basis"
    params = (LIBRARIES, WITH_FORCES, _sizes(2))


class Activation(_Operation):
    """1,024 rows, as in the following."""

    operation = "activation"
    params = (LIBRARIES, MODES, _sizes(2), _sizes(2), _sizes(32))
    param_names = ("library", "mode", "max_degree", "parities", "features")


class Dense(Activation):
    """1,024 rows."""

    operation = "dense"
    params = (LIBRARIES, MODES, _sizes(3), _sizes(2), _sizes(32, 128))


class Tensor(Activation):
    """256 rows."""

    operation = "tensor"
    params = (LIBRARIES, WITH_FORCES, _sizes(2), _sizes(1, 2), _sizes(32))


class FusedTensor(Activation):
    """256 rows."""

    operation = "fused_tensor"
    params = (LIBRARIES, MODES, _sizes(2, 4), _sizes(1), _sizes(32))


class TensorDense(Activation):
    """256 rows."""

    operation = "tensor_dense"


class MessagePass(Activation):
    """4,000 edges between 200 nodes."""

    operation = "message_pass"
    params = (LIBRARIES, MODES, _sizes(2), _sizes(1), _sizes(64), ["sparse", "dense"], ["factored", "array"])
    param_names = (*Activation.param_names, "lists", "basis")


class EdgeMessages(_Operation):
    """1,000 edges, with a matrix for every path of degrees: in frames of edges, and by couplings with harmonics."""

    operation = "edge_messages"
    params = (LIBRARIES, MODES, _sizes(1, 2, 3, 4, 6), _sizes(32), ["frames", "orders 2", "couplings"])
    param_names = ("library", "mode", "max_degree", "features", "form")


class SelfAttention(Activation):
    """4,000 edges between 200 nodes."""

    operation = "self_attention"
    params = (LIBRARIES, MODES, _sizes(2), _sizes(1), [4] if QUICK else [32])


class MultiHeadAttention(SelfAttention):
    """4,000 edges between 200 nodes."""

    operation = "multi_head_attention"


class Energies:
    """Energies and forces of ten molecules of ethanol, and a step of training on them."""

    timeout = 600.0
    sample_time = 0.1
    params = (["torch"], ["training"]) if QUICK else (["jax", "torch"], ["forces", "training"])
    param_names = ("library", "mode")

    def setup(self, library: str, mode: str) -> None:
        sizes = (2, 3, 4, 1, 2) if QUICK else ()
        self.call = competitors.program(library, "energies", *sizes).call(mode)
        self.call()

    def time_call(self, *_: Any) -> None:
        self.call()


class EnergiesCpu(Energies):
    """The same in process CPU time instead of wall time."""

    timer = time.process_time


class Compilation:
    """Time of the first call of a derivative: tracing, compilation, and one run."""

    timeout = 600.0
    params = (["jax"] if QUICK else ["jax", "torch compiled"], ["tensor", "message_pass"], _sizes(1, 2, 3))
    param_names = ("library", "operation", "max_degree")

    def track_first_call(self, library: str, operation: str, max_degree: int) -> float:
        call = competitors.program(library, operation, max_degree, 1, 4 if QUICK else 32).call("backward")
        start = time.process_time()
        call()
        return time.process_time() - start

    track_first_call.unit = "s"  # type: ignore[attr-defined]


class Memory:
    """Largest resident memory of messages along many edges, with derivatives."""

    timeout = 600.0
    params = (["jax", "torch"], [400] if QUICK else [100_000])
    param_names = ("library", "edges")

    def setup(self, library: str, edges: int) -> None:
        sizes = (_sizes(2)[0], 1, _sizes(32)[0], "sparse", "factored", edges)
        self.call = competitors.program(library, "message_pass", *sizes).call("backward")

    def peakmem_message_pass(self, *_: Any) -> None:
        self.call()
