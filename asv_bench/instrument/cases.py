"""The cases of the table of ratios: operations, sizes, modes, and who competes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from inspect import signature
from typing import Any, NamedTuple

from . import tasks

#: Peers of e3any in each framework; sphericart is the one that both are compared with.
FRAMEWORKS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "jax": (("jax",), ("e3x", "e3nn-jax", "e3j", "cuequivariance-jax", "sphericart-jax", "sphericart", "matmul-jax")),
    "torch": (
        ("torch", "torch plain", "torch compiled"),
        ("e3nn script", "e3nn compiled", "cuequivariance-torch", "sphericart", "matmul-torch"),
    ),
    "numpy": (("numpy", "numpy plain"), ()),
}

_SYMBOLS = {"max_degree": "L", "parities": "P", "features": "F"}


class Key(NamedTuple):
    """Key of a measured time, without the competitor."""

    operation: str
    sizes: tuple[Any, ...]
    mode: str

    @property
    def title(self) -> str:
        """Sizes by name."""
        names = signature(getattr(tasks, self.operation)).parameters
        pairs = zip(names, self.sizes, strict=False)
        return ", ".join(f"{_SYMBOLS[k]}={v}" if k in _SYMBOLS else str(v) for k, v in pairs) or "ethanol"


@dataclass(frozen=True)
class Case:
    """An operation at some sizes, measured in some modes."""

    operation: str
    sizes: tuple[Any, ...]
    modes: tuple[str, ...]
    competitors: tuple[str, ...]

    def by_mode(self) -> Iterator[Key]:
        """Yield a key for every mode."""
        for mode in self.modes:
            yield Key(self.operation, self.sizes, mode)


_FIRST = ("forward", "backward")
_ALL = (*_FIRST, "second")
_EVERYWHERE = ("jax", "torch", "numpy")
_SAME_COUPLINGS = (
    "jax", "e3x", "e3nn-jax", "e3j", "cuequivariance-jax",
    "torch", "torch plain", "e3nn script", "e3nn compiled", "cuequivariance-torch",
)  # fmt: skip


def _without(names: tuple[str, ...], *dropped: str) -> tuple[str, ...]:
    return tuple(name for name in names if name not in dropped)


def _harmonics() -> Iterator[Case]:
    names = (
        "jax", "e3x", "e3nn-jax", "cuequivariance-jax", "sphericart-jax", "sphericart",
        "torch", "torch compiled", "e3nn script", "e3nn compiled", "cuequivariance-torch", "numpy",
    )  # fmt: skip
    for l in (2, 4, 6, 8, 10):
        # The polynomials of cuequivariance take minutes to derive above L = 4.
        some = names if l <= 4 else _without(names, "cuequivariance-jax", "cuequivariance-torch")
        # Not second derivatives: the loss, a sum of squares, has a gradient of zero, which rounds differently.
        yield Case("spherical_harmonics", (l,), _FIRST, some)
    yield Case("solid_harmonics", (4,), _FIRST, ("jax", "e3x", "sphericart-jax", "sphericart", "torch", "numpy"))
    yield Case("wigner_d", (4,), _FIRST, ("jax", "e3x", "torch", "e3nn script", "numpy"))
    yield Case("wigner_d", (10,), ("forward",), ("jax", "e3x", "torch", "e3nn script", "numpy"))


def _products() -> Iterator[Case]:
    for features in (32, 128):
        for l, p in ((1, 1), (2, 1), (3, 1), (4, 1), (1, 2), (2, 2), (3, 2)):
            names = (
                (*_SAME_COUPLINGS, "torch compiled", "numpy", "numpy plain")
                if (l, features) == (1, 32)
                else _SAME_COUPLINGS
            )
            if l * p > 4:  # compilation takes many minutes, or memory beyond 16 GiB
                names = _without(names, "e3nn compiled", "e3nn-jax", "e3j")
            if l * p >= 4:
                names = _without(names, "cuequivariance-jax", "e3nn compiled")
            yield Case("tensor", (l, p, features), _ALL if (l, features) == (2, 32) else ("backward",), names)
    for l in range(1, 7):
        yield Case("fused_tensor", (l, 1, 32), _FIRST, ("jax", "e3x", "torch", "numpy") if l < 4 else ("jax", "e3x"))
    yield Case("tensor_dense", (2, 2, 32), _FIRST, ("jax", "e3x", "torch", "numpy"))


def _layers() -> Iterator[Case]:
    for features in (32, 128):
        names = ("jax", "e3x", "matmul-jax", "torch", "e3nn script", "e3nn compiled", "matmul-torch", "numpy")
        yield Case("dense", (3, 2, features), _FIRST, names)
    yield Case("activation", (2, 2, 32), _FIRST, ("jax", "e3x", "torch", "numpy"))
    yield Case("basis", (2,), _ALL, ("jax", "e3x", "torch", "numpy"))


def _messages() -> Iterator[Case]:
    for l, p in ((1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (3, 2)):
        names = (*_SAME_COUPLINGS, "numpy") if l * p == 1 else _SAME_COUPLINGS
        names = _without(names, "e3j")
        if l * p > 2:
            names = _without(names, "e3nn-jax", "e3nn compiled")
        if l * p > 4:  # one call takes 10 s or more
            names = _without(names, "e3nn script", "cuequivariance-jax")
        yield Case("message_pass", (l, p, 64), _ALL if (l, p) == (2, 1) else ("backward",), names)
    yield Case("message_pass", (2, 1, 64, "dense"), ("backward",), ("jax", "e3x", "torch"))
    yield Case("message_pass", (2, 1, 64, "sparse", "array"), ("backward",), ("jax", "e3x", "torch"))
    yield Case("self_attention", (2, 1, 32), _FIRST, ("jax", "e3x", "torch", "numpy"))
    yield Case("multi_head_attention", (2, 1, 32), _FIRST, ("jax", "e3x", "torch", "numpy"))
    yield Case("energies", (), ("forces", "training"), ("jax", "e3x", "torch", "e3nn script"))


CASES: tuple[Case, ...] = (*_harmonics(), *_products(), *_layers(), *_messages())

#: The smallest case of every operation, with all competitors that have it, to see that all of them run.
SMALL: tuple[Case, ...] = (
    Case("spherical_harmonics", (2, 10), ("forward",), next(_harmonics()).competitors),
    Case("solid_harmonics", (1, 10), ("backward",), ("jax", "e3x", "sphericart-jax", "sphericart", "torch")),
    Case("wigner_d", (1, 10), ("forward",), ("jax", "e3x", "torch", "e3nn script", "numpy")),
    Case("basis", (1, 20), ("backward",), ("jax", "e3x", "torch")),
    Case("activation", (1, 1, 2, 4), ("backward",), ("jax", "e3x", "torch")),
    Case("dense", (1, 1, 2, 4), ("backward",), ("jax", "e3x", "matmul-jax", "torch", "e3nn script", "matmul-torch")),
    Case("tensor", (1, 1, 2, 4), ("backward",), _SAME_COUPLINGS),
    Case("fused_tensor", (1, 1, 2, 4), ("backward",), ("jax", "e3x", "torch")),
    Case("tensor_dense", (1, 1, 2, 4), ("forward",), ("jax", "e3x", "torch", "numpy")),
    Case("message_pass", (1, 1, 2, "sparse", "factored", 40), ("backward",), _SAME_COUPLINGS),
    Case("message_pass", (1, 1, 2, "dense", "array", 40), ("backward",), ("jax", "e3x", "torch")),
    Case("self_attention", (1, 1, 4, 40), ("forward",), ("jax", "e3x", "torch", "numpy")),
    Case("multi_head_attention", (1, 1, 4, 40), ("forward",), ("torch", "numpy")),
    Case("energies", (2, 3, 4, 1, 2), ("training",), ("jax", "torch", "e3nn script")),
    Case("force_field", (2, 1, 1, 12, 4), ("forward",), ("jax", "e3x", "torch")),
)
