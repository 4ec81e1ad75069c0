"""Tables by atomic number of any shape: elements that they have no row for are refused in every framework."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import Any

import e3any_torch
import flax.linen
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from e3any import nn, ops
from e3any.nn.layer import initialize

pytest.importorskip("ase")
pytest.importorskip("vesin")

from ase import Atoms
from e3any_ase import ModelCalculator, save_model

ROWS = 10
TABLE = np.arange(ROWS, dtype=np.float32)


@dataclass(frozen=True)
class References(nn.Layer):
    """One energy for every element; the first row is that of number ``first``."""

    first: int = 0
    cutoff: float = 3.0

    def forward(self, p: nn.Parameters, numbers: Any, vectors: Any, **lists: Any) -> Any:
        """Return energies (N,)."""
        return p.param("references", (ROWS,), nn.initializers.zeros)[numbers - self.first]


@dataclass(frozen=True)
class Network(nn.Layer):
    """Layers of every kind before the energies of elements."""

    cutoff: float = 3.0

    def forward(self, p: nn.Parameters, numbers: Any, vectors: Any, **lists: Any) -> Any:
        """Return energies (N,)."""
        basis = nn.basis(vectors, max_degree=1, num=4, radial_fn=nn.basic_gaussian)
        x = nn.Embed(100, 16)(p / "embed", numbers)
        x = nn.MessagePass(max_degree=1)(p / "pass", x, basis, **lists)
        x = nn.SelfAttention()(p / "attention", x, basis, **lists)
        x = nn.TensorDense(16)(p / "dense", nn.silu(x))
        x = ops.indexed_sum(ops.gather_src(x, **lists), dst_idx=lists["dst_idx"], num_segments=numbers.shape[0])
        return References()(p, numbers, vectors) + x[:, 0, 0, 0]


class TorchReferences(torch.nn.Module):
    """The same as a module of PyTorch."""

    cutoff = 3.0

    def __init__(self) -> None:
        super().__init__()
        self.references = torch.nn.Parameter(torch.from_numpy(TABLE))

    def forward(self, numbers: Any, vectors: Any, **lists: Any) -> Any:
        """Return energies (N,)."""
        return self.references[numbers]


class LinenReferences(flax.linen.Module):
    """The same as a module of Linen."""

    @flax.linen.compact
    def __call__(self, numbers: Any, vectors: Any, **lists: Any) -> Any:
        """Return energies (N,)."""
        return jnp.take(self.param("references", lambda _: jnp.asarray(TABLE)), numbers, mode="clip")


class NNXReferences(nnx.Module):
    """The same as a module of NNX."""

    def __init__(self) -> None:
        self.references = nnx.Param(jnp.asarray(TABLE))

    def __call__(self, numbers: Any, vectors: Any, **lists: Any) -> Any:
        """Return energies (N,)."""
        return self.references[...][numbers]


NINE = ["H", "C", "N", "O", "F", "Ne", "S", "Cl", "Au"]  # as many as a table of ten rows has elements


@dataclass(frozen=True)
class Embedded(nn.Layer):
    """Embeddings, whose rows are zero for numbers out of range."""

    cutoff: float = 3.0
    numbered: tuple[int, ...] = ()
    pads: bool = False

    def forward(self, p: nn.Parameters, numbers: Any, vectors: Any, **lists: Any) -> Any:
        """Return energies (N,)."""
        if self.numbered:
            numbers = sum((numbers == z) * (row + 1) for row, z in enumerate(self.numbered))
        x = nn.Embed(ROWS, 4)(p / "embed", numbers)
        if self.pads:  # Padding that a model adds reads no row either, but of no table.
            src_idx = ops.pad_rows(lists["src_idx"], 1000, value=len(numbers))
            x = x + 0 * ops.gather_src(x, src_idx=src_idx)[: len(numbers)]
        return nn.Dense(1, use_bias=False)(p / "energy", x)[:, 0, 0, 0]


class TorchEmbedded(torch.nn.Module):
    """The same as a module of PyTorch."""

    cutoff = 3.0

    def __init__(self) -> None:
        super().__init__()
        self.embed = e3any_torch.nn.Embed(ROWS, 4)

    def forward(self, numbers: Any, vectors: Any, **lists: Any) -> Any:
        """Return energies (N,)."""
        return self.embed(numbers).sum((1, 2, 3))


def tree_of_embedded() -> Any:
    edge, zero = np.ones((1, 3), np.float32), np.zeros(1, int)
    return initialize(Embedded().parameters(zero, edge, dst_idx=zero, src_idx=zero), np.random.default_rng(0))


def embedded(framework: str) -> ModelCalculator:
    return ModelCalculator(Embedded(pads=True), tree_of_embedded(), framework=framework, elements=NINE)


def network(framework: str) -> ModelCalculator:
    edge = np.ones((1, 3), np.float32)
    params = Network().parameters(np.ones(1, int), edge, dst_idx=np.zeros(1, int), src_idx=np.zeros(1, int))
    return ModelCalculator(Network(), initialize(params, np.random.default_rng(0)), framework=framework)


MADE = {
    "description": lambda: ModelCalculator(References(), {"references": TABLE}),
    "description, torch": lambda: ModelCalculator(References(), {"references": TABLE}, framework="torch"),
    "network": lambda: network("flax"),
    "network, torch": lambda: network("torch"),
    "torch": lambda: ModelCalculator(TorchReferences()),
    "linen": lambda: ModelCalculator(LinenReferences(), {"params": {"references": TABLE}}, cutoff=3.0),
    "nnx": lambda: ModelCalculator(NNXReferences(), cutoff=3.0),
    "embeddings": lambda: embedded("flax"),
    "embeddings, torch": lambda: embedded("torch"),
    "embeddings, module of torch": lambda: ModelCalculator(TorchEmbedded(), elements=NINE),
    "elements named": lambda: ModelCalculator(References(), {"references": TABLE}, elements=["H", "F", "Ne", "Au"]),
}


def energy(calculator, number):
    return Atoms([1, number], np.diag([0.0, 1.1, 0.0])[:2], calculator=calculator).get_potential_energy()


@pytest.mark.parametrize("kind", MADE)
def test_elements_beyond_a_table_of_any_shape_are_refused(kind):
    calculator = MADE[kind]()
    for _ in range(2):
        assert np.isfinite(energy(calculator, ROWS - 1))
        for number, name in ((ROWS, "Ne"), (79, "Au")):
            with pytest.raises(ValueError, match=rf"all tables of the model have rows for, got .*{name} \({number}\)"):
                energy(calculator, number)


def test_rows_that_are_there_are_those_that_indices_name():
    calculator = ModelCalculator(References(first=1), {"references": TABLE})
    assert energy(calculator, ROWS) == ROWS - 1
    with pytest.raises(ValueError, match=r"rows for, got Na \(11\)"):
        energy(calculator, ROWS + 1)


def test_what_jax_cannot_check_is_said_in_the_log(monkeypatch, caplog):
    def fails(*_: Any, **__: Any) -> Any:
        raise NotImplementedError("no rule")

    monkeypatch.setattr("e3any_ase.flax._reads_outside", fails)
    calculator = MADE["description"]()
    with caplog.at_level(logging.DEBUG, logger="e3any"):
        assert energy(calculator, 2) == 3.0
    assert "whether tables have rows for 1 is not known: no rule" in caplog.text


@pytest.mark.parametrize("elements", [NINE, [*NINE, "I"]])
def test_files_name_no_elements_without_a_row(elements, tmp_path):
    save = partial(save_model, tmp_path / "model", tree_of_embedded(), cutoff=3.0, elements=elements)
    with pytest.raises(
        ValueError, match=r"tables of the model have rows for, got Ne \(10\), S \(16\), Cl \(17\), .*Au"
    ):
        save(layer=Embedded())
    numbers = (1, 6, 7, 8, 9, 10, 16, 17, 79)
    if len(elements) == len(numbers):
        save(layer=Embedded(numbered=numbers))


def test_models_that_number_elements_themselves_are_read_by_their_own_numbers():
    model = Embedded(numbered=(1, 6, 7, 8, 9, 10, 16, 17, 79))
    calculator = ModelCalculator(model, tree_of_embedded(), framework="torch", elements=NINE)
    assert energy(calculator, 79) != energy(calculator, 17)


def test_what_torch_cannot_check_is_said_in_the_log(caplog):
    class Fails(TorchReferences):
        def forward(self, numbers, vectors, **lists):
            if len(numbers) == 2:
                raise KeyError("two atoms")
            return super().forward(numbers, vectors, **lists)

    with caplog.at_level(logging.DEBUG, logger="e3any"):
        assert energy(ModelCalculator(Fails()), 2) == 3.0
    assert "whether tables have rows for 1 is not known: 'two atoms'" in caplog.text


def test_parameters_without_values_are_refused():
    with torch.device("meta"):
        module = TorchEmbedded()
        with pytest.raises(
            ValueError, match=r"expected parameters with values, got 'embed.embedding' on the device meta"
        ):
            ModelCalculator(module)
        calculator = ModelCalculator(References(), {"references": TABLE}, framework="torch")
        assert energy(calculator, 2) == 3.0
