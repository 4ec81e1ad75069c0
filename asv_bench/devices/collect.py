"""Figures of all cases, reusing those of programs that have not changed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import jax
from instrument.cases import Case, Key
from instrument.program import Unavailable

from .cases import DeviceCase
from .compiler import Lowered
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
    not_compiled: list[tuple[str, str]] = field(default_factory=list)

    def compile(
        self,
        cases: Iterable[DeviceCase],
        names: Iterable[str],
        pattern: str = "",
        targets: Iterable[Target] = tuple(TARGETS.values()),
    ) -> None:
        """Add the figures of competitors; targets take turns, as a trace for one is of no use for another."""
        wanted = set(names)
        chosen = [case for case in cases if pattern in case.operation]
        for target in targets:
            jax.clear_caches()
            for case in chosen:
                for name in case.competitors if target.name in case.targets else ():
                    for key in case.by_mode() if name in wanted else ():
                        try:
                            self._compile(target, name, key)
                        except Unavailable as reason:
                            print(f"    skipped: {reason}", file=sys.stderr)

    def count_eager(self, cases: Iterable[Case], pattern: str = "") -> None:
        """Add the figures of eager PyTorch."""
        self.now.versions["eager"] = versions(EAGER_PACKAGES)
        for case in cases:
            if pattern in case.operation:
                key = next(case.by_mode())
                print(f"eager {case_name(key)}", file=sys.stderr, flush=True)
                for mode, figures in eager_figures(key).items():
                    self.now.put("eager", case_name(key._replace(mode=mode)), figures)
                self.store(self.now)

    def same_versions(self, section: str) -> bool:
        """Return whether the section was made with what is installed."""
        return self.before.versions.get(section) == self.now.versions.get(section)

    def _compile(self, target: Target, name: str, key: Key) -> None:
        section, case = section_name(target.name, name), case_name(key)
        known = self.before.get(section, case)
        self.now.versions[section] = versions((*target.packages, *_PEER_PACKAGES.get(name, ())))
        if name in _PEER_PACKAGES and known and self.same_versions(section) and not self.again:
            figures = known  # the program of a peer is that of its version
        else:
            print(f"{section} {case}", file=sys.stderr, flush=True)
            figures = self._figures(section, case, lowered_program(target, name, key), known)
        self.now.put(section, case, figures)
        self.store(self.now)

    def _figures(self, section: str, case: str, lowered: Lowered, known: Figures | None) -> Figures:
        unchanged = known is not None and known["program"] == lowered.fingerprint
        if known and unchanged and (lowered.target.missing() or self.same_versions(section)) and not self.again:
            return known
        if lowered.target.missing():
            self.not_compiled.append((section, case))
            return lowered_figures(lowered)
        return compiled_figures(lowered)


#: What must be installed for a peer; the programs of a version do not change.
_PEER_PACKAGES = {"e3x": ("e3x",), "e3nn-jax": ("e3nn-jax",)}
