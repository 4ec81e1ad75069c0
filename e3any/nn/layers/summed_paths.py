"""Tables of the paths of arrays whose messages are summed over all paths that end in an irrep."""

from __future__ import annotations

import numpy as np
from e3any_backends.forms.couplings import Coupling, Path
from e3any_backends.forms.paths import PathForm
from e3any_backends.forms.tables import host_table
from numpy.typing import NDArray

from e3any.conventions import PARITIES
from e3any.nn.layers.couplings import coupling_plan
from e3any.nn.layers.irrep_paths import IrrepPath

__all__ = ["factor_of_path", "num_weights", "summed_form", "summed_paths", "weight_of_path"]


@host_table
def summed_paths(kernel_shape: tuple[int, ...], use_parity: bool) -> tuple[IrrepPath, ...]:
    """List the paths of a table of filters, inputs and outputs in the order of their weights, with parities."""
    allowed, plan = _allowed(kernel_shape, use_parity), coupling_plan(kernel_shape, True, use_parity)
    index = np.stack(np.unravel_index(plan.weight_index[0][allowed], kernel_shape), axis=-1).tolist()
    named = []
    for entry in index:
        parities = zip(entry[::2], entry[1::2], kernel_shape[::2], strict=True)
        b, a, c = (f"{degree}{PARITIES[p if n == 2 else degree % 2]}" for p, degree, n in parities)
        named.append((a, b, c))
    return tuple(named)


@host_table
def summed_form(kernel_shape: tuple[int, ...], cartesian_order: bool, use_parity: bool, features: int) -> PathForm:
    r"""Tabulate the paths of a table of filters, inputs and outputs, in the order of their weights.

    Coefficients have the factors :math:`1 / \sqrt{n_c}`.
    """
    allowed, plan = _allowed(kernel_shape, use_parity), coupling_plan(kernel_shape, cartesian_order, use_parity)
    merged = plan.merged
    members = (merged.paths[weight] for weight in plan.weight_index[0][allowed])
    factors = factor_of_path(kernel_shape, use_parity)[allowed, 0]
    paths = tuple(
        Path(path.y, path.x, path.z, path.coefficients.transpose(1, 0, 2) * factor)
        for path, factor in zip(members, factors, strict=True)
    )
    return PathForm(((Coupling(paths, merged.num_y, merged.num_x, merged.num_z), features),))


@host_table
def num_weights(kernel_shape: tuple[int, ...], use_parity: bool = True) -> int:
    """Return the number of paths that parity allows."""
    return int(_allowed(kernel_shape, use_parity).sum())


def _allowed(kernel_shape: tuple[int, ...], use_parity: bool) -> NDArray[np.bool_]:
    """Return which paths (R, paths) are allowed."""
    return np.asarray(coupling_plan(kernel_shape, True, use_parity).weight_mask[0, :, :, 0] != 0)


def weight_of_path(kernel_shape: tuple[int, ...], use_parity: bool) -> NDArray[np.intp]:
    """Return the index of the weight of every allowed path; forbidden paths have any index."""
    allowed = _allowed(kernel_shape, use_parity)
    return np.where(allowed, np.cumsum(allowed).reshape(allowed.shape) - 1, 0)


def factor_of_path(kernel_shape: tuple[int, ...], use_parity: bool) -> NDArray[np.float64]:
    r"""Return :math:`1 / \sqrt{n_c}` for every path, which ends in irrep c; zero for forbidden paths."""
    allowed = _allowed(kernel_shape, use_parity)
    index = coupling_plan(kernel_shape, True, use_parity).weight_index[0]
    *_, parity, degree = np.unravel_index(index, kernel_shape)
    ends = parity * kernel_shape[-1] + degree
    counts = np.bincount(ends[allowed], minlength=ends.max() + 1)
    return np.where(allowed, 1.0 / np.sqrt(np.maximum(counts[ends], 1)), 0.0)[..., None]
