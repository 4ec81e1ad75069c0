"""Trees of parameters in safetensors files, the same for every framework.

A file holds one tensor per parameter under the path of its name, such as ``dense.0+.kernel``, and the version of the
conventions (:mod:`e3any.conventions`). Loading executes no code.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e3any import conventions
from e3any.nn.layer import leaves

__all__ = ["load", "load_metadata", "save"]

_FORMAT = "e3any"


def save(path: str | os.PathLike[str], tree: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
    """Write a tree of parameters; the file is complete or does not change.

    Parameters
    ----------
    path : path
        Name of the file.
    tree : mapping
        A nested mapping of NumPy arrays.
    metadata : mapping of str to str, optional
        Notes to keep with the parameters.

    Raises
    ------
    ValueError
        If a name is empty or contains a dot.
    TypeError
        If a leaf is no NumPy array.
    """
    from safetensors.numpy import save as to_bytes

    tensors = {_key(names): _contiguous(names, leaf) for names, leaf in leaves(tree)}
    notes = {**(metadata or {}), "format": _FORMAT, "conventions": str(conventions.VERSION)}
    _write(Path(path), _with_sorted_notes(to_bytes(tensors, metadata=notes)))


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
    load_metadata(path)
    from safetensors.numpy import load_file

    tree: dict[str, Any] = {}
    for key, value in load_file(path).items():
        *names, last = key.split(".")
        node = tree
        for name in names:
            node = node.setdefault(name, {})
        node[last] = value
    return tree


def load_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read the notes that were kept with the parameters; errors are those of :func:`load`."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"expected a checkpoint, got no file at {os.fspath(path)!r}")
    try:
        with safe_open(path, framework="numpy") as file:
            notes = dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise ValueError(f"expected a safetensors file, got a damaged one at {os.fspath(path)!r}: {error}") from None
    if notes.get("format") != _FORMAT:
        raise ValueError(f"expected a checkpoint of format {_FORMAT!r}, got {notes.get('format')!r}")
    if notes.get("conventions") != str(conventions.VERSION):
        raise ValueError(f"expected conventions {conventions.VERSION}, got {notes.get('conventions')!r}")
    return notes


def _key(names: tuple[str, ...]) -> str:
    for name in names:
        if not name or "." in name:
            raise ValueError(f"expected names without dots, got {name!r} in {names}")
    return ".".join(names)


def _contiguous(names: tuple[str, ...], leaf: Any) -> NDArray[Any]:
    if not isinstance(leaf, np.ndarray):
        raise TypeError(f"expected a NumPy array at {'/'.join(names)!r}, got {type(leaf).__name__}")
    return np.asarray(leaf, order="C")


def _with_sorted_notes(content: bytes) -> bytes:
    """Sort the notes in the header, which safetensors writes in random order, so that equal trees give equal files."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    notes = dict(sorted(header.pop("__metadata__").items()))
    text = json.dumps({"__metadata__": notes, **header}, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[end:]


def _write(path: Path, content: bytes) -> None:
    """Write a file beside its place and move it there in one step."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
