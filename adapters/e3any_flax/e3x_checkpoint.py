"""Parameters that programs for e3x have saved, in the formats of Flax and Orbax."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import serialization

from e3any.checks import cut, shown
from e3any.nn.layer import leaves

__all__ = ["load_e3x"]


def load_e3x(source: str | os.PathLike[str] | bytes) -> dict[str, Any]:
    """Read parameters that a program for e3x, or any other Flax program, has saved.

    Parameters
    ----------
    source : path or bytes
        A file of :func:`flax.serialization.to_bytes` or ``msgpack_serialize``, or its contents; or a folder of Orbax:
        a checkpoint, or a step of a manager with one item.

    Returns
    -------
    dict
        The parameters as a nested dictionary of NumPy arrays, ready for modules of e3any in every framework and for
        :func:`e3any.checkpoint.save`. Of variables or a training state, only the entry ``params`` is read.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    ValueError
        If it is damaged, or does not contain parameters.

    Examples
    --------
    >>> from flax import serialization
    >>> load_e3x(serialization.to_bytes({"params": {"0+": {"bias": np.zeros(2)}}}))
    {'0+': {'bias': array([0., 0.])}}
    """
    if isinstance(source, bytes):
        return _params(_from_msgpack(source, "bytes"), "bytes")
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(f"expected a file or a folder, got none at {str(path)!r}")
    tree = _from_orbax(path) if path.is_dir() else _from_msgpack(path.read_bytes(), repr(str(path)))
    return _params(tree, repr(str(path)))


def _from_msgpack(content: bytes, where: str) -> Any:
    try:
        return serialization.msgpack_restore(content)
    except Exception as error:  # its type depends on the damage
        raise ValueError(
            f"expected variables that Flax has serialized, got damaged {where}: {cut(str(error))}"
        ) from error


def _from_orbax(path: Path) -> Any:
    import orbax.checkpoint as ocp
    from etils import epath

    folder = next((folder for folder in (path, path / "default") if (folder / "_METADATA").is_file()), None)
    if folder is None:
        present = sorted(entry.name for entry in path.iterdir())
        raise ValueError(f"expected a checkpoint of Orbax in {str(path)!r}, got a folder that has {shown(present)}")
    handler = ocp.PyTreeCheckpointHandler()
    try:
        item = epath.Path(folder.absolute())
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), handler.metadata(item).tree)
        return handler.restore(item, args=ocp.args.PyTreeRestore(restore_args=as_numpy))
    except Exception as error:
        raise ValueError(f"expected a checkpoint of Orbax, got a damaged one in {str(path)!r}: {error}") from error
    finally:
        handler.close()


def _params(tree: Any, where: str) -> dict[str, Any]:
    while isinstance(tree, Mapping) and "params" in tree:
        tree = tree["params"]
    if not isinstance(tree, Mapping) or not tree:
        raise ValueError(
            f"expected a nested mapping of parameters in {where}, got {type(tree).__name__}: {shown(tree)}"
        )
    for _ in leaves(tree):
        pass  # raises if the tree is nested too deeply
    return _arrays(tree, where)


def _arrays(tree: Mapping[Any, Any], where: str, path: str = "") -> dict[str, Any]:
    """Return a nested mapping with writable arrays; raise a ValueError for any other leaf."""
    arrays: dict[str, Any] = {}
    for name, value in tree.items():
        if type(name) not in (str, int) or str(name) in arrays:
            raise ValueError(f"expected different names of parameters at {path!r} in {where}, got {shown(name)}")
        if isinstance(value, Mapping):
            arrays[str(name)] = _arrays(value, where, f"{path}{name}/")
        elif isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
            arrays[str(name)] = np.array(value)
        else:
            kind = f"dtype {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
            raise ValueError(f"expected an array at {shown(f'{path}{name}')} in {where}, got {kind}")
    return arrays
