"""The calculator: models of every kind, files that have the last word, elements, precision, dynamics that explode."""

from __future__ import annotations

import copy
import functools
import math
import pickle
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import flax.linen
import jax
import numpy as np
import pytest
import torch
from e3any_backends import backend_of
from flax import nnx

from e3any import checkpoint, nn, ops
from e3any.nn.layer import initialize

pytest.importorskip("ase")
pytest.importorskip("vesin")

import e3any_ase
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.md.verlet import VelocityVerlet
from e3any_ase import ModelCalculator, model_file
from e3any_flax import to_linen, to_nnx
from e3any_flax.trees import load_tree
from e3any_torch import to_state_dict, to_torch


@dataclass(frozen=True)
class Model(nn.Layer):
    """Energies of atoms."""

    cutoff: float = 4.0
    features: int = 16
    num_elements: int = 30

    def forward(self, p: nn.Parameters, numbers: Any, vectors: Any, **lists: Any) -> Any:
        """Return energies (N,)."""
        radial = partial(nn.basic_bernstein, limit=self.cutoff)
        cutoff = partial(nn.smooth_cutoff, cutoff=self.cutoff)
        basis = nn.basis(vectors, max_degree=0, num=4, radial_fn=radial, cutoff_fn=cutoff)
        basis = nn.Dense(self.features)(p / "filter", basis) * ops.gather_src(self._embed(p, numbers), **lists)
        x = ops.indexed_sum(basis, dst_idx=lists["dst_idx"], num_segments=numbers.shape[0])
        return nn.Dense(1, use_bias=False)(p / "energy", nn.silu(x * self._embed(p, numbers)))[..., 0, 0, 0]

    def _embed(self, p: nn.Parameters, numbers: Any) -> Any:
        return nn.Embed(self.num_elements, self.features)(p / "embed", numbers)


MODEL = Model()
ETHANOL = e3any_ase.from_atoms(molecule("CH3CH2OH"), cutoff=4.0)
LISTS = {name: ETHANOL[name] for name in ("dst_idx", "src_idx")}
INPUTS = ETHANOL["numbers"], np.zeros((len(LISTS["dst_idx"]), 3), np.float32)


def tree_of(model=MODEL):
    return initialize(model.parameters(*INPUTS, **LISTS), np.random.default_rng(0))


TREE = tree_of()


class TorchModel(torch.nn.Module):
    """A module in the style of PyTorch, with a module of a description inside."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = to_torch(MODEL, *INPUTS, **LISTS)
        self.inner.load_state_dict(to_state_dict(TREE))
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, numbers, vectors, dst_idx, src_idx):
        return self.dropout(self.inner(numbers, vectors, dst_idx=dst_idx, src_idx=src_idx))


class LinenModel(flax.linen.Module):
    """A module in the style of Linen."""

    @flax.linen.compact
    def __call__(self, numbers, vectors, dst_idx, src_idx):
        return to_linen(MODEL, name="inner")(numbers, vectors, dst_idx=dst_idx, src_idx=src_idx)


class NNXModel(nnx.Module):
    """A module in the style of NNX."""

    def __init__(self) -> None:
        self.inner = to_nnx(MODEL, *INPUTS, rngs=nnx.Rngs(0), **LISTS)
        load_tree(self.inner, TREE)
        self.dropout = nnx.Dropout(0.5, rngs=nnx.Rngs(1))

    def __call__(self, numbers, vectors, dst_idx, src_idx):
        return self.dropout(self.inner(numbers, vectors, dst_idx=dst_idx, src_idx=src_idx))


KINDS = {
    "description_in_flax": lambda **o: ModelCalculator(MODEL, TREE, **o),
    "description_in_torch": lambda **o: ModelCalculator(MODEL, TREE, framework="torch", **o),
    "torch_module": lambda **o: ModelCalculator(TorchModel(), cutoff=4.0, **o),
    "torch_module_of_a_description": lambda **o: ModelCalculator(TorchModel().inner, **o),
    "linen_module": lambda **o: ModelCalculator(LinenModel(), {"params": {"inner": TREE}}, cutoff=4.0, **o),
    "nnx_module": lambda **o: ModelCalculator(NNXModel(), cutoff=4.0, **o),
}
kinds = pytest.mark.parametrize("kind", KINDS)
made = functools.cache(lambda kind: KINDS[kind](dtype="float64"))


def results(calculator, atoms):
    calculator.calculate(atoms)
    return calculator.results


def crystal():
    atoms = bulk("NaCl", "rocksalt", a=5.0) * (1, 1, 2)
    atoms.rattle(0.1, seed=0)
    return atoms


@pytest.fixture(scope="module")
def expected():
    return results(KINDS["description_in_torch"](dtype="float64"), crystal())


@pytest.mark.parametrize("kind", ["description_in_flax", "description_in_torch", "torch_module"])
def test_devices_are_chosen_by_their_names(kind, expected):
    calculator = pickle.loads(pickle.dumps(KINDS[kind](dtype="float64", device="cpu:0")))
    found = results(calculator, crystal())["forces"]
    np.testing.assert_allclose(found, expected["forces"], rtol=1e-11, atol=1e-12)
    with pytest.raises(ValueError, match="expected the name of a device of"):
        KINDS[kind](device="nowhere")
    with pytest.raises(TypeError, match="expected the name of a device, got int"):
        KINDS[kind](device=0)


@kinds
def test_models_of_every_kind_give_the_same_results_after_copies_too(kind, expected):
    calculator = made(kind)
    found = results(calculator, crystal())
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-11, atol=1e-12)
    # JAX compiles for every copy.
    twins = (pickle.loads(pickle.dumps(calculator)), copy.deepcopy(calculator))
    for twin in twins if "torch" in kind else twins[1:] if "linen" in kind else twins[:1]:
        assert twin is not calculator
        assert (twin.cutoff, twin.elements) == (4.0, tuple(range(1, 30)))
        twin.results = {}
        for name, value in results(twin, crystal()).items():
            np.testing.assert_array_equal(value, found[name])


@kinds
def test_unknown_elements_are_refused(kind):
    if "torch" in kind:
        assert math.isfinite(results(made(kind), bulk("Cu"))["energy"])
    for symbol, number in (("Zn", 30), ("Pt", 78), ("Au", 79)):
        expected = rf"expected elements that the model knows, H \(1\) to Cu \(29\), got {symbol} \({number}\)$"
        with pytest.raises(ValueError, match=expected):
            results(made(kind), bulk(symbol))


@pytest.mark.parametrize("elements", [["Cu"], [29], (29, "Cu")])
def test_elements_that_are_given_are_those_that_are_known(elements):
    calculator = ModelCalculator(MODEL, TREE, elements=elements, framework="torch")
    assert calculator.elements == (29,)
    results(calculator, bulk("Cu"))
    with pytest.raises(ValueError, match=r"that the model knows, Cu \(29\), got Ni \(28\)"):
        results(calculator, bulk("Ni"))


@pytest.mark.parametrize("numbers", [[0, 1], [1, -1], [119, 1], [1, 10**6]])
def test_numbers_that_are_no_elements_are_refused(numbers):
    positions = np.eye(3)[:2]
    with pytest.raises(ValueError, match="expected atomic numbers from 1 to 118, got"):
        e3any_ase.from_arrays(numbers, positions, cutoff=2.0)
    with pytest.raises(ValueError, match="expected atomic numbers from 1 to 118, got"):
        e3any_ase.from_atoms(Atoms(numbers, positions), cutoff=2.0)
    e3any_ase.from_arrays([1, 118], positions, cutoff=2.0)


@pytest.mark.parametrize("elements", [["H", "Au"], ["C", "H", "O", "Pt"]])
def test_elements_beyond_the_rows_of_embeddings_are_refused(elements, tmp_path):
    message = "expected elements that the table of embeddings has rows for, H .* got (Au|Pt) "
    with pytest.raises(ValueError, match=message):
        ModelCalculator(MODEL, TREE, framework="torch", elements=elements)
    with pytest.raises(ValueError, match=message):
        e3any_ase.save_model(tmp_path / "model.safetensors", TREE, layer=MODEL, cutoff=4.0, elements=elements)


def test_models_may_number_their_elements_themselves():
    model = Model(num_elements=2)
    assert ModelCalculator(model, tree_of(model), framework="torch", elements=["H", "Au"]).elements == (1, 79)


class Distances(torch.nn.Module):
    """A module that TorchScript compiles."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.linspace(0.5, 1.0, 30, dtype=torch.float64))

    def forward(self, numbers: torch.Tensor, vectors: torch.Tensor, dst_idx: torch.Tensor, src_idx: torch.Tensor):
        num = numbers.shape[0]
        terms = torch.exp(-(vectors**2).sum(-1))
        sums = torch.zeros(num + 1, dtype=vectors.dtype).index_add(0, dst_idx.clamp(max=num), terms)
        return sums[:num] * self.scale[numbers]


def traced(module):
    numbers, edge = torch.ones(2, dtype=torch.int64), torch.tensor([0, 1])
    return torch.jit.trace(module, (numbers, torch.ones(2, 3, dtype=torch.float64), edge, edge.flip(0)))


COMPILED = {
    "script": torch.jit.script,
    "frozen": lambda module: torch.jit.freeze(torch.jit.script(module.eval())),
    "traced": traced,
    "child": lambda module: Outer(torch.jit.script(module)),
    "compile": lambda module: torch.compile(module, backend="aot_eager"),
}


class Outer(torch.nn.Module):
    """A module with another one inside."""

    def __init__(self, inner) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, numbers, vectors, **lists):
        return self.inner(numbers, vectors, **lists)


# PyTorch itself warns that TorchScript is deprecated.
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("compiled", COMPILED)
def test_compiled_modules_give_the_same_results_and_stay_as_they_are(compiled):
    module = COMPILED[compiled](Distances())
    expected = results(ModelCalculator(Distances(), cutoff=4.0), crystal())
    found = results(ModelCalculator(module, cutoff=4.0, dtype="float64"), crystal())
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-12, atol=1e-14)
    assert np.abs(found["forces"]).max() > 1e-3
    assert all(x.requires_grad and x.is_leaf for x in module.parameters())


class Buffered(TorchModel):
    """A module whose own cut-off is a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Identity()
        self.register_buffer("cutoff", torch.tensor(4.0))


@pytest.mark.parametrize(
    ("model", "params"),
    [(Model(cutoff=np.float32(4)), TREE), (TorchModel(), None), (NNXModel(), None), (Buffered(), None)],
)
def test_lists_shorter_than_the_model_reaches_are_refused(model, params):
    with pytest.raises(ValueError, match=r"expected .*4\.0.* got 2\.0"):
        ModelCalculator(model, params, framework="torch" if params else None, cutoff=2.0)


@dataclass(frozen=True)
class Fixed(nn.Layer):
    """A cut-off of the class, and parts in a mapping."""

    cutoff: ClassVar[float] = 5.0
    parts: Any = None

    def forward(self, p: nn.Parameters, x: Any) -> Any:
        """Return the input."""
        return x


@dataclass(frozen=True)
class Computed(nn.Layer):
    """A cut-off that is computed."""

    def forward(self, p: nn.Parameters, x: Any) -> Any:
        """Return the input."""
        return x

    @property
    def cutoff(self) -> float:
        """Return the cut-off."""
        return 5.0


class LinenPart(flax.linen.Module):
    """A cut-off, and parts."""

    cutoff: float = 4.0
    parts: Any = None


class NNXPart(nnx.Module):
    """A cut-off, and a part."""

    def __init__(self, cutoff: float, part: Any = None) -> None:
        self.cutoff, self.part = cutoff, part


def torch_part(**attributes):
    module = torch.nn.Module()
    for name, value in attributes.items():
        setattr(module, name, value)
    return module


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (torch_part(cutoff_fn=partial(nn.smooth_cutoff, cutoff=5.0)), [5.0]),
        (torch_part(inner=torch_part(cutoff=6.0), r=partial(partial(print, cutoff=5.0))), [6.0, 5.0]),
        (torch_part(settings={"cutoff": 6.0}), [6.0]),
        (NNXPart(4.0, NNXPart(5.0, nnx.List([NNXPart(6.0)]))), [4.0, 5.0, 6.0]),
        (NNXPart(4.0, partial(nn.smooth_cutoff, cutoff=5.0)), [4.0, 5.0]),
        (LinenPart(parts={"a": LinenPart(8.0), "b": [LinenPart(6.0)]}), [4.0, 8.0, 6.0]),
        (Fixed(), [5.0]),
        (Fixed({"a": Computed(), "b": MODEL}), [5.0, 4.0]),
        (Computed(), [5.0]),
    ],
)
def test_cutoffs_are_seen_in_all_parts(model, expected):
    assert sorted(model_file.cutoffs_of(model)) == sorted(expected)
    model_file.check_reach(model, max(expected))
    with pytest.raises(ValueError, match="expected a cutoff of lists not smaller than that of the model"):
        model_file.check_reach(model, max(expected) - 0.5)


def test_structures_know_the_elements_of_a_model():
    atoms = molecule("CH3Cl")
    assert len(e3any_ase.from_atoms(atoms, cutoff=3.0, elements=["H", "C", "Cl"])["numbers"]) == 5
    with pytest.raises(ValueError, match=r"H \(1\), C \(6\), got Cl \(17\)"):
        e3any_ase.from_atoms(atoms, cutoff=3.0, elements=[6, 1])
    with pytest.raises(ValueError, match=r"expected symbols of elements, got 'Xx'"):
        e3any_ase.from_atoms(atoms, cutoff=3.0, elements=["Xx"])
    with pytest.raises(TypeError, match="expected elements to be a sequence"):
        e3any_ase.from_atoms(atoms, cutoff=3.0, elements="Cl")


def test_embeddings_keep_that_numbers_out_of_range_are_padding():
    params = nn.Embed(10, 4).parameters(np.zeros(1, int))
    rows = nn.Embed(10, 4)(initialize(params, np.random.default_rng(0)), np.asarray([9, 10, 17]))
    assert rows[0].any()
    assert not rows[1:].any()


class TestFiles:
    @pytest.fixture
    def path(self, tmp_path):
        """A file with all that is to be known of the model."""
        path = tmp_path / "model.safetensors"
        e3any_ase.save_model(path, TREE, layer=MODEL, cutoff=4.0, elements=["H", "C", "O"], metadata={"by": "me"})
        return path

    def test_the_file_says_all(self, path):
        layer, params, cutoff, elements = e3any_ase.load_model(path, [Model])
        assert (layer, cutoff, elements) == (MODEL, 4.0, (1, 6, 8))
        np.testing.assert_array_equal(params["embed"]["embedding"], TREE["embed"]["embedding"])
        assert checkpoint.load_metadata(path)["by"] == "me"

    @pytest.mark.parametrize("model", [[Model], Model, (Model,), MODEL], ids=["list", "class", "tuple", "description"])
    def test_calculators_need_no_more_than_the_class(self, path, model):
        calculator = ModelCalculator.from_checkpoint(path, model, framework="torch")
        assert (calculator.cutoff, calculator.elements) == (4.0, (1, 6, 8))
        direct = ModelCalculator(MODEL, TREE, framework="torch")
        ethanol = molecule("CH3CH2OH")
        assert results(calculator, ethanol)["energy"] == results(direct, ethanol)["energy"]
        with pytest.raises(ValueError, match=r"got N \(7\)"):
            results(calculator, molecule("NH3"))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"model": replace(MODEL, cutoff=5.0)}, r"differs in cutoff: 5.0, not 4.0: give its class, \[Model\]"),
            ({"model": replace(MODEL, num_elements=10)}, "num_elements: 10, not 30"),
            ({"cutoff": 5.0}, "expected the cutoff of the file, 4.0, or none, got 5.0"),
            ({"cutoff": 2.0}, "expected the cutoff of the file, 4.0, or none, got 2.0"),
            (
                {"elements": ["H", "Au"]},
                r"expected elements that the file names, H \(1\), C \(6\), O \(8\), got Au \(79\)",
            ),
            ({"model": ()}, "Model"),
        ],
    )
    def test_what_contradicts_a_file_is_refused(self, path, options, message):
        with pytest.raises(ValueError, match=message):
            ModelCalculator.from_checkpoint(**{"path": path, "model": [Model], "framework": "torch"} | options)
        ModelCalculator.from_checkpoint(path, MODEL, cutoff=4.0, elements=["H"], framework="torch")

    def test_a_file_is_read_once_so_that_one_that_replaces_it_does_not_mix(self, path, tmp_path, monkeypatch):
        other, model = tmp_path / "other.safetensors", Model(cutoff=3.0)
        e3any_ase.save_model(other, tree_of(model), layer=model, cutoff=5.0, elements=["N"])
        expected = e3any_ase.load_model(path, [Model])
        for given in ([Model], MODEL):
            files = iter([path, other, other])
            monkeypatch.setattr(checkpoint, "_existing", lambda _, files=files: next(files))
            found = e3any_ase.load_model(path, given)
            assert (found.layer, found.cutoff, found.elements) == (expected.layer, 4.0, (1, 6, 8))
            jax.tree.map(np.testing.assert_array_equal, found.params, expected.params)

    def test_a_file_without_notes_leaves_the_rest_to_the_description(self, tmp_path):
        path = tmp_path / "model.safetensors"
        checkpoint.save(path, TREE, layer=MODEL)
        make = partial(ModelCalculator.from_checkpoint, path, [Model], framework="torch")
        assert make().cutoff == 4.0
        assert make(cutoff=6.0).cutoff == 6.0
        with pytest.raises(ValueError, match=r"not smaller than that of the model, 4.0, got 2.0"):
            make(cutoff=2.0)
        checkpoint.save(path, TREE)
        assert ModelCalculator.from_checkpoint(path, MODEL, framework="torch").cutoff == 4.0
        with pytest.raises(ValueError, match="saved with its layer"):
            make()

    def test_lists_longer_than_the_model_reaches_change_nothing(self, tmp_path):
        energies = [
            results(ModelCalculator(MODEL, TREE, cutoff=c, framework="torch", dtype="float64"), crystal())["energy"]
            for c in (4.0, 6.0)
        ]
        assert energies[0] == pytest.approx(energies[1], rel=1e-12)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"cutoff": 3.9}, "not smaller than that of the model, 4.0, got 3.9"),
            ({"cutoff": math.inf}, "expected a positive, finite cutoff"),
            ({"elements": []}, "expected at least one element"),
            ({"elements": ["Foo"]}, "expected symbols of elements, got 'Foo'"),
            ({"metadata": {"cutoff": "5"}}, "expected metadata under other names"),
        ],
    )
    def test_what_is_saved_is_checked(self, tmp_path, options, message):
        with pytest.raises(ValueError, match=message):
            e3any_ase.save_model(
                **{"path": tmp_path / "x", "params": TREE, "layer": MODEL, "cutoff": 4.0, "elements": [1]} | options
            )
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        "notes",
        [{"cutoff": "four"}, *({"elements": text} for text in ("H O", "[0]", "1", "[1.5]", "[true]", "[" * 10_000))],
        ids=lambda notes: str(notes)[:20],
    )
    def test_damaged_notes_are_refused(self, tmp_path, notes):
        checkpoint.save(tmp_path / "model", TREE, notes, layer=MODEL)
        with pytest.raises(ValueError, match=r"expected .* as save_model writes it, got"):
            ModelCalculator.from_checkpoint(tmp_path / "model", [Model])


class TestPrecision:
    @pytest.mark.parametrize("x64", [False, True])
    @kinds
    def test_precision_is_that_of_the_calculator(self, kind, x64, expected):
        with jax.enable_x64(x64):
            found = results(made(kind), crystal())
        assert found["energy"] == pytest.approx(expected["energy"], rel=1e-12)

    @pytest.mark.parametrize("kind", ["description_in_flax", "torch_module", "nnx_module"])
    def test_float32_is_the_precision_by_default(self, kind, expected):
        found = results(KINDS[kind](), crystal())
        assert found["energy"] == pytest.approx(expected["energy"], rel=1e-5)
        assert found["energy"] != pytest.approx(expected["energy"], rel=1e-12)

    def test_modules_keep_their_own_precision_and_stay_as_they_are(self, expected):
        module = TorchModel().double().train()
        calculator = ModelCalculator(module, cutoff=4.0)
        assert results(calculator, crystal())["energy"] == pytest.approx(expected["energy"], rel=1e-12)
        assert module.training
        assert all(p.requires_grad for p in module.parameters())
        with torch.no_grad():
            module.inner.embed.embedding += 1.0
        assert results(calculator, crystal())["energy"] == pytest.approx(expected["energy"], rel=1e-12)
        single = results(ModelCalculator(module, cutoff=4.0, dtype="float32"), crystal())["energy"]
        assert math.isfinite(single)
        assert next(module.parameters()).dtype == torch.float64

    @pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
    def test_derivatives_may_be_switched_off_outside(self, context, expected):
        with context():
            found = results(KINDS["torch_module"](dtype="float64"), crystal())
        np.testing.assert_allclose(found["forces"], expected["forces"], atol=1e-12)

    @pytest.mark.parametrize("framework", ["flax", "torch"])
    def test_models_that_compute_less_precisely_are_refused(self, framework):
        @dataclass(frozen=True)
        class Single(nn.Layer):
            def forward(self, p, numbers, vectors, **lists):
                energies = MODEL(p, numbers, vectors, **lists)
                return backend_of(energies).xp.astype(energies, backend_of(energies).xp.float32)

        calculator = ModelCalculator(Single(), TREE, cutoff=4.0, framework=framework, dtype="float64")
        with pytest.raises(ValueError, match="expected energies in float64, got float32"):
            results(calculator, crystal())

    def test_atoms_far_from_the_origin_have_the_same_forces(self):
        calculator = ModelCalculator(MODEL, TREE, framework="torch")
        near, far = molecule("CH3CH2OH"), molecule("CH3CH2OH")
        near.positions = np.round(near.positions * 2**20) / 2**20
        far.positions = near.positions + 2.0**20
        np.testing.assert_array_equal(results(calculator, near)["forces"], results(calculator, far)["forces"])


@dataclass(frozen=True)
class Pairs(nn.Layer):
    """A function of distances, summed over pairs."""

    power: int = 0  # sin(r) / r if it is zero

    def forward(self, p: nn.Parameters, numbers: Any, vectors: Any, dst_idx: Any, src_idx: Any) -> Any:
        """Return energies (N,)."""
        xp = backend_of(vectors).xp
        r = xp.sqrt(xp.sum(vectors**2, axis=-1))
        terms = (3.0 / r) ** self.power if self.power else xp.sin(2 * r) / r
        return ops.indexed_sum(terms, dst_idx=dst_idx, num_segments=numbers.shape[0])


@pytest.mark.parametrize("framework", ["flax", "torch"])
def test_padding_of_length_zero_enters_no_derivative(framework):
    calculator = ModelCalculator(Pairs(), {}, cutoff=3.8, framework=framework, dtype="float64")
    atoms = crystal()
    found = results(calculator, atoms)
    num = len(e3any_ase.from_atoms(atoms, cutoff=3.8)["dst_idx"])
    assert ops.bucket_size(num) > num
    assert np.isfinite(found["stress"]).all()
    strained = atoms.copy()
    energies = []
    for step in (-1e-5, 1e-5):
        strained.set_cell(atoms.cell.array * (1 + step), scale_atoms=True)
        energies.append(results(calculator, strained)["energy"])
    assert found["stress"][:3].sum() == pytest.approx((energies[1] - energies[0]) / 2e-5 / atoms.cell.volume, rel=1e-6)


@pytest.mark.parametrize("pbc", [True, False])
@pytest.mark.parametrize("finder", ["vesin", "matscipy"])
def test_a_dynamics_that_explodes_ends_with_an_error(pbc, finder):
    pytest.importorskip(finder)
    atoms = bulk("Ar", cubic=True).repeat(2)
    atoms.pbc = pbc
    atoms.rattle(0.3, seed=0)
    atoms.calc = ModelCalculator(Pairs(power=12), {}, cutoff=6.0, framework="torch", dtype="float64", finder=finder)
    dynamics = VelocityVerlet(atoms, 1e7 * units.fs)
    with pytest.raises(ValueError, match=r"expected .* got .*shorter time steps"):
        dynamics.run(100)


def test_atoms_at_one_place_are_refused_where_the_model_has_no_value():
    atoms = Atoms("Ar2", np.zeros((2, 3)))
    calculator = ModelCalculator(Pairs(power=12), {}, cutoff=6.0, framework="torch")
    with pytest.raises(ValueError, match=r"expected finite energies and forces, got .* for atom 0, Ar \(18\)"):
        results(calculator, atoms)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ModelCalculator(MODEL, cutoff=4.0), "expected params of Model, got none"),
        (lambda: ModelCalculator(MODEL, framework="torch"), "expected params of Model, got none"),
        (lambda: ModelCalculator(LinenModel(), cutoff=4.0), "expected params of LinenModel, got none"),
        (lambda: ModelCalculator(TorchModel(), TREE, cutoff=4.0), "expected no params with a torch.nn.Module"),
        (lambda: ModelCalculator(NNXModel(), TREE, cutoff=4.0), "expected no params with an NNX module"),
        (lambda: ModelCalculator(torch.nn.Identity()), "expected a cutoff, since Identity has no field"),
        (
            lambda: ModelCalculator(to_linen(MODEL), TREE, cutoff=3.0),
            "not smaller than that of the model, 4.0, got 3.0",
        ),
        (lambda: ModelCalculator(TorchModel().inner, cutoff=3.0), "not smaller than that of the model, 4.0, got 3.0"),
        (lambda: ModelCalculator(TorchModel(), cutoff=4.0, framework="flax"), "to be 'torch', which TorchModel is of"),
        (lambda: ModelCalculator(NNXModel(), cutoff=4.0, framework="torch"), "to be 'flax', which NNXModel is of"),
    ],
)
def test_models_and_options_belong_together(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("model", [None, "model.pt", Model, TorchModel, 3 * [TorchModel()]], ids=str)
def test_errors_about_models_are_short(model):
    with pytest.raises(TypeError, match="expected the description of a layer, or a module of PyTorch") as raised:
        ModelCalculator(model, TREE, cutoff=4.0)
    assert len(str(raised.value)) < 200
