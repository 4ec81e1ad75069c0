"""Write the tree of architecture.md: every file of the packages with the first sentence of its docstring."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
#: Folders of source files. Tests mirror these, and are not listed.
FOLDERS = ("e3any", "backends/e3any_backends", "adapters", "asv_bench", "docs")
_BLOCK = re.compile(r"(<!-- tree: [^\n]* -->\n\n```\n).*?(```\n)", re.DOTALL)


def summary(path: Path) -> str:
    """Return the first sentence of the docstring of a file, without markup."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    text = re.sub(r"[,:]? ?:math:`[^`]*`[^.]*", "", docstring.split("\n\n")[0].replace("\n", " "))
    sentence = re.match(r"[^.]*(?:\.(?! |$)[^.]*)*", re.sub(r":\w+:`([^`]*)`", r"\1", text).replace("``", ""))
    return sentence.group() if sentence else ""


def rows(folder: Path, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield the name, indented, and the summary of a folder, its files and the folders in it."""
    files = {path.stem: path for path in sorted(folder.glob("*.py"))}
    package = files.pop("__init__", None)
    name = folder.relative_to(ROOT).as_posix() if depth == 0 else folder.name
    yield "  " * depth + f"{name}/", summary(package) if package else ""
    for path in files.values():
        yield "  " * (depth + 1) + path.name, summary(path)
    for inner in sorted(path for path in folder.iterdir() if path.is_dir() and any(path.rglob("*.py"))):
        if not inner.name.startswith((".", "_")) and inner.name != "generated":
            yield from rows(inner, depth + 1)


def tree() -> str:
    """Return the tree as text."""
    found = [row for folder in FOLDERS for row in rows(ROOT / folder)]
    width = max(len(name) for name, _ in found) + 2
    return "".join(f"{name:{width}}{text}".rstrip() + "\n" for name, text in found)


def page(text: str) -> str:
    """Return the page with the tree of today."""
    return _BLOCK.sub(lambda block: block[1] + tree() + block[2], text)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
