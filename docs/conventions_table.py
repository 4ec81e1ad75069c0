"""Print the table of conventions.md and write it there: how far conversions are from the numbers of other libraries.

python docs/conventions_table.py
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from e3any import Layout, interop, nn, so3

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))
jax.config.update("jax_enable_x64", True)
peers = importlib.import_module("test_interop")  # what the tests compare with

START = "<!-- table -->\n"
NONE = float("nan")


def points(dtype: str) -> NDArray[Any]:
    """Return random points."""
    return np.random.default_rng(1).normal(size=(500, 3)).astype(dtype)


def harmonics(peer: str, dtype: str) -> float:
    """Return the largest error of harmonics at random points."""
    if peer == "pyscf" and dtype == "float32":
        return NONE
    r = points(dtype)
    y = so3.spherical_harmonics(r, peers.DEGREE, normalization="racah")
    return float(peers.error(interop.to_spherical_harmonics(y, peer), peers.PEERS[peer](r, peers.DEGREE)))


def from_exact(values: Any, peer: str, dtype: str) -> float:
    """Return how far harmonics of single precision are from our own of double precision, at the same points."""
    if dtype == "float64" or peer == "pyscf":
        return NONE
    r = points(dtype).astype(np.float64)
    exact = interop.to_spherical_harmonics(so3.spherical_harmonics(r, peers.DEGREE, normalization="racah"), peer)
    return float(peers.error(np.asarray(values, np.float64), np.asarray(exact)))


def our_rounding(peer: str, dtype: str) -> float:
    """Return the rounding of our harmonics."""
    y = so3.spherical_harmonics(points(dtype), peers.DEGREE, normalization="racah")
    return from_exact(interop.to_spherical_harmonics(y, peer), peer, dtype)


def their_rounding(peer: str, dtype: str) -> float:
    """Return the rounding of theirs."""
    if peer == "pyscf":
        return NONE
    return from_exact(peers.PEERS[peer](points(dtype), peers.DEGREE), peer, dtype)


def wigner_d(peer: str, dtype: str) -> float:
    """Return the error of the Wigner-D matrix of a random rotation."""
    if peer not in peers.WIGNER_D:
        return NONE
    rot = np.asarray(so3.random_rotation(np.random.default_rng(1)))
    theirs = np.asarray(peers.WIGNER_D[peer](rot)).astype(dtype)
    return float(peers.error(interop.to_wigner_d(so3.wigner_d(rot, peers.DEGREE).astype(dtype), peer), theirs))


def couplings(peer: str, dtype: str) -> float:
    """Return the largest error of Clebsch-Gordan coefficients."""
    if peer not in {*peers.COUPLINGS, *peers.E3X_COUPLINGS}:
        return NONE
    ours = so3.clebsch_gordan(3, 3, 3).astype(dtype)
    return float(peers.error(interop.to_clebsch_gordan(ours, peer), peers.all_couplings(peer).astype(dtype)))


def linear(peer: str, dtype: str) -> float:
    """Return the largest error of a linear map with the same weights."""
    if peer not in ("e3nn", "e3nn-jax", "cuequivariance"):
        return NONE
    rng, layout = np.random.default_rng(1), Layout(max_degree=2, features=5, pseudotensors=True)
    irreps = [(l, p) for l in range(3) for p in (1, -1)]
    x, weights = rng.normal(size=(4, *layout.shape)).astype(dtype), rng.normal(size=90).astype(dtype)
    params = interop.dense_parameters(weights, irreps, layout, 3)
    ours = interop.to_features(nn.Dense(3, use_bias=False)(params, x), peer, irreps)
    theirs = peers.linear_map(peer, irreps, 3, weights, interop.to_features(x, peer, irreps))
    return float(peers.error(ours, theirs))


def product(peer: str, dtype: str) -> float:
    """Return the largest error of a tensor product with the same weights, feature by feature."""
    if peer != "e3nn":
        return NONE
    rng = np.random.default_rng(1)
    x, y = (rng.normal(size=(4, *layout.shape)).astype(dtype) for layout in peers.LAYOUTS[:2])
    weights = rng.normal(size=3 * len(peers.PATHS)).astype(dtype)
    params = interop.tensor_parameters(weights, peers.PATHS, peers.LAYOUTS)
    irreps = [sorted({path[i] for path in peers.PATHS}) for i in range(3)]
    flat = [interop.to_features(a, peer, each) for a, each in zip((x, y), irreps, strict=False)]
    ours = interop.to_features(nn.Tensor(2)(params, x, y), peer, irreps[2])
    return float(peers.error(ours, peers.e3nn_product("uuu", irreps, [3, 3, 3], flat, weights)))


MEASURES = (harmonics, our_rounding, their_rounding, wigner_d, couplings, linear, product)


def main() -> None:
    """Measure, and write the table."""
    head = "| library | dtype | harmonics | rounding: ours | theirs | Wigner-D | Clebsch-Gordan | linear map |"
    rows = [f"{head} tensor product |", "|---|---|---|---|---|---|---|---|---|"]
    for peer in peers.PEERS:
        for dtype in peers.TOLERANCES:
            errors = [measure(peer, dtype) for measure in MEASURES]
            if not np.all(np.isnan(errors)):
                cells = ["-" if np.isnan(e) else "0" if e == 0 else f"{e:.1e}" for e in errors]
                rows.append(f"| {peer} | {dtype} | {' | '.join(cells)} |")
    print(*rows, sep="\n")
    page = ROOT / "docs" / "conventions.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(START)
    after = rest.partition(START)[2]
    page.write_text(before + START + "\n".join(rows) + "\n" + START + after, encoding="utf-8")


if __name__ == "__main__":
    main()
