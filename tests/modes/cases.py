"""The one table of cases for tests of modes: layers and functions, at every size that a choice depends on.

Nothing here knows a framework: descriptions of layers, and inputs and parameters as arrays of NumPy.

A case is one of :data:`KINDS` with values of :data:`SIZES`. Sizes lie on both sides of what the library decides by:
numbers of features that fill vectors (16, 128) and do not (2, 33), rows of a multiple of 2 KiB in memory (128), few
harmonics and many, work for one thread and for several.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from array_trees import is_float, random_parameters, tree_map

from e3any import Layout, nn, so3

__all__ = ["FAMILIES", "KINDS", "SIZES", "Case", "Kind"]

#: The values of every attribute of a case but its kind.
SIZES: dict[str, tuple[Any, ...]] = {
    "features": (2, 16, 33, 128),
    "max_degree": (0, 1, 2, 3, 4),
    "parities": (1, 2),
    "rows": ("few", "many"),
    "dtype": ("float32", "float64"),
}

# What many nodes have together, in numbers, and how many nodes there are; many vectors have more than 1024 harmonics.
_NUMBERS, _LEAST_NODES, _MOST_NODES, _VECTORS = 30_000, 48, 300, 1100


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
        if self.rows == "few":
            return 4
        if KINDS[self.kind].family == "vectors":
            return _VECTORS
        node = self.features * self.parities * (self.max_degree + 1) ** 2
        return min(_MOST_NODES, max(_LEAST_NODES, _NUMBERS // node))

    @property
    def exists(self) -> bool:
        """Whether the layer is defined, and computed in reasonable time, for its largest degree."""
        return self.max_degree <= KINDS[self.kind].most_degree

    @property
    def is_quick(self) -> bool:
        """Whether a derivative of second order takes less than about a second, kernels or not."""
        if KINDS[self.kind].family == "vectors":
            return True
        return self.num * self.features * self.parities**2 * (self.max_degree + 1) ** 5 < 2e6

    def arguments(self) -> tuple[tuple, dict[str, Any]]:
        """Return inputs by position and by name, the same in every call."""
        return tree_map(self._cast, KINDS[self.kind].make(_Draw(self, np.random.default_rng(self.num))))

    def parameters(self) -> dict[str, Any]:
        """Return a tree of parameters and statistics, biases and forbidden couplings included.

        Matrices are as small as keeps results as large as inputs: else activations would round much.
        """
        inputs, options = replace(self, rows=2).arguments()
        drawn = random_parameters(self.layer, np.random.default_rng(0), inputs, options)
        return tree_map(lambda x: self._cast(x / math.sqrt(math.prod(x.shape[:-1]))), drawn)

    def _cast(self, x: np.ndarray) -> np.ndarray:
        return x.astype(self.dtype) if is_float(x) else x


@dataclass(frozen=True)
class _Draw:
    """Draws inputs for a case."""

    case: Case
    rng: np.random.Generator

    def features(self, parities: int | None = None) -> np.ndarray:
        """Draw features of all nodes that norms do not divide by small numbers: signs change from one to the next."""
        case = self.case
        shape = (case.num, parities or case.parities, (case.max_degree + 1) ** 2, case.features)
        signs = self.rng.choice((-1.0, 1.0), (*shape[:-1], 1)) * (-1.0) ** np.arange(case.features)
        return signs * self.rng.uniform(0.5, 1.5, shape)

    def vectors(self) -> np.ndarray:
        """Draw vectors that are shorter than a cut-off of 1, and not short."""
        directions = self.rng.normal(size=(self.case.num, 3))
        lengths = np.linalg.norm(directions, axis=1, keepdims=True)
        return directions / lengths * self.rng.uniform(0.3, 0.9, lengths.shape)

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
    family : str
        What the library does most in it, one of :data:`FAMILIES`.
    most_degree : int
        The largest degree for which tests can afford it.
    """

    layer: Callable[[Case], nn.Layer]
    make: Callable[[_Draw], tuple[tuple, dict]]
    family: str
    most_degree: int = 4


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
class Frames(nn.Layer):
    """A linear map in frames of edges."""

    def forward(self, p, x, vectors):
        frame = nn.edge_frame(vectors, Layout.of(x).max_degree)
        return nn.from_frame(nn.SO2Dense(x.shape[-1])(p / "dense", nn.to_frame(x, frame)), frame)


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


_dense_edges = partial(_edges, dense=True)


def _heads(case: Case) -> int:
    return 2 if case.features % 2 == 0 else 3


#: What the library does most in a layer: layers of one family share the code that has to know about modes.
FAMILIES = ("rows", "linear", "products", "matrices", "edges", "attention", "vectors")

#: Layers by the way they are used.
KINDS: dict[str, Kind] = {
    "Dense": Kind(lambda c: nn.Dense(c.features), _one, "linear"),
    "Dense without bias": Kind(lambda c: nn.Dense(16, use_bias=False), _one, "linear"),
    "Embed": Kind(lambda c: nn.Embed(5, c.features), lambda d: ((d.numbers(5),), {}), "rows"),
    "Tensor": Kind(lambda c: nn.Tensor(), _two, "products"),
    "Tensor of one input": Kind(lambda c: Square(), _one, "products"),
    "FusedTensor": Kind(lambda c: nn.FusedTensor(), lambda d: ((d.features(), d.features(1)), {}), "matrices"),
    "TensorDense": Kind(lambda c: nn.TensorDense(c.features), _one, "products"),
    "TensorDense, fused": Kind(lambda c: nn.TensorDense(c.features, use_fused_tensor=True), _one, "matrices"),
    "LayerNorm": Kind(lambda c: nn.LayerNorm(), _one, "rows"),
    "RMSNorm": Kind(lambda c: nn.RMSNorm(), _one, "rows"),
    "JointRMSNorm": Kind(lambda c: nn.JointRMSNorm(), _one, "rows"),
    "SpeciesDense": Kind(lambda c: nn.SpeciesDense(3, 2), lambda d: ((d.features(), d.numbers(3)), {}), "linear"),
    "BatchNorm": Kind(lambda c: Averaged(), _one, "rows"),
    "Dropout": Kind(lambda c: Kept(), _one, "rows"),
    "Gate": Kind(lambda c: nn.Gate(), _one, "linear"),
    "NormActivation": Kind(lambda c: nn.NormActivation(), _one, "rows"),
    "Residual": Kind(lambda c: nn.Residual(nn.Dense(c.features)), _one, "linear"),
    "SO2Dense": Kind(lambda c: nn.SO2Dense(c.features), _one, "linear"),
    "SO2Dense in frames": Kind(
        lambda c: Frames(), lambda d: ((d.features(), d.vectors()), {}), "vectors", most_degree=2
    ),
    "SphereActivation": Kind(lambda c: nn.SphereActivation(), _one, "rows", most_degree=2),
    "MessagePass, sparse": Kind(lambda c: nn.MessagePass(use_basis_bias=True), _edges, "edges"),
    "MessagePass, dense": Kind(lambda c: nn.MessagePass(), _dense_edges, "edges"),
    "MessagePass, sparse array": Kind(lambda c: nn.MessagePass(), partial(_edges, array=True), "edges"),
    "MessagePass, dense array": Kind(lambda c: nn.MessagePass(), partial(_dense_edges, array=True), "edges"),
    "PathMessagePass": Kind(lambda c: nn.PathMessagePass(hidden=(4,)), _edges, "edges"),
    "SymmetricContraction": Kind(
        lambda c: nn.SymmetricContraction(3, 2), lambda d: ((d.features(), d.numbers(3)), {}), "products", most_degree=3
    ),
    "SelfAttention, sparse": Kind(lambda c: nn.SelfAttention(num_heads=_heads(c)), _edges, "attention"),
    "SelfAttention, dense": Kind(
        lambda c: nn.SelfAttention(num_heads=_heads(c)), partial(_edges, dense=True), "attention"
    ),
    "MultiHeadAttention, sparse": Kind(lambda c: nn.MultiHeadAttention(), partial(_edges, inputs=2), "attention"),
    "MultiHeadAttention, dense": Kind(
        lambda c: nn.MultiHeadAttention(), partial(_edges, dense=True, inputs=2), "attention"
    ),
    "ExponentialBasis": Kind(lambda c: LearnedBasis(c.max_degree, c.features), _vectors, "vectors"),
    "basis": Kind(lambda c: Basis(c.max_degree, c.features), _vectors, "vectors"),
    "spherical_harmonics": Kind(lambda c: Harmonics(c.max_degree), _vectors, "vectors"),
    "solid_harmonics": Kind(lambda c: Harmonics(c.max_degree, normalised=False), _vectors, "vectors"),
}
