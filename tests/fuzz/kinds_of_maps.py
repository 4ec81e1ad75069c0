"""Maps of the kernels, called by themselves with arrays of NumPy: their values, derivatives and second derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
from e3any_backends import backend_of
from e3any_backends.forms.couplings import SparseForm

from e3any import so3
from e3any.nn.layers.couplings import coupling_plan
from e3any.nn.layers.irrep_paths import candidates, irrep_paths, path_form
from fuzz.programs import Arrays, Map, Program, Sizes, Spec


def _multilinear(function: Any, names: tuple[str, ...], indices: tuple[Any, ...] = ()) -> Map:
    """Return what the two kernels of a map compute; an index is an array, or the name of one."""

    def split(a: Arrays) -> tuple[list[Any], list[Any]]:
        return [a[n] for n in names], [a[i] if isinstance(i, str) else i for i in indices]

    def second(a: Arrays, g: Any, tangents: Arrays) -> dict[str, Any]:
        # What is linear in each operand: where one is replaced, the derivative by another is a first one.
        total = {n: np.zeros_like(a[n]) for n in names}
        for replaced in names:
            gradients = function.vjp(*split({**a, replaced: tangents[replaced]}), g)
            for name, gradient in zip(names, gradients):
                if name != replaced:
                    total[name] = total[name] + gradient
        return total

    return Map(lambda a: function.value(*split(a)), lambda a, g: dict(zip(names, function.vjp(*split(a), g))), second)


def contraction(sizes: Sizes) -> Program:
    from e3any_backends.kernels.maps import Contraction

    features = sizes.features()
    layouts = [(sizes.parities(), sizes.degree(3) + 1) for _ in range(2)]
    layouts.append((sizes.parities(), sizes.degree(min(3, sum(n - 1 for _, n in layouts))) + 1))
    table = coupling_plan(tuple(n for layout in layouts for n in layout), sizes.chance(0.5)).merged
    name = sizes.one_of(("product_form", "pair_form"))
    form: SparseForm = getattr(table, name)
    shape = form.sizes
    output = int(sizes.rng.integers(len(shape)))
    rows = sizes.rows(layouts[0][0] * layouts[0][1] ** 2 * layouts[1][0] * layouts[1][1] ** 2 * features)
    function = Contraction(form.number, output)
    leads = [sizes.one_of([(rows,), (rows,), (1,)]) for _ in shape]
    specs = {
        f"slot{n}": Spec("features", (1, *lead, size, features), has_rows=False)
        for n, (size, lead) in enumerate(zip(shape, leads))
        if n != output
    }
    names = tuple(specs)

    def call(a: Arrays) -> Any:
        return function.reference(backend_of(a[names[0]]), [a[n] for n in names], [])

    return Program(f"contraction {layouts} {name} to slot {output}", call, specs, map=_multilinear(function, names))


def linear(sizes: Sizes) -> Program:
    from e3any_backends.kernels.maps import Linear

    components, matrices = sizes.one_of((1, 4, 9)), sizes.one_of((1, 2, 3))
    width, height = sizes.one_of((16, 32, 48, 128)), sizes.one_of((16, 32, 64))
    which = np.sort(sizes.rng.integers(matrices, size=components))
    specs = {
        "x": Spec("features", (sizes.rows(components * width), components, width)),
        "w": Spec("features", (matrices, width, height), has_rows=False),
    }

    def call(a: Arrays) -> Any:
        backend = backend_of(a["x"])
        return Linear().reference(backend, [a["x"], a["w"]], [backend.index(which, like=a["x"])])

    return Program("linear", call, specs, map=_multilinear(Linear(), ("x", "w"), (which,)))


def edge_products(sizes: Sizes) -> Program:
    from e3any_backends.kernels.maps import EdgeProducts

    degree, components, features = sizes.degree(4), sizes.one_of((1, 2, 4, 9, 18)), sizes.features()
    edges = sizes.rows((degree + 1) ** 2 * components * features)
    senders, receivers = sizes.one_of((1, 5, 30)), sizes.one_of((1, 4, 20))
    specs = {
        "x": Spec("features", (senders, components, features)),
        "angular": Spec("features", (edges, (degree + 1) ** 2)),
        "radial": Spec("features", (edges, degree + 1, features)),
        "src": Spec("index", (edges,), senders),
        "dst": Spec("index", (edges,), receivers),
    }
    names, function = ("x", "angular", "radial"), EdgeProducts(receivers)

    def call(a: Arrays) -> Any:
        return function.reference(backend_of(a["x"]), [a[n] for n in names], [a["src"], a["dst"]])

    return Program(f"edges {degree}", call, specs, map=_multilinear(function, names, ("src", "dst")))


def path_sums(sizes: Sizes) -> Program:
    from e3any_backends.kernels.maps import PathSums

    degree = sizes.degree(2)
    names = candidates(sizes.degree(2), sizes.chance(0.5), False)
    outputs = candidates(sizes.degree(2), names[0].endswith("+"), sizes.chance(0.5))
    filters = candidates(degree, names[0].endswith("+"), False)
    counts = [sizes.features(33) for _ in names]
    irreps = tuple((a, n) for a, n in zip(names, counts) if irrep_paths((a,), filters, outputs))
    form = path_form(irreps, filters, outputs, sizes.chance(0.5))
    last = form.blocks[-1]
    edges = sizes.rows(last.weights.stop + last.sums.stop)
    senders, receivers = sizes.one_of((1, 5, 30)), sizes.one_of((1, 4, 20))
    specs = {
        "x": Spec("features", (senders, last.x.stop)),
        "angular": Spec("features", (edges, form.num_harmonics)),
        "weights": Spec("features", (edges, last.weights.stop)),
        "src": Spec("index", (edges,), senders),
        "dst": Spec("index", (edges,), receivers),
    }
    arguments, function = ("x", "angular", "weights"), PathSums(form.number, receivers)

    def call(a: Arrays) -> Any:
        return function.reference(backend_of(a["x"]), [a[n] for n in arguments], [a["src"], a["dst"]])

    return Program(f"paths {irreps} {degree}", call, specs, map=_multilinear(function, arguments, ("src", "dst")))


def harmonics(sizes: Sizes) -> Program:
    from e3any_backends.kernels.harmonic_maps import Harmonics

    degree, unit = 1 + sizes.degree(8), sizes.chance(0.6)  # those of degree 0 are constants, which need no kernel
    factors = tuple(float(f) for f in sizes.rng.uniform(0.5, 1.5, degree + 1))
    function = Harmonics(factors, tuple(range((degree + 1) ** 2)), unit)
    scales = np.repeat(factors, 2 * np.arange(degree + 1) + 1)

    def call(a: Arrays) -> Any:
        if unit:
            plain = so3.spherical_harmonics(a["r"], degree, cartesian_order=False, normalization="racah")
        else:
            plain = so3.solid_harmonics(a["r"], degree, cartesian_order=False)
        return plain * backend_of(plain).constant(scales, like=plain)

    kernels = Map(
        lambda a: function.value(a["r"]),
        lambda a, g: {"r": function.vjp(a["r"], g)},
        lambda a, g, tangents: {"r": function.second_vjp(a["r"], g, tangents["r"])},
    )
    text = f"{'spherical' if unit else 'solid'} harmonics {degree}"
    return Program(text, call, {"r": Spec("vectors", (sizes.rows(30), 3))}, map=kernels)


KINDS = {
    "map: contraction": contraction,
    "map: linear": linear,
    "map: edges": edge_products,
    "map: paths": path_sums,
    "map: harmonics": harmonics,
}
