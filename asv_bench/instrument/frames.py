"""Messages along edges with a matrix for every path: in frames of edges, and by couplings with harmonics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from e3any_backends import backend_of

from e3any import Layout, nn, so3
from e3any.conventions import degree_slice

__all__ = ["InFrames", "PathByPath"]


@dataclass(frozen=True)
class InFrames(nn.Layer):
    """To the frame, a linear map, and back."""

    features: int
    max_order: int | None = None

    def forward(self, p: Any, x: Any, vectors: Any) -> Any:
        frame = nn.edge_frame(vectors, Layout.of(x).max_degree)
        dense = nn.SO2Dense(self.features, max_order=self.max_order, use_bias=False)
        return nn.from_frame(dense(p / "dense", nn.to_frame(x, frame)), frame)


@dataclass(frozen=True)
class PathByPath(nn.Layer):
    """Couple each degree of the features with each degree of harmonics, and mix features by a matrix."""

    features: int

    def forward(self, p: Any, x: Any, vectors: Any) -> Any:
        backend, degree = backend_of(x), Layout.of(x).max_degree
        xp, init = backend.xp, nn.initializers.lecun_normal
        harmonics = so3.spherical_harmonics(vectors, 2 * degree)
        degrees = range(degree + 1)
        outputs = []
        for l3 in degrees:
            total = 0.0
            for l1, l2 in ((a, b) for a in degrees for b in range(abs(a - l3), a + l3 + 1, 2)):
                table = backend.table(_coupling, l1, l2, l3, like=x)
                matrix = xp.reshape(backend.matmul(harmonics[:, degree_slice(l2)], table), (-1, 2 * l3 + 1, 2 * l1 + 1))
                y = backend.matmul(matrix, x[:, 0, degree_slice(l1), :])
                kernel = (p / f"{l1} {l2} {l3}").param("kernel", (x.shape[-1], self.features), init, "float32")
                flat = xp.reshape(y, (y.shape[0] * y.shape[1], y.shape[2]))
                total = total + xp.reshape(backend.matmul(flat, kernel), (*y.shape[:2], self.features))
            outputs.append(total)
        return xp.concat(outputs, axis=1)[:, None, :, :]


def _coupling(l1: int, l2: int, l3: int) -> Any:
    """Return coefficients of shape (2 l2 + 1, (2 l3 + 1) (2 l1 + 1))."""
    table = so3.clebsch_gordan_for_degrees(l1, l2, l3, cartesian_order=True)
    return table.transpose(1, 2, 0).reshape(2 * l2 + 1, -1)
