"""A program for e3x: every layer, and every function under its name.

The tests run it as it stands, and with ``import e3any_flax as e3x`` in place of ``import e3x``.
"""

from functools import partial

import e3x
import flax.linen
import jax
import jax.numpy as jnp
import numpy as np

DEGREES = {"max_degree": 2}


class Model(flax.linen.Module):
    """All layers, with arguments by position where programs use them, and options of all kinds."""

    features: int = 2

    @flax.linen.compact
    def __call__(self, numbers, positions, dst_idx, src_idx):
        """Return features of every atom."""
        nn, edges = e3x.nn, {"dst_idx": dst_idx, "src_idx": src_idx}
        dtype = positions.dtype
        r = e3x.ops.gather_src(positions, src_idx=src_idx) - e3x.ops.gather_dst(positions, dst_idx=dst_idx)
        basis, cut, _ = nn.basis(
            r,
            max_degree=1,
            num=3,
            radial_fn=partial(nn.exponential_bernstein, gamma=0.7),
            cutoff_fn=partial(nn.smooth_cutoff, cutoff=4.0),
            damping_fn=partial(nn.smooth_damping, gamma=2.0),
            return_cutoff=True,
            return_norm=True,
        )
        x = nn.Embed(10, self.features, dtype)(numbers)
        x = nn.add(x, nn.MessagePass(1, True, False)(x, basis, weights=cut[:, None, None, None], **edges))
        x = nn.add(x, nn.SelfAttention(num_heads=2)(nn.mish(x), basis, cut, **edges))
        learned = nn.ExponentialBasis(2.0)(r, max_degree=1, num=3, radial_fn=nn.exponential_gaussian)
        y = nn.MultiHeadAttention(1, True, False, num_heads=2)(x, x[:, :1], learned, **edges)
        y = nn.TensorDense(self.features, 1, use_fused_tensor=True, name="product")(nn.add(x, y))
        x = nn.add(x, y, nn.Tensor(1, False)(x, y), nn.FusedTensor()(x, nn.change_max_degree_or_type(y, 1, True)))
        return nn.Dense(1, False, name="out")(nn.shifted_softplus(x))


def so3(i):
    """Return the result of every function of rotations."""
    so3 = e3x.so3
    return {
        "alignment_rotation": lambda: so3.alignment_rotation(i.r, i.r[::-1]),
        "clebsch_gordan": lambda: so3.clebsch_gordan(1, 2, 2, False),
        "clebsch_gordan_for_degrees": lambda: so3.clebsch_gordan_for_degrees(1, degree2=2, degree3=3),
        "delley_quadrature": lambda: so3.delley_quadrature(num=14),
        "euler_angles_from_rotation": lambda: so3.euler_angles_from_rotation(i.rotation),
        "irreps_to_tensor": lambda: so3.irreps_to_tensor(i.x[..., 0, 4:9, 0], 2),
        "is_traceless_symmetric": lambda: [
            so3.is_traceless_symmetric(tensor, degree=2) for tensor in (np.eye(3), np.diag([1.0, 1.0, -2.0]))
        ],
        "lebedev_quadrature": lambda: so3.lebedev_quadrature(5),
        "random_rotation": lambda: so3.random_rotation(jax.random.PRNGKey(1), num=4).shape,
        "rotation": lambda: so3.rotation(i.r, i.angle),
        "rotation_euler": lambda: so3.rotation_euler(i.angle, 2 * i.angle, c=i.angle**2),
        "solid_harmonics": lambda: so3.solid_harmonics(i.r, 3, cartesian_order=False),
        "spherical_harmonics": lambda: so3.spherical_harmonics(i.r, 3, normalization="orthonormal"),
        "tensor_to_irreps": lambda: so3.tensor_to_irreps(i.traceless, 2, normalization="4pi"),
        "wigner_d": lambda: so3.wigner_d(i.rotation, **DEGREES),
    }


def ops(i):
    """Return the result of every operation."""
    ops, dense, sparse = e3x.ops, {"adj_idx": i.adj}, {"dst_idx": i.dst, "num_segments": 4}
    where = {"where": i.adj < 4}
    return {
        "dense_pairwise_indices": lambda: ops.dense_pairwise_indices(4, mask_self=False),
        "dense_to_sparse_indices": lambda: ops.dense_to_sparse_indices(i.adj, 4),
        "evaluate_derivatives": lambda: ops.evaluate_derivatives(jnp.sin, i.t, max_order=3),
        "gather_dst": lambda: (ops.gather_dst(i.x, **dense), ops.gather_dst(i.x, dst_idx=i.dst, src_idx=i.src)),
        "gather_src": lambda: (ops.gather_src(i.x, adj_idx=i.adj % 4), ops.gather_src(i.x, src_idx=i.src)),
        "indexed_max": lambda: ops.indexed_max(i.t, **sparse),
        "indexed_min": lambda: ops.indexed_min(i.weights, **dense, **where),
        "indexed_softmax": lambda: (
            ops.indexed_softmax(i.t, **sparse),
            ops.indexed_softmax(i.weights, abs(i.weights), **dense, **where)[:2, :2],
        ),
        "indexed_sum": lambda: (ops.indexed_sum(i.t, True, **sparse), ops.indexed_sum(i.weights, **dense, **where)),
        "inverse_softplus": lambda: ops.inverse_softplus(i.t),
        "norm": lambda: (ops.norm(i.r, -1), ops.norm(i.r, axis=(0, 1), keepdims=True)),
        "normalize": lambda: ops.normalize(i.r, axis=-1),
        "normalize_and_return_norm": lambda: ops.normalize_and_return_norm(i.r, -1, keepdims=True),
        "sparse_pairwise_indices": lambda: ops.sparse_pairwise_indices(3),
        "sparse_to_dense_indices": lambda: ops.sparse_to_dense_indices(i.dst, i.src),
    }


def nn(i):
    """Return the result of every function of features and distances."""
    nn = e3x.nn
    cases = {
        "add": lambda: nn.add(i.x, i.x[:, :1, :4]),
        "basis": lambda: nn.basis(0.2 * i.r, max_degree=1, num=2, radial_fn=nn.basic_bernstein),
        "celu": lambda: nn.celu(i.x, 0.5),
        "change_max_degree_or_type": lambda: nn.change_max_degree_or_type(i.x, 3, include_pseudotensors=False),
        "elu": lambda: nn.elu(i.x, alpha=0.5),
        "gelu": lambda: (nn.gelu(i.x), nn.gelu(i.x, approximate=False)),
        "leaky_relu": lambda: nn.leaky_relu(i.x, negative_slope=0.2),
        "mish": lambda: (nn.mish(i.x), nn.mish(i.x, fast=False)),
        "rotate": lambda: nn.rotate(i.x, e3x.so3.wigner_d(i.rotation[0], 2)),
        "reflect": lambda: nn.reflect(i.x),
        "smooth_switch": lambda: nn.smooth_switch(i.t, 0.1, x1=0.8),
        "exponential_mapping": lambda: (nn.exponential_mapping(i.t, 0.5), nn.exponential_mapping(i.t, cuspless=True)),
        "reciprocal_mapping": lambda: [nn.reciprocal_mapping(i.t, kind) for kind in ("shifted", "damped", "cuspless")],
    }
    for name in ("even_degree_mask", "odd_degree_mask"):
        cases[name] = lambda name=name: getattr(nn, name)(2)
    for name in ("cosine_cutoff", "smooth_cutoff", "smooth_damping"):
        cases[name] = lambda name=name: (getattr(nn, name)(i.t), getattr(nn, name)(i.t, 0.5))
    for name in (
        *("bent_identity", "hard_silu", "hard_swish", "hard_tanh", "relu", "relu6"),
        *("selu", "serf", "shifted_softplus", "silu", "soft_sign", "swish"),
    ):
        cases[name] = lambda name=name: getattr(nn, name)(i.x)
    for name in ("rectangular_window", "sinc", "smooth_window", "triangular_window"):
        cases[name] = lambda name=name: (getattr(nn, name)(i.t, 3), getattr(nn, name)(i.t, 2, limit=2.0))
    for name in ("bernstein", "chebyshev", "fourier", "gaussian"):
        cases[f"basic_{name}"] = lambda f=f"basic_{name}": (getattr(nn, f)(i.t, 3), getattr(nn, f)(i.t, 2, limit=2.0))
        cases[f"reciprocal_{name}"] = lambda f=f"reciprocal_{name}": (
            getattr(nn, f)(i.t, 3),
            getattr(nn, f)(i.t, 2, "damped", use_reciprocal_weighting=True),
        )
        cases[f"exponential_{name}"] = lambda f=f"exponential_{name}": (
            getattr(nn, f)(i.t, 3),
            getattr(nn, f)(i.t, 2, gamma=0.5, cuspless=True, use_exponential_weighting=True),
        )
    return cases


def initializers(i):
    """Return what every initialiser draws."""
    init, key = e3x.nn.initializers, jax.random.PRNGKey(2)
    shape = (2, 3, 1, 2, 2, 3, 4)
    cases = {
        "tensor_variance_scaling": lambda: init.tensor_variance_scaling(2.0, "fan_avg", "normal")(
            key, shape, i.x.dtype
        ),
        "fused_tensor_normal": lambda: init.fused_tensor_normal(0.5, np.array([[True], [False]]))(
            key, (2, 3), i.x.dtype
        ),
        "fused_tensor_uniform": lambda: init.fused_tensor_uniform(scale=0.5)(key, (2, 3), i.x.dtype),
    }
    for kind in ("glorot", "he", "kaiming", "lecun", "xavier"):
        for distribution in ("normal", "uniform"):
            name = f"tensor_{kind}_{distribution}"
            cases[name] = lambda name=name: getattr(init, name)()(key, shape, i.x.dtype)
    return cases
