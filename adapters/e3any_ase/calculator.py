"""A calculator of ASE for models of e3any."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from e3any import checkpoint
from e3any.nn import Layer
from e3any.nn.layer import check_layer
from e3any_ase.neighbours import Finder, check_search
from e3any_ase.structures import from_arrays, pad_structures

__all__ = ["ModelCalculator"]


class ModelCalculator(Calculator):  # type: ignore[misc]
    r"""Energies, forces and stress of a model, for dynamics and relaxation with ASE.

    .. math::
        E = \sum_i E_i, \qquad F = -\frac{\partial E}{\partial r}, \qquad
        \sigma = \frac{1}{V} \frac{\partial E}{\partial \epsilon}

    in eV, eV/Angstrom and eV/Angstrom^3 if the model is trained in these units. ``free_energy`` is the energy.

    Parameters
    ----------
    model : e3any.nn.Layer
        The model, which returns the energies (N,) of atoms:
        ``forward(p, numbers, vectors, *, dst_idx, src_idx)`` with atomic numbers (N,), zero for padding, and vectors
        (E, 3) from the atoms that receive to those that send.
    params : mapping
        The parameters of the model as a nested mapping of arrays.
    cutoff : float
        Largest length of vectors, in Angstrom.
    framework : {'flax', 'torch'}
        What evaluates the model: JAX or PyTorch.
    dtype : {'float32', 'float64'}
        Precision of energies and derivatives. JAX has float64 if ``jax_enable_x64`` is set.
    finder : {'vesin', 'matscipy'}
        See :func:`neighbours`.
    **options
        Options of :class:`ase.calculators.calculator.Calculator`.

    Raises
    ------
    ValueError
        If ``framework``, ``dtype`` or ``finder`` has another value, the cutoff is not positive and finite, or JAX has
        no float64.
    TypeError
        If ``model`` is no layer, ``params`` no mapping, or ``cutoff`` no number.

    Notes
    -----
    Structures are padded to buckets, so that JAX compiles few programs along a trajectory. Stress is not implemented
    for cells without a volume.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "energies", "forces", "stress"]

    def __init__(
        self,
        model: Layer,
        params: Mapping[str, Any],
        *,
        cutoff: float,
        framework: Literal["flax", "torch"] = "flax",
        dtype: Literal["float32", "float64"] = "float32",
        finder: Finder = "vesin",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_layer(model)
        if not isinstance(params, Mapping):
            raise TypeError(f"expected a mapping of parameters, got {type(params).__name__}")
        check_search(cutoff, finder)
        if framework not in ("flax", "torch"):
            raise ValueError(f"expected framework to be 'flax' or 'torch', got {framework!r}")
        if dtype not in ("float32", "float64"):
            raise ValueError(f"expected dtype to be 'float32' or 'float64', got {dtype!r}")
        # Only the framework that is asked for is imported.
        self._derivatives = import_module(f"e3any_ase.{framework}").derivatives(model, params, dtype)
        self._cutoff = cutoff
        self._finder = finder

    @classmethod
    def from_checkpoint(cls, path: str | os.PathLike[str], model: Layer, **options: Any) -> ModelCalculator:
        """Read the parameters from a file.

        Parameters
        ----------
        path : path
            The file, of :func:`e3any.checkpoint.save`.
        model : e3any.nn.Layer
            The model.
        **options
            Other parameters of the calculator.

        Returns
        -------
        ModelCalculator
            The calculator.

        Raises
        ------
        FileNotFoundError, ValueError
            See :func:`e3any.checkpoint.load`.
        """
        return cls(model, checkpoint.load(path), **options)

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Compute all properties of atoms, and keep them in ``results``."""
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        volume = abs(np.linalg.det(atoms.cell.array))
        if "stress" in properties and volume == 0:
            raise PropertyNotImplementedError(f"expected a cell with a volume for stress, got {atoms.cell}")
        arrays = atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc
        batch = pad_structures([from_arrays(*arrays, cutoff=self._cutoff, finder=self._finder)])
        found = self._derivatives({name: x[0] for name, x in batch.items()})
        energies = found.energies[: len(atoms)].astype(np.float64)
        energy = float(np.sum(energies))
        forces = -found.positions[: len(atoms)].astype(np.float64)
        self.results = {"energy": energy, "free_energy": energy, "energies": energies, "forces": forces}
        if volume:
            self.results["stress"] = full_3x3_to_voigt_6_stress(found.strain.astype(np.float64) / volume)
