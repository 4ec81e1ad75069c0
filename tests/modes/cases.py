"""The one table of cases for tests of modes: layers and functions, at every size that a choice depends on.

Nothing here knows a framework: descriptions of layers, and inputs and parameters as arrays of NumPy.

A case is one of :data:`KINDS` with values of :data:`SIZES`. Sizes lie on both sides of what the library decides by:
numbers of features that fill vectors (16, 128) and do not (2, 33), rows of a multiple of 2 KiB in memory (128), few
harmonics and many, work for one thread and for several.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from array_trees import is_float, random_parameters, tree_map

from e3any import nn, so3

__all__ = ["KINDS", "SIZES", "Case", "Kind"]

#: The values of every attribute of a case but its kind.
SIZES: dict[str, tuple[Any, ...]] = {
    "features": (2, 16, 33, 128),
    "max_degree": (0, 1, 2, 3, 4),
    "parities": (1, 2),
    "rows": ("few", "many"),
    "dtype": ("float32", "float64"),
}

# What many rows have together, in numbers, and how many rows there may be.
_NUMBERS, _LEAST_ROWS, _MOST_ROWS = 100_000, 48, 1100


@dataclass(frozen=True)
class Case:
    """A layer, and what it is applied to.

    Parameters
    ----------
    kind : str
        Which of :data:`KINDS` it is.
    features, max_degree, parities : int
        The layout of features.
    rows : {'few', 'many'} or int
        Number of nodes, or of vectors.
    dtype : str
        The dtype of inputs and parameters.
    """

    kind: str
    features: int = 2
    max_degree: int = 1
    parities: int = 2
    rows: str | int = "few"
    dtype: str = "float64"

    def __str__(self) -> str:
        name = self.kind.replace(", ", "-").replace(" ", "-")
        return f"{name}-F{self.features}-L{self.max_degree}-P{self.parities}-{self.rows}-{self.dtype}"

    @property
    def layer(self) -> nn.Layer:
        """The description of the layer."""
        return KINDS[self.kind].layer(self)

    @property
    def num(self) -> int:
        """The number of nodes, or of vectors."""
        if isinstance(self.rows, int):
            return self.rows
        row = self.features * self.parities * (self.max_degree + 1) ** 2
        return {"few": 4, "many": min(_MOST_ROWS, max(_LEAST_ROWS, _NUMBERS // row))}[self.rows]

    def arguments(self) -> tuple[tuple, dict[str, Any]]:
        """Return inputs by position and by name, the same in every call."""
        return tree_map(self._cast, KINDS[self.kind].make(_Draw(self, np.random.default_rng(self.num))))

    def parameters(self) -> dict[str, Any]:
        """Return a tree of parameters and statistics, biases and forbidden couplings included."""
        small = replace(self, rows=2)
        inputs, options = small.arguments()
        return tree_map(self._cast, random_parameters(self.layer, np.random.default_rng(0), inputs, options))

    def _cast(self, x: np.ndarray) -> np.ndarray:
        return x.astype(self.dtype) if is_float(x) else x


@dataclass(frozen=True)
class _Draw:
    """Draws inputs for a case."""

    case: Case
    rng: np.random.Generator

    def features(self, parities: int | None = None) -> np.ndarray:
        """Draw features of all nodes."""
        case = self.case
        return self.rng.normal(size=(case.num, parities or case.parities, (case.max_degree + 1) ** 2, case.features))

    def vectors(self) -> np.ndarray:
        """Draw vectors."""
        return self.rng.normal(size=(self.case.num, 3))

    def numbers(self, end: int) -> np.ndarray:
        """Return a number in [0, end) for every node."""
        return np.arange(self.case.num) % end

    def basis(self, *lead: int) -> nn.FactoredBasis:
        """Draw a basis in its factored form."""
        degree = min(self.case.max_degree, 2)
        shapes = (*lead, 1, 3), (*lead, (degree + 1) ** 2)
        return nn.FactoredBasis(*(self.rng.normal(size=shape) for shape in shapes))

    def sparse(self) -> tuple[nn.FactoredBasis, dict[str, np.ndarray]]:
        """Return the basis of, and a list of, two edges for every node and one that is padding."""
        num = self.case.num
        nodes = np.arange(num)
        dst = np.append(np.concatenate([nodes, nodes]), num)
        src = np.append(np.concatenate([np.roll(nodes, 1), np.roll(nodes, 2)]), 0)
        return self.basis(len(dst)), {"dst_idx": dst, "src_idx": src}

    def dense(self) -> tuple[nn.FactoredBasis, dict[str, np.ndarray]]:
        """Return the basis of, and a list of, three neighbours of every node, the last of which is padding."""
        nodes = np.arange(self.case.num)
        return self.basis(len(nodes), 3), {
            "adj_idx": np.stack([np.roll(nodes, 1), np.roll(nodes, 2), np.full_like(nodes, -1)], 1)
        }


@dataclass(frozen=True)
class Kind:
    """One way to use a layer.

    Parameters
    ----------
    layer : callable
        ``layer(case)`` returns the description.
    make : callable
        ``make(draw)`` returns inputs by position and by name.
    most_degree : int
        The largest degree for which tests can afford it.
    has_sizes : bool
        Whether it depends on features, degrees and parities.
    """

    layer: Callable[[Case], nn.Layer]
    make: Callable[[_Draw], tuple[tuple, dict]]
    most_degree: int = 4
    has_sizes: bool = True


@dataclass(frozen=True)
class Harmonics(nn.Layer):
    """Harmonics as a layer without parameters."""

    max_degree: int
    normalised: bool = True

    def forward(self, p, r):
        function = so3.spherical_harmonics if self.normalised else so3.solid_harmonics
        return function(r, self.max_degree)


@dataclass(frozen=True)
class Basis(nn.Layer):
    """Basis functions as a layer without parameters."""

    max_degree: int
    num: int

    def forward(self, p, r):
        return nn.basis(
            r, max_degree=self.max_degree, num=self.num, radial_fn=nn.reciprocal_bernstein, cutoff_fn=nn.smooth_cutoff
        )


@dataclass(frozen=True)
class LearnedBasis(nn.Layer):
    """A basis with a learned rate."""

    max_degree: int
    num: int

    def forward(self, p, r):
        return nn.ExponentialBasis()(
            p / "basis", r, max_degree=self.max_degree, num=self.num, radial_fn=nn.exponential_bernstein
        )


@dataclass(frozen=True)
class Square(nn.Layer):
    """The product of features with themselves."""

    def forward(self, p, x):
        return nn.Tensor()(p, x, x)


@dataclass(frozen=True)
class Averaged(nn.Layer):
    """A normalisation that is not being trained."""

    def forward(self, p, x):
        return nn.BatchNorm()(p, x, use_running_average=True)


@dataclass(frozen=True)
class Kept(nn.Layer):
    """A dropout that is not being trained."""

    def forward(self, p, x):
        return nn.Dropout(0.5)(p, x, deterministic=True)


def _one(draw: _Draw) -> tuple[tuple, dict]:
    return (draw.features(),), {}


def _two(draw: _Draw) -> tuple[tuple, dict]:
    return (draw.features(), draw.features()), {}


def _vectors(draw: _Draw) -> tuple[tuple, dict]:
    return (draw.vectors(),), {}


def _edges(draw: _Draw, *, dense: bool = False, array: bool = False, inputs: int = 1) -> tuple[tuple, dict]:
    basis, lists = draw.dense() if dense else draw.sparse()
    return (*(draw.features() for _ in range(inputs)), basis.array() if array else basis), lists


def _heads(case: Case) -> int:
    return 2 if case.features % 2 == 0 else 3


#: Layers by the way they are used.
KINDS: dict[str, Kind] = {
    "Dense": Kind(lambda c: nn.Dense(c.features), _one),
    "Dense without bias": Kind(lambda c: nn.Dense(16, use_bias=False), _one),
    "Embed": Kind(lambda c: nn.Embed(5, c.features), lambda d: ((d.numbers(5),), {})),
    "Tensor": Kind(lambda c: nn.Tensor(), _two),
    "Tensor of one input": Kind(lambda c: Square(), _one),
    "FusedTensor": Kind(lambda c: nn.FusedTensor(), lambda d: ((d.features(), d.features(1)), {})),
    "TensorDense": Kind(lambda c: nn.TensorDense(c.features), _one),
    "TensorDense, fused": Kind(lambda c: nn.TensorDense(c.features, use_fused_tensor=True), _one),
    "LayerNorm": Kind(lambda c: nn.LayerNorm(), _one),
    "RMSNorm": Kind(lambda c: nn.RMSNorm(), _one),
    "BatchNorm": Kind(lambda c: Averaged(), _one),
    "Dropout": Kind(lambda c: Kept(), _one),
    "Gate": Kind(lambda c: nn.Gate(), _one),
    "NormActivation": Kind(lambda c: nn.NormActivation(), _one),
    "Residual": Kind(lambda c: nn.Residual(nn.Dense(c.features)), _one),
    "MessagePass, sparse": Kind(lambda c: nn.MessagePass(use_basis_bias=True), _edges),
    "MessagePass, dense": Kind(lambda c: nn.MessagePass(), partial(_edges, dense=True)),
    "MessagePass, sparse array": Kind(lambda c: nn.MessagePass(), partial(_edges, array=True)),
    "MessagePass, dense array": Kind(lambda c: nn.MessagePass(), partial(_edges, dense=True, array=True)),
    "PathMessagePass": Kind(lambda c: nn.PathMessagePass(hidden=(4,)), _edges),
    "SymmetricContraction": Kind(
        lambda c: nn.SymmetricContraction(3, 2), lambda d: ((d.features(), d.numbers(3)), {}), most_degree=3
    ),
    "SelfAttention, sparse": Kind(lambda c: nn.SelfAttention(num_heads=_heads(c)), _edges),
    "SelfAttention, dense": Kind(lambda c: nn.SelfAttention(num_heads=_heads(c)), partial(_edges, dense=True)),
    "MultiHeadAttention, sparse": Kind(lambda c: nn.MultiHeadAttention(), partial(_edges, inputs=2)),
    "MultiHeadAttention, dense": Kind(lambda c: nn.MultiHeadAttention(), partial(_edges, dense=True, inputs=2)),
    "ExponentialBasis": Kind(lambda c: LearnedBasis(c.max_degree, c.features), _vectors),
    "basis": Kind(lambda c: Basis(c.max_degree, c.features), _vectors),
    "spherical_harmonics": Kind(lambda c: Harmonics(c.max_degree), _vectors),
    "solid_harmonics": Kind(lambda c: Harmonics(c.max_degree, normalised=False), _vectors),
}
