"""The documentation: its programs run as they are printed, and its reference names everything that is public."""

from __future__ import annotations

import doctest
import importlib.util
import inspect
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from layer_cases import random_parameters, tree_map

from e3any import nn
from e3any.testing import assert_parity

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if not {"_build", "generated"} & set(page.parts)]
NOTEBOOKS = [page for page in PAGES if "file_format: mystnb" in page.read_text(encoding="utf-8")]


def blocks(page: Path, language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


README = blocks(ROOT / "README.md")
PROGRAMS = {page.relative_to(DOCS).as_posix(): program for page in PAGES if (program := "\n".join(blocks(page)))}
OUTPUTS = {page.relative_to(DOCS).as_posix(): text for page in PAGES if (text := "".join(blocks(page, "text")))}


def run(program: str, folder: Path) -> str:
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
    return result.stdout


@pytest.mark.parametrize("program", README, ids=["flax", "torch", "numpy", "description"])
def test_programs_of_the_readme_run_one_by_one(program, tmp_path):
    run(program, tmp_path)


@pytest.mark.parametrize("page", sorted(PROGRAMS.keys() - OUTPUTS.keys()))
def test_programs_of_a_page_run_one_after_the_other(page, tmp_path):
    run(PROGRAMS[page], tmp_path)


@pytest.mark.parametrize("page", OUTPUTS)
def test_programs_of_a_page_print_what_it_shows(page, tmp_path):
    assert run(PROGRAMS[page], tmp_path) == OUTPUTS[page]


def test_the_tree_of_the_architecture_is_that_of_the_sources():
    path = DOCS / "source_tree.py"
    spec = importlib.util.spec_from_file_location("source_tree", path)
    source_tree = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(source_tree)
    text = source_tree.PAGE.read_text(encoding="utf-8")
    assert text == source_tree.page(text), "run `python docs/source_tree.py`"
    assert text.count("conventions.py  ") == 1
    assert "" not in [
        summary for folder in source_tree.FOLDERS for name, summary in source_tree.rows(ROOT / folder) if ".py" in name
    ]


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


WITH_EXAMPLES = sorted(
    ".".join(path.relative_to(ROOT / root).with_suffix("").parts)
    for root, pattern in ((".", "e3any/**/*.py"), ("backends", "**/*.py"), ("adapters", "**/*.py"))
    for path in (ROOT / root).glob(pattern)
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples_of_docstrings_give_what_they_say(module):
    outcome = doctest.testmod(importlib.import_module(module))
    assert outcome.attempted > 0
    assert outcome.failed == 0


REFERENCE = dict(
    re.findall(r"currentmodule:: (\S+)\n(.*?)```", (DOCS / "api.md").read_text(encoding="utf-8"), re.DOTALL)
)
CORE = ("so3", "ops", "nn", "nn.initializers", "matrix", "models", "interop", "plot", "testing", "testing.strategies")
MODULES = ["e3any", *(f"e3any.{name}" for name in (*CORE, "checkpoint", "description"))]
ADAPTERS = ["e3any_flax", "e3any_flax.nnx", "e3any_torch", "e3any_numpy", "e3any_ase"]


def names_of_the_reference(module):
    """Return what is listed, as a page of its own or as an entry of data."""
    return re.findall(r"^(?:   |\.\. py:data:: )(\w+)$", REFERENCE.get(module, ""), re.MULTILINE)


def public_names(module):
    """Return the public names of a module; without submodules, and without what adapters have from the core."""
    namespace = importlib.import_module(module)
    values = {name: getattr(namespace, name) for name in namespace.__all__ if not name.startswith("__")}
    own = {name: value for name, value in values.items() if not inspect.ismodule(value)}
    if module in ADAPTERS:
        core = {"Config", "Irreps", "Layout", *importlib.import_module("e3any.nn").__all__}
        own = {name: value for name, value in own.items() if name not in core}
    return sorted(own)


def test_the_reference_has_all_modules():
    assert sorted(REFERENCE) == sorted([*MODULES, *ADAPTERS])


@pytest.mark.parametrize("module", [*MODULES, *ADAPTERS])
def test_the_reference_names_what_is_public(module):
    assert sorted(names_of_the_reference(module)) == public_names(module)


@pytest.mark.parametrize("module", [*MODULES, *ADAPTERS])
def test_what_the_reference_names_is_documented(module):
    namespace = importlib.import_module(module)
    listed = re.findall(r"^   (\w+)$", REFERENCE[module], re.MULTILINE)
    texts = {name: inspect.getdoc(getattr(namespace, name)) or "" for name in listed}
    sections = re.compile(
        r"^(Parameters|Attributes|Returns|Raises|Examples)\n-+$|(those|errors) (of|are)|[Ss]ee ", re.M
    )
    assert [name for name, text in texts.items() if not sections.search(text)] == []


def test_every_function_of_one_variable_has_a_plot(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    draw = importlib.import_module("function_pictures").draw
    drawn = {name for name in nn.__all__ if draw(name) is not None}
    modules = {name: getattr(getattr(nn, name), "__module__", "") for name in nn.__all__}
    kinds = ("e3any.nn.activations", "e3any.nn.cutoffs", "e3any.nn.radial")
    assert drawn == {name for name, module in modules.items() if module.startswith(kinds)}
    assert len(drawn) > 40


def test_the_picture_of_performance_has_all_rows_with_peers_of_its_table(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    picture = importlib.import_module("performance_picture")
    page = (DOCS / "performance.md").read_text(encoding="utf-8")
    rows = picture.rows(page)
    (line,) = re.findall(r"^\| tensor \| L=2, P=1, F=32 \| backward \| jax (.*)$", page, re.M)
    ours, peers, ratio, *_ = (cell.strip() for cell in line.split("|"))
    (row,) = [each for each in rows if each[:3] == ("jax", "tensor L=2, P=1, F=32", "backward")]
    for name, time in (peer.rsplit(" ", 1) for peer in peers.split(", ")):
        assert row.ratios[name.removesuffix("-jax")] == pytest.approx(float(time) / float(ours))
    assert min(row.ratios.values()) == pytest.approx(float(ratio), rel=0.05)
    assert {row.framework for row in rows} == set(picture.FRAMEWORKS)
    assert f"({picture.FILE})" in page
    figure = picture.draw(page)
    marks = sum(
        len(line.get_xdata()) for panel in figure.axes for line in panel.get_lines() if line.get_marker() == "o"
    )
    assert marks == sum(len(row.ratios) for row in rows)


def test_the_description_of_the_page_about_numpy_runs_in_all_libraries(library):
    page = (ROOT / "docs/start/numpy.md").read_text()
    (cell,) = (c for c in re.findall(r"```\{code-cell\} python\n(.*?)```", page, re.DOTALL) if "class Descriptors" in c)
    program = cell.partition("descriptors = to_numpy")[0]
    # Dataclasses look up the module that they are in.
    module = types.ModuleType("page_about_numpy")
    sys.modules[module.__name__] = module
    try:
        exec(program, vars(module))
        description = module.Descriptors(16)
    finally:
        del sys.modules[module.__name__]
    rng = np.random.default_rng(0)
    numbers, positions = rng.integers(2, size=(3, 4)), rng.normal(size=(3, 4, 3)).astype(np.float32)
    params = random_parameters(description, rng, (numbers, positions), {})
    params = tree_map(lambda x: x.astype(np.float32), params)
    expected = description(params, numbers, positions)
    assert expected.shape == (3, 48)
    assert_parity(description(*tree_map(library.array, (params, numbers, positions))), expected)
