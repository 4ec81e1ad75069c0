"""Trees of parameters in safetensors files, the same for every framework.

A file holds one tensor per parameter under the path of its name, such as ``dense.0+.kernel``, the version of the
conventions (:mod:`e3any.conventions`), and, where it was saved with its layer, the description of that
(:mod:`e3any.description`). Loading executes no code.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from e3any_backends.generic import dtype_name
from e3any_backends.numpy_arrays import native
from numpy.typing import NDArray

from e3any import conventions
from e3any.description import describe, layer_of
from e3any.extras import require
from e3any.nn.layer import Layer, leaves

__all__ = ["load", "load_layer", "load_metadata", "save"]

_FORMAT = "e3any"
_RESERVED = "__metadata__"
_LAYER = "layer"
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_DTYPES = ("float64", "float32", "float16", "bfloat16", *_INTEGERS, "bool")


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
        If a name is empty or contains a dot, or is that of the notes in such files, ``__metadata__``.
    TypeError
        If a name or a note is no string, a leaf no NumPy array of real numbers or bools, or if the layer can't be
        described, see :func:`e3any.description.describe`.
    """
    require("checkpoint", "safetensors")
    from safetensors.numpy import save as to_bytes

    if not isinstance(tree, Mapping):
        raise TypeError(f"expected a mapping of arrays, got {type(tree).__name__}")
    for name, note in (metadata or {}).items():
        if not (isinstance(name, str) and isinstance(note, str)):
            raise TypeError(f"expected metadata of strings, got {name!r}: {note!r}")
    tensors = {_key(names): _contiguous(names, leaf) for names, leaf in leaves(tree)}
    described = {} if layer is None else {_LAYER: describe(layer)}
    notes = {**(metadata or {}), **described, "format": _FORMAT, "conventions": str(conventions.VERSION)}
    # A file of no arrays, which several releases of safetensors write wrongly, is a header alone.
    content = _with_sorted_notes(to_bytes(tensors, metadata=notes)) if tensors else _header({_RESERVED: notes})
    _write(Path(path), content)


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a tree of parameters.

    Parameters
    ----------
    path : path
        Name of the file.

    Returns
    -------
    dict
        A nested dictionary of NumPy arrays.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, is no checkpoint of this library, or follows other conventions.
    """
    with _opened(path) as (file, _):
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    tree: dict[str, Any] = {}
    for key, value in tensors.items():
        *names, last = key.split(".")
        node = tree
        for name in names:
            node = node.setdefault(name, {})
            if not isinstance(node, dict):
                raise ValueError(f"expected either a parameter or a node at {name!r}, got both in {key!r}")
        if last in node:
            raise ValueError(f"expected either a parameter or a node at {last!r}, got both in {key!r}")
        node[last] = value
    return tree


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
    with _opened(path) as (_, notes):
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
def _opened(path: str | os.PathLike[str]) -> Iterator[tuple[Any, dict[str, str]]]:
    """Open a checkpoint; what replaces the file meanwhile does not change what is read."""
    require("checkpoint", "safetensors")
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"expected a checkpoint, got no file at {os.fspath(path)!r}")
    try:
        with safe_open(path, framework="numpy") as file:
            notes = dict(file.metadata() or {})
            _check_notes(notes)
            yield file, notes
    except (SafetensorError, OSError) as error:
        raise ValueError(f"expected a safetensors file, got a damaged one at {os.fspath(path)!r}: {error}") from None


def _check_notes(notes: Mapping[str, str]) -> None:
    if notes.get("format") != _FORMAT:
        raise ValueError(f"expected a checkpoint of format {_FORMAT!r}, got {notes.get('format')!r}")
    if notes.get("conventions") != str(conventions.VERSION):
        raise ValueError(f"expected conventions {conventions.VERSION}, got {notes.get('conventions')!r}")


def _key(names: tuple[str, ...]) -> str:
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"expected names to be strings, got {name!r} in {names}")
        if not name or "." in name:
            raise ValueError(f"expected names without dots, got {name!r} in {names}")
    if names == (_RESERVED,):
        raise ValueError(f"expected another name than that of the notes, got {_RESERVED!r}")
    return ".".join(names)


def _contiguous(names: tuple[str, ...], leaf: Any) -> NDArray[Any]:
    if not isinstance(leaf, np.ndarray):
        raise TypeError(f"expected a NumPy array at {'/'.join(names)!r}, got {type(leaf).__name__}")
    if dtype_name(leaf.dtype) not in _DTYPES:
        raise TypeError(f"expected an array of real numbers or bools at {'/'.join(names)!r}, got dtype {leaf.dtype}")
    return np.asarray(native(leaf), order="C")


def _with_sorted_notes(content: bytes) -> bytes:
    """Sort the notes in the header, which safetensors writes in random order, so that equal trees give equal files."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    return _header(header) + content[end:]


def _header(header: dict[str, Any]) -> bytes:
    """Return the length and the text of a header, the notes first and sorted, padded to 8 bytes."""
    ordered = {
        _RESERVED: dict(sorted(header[_RESERVED].items())),
        **{k: v for k, v in header.items() if k != _RESERVED},
    }
    text = json.dumps(ordered, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _write(path: Path, content: bytes) -> None:
    """Write a file beside its place and move it there in one step."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:  # with the permissions that files have by default
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
