"""The page on testing: its tests run as they are printed, and fail for a model that breaks the laws."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM, FLAX, NUMPY = re.findall(r"```python\n(.*?)```", (ROOT / "docs/testing.md").read_text(), re.DOTALL)
BROKEN = PROGRAM.replace("self.message(x, basis, **lists)", "self.message(x, basis, **lists).cumsum(-2)")
# The example that is found need not be made simple.
BROKEN = BROKEN.replace("given, settings", "Phase, given, settings").replace("=30", "=30, phases=[Phase.generate]")


def outcome(program, folder):
    """Run the tests of a program, and return the exit status of pytest and what it printed."""
    (folder / "test_model.py").write_text(program)
    path = os.pathsep.join(str(ROOT / name) for name in (".", "backends", "adapters"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder)]
    environment = os.environ | {"PYTHONPATH": path, "HYPOTHESIS_STORAGE_DIRECTORY": str(folder)}
    result = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout


@pytest.mark.parametrize(
    ("program", "summary"),
    [(PROGRAM, "2 passed"), (BROKEN, "1 failed, 1 passed"), (FLAX, "1 passed"), (NUMPY, "2 passed")],
    ids=["torch", "torch, broken", "flax", "numpy"],
)
def test_programs_of_the_page_find_what_is_broken(program, summary, tmp_path):
    status, printed = outcome(program, tmp_path)
    assert summary in printed, printed
    assert status == ("failed" in summary)
