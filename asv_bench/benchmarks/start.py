"""Costs that occur once per process: imports, tables, the first step of training; and the size of the wheel."""

from __future__ import annotations

from typing import ClassVar

from instrument import fresh

from .operations import QUICK


class Imports:
    """Process CPU time of imports; a framework's own import is not counted."""

    code: ClassVar[dict[str, fresh.FirstTime]] = {
        "e3any": fresh.IMPORT_CORE,
        "e3any_flax over flax.linen": fresh.IMPORT_FLAX,
        "e3any_torch over torch": fresh.IMPORT_TORCH,
    }
    params = (list(code),)
    param_names = ("package",)

    def track_import(self, package: str) -> float:
        return self.code[package].seconds(1 if QUICK else 3)

    track_import.unit = "s"  # type: ignore[attr-defined]


class Tables:
    """Process CPU time of the first call."""

    timeout = 600.0
    params = ([2] if QUICK else [4, 10, 16],)
    param_names = ("max_degree",)

    def track_clebsch_gordan(self, degree: int) -> float:
        return fresh.clebsch_gordan(degree).seconds()

    def track_wigner_d(self, degree: int) -> float:
        return fresh.wigner_d(min(degree, 10)).seconds()

    track_clebsch_gordan.unit = track_wigner_d.unit = "s"  # type: ignore[attr-defined]


class FirstStep:
    """Process CPU time from the start of Python to the end of the first step of training."""

    timeout = 600.0
    params = (["torch"] if QUICK else ["jax", "torch"],)
    param_names = ("library",)

    def track_step(self, library: str) -> float:
        return {"jax": fresh.FIRST_STEP_JAX, "torch": fresh.FIRST_STEP_TORCH}[library].seconds()

    track_step.unit = "s"  # type: ignore[attr-defined]


def track_wheel() -> float:
    return fresh.wheel_bytes() / 1e6


track_wheel.unit = "MB"  # type: ignore[attr-defined]
