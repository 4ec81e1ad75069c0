"""Initialisers as data: a distribution and the size of every entry.

An initialiser is called as ``init(key, shape, dtype)``, where the key is a JAX key, a :class:`numpy.random.Generator`
or a :class:`torch.Generator`. Any function of this signature can be used instead, for example an initialiser of
`JAX <https://docs.jax.dev/en/latest/jax.nn.initializers.html>`_ or Flax.
"""

from __future__ import annotations

import abc
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from e3any_backends import generator_backend
from numpy.typing import NDArray

from e3any.checks import check_broadcast, check_counts, check_flag, check_number, shown

Array: TypeAlias = Any
Distribution: TypeAlias = Literal["truncated_normal", "normal", "uniform"]
Mode: TypeAlias = Literal["fan_in", "fan_out", "fan_avg"]
#: Signature of initialisers: ``init(key, shape, dtype)``.
InitializerFn: TypeAlias = Callable[..., Any]
#: Signature of functions that return initialisers for :class:`e3any.nn.FusedTensor`: ``make(scale, mask)``.
FusedTensorInitializerFn: TypeAlias = Callable[..., InitializerFn]

# Standard deviation of a standard normal distribution that is cut off at -2 and 2.
_TRUNCATED_STD = 0.87962566103423978

__all__ = [
    "Constant",
    "Distribution",
    "FusedTensorInitializerFn",
    "Initializer",
    "InitializerFn",
    "MaskedScaling",
    "Mode",
    "TensorVarianceScaling",
    "VarianceScaling",
    "Zeros",
    "fused_tensor_normal",
    "fused_tensor_uniform",
    "lecun_normal",
    "ones",
    "tensor_glorot_normal",
    "tensor_glorot_uniform",
    "tensor_he_normal",
    "tensor_he_uniform",
    "tensor_kaiming_normal",
    "tensor_kaiming_uniform",
    "tensor_lecun_normal",
    "tensor_lecun_uniform",
    "tensor_variance_scaling",
    "tensor_xavier_normal",
    "tensor_xavier_uniform",
    "zeros",
]


class Initializer(abc.ABC):
    """How a parameter is initialised: a frozen dataclass that is called, see :meth:`__call__`."""

    @abc.abstractmethod
    def __call__(self, key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        """Initialise a parameter.

        Parameters
        ----------
        key : jax.Array or numpy.random.Generator or torch.Generator
            Source of random numbers; it also determines the library of the array.
        shape : sequence of int
            Shape of the parameter.
        dtype : optional
            Its dtype; float32 by default.

        Returns
        -------
        array of shape ``shape``
            The parameter.

        Raises
        ------
        ValueError
            If a length in ``shape`` is not an integer >= 0, or there are too few or too many lengths.
        TypeError
            If ``key`` is not a generator, ``shape`` is not a sequence, or the dtype is unknown.
        """


@dataclass(frozen=True)
class Zeros(Initializer):
    """All entries are zero; see :class:`Initializer`."""

    def __call__(self, key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        """Return zeros; the key only determines the library."""
        _check_shape(shape)
        backend = generator_backend(key)
        return backend.xp.zeros(tuple(shape), dtype=backend.dtype(dtype or "float32"))


@dataclass(frozen=True)
class Constant(Initializer):
    """All entries have one value.

    Parameters
    ----------
    value : float
        The value.

    Raises
    ------
    ValueError
        If ``value`` is NaN.
    TypeError
        If ``value`` is not a number.
    """

    value: float

    def __post_init__(self) -> None:
        check_number(self.value, "value")

    def __call__(self, key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        """Return the value in every entry; the key only determines the library."""
        _check_shape(shape)
        backend = generator_backend(key)
        return backend.xp.full(tuple(shape), self.value, dtype=backend.dtype(dtype or "float32"))


@dataclass(frozen=True)
class VarianceScaling(Initializer):
    r"""Independent entries of variance ``scale / n``, where n is a fan of the parameter.

    Parameters
    ----------
    scale : float
        Numerator of the variance.
    mode : {'fan_in', 'fan_out', 'fan_avg'}
        Which fan is the denominator: the number of inputs, of outputs, or their mean.
    distribution : {'truncated_normal', 'normal', 'uniform'}
        The distribution; a truncated normal one is cut at two standard deviations.
    in_axis, out_axis : int
        Axes that count inputs and outputs; all others multiply both fans.

    Raises
    ------
    ValueError
        If ``scale`` is negative or NaN, or ``mode`` or ``distribution`` is unknown.
    TypeError
        If ``scale`` is not a number.
    """

    scale: float = 1.0
    mode: Mode = "fan_in"
    distribution: Distribution = "truncated_normal"
    in_axis: int = -2
    out_axis: int = -1

    def __post_init__(self) -> None:
        _check(self.scale, self.distribution)
        _check_mode(self.mode)

    def __call__(self, key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        """Initialise a parameter."""
        _check_shape(shape)
        if len(shape) < 2:
            raise ValueError(f"expected a shape of at least 2 axes, got {tuple(shape)}")
        others = math.prod(shape) / max(shape[self.in_axis] * shape[self.out_axis], 1)
        fan_in, fan_out = shape[self.in_axis] * others, shape[self.out_axis] * others
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        return draw(key, shape, dtype, self.distribution, self.scale / max(fan, 1.0))


@dataclass(frozen=True)
class TensorVarianceScaling(Initializer):
    r"""Entries of the kernel of a tensor product, of variance ``scale / n``; forbidden couplings are zero.

    The fan-in of an entry is the number of allowed couplings that end in its output irrep, the fan-out the number
    of those that begin with its two input irreps.

    Parameters
    ----------
    scale : float
        Numerator of the variance.
    mode : {'fan_in', 'fan_out', 'fan_avg'}
        Which fan is the denominator.
    distribution : {'truncated_normal', 'normal', 'uniform'}
        The distribution.
    dtype : optional
        The dtype if a call gives none.
    use_parity : bool
        Whether parity forbids couplings. Layers with ``use_parity=False`` set it to False.

    Raises
    ------
    ValueError
        If ``scale`` is negative or NaN, ``mode`` or ``distribution`` is unknown, or ``use_parity`` is neither True nor
        False.
    TypeError
        If ``scale`` is not a number.
    """

    scale: float = 1.0
    mode: Mode = "fan_in"
    distribution: Distribution = "truncated_normal"
    dtype: Any = "float32"
    use_parity: bool = True

    def __post_init__(self) -> None:
        _check(self.scale, self.distribution)
        _check_mode(self.mode)
        check_flag(self.use_parity, "use_parity")

    def __call__(self, key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        """Initialise a kernel of shape (P1, L1+1, P2, L2+1, P3, L3+1, F)."""
        _check_shape(shape)
        if len(shape) != 7:
            raise ValueError(f"expected a shape of 7 axes (P1, L1+1, P2, L2+1, P3, L3+1, F), got {tuple(shape)}")
        allowed = allowed_couplings(*shape[:6], use_parity=self.use_parity)
        fan_in = allowed.sum(axis=(0, 1, 2, 3), keepdims=True)
        fan_out = allowed.sum(axis=(4, 5), keepdims=True)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = np.where(allowed, self.scale / np.maximum(fan, 1), 0.0)[..., None]
        return draw(key, shape, dtype or self.dtype, self.distribution, variance)


@dataclass(frozen=True, eq=False)
class MaskedScaling(Initializer):
    """Independent entries of given variances, zero outside of a mask.

    Parameters
    ----------
    scale : float or array that broadcasts to the shape of the parameter
        Variance of each entry.
    mask : bool or array that broadcasts to the shape of the parameter
        Which entries are random; all others are zero.
    distribution : {'truncated_normal', 'normal', 'uniform'}
        The distribution.
    dtype : optional
        The dtype if a call gives none.

    Raises
    ------
    ValueError
        If a variance is negative or NaN, or ``distribution`` is unknown.
    TypeError
        If ``scale`` is not a number.
    """

    scale: float | NDArray[np.float64] = 1.0
    mask: bool | NDArray[np.bool_] = True
    distribution: Distribution = "truncated_normal"
    dtype: Any = "float32"

    def __post_init__(self) -> None:
        _check(self.scale, self.distribution)

    def __call__(self, key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        """Initialise a parameter."""
        variance = np.where(np.asarray(self.mask), np.asarray(self.scale), 0.0)
        return draw(key, shape, dtype or self.dtype, self.distribution, variance)


def fused_tensor_normal(scale: Any = 1.0, mask: Any = True, dtype: Any = "float32") -> MaskedScaling:
    """Return an initialiser for kernels of :class:`e3any.nn.FusedTensor` from a truncated normal distribution.

    Parameters
    ----------
    scale : float or array
        Variance of each entry.
    mask : bool or array
        Which entries are random; all others are zero.
    dtype : optional
        The dtype if a call gives none.

    Returns
    -------
    MaskedScaling
        The initialiser.

    Raises
    ------
    ValueError
        If a variance is negative or NaN.
    TypeError
        If ``scale`` is not a number.
    """
    return MaskedScaling(scale, mask, "truncated_normal", dtype)


def fused_tensor_uniform(scale: Any = 1.0, mask: Any = True, dtype: Any = "float32") -> MaskedScaling:
    """Return an initialiser for kernels of :class:`e3any.nn.FusedTensor` from a uniform distribution.

    Parameters, results and errors are those of :func:`fused_tensor_normal`.
    """
    return MaskedScaling(scale, mask, "uniform", dtype)


def _check_mode(mode: Any) -> None:
    if mode not in get_args(Mode):
        raise ValueError(f"expected 'fan_in', 'fan_out' or 'fan_avg', got {shown(mode)}")


def _check(scale: Any, distribution: Any) -> None:
    """Check a variance, or an array of them, and the name of a distribution."""
    if hasattr(scale, "shape"):
        if not np.all(np.asarray(scale) >= 0.0):
            raise ValueError(f"expected scale >= 0, got {np.min(scale)}")
    else:
        check_number(scale, "scale", least=0.0)
    if distribution not in get_args(Distribution):
        raise ValueError(f"expected 'truncated_normal', 'normal' or 'uniform', got {shown(distribution)}")


def _check_shape(shape: Any) -> None:
    check_counts(shape, "shape")


def path_scaling(init: TensorVarianceScaling, paths: Sequence[tuple[str, str, str]]) -> MaskedScaling:
    """Return the initialiser of weights (paths, F) with the variances that an initialiser of kernels has.

    Parameters
    ----------
    init : TensorVarianceScaling
        Initialiser of kernels.
    paths : sequence of (str, str, str)
        The irreps of both factors and of the product of every path.

    Returns
    -------
    MaskedScaling
        The initialiser.
    """
    ends, begins = Counter(path[2] for path in paths), Counter(path[:2] for path in paths)
    fans = {
        "fan_in": [ends[path[2]] for path in paths],
        "fan_out": [begins[path[:2]] for path in paths],
        "fan_avg": [(ends[path[2]] + begins[path[:2]]) / 2 for path in paths],
    }
    variance = init.scale / np.asarray(fans[init.mode], np.float64)[:, None]
    return MaskedScaling(variance, True, init.distribution, init.dtype)


def allowed_couplings(
    p1: int, n1: int, p2: int, n2: int, p3: int, n3: int, *, use_parity: bool = True
) -> NDArray[np.bool_]:
    r"""Return which irreps couple: :math:`|l_1-l_2| \le l_3 \le l_1+l_2` and parities multiply.

    Parameters
    ----------
    p1, n1, p2, n2, p3, n3 : int
        Length of the parity axis and number of degrees of both inputs and the output.
    use_parity : bool
        Whether irreps have a parity; irreps of SO(3) have none.

    Returns
    -------
    array of shape (p1, n1, p2, n2, p3, n3)
        True where the coupling is allowed.
    """
    shape = (p1, n1, p2, n2, p3, n3)
    index = np.meshgrid(*map(np.arange, shape), indexing="ij", sparse=True)
    degrees = index[1::2]
    # A parity axis of length one holds proper tensors, whose parity is that of their degree.
    parities = [l % 2 if n == 1 else p for p, l, n in zip(index[::2], degrees, shape[::2], strict=True)]
    triangle = (abs(degrees[0] - degrees[1]) <= degrees[2]) & (degrees[2] <= degrees[0] + degrees[1])
    if not use_parity:
        return np.broadcast_to(triangle, shape)
    return np.broadcast_to(triangle & ((parities[0] + parities[1] + parities[2]) % 2 == 0), shape)


def draw(
    key: Any,
    shape: Sequence[int],
    dtype: Any,
    distribution: Distribution,
    variance: float | NDArray[np.float64],
) -> Array:
    """Return independent random entries of mean zero.

    Parameters
    ----------
    key : jax.Array or numpy.random.Generator or torch.Generator
        Source of random numbers.
    shape : sequence of int
        Shape of the result.
    dtype : optional
        Its dtype; float32 by default.
    distribution : {'truncated_normal', 'normal', 'uniform'}
        Distribution of each entry.
    variance : float or array that broadcasts to ``shape``
        Variance of each entry.

    Returns
    -------
    array of shape ``shape``
        The entries.

    Raises
    ------
    ValueError
        If a length in ``shape`` is not an integer >= 0, or variances do not broadcast to it.
    TypeError
        If ``key`` is not a generator, or the dtype is unknown.
    """
    backend = generator_backend(key)
    _check_shape(shape)
    check_broadcast("shapes of variances and of a parameter", np.shape(variance), tuple(shape))
    dtype = backend.dtype(dtype or "float32")
    std = np.sqrt(np.asarray(variance, np.float64))
    if distribution == "uniform":
        sample = 2.0 * backend.random_uniform(key, shape, dtype) - 1.0
        std = std * math.sqrt(3.0)
    elif distribution == "normal":
        sample = backend.random_normal(key, shape, dtype)
    else:
        sample = backend.random_truncated_normal(key, shape, dtype)
        std = std / _TRUNCATED_STD
    return sample * backend.constant(std, like=sample)


zeros = Zeros()
ones = Constant(1.0)
lecun_normal = VarianceScaling()


def tensor_variance_scaling(
    scale: float, mode: Mode, distribution: Distribution, dtype: Any = "float32"
) -> TensorVarianceScaling:
    """Return an initialiser for kernels of :class:`e3any.nn.Tensor`, see :class:`TensorVarianceScaling`.

    Parameters
    ----------
    scale : float
        Numerator of the variance.
    mode : {'fan_in', 'fan_out', 'fan_avg'}
        Which fan is the denominator.
    distribution : {'truncated_normal', 'normal', 'uniform'}
        The distribution.
    dtype : optional
        The dtype if a call gives none.

    Returns
    -------
    TensorVarianceScaling
        The initialiser.

    Raises
    ------
    ValueError
        If ``scale`` is negative or NaN, or ``mode`` or ``distribution`` is unknown.
    TypeError
        If ``scale`` is not a number.
    """
    return TensorVarianceScaling(scale, mode, distribution, dtype)


def tensor_glorot_uniform(dtype: Any = "float32") -> TensorVarianceScaling:
    """Return an initialiser of variance 1 / mean fan, uniformly distributed, for kernels of tensor products.

    See :class:`TensorVarianceScaling`; a TypeError is raised if the dtype is unknown.
    """
    return TensorVarianceScaling(1.0, "fan_avg", "uniform", dtype)


def tensor_glorot_normal(dtype: Any = "float32") -> TensorVarianceScaling:
    """Return an initialiser of variance 1 / mean fan, truncated normal, for kernels of tensor products.

    See :class:`TensorVarianceScaling`; a TypeError is raised if the dtype is unknown.
    """
    return TensorVarianceScaling(1.0, "fan_avg", "truncated_normal", dtype)


def tensor_lecun_uniform(dtype: Any = "float32") -> TensorVarianceScaling:
    """Return an initialiser of variance 1 / fan-in, uniformly distributed, for kernels of tensor products.

    See :class:`TensorVarianceScaling`; a TypeError is raised if the dtype is unknown.
    """
    return TensorVarianceScaling(1.0, "fan_in", "uniform", dtype)


def tensor_lecun_normal(dtype: Any = "float32") -> TensorVarianceScaling:
    """Return an initialiser of variance 1 / fan-in, truncated normal, for kernels of tensor products.

    See :class:`TensorVarianceScaling`; a TypeError is raised if the dtype is unknown.
    """
    return TensorVarianceScaling(1.0, "fan_in", "truncated_normal", dtype)


def tensor_he_uniform(dtype: Any = "float32") -> TensorVarianceScaling:
    """Return an initialiser of variance 2 / fan-in, uniformly distributed, for kernels of tensor products.

    See :class:`TensorVarianceScaling`; a TypeError is raised if the dtype is unknown.
    """
    return TensorVarianceScaling(2.0, "fan_in", "uniform", dtype)


def tensor_he_normal(dtype: Any = "float32") -> TensorVarianceScaling:
    """Return an initialiser of variance 2 / fan-in, truncated normal, for kernels of tensor products.

    See :class:`TensorVarianceScaling`; a TypeError is raised if the dtype is unknown.
    """
    return TensorVarianceScaling(2.0, "fan_in", "truncated_normal", dtype)


tensor_xavier_uniform = tensor_glorot_uniform
tensor_xavier_normal = tensor_glorot_normal
tensor_kaiming_uniform = tensor_he_uniform
tensor_kaiming_normal = tensor_he_normal
