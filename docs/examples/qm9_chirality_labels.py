"""Write which molecules of QM9 have exactly one stereocentre, and whether it is R or S.

Bonds are found from the positions, the centres' configuration too, by rdkit, and labelled by the rules of Cahn, Ingold
and Prelog as P. Hanson et al., J. Chem. Inf. Model. 58, 1755 (2018), have written them down. Molecules whose bonds
rdkit does not find, or finds to be others than those in the table, are left out.

    pip install --no-deps qm9pack && pip install rdkit
    python docs/examples/qm9_chirality_labels.py
"""

from __future__ import annotations

from collections import Counter

import qm9
from qm9_chirality import LABELS, MAX_HEAVY
from rdkit import Chem, RDLogger
from rdkit.Chem import rdCIPLabeler, rdDetermineBonds


def label(row: dict[str, str]) -> str | None:
    """Return the label of the only stereocentre of a molecule, or None."""
    elements, positions = qm9.atoms_of(row)
    lines = [f"{e} {x:.8f} {y:.8f} {z:.8f}" for e, (x, y, z) in zip(elements, positions, strict=True)]
    molecule = Chem.MolFromXYZBlock("\n".join([str(len(elements)), "", *lines]))
    try:
        rdDetermineBonds.DetermineBonds(molecule, charge=0)
    except ValueError:
        return None
    flat = Chem.MolToSmiles(Chem.RemoveHs(molecule), isomericSmiles=False)
    if Chem.CanonSmiles(flat) != Chem.CanonSmiles(row["SMILES"]):
        return None
    Chem.AssignStereochemistryFrom3D(molecule)
    rdCIPLabeler.AssignCIPLabels(molecule)
    labels = [atom.GetProp("_CIPCode") for atom in molecule.GetAtoms() if atom.HasProp("_CIPCode")]
    return labels[0] if len(labels) == 1 and labels[0] in ("R", "S") else None


def main() -> None:
    """Label all molecules, and write those that have a label."""
    RDLogger.DisableLog("rdApp.*")
    found = {int(row["Index"]): label(row) for row in qm9.rows(qm9.source(), MAX_HEAVY)}
    lines = [f"{index},{name}" for index, name in sorted(found.items()) if name]
    LABELS.write_text("\n".join(["index,label", *lines]) + "\n", encoding="utf-8")
    print(f"{len(lines)} of {len(found)} molecules: {dict(Counter(name for name in found.values() if name))}")


if __name__ == "__main__":
    main()
