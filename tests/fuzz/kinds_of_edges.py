"""What is called along lists of neighbours: messages, attention, and sums over neighbourhoods."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from e3any_backends import backend_of

from e3any import Irreps, nn, ops
from e3any.irreps import in_order, irrep_of
from e3any.nn.layers.irrep_paths import candidates
from fuzz.programs import Arrays, Program, Sizes, Spec, of_layer

LISTS = ("adj_idx", "where", "dst_idx", "src_idx")


class Graph:
    """Draws a list of neighbours and what there is for every edge."""

    def __init__(self, sizes: Sizes, numbers: int, *, own_senders: bool = False) -> None:
        """Draw a list for so many numbers at every edge."""
        self.sizes = sizes
        self.nodes = sizes.one_of((1, 2, 5, 9, 40))
        self.senders = sizes.one_of((1, 3, 12)) if own_senders else self.nodes
        self.is_dense = sizes.chance(0.4)
        edges = sizes.rows(numbers)
        self.num: int | None = None
        self.is_sorted = False
        if self.is_dense:
            self.lead: tuple[int, ...] = self.nodes, min(edges // self.nodes, 12) + (edges > 0)
            self.specs = {"adj_idx": Spec("index", self.lead, self.senders)}
            if sizes.chance(0.5):
                self.specs["where"] = Spec("mask", self.lead)
            return
        self.lead = (edges,)
        self.num = sizes.one_of([None, None, 0, 1, 4, self.nodes + 3])
        self.is_sorted = sizes.chance(0.4)
        receivers = self.nodes if self.num is None else self.num
        self.specs = {
            "dst_idx": Spec("index", self.lead, receivers, self.is_sorted),
            "src_idx": Spec("index", self.lead, self.senders),
        }

    def lists(self, arrays: Arrays) -> dict[str, Any]:
        """Return the arguments of a layer."""
        found = {name: arrays[name] for name in LISTS if name in arrays}
        return found if self.is_dense else {**found, "num_segments": self.num, "indices_are_sorted": self.is_sorted}

    def basis(self, degree: int, *, factored: bool) -> tuple[dict[str, Spec], Callable[[Arrays], Any]]:
        """Draw a basis: its arrays, and how they are put together."""
        num = self.sizes.features(17)
        if not factored:
            shape = (*self.lead, 1, (degree + 1) ** 2, num)
            return {"basis": Spec("features", shape, of_edges=True)}, lambda a: a["basis"]
        specs = {
            "radial": Spec("features", (*self.lead, self.sizes.one_of((1, degree + 1)), num), of_edges=True),
            "angular": Spec("features", (*self.lead, (degree + 1) ** 2), of_edges=True),
        }
        return specs, lambda a: nn.FactoredBasis(a["radial"], a["angular"])


def _convolution(sizes: Sizes, reach: int, parities: int) -> dict[str, Any]:
    """Draw options of a convolution whose largest degree is at most the sum of that of features and basis."""
    return {
        "max_degree": sizes.one_of([None, sizes.degree(min(3, reach))]),
        "use_basis_bias": sizes.chance(0.3),
        "include_pseudotensors": sizes.chance(0.7),
        "cartesian_order": sizes.chance(0.5),
        "use_fused_tensor": sizes.chance(0.2),
        "use_parity": parities == 2 or sizes.chance(0.5),
    }


def message_pass(sizes: Sizes) -> Program:
    layout, degree = sizes.layout(most=3), sizes.degree(3)
    graph = Graph(sizes, layout[0] * layout[1] * (degree + 1) ** 2 * layout[2])
    specs, basis = graph.basis(degree, factored=sizes.chance(0.6))
    specs |= {"x": Spec("features", (graph.nodes, *layout)), **graph.specs}
    if sizes.chance(0.4):
        shape = sizes.one_of([(1, 1, 1), (1, 1, layout[2]), (1, layout[1], 1), (layout[0], 1, 1), layout])
        specs["weights"] = Spec("features", (*graph.lead, *shape), of_edges=True)
    layer = nn.MessagePass(**_convolution(sizes, degree + math.isqrt(layout[1]) - 1, layout[0]))
    return of_layer(
        layer, specs, lambda p, a: layer(p, a["x"], basis(a), a.get("weights"), **graph.lists(a)), is_algebraic=True
    )


def path_message_pass(sizes: Sizes) -> Program:
    layout, degree = sizes.layout(sizes.features(33), most=2), sizes.degree(2)
    graph = Graph(sizes, layout[0] ** 2 * layout[1] * (degree + 1) ** 2 * layout[2] * 4)
    specs, basis = graph.basis(degree, factored=True)
    specs |= {"x": Spec("features", (graph.nodes, *layout)), **graph.specs}
    reach = degree + math.isqrt(layout[1]) - 1
    layer = nn.PathMessagePass(
        sizes.one_of([None, sizes.degree(min(2, reach))]),
        hidden=sizes.one_of([(), (4,), (16, 8)]),
        use_parity=layout[0] == 2 or sizes.chance(0.5),
    )
    return of_layer(layer, specs, lambda p, a: layer(p, a["x"], basis(a), **graph.lists(a)))


def paths_by_irrep(sizes: Sizes) -> Program:
    """Draw messages of dictionaries, which have numbers of features of their own for every irrep."""
    degree, largest, has_parity = sizes.degree(2), sizes.degree(2), sizes.chance(0.5)
    names = candidates(largest, has_parity, sizes.chance(0.5))
    irreps = Irreps({name: sizes.features(33) for name in names if name == names[0] or sizes.chance(0.8)})
    outputs = Irreps({name: sizes.features(17) for name in candidates(sizes.degree(2), has_parity, True)})
    graph = Graph(sizes, irreps.dim * (degree + 1) ** 2 * 9)
    specs, basis = graph.basis(degree, factored=True)
    specs |= {name: Spec("features", (graph.nodes, 2 * irrep_of(name)[0] + 1, n)) for name, n in irreps.items()}
    layer = nn.PathMessagePass(
        hidden=sizes.one_of([(), (4,), (16, 8)]), features=outputs, cartesian_order=sizes.chance(0.5)
    )

    def call(p: Any, a: Arrays) -> Any:
        y = layer(p, {name: a[name] for name in irreps}, basis(a), **graph.lists(a))
        flat = [b.reshape((*b.shape[:-2], b.shape[-2] * b.shape[-1])) for b in (y[name] for name in in_order(y))]
        return backend_of(*flat).xp.concat(flat, axis=-1)

    return of_layer(layer, specs | graph.specs, call)


def attention(sizes: Sizes) -> Program:
    heads = sizes.one_of((1, 2, 4))
    width = heads * sizes.one_of((1, 4, 8, 16))
    own, other, degree = sizes.layout(sizes.features(33), 2), sizes.layout(sizes.features(33), 2), sizes.degree(2)
    is_self = sizes.chance(0.5)
    graph = Graph(sizes, own[0] * max(own[1], other[1]) * (degree + 1) ** 2 * 32, own_senders=not is_self)
    specs, basis = graph.basis(degree, factored=sizes.chance(0.6))
    specs |= {"x": Spec("features", (graph.nodes, *own)), **graph.specs}
    if not is_self:
        specs["y"] = Spec("features", (graph.senders, *other))
    if sizes.chance(0.6):
        specs["cutoff"] = Spec("positive", graph.lead, of_edges=True)
    reach = math.isqrt((own if is_self else other)[1]) - 1 + degree
    options = {
        **_convolution(sizes, reach, max(own[0], 1 if is_self else other[0])),
        "num_heads": heads,
        "qkv_features": width,
        "out_features": sizes.one_of([None, 3, 16]),
        "use_relative_positional_encoding_qk": sizes.chance(0.7),
        "use_relative_positional_encoding_v": sizes.chance(0.7),
        "query_use_bias": sizes.chance(0.3),
        "value_use_bias": sizes.chance(0.3),
    }
    layer = (nn.SelfAttention if is_self else nn.MultiHeadAttention)(**options)

    def call(p: Any, a: Arrays) -> Any:
        inputs = (a["x"],) if is_self else (a["x"], a["y"])
        return layer(p, *inputs, basis(a), a.get("cutoff"), **graph.lists(a))

    return of_layer(layer, specs, call)


def reductions(sizes: Sizes) -> Program:
    name = sizes.one_of(("indexed_sum", "indexed_max", "indexed_min", "indexed_softmax"))
    rest = sizes.one_of([(), (3,), (2, 17), (1, 4, 33)])
    graph = Graph(sizes, 200)
    specs = {"x": Spec("features", (*graph.lead, *rest), of_edges=True), **graph.specs}
    if graph.is_dense:
        specs["where"] = Spec("mask", graph.lead)
    num = graph.nodes if graph.num is None else graph.num
    options: dict[str, Any] = {"keepdims": sizes.one_of([None, True])} if name != "indexed_softmax" else {}
    if name == "indexed_softmax" and sizes.chance(0.5):
        specs["mask"] = Spec("positive", (*graph.lead, *rest), of_edges=True)

    def function(a: Arrays) -> Any:
        given = {"multiplicative_mask": a["mask"]} if "mask" in a else options
        lists = graph.lists(a)
        return getattr(ops, name)(a["x"], **given, **({**lists, "num_segments": num} if "dst_idx" in lists else lists))

    order = {"indexed_sum": 2, "indexed_softmax": 2}.get(name, 0)  # libraries share the derivative of equal numbers
    return Program(f"{name} {options}", function, specs, order, is_algebraic=name == "indexed_sum")


def gathering(sizes: Sizes) -> Program:
    which = sizes.one_of(("src", "dst"))
    rest = sizes.one_of([(), (3,), (2, 4, 16)])
    graph = Graph(sizes, 200)
    rows = graph.nodes
    if which == "dst" and not graph.is_dense and graph.num is not None:
        rows = graph.num
    specs = {"x": Spec("features", (rows, *rest)), **graph.specs}
    function = ops.gather_src if which == "src" else ops.gather_dst
    call = lambda a: function(a["x"], **{n: a[n] for n in ("adj_idx", "dst_idx", "src_idx") if n in a})
    return Program(f"gather_{which}", call, specs, is_algebraic=True)


KINDS = {
    "message pass": message_pass,
    "path message pass": path_message_pass,
    "paths by irrep": paths_by_irrep,
    "attention": attention,
    "reductions": reductions,
    "gathering": gathering,
}
