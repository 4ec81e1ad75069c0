"""Figures by section and case in a file of one line a case, and comparison of two files."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["FOLDER", "Figures", "Growth", "History", "Named", "grown", "named_growth", "unnamed"]

FOLDER = Path(__file__).parents[1] / "history"
#: Figures of a case; "program" is a fingerprint, everything else a number that should be small.
Figures = dict[str, Any]
#: Sections whose figures are measured, not counted: how many times as large is still equal.
_MARGINS = {"cpu": 1.3}


class Growth(NamedTuple):
    """A figure that is larger than before."""

    section: str
    case: str
    figure: str
    before: float
    after: float

    @property
    def name(self) -> str:
        """What an entry of the file of named growth has to match."""
        return f"{self.section} {self.case}: {self.figure}"

    def __str__(self) -> str:
        return f"{self.name} grew from {self.before:,} to {self.after:,}"


@dataclass(frozen=True)
class Named:
    """Growth that is known: a name, in which ``*`` stands for anything, the limit, and the reason."""

    figure: str
    to: float
    why: str

    def allows(self, growth: Growth) -> bool:
        """Return whether the entry names a growth."""
        return growth.after <= self.to and fnmatchcase(growth.name, self.figure)


@dataclass
class History:
    """Figures by section and case, and what each section was made with.

    A section is a target, with the name of a competitor if that is not e3any.
    """

    versions: dict[str, dict[str, str | None]] = field(default_factory=dict)
    sections: dict[str, dict[str, Figures]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> History:
        """Read a file; one that does not exist is empty."""
        if not path.exists():
            return cls()
        sections = json.loads(path.read_text(encoding="utf-8"))
        return cls(sections.pop("versions"), sections)

    def save(self, path: Path) -> None:
        """Write a file, a case a line, so that a difference shows what has changed."""
        lines = ["{", f'"versions": {json.dumps(self.versions, indent=1, sort_keys=True)}']
        for section, cases in sorted(self.sections.items()):
            rows = (f"  {json.dumps(case)}: {json.dumps(figures)}" for case, figures in sorted(cases.items()))
            lines[-1] += ","
            lines += [f'"{section}": {{', ",\n".join(rows), "}"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([*lines, "}"]) + "\n", encoding="utf-8")

    def get(self, section: str, case: str) -> Figures | None:
        """Return the figures of a case."""
        return self.sections.get(section, {}).get(case)

    def put(self, section: str, case: str, figures: Figures) -> None:
        """Store the figures of a case."""
        self.sections.setdefault(section, {})[case] = figures


def grown(before: History, after: History) -> Iterator[Growth]:
    """Yield the figures of ``after`` that are larger than before; what was not known before cannot grow."""
    for section, cases in after.sections.items():
        margin = _MARGINS.get(section, 1.0)
        for case, figures in cases.items():
            known = before.get(section, case)
            for name, value in {} if known is None else figures.items():
                # Programs fail to compile or do not; the others are in all lines of a section.
                old = known.get(name, 0 if name == "failed" else value)
                if name != "program" and value > margin * old:
                    yield Growth(section, case, name, old, value)


def named_growth(path: Path) -> list[Named]:
    """Read the file of named growth."""
    return [Named(**entry) for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("growth", [])]


def unnamed(growth: Iterable[Growth], named: Iterable[Named]) -> list[Growth]:
    """Return the growth that no entry names."""
    entries = list(named)
    return [one for one in growth if not any(entry.allows(one) for entry in entries)]
