"""Measured times, stored in a file, so that a long run can be interrupted and continued."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .agreement import check_agreement
from .cases import Case, Key
from .competitors import program
from .measure import measure
from .program import Unavailable


@dataclass
class Results:
    """Medians of process CPU time in milliseconds by key and competitor."""

    path: Path | None = None
    times: dict[Key, dict[str, float]] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)

    @classmethod
    def load(cls, path: Path | None) -> Results:
        """Read the times of earlier runs."""
        results = cls(path)
        if path is not None and path.exists():
            for operation, sizes, mode, times in json.loads(path.read_text()):
                results.times[Key(operation, tuple(sizes), mode)] = times
        return results

    def add(self, cases: Iterable[Case], samples: int, seconds: float) -> None:
        """Measure missing times, and write them after every mode of a case."""
        for case in cases:
            for key in case.by_mode():
                if key not in self.times:
                    print(f"{key.operation} {key.title} {key.mode}", file=sys.stderr, flush=True)
                    self.times[key] = self._measured(key, case.competitors, samples, seconds)
                    self.save()

    def ratio(self, key: Key, ours: str, peers: Iterable[str]) -> float | None:
        """Return the time of the fastest peer over that of e3any; None if one was not measured."""
        times = self.times.get(key, {})
        others = [times[peer] for peer in peers if peer in times]
        return min(others) / times[ours] if others and ours in times else None

    def _measured(self, key: Key, competitors: tuple[str, ...], samples: int, seconds: float) -> dict[str, float]:
        calls = {}
        for name in competitors:
            try:
                calls[name] = program(name, key.operation, *key.sizes).call(key.mode)
            except Unavailable as error:
                if str(error) not in self.missing:
                    print(f"skipped: {error}", file=sys.stderr)
                self.missing.add(str(error))
        check_agreement(calls)
        return measure(calls, samples, seconds)

    def save(self) -> None:
        """Write the times, if there is a file for them."""
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps([[*key, times] for key, times in self.times.items()], indent=0))
