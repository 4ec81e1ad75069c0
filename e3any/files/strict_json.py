"""Strict JSON, for files that can be hostile."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

from e3any.checks import shown

__all__ = ["parse"]


def parse(text: str | bytes) -> Any:
    """Parse a text in JSON.

    Parameters
    ----------
    text : str or bytes
        The text, in UTF-8 if it is bytes.

    Returns
    -------
    Any
        Dictionaries, lists, strings, integers of 64 bits, finite numbers, bools and None.

    Raises
    ------
    ValueError
        If it is not JSON, is nested too deeply, repeats a name in an object, or contains other numbers or lone
        surrogates.
    """
    try:
        text = text.decode() if isinstance(text, bytes) else text
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_refuse, parse_int=_integer, parse_float=_finite
        )
        # Escapes such as \ud800 are lone surrogates, which UTF-8 can't encode.
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeError as error:
        raise ValueError(f"expected text in UTF-8: {error}") from None
    except (RecursionError, MemoryError) as error:
        raise ValueError(f"expected text of moderate size and depth: {error}") from None
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"expected every name once, got {shown(twice)} twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"expected finite numbers, got {constant}")


def _integer(digits: str) -> int:
    value = int(digits) if len(digits) < 24 else 2**64
    if not -(2**63) <= value < 2**64:
        raise ValueError(f"expected integers of at most 64 bits, got {digits[:24]}...")
    return value


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"expected finite numbers, got {digits[:24]}")
    return value
