"""What programs do on accelerators, compiled and counted: exact, so every change of a figure is one of the program."""

from __future__ import annotations

import os
from typing import Any, ClassVar

import devices  # noqa: F401  (sets the environment before JAX is imported)
from devices import cases
from devices.cases import DeviceCase
from devices.collect import Collection, case_name
from devices.history import FOLDER, Figures, History
from devices.targets import TARGETS
from instrument.cases import Case
from instrument.program import Unavailable

QUICK = bool(os.environ.get("E3ANY_BENCH_QUICK"))
_SMALL = DeviceCase("dense", (1, 1, 4, 8), ("backward",), ("jax",), ("h200", "v5e"))
COMPILED = (_SMALL,) if QUICK else cases.CASES
EAGER = (Case("dense", (1, 1, 4, 8), ("forward",), ("torch",)),) if QUICK else cases.EAGER


class _Counted:
    """Figures of all cases, made once; programs that are those of the history have its figures."""

    timeout = 7_200.0
    section: ClassVar[str]
    param_names = ("case",)

    def setup_cache(self) -> dict[str, Figures]:
        collection = Collection(History.load(FOLDER / "main.json"))
        self.collect(collection)
        return collection.now.sections.get(self.section, {})

    def collect(self, collection: Collection) -> None:
        collection.compile(COMPILED, ["jax"], targets=[TARGETS[self.section]])


class H200(_Counted):
    """An NVIDIA H200."""

    section = "h200"
    params = ([case_name(key) for case in COMPILED if "h200" in case.targets for key in case.by_mode()],)

    def track_launches(self, found: dict[str, Figures], case: str) -> float:
        return _figure(found, case, "launches")

    def track_bytes(self, found: dict[str, Figures], case: str) -> float:
        return _figure(found, case, "bytes")

    def track_temporary(self, found: dict[str, Figures], case: str) -> float:
        return _figure(found, case, "temporary")

    def track_code(self, found: dict[str, Figures], case: str) -> float:
        return _figure(found, case, "code")

    def track_registers(self, found: dict[str, Figures], case: str) -> float:
        return _figure(found, case, "registers")

    def track_spilled(self, found: dict[str, Figures], case: str) -> float:
        return _figure(found, case, "spilled")

    def track_operations(self, found: dict[str, Figures], case: str) -> float:
        return _figure(found, case, "operations")


class V5e(_Counted):
    """A TPU v5e; its compiler estimates cycles, but not those of gathers and scatters."""

    section = "v5e"
    params = ([case_name(key) for case in COMPILED if "v5e" in case.targets for key in case.by_mode()],)

    def track_cycles(self, found: dict[str, Figures], case: str) -> float:
        return _figure(found, case, "cycles")

    def track_temporary(self, found: dict[str, Figures], case: str) -> float:
        return _figure(found, case, "temporary")

    def track_code(self, found: dict[str, Figures], case: str) -> float:
        return _figure(found, case, "code")


class Eager(_Counted):
    """PyTorch without a compiler; every pass is counted alone."""

    section = "eager"
    params = ([case_name(key) for case in EAGER for key in case.by_mode()],)

    def collect(self, collection: Collection) -> None:
        collection.count_eager(EAGER)

    def track_launches(self, found: dict[str, Figures], case: str) -> float:
        return _figure(found, case, "launches")

    def track_bytes(self, found: dict[str, Figures], case: str) -> float:
        return _figure(found, case, "bytes")


def _figure(found: dict[str, Figures], case: str, name: str) -> Any:
    figures = found.get(case, {})
    if name not in figures:
        raise Unavailable(f"{name} of {case} takes a compiler that is not installed, or it failed")
    return figures[name]
