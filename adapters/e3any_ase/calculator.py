"""A calculator of ASE for models of e3any."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, ClassVar, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from e3any.nn import Layer
from e3any_ase.elements import Element, as_numbers, check_rows, names
from e3any_ase.energies import Derivatives, Evaluator, inputs_of
from e3any_ase.model_file import check_reach, chosen, cutoffs_of, load_model
from e3any_ase.neighbours import Finder, check_search
from e3any_ase.structures import from_arrays

__all__ = ["ModelCalculator"]


class ModelCalculator(Calculator):  # type: ignore[misc]
    r"""Energies, forces and stress of a model, for dynamics and relaxation with ASE.

    .. math::
        E = \sum_i E_i, \qquad F = -\frac{\partial E}{\partial r}, \qquad
        \sigma = \frac{1}{V} \frac{\partial E}{\partial \epsilon}

    in eV, eV/Angstrom and eV/Angstrom^3 if the model is trained in these units. ``free_energy`` is the energy.

    Parameters
    ----------
    model : e3any.nn.Layer, torch.nn.Module, flax.linen.Module or flax.nnx.Module
        The model, called as ``model(numbers, vectors, dst_idx=..., src_idx=...)``, returns the energies (N,) of atoms
        from atomic numbers (N,), zero for padding, vectors (E, 3) from receiving to sending atoms, and the sparse list
        (E,), N for padding. Modules are copied and set to evaluation mode.
    params : mapping, optional
        The parameters of a description as a nested mapping of arrays, or the variables of a Linen module. Other
        modules contain their parameters.
    cutoff : float, optional
        Largest length of vectors, in Angstrom; by default the field ``cutoff`` of the model. It must not be smaller
        than any ``cutoff`` that the model has, see Notes.
    elements : iterable of int or str, optional
        The elements that the model knows, as symbols or atomic numbers; others are refused. By default those of the
        field ``elements`` of a description, a tuple of atomic numbers, or else those with a row in the smallest table
        of embeddings of the model, or all if it has no table.
    framework : {'flax', 'torch'}, optional
        Whether JAX or PyTorch evaluates a description; JAX by default. For a module it is the module's framework.
    dtype : {'float32', 'float64'}, optional
        Precision of energies and derivatives; by default that of the parameters of a module, and float32 for a
        description. It does not depend on ``jax_enable_x64``.
    device : str, optional
        The device that evaluates the model, by its name in the framework, for example ``"cuda:0"``. By default that of
        the parameters of a module of PyTorch, the CPU for a description in PyTorch, and the default device of JAX.
    finder : {'vesin', 'matscipy'}
        See :func:`neighbours`.
    **options
        Options of :class:`ase.calculators.calculator.Calculator`.

    Raises
    ------
    ValueError
        If ``framework``, ``dtype`` or ``finder`` has another value, the framework has no such device, the cutoff is
        missing, not positive and finite, or smaller than that of the model, or parameters are missing or left over.
    TypeError
        If ``model`` is not a model, ``params`` is not a mapping, ``device`` is no name, or ``cutoff`` is not a
        number.

    Notes
    -----
    Structures are padded to buckets, so that JAX compiles few programs along a trajectory. Stress is not implemented
    for cells without a volume. A structure raises a ValueError if the model does not know an element or one of its
    tables has no row for it, or if positions, energies or forces are not finite, for example after a dynamics has
    exploded.

    A ``cutoff`` of the model is a field or attribute of this name, an entry of a mapping, or an option of
    :func:`functools.partial`, in any part. A number within a function can't be found: state
    ``partial(nn.smooth_cutoff, cutoff=5.0)`` instead of ``lambda r: nn.smooth_cutoff(r, cutoff=5.0)``, or give the
    model an attribute ``cutoff``.

    Modules that are compiled, by :func:`torch.compile` or as TorchScript, are evaluated as they are. Frozen and traced
    modules keep the dtype, and programs of :func:`torch.export` the sizes, that they were made for.

    A calculator can be pickled and copied, if the model can; modules of TorchScript cannot be pickled.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "energies", "forces", "stress"]

    def __init__(
        self,
        model: Any,
        params: Mapping[str, Any] | None = None,
        *,
        cutoff: float | None = None,
        elements: Iterable[Element] | None = None,
        framework: Literal["flax", "torch"] | None = None,
        dtype: Literal["float32", "float64"] | None = None,
        device: str | None = None,
        finder: Finder = "vesin",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        own = _framework_of(model)
        if params is not None and not isinstance(params, Mapping):
            raise TypeError(f"expected a mapping of parameters, got {type(params).__name__}")
        if framework not in (None, "flax", "torch"):
            raise ValueError(f"expected framework to be 'flax' or 'torch', got {framework!r}")
        if own is not None and framework not in (None, own):
            raise ValueError(f"expected framework to be {own!r}, which {type(model).__name__} is of, got {framework!r}")
        if dtype not in (None, "float32", "float64"):
            raise ValueError(f"expected dtype to be 'float32' or 'float64', got {dtype!r}")
        self._cutoff = _reach(model, cutoff)
        check_search(self._cutoff, finder)
        self._finder: Finder = finder
        if device is not None and not isinstance(device, str):
            raise TypeError(f"expected the name of a device, got {type(device).__name__}")
        self._evaluator = _evaluator(own or framework or "flax", model, params, dtype, device)
        self._elements = self._evaluator.elements
        elements = _elements_of(model) if elements is None else elements
        if elements is not None:
            self._elements = as_numbers(elements)
            check_rows(self._elements, self._evaluator.elements)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | os.PathLike[str],
        model: Any = (),
        *,
        cutoff: float | None = None,
        elements: Iterable[Element] | None = None,
        **options: Any,
    ) -> ModelCalculator:
        """Read the model from a file. Arguments must not contradict the file.

        Parameters
        ----------
        path : path
            The file, of :func:`save_model` or :func:`e3any.checkpoint.save`.
        model : sequence of classes, class or Layer
            The classes of the description, for example ``[Model]``, as in :func:`e3any.checkpoint.load_layer`. A
            description must be equal to that of the file, and is needed only if the file has none.
        cutoff : float, optional
            The cut-off of lists, if the file does not contain it.
        elements : iterable of int or str, optional
            The elements, if the file does not contain them, or some of those of the file.
        **options
            Other parameters of the calculator.

        Returns
        -------
        ModelCalculator
            The calculator.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is damaged, or an argument contradicts it.
        """
        saved = load_model(path, model)
        numbers = None if elements is None else as_numbers(elements)
        given = {
            "cutoff": chosen("cutoff", cutoff, saved.cutoff),
            "elements": chosen("elements", numbers, saved.elements),
        }
        return cls(saved.layer, saved.params, **given, **options)

    @property
    def cutoff(self) -> float:
        """Return the largest length of vectors, in Angstrom."""
        return self._cutoff

    @property
    def elements(self) -> tuple[int, ...] | None:
        """Return the atomic numbers that the model knows; None for all."""
        return self._elements

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Compute all properties of atoms, and store them in ``results``."""
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        volume = abs(np.linalg.det(atoms.cell.array))
        if "stress" in properties and volume == 0:
            raise PropertyNotImplementedError(f"expected a cell with a volume for stress, got {atoms.cell}")
        arrays = atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc
        structure = from_arrays(*arrays, cutoff=self._cutoff, finder=self._finder, elements=self._elements)
        found = self._evaluator(inputs_of(structure, self._cutoff))
        found = Derivatives(*(np.asarray(x, dtype=np.float64) for x in found))
        energies, forces = found.energies[: len(atoms)], -found.positions[: len(atoms)]
        _check_results(atoms, energies, forces)
        energy = float(np.sum(energies))
        self.results = {"energy": energy, "free_energy": energy, "energies": energies, "forces": forces}
        if volume:
            self.results["stress"] = full_3x3_to_voigt_6_stress(found.strain / volume)


def _elements_of(model: Any) -> tuple[int, ...] | None:
    """Return the field ``elements`` of a description, such as :class:`e3any.models.NequIP`, if it is numbers."""
    found = getattr(model, "elements", None) if isinstance(model, Layer) else None
    return found if isinstance(found, tuple) and found and all(type(x) is int for x in found) else None


def _framework_of(model: Any) -> Literal["flax", "torch"] | None:
    """Return the framework of a module, or None for a description; raise a TypeError for anything else."""
    if isinstance(model, Layer):
        return None
    # If there is a module, its framework has been imported.
    if "torch" in sys.modules and isinstance(model, import_module("torch").nn.Module):
        return "torch"
    kinds = [name for name in ("flax.linen", "flax.nnx") if name in sys.modules]
    if any(isinstance(model, import_module(kind).Module) for kind in kinds):
        return "flax"
    raise TypeError(
        f"expected the description of a layer, or a module of PyTorch, Linen or NNX, got {_kind_of(model)}: a "
        f"description or a Linen module comes with its parameters"
    )


def _kind_of(model: Any) -> str:
    return f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__


def _reach(model: Any, cutoff: float | None) -> float:
    """Return the cut-off of lists, which must not be smaller than that of the model."""
    if cutoff is None:
        own = cutoffs_of(model)
        if not own:
            raise ValueError(f"expected a cutoff, since {type(model).__name__} has no field of this name, got none")
        return max(own)
    check_search(cutoff)
    check_reach(model, cutoff)
    return float(cutoff)


def _evaluator(
    framework: str, model: Any, params: Mapping[str, Any] | None, dtype: str | None, device: str | None
) -> Evaluator:
    # Import only the framework that is needed.
    name = {"flax": "JaxEvaluator", "torch": "TorchEvaluator"}[framework]
    made: Evaluator = getattr(import_module(f"e3any_ase.{framework}"), name)(model, params, dtype, device)
    return made


def _check_results(atoms: Atoms, energies: Any, forces: Any) -> None:
    """Raise a ValueError unless energies and forces are finite."""
    is_finite = np.isfinite(energies) & np.isfinite(forces).all(axis=1)
    if not is_finite.all():
        first = int(np.flatnonzero(~is_finite)[0])
        raise ValueError(
            f"expected finite energies and forces, got {energies[first]} and {forces[first]} for atom {first}, "
            f"{names([atoms.numbers[first]])}: are atoms at one place? If a dynamics has exploded, take shorter "
            f"time steps"
        )
