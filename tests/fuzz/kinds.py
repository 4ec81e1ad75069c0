"""What is called: layers and functions, of drawn sizes and options."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, get_args

from e3any import nn, ops, so3
from fuzz import kinds_of_edges, kinds_of_maps
from fuzz.programs import Program, Sizes, Spec, of_layer

Kind = Callable[[Sizes], Program]


def harmonics(sizes: Sizes) -> Program:
    degree, rows = sizes.degree(8), sizes.rows(60)
    lead = sizes.one_of([(rows,), (rows,), (3, rows), (rows, 2)])
    specs = {"r": Spec("vectors", (*lead, 3))}
    order = sizes.chance(0.5)
    if sizes.chance(0.3):
        return Program(f"solid_harmonics {degree}", lambda a: so3.solid_harmonics(a["r"], degree, order), specs)
    norm = sizes.one_of(get_args(so3.Normalization))
    unit = sizes.chance(0.2)

    def function(a: Any) -> Any:
        return so3.spherical_harmonics(a["r"], degree, unit, order, norm)

    return Program(f"spherical_harmonics {degree}, normalized: {unit}, {norm}", function, specs)


def _factors(sizes: Sizes, most_degree: int = 5) -> tuple[dict[str, Spec], dict[str, Any]]:
    """Draw two factors, whose leading axes broadcast, and the options of the output."""
    features = sizes.features()
    one, two = sizes.layout(features, most_degree), sizes.layout(features, most_degree)
    rows = sizes.rows(one[0] * one[1] * two[0] * two[1] * features)
    few, reach = min(rows, 3), math.isqrt(one[1]) + math.isqrt(two[1]) - 2
    leads = [((rows,), (rows,))] * 4 + [((), (rows,)), ((rows,), (1,)), ((few, 1), (few,)), ((), ())]
    first, second = sizes.one_of(leads)
    options = {
        "max_degree": sizes.one_of([None, sizes.degree(min(most_degree, reach))]),
        "include_pseudotensors": sizes.chance(0.7),
        "cartesian_order": sizes.chance(0.5),
        "use_parity": max(one[0], two[0]) == 2 or sizes.chance(0.5),
    }
    specs = {
        "x": Spec("features", (*first, *one), has_rows=bool(first)),
        "y": Spec("features", (*second, *two), has_rows=bool(second)),
    }
    return specs, options


def tensor(sizes: Sizes) -> Program:
    specs, options = _factors(sizes)
    layer = nn.Tensor(**options)
    return of_layer(layer, specs, lambda p, a: layer(p, a["x"], a["y"]), is_algebraic=True)


def fused_tensor(sizes: Sizes) -> Program:
    specs, options = _factors(sizes)
    layer = nn.FusedTensor(**options)
    return of_layer(layer, specs, lambda p, a: layer(p, a["x"], a["y"]), is_algebraic=True)


def tensor_dense(sizes: Sizes) -> Program:
    layout = sizes.layout(most=3)
    rows = sizes.rows(layout[0] ** 2 * layout[1] ** 2 * layout[2])
    layer = nn.TensorDense(
        sizes.features(64),
        sizes.one_of([None, sizes.degree(min(4, 2 * math.isqrt(layout[1]) - 2))]),
        use_bias=sizes.chance(0.5),
        use_fused_tensor=sizes.chance(0.3),
        cartesian_order=sizes.chance(0.5),
        use_parity=layout[0] == 2 or sizes.chance(0.5),
    )
    specs = {"x": Spec("features", (rows, *layout))}
    return of_layer(layer, specs, lambda p, a: layer(p, a["x"]), is_algebraic=True)


def dense(sizes: Sizes) -> Program:
    layout, width = sizes.layout(), sizes.features()
    rows = sizes.rows(layout[0] * layout[1] * max(layout[2], width))
    layer = nn.Dense(width, sizes.chance(0.5))
    lead = sizes.one_of([(rows,), (rows,), (2, rows), ()])
    specs = {"x": Spec("features", (*lead, *layout), has_rows=bool(lead))}
    return of_layer(layer, specs, lambda p, a: layer(p, a["x"]), is_algebraic=True)


def symmetric_contraction(sizes: Sizes) -> Program:
    parities, size, features = sizes.layout(most=2)
    rows, num = sizes.rows(400 * features), sizes.one_of([1, 3])
    layer = nn.SymmetricContraction(
        num,
        int(sizes.rng.integers(1, 4)),
        sizes.degree(2),
        sizes.chance(0.5),
        cartesian_order=sizes.chance(0.5),
        use_parity=parities == 2 or sizes.chance(0.5),
    )
    specs = {"x": Spec("features", (rows, parities, size, features)), "z": Spec("index", (rows,), num)}
    return of_layer(layer, specs, lambda p, a: layer(p, a["x"], a["z"]))


def norms(sizes: Sizes) -> Program:
    layout = sizes.layout()
    lead = (sizes.rows(layout[0] * layout[1] * layout[2]),)
    layer = sizes.one_of([nn.LayerNorm(), nn.RMSNorm(), nn.NormActivation(), nn.Gate()])
    specs = {"x": Spec("features", (*lead, *layout))}
    return of_layer(layer, specs, lambda p, a: layer(p, a["x"]))


def safe_norms(sizes: Sizes) -> Program:
    function = sizes.one_of([ops.norm, ops.normalize])
    specs = {"x": Spec("vectors", (sizes.rows(3), 3))}
    return Program(function.__name__, lambda a: function(a["x"], axis=-1), specs)


def activations(sizes: Sizes) -> Program:
    function = sizes.one_of([nn.silu, nn.relu, nn.gelu, nn.shifted_softplus])
    layout = sizes.layout()
    specs = {"x": Spec("features", (sizes.rows(layout[0] * layout[1] * layout[2]), *layout))}
    return Program(function.__name__, lambda a: function(a["x"]), specs, order=1 if function is nn.relu else 2)


def basis(sizes: Sizes) -> Program:
    degree, num = sizes.degree(4), sizes.features(33)
    function = sizes.one_of([nn.basic_gaussian, nn.exponential_bernstein, nn.sinc, nn.reciprocal_bernstein])
    limits = {"limit": 5.0} if function in (nn.basic_gaussian, nn.sinc) else {}
    specs = {"r": Spec("vectors", (sizes.rows(num * (degree + 1) ** 2), 3))}

    def call(a: Any) -> Any:
        radial = lambda r, n: function(r, n, **limits)
        return nn.basis(a["r"], max_degree=degree, num=num, radial_fn=radial, cutoff_fn=nn.smooth_cutoff)

    return Program(f"basis {degree} {num} {function.__name__}", call, specs, order=1)


KINDS: dict[str, Kind] = {
    "harmonics": harmonics,
    "tensor": tensor,
    "fused tensor": fused_tensor,
    "tensor dense": tensor_dense,
    "dense": dense,
    "symmetric contraction": symmetric_contraction,
    "norms": norms,
    "safe norms": safe_norms,
    "activations": activations,
    "basis": basis,
    **kinds_of_edges.KINDS,
}
# Called with NumPy alone.
MAPS: dict[str, Kind] = kinds_of_maps.KINDS
