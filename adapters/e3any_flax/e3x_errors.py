"""Notes to errors in the words of e3x, which users, tests of programs and search engines know."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["in_words_of_e3x"]

_PREFIX = "e3x: "
# Messages of this library as regular expressions, and those of e3x, as a template or a function of the match.
_WORDS: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"(num) to be an integer >= 1, got (.*)", r"\1 must be greater or equal to 1, must be larger than 0, received \2"),
    (r"(max_order) to be an integer >= 0, got (.*)", r"\1 must be >= 0, received \2"),
    (r"degree to be an integer >= 0, got (.*)", r"degree must be positive or zero, received \1"),
    (r"adj_idx or dst_idx .*, got neither", "either dense indices or sparse indices must be provided"),
    (r"adj_idx or dst_idx .*, got both", "could not determine the kind of indices, both were provided"),
    (r"of one shape, got (.*) and (.*)", r"incompatible shapes \1 and \2, shapes of dst_idx and src_idx do not match"),
    (r"idx to have at least 2 axes", "idx must have at least two dimensions"),
    (r"idx to have at least 1 axes", "idx must have at least one dimension"),
    (
        r"of shape \((.*)\) with (?:adj|src|dst)_idx of shape (.*), got (.*)",
        lambda m: (
            f"idx {m[2]} is incompatible for gathering from inputs {m[3]}, "
            f"which must have at least {m[1].count(',')} dimensions for gathering with idx"
        ),
    ),
    (r"begins with .*, as (\w+), got", r"incompatible shapes, inputs must have at least as many dimensions as \1"),
    (r"of real numbers, got dtype (.*)", r"inputs must be floating point or integer dtype, received \1"),
    (r"parity axis of length .* in (.*)", r"expected 1 or 2 for axis -3 of feature shape, received \1"),
    (
        r"got (\d+) components, which is no square",
        lambda m: f"received invalid size {m[1]} for axis -2, closest valid size is {round(math.sqrt(int(m[1]))) ** 2}",
    ),
    (
        r"of shape \(\.\.\., 1 or 2, .* got (\([^()]*\))$",
        r"shape of features must have at least length 3, shape of x must have at least three dimensions, received \1",
    ),
    (r"max_degree <= (\d+) for factors .* got (\d+)", r"max_degree can be at most \1, received max_degree=\2"),
    (r"inputs_q and inputs_kv with the same leading axes", "inputs_q and inputs_kv have incompatible shapes"),
    (r"basis for relative positional encodings", "'basis' is a required argument, received basis=None"),
    (r"divides qkv_features, got (\d+) and (\d+)", r"qkv_features (\2) must be divisible by num_heads (\1)"),
    (r"wigner_d_matrix of shape \((\d+, \d+\)) .*, got (.*)", r"expected shape (..., \1, incompatible shapes with \2"),
    (r"leading axes .* as those of input 0", "all inputs must have the same leading dimensions"),
    (r"features .* as those of input 0", "all inputs must have the same number of features"),
    (r"dtype .* as those of input 0", "all inputs must have the same dtype"),
    (r"'normal' or 'uniform', got (.*)", r"invalid distribution \1"),
    (r"'fan_out' or 'fan_avg', got (.*)", r"invalid mode \1"),
    (r"cutoff > 0, got (.*)", r"cutoff must be larger than 0, received \1"),
    (r"x0 < x1, got", "input x1 must be larger than x0"),
    (r"cutoff_fn with return_cutoff=True", "return_cutoff is True, but no cutoff_fn was specified"),
    (r"exactly one of .*, got (.*) and (.*)", r"Exactly one of \1 or \2 must be specified."),
    (r"x of shape .* got \(\)", "input must be a multi-dimensional array"),
    (r"(?:x|r) of shape (\([^()]*\)).* got (.*)", r"must have shape \1, received shape \2"),
)


@contextmanager
def in_words_of_e3x() -> Iterator[None]:
    """Add the message of e3x as a note to errors."""
    try:
        yield
    except (TypeError, ValueError, RuntimeError) as error:
        if not any(note.startswith(_PREFIX) for note in getattr(error, "__notes__", ())):
            _add_note(error)
        raise


def _add_note(error: Exception) -> None:
    for ours, theirs in _WORDS:
        if match := re.search(ours, str(error)):
            error.add_note(_PREFIX + (match.expand(theirs) if isinstance(theirs, str) else theirs(match)))
            return
