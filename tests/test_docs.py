"""The documentation: its programs run as they are printed, and its reference names everything that is public."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if not {"_build", "generated"} & set(page.parts)]
NOTEBOOKS = [page for page in PAGES if "file_format: mystnb" in page.read_text(encoding="utf-8")]


def blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


README = blocks(ROOT / "README.md")
PROGRAMS = {page.relative_to(DOCS).as_posix(): program for page in PAGES if (program := "\n".join(blocks(page)))}


def run(program: str, folder: Path) -> None:
    path = os.pathsep.join(str(ROOT / name) for name in (".", "backends", "adapters"))
    result = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": path},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("program", README, ids=["flax", "torch", "numpy", "description"])
def test_programs_of_the_readme_run_one_by_one(program, tmp_path):
    run(program, tmp_path)


@pytest.mark.parametrize("page", PROGRAMS)
def test_programs_of_a_page_run_one_after_the_other(page, tmp_path):
    run(PROGRAMS[page], tmp_path)


def test_programs_of_notebooks_are_cells_that_the_build_runs():
    assert len(NOTEBOOKS) > 5
    assert not [page.name for page in NOTEBOOKS if blocks(page)]
    assert all("```{code-cell} python" in page.read_text(encoding="utf-8") for page in NOTEBOOKS)
    configuration = (DOCS / "conf.py").read_text(encoding="utf-8")
    assert 'nb_execution_mode = "force"' in configuration
    assert "nb_execution_raise_on_error = True" in configuration


def test_cells_of_other_pages_would_not_run():
    others = set(PAGES) - set(NOTEBOOKS)
    assert not [page.name for page in others if "{code-cell}" in page.read_text(encoding="utf-8")]


REFERENCE = re.findall(r"currentmodule:: (\S+)\n(.*?)```", (DOCS / "api.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize(("module", "text"), REFERENCE, ids=[module for module, _ in REFERENCE])
def test_the_reference_names_what_is_public(module, text):
    named = set(re.findall(r"^   (\w+)$", text, re.MULTILINE))
    public = getattr(importlib.import_module(module), "__all__", named)
    values = {name: getattr(importlib.import_module(module), name) for name in {*public, *named}}
    if module.startswith("e3any."):
        documented = {name for name, value in values.items() if callable(value)}
        assert documented - named <= {"TraceCounter"}
        assert named - documented <= {"Normalization"}
    assert named <= set(values)
