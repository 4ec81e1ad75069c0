"""Paths in trees as dotted names, such as ``dense.0+.kernel``, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from e3any.checks import shown

__all__ = ["DEEPEST", "dotted", "nested"]

#: Largest number of names in a path: functions that walk trees recurse once per name.
DEEPEST = 100


def dotted(names: tuple[Any, ...]) -> str:
    """Check the names of a path, and join them with dots.

    Parameters
    ----------
    names : tuple of str
        The names.

    Returns
    -------
    str
        The names with dots between them.

    Raises
    ------
    ValueError
        If a name is empty, contains a dot or a lone surrogate, or if there are too many names.
    TypeError
        If a name is not a string.
    """
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"expected names to be strings, got {shown(name)} in {shown(names)}")
        if not name or "." in name:
            raise ValueError(f"expected names without dots, got {shown(name)} in {shown(names)}")
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise ValueError(f"expected names of whole characters, got {shown(name)} in {shown(names)}")
    if len(names) > DEEPEST:
        raise ValueError(f"expected paths of at most {DEEPEST} names, got {len(names)}: {shown(names)}")
    return ".".join(names)


def nested(named: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return leaves under dotted names as a tree.

    Parameters
    ----------
    named : iterable of (str, leaf)
        The leaves, none of which is a dictionary.

    Returns
    -------
    dict
        A nested dictionary.

    Raises
    ------
    ValueError
        If :func:`dotted` refuses a path, or a name is both that of a leaf and of a node.
    TypeError
        If a name is not a string.
    """
    tree: dict[str, Any] = {}
    for key, value in named:
        names = tuple(key.split(".")) if isinstance(key, str) else (key,)
        dotted(names)
        node, last = tree, names[-1]
        for name in names[:-1]:
            node = node.setdefault(name, {})
            if not isinstance(node, dict):
                raise ValueError(f"expected either a parameter or a node at {shown(name)}, got both in {shown(key)}")
        if last in node:
            raise ValueError(f"expected either a parameter or a node at {shown(last)}, got both in {shown(key)}")
        node[last] = value
    return tree
