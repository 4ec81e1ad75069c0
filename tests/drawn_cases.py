"""Layers, parameters, features and graphs that hypothesis draws.

The first row of everything is drawn from a normal distribution and is never zero, so that errors are relative to
numbers that do not cancel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from array_trees import random_parameters
from hypothesis import strategies as st

from e3any import Layout, nn
from e3any.testing import strategies

__all__ = ["Graph", "Products", "graphs", "message_layers", "parameters", "products", "rows"]


def rows(layout: Layout, num: int) -> st.SearchStrategy[np.ndarray]:
    """Draw features, the first row of which is general."""
    return st.builds(_anchored, strategies.features(layout, num), st.integers(0, 99))


def _anchored(x: np.ndarray, seed: int) -> np.ndarray:
    x = x.copy()
    x[:1] = np.random.default_rng(seed).normal(size=x[:1].shape)
    return x


def parameters(layer: nn.Layer, *inputs: Any, **options: Any) -> st.SearchStrategy[dict]:
    """Draw parameters from a normal distribution."""
    return st.integers(0, 99).map(lambda seed: random_parameters(layer, np.random.default_rng(seed), inputs, options))


@dataclass(frozen=True)
class Products:
    """A layer that works row by row, and what it is applied to."""

    layer: nn.Layer
    params: dict
    inputs: tuple


@st.composite
def products(draw: Any) -> Products:
    """Draw one of the layers that work row by row."""
    num, layout = draw(st.integers(1, 5)), draw(strategies.layouts(2, 3))
    x = draw(rows(layout, num))
    degree = draw(st.none() | st.integers(0, layout.max_degree))
    pseudotensors = draw(st.booleans())
    other = replace(draw(strategies.layouts(2)), features=layout.features)
    layer = draw(
        st.sampled_from(
            [
                nn.Dense(2, use_bias=pseudotensors),
                nn.TensorDense(2, degree, include_pseudotensors=pseudotensors),
                nn.Tensor(degree, include_pseudotensors=pseudotensors),
                nn.FusedTensor(degree, include_pseudotensors=pseudotensors),
            ]
        )
    )
    inputs = (x, draw(rows(other, num))) if isinstance(layer, nn.Tensor | nn.FusedTensor) else (x,)
    return Products(layer, draw(parameters(layer, *inputs)), inputs)


@dataclass(frozen=True)
class Graph:
    """A layer that sums over neighbours, its parameters, and nodes with features, vectors of edges and a list."""

    layer: nn.Layer
    params: dict
    x: np.ndarray
    r: np.ndarray
    lists: dict[str, np.ndarray]
    max_degree: int
    factored: bool

    def but(self, **changes: Any) -> Graph:
        """Return the graph with something else in its place."""
        return replace(self, **changes)

    def basis(self, r: Any = None) -> Any:
        """Return the basis of the edges."""
        return basis_of(self.r if r is None else r, self.max_degree, self.factored)

    def output(self, x: Any = None, r: Any = None) -> Any:
        """Apply the layer, to other features or vectors if asked to."""
        return self.layer(self.params, self.x if x is None else x, self.basis(r), **self.lists)


def basis_of(r: Any, max_degree: int, factored: bool) -> Any:
    """Return two radial functions, which do not vanish anywhere, times harmonics."""
    return nn.basis(r, max_degree=max_degree, num=2, radial_fn=nn.exponential_bernstein, factored=factored)


def message_layers() -> st.SearchStrategy[nn.Layer]:
    """Draw layers that sum over neighbours, for features of even number."""
    options = {"include_pseudotensors": st.booleans(), "use_basis_bias": st.booleans()}
    degree = st.none() | st.integers(0, 2)
    messages = st.builds(nn.MessagePass, degree, **options)
    attention = st.builds(
        nn.SelfAttention, degree, **options, num_heads=st.sampled_from([1, 2]), query_use_bias=st.booleans()
    )
    return messages | attention


@st.composite
def graphs(
    draw: Any, layers: st.SearchStrategy[nn.Layer] | None = None, kind: str | None = None, fixed: bool = False
) -> Graph:
    """Draw a layer and a graph, dense or sparse, whose first edge leads from the first node to itself.

    ``fixed`` graphs all have the same shapes.
    """
    num, size, degree, factored = (
        (4, 3, 1, True) if fixed else draw(st.tuples(*[st.integers(1, 4)] * 2, st.integers(0, 2), st.booleans()))
    )
    layout = Layout(1, 2, True) if fixed else Layout(draw(st.integers(0, 2)), 2, draw(st.booleans()))
    if (kind or draw(st.sampled_from(["dense", "sparse"]))) == "dense":
        lists, shape = draw(strategies.dense_lists(num, size)), (num, size)
    else:
        lists, shape = draw(strategies.sparse_lists(num, 2 * size)), (2 * size,)
    for idx in lists.values():
        idx.flat[0] = 0
    r = draw(strategies.vectors(*shape))
    r.reshape(-1, 3)[0] = (0.3, -0.7, 1.1)
    layer, x = draw(message_layers() if layers is None else layers), draw(rows(layout, num))
    if layer.max_degree is not None:  # no coupling reaches higher ones
        layer = replace(layer, max_degree=min(layer.max_degree, layout.max_degree + degree))
    params = draw(parameters(layer, x, basis_of(r, degree, factored), **lists))
    return Graph(layer, params, x, r, lists, degree, factored)
