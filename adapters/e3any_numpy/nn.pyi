"""Written by docs/stubs.py: the layers of :mod:`e3any_numpy.nn` as type checkers and editors see them."""

# mypy: disable-error-code="override"
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload
from numpy.typing import ArrayLike, NDArray
from e3any_numpy.function import LayerFunction
from e3any import Irreps, Layout
from e3any.nn import FactoredBasis as FactoredBasis
from e3any.nn import Layer as Layer
from e3any.nn import ParameterSpec as ParameterSpec
from e3any.nn import Parameters as Parameters
from e3any.nn import Variables as Variables
from e3any.nn import add as add
from e3any.nn import basic_bernstein as basic_bernstein
from e3any.nn import basic_chebyshev as basic_chebyshev
from e3any.nn import basic_fourier as basic_fourier
from e3any.nn import basic_gaussian as basic_gaussian
from e3any.nn import basis as basis
from e3any.nn import bent_identity as bent_identity
from e3any.nn import bessel as bessel
from e3any.nn import celu as celu
from e3any.nn import change_max_degree_or_type as change_max_degree_or_type
from e3any.nn import cosine_cutoff as cosine_cutoff
from e3any.nn import edge_frame as edge_frame
from e3any.nn import elu as elu
from e3any.nn import even_degree_mask as even_degree_mask
from e3any.nn import exponential_bernstein as exponential_bernstein
from e3any.nn import exponential_chebyshev as exponential_chebyshev
from e3any.nn import exponential_fourier as exponential_fourier
from e3any.nn import exponential_gaussian as exponential_gaussian
from e3any.nn import exponential_mapping as exponential_mapping
from e3any.nn import from_frame as from_frame
from e3any.nn import from_irreps as from_irreps
from e3any.nn import gate as gate
from e3any.nn import gelu as gelu
from e3any.nn import hard_silu as hard_silu
from e3any.nn import hard_swish as hard_swish
from e3any.nn import hard_tanh as hard_tanh
from e3any.nn import initializers as initializers
from e3any.nn import leaky_relu as leaky_relu
from e3any.nn import mish as mish
from e3any.nn import norm_activation as norm_activation
from e3any.nn import odd_degree_mask as odd_degree_mask
from e3any.nn import polynomial_cutoff as polynomial_cutoff
from e3any.nn import pool as pool
from e3any.nn import reciprocal_bernstein as reciprocal_bernstein
from e3any.nn import reciprocal_chebyshev as reciprocal_chebyshev
from e3any.nn import reciprocal_fourier as reciprocal_fourier
from e3any.nn import reciprocal_gaussian as reciprocal_gaussian
from e3any.nn import reciprocal_mapping as reciprocal_mapping
from e3any.nn import rectangular_window as rectangular_window
from e3any.nn import reflect as reflect
from e3any.nn import relu as relu
from e3any.nn import relu6 as relu6
from e3any.nn import rotate as rotate
from e3any.nn import selu as selu
from e3any.nn import serf as serf
from e3any.nn import shifted_softplus as shifted_softplus
from e3any.nn import silu as silu
from e3any.nn import sinc as sinc
from e3any.nn import smooth_cutoff as smooth_cutoff
from e3any.nn import smooth_damping as smooth_damping
from e3any.nn import smooth_switch as smooth_switch
from e3any.nn import smooth_window as smooth_window
from e3any.nn import soft_sign as soft_sign
from e3any.nn import swish as swish
from e3any.nn import to_frame as to_frame
from e3any.nn import to_irreps as to_irreps
from e3any.nn import triangular_window as triangular_window
from e3any.nn import xplor_cutoff as xplor_cutoff
from e3any.nn import zbl_repulsion as zbl_repulsion

class BatchNorm(LayerFunction):
    r"""Normalise every feature of every irrep by its mean square over a batch; scalars are centred as well."""
    def __init__(
        self,
        momentum: float = ...,
        epsilon: float = ...,
        use_bias: bool = ...,
        use_scale: bool = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        scale_init: Any = ...,
        bias_init: Any = ...,
    ) -> None: ...
    @overload
    def __call__(
        self,
        params: Mapping[str, Any],
        /,
        inputs: ArrayLike,
        *,
        use_running_average: bool | None = ...,
        where: ArrayLike | None = ...,
    ) -> NDArray[Any]: ...
    @overload
    def __call__(
        self,
        params: Mapping[str, Any],
        /,
        inputs: Mapping[str, ArrayLike],
        *,
        use_running_average: bool | None = ...,
        where: ArrayLike | None = ...,
    ) -> dict[str, NDArray[Any]]: ...

class BesselBasis(LayerFunction):
    r"""Basis functions of displacement vectors: spherical Bessel functions with learned frequencies times harmonics."""
    def __init__(self, limit: float = ..., param_dtype: Any = ...) -> None: ...
    def __call__(self, params: Mapping[str, Any], /, r: ArrayLike, *, num: int, **options: Any) -> Any: ...

class Dense(LayerFunction):
    r"""A linear map of features, with its own kernel for every degree and parity."""
    def __init__(
        self,
        features: int | Irreps,
        use_bias: bool = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        precision: Any = ...,
        kernel_init: Any = ...,
        bias_init: Any = ...,
    ) -> None: ...
    def __call__(self, params: Mapping[str, Any], /, inputs: ArrayLike) -> NDArray[Any]: ...

class Dropout(LayerFunction):
    r"""Set random irreps to zero in training."""
    def __init__(self, rate: float) -> None: ...
    @overload
    def __call__(
        self, params: Mapping[str, Any], /, inputs: ArrayLike, *, deterministic: bool | None = ...
    ) -> NDArray[Any]: ...
    @overload
    def __call__(
        self, params: Mapping[str, Any], /, inputs: Mapping[str, ArrayLike], *, deterministic: bool | None = ...
    ) -> dict[str, NDArray[Any]]: ...

class Embed(LayerFunction):
    r"""Learned scalar features for integers, such as atomic numbers."""
    def __init__(
        self,
        num_embeddings: int,
        features: int | Irreps,
        dtype: Any = ...,
        param_dtype: Any = ...,
        embedding_init: Any = ...,
    ) -> None: ...
    def __call__(self, params: Mapping[str, Any], /, inputs: ArrayLike) -> NDArray[Any]: ...

class ExponentialBasis(LayerFunction):
    r"""Basis functions of displacement vectors, with a learned rate of the exponential mapping."""
    def __init__(self, initial_gamma: float = ..., param_dtype: Any = ...) -> None: ...
    def __call__(
        self, params: Mapping[str, Any], /, r: ArrayLike, *, radial_fn: Callable[..., ArrayLike], **options: Any
    ) -> Any: ...

class FusedTensor(LayerFunction):
    r"""Couple two features by products of matrices."""
    def __init__(
        self,
        max_degree: int | None = ...,
        include_pseudotensors: bool = ...,
        cartesian_order: bool | None = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        precision: Any = ...,
        kernel_init: Any = ...,
        *,
        use_parity: bool | None = ...,
    ) -> None: ...
    def __call__(self, params: Mapping[str, Any], /, inputs1: ArrayLike, inputs2: ArrayLike) -> NDArray[Any]: ...

class Gate(LayerFunction):
    r"""Activate scalars, and gate everything else by functions of a linear map of the scalars."""
    def __init__(
        self,
        activation: Any = ...,
        gate_activation: Any = ...,
        use_bias: bool = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        precision: Any = ...,
        kernel_init: Any = ...,
        bias_init: Any = ...,
    ) -> None: ...
    def __call__(self, params: Mapping[str, Any], /, inputs: ArrayLike) -> NDArray[Any]: ...

class JointRMSNorm(LayerFunction):
    r"""Divide all features of a sample by one root mean square, which keeps the ratios of its irreps."""
    def __init__(
        self,
        epsilon: float = ...,
        centre: bool = ...,
        balance: bool = ...,
        use_bias: bool = ...,
        use_scale: bool = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        scale_init: Any = ...,
        bias_init: Any = ...,
    ) -> None: ...
    def __call__(self, params: Mapping[str, Any], /, inputs: ArrayLike) -> NDArray[Any]: ...

class LayerNorm(LayerFunction):
    r"""Normalise the features of every degree and parity; those of scalars are centred as well."""
    def __init__(
        self,
        epsilon: float = ...,
        use_bias: bool = ...,
        use_scale: bool = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        scale_init: Any = ...,
        bias_init: Any = ...,
    ) -> None: ...
    def __call__(self, params: Mapping[str, Any], /, inputs: ArrayLike) -> NDArray[Any]: ...

class MessagePass(LayerFunction):
    r"""Sum the products of neighbours' features with learned filters."""
    def __init__(
        self,
        max_degree: int | None = ...,
        use_basis_bias: bool = ...,
        include_pseudotensors: bool = ...,
        cartesian_order: bool | None = ...,
        use_fused_tensor: bool | None = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        precision: Any = ...,
        dense_kernel_init: Any = ...,
        dense_bias_init: Any = ...,
        tensor_kernel_init: Any = ...,
        *,
        use_parity: bool | None = ...,
    ) -> None: ...
    def __call__(
        self,
        params: Mapping[str, Any],
        /,
        inputs: ArrayLike,
        basis: ArrayLike | FactoredBasis | None = ...,
        weights: ArrayLike | None = ...,
        *,
        adj_idx: ArrayLike | None = ...,
        where: ArrayLike | None = ...,
        dst_idx: ArrayLike | None = ...,
        src_idx: ArrayLike | None = ...,
        num_segments: int | None = ...,
        indices_are_sorted: bool = ...,
    ) -> NDArray[Any]: ...

class MultiHeadAttention(LayerFunction):
    r"""Sum the products of neighbours' features with learned filters, weighted by attention."""
    def __init__(
        self,
        max_degree: int | None = ...,
        use_basis_bias: bool = ...,
        include_pseudotensors: bool = ...,
        cartesian_order: bool | None = ...,
        use_fused_tensor: bool | None = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        precision: Any = ...,
        dense_kernel_init: Any = ...,
        dense_bias_init: Any = ...,
        tensor_kernel_init: Any = ...,
        num_heads: int = ...,
        qkv_features: int | None = ...,
        out_features: int | None = ...,
        use_relative_positional_encoding_qk: bool = ...,
        use_relative_positional_encoding_v: bool = ...,
        query_kernel_init: Any = ...,
        query_bias_init: Any = ...,
        query_use_bias: bool = ...,
        key_kernel_init: Any = ...,
        key_bias_init: Any = ...,
        key_use_bias: bool = ...,
        value_kernel_init: Any = ...,
        value_bias_init: Any = ...,
        value_use_bias: bool = ...,
        output_kernel_init: Any = ...,
        output_bias_init: Any = ...,
        output_use_bias: bool = ...,
        *,
        use_parity: bool | None = ...,
    ) -> None: ...
    def __call__(
        self,
        params: Mapping[str, Any],
        /,
        inputs_q: ArrayLike,
        inputs_kv: ArrayLike,
        basis: ArrayLike | FactoredBasis | None = ...,
        cutoff_value: ArrayLike | None = ...,
        *,
        adj_idx: ArrayLike | None = ...,
        where: ArrayLike | None = ...,
        dst_idx: ArrayLike | None = ...,
        src_idx: ArrayLike | None = ...,
        num_segments: int | None = ...,
        indices_are_sorted: bool = ...,
    ) -> NDArray[Any]: ...

class NormActivation(LayerFunction):
    r"""Activate the norm of every irrep, and keep its direction; see :func:`e3any.nn.norm_activation`."""
    def __init__(
        self,
        activation: Any = ...,
        use_bias: bool = ...,
        normalize: bool = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        bias_init: Any = ...,
    ) -> None: ...
    def __call__(self, params: Mapping[str, Any], /, inputs: ArrayLike) -> NDArray[Any]: ...

class PathMessagePass(LayerFunction):
    r"""Sum couplings of neighbours with harmonics, weighted for every edge, path and feature by a network."""
    def __init__(
        self,
        max_degree: int | None = ...,
        hidden: Sequence[int] = ...,
        activation: Any = ...,
        include_pseudotensors: bool = ...,
        cartesian_order: bool | None = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        precision: Any = ...,
        kernel_init: Any = ...,
        *,
        use_parity: bool | None = ...,
        features: int | Irreps | None = ...,
    ) -> None: ...
    @overload
    def __call__(
        self,
        params: Mapping[str, Any],
        /,
        inputs: ArrayLike,
        basis: FactoredBasis,
        *,
        adj_idx: ArrayLike | None = ...,
        where: ArrayLike | None = ...,
        dst_idx: ArrayLike | None = ...,
        src_idx: ArrayLike | None = ...,
        num_segments: int | None = ...,
        indices_are_sorted: bool = ...,
    ) -> NDArray[Any]: ...
    @overload
    def __call__(
        self,
        params: Mapping[str, Any],
        /,
        inputs: Mapping[str, ArrayLike],
        basis: FactoredBasis,
        *,
        adj_idx: ArrayLike | None = ...,
        where: ArrayLike | None = ...,
        dst_idx: ArrayLike | None = ...,
        src_idx: ArrayLike | None = ...,
        num_segments: int | None = ...,
        indices_are_sorted: bool = ...,
    ) -> dict[str, NDArray[Any]]: ...

class RMSNorm(LayerFunction):
    r"""Divide the features of every degree and parity by their root mean square."""
    def __init__(
        self,
        epsilon: float = ...,
        use_scale: bool = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        scale_init: Any = ...,
    ) -> None: ...
    def __call__(self, params: Mapping[str, Any], /, inputs: ArrayLike) -> NDArray[Any]: ...

class Residual(LayerFunction):
    r"""Add the input of a layer to its output."""
    def __init__(self, layer: Layer, param_dtype: Any = ..., precision: Any = ..., kernel_init: Any = ...) -> None: ...
    @overload
    def __call__(
        self, params: Mapping[str, Any], /, inputs: ArrayLike, *others: Any, **options: Any
    ) -> NDArray[Any]: ...
    @overload
    def __call__(
        self, params: Mapping[str, Any], /, inputs: Mapping[str, ArrayLike], *others: Any, **options: Any
    ) -> dict[str, NDArray[Any]]: ...

class SO2Dense(LayerFunction):
    r"""A linear map of features in the frames of edges, with a kernel for every order m."""
    def __init__(
        self,
        features: int,
        max_degree: int | None = ...,
        max_order: int | None = ...,
        include_pseudotensors: bool | None = ...,
        use_bias: bool = ...,
        cartesian_order: bool | None = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        precision: Any = ...,
        kernel_init: Any = ...,
        bias_init: Any = ...,
        *,
        use_parity: bool | None = ...,
    ) -> None: ...
    def __call__(
        self, params: Mapping[str, Any], /, inputs: ArrayLike, scale: ArrayLike | None = ...
    ) -> NDArray[Any]: ...

class ScaleShift(LayerFunction):
    r"""Scale and shift invariants of samples by numbers of their categories, such as energies of atoms of each species."""
    def __init__(
        self, num_embeddings: int, scale: Any = ..., shift: Any = ..., dtype: Any = ..., param_dtype: Any = ...
    ) -> None: ...
    def __call__(self, params: Mapping[str, Any], /, inputs: ArrayLike, categories: ArrayLike) -> NDArray[Any]: ...

class SelfAttention(LayerFunction):
    r"""Attend to neighbours, with queries, keys and values from the same features."""
    def __init__(
        self,
        max_degree: int | None = ...,
        use_basis_bias: bool = ...,
        include_pseudotensors: bool = ...,
        cartesian_order: bool | None = ...,
        use_fused_tensor: bool | None = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        precision: Any = ...,
        dense_kernel_init: Any = ...,
        dense_bias_init: Any = ...,
        tensor_kernel_init: Any = ...,
        num_heads: int = ...,
        qkv_features: int | None = ...,
        out_features: int | None = ...,
        use_relative_positional_encoding_qk: bool = ...,
        use_relative_positional_encoding_v: bool = ...,
        query_kernel_init: Any = ...,
        query_bias_init: Any = ...,
        query_use_bias: bool = ...,
        key_kernel_init: Any = ...,
        key_bias_init: Any = ...,
        key_use_bias: bool = ...,
        value_kernel_init: Any = ...,
        value_bias_init: Any = ...,
        value_use_bias: bool = ...,
        output_kernel_init: Any = ...,
        output_bias_init: Any = ...,
        output_use_bias: bool = ...,
        *,
        use_parity: bool | None = ...,
    ) -> None: ...
    def __call__(
        self,
        params: Mapping[str, Any],
        /,
        inputs: ArrayLike,
        basis: ArrayLike | FactoredBasis | None = ...,
        cutoff_value: ArrayLike | None = ...,
        *,
        adj_idx: ArrayLike | None = ...,
        where: ArrayLike | None = ...,
        dst_idx: ArrayLike | None = ...,
        src_idx: ArrayLike | None = ...,
        num_segments: int | None = ...,
        indices_are_sorted: bool = ...,
    ) -> NDArray[Any]: ...

class SpeciesDense(LayerFunction):
    r"""A linear map of features, with its own kernels for every category of samples, such as the species of atoms."""
    def __init__(
        self,
        num_embeddings: int,
        features: int | Irreps,
        use_bias: bool = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        precision: Any = ...,
        kernel_init: Any = ...,
        bias_init: Any = ...,
    ) -> None: ...
    @overload
    def __call__(self, params: Mapping[str, Any], /, inputs: ArrayLike, categories: ArrayLike) -> NDArray[Any]: ...
    @overload
    def __call__(
        self, params: Mapping[str, Any], /, inputs: Mapping[str, ArrayLike], categories: ArrayLike
    ) -> dict[str, NDArray[Any]]: ...

class SphereActivation(LayerFunction):
    r"""Apply a function to features as functions on the sphere, at the points of a grid."""
    def __init__(
        self,
        activation: Any = ...,
        grid_precision: int | None = ...,
        normalization: Any = ...,
        cartesian_order: bool | None = ...,
    ) -> None: ...
    def __call__(self, params: Mapping[str, Any], /, inputs: ArrayLike) -> NDArray[Any]: ...

class SymmetricContraction(LayerFunction):
    r"""Sum all couplings of up to ``correlation`` copies of a feature, with weights for every category."""
    def __init__(
        self,
        num_embeddings: int,
        correlation: int = ...,
        max_degree: int | None = ...,
        include_pseudotensors: bool | None = ...,
        cartesian_order: bool | None = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        precision: Any = ...,
        weight_init: Any = ...,
        *,
        use_parity: bool | None = ...,
    ) -> None: ...
    @overload
    def __call__(self, params: Mapping[str, Any], /, inputs: ArrayLike, categories: ArrayLike) -> NDArray[Any]: ...
    @overload
    def __call__(
        self, params: Mapping[str, Any], /, inputs: Mapping[str, ArrayLike], categories: ArrayLike
    ) -> dict[str, NDArray[Any]]: ...

class Tensor(LayerFunction):
    r"""Couple two features, with a learned weight for every coupling path and feature."""
    def __init__(
        self,
        max_degree: int | None = ...,
        include_pseudotensors: bool = ...,
        cartesian_order: bool | None = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        precision: Any = ...,
        kernel_init: Any = ...,
        *,
        use_parity: bool | None = ...,
    ) -> None: ...
    @overload
    def __call__(self, params: Mapping[str, Any], /, inputs1: ArrayLike, inputs2: ArrayLike) -> NDArray[Any]: ...
    @overload
    def __call__(
        self, params: Mapping[str, Any], /, inputs1: Mapping[str, ArrayLike], inputs2: Mapping[str, ArrayLike]
    ) -> dict[str, NDArray[Any]]: ...

class TensorDense(LayerFunction):
    r"""Couple two linear maps of the same features."""
    def __init__(
        self,
        features: int | None = ...,
        max_degree: int | None = ...,
        use_bias: bool = ...,
        include_pseudotensors: bool = ...,
        cartesian_order: bool | None = ...,
        use_fused_tensor: bool | None = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        precision: Any = ...,
        dense_kernel_init: Any = ...,
        dense_bias_init: Any = ...,
        tensor_kernel_init: Any = ...,
        *,
        use_parity: bool | None = ...,
    ) -> None: ...
    def __call__(self, params: Mapping[str, Any], /, inputs: ArrayLike) -> NDArray[Any]: ...
