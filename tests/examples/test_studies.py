"""The studies of QM9 in ``docs/examples``, on molecules that are made up."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
sys.path.append(str(EXAMPLES))

from e3any_numpy import to_numpy  # noqa: E402

qm9 = pytest.importorskip("qm9")
properties = pytest.importorskip("qm9_properties")
chirality = pytest.importorskip("qm9_chirality")

COUNT = 12


@pytest.fixture
def table(tmp_path, rng):
    """Write molecules as the package has them: one heavy atom, four others, some numbers in its own notation."""
    path = tmp_path / "molecules.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        columns = ("Index", "N_atoms", "Stoichiometry", "Elements", "XYZ_Ang", "Dipole_debye", "Polarizability_bohr3")
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for i in range(COUNT):
            points = rng.normal(size=(5, 3)) + 3 * np.eye(5, 3)
            texts = [f"[{x:.6f},{y:.6f},{z:.6f}]" for x, y, z in points]
            texts[0] = texts[0].rpartition(",")[0] + ",1.*^-6]"
            heavy = "O" if i % 2 else "C"
            atoms = f"['{heavy}','H','H','H','H']", f"[{','.join(texts)}]"
            values = (i + 1, 5, "[4,1,0,0,0]", *atoms, f"{i}.", f"{20 + i % 5}.5")
            writer.writerow(dict(zip(columns, values)))
    return path


def test_tables_are_read_in_order_of_their_numbers(table):
    molecules = qm9.load(table, 1, [3, 2])
    assert molecules.indices.tolist() == [2, 3]
    assert molecules.numbers.tolist() == [[8, 1, 1, 1, 1], [6, 1, 1, 1, 1]]
    np.testing.assert_allclose(molecules.positions[:, 0, 2], 1e-6)
    assert molecules.dipoles.tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="expected 1 molecules"):
        qm9.load(table, 1, [99])


def test_labels_name_molecules_once_and_both_hands():
    labels = chirality.read_labels(chirality.LABELS)
    assert len(labels) > 2000
    assert set(labels.values()) == {-1, 1}
    assert abs(sum(labels.values())) < 0.1 * len(labels)


def run(program, name, table, tmp_path, monkeypatch):
    output = tmp_path / name
    argv = [name, "--smoke", "--steps", "2", "--batch-size", "4", "--data", str(table), "--output", str(output)]
    monkeypatch.setattr(sys, "argv", argv)
    program.main()
    assert (output / f"{name}.png").stat().st_size > 10_000
    assert "| model" in (output / f"{name}.md").read_text(encoding="utf-8")
    return json.loads((output / f"{name}.json").read_text(encoding="utf-8"))


def test_study_of_properties_runs(table, tmp_path, monkeypatch):
    monkeypatch.setattr(properties, "MODELS", {n: properties.MODELS[n] for n in ("L = 1", "twin, turned")})
    equivariant, twin = run(properties, "qm9_properties", table, tmp_path, monkeypatch)
    assert max(equivariant["change"]) < 1e-4 < min(twin["change"])


def test_study_of_handedness_runs(table, tmp_path, monkeypatch):
    labels = tmp_path / "labels.csv"
    labels.write_text("index,label\n" + "".join(f"{i + 1},{'RS'[i % 2]}\n" for i in range(COUNT)), encoding="utf-8")
    monkeypatch.setattr(chirality, "LABELS", labels)
    monkeypatch.setattr(chirality, "MODELS", dict(list(chirality.MODELS.items())[:2]))
    both, proper = run(chirality, "qm9_chirality", table, tmp_path, monkeypatch)
    assert both["oddness"] > 0.999
    assert proper["oddness"] < 1e-3
    assert proper["with mirror images"] == pytest.approx(50)


@pytest.mark.parametrize("name", ["L = 0", "L = 1", "L = 2", "twin"])
def test_only_the_twin_sees_how_a_molecule_lies(name, table, rng):
    molecules = qm9.load(table, 1)
    model = to_numpy(properties.Properties(properties.MODELS[name]))
    tree = model.init(rng, *molecules.inputs())
    as_is = model(tree, *molecules.inputs())
    moved = model(tree, molecules.numbers, qm9.turned(molecules.positions, rng))
    change = np.abs(moved - as_is).max() / np.abs(as_is).max()
    assert (change > 1e-2) if name == "twin" else (change < 1e-4)


def test_stored_results_are_those_of_the_models():
    for name, program in (("qm9_properties", properties), ("qm9_chirality", chirality)):
        stored = json.loads((EXAMPLES.parent / "studies" / f"{name}.json").read_text(encoding="utf-8"))
        assert [(r["model"], r["molecules"]) for r in stored] == [
            (model, size) for model in program.MODELS for size in program.SIZES
        ]
