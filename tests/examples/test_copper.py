"""The crystal of copper in ``docs/examples``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "docs" / "examples"))

copper = pytest.importorskip("copper")


def test_it_trains_relaxes_and_moves(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["copper", "--smoke", "--framework", "torch", "--output", str(tmp_path)])
    copper.main()
    printed = capsys.readouterr().out
    assert "training: 5 steps with torch" in printed
    teacher = next(line for line in printed.splitlines() if line.startswith("| teacher"))
    assert 11.0 < float(teacher.split("|")[2]) < 12.5
    assert "total energy constant within" in printed
    assert (tmp_path / "copper.safetensors").is_file()
