"""The pretrained potential in ``docs/examples``: the conversion, and the original where it is installed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from layer_cases import random_parameters

sys.path.append(str(Path(__file__).parents[2] / "docs" / "examples"))
import pretrained

from e3any import Irreps
from e3any.models import SevenNet

CONFIG = {
    "is_parity": False,
    "interaction_type": "nequip",
    "self_connection_type": "linear",
    "act_radial": "silu",
    "readout_as_fcn": False,
    "use_bias_in_linear": False,
    "irreps_manual": ["4x0e", "4x0e+3x1e+2x2e", "4x0e"],
    "_type_map": {8: 1, 1: 0, 6: 2},
    "num_convolution_layer": 2,
    "lmax": 2,
    "radial_basis": {"bessel_basis_num": 3},
    "cutoff_function": {"cutoff_on": 2.0},
    "cutoff": 3.0,
    "weight_nn_hidden_neurons": [5],
}


def state(rng, model):
    """Draw parameters under the names and with the shapes that sevenn gives them."""
    num, scalars = len(model.elements), model.irreps["0"]
    sizes = {
        "edge_embedding.basis_function.coeffs": (model.num_radial,),
        "onehot_to_feature_x.linear.weight": (num * scalars,),
        "reduce_input_to_hidden.linear.weight": (scalars * model.readout,),
        "reduce_hidden_to_energy.linear.weight": (model.readout,),
        "rescale_atomic_energy.scale": (1,),
        "rescale_atomic_energy.shift": (num,),
    }
    first, last = Irreps("4x0"), Irreps("4x0")
    for i, (ins, outs, paths, rows) in enumerate(
        [(first, model.irreps.gated(), 12, (4, 4, 4)), (model.irreps, last, 9, (9,))]
    ):
        sizes |= {
            f"{i}_self_connection_intro.linear.weight": (weights(ins, outs),),
            f"{i}_self_interaction_1.linear.weight": (weights(ins, ins),),
            f"{i}_convolution.weight_nn.layer0.weight": (3, 5),
            f"{i}_convolution.weight_nn.layer1.weight": (5, paths),
            f"{i}_convolution.denominator": (1,),
            f"{i}_self_interaction_2.linear.weight": (sum(n * outs[str(l)] for l, n in enumerate(rows)),),
        }
    return {name: rng.normal(size=shape) for name, shape in sizes.items()}


def weights(ins, outs):
    return sum(count * outs[name] for name, count in ins.items() if name in outs)


def test_parameters_are_those_that_the_description_has(rng):
    model = pretrained.description(CONFIG)
    assert (model.elements, model.irreps, model.onset) == ((1, 8, 6), Irreps("4x0 + 3x1 + 2x2"), 2.0)
    lists = {"dst_idx": np.asarray([0]), "src_idx": np.asarray([0])}
    expected = random_parameters(model, rng, (np.asarray([1]), np.ones((1, 3))), lists)
    tree = pretrained.parameters(model, state(rng, model))
    assert _shapes(tree) == _shapes(expected)
    # Those of one atom are the shift, and the scalars of all elements differ.
    assert np.ptp(model(tree, np.asarray([1, 8, 6]), np.ones((1, 3)), **lists)) > 0
    with pytest.raises(ValueError, match=r"expected a model with .*, got \{'is_parity': True\}"):
        pretrained.description(CONFIG | {"is_parity": True})


def _shapes(tree):
    return {name: _shapes(x) if isinstance(x, dict) else np.shape(x) for name, x in tree.items()}


def test_energies_forces_and_stress_are_those_of_sevenn(tmp_path):
    pytest.importorskip("sevenn", reason="needs the extra pretrained")
    from e3any_ase import ModelCalculator, load_model

    path = tmp_path / "model.safetensors"
    pretrained.convert(path)
    saved = load_model(path, [SevenNet])
    assert sum(np.prod(shape) for shape in _leaves(_shapes(saved.params))) == 842_618
    original, structures = pretrained.Original("7net-0"), pretrained.structures()
    for framework, label in (("torch", "NaCl"), ("flax", "ethanol")):
        atoms = structures[label]
        atoms.calc = ModelCalculator.from_checkpoint(path, [SevenNet], framework=framework, dtype="float64")
        energy, forces, stress = original(atoms)
        assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-7 * len(atoms))
        assert pretrained.energy_in_numpy(path, atoms) == pytest.approx(energy, abs=1e-7 * len(atoms))
        np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-5)
        if atoms.pbc.any():
            np.testing.assert_allclose(atoms.get_stress(), stress, atol=1e-6)


def _leaves(tree):
    for x in tree.values():
        yield from _leaves(x) if isinstance(x, dict) else [x]
