"""Conversion of models of the package mace-torch."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e3any.checks import shown
from e3any.conventions import PARITIES
from e3any.interop.activations import activation_scale
from e3any.interop.contractions import contraction_weights
from e3any.interop.signs import coupling_sign
from e3any.layout import Layout
from e3any.models import MACE
from e3any.nn.layers.irrep_paths import IrrepPath
from e3any.nn.layers.symmetric_basis import num_couplings

__all__ = ["mace_model"]

_MODELS = ("MACE", "ScaleShiftMACE")
# Whether an interaction has a skip connection, and whether it divides by the density of neighbours.
_INTERACTIONS = {
    "RealAgnosticInteractionBlock": (False, False),
    "RealAgnosticResidualInteractionBlock": (True, False),
    "RealAgnosticDensityInteractionBlock": (False, True),
    "RealAgnosticDensityResidualInteractionBlock": (True, True),
}
# Parts that have no counterpart here.
_UNKNOWN = ("joint_embedding", "edge_irreps")
# Parts with constants that are fixed here.
_REPULSION, _TRANSFORM = "pair_repulsion_fn", "radial_embedding.distance_transform"
_CONSTANTS: dict[str, dict[str, Any]] = {
    _REPULSION: {"c": (0.1818, 0.5099, 0.2802, 0.02817), "a_exp": 0.3, "a_prefactor": 0.4543},
    _TRANSFORM: {"a": 1.0805, "q": 0.9183, "p": 4.5791},
}

State = Mapping[str, NDArray[Any]]


def mace_model(module: Any, *, head: str | None = None) -> tuple[MACE, dict[str, Any]]:
    """Return the description and the parameters of a model of ``mace-torch``, such as ``torch.load`` reads it.

    Energies of atoms are those of the original, ``node_energy``, including the energies of single atoms. Vectors go
    from receiving to sending atoms here; the converter takes care of it, and of the signs of e3nn 0.4. Tables have a
    row for every atomic number up to the largest one. Rows of elements that the model does not know are NaN in the
    first table, so that energies are not wrong in silence.

    Parameters
    ----------
    module : torch.nn.Module
        A ``MACE`` or ``ScaleShiftMACE`` with uniform features of O(3) or, with ``use_so3``, of SO(3), interactions
        ``RealAgnostic[Density][Residual]InteractionBlock``, Bessel functions with or without Agnesi's function of
        distances, the gate SiLU, and without layers of cuequivariance (see ``mace.cli.convert_cueq_e3nn``).
    head : str, optional
        The head, one of ``module.heads``; it can be left out if there is one.

    Returns
    -------
    layer : e3any.models.MACE
        The description.
    params : dict
        Parameters as NumPy arrays, of the dtype of the module.

    Raises
    ------
    ValueError
        If the module has parts that :class:`e3any.models.MACE` has not, or there is no such head.
    TypeError
        If ``module`` is no such model.
    """
    if type(module).__name__ not in _MODELS or not hasattr(module, "state_dict"):
        raise TypeError(f"expected a model of mace-torch, {' or '.join(_MODELS)}, got {shown(type(module))}")
    state = {name: x.detach().cpu().numpy() for name, x in module.state_dict().items()}
    number = _head(module, head)
    _check_parts(module, state)
    layer = _description(module, state, number)
    return layer, _parameters(layer, state, _numbers(state), number, _num_heads(module))


def _num_heads(module: Any) -> int:
    return len(getattr(module, "heads", None) or ["Default"])


def _head(module: Any, head: str | None) -> int:
    heads = list(getattr(module, "heads", None) or ["Default"])
    if head is None and len(heads) == 1:
        return 0
    if head not in heads:
        raise ValueError(f"expected a head of {heads}, got {shown(head)}")
    return heads.index(head)


def _numbers(state: State) -> list[int]:
    return [int(z) for z in state["atomic_numbers"]]


def _check_parts(module: Any, state: State) -> None:
    """Raise a ValueError for parts that the description has not."""
    for name in _UNKNOWN:
        if any(key.startswith(name) for key in state) or getattr(module, name, None) is not None:
            raise ValueError(f"expected a model without {name}")
    if not list(_orders(state)):
        raise ValueError("expected a model without layers of cuequivariance, see mace.cli.convert_cueq_e3nn")
    if "radial_embedding.bessel_fn.bessel_weights" not in state or not getattr(module, "apply_cutoff", True):
        raise ValueError("expected Bessel functions, multiplied by their cut-off")
    blocks = list(module.interactions)
    kinds = [type(block).__name__ for block in blocks]
    if unknown := [kind for kind in kinds if kind not in _INTERACTIONS]:
        raise ValueError(f"expected interactions of {list(_INTERACTIONS)}, got {unknown[0]}")
    if any(not _INTERACTIONS[kind][0] for kind in kinds[1:]) or len({_INTERACTIONS[kind][1] for kind in kinds}) > 1:
        raise ValueError(f"expected residual interactions of one kind behind the first layer, got {kinds}")
    if len({float(block.avg_num_neighbors) for block in blocks}) > 1:
        raise ValueError("expected the same average number of neighbours in all layers")
    _check_gate(module.readouts[-1])


def _description(module: Any, state: State, head: int) -> MACE:
    """Read the hyper-parameters."""
    blocks = list(module.interactions)
    residual, density = _INTERACTIONS[type(blocks[0]).__name__]
    edges, parity = _uniform(blocks[0].edge_attrs_irreps)
    hidden = [_uniform(block.hidden_irreps) for block in blocks]
    features = {irreps[0][1] for irreps, _ in hidden}
    if len(features) > 1 or any(p is not None and p != parity for _, p in hidden):
        raise ValueError(f"expected one kind of features, got {[str(block.hidden_irreps) for block in blocks]}")
    networks = [_network(state, f"interactions.{i}.conv_tp_weights") for i in range(len(blocks))]
    sizes = {tuple(w.shape[1] for w in network[:-1]) for network in networks}
    if len(sizes) > 1:
        raise ValueError(f"expected radial networks of one size, got {sizes}")
    shift = np.zeros(max(_numbers(state)) + 1)
    for z, energy in zip(_numbers(state), _atomic_energies(state, head), strict=True):
        shift[z] = energy + _of_head(state, "scale_shift.shift", head, 0.0)
    return MACE(
        features=features.pop(),
        max_degree=len(edges) - 1,
        hidden_degree=max(len(irreps) - 1 for irreps, _ in hidden[:-1] or hidden),
        correlation=max(_orders(state)),
        num_interactions=len(blocks),
        num_radial=int(state["radial_embedding.bessel_fn.bessel_weights"].shape[-1]),
        cutoff=float(state["r_max"]),
        cutoff_order=int(state["radial_embedding.cutoff_fn.p"]),
        hidden=sizes.pop(),
        readout=_readout(state, len(module.readouts) - 1).shape[1] // _num_heads(module),
        num_neighbours=float(blocks[0].avg_num_neighbors),
        density=density,
        residual=residual,
        num_elements=len(shift),
        scale=_of_head(state, "scale_shift.scale", head, 1.0),
        shift=tuple(shift.tolist()),
        radii=_radii(state),
        repulsion=any(key.startswith(_REPULSION) for key in state),
        agnesi=any(key.startswith(_TRANSFORM) for key in state),
        use_parity=parity is not False,
    )


def _uniform(irreps: Any) -> tuple[list[tuple[int, int]], bool | None]:
    """Return (degree, features) of irreps, and whether they are those of O(3); None if both are possible."""
    terms = [(int(n), int(l), p) for n, l, p in re.findall(r"(\d+)x(\d+)([eo])", str(irreps))]
    proper = all(p == "eo"[l % 2] for _, l, p in terms)
    is_even = all(p == "e" for _, _, p in terms)
    if [l for _, l, _ in terms] != list(range(len(terms))) or len({n for n, _, _ in terms}) != 1:
        raise ValueError(f"expected irreps of all degrees up to the largest, with equally many features, got {irreps}")
    if not proper and not is_even:
        raise ValueError(f"expected proper tensors, or tensors of even parity, got {irreps}")
    return [(l, n) for n, l, _ in terms], None if proper and is_even else proper


def _check_gate(readout: Any) -> None:
    """Raise a ValueError unless the last readout has a hidden layer with SiLU."""
    if type(readout).__name__ != "NonLinearReadoutBlock":
        raise ValueError(f"expected a last readout NonLinearReadoutBlock, got {type(readout).__name__}")
    weight = readout.linear_1.weight.detach()
    size = int(str(readout.hidden_irreps).partition("x")[0])
    x = weight.new_ones(2, size) * weight.new_tensor([[1.0], [-2.0]])
    values = readout.non_linearity(x).detach().cpu().numpy()[:, 0]
    points = np.asarray([1.0, -2.0])
    expected = activation_scale("silu", "e3nn") * points / (1.0 + np.exp(-points))
    if not np.allclose(values, expected, rtol=1e-3):
        raise ValueError(f"expected the gate SiLU, got a function with the values {values} at {points}")


def _network(state: State, name: str) -> list[NDArray[Any]]:
    """Return the kernels of a network of e3nn, with the factors that it applies when it is evaluated."""
    weights = [state[key] for key in state if re.fullmatch(rf"{re.escape(name)}\.layer\d+\.weight", key)]
    factors = [1.0] + [activation_scale("silu", "e3nn")] * (len(weights) - 1)
    return [w * (factor / math.sqrt(w.shape[0])) for w, factor in zip(weights, factors, strict=True)]


def _orders(state: State) -> Iterator[int]:
    return (int(key.rpartition("_")[2]) for key in state if ".U_matrix_" in key)


def _atomic_energies(state: State, head: int) -> list[float]:
    return [float(energy) for energy in np.atleast_2d(state["atomic_energies_fn.atomic_energies"])[head]]


def _of_head(state: State, name: str, head: int, default: float) -> float:
    if name not in state:
        return default
    values = np.atleast_1d(state[name])
    return float(values[head if len(values) > 1 else 0])


def _readout(state: State, number: int) -> NDArray[Any]:
    """Return the first kernel (features, hidden) of the last readout."""
    features = state["node_embedding.linear.weight"].size // len(state["atomic_numbers"])
    return state[f"readouts.{number}.linear_1.weight"].reshape(features, -1)


def _radii(state: State) -> tuple[float, ...] | None:
    """Return covalent radii if there are any; raise a ValueError for other constants than the original."""
    found = None
    for part, constants in _CONSTANTS.items():
        if not any(key.startswith(part) for key in state):
            continue
        for key, value in constants.items():
            given = state.get(f"{part}.{key}")
            if given is None or not np.allclose(given, value, rtol=1e-6):
                raise ValueError(f"expected {part} with the constant {key} = {value}, got {given}")
        found = tuple(state[f"{part}.covalent_radii"].astype(float).tolist())
    return found


def _parameters(layer: MACE, state: State, numbers: list[int], head: int, heads: int) -> dict[str, Any]:
    rows = np.asarray(numbers)
    embedding = state["node_embedding.linear.weight"].reshape(len(numbers), layer.features)
    table = np.full((layer.num_elements, 1, 1, layer.features), np.nan, embedding.dtype)
    table[0] = 0.0  # padding has the number 0, and finite derivatives
    table[rows, 0, 0] = embedding / math.sqrt(len(numbers))
    atoms = {"scale": np.full(layer.num_elements, layer.scale), "shift": np.asarray(layer.shift)}
    tree: dict[str, Any] = {
        "radial": {"frequencies": state["radial_embedding.bessel_fn.bessel_weights"].reshape(-1) * layer.cutoff},
        "embed": {"embedding": table},
        "atoms": {name: x.astype(embedding.dtype) for name, x in atoms.items()},
    }
    for i in range(layer.num_interactions):
        tree[f"layer{i}"] = _Layer(layer, state, rows, i).parameters()
    return tree | _readouts(layer, state, head, heads)


def _readouts(layer: MACE, state: State, head: int, heads: int) -> dict[str, Any]:
    """Return the parameters of linear readouts, and of the last one, whose hidden features are sorted by head."""
    tree: dict[str, Any] = {}
    count, features = len({key.split(".")[1] for key in state if key.startswith("readouts.")}), layer.features
    for i in range(layer.num_interactions - 1):
        kernel = np.zeros((features, 1), state["node_embedding.linear.weight"].dtype)
        if count > 1:  # else only the last layer has a readout
            kernel = state[f"readouts.{i}.linear.weight"].reshape(features, heads)[:, [head]] / math.sqrt(features)
        tree[f"energy{i}"] = _irrep(kernel)
    mine = slice(head * layer.readout, (head + 1) * layer.readout)
    kernel = _readout(state, count - 1)[:, mine] / math.sqrt(features)
    last = state[f"readouts.{count - 1}.linear_2.weight"].reshape(-1, heads)[mine, [head]]
    scale = activation_scale("silu", "e3nn") / math.sqrt(heads * layer.readout)
    return {**tree, "readout": _irrep(kernel), f"energy{layer.num_interactions - 1}": _irrep(last * scale)}


def _irrep(kernel: NDArray[Any], name: str = "0+") -> dict[str, Any]:
    return {name: {"kernel": kernel}}


class _Layer:
    """The parameters of one interaction and its product.

    Parameters
    ----------
    layer : MACE
        The description.
    state : mapping
        The arrays of the model.
    rows : array
        Atomic numbers.
    number : int
        Which layer.
    """

    def __init__(self, layer: MACE, state: State, rows: NDArray[Any], number: int) -> None:
        self.layer, self.rows = layer, rows
        self.interaction = {k.partition(f"interactions.{number}.")[2]: x for k, x in state.items()}
        self.product = {k.partition(f"products.{number}.")[2]: x for k, x in state.items()}
        self.inputs = 0 if number == 0 else layer.hidden_degree
        self.outputs = 0 if number == layer.num_interactions - 1 else layer.hidden_degree
        self.residual = layer.residual or number > 0

    def parameters(self) -> dict[str, Any]:
        """Return the parameters."""
        layer, tree = self.layer, {"up": self._blocks(self.interaction["linear_up.weight"], self.inputs)}
        skipped = min(self.inputs, self.outputs) if self.residual else layer.max_degree
        tree["species"] = self._species(self.interaction["skip_tp.weight"], skipped)
        tree["message"] = self._message()
        tree["product"] = {self._name(l): self._contraction(l) for l in range(self.outputs + 1)}
        tree["mix"] = self._blocks(self.product["linear.weight"], self.outputs)
        if layer.density:
            (kernel,) = _network(self.interaction, "density_fn")
            tree["density"] = _irrep(kernel)
        return tree

    def _name(self, degree: int) -> str:
        # Names of arrays have a parity even for irreps of SO(3).
        return f"{degree}{PARITIES[degree % 2]}"

    def _blocks(self, weights: NDArray[Any], degree: int) -> dict[str, Any]:
        """Return the kernels of a linear map from every irrep to itself; maps of higher degrees are left out."""
        size = self.layer.features
        kernels = weights.reshape(-1, size, size)[: degree + 1] / math.sqrt(size)
        return {self._name(l): {"kernel": kernel} for l, kernel in enumerate(kernels)}

    def _species(self, weights: NDArray[Any], degree: int) -> dict[str, Any]:
        size, num = self.layer.features, len(self.rows)
        blocks = weights.reshape(-1, size, num, size)[: degree + 1] / math.sqrt(size * num)
        return {self._name(l): {"kernel": self._by_number(np.moveaxis(x, 1, 0))} for l, x in enumerate(blocks)}

    def _by_number(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return a table by element as one by atomic number."""
        table = np.zeros((self.layer.num_elements, *x.shape[1:]), x.dtype)
        table[self.rows] = x
        return table

    def _message(self) -> dict[str, Any]:
        layer, size = self.layer, self.layer.features
        ours = layer.message().paths(Layout(self.inputs, size), layer.max_degree)
        theirs = sorted(ours, key=lambda path: path[2][:-1] if layer.use_parity else path[2])
        *first, last = _network(self.interaction, "conv_tp_weights")
        columns = dict(zip(theirs, np.split(last, len(theirs), axis=1), strict=True))
        last = np.concatenate([columns[path] * _factor(path) for path in ours], axis=1)
        tree: dict[str, Any] = {f"mlp{n}": _irrep(kernel) for n, kernel in enumerate([*first, last])}
        blocks = dict(zip(theirs, self.interaction["linear.weight"].reshape(-1, size, size), strict=True))
        tree["out"] = {}
        for name in dict.fromkeys(path[2] for path in ours):
            mine = [blocks[path] for path in ours if path[2] == name]
            tree["out"][name] = {"kernel": np.concatenate(mine) / math.sqrt(size * len(mine))}
        return tree

    def _contraction(self, degree: int) -> dict[str, Any]:
        """Return the weights of a symmetric contraction to an irrep."""
        name = f"symmetric_contractions.contractions.{degree}."
        found = {k.removeprefix(name): x for k, x in self.product.items() if k.startswith(name)}
        orders = sorted(_orders({f".{key}": x for key, x in found.items()}), reverse=True)
        names = {order: f"weights.{n - 1}" if n else "weights_max" for n, order in enumerate(orders)}
        parity = bool(self.layer.use_parity)
        tree = {}
        for order in range(1, self.layer.correlation + 1):
            num = num_couplings(self.layer.max_degree, 1, order, degree, degree % 2 if parity else None)
            table = np.zeros((self.layer.num_elements, num, self.layer.features), found["weights_max"].dtype)
            if order in names:  # layers can have a smaller correlation than others
                weights, couplings = found[names[order]], found[f"U_matrix_{order}"]
                table[self.rows] = contraction_weights(weights, couplings, degree, "e3nn", use_parity=parity)
            if num:
                tree[f"weight{order}"] = table
        return tree


def _factor(path: IrrepPath) -> float:
    """Return the ratio of couplings with harmonics of MACE, of vectors to the receiving atom, to those of e3any."""
    a, b, c = (int(name.rstrip("+-")) for name in path)
    return coupling_sign(a, b, c, "e3nn-0.4") * (-1.0 if b % 2 else 1.0) * math.sqrt(2 * b + 1)
