"""Trees of parameters in safetensors files, the same for every framework.

A file holds one tensor per parameter under the path of its name, such as ``dense.0+.kernel``, the version of the
conventions (:mod:`e3any.conventions`), and, where it was saved with its layer, the description of that
(:mod:`e3any.description`). Loading executes no code.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from e3any_backends.generic import dtype_name
from numpy.typing import NDArray

from e3any import conventions
from e3any.checks import shown
from e3any.description import describe, layer_of
from e3any.dotted_names import dotted, nested
from e3any.files import replace_file
from e3any.nn.layer import Layer, leaves
from e3any.safetensors_format import DTYPES, NOTES, Entry, content, read_array, read_header

__all__ = ["load", "load_layer", "load_metadata", "save"]

_FORMAT = "e3any"
_LAYER = "layer"


def save(
    path: str | os.PathLike[str],
    tree: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
    *,
    layer: Layer | None = None,
) -> None:
    """Write a tree of parameters; the file is complete or does not change.

    Parameters
    ----------
    path : path
        Name of the file.
    tree : mapping
        A nested mapping of NumPy arrays.
    metadata : mapping of str to str, optional
        Notes to keep with the parameters.
    layer : Layer, optional
        The layer or model that the parameters are for, which :func:`load_layer` returns.

    Raises
    ------
    ValueError
        If a name is empty or contains a dot, or is that of the notes in such files, ``__metadata__``; if there is a
        folder, a device or a pipe at the path.
    TypeError
        If a name or a note is no string, a leaf no NumPy array of real numbers or bools, or if the layer can't be
        described, see :func:`e3any.description.describe`.

    Notes
    -----
    Symbolic links are followed. A file that is there keeps its permissions.
    """
    if not isinstance(tree, Mapping):
        raise TypeError(f"expected a mapping of arrays, got {type(tree).__name__}")
    _check_metadata(metadata)
    arrays = {_key(names): _checked(names, leaf) for names, leaf in leaves(tree)}
    described = {} if layer is None else {_LAYER: describe(layer)}
    notes = {**(metadata or {}), **described, "format": _FORMAT, "conventions": str(conventions.VERSION)}
    replace_file(path, content(arrays, notes))


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a tree of parameters.

    Parameters
    ----------
    path : path
        Name of the file.

    Returns
    -------
    dict
        A nested dictionary of NumPy arrays. Parameters of bfloat16, which NumPy itself lacks, have that dtype of the
        package ``ml_dtypes`` where it is installed, as with JAX, and else are of float32, with the same values:
        ``load_tree`` and ``to_state_dict`` of the adapters and :func:`save` know them as bfloat16 then too.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, is no checkpoint of this library, or follows other conventions.
    """
    with _opened(path) as (file, entries, _):
        return nested([(entry.key, read_array(file, entry)) for entry in entries])


def load_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read the notes that were kept with the parameters.

    Parameters
    ----------
    path : path
        Name of the file.

    Returns
    -------
    dict of str
        The notes. Errors are those of :func:`load`.
    """
    with _opened(path) as (_, _, notes):
        return notes


def load_layer(path: str | os.PathLike[str], classes: Sequence[type[Layer]] = ()) -> Layer:
    """Read the layer whose parameters a file holds.

    Parameters
    ----------
    path : path
        Name of the file.
    classes : sequence of classes
        The classes of models that are not of :mod:`e3any.nn`; nothing else is looked up.

    Returns
    -------
    Layer
        The layer.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or was saved without its layer, or if a class is not known.
    TypeError
        If a class is none of layers.
    """
    notes = load_metadata(path)
    if _LAYER not in notes:
        raise ValueError(f"expected a checkpoint that was saved with its layer, got notes {sorted(notes)}")
    return layer_of(notes[_LAYER], classes)


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[tuple[BufferedReader, list[Entry], dict[str, str]]]:
    """Open a checkpoint; what replaces the file meanwhile does not change what is read."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"expected a checkpoint, got no file at {os.fspath(path)!r}")
    with Path(path).open("rb") as file:
        try:
            entries, notes = read_header(file)
        except ValueError as error:
            raise _damaged(path, error) from None
        _check_notes(notes)
        try:
            yield file, entries, notes
        except ValueError as error:
            raise _damaged(path, error) from None


def _damaged(path: str | os.PathLike[str], error: ValueError) -> ValueError:
    return ValueError(f"expected a safetensors file, got a damaged one at {os.fspath(path)!r}: {error}")


def _check_notes(notes: Mapping[str, str]) -> None:
    if notes.get("format") != _FORMAT:
        raise ValueError(f"expected a checkpoint of format {_FORMAT!r}, got {shown(notes.get('format'))}")
    if notes.get("conventions") != str(conventions.VERSION):
        raise ValueError(f"expected conventions {conventions.VERSION}, got {shown(notes.get('conventions'))}")


def _check_metadata(metadata: Any) -> None:
    if not isinstance(metadata, Mapping | None):
        raise TypeError(f"expected metadata to be a mapping of strings, got {shown(metadata)}")
    for name, note in (metadata or {}).items():
        if not (isinstance(name, str) and isinstance(note, str)):
            raise TypeError(f"expected metadata of strings, got {shown(name)}: {shown(note)}")
        try:
            (name + note).encode()
        except UnicodeEncodeError:
            raise ValueError(f"expected metadata of whole characters, got {shown(name)}: {shown(note)}") from None


def _key(names: tuple[str, ...]) -> str:
    key = dotted(names)
    if key == NOTES:
        raise ValueError(f"expected another name than that of the notes, got {shown(NOTES)}")
    return key


def _checked(names: tuple[str, ...], leaf: Any) -> NDArray[Any]:
    where = repr("/".join(names))
    if not isinstance(leaf, np.ndarray):
        raise TypeError(f"expected a NumPy array at {where}, got {type(leaf).__name__}")
    if isinstance(leaf, np.ma.MaskedArray):
        raise TypeError(f"expected an array without a mask at {where}, got a masked one; fill it first")
    if dtype_name(leaf.dtype) not in DTYPES:
        raise TypeError(f"expected an array of real numbers or bools at {where}, got dtype {leaf.dtype}")
    return leaf
