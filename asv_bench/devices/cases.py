"""The cases that are compiled: operations at sizes that fill a device, and who competes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from instrument.cases import Case

__all__ = ["CASES", "EAGER", "DeviceCase"]

_ROWS, _EDGES, _NEIGHBOURS = 10_000, 400_000, 40
_GRAPH = (_EDGES, _NEIGHBOURS)
_FIRST = ("forward", "backward")
_ALL = (*_FIRST, "second")
_BOTH = ("h200", "v5e")
_OURS, _E3X, _PEERS = ("jax",), ("jax", "e3x"), ("jax", "e3x", "e3nn-jax")


@dataclass(frozen=True)
class DeviceCase(Case):
    """A case and the devices that it is compiled for."""

    targets: tuple[str, ...] = ("h200",)


def _message_pass(max_degree: int, lists: str = "sparse", form: str = "factored") -> tuple[object, ...]:
    return (max_degree, 1, 64, lists, form, *_GRAPH)


def _messages() -> Iterator[DeviceCase]:
    yield DeviceCase("message_pass", _message_pass(2), _FIRST, _PEERS, _BOTH)
    yield DeviceCase("message_pass", _message_pass(2), ("second",), _OURS)
    for l in (1, 3):
        yield DeviceCase("message_pass", _message_pass(l), ("backward",), _E3X)
    yield DeviceCase("message_pass", _message_pass(2, "dense"), ("forward",), _E3X, _BOTH)
    yield DeviceCase("message_pass", _message_pass(2, "dense"), ("backward",), _OURS)
    yield DeviceCase("message_pass", _message_pass(2, "sparse", "array"), ("backward",), _OURS)
    yield DeviceCase("path_message_pass", (2, 1, 64, *_GRAPH), _FIRST, _OURS)
    yield DeviceCase("self_attention", (2, 1, 64, *_GRAPH), _FIRST, _OURS)


def _products() -> Iterator[DeviceCase]:
    yield DeviceCase("tensor", (2, 1, 64, _ROWS), _FIRST, _PEERS, _BOTH)
    yield DeviceCase("tensor", (2, 1, 64, _ROWS), ("second",), _OURS)
    yield DeviceCase("tensor", (2, 1, 128, _ROWS), ("forward",), _E3X, ("v5e",))
    for l in (1, 3):
        yield DeviceCase("tensor", (l, 1, 64, _ROWS), ("backward",), _E3X)
    yield DeviceCase("tensor", (4, 1, 64, _ROWS), _FIRST, _E3X)
    yield DeviceCase("fused_tensor", (2, 1, 64, _ROWS), ("backward",), _E3X)
    yield DeviceCase("tensor_dense", (2, 1, 64, _ROWS), ("backward",), _E3X)
    yield DeviceCase("symmetric_contraction", (2, 1, 64, 3, _ROWS), ("backward",), _OURS)


def _layers() -> Iterator[DeviceCase]:
    yield DeviceCase("dense", (2, 1, 64, _ROWS), ("backward",), _E3X, _BOTH)
    yield DeviceCase("spherical_harmonics", (2, _EDGES), ("backward",), _PEERS, _BOTH)
    yield DeviceCase("solid_harmonics", (4, _EDGES), ("backward",), _E3X)
    yield DeviceCase("wigner_d", (2, _ROWS), ("backward",), _E3X)
    yield DeviceCase("basis", (2, _EDGES), _FIRST, _E3X)
    yield DeviceCase("activation", (2, 1, 64, _ROWS), ("backward",), _E3X, _BOTH)
    yield DeviceCase("embed", (64, _ROWS), ("backward",), _OURS)
    for name in ("LayerNorm", "RMSNorm", "Gate", "NormActivation"):
        yield DeviceCase("layer", (name, 2, 1, 64, _ROWS), ("backward",), _OURS)


def _models() -> Iterator[DeviceCase]:
    yield DeviceCase("force_field", (64, 2, 2, *_GRAPH), ("forces",), _E3X)  # minutes for a TPU
    yield DeviceCase("force_field", (64, 2, 2, *_GRAPH), ("training",), _OURS)


CASES: tuple[DeviceCase, ...] = (*_messages(), *_products(), *_layers(), *_models())


def _eager() -> Iterator[Case]:
    yield Case("message_pass", _message_pass(2), _ALL, ("torch",))
    yield Case("message_pass", _message_pass(2, "dense"), _ALL, ("torch",))
    yield Case("path_message_pass", (2, 1, 64, *_GRAPH), _ALL, ("torch",))
    yield Case("self_attention", (2, 1, 64, *_GRAPH), _ALL, ("torch",))
    for l in (2, 4):
        yield Case("tensor", (l, 1, 64, _ROWS), _ALL, ("torch",))
    for operation in ("fused_tensor", "tensor_dense", "dense", "activation"):
        yield Case(operation, (2, 1, 64, _ROWS), _ALL, ("torch",))
    yield Case("symmetric_contraction", (2, 1, 64, 3, _ROWS), _ALL, ("torch",))
    yield Case("spherical_harmonics", (2, _EDGES), _ALL, ("torch",))
    yield Case("wigner_d", (2, _ROWS), _ALL, ("torch",))
    yield Case("basis", (2, _EDGES), _ALL, ("torch",))
    for name in ("LayerNorm", "RMSNorm", "Gate", "NormActivation"):
        yield Case("layer", (name, 2, 1, 64, _ROWS), _ALL, ("torch",))
    yield Case("force_field", (64, 2, 2, *_GRAPH), _ALL, ("torch",))


#: The cases of eager PyTorch, where every mode is one pass.
EAGER: tuple[Case, ...] = tuple(_eager())
