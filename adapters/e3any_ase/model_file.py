"""Models in files, with the elements and the cut-off of neighbours that parameters alone do not tell."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from e3any import checkpoint
from e3any.checks import shown
from e3any.description import describe
from e3any.files import strict_json
from e3any.nn import Layer
from e3any_ase.elements import Element, as_numbers, check_rows, names, of_embeddings
from e3any_ase.energies import check_reads
from e3any_ase.neighbours import check_search

__all__ = ["SavedModel", "check_reach", "chosen", "cutoffs_of", "load_model", "save_model"]

_ELEMENTS, _CUTOFF = "elements", "cutoff"


class SavedModel(NamedTuple):
    """A model of a file.

    Attributes
    ----------
    layer : e3any.nn.Layer
        The description.
    params : dict
        Its parameters, a nested dictionary of arrays.
    cutoff : float or None
        The cut-off of lists of neighbours, if the file has one.
    elements : tuple of int or None
        The atomic numbers that the model knows, if the file has them.
    """

    layer: Layer
    params: dict[str, Any]
    cutoff: float | None
    elements: tuple[int, ...] | None


def save_model(
    path: str | os.PathLike[str],
    params: Mapping[str, Any],
    *,
    layer: Layer,
    cutoff: float,
    elements: Iterable[Element],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a model of atoms to a file: parameters, description, cut-off and elements.

    Parameters
    ----------
    path : path
        Name of the file.
    params : mapping
        A nested mapping of NumPy arrays.
    layer : e3any.nn.Layer
        The description that the parameters belong to.
    cutoff : float
        The cut-off of the lists of neighbours that the model was trained with, in Angstrom.
    elements : iterable of int or str
        The elements that it was trained with, as symbols or atomic numbers.
    metadata : mapping of str to str, optional
        Other notes, see :func:`e3any.checkpoint.save`. The names ``cutoff`` and ``elements`` are taken.

    Raises
    ------
    ValueError
        If the cutoff is not positive and finite or is smaller than a field ``cutoff`` of the description, there are no
        elements or unknown ones, or a note has a name that is taken.
    TypeError
        If ``layer`` is not a description, the cutoff is not a number, elements are not a sequence, or
        :func:`e3any.checkpoint.save` raises one.

    Examples
    --------
    >>> import tempfile
    >>> from e3any import nn
    >>> path = f"{tempfile.mkdtemp()}/model.safetensors"
    >>> save_model(path, {}, layer=nn.Dense(8), cutoff=4.0, elements=["H", "O"])
    >>> load_model(path)[2:]
    (4.0, (1, 8))
    """
    if not isinstance(layer, Layer):
        raise TypeError(f"expected the description of a layer, got {type(layer).__name__}")
    check_search(cutoff)
    check_reach(layer, cutoff)
    numbers = as_numbers(elements)
    if not numbers:
        raise ValueError("expected at least one element, got none")
    if isinstance(params, Mapping):
        check_rows(numbers, of_embeddings(params))
        check_reads(layer, params, numbers)
    notes = {_CUTOFF: repr(float(cutoff)), _ELEMENTS: json.dumps(numbers)}
    if taken := set(notes) & set(metadata or {}):
        raise ValueError(f"expected metadata under other names than {sorted(notes)}, got {sorted(taken)}")
    checkpoint.save(path, params, {**(metadata or {}), **notes}, layer=layer)


def load_model(path: str | os.PathLike[str], model: Any = ()) -> SavedModel:
    """Read a model from a file.

    Parameters
    ----------
    path : path
        The file, of :func:`save_model` or :func:`e3any.checkpoint.save`.
    model : sequence of classes, class or Layer
        Your own classes of descriptions, as in :func:`e3any.checkpoint.load_layer`. A description is compared with that
        of the file, and used if the file has none.

    Returns
    -------
    SavedModel
        The model.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or has no description, a class is unknown, or a description differs from that of the
        file.
    TypeError
        If ``model`` has another type.
    """
    notes, params = checkpoint.read(path)
    return SavedModel(
        _layer(notes, model),
        params,
        _read(path, _CUTOFF, notes, float),
        _read(path, _ELEMENTS, notes, lambda text: as_numbers(strict_json.parse(text))),
    )


def _read(path: Any, name: str, notes: Mapping[str, str], parse: Any) -> Any:
    if name not in notes:
        return None
    try:
        return parse(notes[name])
    except (ValueError, TypeError):
        raise ValueError(
            f"expected {name} in {os.fspath(path)!r} as save_model writes it, got {shown(notes[name])}"
        ) from None


def _layer(notes: Mapping[str, str], model: Any) -> Layer:
    if not isinstance(model, Layer):
        classes = model if isinstance(model, Sequence) else [model]
        return checkpoint.layer_in(notes, classes)
    if "layer" not in notes:
        return model
    saved = checkpoint.layer_in(notes, list(_classes(model)))
    if differences := list(_differences(json.loads(describe(model)), json.loads(describe(saved)))):
        raise ValueError(
            f"expected the model of the file, got one that differs in {'; '.join(differences)}: give its class, "
            f"[{type(model).__name__}], and the description is read from the file"
        )
    return saved


def _parts(value: Any, seen: dict[int, Any] | None = None) -> Iterator[tuple[str, Any]]:
    """Yield names and values of all that a model consists of, at any depth, each part once."""
    # Parts are kept, so that no id is used again.
    seen = {} if seen is None else seen
    if id(value) in seen:
        return
    seen[id(value)] = value
    for name, x in _contents(value):
        yield str(name), x
        yield from _parts(x, seen)


def _contents(value: Any) -> Iterable[tuple[Any, Any]]:
    """Return fields or attributes of descriptions and modules, options of partials, and entries of containers."""
    if value is None or isinstance(value, type | str | bytes | int | float) or hasattr(value, "dtype"):
        return []
    if isinstance(value, partial):
        return [*value.keywords.items(), *(("", x) for x in (value.func, *value.args))]
    found: list[tuple[Any, Any]] = [(_CUTOFF, _attribute(value, _CUTOFF))]
    if is_dataclass(value):
        found += [(f.name, _attribute(value, f.name)) for f in fields(value) if f.name != "parent"]
    elif _is_module(value):
        found += vars(value).items()
        # Modules of TorchScript do not have their children among attributes.
        found += [("", child) for child in value.children()] if hasattr(value, "children") else []
    elif isinstance(value, Mapping):
        found += value.items()
    elif isinstance(value, set | frozenset):
        found += [("", x) for x in value]
    if isinstance(value, Sequence):  # also lists of modules, which are modules
        found += [("", x) for x in value]
    return found


def _attribute(value: Any, name: str) -> Any:
    """Return an attribute, or None if there is none."""
    try:
        return getattr(value, name, None)
    except Exception:  # a property of a user's class can raise anything, and then says no cut-off
        return None


def _is_module(value: Any) -> bool:
    """Return whether a value is a module of PyTorch or NNX; neither is imported."""
    bases = {(base.__module__.partition(".")[0], base.__name__) for base in type(value).__mro__}
    return bool(bases & {("torch", "Module"), ("flax", "Module")})


def _classes(model: Layer) -> set[type[Layer]]:
    return {type(x) for x in (model, *(x for _, x in _parts(model))) if isinstance(x, Layer)}


def cutoffs_of(model: Any) -> list[float]:
    """Return all numbers named ``cutoff`` in a model: fields, attributes, options of partials, entries of mappings."""
    found = [float(x) for name, x in _parts(model) if name == _CUTOFF and _is_number(x)]
    return list(dict.fromkeys(found))


def _is_number(x: Any) -> bool:
    """Return whether a value is a number or a zero-dimensional array."""
    if isinstance(x, bool | str) or x is None or callable(x):
        return False
    return isinstance(x, int | float | np.number) or (getattr(x, "shape", None) == () and not _is_meta(x))


def _is_meta(x: Any) -> bool:
    """Return whether an array is a tensor without values."""
    return getattr(x, "is_meta", False) is True


def check_reach(model: Any, cutoff: float) -> None:
    """Raise a ValueError if the cut-off of lists is smaller than that of the model."""
    own = max(cutoffs_of(model), default=cutoff)
    if cutoff < own:
        raise ValueError(f"expected a cutoff of lists not smaller than that of the model, {own}, got {cutoff}")


def chosen(name: str, given: Any, saved: Any) -> Any:
    """Return the saved value, or the given one if nothing is saved; raise a ValueError if they contradict."""
    if name == "elements" and None not in (given, saved):
        if more := sorted(set(given) - set(saved)):
            raise ValueError(f"expected elements that the file names, {names(saved)}, got {names(more)} too")
        return given
    if None not in (given, saved) and given != saved:
        raise ValueError(f"expected the {name} of the file, {saved}, or none, got {given}")
    return given if saved is None else saved


def _differences(given: Any, saved: Any, name: str = "") -> Iterator[str]:
    """Yield the differences of two descriptions in JSON."""
    if isinstance(given, dict) and isinstance(saved, dict):
        for key in sorted({*given, *saved}):
            inner = name if key in ("layer", "fields", "options") else f"{name}.{key}".strip(".")
            yield from _differences(given.get(key), saved.get(key), inner)
    elif given != saved:
        yield f"{name}: {_short(given)}, not {_short(saved)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
