"""What is said where packages of an extra are missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from e3any.extras import require

# Programs, and the package that each lacks.
PROGRAMS = {
    "plot": ("import e3any.plot", "plotly"),
    "plot, matplotlib": ("import e3any.plot", "matplotlib"),
    "torch": ("import e3any_torch", "torch"),
    "flax": ("import e3any_flax", "flax"),
    "flax, jax": ("import e3any_flax", "jax"),
    "checkpoint": ("import e3any.checkpoint; e3any.checkpoint.save('x', {})", "safetensors"),
    "checkpoint, load": ("import e3any.checkpoint; open('x', 'w'); e3any.checkpoint.load('x')", "safetensors"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_package_that_is_missing_is_named_with_its_extra(name, tmp_path):
    program, missing = PROGRAMS[name]
    hidden = f"import sys; sys.modules[{missing!r}] = None; {program}"
    result = subprocess.run([sys.executable, "-c", hidden], cwd=tmp_path, capture_output=True, text=True, check=False)
    extra = name.partition(",")[0]
    last = result.stderr.strip().splitlines()[-1]
    expected = f"expected the package {missing!r}, got none: pip install 'e3any[{extra}]' installs it"
    assert last == f"ModuleNotFoundError: {expected}"


def test_what_an_installed_package_lacks_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("import package_that_it_lacks")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="No module named 'package_that_it_lacks'"):
        require("plot", "broken_package")
