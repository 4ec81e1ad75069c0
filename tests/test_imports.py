"""Imports: adapters -> e3any -> e3any_backends, and frameworks only in their own files."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FRAMEWORKS = {"jax", "jaxlib", "flax", "torch"}
ADAPTERS = {"e3any_ase", "e3any_flax", "e3any_numpy", "e3any_torch"}
FORBIDDEN_IN_SOURCES = {
    "e3any": FRAMEWORKS | ADAPTERS,
    "backends/e3any_backends": {"flax", "e3any"} | ADAPTERS,
    "adapters/e3any_ase": {"e3any_flax", "e3any_torch", "e3any_numpy"},
    "adapters/e3any_flax": {"torch", "e3any_ase", "e3any_torch", "e3any_numpy"},
    "adapters/e3any_torch": {"jax", "jaxlib", "flax", "e3any_ase", "e3any_flax", "e3any_numpy"},
    "adapters/e3any_numpy": FRAMEWORKS | {"e3any_ase", "e3any_flax", "e3any_torch"},
}


def assert_does_not_load(module: str, forbidden: set[str]) -> None:
    """Import a module in a fresh interpreter and fail if a forbidden package was loaded with it."""
    script = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    path = os.pathsep.join(str(ROOT / folder) for folder in (".", "backends", "adapters"))
    result = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    loaded = set(json.loads(result.stdout.splitlines()[-1]))
    assert module in loaded
    assert not loaded & forbidden, f"import {module} loads {sorted(loaded & forbidden)}"


def imported_packages(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the top-level package of every absolute import, those inside functions included."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in {"__import__", "import_module", "importlib.import_module"}
            and isinstance(node.args[0], ast.Constant)
        ):
            names = [node.args[0].value]
        for name in names:
            yield node.lineno, name.partition(".")[0]


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("e3any", FRAMEWORKS | ADAPTERS | {"scipy", "safetensors", "matplotlib", "plotly"}),
        ("e3any.testing", FRAMEWORKS | ADAPTERS | {"hypothesis"}),
        ("e3any_backends", FRAMEWORKS | ADAPTERS | {"e3any", "scipy", "safetensors"}),
        ("e3any_ase", FRAMEWORKS | {"e3any_flax", "e3any_numpy", "e3any_torch"}),
        ("e3any_numpy", FRAMEWORKS | {"e3any_flax", "e3any_torch", "scipy", "safetensors"}),
        ("e3any_flax", {"torch", "e3any_torch", "e3any_numpy"}),
        ("e3any_torch", {"jax", "jaxlib", "flax", "e3any_flax", "e3any_numpy"}),
    ],
)
def test_import_loads_no_other_framework(module: str, forbidden: set[str]) -> None:
    assert_does_not_load(module, forbidden)


def test_a_forbidden_import_is_noticed() -> None:
    with pytest.raises(AssertionError, match=r"import jax loads \['jax', 'jaxlib'\]"):
        assert_does_not_load("jax", FRAMEWORKS)


def test_a_failing_import_is_noticed() -> None:
    with pytest.raises(AssertionError, match="ModuleNotFoundError"):
        assert_does_not_load("e3any_missing", FRAMEWORKS)


@pytest.mark.parametrize("folder", FORBIDDEN_IN_SOURCES)
def test_sources_import_nothing_forbidden(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    found = [
        f"{file.relative_to(ROOT)}:{line} imports {package}"
        for file in files
        for line, package in imported_packages(file.read_text(encoding="utf-8"))
        if package in FORBIDDEN_IN_SOURCES[folder]
    ]
    assert not found, "\n".join(found)


def test_a_backend_imports_only_the_library_of_its_name() -> None:
    for file in (ROOT / "backends").rglob("*.py"):
        packages = {package for _, package in imported_packages(file.read_text(encoding="utf-8"))}
        allowed = {name for name in ("jax", "torch") if name == file.parent.name}
        assert packages & FRAMEWORKS <= allowed, f"{file.name} imports {sorted(packages & FRAMEWORKS)}"


# What the modules of a package of backends, or one module, may import of the others, in functions too.
ALLOWED_WITHIN_BACKENDS = {
    "forms": ("forms",),
    "arrays": ("forms",),
    "references": ("references", "arrays", "forms"),
    "generic": ("references", "arrays", "forms"),
    "kernels": ("kernels", "references", "arrays", "forms"),
    "triton": ("triton", "arrays", "forms"),
    "jax": ("jax", "triton", "kernels", "generic", "references", "arrays", "numpy_arrays", "forms"),
    "torch": (
        "torch",
        "triton",
        "kernels",
        "kernel_backend",
        "generic",
        "references",
        "arrays",
        "numpy_arrays",
        "forms",
    ),
}
# Not split yet.


@pytest.fixture(scope="module")
def source_counts() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("source_counts", ROOT / "docs" / "source_counts.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def not_allowed(source_counts: types.ModuleType, sources: dict[str, ast.Module]) -> list[str]:
    """Return imports between packages of backends that the table above does not allow."""
    return [
        f"{name} imports {found}"
        for name, module in sources.items()
        if (package := name.split(".")[1:2]) and package[0] in ALLOWED_WITHIN_BACKENDS
        for found in sorted(source_counts.imports(module, set(sources), when_called=True))
        if found.split(".")[1:2] and found.split(".")[1] not in ALLOWED_WITHIN_BACKENDS[package[0]]
    ]


def test_packages_of_backends_import_one_way(source_counts: types.ModuleType) -> None:
    sources = source_counts.modules()
    assert {name.split(".")[1] for name in sources if "." in name} >= ALLOWED_WITHIN_BACKENDS.keys()
    assert not_allowed(source_counts, sources) == []
    sources["e3any_backends.forms.tables"] = ast.parse("def f():\n    from e3any_backends.torch import eager")
    sources["e3any_backends.jax.edges"] = ast.parse("import e3any_backends.torch.modes")
    assert not_allowed(source_counts, sources) == [
        "e3any_backends.forms.tables imports e3any_backends.torch.eager",
        "e3any_backends.jax.edges imports e3any_backends.torch.modes",
    ]


def test_modules_of_backends_import_each_other_in_no_circle(source_counts: types.ModuleType) -> None:
    sources = source_counts.modules()
    assert source_counts.circles(sources) == []
    sources["e3any_backends.forms.tables"] = ast.parse("from e3any_backends.forms import couplings")
    assert source_counts.circles(sources) == [("e3any_backends.forms.couplings", "e3any_backends.forms.tables")]


def test_files_of_backends_are_short(source_counts: types.ModuleType) -> None:
    assert {name for name, num in source_counts.lines().items() if num > source_counts.MOST_LINES} == set()


@pytest.mark.parametrize(
    "source",
    [
        "import jax",
        "import numpy, jax.numpy as jnp",
        "from jax import numpy",
        "def f():\n    import jax.lax",
        "jax = __import__('jax')",
        "import importlib\nimportlib.import_module('jax.numpy')",
    ],
)
def test_every_form_of_import_is_noticed(source: str) -> None:
    assert "jax" in {package for _, package in imported_packages(source)}


def test_relative_imports_and_strings_are_not_taken_for_frameworks() -> None:
    assert list(imported_packages("from . import jax\nfrom .torch import x\nname = 'jax'")) == []


def test_flax_modules_load_without_nnx() -> None:
    assert_does_not_load("e3any_flax", {"flax.nnx"})
