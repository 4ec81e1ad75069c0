"""Figures of all cases, reusing those of programs that have not changed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import jax
from instrument.cases import Case, Key
from instrument.program import Unavailable

from .cases import DeviceCase
from .figures import compiled_figures, eager_figures, lowered_figures, lowered_program
from .history import Figures, History
from .targets import TARGETS, Target, versions

__all__ = ["EAGER_PACKAGES", "Collection", "case_name", "section_name"]

EAGER_PACKAGES = ("torch",)


def case_name(key: Key) -> str:
    """Return the name of a case in the history."""
    return f"{key.operation} {key.title} {key.mode}"


def section_name(target: str, competitor: str) -> str:
    """Return the name of a section of the history."""
    return target if competitor in ("jax", "torch") else f"{target} {competitor}"


@dataclass
class Collection:
    """Figures as they are now.

    Parameters
    ----------
    before : History
        Figures of earlier, reused for programs with the same fingerprint that the same compiler would compile.
    again : bool
        Compile these too.
    store : callable
        Called with the new history after each case, so that a run can be interrupted.
    """

    before: History
    again: bool = False
    store: Callable[[History], None] = lambda _: None
    now: History = field(default_factory=History)
    #: Programs that are not those of the history and cannot be compiled here.
    not_compiled: list[str] = field(default_factory=list)

    def compile(self, cases: Iterable[DeviceCase], names: Iterable[str], pattern: str = "") -> None:
        """Add the figures of competitors; targets take turns, as a trace for one is of no use for another."""
        wanted = set(names)
        chosen = [case for case in cases if pattern in case.operation]
        for target in TARGETS.values():
            jax.clear_caches()
            for case in chosen:
                for name in case.competitors if target.name in case.targets else ():
                    for key in case.by_mode() if name in wanted else ():
                        self._compile(target, name, key)

    def count_eager(self, cases: Iterable[Case], pattern: str = "") -> None:
        """Add the figures of eager PyTorch."""
        self.now.versions["eager"] = versions(EAGER_PACKAGES)
        for case in cases:
            if pattern in case.operation:
                key = next(case.by_mode())
                self._say("eager", key)
                for mode, figures in eager_figures(key).items():
                    self.now.put("eager", case_name(key._replace(mode=mode)), figures)
                self.store(self.now)

    def same_versions(self, section: str) -> bool:
        """Return whether the section was made with what is installed."""
        return self.before.versions.get(section) == self.now.versions.get(section)

    def _compile(self, target: Target, name: str, key: Key) -> None:
        section, case = section_name(target.name, name), case_name(key)
        self._say(section, key)
        try:
            lowered = lowered_program(target, name, key)
        except Unavailable as reason:
            print(f"    skipped: {reason}", file=sys.stderr)
            return
        packages = (*target.packages, *_PEER_PACKAGES.get(name, ()))
        self.now.versions[section] = versions(packages)
        known = self.before.get(section, case)
        if target.missing():
            figures = self._without_compiler(section, case, lowered_figures(lowered), known)
        elif known and known["program"] == lowered.fingerprint and self.same_versions(section) and not self.again:
            figures = known
        else:
            figures = compiled_figures(lowered)
        self.now.put(section, case, figures)
        self.store(self.now)

    def _without_compiler(self, section: str, case: str, figures: Figures, known: Figures | None) -> Figures:
        if known and known["program"] == figures["program"]:
            return known
        self.not_compiled.append(f"{section} {case}")
        return figures

    def _say(self, section: str, key: Key) -> None:
        print(f"{section} {case_name(key)}", file=sys.stderr, flush=True)


_PEER_PACKAGES = {"e3x": ("e3x",), "e3nn-jax": ("e3nn-jax",)}
