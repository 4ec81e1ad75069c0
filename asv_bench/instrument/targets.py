"""Targets as data: ratios to peers, and limits of times and sizes that occur once per process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from . import fresh
from .cases import Key
from .results import Results

TARGET_HEAD = "| target | at least | measured | met |\n|---|---|---|---|"
LIMIT_HEAD = "| limit | at most | measured | met |\n|---|---|---|---|"


@dataclass(frozen=True)
class Target:
    """The time of the best of some peers is at least ``bound`` times that of e3any, in every case."""

    text: str
    ours: str
    peers: tuple[str, ...]
    keys: tuple[Key, ...]
    bound: float
    best_case: bool = False  # whether one case is enough

    def row(self, results: Results) -> str:
        """Return a row with the ratio of the case that decides."""
        measured = [(results.ratio(key, self.ours, self.peers), key) for key in self.keys]
        ratios = [(ratio, key) for ratio, key in measured if ratio is not None]
        if not ratios:
            return f"| {self.text} | {self.bound:.3g} | not measured | |"
        ratio, key = (max if self.best_case else min)(ratios)
        met = "yes" if ratio >= self.bound else "no"
        return f"| {self.text} | {self.bound:.3g} | {ratio:.2f} ({key.title}, {key.mode}) | {met} |"


@dataclass(frozen=True)
class Limit:
    """A time or size is at most ``bound``."""

    text: str
    measure: Callable[[], float]
    bound: float
    unit: str = "s"

    def row(self) -> str:
        """Measure, and return a row."""
        value = self.measure()
        return f"| {self.text} | {self.bound:g} {self.unit} | {value:.3g} | {'yes' if value <= self.bound else 'no'} |"


_E3NN = ("e3nn script", "e3nn compiled")
_JAX_PEERS = ("e3x", "e3nn-jax", "e3j", "cuequivariance-jax")
_ANY_PEERS = (*_JAX_PEERS, *_E3NN)
_TORCH_PEERS = (*_E3NN, "cuequivariance-torch")


def _keys(operation: str, sizes: list[tuple[object, ...]], *modes: str) -> tuple[Key, ...]:
    return tuple(Key(operation, size, mode) for size in sizes for mode in modes)


def _harmonics() -> Iterator[Target]:
    sizes: list[tuple[object, ...]] = [(l,) for l in (2, 4, 6, 8, 10)]
    values, gradients = (_keys("spherical_harmonics", sizes, mode) for mode in ("forward", "backward"))
    for name, keys in (("values", values), ("with gradient", gradients)):
        yield Target(f"harmonics, {name}, JAX: sphericart, every L", "jax", ("sphericart",), keys, 1 / 1.3)
        yield Target(f"harmonics, {name}, JAX: sphericart, at best", "jax", ("sphericart",), keys, 1.0, True)
    yield Target("harmonics, values, JAX: e3x", "jax", ("e3x",), values, 5)
    yield Target("harmonics, with gradient, JAX: e3x", "jax", ("e3x",), gradients, 15)
    yield Target(
        "harmonics, torch compiled: e3nn compiled", "torch compiled", ("e3nn compiled",), values + gradients, 2
    )


def _tensors() -> Iterator[Target]:
    sizes = {p: [(l, p, f) for f in (32, 128) for l in range(1, top + 1)] for p, top in ((1, 4), (2, 3))}
    one, two = (_keys("tensor", list(sizes[p]), "backward") for p in (1, 2))
    yield Target("Tensor, P=1, JAX: e3x", "jax", ("e3x",), one, 6)
    yield Target("Tensor, P=2, JAX: e3x", "jax", ("e3x",), two, 4)
    yield Target("Tensor, JAX: best of all peers", "jax", _ANY_PEERS, one + two, 2)
    yield Target("Tensor, torch with kernels: best of e3nn", "torch", _E3NN, one + two, 8)
    fused = _keys("fused_tensor", [(l, 1, 32) for l in range(1, 7)], "forward", "backward")
    yield Target("FusedTensor, JAX: e3x", "jax", ("e3x",), fused, 1)


def _messages() -> Iterator[Target]:
    sizes: list[tuple[object, ...]] = [(l, p, 64) for p in (1, 2) for l in (1, 2, 3)]
    keys = _keys("message_pass", sizes, "backward")
    yield Target("MessagePass, JAX: e3x", "jax", ("e3x",), keys, 10)
    yield Target("MessagePass, JAX: best of all peers", "jax", (*_ANY_PEERS, "cuequivariance-torch"), keys, 2)
    best = "best of e3nn and cuequivariance"
    yield Target(f"MessagePass, torch with kernels: {best}", "torch", _TORCH_PEERS, keys, 4)
    array = _keys("message_pass", [(2, 1, 64, "sparse", "array")], "backward")
    yield Target("MessagePass, array basis, JAX: e3x", "jax", ("e3x",), array, 1)
    training = (Key("energies", (), "training"),)
    yield Target("step of training, JAX: e3x", "jax", ("e3x",), training, 5)
    yield Target("step of training, torch: e3nn", "torch", ("e3nn script",), training, 3)
    dense: list[tuple[object, ...]] = [(3, 2, 32), (3, 2, 128)]
    for ours in ("jax", "torch"):
        keys = _keys("dense", dense, "forward", "backward")
        yield Target(f"Dense, {ours}: one matrix product", ours, (f"matmul-{ours}",), keys, 1 / 1.3)


TARGETS: tuple[Target, ...] = (*_harmonics(), *_tensors(), *_messages())

LIMITS: tuple[Limit, ...] = (
    Limit("import e3any", lambda: fresh.IMPORT_CORE.seconds(3), 0.3),
    Limit("import e3any_flax after flax.linen", lambda: fresh.IMPORT_FLAX.seconds(3), 0.2),
    Limit("clebsch_gordan(4, 4, 4), first call", lambda: fresh.clebsch_gordan(4).seconds(3), 0.02),
    Limit("clebsch_gordan(10, 10, 10), first call", lambda: fresh.clebsch_gordan(10).seconds(3), 1),
    Limit("clebsch_gordan(16, 16, 16), first call", lambda: fresh.clebsch_gordan(16).seconds(), 5),
    Limit("wigner_d to L=10, 1,000 rotations, first call", lambda: fresh.wigner_d(10).seconds(3), 1),
    Limit("first step of training, JAX, from process start", fresh.FIRST_STEP_JAX.seconds, 10),
    Limit("first step of training, torch, from process start", fresh.FIRST_STEP_TORCH.seconds, 5),
    Limit("wheel", lambda: fresh.wheel_bytes() / 1e6, 1, "MB"),
)


def wigner_limit(results: Results) -> Limit:
    """Return the limit of Wigner's matrices after the first call, from times that were measured beside peers."""
    times = results.times.get(Key("wigner_d", (10,), "forward"), {})
    best = min((time for name, time in times.items() if name in ("jax", "torch", "numpy")), default=float("nan"))
    return Limit("wigner_d to L=10, 1,000 rotations, later calls", lambda: best, 50, "ms")
