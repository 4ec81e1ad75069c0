"""Trees of parameters in safetensors files, the same for every framework.

A file holds one tensor per parameter, named by its path, for example ``dense.0+.kernel``, and the version of the
conventions (:mod:`e3any.conventions`). A file that was saved with its layer also holds the description of the layer
(:mod:`e3any.description`). Loading executes no code.

The format is described at https://huggingface.co/docs/safetensors/metadata_parsing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from e3any_backends.arrays import dtype_name
from numpy.typing import NDArray

from e3any import conventions
from e3any.checks import cut, shown
from e3any.description import describe, layer_of
from e3any.extras import require
from e3any.files.bfloat16 import bfloat16_bits, from_bfloat16_bits
from e3any.files.dotted_names import dotted, nested
from e3any.files.replacement import replace_file
from e3any.files.strict_json import parse
from e3any.nn.layer import Layer, leaves

__all__ = ["load", "load_layer", "load_metadata", "save"]

_FORMAT = "e3any"
_LAYER = "layer"
#: Key of the notes in a header. No array can have this name.
_NOTES = "__metadata__"
#: Names of dtypes: in headers, and in NumPy.
_DTYPES = {"BF16": "bfloat16", "BOOL": "bool"} | {
    f"{kind[0].upper()}{size}": f"{kind}{size}"
    for kind, sizes in (("float", (16, 32, 64)), ("int", (8, 16, 32, 64)), ("uint", (8, 16, 32, 64)))
    for size in sizes
}
#: Longest header, in bytes, that safetensors reads.
_LONGEST_HEADER = 100_000_000


def save(
    path: str | os.PathLike[str],
    tree: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
    *,
    layer: Layer | None = None,
) -> None:
    """Write a tree of parameters. If writing fails, an existing file stays unchanged.

    Parameters
    ----------
    path : path
        Name of the file.
    tree : mapping
        A nested mapping of NumPy arrays.
    metadata : mapping of str to str, optional
        Notes to keep with the parameters.
    layer : Layer, optional
        The layer or model that the parameters belong to; :func:`load_layer` returns it.

    Raises
    ------
    ValueError
        If a name is empty, contains a dot, or is ``__metadata__``, which the format reserves; if the path is that of a
        folder, a device or a pipe.
    TypeError
        If a name or a note is not a string, a leaf is not a NumPy array of real numbers or bools, or the layer can't be
        described, see :func:`e3any.description.describe`.
    ImportError
        If the package ``safetensors`` is not installed: ``pip install 'e3any[checkpoint]'``.

    Notes
    -----
    Symbolic links are followed. An existing file keeps its permissions.
    """
    if not isinstance(tree, Mapping):
        raise TypeError(f"expected a mapping of arrays, got {type(tree).__name__}")
    _check_metadata(metadata)
    arrays = {_key(names): _checked(names, leaf) for names, leaf in leaves(tree)}
    described = {} if layer is None else {_LAYER: describe(layer)}
    notes = {**(metadata or {}), **described, "format": _FORMAT, "conventions": str(conventions.VERSION)}
    replace_file(path, _content(arrays, notes))


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a tree of parameters.

    Parameters
    ----------
    path : path
        Name of the file.

    Returns
    -------
    dict
        A nested dictionary of NumPy arrays. NumPy itself has no bfloat16: such parameters have the dtype ``bfloat16``
        of the package ``ml_dtypes`` if it is installed, as it is with JAX. Otherwise they are float32 with the same
        values, and :func:`save` and the adapters' ``load_tree`` and ``to_state_dict`` still treat them as bfloat16.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, is not a checkpoint of this library, or follows other conventions.
    ImportError
        If the package ``safetensors`` is not installed.
    """
    return read(path)[1]


def read(path: str | os.PathLike[str]) -> tuple[dict[str, str], dict[str, Any]]:
    """Read notes and parameters at once, so that both are of one version of a file that is being replaced.

    Parameters
    ----------
    path : path
        Name of the file.

    Returns
    -------
    notes, tree : tuple of dict
        The results of :func:`load_metadata` and :func:`load`. Errors are those of :func:`load`.
    """
    deserialize = _safetensors().deserialize
    content = _existing(path).read_bytes()
    with _damage_named(path):
        stored = dict(deserialize(content))
        header = parse(content[8 : _end_of_header(content)])
    notes: dict[str, str] = header.pop(_NOTES, None) or {}
    _check_notes(notes)
    with _damage_named(path):
        return notes, nested([(key, _array(key, **stored[key])) for key in header])


def load_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read the notes that were saved with the parameters.

    Parameters
    ----------
    path : path
        Name of the file.

    Returns
    -------
    dict of str
        The notes. Errors are those of :func:`load`.
    """
    safe_open = _safetensors().safe_open
    with _damage_named(path), safe_open(_existing(path), framework="np") as file:
        notes: dict[str, str] = file.metadata() or {}
    _check_notes(notes)
    return notes


def load_layer(path: str | os.PathLike[str], classes: Sequence[type[Layer]] = ()) -> Layer:
    """Read the layer whose parameters a file holds.

    Parameters
    ----------
    path : path
        Name of the file.
    classes : sequence of classes
        Your own classes that the file may name, in addition to those of :mod:`e3any.nn`. No other class is looked up.

    Returns
    -------
    Layer
        The layer.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or was saved without its layer, or if it names another class.
    TypeError
        If one of ``classes`` is not a class of layers.
    ImportError
        If the package ``safetensors`` is not installed.
    """
    return layer_in(load_metadata(path), classes)


def layer_in(notes: Mapping[str, str], classes: Sequence[type[Layer]] = ()) -> Layer:
    """Return the layer that notes of a file describe; see :func:`load_layer`."""
    if _LAYER not in notes:
        raise ValueError(f"expected a checkpoint that was saved with its layer, got notes {sorted(notes)}")
    return layer_of(notes[_LAYER], classes)


def _safetensors() -> ModuleType:
    require("checkpoint", "safetensors")
    import safetensors.numpy

    return safetensors


def _content(arrays: Mapping[str, NDArray[Any]], notes: Mapping[str, str]) -> tuple[bytes, memoryview]:
    """Return the header and the bytes of arrays. Equal arrays and notes give equal bytes."""
    # Releases of safetensors differ in how they accept bfloat16, in the order of notes, and in whether they can read
    # the files without arrays that they write. So bfloat16 is passed as its bits, and the header is written anew.
    bits = {key: bfloat16_bits(x) for key, x in arrays.items()}
    stored = {key: np.asarray(x if bits[key] is None else bits[key], order="C") for key, x in arrays.items()}
    content = _safetensors().numpy.save(stored)
    end = _end_of_header(content)
    header = json.loads(content[8:end]) if arrays else {}
    for key, entry in header.items():
        entry["dtype"] = entry["dtype"] if bits[key] is None else "BF16"
    ordered = {_NOTES: dict(sorted(notes.items())), **header}
    text = json.dumps(ordered, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _LONGEST_HEADER:
        raise ValueError(f"expected names and notes of at most {_LONGEST_HEADER} bytes, got {len(text)}")
    return len(text).to_bytes(8, "little") + text, memoryview(content)[end:]


def _end_of_header(content: bytes) -> int:
    return 8 + int.from_bytes(content[:8], "little")


def _array(key: str, dtype: str, shape: list[int], data: bytearray) -> NDArray[Any]:
    """Return the array of one entry of a safetensors file."""
    if dtype not in _DTYPES:
        raise ValueError(f"expected a dtype of {sorted(_DTYPES)} of {shown(key)}, got {shown(dtype)}")
    short = dtype == "BF16"
    x = np.frombuffer(data, "uint16" if short else _DTYPES[dtype]).reshape(shape)
    if x.dtype == bool and (x.view(np.uint8) > 1).any():
        raise ValueError(f"expected bools of 0 and 1 in {shown(key)}, got {x.view(np.uint8).max()}")
    return from_bfloat16_bits(x) if short else x


def _existing(path: str | os.PathLike[str]) -> Path:
    if not Path(path).is_file():
        raise FileNotFoundError(f"expected a checkpoint, got no file at {os.fspath(path)!r}")
    return Path(path)


@contextmanager
def _damage_named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise errors about damaged content as a ValueError that names the file."""
    try:
        yield
    except (_safetensors().SafetensorError, ValueError) as error:
        reason = str(error) if isinstance(error, ValueError) else cut(str(error))
        raise ValueError(f"expected a safetensors file, got a damaged one at {os.fspath(path)!r}: {reason}") from None


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
    if key == _NOTES:
        raise ValueError(f"expected another name than that of the notes, got {shown(_NOTES)}")
    return key


def _checked(names: tuple[str, ...], leaf: Any) -> NDArray[Any]:
    where = repr("/".join(names))
    if not isinstance(leaf, np.ndarray):
        raise TypeError(f"expected a NumPy array at {where}, got {type(leaf).__name__}")
    if isinstance(leaf, np.ma.MaskedArray):
        remedy = "fill in what is masked, x.filled(0.0)"
        raise TypeError(f"expected an array without a mask at {where}, got MaskedArray: {remedy}")
    if dtype_name(leaf.dtype) not in _DTYPES.values():
        raise TypeError(f"expected an array of real numbers or bools at {where}, got dtype {leaf.dtype}")
    return leaf
