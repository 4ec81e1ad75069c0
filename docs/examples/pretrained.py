"""Read the pretrained potential SevenNet-0 from the package sevenn, and evaluate it in Flax, PyTorch and NumPy.

    pip install 'e3any[flax,torch,pretrained]'
    python docs/examples/pretrained.py

It writes one checkpoint, with the description of the model and its parameters in double precision, and prints
energies, forces and stress of molecules and crystals beside those of the original. After that sevenn is not needed:
``ModelCalculator.from_checkpoint(path, [SevenNet])`` is a calculator of ASE. ``--name 7net-l3i5`` reads another model
of the package.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from e3any_ase import ModelCalculator, from_atoms, load_model, save_model

from e3any import Irreps, interop, ops
from e3any.models import SevenNet


def original(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return settings and parameters of a model of sevenn, as NumPy arrays in double precision."""
    from sevenn.checkpoint import SevenNetCheckpoint
    from sevenn.util import pretrained_name_to_path

    checkpoint = SevenNetCheckpoint(pretrained_name_to_path(name))
    state = checkpoint.build_model().state_dict()
    return checkpoint.config, {name: x.detach().cpu().numpy().astype(np.float64) for name, x in state.items()}


def description(config: Mapping[str, Any]) -> SevenNet:
    """Return the model that has the settings of an original."""
    radial, envelope = config["radial_basis"], config["cutoff_function"]
    expected = {
        "is_parity": False,
        "interaction_type": "nequip",
        "self_connection_type": "linear",
        "act_radial": "silu",
        "readout_as_fcn": False,
        "use_bias_in_linear": False,
    }
    if found := {key: config[key] for key, value in expected.items() if config[key] != value}:
        raise ValueError(f"expected a model with {expected}, got {found}")
    irreps = Irreps(config["irreps_manual"][1].replace("e", ""))  # of SO(3), which e3nn calls 0e, 1e, 2e
    species = config["_type_map"]
    return SevenNet(
        elements=sorted(species, key=species.get),
        irreps=irreps,
        num_interactions=config["num_convolution_layer"],
        max_degree=config["lmax"],
        num_radial=radial["bessel_basis_num"],
        hidden=config["weight_nn_hidden_neurons"],
        readout=irreps["0"] // 2,
        cutoff=config["cutoff"],
        onset=envelope.get("cutoff_on"),
        num_neighbours=1.0,  # contained in the weights
    )


def parameters(model: SevenNet, state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the parameters of a model from those of the original."""
    num, scalars = len(model.elements), Irreps({"0": model.irreps["0"]})
    gated = interop.gate_scales(model.irreps)
    table = interop.linear_parameters(state["onehot_to_feature_x.linear.weight"], f"{num}x0", scalars)
    tree: dict[str, Any] = {
        "basis": interop.bessel_parameters(state["edge_embedding.basis_function.coeffs"], model.cutoff),
        "embed": {"embedding": table["0"]["kernel"][:, None, None, :]},
        "hidden": interop.linear_parameters(
            state["reduce_input_to_hidden.linear.weight"], scalars, f"{model.readout}x0", input_scales=gated
        ),
        "energy": interop.linear_parameters(
            state["reduce_hidden_to_energy.linear.weight"], f"{model.readout}x0", "1x0"
        ),
        "scale": {
            name: np.broadcast_to(state[f"rescale_atomic_energy.{name}"], (num,)).copy() for name in ("scale", "shift")
        },
    }
    inputs, scales = scalars, None
    for i in range(model.num_interactions):
        irreps = model.irreps if i < model.num_interactions - 1 else scalars
        part = {name.removeprefix(f"{i}_"): x for name, x in state.items() if name.startswith(f"{i}_")}
        tree[f"interaction_{i}"] = interaction(model, part, inputs, irreps.gated(), scales)
        inputs, scales = irreps, gated
    return tree


def interaction(
    model: SevenNet, state: Mapping[str, np.ndarray], inputs: Irreps, outputs: Irreps, scales: Any
) -> dict[str, Any]:
    """Return the parameters of one interaction."""
    paths = interop.message_paths(inputs, model.max_degree, outputs, by_output=True)
    kernels = interop.network_kernels(
        [state[f"convolution.weight_nn.layer{n}.weight"] for n in range(len(model.hidden) + 1)],
        input_scale=math.sqrt(2 / model.cutoff),
    )
    of_paths = [(c, inputs[a]) for a, _, c in paths]
    mix = interop.linear_parameters(state["self_interaction_2.linear.weight"], of_paths, outputs)
    return {
        "skip": interop.linear_parameters(
            state["self_connection_intro.linear.weight"], inputs, outputs, input_scales=scales
        ),
        "mix": interop.linear_parameters(
            state["self_interaction_1.linear.weight"], inputs, inputs, input_scales=scales
        ),
        "message": interop.message_parameters(
            kernels, mix, inputs, model.max_degree, paths=paths, scale=1 / float(state["convolution.denominator"][0])
        ),
    }


def convert(path: Path, name: str = "7net-0") -> None:
    """Write the checkpoint of a model of sevenn."""
    config, state = original(name)
    model = description(config)
    save_model(path, parameters(model, state), layer=model, cutoff=model.cutoff, elements=model.elements)


def energy_in_numpy(path: Path, atoms: Atoms) -> float:
    """Return the energy of a structure, evaluated without a framework."""
    saved = load_model(path, [SevenNet])
    structure = from_atoms(atoms, cutoff=saved.cutoff, elements=saved.elements)
    lists = {name: structure[name] for name in ("dst_idx", "src_idx")}
    vectors = ops.displacements(structure["positions"], structure["cell"], structure["shifts"], **lists)
    return float(saved.layer(saved.params, structure["numbers"], vectors, **lists).sum())


def structures() -> dict[str, Atoms]:
    """Return molecules and crystals whose atoms are moved from their places."""
    found = {
        "ethanol": molecule("CH3CH2OH", vacuum=6.0),
        "NaCl": bulk("NaCl", "rocksalt", 5.64, cubic=True),
        "Si": bulk("Si", cubic=True),
        "MgO": bulk("MgO", "rocksalt", 4.21, cubic=True),
        "Si 64": bulk("Si", cubic=True) * (2, 2, 2),
    }
    for atoms in found.values():
        atoms.rattle(0.05, seed=1)
    return found


class Original:
    """The model of sevenn in double precision."""

    def __init__(self, name: str) -> None:
        from sevenn.calculator import SevenNetCalculator

        self.calculator = SevenNetCalculator(name, device="cpu")
        self.calculator.model.double()
        # It makes one-hot vectors in single precision.
        self.calculator.model.onehot_idx_to_onehot.register_forward_hook(_in_double)

    def __call__(self, atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
        """Return energy, forces and stress of a structure."""
        import torch
        from sevenn.atom_graph_data import AtomGraphData
        from sevenn.train.dataload import unlabeled_atoms_to_graph

        calculator = self.calculator
        data = AtomGraphData.from_numpy_dict(unlabeled_atoms_to_graph(atoms, calculator.cutoff))
        data["x"] = torch.tensor([calculator.type_map[int(z)] for z in atoms.numbers])
        for name, x in data.items():
            if torch.is_tensor(x) and x.is_floating_point():
                data[name] = x.double()
        data["edge_vec"].requires_grad_(True)
        torch.set_default_dtype(torch.float64)
        calculator.model.set_is_batch_data(False)
        try:
            found = calculator.model(data)
        finally:
            torch.set_default_dtype(torch.float32)
        stress = -found["inferred_stress"].detach().numpy()[[0, 1, 2, 4, 5, 3]]
        return float(found["inferred_total_energy"].detach()), found["inferred_force"].detach().numpy(), stress


def _in_double(module: Any, inputs: Any, output: dict[str, Any]) -> None:
    for name, x in output.items():
        if hasattr(x, "is_floating_point") and x.is_floating_point():
            output[name] = x.double()


def compare(path: Path, name: str) -> None:
    """Print energies, and errors of energies, forces and stress, of all frameworks."""
    reference = Original(name)
    options = {"dtype": "float64"}
    calculators = {
        framework: ModelCalculator.from_checkpoint(path, [SevenNet], framework=framework, **options)
        for framework in ("flax", "torch")
    }
    print(f"{'':8s} {'':6s} {'eV/atom':>12s}  errors: {'meV/atom':>9s} {'eV/A':>8s} {'eV/A^3':>8s}")
    for label, atoms in structures().items():
        energy, forces, stress = reference(atoms)
        error = (energy_in_numpy(path, atoms) - energy) / len(atoms)
        print(f"{label:8s} {'numpy':6s} {energy / len(atoms):12.6f}          {1000 * error:9.1e}")
        for framework, calculator in calculators.items():
            atoms.calc = calculator
            error = (atoms.get_potential_energy() - energy) / len(atoms)
            of_forces = np.abs(atoms.get_forces() - forces).max()
            of_stress = np.abs(atoms.get_stress() - stress).max() if atoms.pbc.any() else 0.0
            print(f"{'':8s} {framework:6s} {'':12s}          {1000 * error:9.1e} {of_forces:8.1e} {of_stress:8.1e}")


def cpu_time(calculator: Any, atoms: Atoms, repeats: int = 10) -> float:
    """Return the processor time of energy and forces in seconds, the median of several."""
    atoms, times = atoms.copy(), []
    atoms.calc = calculator
    for n in range(repeats + 2):
        atoms.positions += 1e-4 * (-1) ** n
        start = time.process_time()
        atoms.get_forces()
        times.append(time.process_time() - start)
    return float(np.median(times[2:]))


def timing(path: Path, name: str) -> None:
    """Print the time of energies and forces in single precision, at one thread."""
    import torch
    from sevenn.calculator import SevenNetCalculator

    torch.set_num_threads(1)
    calculators = {"sevenn": SevenNetCalculator(name, device="cpu")} | {
        framework: ModelCalculator.from_checkpoint(path, [SevenNet], framework=framework)
        for framework in ("torch", "flax")
    }
    for label, atoms in structures().items():
        times = {name: 1000 * cpu_time(calculator, atoms) for name, calculator in calculators.items()}
        print(f"{label:8s}", *(f"{name} {ms:7.1f} ms" for name, ms in times.items()))


def main() -> None:
    """Convert, compare, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="7net-0", help="name of the model in sevenn")
    parser.add_argument("--output", type=Path, default=Path("runs/sevennet_0.safetensors"), help="the checkpoint")
    parser.add_argument("--time", action="store_true", help="measure processor time, with one thread")
    args = parser.parse_args()
    args.output.parent.mkdir(parents=True, exist_ok=True)
    convert(args.output, args.name)
    compare(args.output, args.name)
    if args.time:
        timing(args.output, args.name)


if __name__ == "__main__":
    main()
