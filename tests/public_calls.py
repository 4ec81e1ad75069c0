"""One call, or a few, of every public function and constructor, with the kind of each argument."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from argument_kinds import (
    Kind,
    array,
    count,
    degree,
    features,
    flag,
    generator,
    indices,
    integer,
    mask,
    matrices,
    number,
    option,
    positive,
    setting,
    tree,
    vectors,
)

from e3any import Irreps, Layout, interop, matrix, models, nn, ops, parallel, plot, so3, testing
from e3any.nn import initializers
from e3any.testing import strategies


@dataclass(frozen=True)
class Call:
    """A function and the kinds of its arguments by name."""

    function: Callable[..., Any]
    kinds: dict[str, Kind]
    batch: dict[str, Any]
    documented: tuple[Any, ...]


CALLS: dict[str, Call] = {}


def case(
    name: str,
    function: Callable[..., Any],
    batch: dict[str, Any] | None = None,
    documented: tuple[Any, ...] = (),
    **kinds: Kind,
) -> None:
    """Add a call.

    ``batch`` are values whose leading axes do not fit those of the others, ``documented`` what documents the errors if
    not the function.
    """
    documented = documented or (function,)
    CALLS[name] = Call(function, {**_flags(function, documented[0]), **kinds}, batch or {}, documented)


def _flags(function: Callable[..., Any], documented: Callable[..., Any]) -> dict[str, Kind]:
    """Return the kinds of those arguments that are declared as True or False."""
    taken = inspect.signature(function).parameters.values()
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken)
    return {
        name: flag(parameter.default, optional="None" in str(parameter.annotation))
        for name, parameter in inspect.signature(documented).parameters.items()
        if str(parameter.annotation) in ("bool", "bool | None") and (takes_all or name in {p.name for p in taken})
    }


order, normalization = setting(), option("racah")

# -- so3
case(
    "so3.spherical_harmonics",
    so3.spherical_harmonics,
    r=vectors(4),
    max_degree=degree(),
    cartesian_order=order,
    normalization=normalization,
)
case("so3.solid_harmonics", so3.solid_harmonics, r=vectors(4), max_degree=degree(), cartesian_order=order)
case(
    "so3.clebsch_gordan",
    so3.clebsch_gordan,
    max_degree1=degree(),
    max_degree2=degree(),
    max_degree3=degree(),
    cartesian_order=order,
)
case(
    "so3.clebsch_gordan_for_degrees",
    so3.clebsch_gordan_for_degrees,
    degree1=degree(),
    degree2=degree(),
    degree3=degree(),
    cartesian_order=order,
)
case("so3.wigner_d", so3.wigner_d, rot=matrices(4), max_degree=degree(), cartesian_order=order)
case("so3.wigner_d_blocks", so3.wigner_d_blocks, rot=matrices(4), max_degree=degree(), cartesian_order=order)
case(
    "so3.wigner_d_from_quaternion",
    so3.wigner_d_from_quaternion,
    q=vectors(4, size=4),
    max_degree=degree(),
    cartesian_order=order,
)
case(
    "so3.wigner_d_from_euler",
    so3.wigner_d_from_euler,
    {"b": np.ones(5)},
    a=array(4),
    b=array(4),
    c=array(4),
    max_degree=degree(),
    cartesian_order=order,
)
case("so3.rotation", so3.rotation, {"angle": np.ones(5)}, axis=vectors(4), angle=array(4))
case("so3.rotation_euler", so3.rotation_euler, {"c": np.ones(5)}, a=array(4), b=array(4), c=array(4))
case("so3.alignment_rotation", so3.alignment_rotation, {"v": np.ones((5, 3))}, u=vectors(4), v=vectors(4))
case("so3.euler_angles_from_rotation", so3.euler_angles_from_rotation, rot=matrices(4))
case(
    "so3.random_rotation",
    so3.random_rotation,
    {"perturbation": np.ones(2)},
    key=generator(),
    perturbation=number(),
    num=degree(3),
    dtype=Kind(None, {"name": "float33", "number": 1.0}),
)
for function in (
    so3.axis_angle_from_quaternion,
    so3.euler_angles_from_quaternion,
    so3.invert_quaternion,
    so3.rotation_from_quaternion,
):
    case(f"so3.{function.__name__}", function, q=vectors(4, size=4))
for function in (so3.axis_angle_from_rotation, so3.quaternion_from_rotation):
    case(f"so3.{function.__name__}", function, rot=matrices(4))
case(
    "so3.compose_quaternions",
    so3.compose_quaternions,
    {"q": np.ones((5, 4))},
    p=vectors(4, size=4),
    q=vectors(4, size=4),
)
case(
    "so3.quaternion_from_axis_angle",
    so3.quaternion_from_axis_angle,
    {"angle": np.ones(5)},
    axis=vectors(4),
    angle=array(4),
)
case("so3.quaternion_from_euler", so3.quaternion_from_euler, {"a": np.ones(5)}, a=array(4), b=array(4), c=array(4))
for function in (so3.lebedev_quadrature, so3.delley_quadrature):
    case(f"so3.{function.__name__}, precision", function, precision=integer(5))
    case(f"so3.{function.__name__}, num", function, num=integer(50))
square = {"rank": (), "axis": (4, 3, 4)}
case(
    "so3.tensor_to_irreps",
    so3.tensor_to_irreps,
    x=array(4, 3, 3, **square),
    degree=degree(2),
    cartesian_order=order,
    normalization=normalization,
)
case(
    "so3.irreps_to_tensor",
    so3.irreps_to_tensor,
    x=array(4, 5, rank=(), axis=(4, 6)),
    degree=degree(2),
    cartesian_order=order,
    normalization=normalization,
)
case(
    "so3.is_traceless_symmetric",
    so3.is_traceless_symmetric,
    x=array(4, 3, 3, **square),
    degree=degree(2),
    rtol=number(1e-5, negative=-1.0),
    atol=number(1e-5, negative=-1.0),
)
rank = Kind(2, {"negative": -1, "odd": 3, "fraction": 2.5, "string": "2", "nothing": None})
case("so3.tensor_to_voigt", so3.tensor_to_voigt, x=array(4, 3, 3, **square), rank=rank, convention=option("stress"))
case(
    "so3.voigt_to_tensor",
    so3.voigt_to_tensor,
    x=array(4, 6, rank=(), axis=(4, 5)),
    rank=rank,
    convention=option("stress"),
)
symmetry = Kind(
    "ij=ji",
    {
        "unknown": "ij~ji",
        "letters": "ij=jk",
        "impossible": "ij=-ij",
        "empty": "",
        "number": 2,
        "nothing": None,
        "list": ["ij"],
    },
)
case("so3.CartesianTensor", so3.CartesianTensor, symmetry=symmetry)
STRESS = so3.CartesianTensor("ij=ji")
case("so3.CartesianTensor.to_irreps", STRESS.to_irreps, x=array(4, 3, 3, **square), cartesian_order=order)
case("so3.CartesianTensor.to_features", STRESS.to_features, x=array(4, 3, 3, **square), cartesian_order=order)
case(
    "so3.CartesianTensor.from_features",
    STRESS.from_features,
    features=features(4, parities=1, components=9, channels=1).but(**{"small": np.ones((4, 1, 4, 1))}),
    cartesian_order=order,
)
blocks = Kind(
    [np.ones((4, 1, 1)), np.ones((4, 5, 1))],
    {
        "one": [np.ones((4, 1, 1))],
        "shape": [np.ones((4, 1, 1)), np.ones((4, 4, 1))],
        "rank": [np.ones(1), np.ones(5)],
        "dtype": [np.ones((4, 1, 1), int), np.ones((4, 5, 1), int)],
        "batch": [np.ones((4, 1, 1)), np.ones((3, 5, 1))],
        "nothing": None,
    },
)
case("so3.CartesianTensor.from_irreps", STRESS.from_irreps, blocks=blocks, cartesian_order=order)

# -- ops
for function in (ops.norm, ops.normalize, ops.normalize_and_return_norm):
    case(
        f"ops.{function.__name__}",
        function,
        x=array(4, 3),
        axis=Kind(-1, {"large": 2, "fraction": 0.5, "string": "x", "twice": (0, 0)}),
    )
case("ops.inverse_softplus", ops.inverse_softplus, x=array(4))
num_segments = degree(4)
edge_values = array(6, 2, rank=(), axis=(5, 2))
dense_values = array(4, 3, 2, rank=(4,), axis=(4, 2, 2))
for function in (ops.indexed_softmax, ops.indexed_sum, ops.indexed_max, ops.indexed_min):
    if function is not ops.indexed_softmax:  # others take integers
        edge_values, dense_values = edge_values.without("dtype"), dense_values.without("dtype")
    case(
        f"ops.{function.__name__}, sparse",
        function,
        {"dst_idx": np.zeros((2, 3), int)},
        inputs=edge_values,
        dst_idx=indices(6, rank=(), axis=(5,)),
        num_segments=num_segments,
    )
    case(
        f"ops.{function.__name__}, dense",
        function,
        {"adj_idx": np.zeros((3, 4), int)},
        inputs=dense_values,
        adj_idx=indices(4, 3, rank=(3,), axis=(4, 2)),
        where=mask(4, 3),
    )
case(
    "ops.indexed_softmax, mask",
    ops.indexed_softmax,
    inputs=array(6, 2),
    multiplicative_mask=array(6, 2, rank=(6,), axis=(6, 3)).optional(),
    dst_idx=indices(6),
    num_segments=num_segments,
)
NODE_VALUES = array(3, 4, 2, rank=(3,)).of_any_dtype()
case(
    "ops.gather_src, sparse",
    ops.gather_src,
    {"inputs": np.ones((5, 4, 2))},
    inputs=NODE_VALUES,
    src_idx=indices(3, 6, rank=()),
)
case(
    "ops.gather_src, dense",
    ops.gather_src,
    {"inputs": np.ones((5, 4, 2))},
    inputs=NODE_VALUES,
    adj_idx=indices(3, 4, 3, rank=(3,)),
)
case(
    "ops.gather_dst, sparse",
    ops.gather_dst,
    {"inputs": np.ones((5, 4, 2))},
    inputs=NODE_VALUES,
    dst_idx=indices(3, 6, rank=()),
)
case(
    "ops.gather_dst, dense",
    ops.gather_dst,
    {"inputs": np.ones((5, 4, 2))},
    inputs=NODE_VALUES,
    adj_idx=indices(3, 4, 3, rank=(3,)),
)
case(
    "ops.index_kind, sparse",
    ops.index_kind,
    dst_idx=indices(6, rank=(), axis=(5,)).optional(),
    src_idx=indices(6, rank=()).optional(),
)
case("ops.index_kind, dense", ops.index_kind, adj_idx=indices(4, 3, rank=(3,)))
for function in (ops.dense_pairwise_indices, ops.sparse_pairwise_indices):
    case(f"ops.{function.__name__}", function, num=count(3))
case(
    "ops.dense_to_sparse_indices",
    ops.dense_to_sparse_indices,
    adj_idx=indices(4, 3, rank=(3,)),
    pad_idx=degree(4).optional(),
)
case(
    "ops.sparse_to_dense_indices",
    ops.sparse_to_dense_indices,
    dst_idx=indices(6, rank=(), axis=(5,)),
    src_idx=indices(6, rank=(), axis=(5,)),
    pad_idx=degree(4).optional(),
)
growth = number(1.5, one=1.0, negative=-2.0, infinite=float("inf"))
case("ops.bucket_size", ops.bucket_size, num=degree(9), growth=growth, multiple=count())
case(
    "ops.pad_rows",
    ops.pad_rows,
    x=array(4, 2, rank=()).of_any_dtype(),
    size=degree(6, small=3),
    axis=Kind(0, {"large": 2, "fraction": 0.5, "string": "x", "nothing": None}),
    value=number(0).without("nan"),
)
case(
    "ops.pad_sparse_indices",
    ops.pad_sparse_indices,
    dst_idx=indices(6, rank=(), axis=(5,)),
    src_idx=indices(6, rank=(), axis=(5,)),
    num_nodes=degree(4),
    num_edges=degree(8, small=5).optional(),
    growth=growth,
    multiple=count(),
)
case(
    "ops.pad_dense_indices",
    ops.pad_dense_indices,
    adj_idx=indices(4, 3, rank=(3,)),
    num_nodes=degree(6, small=3).optional(),
    width=degree(4, small=2).optional(),
    growth=growth,
    multiple=count(),
)
GRAPH = {"dst_idx": np.zeros(6, int), "src_idx": np.zeros(6, int), "x": np.ones((4, 2)), "b": np.ones((6, 3))}
graphs = Kind(
    [GRAPH, GRAPH],
    {
        "none": [],
        "nothing": None,
        "no list": [{"x": np.ones((4, 2))}],
        "dtype": [{**GRAPH, "dst_idx": np.ones(6)}],
        "axis": [{**GRAPH, "src_idx": np.zeros(5, int)}],
        "edges": [{**GRAPH, "b": np.ones((5, 3))}],
        "rank": [{**GRAPH, "x": np.ones(())}],
        "batch": [GRAPH, {**GRAPH, "x": np.ones((4, 3))}],
        "string": ["x"],
    },
)
names = {"missing": ["y"], "string": "y", "nothing": None}
case(
    "ops.pad_graphs",
    ops.pad_graphs,
    graphs=graphs,
    nodes=Kind(["x"], {**names, "none": []}),
    edges=Kind(["b"], names),
    num_nodes=degree(6, small=3).optional(),
    num_edges=degree(8, small=5).optional(),
    growth=growth,
    multiple=count(),
)
case(
    "ops.evaluate_derivatives",
    ops.evaluate_derivatives,
    f=Kind(lambda x: x * x, {"nothing": None, "number": 1.0}),
    x=array(4),
    max_order=degree(),
)

CELL = {"cell": matrices(), "strain": matrices().optional()}
SHIFTS = array(6, 3, dtype=int, rank=(6,), axis=(6, 2)).without("dtype")
case(
    "ops.displacements, sparse",
    ops.displacements,
    {"positions": np.ones((2, 4, 3))},
    positions=vectors(4),
    **CELL,
    shifts=SHIFTS,
    dst_idx=indices(6, rank=(), axis=(5,)),
    src_idx=indices(6, rank=(), axis=(5,)),
)
case(
    "ops.displacements, dense",
    ops.displacements,
    {"positions": np.ones((2, 4, 3))},
    positions=vectors(4),
    **CELL,
    shifts=array(4, 3, 3, dtype=int, rank=(4, 3), axis=(4, 3, 2)).without("dtype"),
    adj_idx=indices(4, 3, rank=(3,), axis=(4, 2)),
)
# -- nn: functions
FEATURES = features(4)
for function in (
    nn.bent_identity,
    nn.gelu,
    nn.hard_silu,
    nn.hard_tanh,
    nn.mish,
    nn.relu,
    nn.relu6,
    nn.selu,
    nn.serf,
    nn.shifted_softplus,
    nn.silu,
    nn.soft_sign,
):
    case(f"nn.{function.__name__}", function, x=FEATURES)
case("nn.leaky_relu", nn.leaky_relu, {"negative_slope": np.ones((3, 1, 1, 1))}, x=FEATURES, negative_slope=number())
case("nn.elu", nn.elu, {"alpha": np.ones((3, 1, 1, 1))}, x=FEATURES, alpha=number())
case("nn.celu", nn.celu, {"alpha": np.ones((3, 1, 1, 1))}, x=FEATURES, alpha=positive())
case("nn.smooth_cutoff", nn.smooth_cutoff, {"cutoff": np.ones(3)}, x=array(4), cutoff=positive())
case("nn.cosine_cutoff", nn.cosine_cutoff, {"cutoff": np.ones(3)}, x=array(4), cutoff=positive())
case(
    "nn.polynomial_cutoff",
    nn.polynomial_cutoff,
    {"cutoff": np.ones(3)},
    x=array(4),
    cutoff=positive(),
    order=count(),
)
case("nn.smooth_damping", nn.smooth_damping, {"gamma": np.ones(3)}, x=array(4), gamma=positive())
case(
    "nn.smooth_switch",
    nn.smooth_switch,
    {"x1": np.ones(3)},
    x=array(4),
    x0=number(0.0, large=1.0),
    x1=number(1.0, small=0.0),
)
for function in (
    nn.basic_bernstein,
    nn.basic_chebyshev,
    nn.basic_fourier,
    nn.basic_gaussian,
    nn.sinc,
    nn.rectangular_window,
    nn.triangular_window,
    nn.smooth_window,
):
    case(f"nn.{function.__name__}", function, {"limit": np.ones(3)}, x=array(4), num=count(), limit=positive())
case(
    "nn.bessel",
    nn.bessel,
    {"limit": np.ones(3)},
    x=array(4),
    num=count(2),
    limit=positive(),
    frequencies=array(2, rank=(2, 1), axis=(3,)).optional(),
)
case(
    "nn.xplor_cutoff",
    nn.xplor_cutoff,
    {"cutoff": np.ones(3)},
    x=array(4),
    cutoff=positive(),
    onset=Kind(0.5, {"large": 1.5, "negative": -0.5, "string": "x"}),
)
case(
    "nn.zbl_repulsion",
    nn.zbl_repulsion,
    {"numbers2": np.ones(3, int)},
    distances=array(4),
    numbers1=indices(4),
    numbers2=indices(4),
    coulomb=positive(),
    length=positive(),
)
for function in (nn.reciprocal_bernstein, nn.reciprocal_chebyshev, nn.reciprocal_fourier, nn.reciprocal_gaussian):
    case(f"nn.{function.__name__}", function, x=array(4), num=count(), kind=option("shifted"))
for function in (nn.exponential_bernstein, nn.exponential_chebyshev, nn.exponential_fourier, nn.exponential_gaussian):
    case(f"nn.{function.__name__}", function, {"gamma": np.ones(3)}, x=array(4), num=count(), gamma=number())
case("nn.reciprocal_mapping", nn.reciprocal_mapping, x=array(4), kind=option("shifted"))
case("nn.exponential_mapping", nn.exponential_mapping, {"gamma": np.ones(3)}, x=array(4), gamma=number())
for function in (nn.even_degree_mask, nn.odd_degree_mask):
    case(f"nn.{function.__name__}", function, max_degree=degree())
case("nn.reflect", nn.reflect, x=FEATURES)
case(
    "nn.rotate",
    nn.rotate,
    {"wigner_d_matrix": np.ones((3, 4, 4))},
    x=FEATURES,
    wigner_d_matrix=matrices(rows=4, columns=4),
)
case("nn.to_irreps", nn.to_irreps, x=FEATURES, use_parity=setting())
case(
    "nn.from_irreps",
    lambda scalars, vectors: nn.from_irreps({"0+": scalars, "1-": vectors}),
    {},
    (nn.from_irreps,),
    scalars=array(3, 1, 2, rank=(1,), axis=(3, 2, 2), channels=(3, 1, 3)),
    vectors=array(3, 3, 2, rank=(3,), axis=(3, 4, 2), channels=(3, 3, 4)),
)
case(
    "nn.change_max_degree_or_type",
    nn.change_max_degree_or_type,
    x=FEATURES.of_any_dtype(),
    max_degree=degree().optional(),
)
case(
    "nn.add",
    lambda x, y: nn.add(x, y),
    {"y": np.ones((3, 2, 4, 2))},
    (nn.add,),
    x=FEATURES,
    y=FEATURES.but(channels=np.ones((4, 2, 4, 3))),
)
function_of_features = Kind(nn.silu, {"nothing": None, "string": "silu"})
case(
    "nn.gate",
    nn.gate,
    {"gates": np.ones((3, 1, 1, 2))},
    x=FEATURES,
    gates=array(4, 1, 1, 6, rank=(4, 6), axis=(4, 1, 1, 4), components=(4, 1, 4, 6)),
    activation=function_of_features,
    gate_activation=function_of_features.optional(),
)
case("nn.edge_frame", nn.edge_frame, vectors=vectors(4), max_degree=degree(), cartesian_order=order)
BLOCKS = tuple(np.ones((4, n, n)) for n in (1, 3))
for function in (nn.to_frame, nn.from_frame):
    case(
        f"nn.{function.__name__}",
        function,
        x=FEATURES,
        frame=Kind(
            BLOCKS,
            {
                "nothing": None,
                "array": BLOCKS[1],
                "too few": BLOCKS[:1],
                "dtype": (BLOCKS[0], BLOCKS[1].astype(int)),
                "string": (BLOCKS[0], "x"),
                "rows": (BLOCKS[0], np.ones((4, 2, 3))),
                "batch": (BLOCKS[0], np.ones((3, 3, 3))),
            },
        ),
    )
case(
    "nn.norm_activation",
    nn.norm_activation,
    x=FEATURES,
    activation=function_of_features,
    bias=array(2, 2, 2, rank=(2,), axis=(2, 4, 2)).optional(),
)
case(
    "nn.pool",
    nn.pool,
    {"batch_segments": np.zeros(3, int)},
    x=features(4).but(axis=np.ones((2, 4, 2, 4, 2))),
    batch_segments=indices(4, rank=(), axis=(5,)),
    num_graphs=degree(2),
    reduction=option("mean"),
)
case(
    "nn.pool, largest",
    nn.pool,
    x=features(4, parities=1, components=1).but(degree=np.ones((4, 1, 4, 2)), parity=np.ones((4, 2, 1, 2))),
    batch_segments=indices(4, rank=(), axis=(5,)),
    num_graphs=degree(2),
    reduction=option("max"),
)
case(
    "nn.basis",
    nn.basis,
    r=vectors(4),
    max_degree=degree(),
    num=count(),
    radial_fn=Kind(nn.sinc, {"nothing": None, "string": "sinc"}),
    cutoff_fn=Kind(nn.smooth_cutoff, {"string": "smooth", "number": 1.0}),
    damping_fn=Kind(nn.smooth_damping, {"string": "smooth"}),
    angular_fn=Kind(None, {"string": "racah"}),
    cartesian_order=order,
)
case(
    "nn.FactoredBasis.array",
    lambda radial, angular: nn.FactoredBasis(radial, angular).array(),
    {"angular": np.ones((3, 4))},
    (nn.FactoredBasis.array,),
    radial=array(4, 1, 2, rank=(2,), axis=(4, 3, 2)),
    angular=array(4, 4, rank=(), axis=(4, 5)),
)

# -- nn: layers
OPTIONS = {
    "max_degree": degree().optional(),
    "cartesian_order": order,
    "use_parity": setting(),
    "dtype": Kind(None, {"unknown": "float33", "integers": "int32", "number": 1.0}),
    "param_dtype": Kind("float32", {"unknown": "float33", "integers": "int32", "number": 1.0}),
}
TYPES = {name: OPTIONS[name] for name in ("dtype", "param_dtype")}
FUSED = {"use_fused_tensor": setting()}
case("nn.Dense", nn.Dense, features=degree(), **TYPES)
case("nn.Embed", nn.Embed, num_embeddings=degree(), features=degree(), **TYPES)
case("nn.ExponentialBasis", nn.ExponentialBasis, initial_gamma=positive(), param_dtype=TYPES["param_dtype"])
case("nn.BesselBasis", nn.BesselBasis, limit=positive(), param_dtype=TYPES["param_dtype"])
case("nn.SpeciesDense", nn.SpeciesDense, num_embeddings=degree(), features=degree(), **TYPES)
case(
    "nn.ScaleShift",
    nn.ScaleShift,
    num_embeddings=degree(),
    scale=number().without("list"),
    shift=number().without("list"),
    **TYPES,
)
case("nn.Tensor", nn.Tensor, **OPTIONS)
for layer in (nn.LayerNorm, nn.RMSNorm, nn.JointRMSNorm):
    case(f"nn.{layer.__name__}", layer, epsilon=positive(), **TYPES)
case("nn.BatchNorm", nn.BatchNorm, epsilon=positive(), momentum=number(0.9, large=1.1, negative=-0.1), **TYPES)
case("nn.Dropout", nn.Dropout, rate=number(0.5, large=1.1, negative=-0.1))
case(
    "nn.Gate",
    nn.Gate,
    activation=function_of_features,
    gate_activation=function_of_features.optional(),
    **TYPES,
)
case("nn.NormActivation", nn.NormActivation, activation=function_of_features, **TYPES)
case(
    "nn.SO2Dense",
    nn.SO2Dense,
    features=degree(),
    max_order=degree().optional(),
    **OPTIONS,
)
case(
    "nn.SphereActivation",
    nn.SphereActivation,
    activation=function_of_features,
    grid_precision=degree().optional(),
    normalization=normalization,
    cartesian_order=order,
)
part = Kind(nn.Dense(2), {"nothing": None, "class": nn.Dense, "function": nn.silu})
case("nn.Residual", nn.Residual, layer=part, param_dtype=TYPES["param_dtype"])
case("nn.FusedTensor", nn.FusedTensor, **OPTIONS)
case("nn.TensorDense", nn.TensorDense, features=degree().optional(), **OPTIONS, **FUSED)
case("nn.MessagePass", nn.MessagePass, **OPTIONS, **FUSED)
case(
    "nn.PathMessagePass",
    nn.PathMessagePass,
    hidden=Kind((4,), {"number": 4, "negative": (-1,), "fraction": (1.5,)}),
    activation=function_of_features,
    features=degree().optional(),
    **OPTIONS,
)
case(
    "nn.SymmetricContraction",
    nn.SymmetricContraction,
    num_embeddings=degree(),
    correlation=count(2),
    **OPTIONS,
)
HEADS = {"num_heads": count(2, divides=3), "qkv_features": degree(4).optional(), "out_features": degree().optional()}
for layer in (nn.SelfAttention, nn.MultiHeadAttention):
    case(f"nn.{layer.__name__}", layer, **OPTIONS, **FUSED, **HEADS)


def layer_case(name: str, layer: nn.Layer, batch: dict[str, Any], **kinds: Kind) -> None:
    """Add the application of a layer to parameters and inputs."""
    documented = (type(layer).forward, nn.Layer.__call__)
    case(name, lambda p, **inputs: layer(p, **inputs), batch, documented, p=tree(layer, **kinds), **kinds)


layer_case("nn.Dense, applied", nn.Dense(2), {}, inputs=FEATURES)
for layer in (
    nn.LayerNorm(),
    nn.RMSNorm(),
    nn.JointRMSNorm(),
    nn.Gate(),
    nn.NormActivation(),
    nn.Residual(nn.Dense(3)),
):
    layer_case(f"nn.{type(layer).__name__}, applied", layer, {}, inputs=FEATURES)
layer_case(
    "nn.SO2Dense, applied",
    nn.SO2Dense(3),
    {"scale": np.ones((3, 6, 2))},
    inputs=FEATURES,
    scale=array(4, 6, 2, rank=(2,), axis=(4, 5, 2), channels=(4, 6, 3)).optional(),
)
case(
    "nn.SphereActivation, applied",
    lambda p, **inputs: nn.SphereActivation()(p, **inputs),
    {},
    (nn.SphereActivation.forward, nn.Layer.__call__),
    p=Kind({}, {"list": [1.0], "nothing": None}),
    inputs=FEATURES,
)
layer_case(
    "nn.BatchNorm, applied",
    nn.BatchNorm(),
    {"where": np.ones(3, bool)},
    inputs=FEATURES,
    use_running_average=flag(),
    where=mask(4).optional(),
)
case(
    "nn.Dropout, applied",
    lambda p, **inputs: nn.Dropout(0.5)(p, **inputs),
    {},
    (nn.Dropout.forward, nn.Layer.__call__),
    p=Kind({}, {"list": [1.0], "nothing": None}),
    inputs=FEATURES,
    deterministic=flag(),
)
layer_case(
    "nn.SymmetricContraction, applied",
    nn.SymmetricContraction(3, 2),
    {"categories": np.zeros((3, 2), int)},
    inputs=FEATURES,
    categories=indices(4, rank=(4, 1), axis=(5,)),
)
layer_case(
    "nn.SpeciesDense, applied",
    nn.SpeciesDense(3, 2),
    {"categories": np.zeros((3, 2), int)},
    inputs=FEATURES,
    categories=indices(4, rank=(4, 1), axis=(5,)),
)
layer_case(
    "nn.ScaleShift, applied",
    nn.ScaleShift(3),
    {"categories": np.zeros(3, int)},
    inputs=array(4),
    categories=indices(4, rank=(4, 1), axis=(5,)),
)
layer_case("nn.Embed, applied", nn.Embed(5, 2), {}, inputs=indices(4))
layer_case(
    "nn.Tensor, applied",
    nn.Tensor(),
    {"inputs2": np.ones((3, 2, 4, 2))},
    inputs1=FEATURES,
    inputs2=FEATURES.but(channels=np.ones((4, 2, 4, 3))),
)
layer_case(
    "nn.FusedTensor, applied",
    nn.FusedTensor(),
    {"inputs2": np.ones((3, 2, 4, 2))},
    inputs1=FEATURES,
    inputs2=FEATURES.but(channels=np.ones((4, 2, 4, 3))),
)
layer_case("nn.TensorDense, applied", nn.TensorDense(2), {}, inputs=FEATURES)
case(
    "nn.ExponentialBasis, applied",
    lambda p, r, **options: nn.ExponentialBasis()(p, r, **options),
    {},
    (nn.basis, nn.Layer.__call__),
    p=Kind(
        {"gamma": np.ones(())},
        {"missing": {}, "shape": {"gamma": np.ones(2)}, "dtype": {"gamma": np.ones((), int)}, "nothing": None},
    ),
    r=vectors(4),
    max_degree=degree(),
    num=count(),
    radial_fn=Kind(nn.exponential_bernstein, {"nothing": None, "string": "x"}),
)
case(
    "nn.BesselBasis, applied",
    lambda p, r, **options: nn.BesselBasis()(p, r, **options),
    {},
    (nn.basis, nn.Layer.__call__),
    p=Kind(
        {"frequencies": np.ones(1)},
        {
            "missing": {},
            "shape": {"frequencies": np.ones(2)},
            "dtype": {"frequencies": np.ones(1, int)},
            "nothing": None,
        },
    ),
    r=vectors(4),
    max_degree=degree(),
    num=count(1),
)
BASIS = features(6, parities=1).but(parities=np.ones((6, 2, 4, 2)), axis=np.ones((5, 1, 4, 2)))
FACTORED = Kind(
    nn.FactoredBasis(np.ones((6, 1, 2)), np.ones((6, 4))),
    {
        "axis": nn.FactoredBasis(np.ones((5, 1, 2)), np.ones((5, 4))),
        "parts": nn.FactoredBasis(np.ones((6, 1, 2)), np.ones((5, 4))),
        "dtype": nn.FactoredBasis(np.ones((6, 1, 2), int), np.ones((6, 4), int)),
        "rank": nn.FactoredBasis(np.ones(2), np.ones(4)),
        "nothing": None,
    },
)
DENSE_BASIS = Kind(
    nn.FactoredBasis(np.ones((4, 3, 1, 2)), np.ones((4, 3, 4))),
    {"axis": nn.FactoredBasis(np.ones((4, 2, 1, 2)), np.ones((4, 2, 4)))},
)
SPARSE = {
    "dst_idx": indices(6, rank=(), axis=(5,)),
    "src_idx": indices(6, rank=(), axis=(5,)),
    "num_segments": num_segments.optional(),
}
DENSE = {"adj_idx": indices(4, 3, rank=(3,), axis=(4, 2)), "where": mask(4, 3).optional()}
NODES = FEATURES.but(rank=np.ones((2, 4, 2)))
edge_weights = array(6, 1, 1, 1, axis=(5, 1, 1, 1)).optional()
layer_case(
    "nn.MessagePass, sparse",
    nn.MessagePass(),
    {"inputs": np.ones((3, 4, 2, 4, 2))},
    inputs=NODES,
    basis=BASIS,
    weights=edge_weights,
    **SPARSE,
)
layer_case(
    "nn.MessagePass, factored",
    nn.MessagePass(),
    {"inputs": np.ones((3, 4, 2, 4, 2))},
    inputs=NODES,
    basis=FACTORED,
    weights=edge_weights,
    **SPARSE,
)
layer_case(
    "nn.MessagePass, dense",
    nn.MessagePass(),
    {"inputs": np.ones((3, 4, 2, 4, 2))},
    inputs=NODES,
    basis=DENSE_BASIS,
    **DENSE,
)
layer_case(
    "nn.PathMessagePass, sparse",
    nn.PathMessagePass(hidden=(3,)),
    {"inputs": np.ones((3, 4, 2, 4, 2))},
    inputs=NODES,
    basis=FACTORED,
    **SPARSE,
)
cutoff = array(6, rank=(), axis=(5,)).optional()
layer_case(
    "nn.SelfAttention, sparse",
    nn.SelfAttention(num_heads=2),
    {"inputs": np.ones((3, 4, 2, 4, 2))},
    inputs=NODES,
    basis=FACTORED,
    cutoff_value=cutoff,
    **SPARSE,
)
layer_case(
    "nn.MultiHeadAttention, sparse",
    nn.MultiHeadAttention(),
    {"inputs_kv": np.ones((3, 4, 2, 4, 2))},
    inputs_q=NODES,
    inputs_kv=NODES,
    basis=FACTORED,
    cutoff_value=cutoff,
    **SPARSE,
)
layer_case(
    "nn.MultiHeadAttention, dense",
    nn.MultiHeadAttention(),
    {"inputs_q": np.ones((3, 4, 2, 4, 2))},
    inputs_q=NODES,
    inputs_kv=NODES,
    basis=DENSE_BASIS,
    **DENSE,
)

# -- matrix
degrees = Kind([0, 1], {"negative": [-1], "fraction": [0.5], "string": ["1"], "number": 1, "nothing": None})
case("matrix.make_dict_irreps_mult", matrix.make_dict_irreps_mult, degrees=degrees, max_degree=degree().optional())
case("matrix.compute_side_lengths", matrix.compute_side_lengths, degrees=degrees)
dict_irreps = Kind(
    {0: 2, 1: 3}, {"none": {}, "negative": {-1: 1}, "fraction": {0: 0.5}, "string": {"0": 1}, "nothing": None}
)
case(
    "matrix.init_matrix_irreps_weights",
    matrix.init_matrix_irreps_weights,
    key=generator(),
    n_shells=degree(2),
    dict_irreps=dict_irreps,
    mult=degree(1),
    stddev=number(negative=-1.0),
    dtype=Kind(None, {"unknown": "float33"}),
)
irreps = Kind(
    [np.ones((4, 1, 2)), np.ones((4, 3, 3))],
    {
        "none": [],
        "rank": [np.ones(1), np.ones(3)],
        "axis": [np.ones((4, 2, 2)), np.ones((4, 3, 3))],
        "batch": [np.ones((4, 1, 2)), np.ones((5, 3, 3))],
        "few": [np.ones((4, 1, 1)), np.ones((4, 3, 3))],
        "dtype": [np.ones((4, 1, 2), int), np.ones((4, 3, 3), int)],
        "nothing": None,
    },
)
case(
    "matrix.make_square_matrix",
    matrix.make_square_matrix,
    irreps=irreps,
    degrees=degrees.but(large=[0, 2]),
    mult=degree(1),
    max_degree=degree(1),
    cartesian_order=order,
)
case(
    "matrix.make_rectangular_matrix",
    matrix.make_rectangular_matrix,
    irreps=irreps.but(few=[np.ones((4, 1, 0)), np.ones((4, 3, 0))]),
    idx=Kind([0, 0], {"short": [0], "used": [0, 3], "negative": [0, -1], "nothing": None}),
    a=Kind(1, {"even": 2, "negative": -1, "fraction": 1.5, "string": "1"}),
    b=Kind(3, {"even": 2, "negative": -1, "fraction": 1.5, "string": "1"}),
    cg=Kind(np.ones((4, 4, 4)), {"rank": np.ones((4, 4)), "axis": np.ones((1, 1, 1)), "nothing": None}),
    mult=degree(1),
)
weights = Kind(
    [np.ones((2, 3)), np.ones((2, 4))],
    {
        "rank": [np.ones(2)],
        "axis": [np.ones((3, 3))],
        "many": [np.ones((2, 3))] * 3,
        "dtype": [np.ones((2, 3), int)] * 2,
        "nothing": None,
        "none": [],
    },
)
case("matrix.combine_irreps", matrix.combine_irreps, inputs=array(4, 4, 2, rank=(2,), axis=(4, 4, 3)), weights=weights)
case("matrix.get_traces", matrix.get_traces, mat=array(5, 4, 4, rank=(4,), axis=(5, 4, 3)), ls=degrees, mult=degree(1))

# -- initializers, layouts, tests
scale = number(negative=-1.0)
mode, distribution = option("fan_in"), option("normal")
case("initializers.VarianceScaling", initializers.VarianceScaling, scale=scale, mode=mode, distribution=distribution)
case(
    "initializers.TensorVarianceScaling",
    initializers.TensorVarianceScaling,
    scale=scale,
    mode=mode,
    distribution=distribution,
)
case(
    "initializers.tensor_variance_scaling",
    initializers.tensor_variance_scaling,
    scale=scale,
    mode=mode,
    distribution=distribution,
)
case("initializers.MaskedScaling", initializers.MaskedScaling, scale=scale, distribution=distribution)
case("initializers.Constant", initializers.Constant, value=number())
for function in (initializers.fused_tensor_normal, initializers.fused_tensor_uniform):
    case(f"initializers.{function.__name__}", function, scale=scale)
shape = Kind((2, 3), {"negative": (2, -3), "fraction": (2, 1.5), "string": ("2", 3), "nothing": None})
kernel = Kind((1, 2, 1, 2, 1, 2, 3), {"rank": (2, 3), "negative": (1, 2, 1, 2, 1, 2, -3), "nothing": None})
DRAWN = (initializers.Initializer.__call__,)
drawn = {"key": generator(), "dtype": Kind(None, {"unknown": "float33"})}
case(
    "initializers.VarianceScaling, drawn",
    initializers.VarianceScaling(),
    {},
    DRAWN,
    shape=shape.but(rank=(3,)),
    **drawn,
)
case(
    "initializers.TensorVarianceScaling, drawn",
    initializers.TensorVarianceScaling(),
    {},
    DRAWN,
    shape=kernel,
    **drawn,
)
case(
    "initializers.MaskedScaling, drawn",
    initializers.MaskedScaling(np.ones((2, 1)), np.ones((2, 1), bool)),
    {},
    DRAWN,
    shape=shape.but(batch=(3, 3)),
    **drawn,
)
case("initializers.Zeros, drawn", initializers.Zeros(), {}, DRAWN, shape=shape, **drawn)
case(
    "initializers.Constant, drawn",
    initializers.Constant(1.0),
    {},
    DRAWN,
    shape=shape,
    **drawn,
)
case("Layout", Layout, max_degree=degree(), features=degree())
case("Layout.of", Layout.of, x=FEATURES.of_any_dtype())
kinds = Kind(["features"], {"unknown": ["other"], "many": ["features"] * 2, "none": []})
for function in (testing.assert_equivariant, testing.equivariance_error):
    case(
        f"testing.{function.__name__}",
        lambda x, function=function, **options: function(lambda y: y, x, **options),
        {},
        (function,),
        x=FEATURES,
        kinds=kinds,
        output=option("features"),
        cartesian_order=order,
    )

# -- interop
components = Kind(np.ones((3, 4, 2)), {"square": np.ones((3, 5, 2)), "dtype": np.ones((3, 4, 2), int), "nothing": None})
of_a_shape = {
    "y": vectors(4, size=9),
    "d": array(9, 9, rank=(9,), squares=(9, 4), square=(5, 5)),
    "cg": array(4, 4, 4, rank=(4, 4), square=(4, 5, 4)),
}
peer = option("e3nn")
case("interop.activation_scale", interop.activation_scale, activation=option("silu"), source=option("e3nn"))
case("interop.coupling_sign", interop.coupling_sign, l1=degree(), l2=degree(), l3=degree(), version=option("e3nn"))
case(
    "interop.contraction_weights",
    interop.contraction_weights,
    weights=array(2, 1, 3, rank=(2, 1), axis=(2, 4, 3)),
    couplings=Kind(np.eye(4)[:, :1], {"rank": np.ones(4), "square": np.ones((5, 1)), "dtype": np.ones((4, 1), int)}),
    degree=degree(0),
    convention=option("e3nn"),
)
case("interop.change_of_basis", interop.change_of_basis, convention=peer, max_degree=degree())
for function in (interop.to_components, interop.from_components):
    axis = integer(-2).but(range=3)
    case(f"interop.{function.__name__}", function, x=components, convention=peer, axis=axis)
for name, argument in (("spherical_harmonics", "y"), ("wigner_d", "d"), ("clebsch_gordan", "cg")):
    more = {"normalization": normalization} if argument == "y" else {}
    for function in (getattr(interop, f"to_{name}"), getattr(interop, f"from_{name}")):
        case(f"interop.{function.__name__}", function, **{argument: of_a_shape[argument]}, convention=peer, **more)
irreps = Kind([(0, 1), (1, -1)], {"other": [(1, 1)], "twice": [(0, 1)] * 2, "number": 1, "empty": [], "list": [[0, 1]]})
layout = Kind(Layout(1, 2), {"shape": (1, 4, 2), "nothing": None})
flat = array(3, 8, axis=(3, 7), rank=())
case("interop.to_features", interop.to_features, x=features(3, parities=1), convention=peer, irreps=irreps)
case("interop.from_features", interop.from_features, x=flat, convention=peer, irreps=irreps, layout=layout)
linear = {"irreps": irreps.but(part=[(0, 1)]), "layout": layout, "gradient_normalization": option("path")}
case("interop.dense_parameters", interop.dense_parameters, weights=array(12, axis=(11,)), features=degree(3), **linear)
case(
    "interop.linear_weights",
    interop.linear_weights,
    params=tree(nn.Dense(3, use_bias=False), features(parities=1)),
    **linear,
)
product = {
    "paths": Kind(
        [((0, 1), (1, -1), (1, -1))],
        {
            "forbidden": [((0, 1), (1, -1), (0, 1))],
            "other": [((0, 1), (1, 1), (1, 1))],
            "number": 1,
            "irreps": [(0, 1)],
        },
    ),
    "layouts": Kind((Layout(1, 2),) * 3, {"two": (Layout(1, 2),) * 2, "shapes": ((1, 4, 2),) * 3, "nothing": None}),
}
case("interop.tensor_parameters", interop.tensor_parameters, weights=array(2, axis=(3,)), **product)
case(
    "interop.tensor_weights",
    interop.tensor_weights,
    params=tree(nn.Tensor(1, include_pseudotensors=False), *[features(parities=1)] * 2),
    **product,
)
blocks = Kind("2x0+ + 1x1-", {"number": 1, "unknown": "2y", "empty": "", "others": "2x2-", "pairs": [("0+", 2, 1)]})
scales = Kind({"0+": 2.0}, {"list": [1.0], "string": {"0+": "1"}, "nan": {"0+": np.nan}, "name": {"z": 1.0}})
case(
    "interop.linear_parameters",
    interop.linear_parameters,
    weights=array(5, rank=(), axis=(4,)),
    inputs=blocks.but(nothing=None),
    outputs=blocks.but(nothing=None),
    biases=array(2, rank=(), axis=(3,)).optional(),
    input_scales=scales,
    output_scales=scales,
    path_normalization=option("element"),
    gradient_normalization=option("path"),
)
case(
    "interop.species_parameters",
    interop.species_parameters,
    weights=array(15, rank=(), axis=(14,)),
    inputs=blocks.but(nothing=None),
    outputs=blocks.but(nothing=None),
    num_species=degree(3),
    input_scales=scales,
    output_scales=scales,
)
ragged = Kind(Irreps("2x0+ + 1x1-"), {"string": "2x0+", "nothing": None, "mapping": {"0+": 2}})
case(
    "interop.gate_scales",
    interop.gate_scales,
    irreps=ragged,
    activation=option("silu"),
    gate_activation=option("silu"),
    source=option("e3nn"),
)
case(
    "interop.message_paths",
    interop.message_paths,
    inputs=ragged,
    max_filter=degree(),
    outputs=ragged.but(others=Irreps("2x0")),
)
chain = Kind(
    [np.ones((2, 3)), np.ones((3, 6))],
    {
        "order": [np.ones((3, 6)), np.ones((2, 3))],
        "rank": [np.ones(3)],
        "dtype": [np.ones((2, 3), int)],
        "empty": [],
        "number": 1.0,
        "nothing": None,
    },
)
case(
    "interop.message_parameters",
    interop.message_parameters,
    kernels=chain.but(columns=[np.ones((3, 5))]),
    mix=Kind(
        {"0+": {"kernel": np.ones((3, 1))}, "1-": {"kernel": np.ones((3, 1))}},
        {"rows": {"0+": {"kernel": np.ones((2, 1))}}, "name": {"x": {}}, "missing": {"0+": {}}, "nothing": None},
    ),
    inputs=ragged,
    max_filter=degree(),
    paths=Kind(None, {"number": 1, "few": [("0+", "0+", "0+")], "others": ["0"]}),
    normalization=option("4pi"),
    irrep_normalization=option("component"),
    scale=number(),
)
case(
    "interop.network_kernels",
    interop.network_kernels,
    weights=chain,
    activation=option("silu").optional(),
    source=option("e3nn"),
    input_scale=number(),
    output_scale=number(),
)
case("interop.bessel_parameters", interop.bessel_parameters, frequencies=array(2, rank=(2, 1)), limit=positive())

# -- models
MODEL = {
    "elements": Kind((1, 8), {"number": 1, "twice": (1, 1), "zero": (0,), "empty": (), "fraction": (1.5,)}),
    "num_interactions": degree(),
    "max_degree": degree(),
    "num_radial": count(),
    "hidden": Kind((4,), {"number": 4, "negative": (-1,), "fraction": (1.5,)}),
    "cutoff": positive(),
    "num_neighbours": positive(),
    "scale": number().without("list"),
    "shift": number().without("list"),
    "param_dtype": TYPES["param_dtype"],
}
NAMED = Kind("2x0 + 1x1", {"number": 1, "unknown": "2y", "scalars": "2x1", "empty": ""})
case(
    "models.NequIP",
    models.NequIP,
    **MODEL,
    irreps=NAMED,
    readout=degree().optional(),
    order=degree(6),
    norm_epsilon=positive().optional(),
    embedding=degree().optional(),
)
case(
    "models.SevenNet",
    models.SevenNet,
    **MODEL,
    irreps=NAMED,
    readout=count(),
    onset=number(0.5, negative=-1.0, large=2.0).without("nothing"),
)

NETWORK = {
    "features": count(),
    "num_interactions": count(),
    "num_radial": count(),
    "cutoff": positive(),
    "num_elements": count(9),
    "scale": number().without("list"),
    "shift": number().without("list"),
}
case("models.PaiNN", models.PaiNN, **NETWORK)
case(
    "models.MACE",
    models.MACE,
    **NETWORK,
    max_degree=degree(),
    hidden_degree=degree(),
    correlation=count(),
    cutoff_order=count(5),
    hidden=MODEL["hidden"],
    readout=count(),
    num_neighbours=positive(),
    density=flag(),
    residual=flag(),
    repulsion=flag(False),
    agnesi=flag(False),
    use_parity=flag(optional=True),
)
case(
    "models.ESCN",
    models.ESCN,
    **NETWORK,
    max_degree=degree(),
    max_order=degree(),
    grid_precision=degree(4).optional(),
    num_neighbours=positive(),
)

# -- parallel
BUCKETS = {"growth": growth.optional(), "multiple": count()}
case(
    "parallel.partition_graph",
    lambda **arguments: vars(parallel.partition_graph(**arguments)),
    {},
    (parallel.partition_graph,),
    dst_idx=indices(6, rank=(), axis=(5,), batch=(2, 3)),
    src_idx=indices(6, rank=(), axis=(5,), batch=(2, 3)),
    parts=indices(4, rank=(), batch=(2, 3)),
    num_parts=count(),
    **BUCKETS,
)
case(
    "parallel.partition_nodes",
    parallel.partition_nodes,
    positions=array(4, 3, rank=(3,), axis=(4, 0), batch=(2, 4, 3)),
    num_parts=count(),
    weights=array(4, rank=(), axis=(5,)).optional(),
)
PARTITION = parallel.partition_graph(*np.asarray([[0, 1, 2], [1, 2, 3]]), np.asarray([0, 0, 1, 1]), 2)
PART = degree(1, large=2)
for method, num in ((PARTITION.split_nodes, 4), (PARTITION.split_edges, 3)):
    case(
        f"parallel.GraphPartition.{method.__name__}",
        method,
        x=array(num, 2, rank=(), axis=(num + 1, 2)).of_any_dtype(),
        part=PART.optional(),
    )
case(
    "parallel.GraphPartition.join_nodes",
    PARTITION.join_nodes,
    x=array(4, 2, rank=(), axis=(5, 2)).of_any_dtype(),
)
case(
    "parallel.GraphPartition.part",
    PARTITION.part,
    part=PART,
    like=array(1).of_any_dtype().optional(),
)

# -- plot
for function in (plot.features, plot.rotated_features):
    case(f"plot.{function.__name__}", function, x=FEATURES, resolution=integer(4))
one = array(1, 4, 1, rank=(4, 1), parities=(2, 4, 1), components=(1, 5, 1), channels=(1, 4, 2), batch=(2, 1, 4, 1))
case("plot.couplings", plot.couplings, x=one, y=one, resolution=integer(4))
case(
    "plot.tensor_paths",
    plot.tensor_paths,
    kernel=array(1, 2, 1, 2, 1, 2, 3, rank=(1, 2, 1, 2, 1, 2), axis=(1, 2, 3, 2, 1, 2, 3)),
)
case("plot.spherical_harmonics", plot.spherical_harmonics, max_degree=degree(), convention=option("e3x"))

# -- testing.strategies: shapes are positional
DTYPE = Kind("float32", {"unknown": "float33", "integers": "int32", "number": 1.0})
for function in (strategies.numbers, strategies.vectors):
    case(
        f"strategies.{function.__name__}",
        lambda size, dtype, function=function, **options: function(2, size, dtype=dtype, **options),
        {},
        (function,),
        size=degree(),
        dtype=DTYPE,
    )
case(
    "strategies.features",
    lambda layout, size, dtype: strategies.features(layout, size, dtype=dtype),
    {},
    (strategies.features,),
    layout=Kind(Layout(1, 2), {"shape": (1, 4, 2), "nothing": None}),
    size=degree(),
    dtype=DTYPE,
)
case("strategies.layouts", strategies.layouts, max_degree=degree(), features=count(), least_features=degree())
case("strategies.irreps", strategies.irreps, max_degree=degree(), features=count(), use_parity=setting())
case("strategies.rotations", strategies.rotations, dtype=DTYPE)
case("strategies.sparse_lists", strategies.sparse_lists, num_nodes=degree(), num_edges=degree())
case("strategies.dense_lists", strategies.dense_lists, num_nodes=degree(), width=degree())
