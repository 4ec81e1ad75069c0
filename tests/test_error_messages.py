"""Errors show values that users hand in, cut to a length that can be read."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import e3any_numpy
import e3any_torch
import numpy as np
import pytest
import torch

from e3any import Layout, checkpoint, interop, nn, ops, so3
from e3any.checks import check_callable, check_degree, check_dtype, check_integer, check_number, cut, shown
from e3any.config import Config
from e3any.description import describe, layer_of

ROOT = Path(__file__).parents[1]
LONG = "x" * 100_000


class Unshowable:
    """An object whose repr fails."""

    def __repr__(self):
        raise RuntimeError("no")

    def __str__(self):
        return "unshowable"


class Lines:
    """An object whose repr has many lines."""

    def __repr__(self):
        return "\n".join(f"  (layer {i}): Linear" for i in range(1000))


VALUES = {
    "text": LONG,
    "list": list(range(100_000)),
    "dictionary": {str(i): i for i in range(10_000)},
    "array": np.ones((30, 30, 30)),
    "module": torch.nn.Sequential(*(torch.nn.Linear(3, 3) for _ in range(300))),
    "unshowable": Unshowable(),
    "lines": Lines(),
    "layer": nn.Residual(nn.Residual(nn.Residual(nn.TensorDense(2)))),
}
CALLS = {
    "check_integer": lambda value: check_integer(value, "n"),
    "check_degree": check_degree,
    "check_number": lambda value: check_number(value, "n"),
    "check_callable": lambda value: check_callable(value if not callable(value) else [value], "f"),
    "check_dtype": check_dtype,
    "Layout": lambda value: Layout(value, 1),
    "Dense": nn.Dense,
    "Dense, dtype": lambda value: nn.Dense(1, dtype=value),
    "Config": lambda value: Config.set_normalization(value),
    "describe": lambda value: describe([value]),
    "layer_of": lambda value: layer_of(value if isinstance(value, str) else str(value)),
    "to_torch": lambda value: e3any_torch.to_torch([value]),
    "to_numpy": lambda value: e3any_numpy.to_numpy([value]),
    "change_of_basis": lambda value: interop.change_of_basis(value, 1),
    "to_features": lambda value: interop.to_features(np.ones((1, 1, 1)), "e3nn", value),
    "pool": lambda value: nn.pool([value], np.zeros(1, int), 1),
    "save": lambda value: checkpoint.save("unwritten", {"a": [value]}, {"a": value if value != LONG else 1}),
    "CartesianTensor": so3.CartesianTensor,
    "initialiser": lambda value: nn.initializers.VarianceScaling(mode=value),
    "Constant": lambda value: nn.initializers.Constant([value]),
    "graphs": lambda value: ops.pad_graphs([{}, {str(value)[:5000]: np.ones(1)}], ["x"]),
}


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("call", CALLS)
def test_errors_cut_what_they_show(call, kind):
    with pytest.raises((TypeError, ValueError)) as error:
        CALLS[call](VALUES[kind])
    message = str(error.value)
    assert len(message) < 600
    assert "\n" not in message


def test_short_values_are_shown_whole():
    for value in (1, "text", (1, 2.5), {"a": [1]}, np.arange(3)):
        assert shown(value) == repr(value)
    assert cut("a" * 160) == "a" * 160
    assert shown("a" * 500).startswith("'aaa")
    assert shown("a" * 500).endswith("aaa'")
    assert shown(Unshowable()) == "<Unshowable, whose repr raises RuntimeError>"


def raised(path):
    """Yield the messages of a file that raise shows, as source."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise) and node.exc is not None:
            yield ast.unparse(node.exc)


FILES = sorted((ROOT / "e3any").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_errors_got_is_cut(path):
    """A name behind "got" with !r is a value of a user, which may have any length."""
    found = [text for text in raised(path) if re.search(r"got \{[\w.]+!r\}", text)]
    assert not found
