"""Print counts of the source of backends: long files, functions of one name, annotations with Any, import circles."""

from __future__ import annotations

import argparse
import ast
from collections import defaultdict
from pathlib import Path

BACKENDS = Path(__file__).parents[1] / "backends" / "e3any_backends"
MOST_LINES = 400
MOST_FILES = 2


def modules(folder: Path = BACKENDS) -> dict[str, ast.Module]:
    """Return the modules of a package by name, parsed."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def lines(folder: Path = BACKENDS) -> dict[str, int]:
    """Return the number of lines of every file."""
    files = sorted(folder.rglob("*.py"))
    return {p.relative_to(folder).as_posix(): len(p.read_text(encoding="utf-8").splitlines()) for p in files}


def repeated_functions(sources: dict[str, ast.Module]) -> dict[str, int]:
    """Return the names that functions of more than two modules have, without methods, and in how many they are."""
    found: dict[str, int] = defaultdict(int)
    for module in sources.values():
        for name in {node.name for node in module.body if isinstance(node, ast.FunctionDef)}:
            found[name] += 1
    return {name: num for name, num in sorted(found.items()) if num > MOST_FILES}


def annotations(sources: dict[str, ast.Module]) -> list[str]:
    """Return all annotations of arguments, results and variables."""
    found: list[ast.expr | None] = []
    for module in sources.values():
        for node in ast.walk(module):
            if isinstance(node, ast.arg | ast.AnnAssign):
                found.append(node.annotation)
            elif isinstance(node, ast.FunctionDef):
                found.append(node.returns)
    return [ast.unparse(annotation) for annotation in found if annotation is not None]


def imports(module: ast.Module, names: set[str], *, when_called: bool) -> set[str]:
    """Return which modules of a set a module imports: when it is imported, or in functions too."""
    found = set()
    for node in ast.walk(module) if when_called else module.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (members & names) or {node.module}
    return found & names


def circles(sources: dict[str, ast.Module]) -> list[tuple[str, ...]]:
    """Return the sets of modules that import each other when they are imported."""
    edges = {name: imports(module, set(sources), when_called=False) for name, module in sources.items()}
    reached = {name: _reached(name, edges) for name in sources}
    return sorted({tuple(sorted(m for m in reached[n] if n in reached[m])) for n in sources if n in reached[n]})


def _reached(name: str, edges: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(edges[name])
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += edges[one]
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=BACKENDS, help="the package (default: %(default)s)")
    folder = parser.parse_args().folder.resolve()
    sources, sizes = modules(folder), lines(folder)
    found = annotations(sources)
    long = (f"{name} {num}" for name, num in sizes.items() if num > MOST_LINES)
    repeated = (f"{name} {num}" for name, num in repeated_functions(sources).items())
    rows = {
        "files, lines": f"{len(sizes)}, {sum(sizes.values())}",
        f"files of more than {MOST_LINES} lines": ", ".join(long) or "none",
        f"functions of one name in more than {MOST_FILES} files": ", ".join(repeated) or "none",
        "annotations that are Any": f"{100 * found.count('Any') / len(found):.1f} % of {len(found)}",
        "import circles": "; ".join(map(", ".join, circles(sources))) or "none",
    }
    print("| backends | |\n| --- | --- |")
    for name, value in rows.items():
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
