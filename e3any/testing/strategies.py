"""Strategies of hypothesis for tests of functions and models: features, vectors, rotations and lists of neighbours.

Arrays are NumPy arrays; ``map`` converts them to another library, ``strategies.vectors(4).map(torch.from_numpy)``.
Their numbers are multiples of 1/64 between -4 and 4. All floating-point dtypes represent these exactly, so that results
in two dtypes differ only by rounding within the computation, and nothing underflows. Shapes are arguments, so that a
compiler sees few of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from e3any.checks import check_dtype, check_flag, check_integer
from e3any.irreps import Irreps
from e3any.layout import Layout
from e3any.so3 import rotation_from_quaternion

__all__ = ["dense_lists", "features", "irreps", "layouts", "numbers", "rotations", "sparse_lists", "vectors"]

_SEEDS = st.integers(0, 2**32 - 1)
_SHARES = st.sampled_from([0.0, 0.5, 1.0])


def numbers(*shape: int, dtype: str = "float64") -> st.SearchStrategy[NDArray[Any]]:
    """Draw arrays in which none, half or all of the numbers are zero.

    Parameters
    ----------
    *shape : int
        Shape of the arrays.
    dtype : str
        A floating-point dtype of NumPy.

    Returns
    -------
    strategy
        Arrays of this shape and dtype, of multiples of 1/64 between -4 and 4.

    Raises
    ------
    ValueError
        If an entry of the shape is not an integer >= 0.
    TypeError
        If ``dtype`` is not a floating-point dtype.
    """
    _check_shape(shape)
    check_dtype(dtype)

    def draw(seed: int, zeros: float) -> NDArray[Any]:
        rng = np.random.default_rng(seed)
        x = rng.integers(-256, 257, size=shape) / 64
        return np.where(rng.uniform(size=shape) < zeros, 0.0, x).astype(dtype)

    return st.builds(draw, _SEEDS, _SHARES)


def _check_shape(shape: tuple[int, ...]) -> None:
    for size in shape:
        check_integer(size, "every axis of the shape")


def layouts(
    max_degree: int = 3, features: int = 4, pseudotensors: bool | None = None, *, least_features: int = 1
) -> st.SearchStrategy[Layout]:
    """Draw layouts of features.

    Parameters
    ----------
    max_degree : int
        Largest degree of any of them.
    features : int
        Largest number of features of any of them.
    pseudotensors : bool, optional
        Whether they have both parities; either by default.
    least_features : int
        Smallest number of features.

    Returns
    -------
    strategy
        Instances of :class:`e3any.Layout`.

    Raises
    ------
    ValueError
        If ``max_degree`` or ``least_features`` is not an integer >= 0, ``features`` is not an integer
        >= ``least_features``, or ``pseudotensors`` is not True, False or None.
    """
    check_integer(max_degree, "max_degree")
    check_integer(least_features, "least_features")
    check_integer(features, "features", least=least_features)
    check_flag(pseudotensors, "pseudotensors", optional=True)
    parities = st.booleans() if pseudotensors is None else st.just(pseudotensors)
    return st.builds(Layout, st.integers(0, max_degree), st.integers(least_features, features), parities)


def irreps(max_degree: int = 3, features: int = 4, use_parity: bool | None = None) -> st.SearchStrategy[Irreps]:
    """Draw irreps, scalars of even parity among them, with numbers of features of their own.

    Parameters
    ----------
    max_degree : int
        Largest degree of any of them.
    features : int
        Largest number of features of any of them.
    use_parity : bool, optional
        Whether they have a parity; either by default.

    Returns
    -------
    strategy
        Instances of :class:`e3any.Irreps`, in the order of degrees, then of parities.

    Raises
    ------
    ValueError
        If ``max_degree`` is not an integer >= 0, ``features`` is not an integer >= 1, or ``use_parity`` is not True,
        False or None.
    """
    check_integer(max_degree, "max_degree")
    check_integer(features, "features", least=1)
    check_flag(use_parity, "use_parity", optional=True)
    names = {
        True: [f"{l}{sign}" for l in range(max_degree + 1) for sign in "+-"],
        False: [str(l) for l in range(max_degree + 1)],
    }
    counts = st.integers(1, features)

    def draw(has_parity: bool) -> st.SearchStrategy[Irreps]:
        scalar, *others = names[has_parity]
        optional = {name: counts for name in others}
        drawn = st.fixed_dictionaries({scalar: counts}, optional=optional)
        return drawn.map(lambda found: Irreps({name: found[name] for name in names[has_parity] if name in found}))

    return draw(use_parity) if use_parity is not None else st.booleans().flatmap(draw)


def features(layout: Layout | Irreps, *lead: int, dtype: str = "float64") -> st.SearchStrategy[Any]:
    """Draw features.

    Parameters
    ----------
    layout : Layout or Irreps
        Their layout, or the irreps of a dictionary.
    *lead : int
        Leading axes, such as the number of nodes.
    dtype : str
        A floating-point dtype of NumPy.

    Returns
    -------
    strategy
        Arrays of shape ``(*lead, *layout.shape)``, or dictionaries of arrays ``(*lead, 2l+1, F)``, with numbers as in
        :func:`numbers`.

    Raises
    ------
    ValueError
        If a leading axis is not an integer >= 0.
    TypeError
        If ``layout`` is neither a Layout nor Irreps, or ``dtype`` is not a floating-point dtype.
    """
    if isinstance(layout, Irreps):
        shapes = {name: block.shape for name, block in layout.example(*lead).items()}
        return st.fixed_dictionaries({name: numbers(*shape, dtype=dtype) for name, shape in shapes.items()})
    if not isinstance(layout, Layout):
        raise TypeError(f"expected layout to be a Layout or Irreps, got {type(layout).__name__}")
    return numbers(*lead, *layout.shape, dtype=dtype)


def vectors(*lead: int, zero: bool = True, dtype: str = "float64") -> st.SearchStrategy[NDArray[Any]]:
    """Draw vectors: none of them, half of them or all of them lie on an axis, are zero or equal the one before.

    Parameters
    ----------
    *lead : int
        Leading axes.
    zero : bool
        Whether a vector can be zero.
    dtype : str
        A floating-point dtype of NumPy.

    Returns
    -------
    strategy
        Arrays of shape ``(*lead, 3)``, of multiples of 1/64 between -4 and 4.

    Raises
    ------
    ValueError
        If a leading axis is not an integer >= 0, or ``zero`` is neither True nor False.
    TypeError
        If ``dtype`` is not a floating-point dtype.
    """
    _check_shape(lead)
    check_dtype(dtype)
    check_flag(zero, "zero")

    def draw(seed: int, special: float) -> NDArray[Any]:
        rng = np.random.default_rng(seed)
        rows = rng.integers(-256, 257, size=(int(np.prod(lead)), 3)) / 64
        for i in np.flatnonzero(rng.uniform(size=len(rows)) < special):
            axis, kind = rng.integers(3), rng.integers(3)
            rows[i] = (rows[i] * (np.arange(3) == axis), 0.0 * rows[i], rows[i - 1])[kind]
        if not zero:
            rows[~rows.any(axis=1)] = (0, 0, 1)
        return rows.reshape(*lead, 3).astype(dtype)

    return st.builds(draw, _SEEDS, _SHARES)


def rotations(*, dtype: str = "float64") -> st.SearchStrategy[NDArray[Any]]:
    """Draw rotations: those of quaternions of integers from -4 to 4.

    The identity, half turns, quarter turns and the other rotations of a cube are among them.

    Parameters
    ----------
    dtype : str
        A floating-point dtype of NumPy.

    Returns
    -------
    strategy
        Matrices of shape (3, 3) with determinant 1, which rotate row vectors from the right.

    Raises
    ------
    TypeError
        If ``dtype`` is not a floating-point dtype.
    """
    check_dtype(dtype)
    # Simpler examples are closer to zero, which gives the identity.
    quaternions = st.tuples(*[st.integers(-4, 4)] * 4)
    return quaternions.map(lambda q: np.asarray(rotation_from_quaternion(np.asarray(q, np.float64))).astype(dtype))


def sparse_lists(
    num_nodes: int, num_edges: int, *, padding: bool = True
) -> st.SearchStrategy[dict[str, NDArray[np.int64]]]:
    """Draw sparse lists of neighbours in any order: repeated edges, loops and nodes without neighbours among them.

    Parameters
    ----------
    num_nodes : int
        Number N of nodes.
    num_edges : int
        Number of edges, padding included.
    padding : bool
        Whether edges can be padding: entries >= N or < 0, at one end of an edge or at both. Without nodes all edges
        are padding.

    Returns
    -------
    strategy
        Dictionaries of ``dst_idx`` and ``src_idx`` of shape (num_edges,), for example for
        ``gather_src(x, **index_list)``.

    Raises
    ------
    ValueError
        If a number is not an integer >= 0, or ``padding`` is neither True nor False.
    """
    draw = _index_lists(num_nodes, (num_edges,), padding)
    return st.fixed_dictionaries({"dst_idx": draw, "src_idx": draw})


def dense_lists(num_nodes: int, width: int, *, padding: bool = True) -> st.SearchStrategy[dict[str, NDArray[np.int64]]]:
    """Draw dense lists of neighbours in any order: repeated neighbours and nodes that are their own among them.

    Parameters
    ----------
    num_nodes : int
        Number N of nodes.
    width : int
        Number of neighbours of each node, padding included.
    padding : bool
        Whether neighbours can be padding: entries >= N or < 0.

    Returns
    -------
    strategy
        Dictionaries of ``adj_idx`` of shape (num_nodes, width), for example for ``gather_src(x, **index_list)``.

    Raises
    ------
    ValueError
        If a number is not an integer >= 0, or ``padding`` is neither True nor False.
    """
    return st.fixed_dictionaries({"adj_idx": _index_lists(num_nodes, (num_nodes, width), padding)})


def _index_lists(num_nodes: int, shape: tuple[int, ...], padding: bool) -> st.SearchStrategy[NDArray[np.int64]]:
    check_integer(num_nodes, "num_nodes")
    _check_shape(shape)
    check_flag(padding, "padding")
    shares = _SHARES if padding and num_nodes else st.just(0.0 if num_nodes else 1.0)

    def draw(seed: int, padded: float) -> NDArray[np.int64]:
        rng = np.random.default_rng(seed)
        outside = rng.choice([-1, -num_nodes - 1, num_nodes, num_nodes + 5], size=shape)
        return np.where(rng.uniform(size=shape) < padded, outside, rng.integers(0, max(num_nodes, 1), size=shape))

    return st.builds(draw, _SEEDS, shares)
