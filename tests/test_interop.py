"""Conversions to the conventions of other libraries, against these libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest

from e3any import Layout, interop, nn, so3

DEGREE = 4
TOLERANCES = {"float32": 1e-6, "float64": 1e-12}
dtypes = pytest.mark.parametrize("dtype", TOLERANCES)
conventions = pytest.mark.parametrize("convention", interop.CONVENTIONS)
# Sorted as e3nn has them, with both parities.
IRREPS = [(l, p) for l in range(DEGREE + 1) for p in (-1, 1)]


def error(actual, desired):
    """Return the largest difference, relative to the largest value if that is above 1."""
    actual, desired = np.asarray(actual), np.asarray(desired)
    assert actual.shape == desired.shape
    assert actual.dtype == desired.dtype
    return np.abs(actual - desired).max() / max(1.0, np.abs(desired).max())


def e3nn_harmonics(r, degree, normalization="component"):
    torch, o3 = pytest.importorskip("torch"), pytest.importorskip("e3nn.o3")
    return o3.spherical_harmonics(list(range(degree + 1)), torch.from_numpy(r), True, normalization).numpy()


def e3nn_jax_harmonics(r, degree):
    e3nn = pytest.importorskip("e3nn_jax")
    irreps = e3nn.Irreps([(1, (l, (-1) ** l)) for l in range(degree + 1)])
    return e3nn.spherical_harmonics(irreps, r, True).array


def cuequivariance_harmonics(r, degree):
    cue, cuet = pytest.importorskip("cuequivariance"), pytest.importorskip("cuequivariance_torch")
    torch = pytest.importorskip("torch")
    polynomial = cue.descriptors.spherical_harmonics(cue.SO3(1), list(range(degree + 1))).polynomial
    dtype = {"float32": torch.float32, "float64": torch.float64}[r.dtype.name]
    module = cuet.SegmentedPolynomial(polynomial, method="naive", math_dtype=dtype)
    unit = torch.nn.functional.normalize(torch.from_numpy(r), dim=-1)
    return module([unit])[0].numpy()


def sphericart_harmonics(r, degree):
    return pytest.importorskip("sphericart").SphericalHarmonics(degree).compute(r)


def e3x_harmonics(cartesian_order):
    def harmonics(r, degree):
        e3x = pytest.importorskip("e3x")
        # Its result is in double precision whenever JAX has it.
        return np.asarray(e3x.so3.spherical_harmonics(r, degree, cartesian_order=cartesian_order), r.dtype)

    return harmonics


def pyscf_harmonics(r, degree):
    """Return the angular parts of Gaussian functions."""
    gto = pytest.importorskip("pyscf.gto")
    shells = {"H": [[l, [0.3, 1.0]] for l in range(degree + 1)]}
    molecule = gto.M(atom="H 0 0 0", basis=shells, spin=1, unit="Bohr", verbose=0)
    unit = r / np.linalg.norm(r, axis=-1, keepdims=True)
    values = molecule.eval_gto("GTOval_sph", unit)
    # At unit distance each shell is one number times its harmonics.
    radial = [gto.gto_norm(l, 0.3) * math.exp(-0.3) for l in range(degree + 1)]
    return values / np.repeat(radial, [2 * l + 1 for l in range(degree + 1)])


PEERS = {
    "e3nn": e3nn_harmonics,
    "e3nn-jax": e3nn_jax_harmonics,
    "cuequivariance": cuequivariance_harmonics,
    "sphericart": sphericart_harmonics,
    "e3x": e3x_harmonics(True),
    "e3x-m": e3x_harmonics(False),
    "pyscf": pyscf_harmonics,
}


@dtypes
@pytest.mark.parametrize("peer", PEERS)
def test_harmonics_are_those_of_the_peer(peer, dtype, rng):
    if (peer, dtype) == ("pyscf", "float32"):
        pytest.skip("PySCF computes in double precision")
    r = rng.normal(size=(50, 3)).astype(dtype)
    ours = so3.spherical_harmonics(r, DEGREE, normalization="racah")
    theirs = np.asarray(PEERS[peer](r, DEGREE))
    assert error(interop.to_spherical_harmonics(ours, peer), theirs) < TOLERANCES[dtype]
    assert error(interop.from_spherical_harmonics(theirs, peer), ours) < TOLERANCES[dtype]


@pytest.mark.parametrize(("theirs", "ours"), [("norm", "racah"), ("component", "4pi"), ("integral", "orthonormal")])
def test_normalizations_of_e3nn(theirs, ours, rng):
    r = rng.normal(size=(9, 3))
    y = so3.spherical_harmonics(r, DEGREE, normalization="racah")
    converted = interop.to_spherical_harmonics(y, "e3nn", normalization=ours)
    assert error(converted, e3nn_harmonics(r, DEGREE, theirs)) < 1e-12


def formulas_of_orca(r):
    """Return the s, p, d and f functions in the order of ORCA's output: 0, +1, -1, +2, -2, +3, -3."""
    x, y, z = (r / np.linalg.norm(r, axis=-1, keepdims=True)).T
    s3, s15 = math.sqrt(3), math.sqrt(15)
    d = [(3 * z**2 - 1) / 2, s3 * x * z, s3 * y * z, s3 / 2 * (x**2 - y**2), s3 * x * y]
    f = [(5 * z**3 - 3 * z) / 2, math.sqrt(6) / 4 * x * (5 * z**2 - 1), math.sqrt(6) / 4 * y * (5 * z**2 - 1)]
    f += [s15 / 2 * z * (x**2 - y**2), s15 * x * y * z]
    # The last two have the other sign there.
    f += [-math.sqrt(10) / 4 * x * (x**2 - 3 * y**2), -math.sqrt(10) / 4 * y * (3 * x**2 - y**2)]
    return np.stack([np.ones_like(x), z, x, y, *d, *f], axis=-1)


def test_orbitals_of_orca_follow_their_formulas(rng):
    r = rng.normal(size=(20, 3))
    y = so3.spherical_harmonics(r, 3, normalization="racah")
    assert error(interop.to_spherical_harmonics(y, "orca", normalization="racah"), formulas_of_orca(r)) < 1e-14


@conventions
def test_changes_of_basis_are_orthogonal_and_undone(convention, library, rng):
    q = interop.change_of_basis(convention, DEGREE)
    np.testing.assert_allclose(q @ q.T, np.eye(25), atol=1e-13)
    assert not q.flags.writeable
    x = rng.normal(size=(3, 2, 25, 4))
    there = interop.to_components(library.array(x), convention)
    assert library.owns(there)
    np.testing.assert_allclose(library.numpy(interop.from_components(there, convention)), x, atol=1e-13)


def e3nn_wigner_d(rot, irreps):
    """Return the matrix of e3nn in double precision, which its tables have if that is the default dtype."""
    torch, o3 = pytest.importorskip("torch"), pytest.importorskip("e3nn.o3")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return o3.Irreps(irreps).D_from_matrix(torch.from_numpy(np.ascontiguousarray(rot.T))).numpy()
    finally:
        torch.set_default_dtype(before)


def e3nn_jax_wigner_d(rot):
    e3nn, d = pytest.importorskip("e3nn_jax"), np.zeros((25, 25))
    for l in range(DEGREE + 1):
        d[l**2 : (l + 1) ** 2, l**2 : (l + 1) ** 2] = e3nn.Irrep(l, 1).D_from_matrix(rot.T)
    return d


WIGNER_D = {
    "e3nn": lambda rot: e3nn_wigner_d(rot, [(1, (l, (-1) ** l)) for l in range(DEGREE + 1)]),
    "e3nn-jax": e3nn_jax_wigner_d,
    "e3x": lambda rot: pytest.importorskip("e3x").so3.wigner_d(rot, DEGREE, cartesian_order=True),
    "e3x-m": lambda rot: pytest.importorskip("e3x").so3.wigner_d(rot, DEGREE, cartesian_order=False),
}


@pytest.mark.parametrize("peer", WIGNER_D)
def test_wigner_d_is_that_of_the_peer(peer, rng):
    rot = np.asarray(so3.random_rotation(rng))
    ours, theirs = so3.wigner_d(rot, DEGREE), np.asarray(WIGNER_D[peer](rot))
    for dtype, tolerance in TOLERANCES.items():
        a, b = ours.astype(dtype), theirs.astype(dtype)
        assert error(interop.to_wigner_d(a, peer), b) < tolerance
        assert error(interop.from_wigner_d(b, peer), a) < tolerance


@conventions
def test_wigner_d_turns_what_was_converted(convention, rng):
    """Rotated coordinates give harmonics that the converted matrix rotates."""
    rot, r = np.asarray(so3.random_rotation(rng)), rng.normal(size=(5, 3))
    d = interop.to_wigner_d(so3.wigner_d(rot, DEGREE), convention)
    before, after = (
        interop.to_spherical_harmonics(so3.spherical_harmonics(x, DEGREE, normalization="racah"), convention)
        for x in (r, r @ rot)
    )
    turned = before @ (d.T if interop.CONVENTIONS[convention].columns else d)
    np.testing.assert_allclose(turned, after, atol=1e-12)


def e3nn_coupling(l1, l2, l3):
    torch, o3 = pytest.importorskip("torch"), pytest.importorskip("e3nn.o3")
    return o3.wigner_3j(l1, l2, l3, dtype=torch.float64).numpy()


def cuequivariance_coupling(l1, l2, l3):
    cue = pytest.importorskip("cuequivariance")
    return cue.clebsch_gordan(cue.SO3(l1), cue.SO3(l2), cue.SO3(l3))[0]


COUPLINGS = {
    "e3nn": e3nn_coupling,
    "e3nn-jax": lambda l1, l2, l3: pytest.importorskip("e3nn_jax").clebsch_gordan(l1, l2, l3),
    "cuequivariance": cuequivariance_coupling,
}
E3X_COUPLINGS = {"e3x": True, "e3x-m": False}


def all_couplings(peer):
    """Return the coefficients of a peer up to degree 3."""
    if peer in E3X_COUPLINGS:
        return np.asarray(
            pytest.importorskip("e3x").so3.clebsch_gordan(3, 3, 3, cartesian_order=E3X_COUPLINGS[peer]), float
        )
    cg = np.zeros((16, 16, 16))
    for l1, l2, l3 in np.ndindex(4, 4, 4):
        if abs(l1 - l2) <= l3 <= l1 + l2:
            cg[tuple(slice(l**2, (l + 1) ** 2) for l in (l1, l2, l3))] = COUPLINGS[peer](l1, l2, l3)
    return cg


@pytest.mark.parametrize("peer", [*COUPLINGS, *E3X_COUPLINGS])
def test_clebsch_gordan_coefficients_are_those_of_the_peer(peer):
    ours, theirs = so3.clebsch_gordan(3, 3, 3), all_couplings(peer)
    for dtype, tolerance in TOLERANCES.items():
        a, b = ours.astype(dtype), theirs.astype(dtype)
        assert error(interop.to_clebsch_gordan(a, peer), b) < tolerance
        assert error(interop.from_clebsch_gordan(b, peer), a) < tolerance


@pytest.mark.parametrize("features_first", [True, False])
def test_features_rotate_as_those_of_e3nn(features_first, library, rng):
    rot, x = np.asarray(so3.random_rotation(rng)), rng.normal(size=(3, 2, 25, 6))
    flat = interop.to_features(library.array(x), "e3nn", IRREPS, features_first=features_first)
    assert library.owns(flat)
    back = interop.from_features(flat, "e3nn", IRREPS, Layout.of(x), features_first=features_first)
    np.testing.assert_allclose(library.numpy(back), x, atol=1e-13)
    if features_first:
        d = e3nn_wigner_d(rot, [(6, irrep) for irrep in IRREPS])
        turned = interop.to_features(nn.rotate(x, so3.wigner_d(rot, DEGREE)), "e3nn", IRREPS)
        np.testing.assert_allclose(library.numpy(flat) @ d.T, turned, atol=1e-11)


def test_a_feature_has_its_components_side_by_side_or_not():
    x = np.zeros((1, 4, 2))
    x[0, 1:, 0], x[0, 1:, 1] = [1, 2, 3], [4, 5, 6]
    irreps = [(1, -1), (0, 1)]
    np.testing.assert_array_equal(interop.to_features(x, "e3x", irreps), [1, 2, 3, 4, 5, 6, 0, 0])
    flat = interop.to_features(x, "e3x", irreps, features_first=False)
    np.testing.assert_array_equal(flat, [1, 4, 2, 5, 3, 6, 0, 0])


def test_irreps_that_are_missing_are_zero(rng):
    layout, flat = Layout(max_degree=1, features=2, pseudotensors=True), rng.normal(size=(5, 6))
    x = interop.from_features(flat, "e3nn-jax", [(1, 1)], layout)
    assert x.shape == (5, 2, 4, 2)
    assert np.count_nonzero(np.abs(x).sum((0, 3))) == 3
    np.testing.assert_allclose(interop.to_features(x, "e3nn-jax", [(1, 1)]), flat)


@dtypes
@pytest.mark.parametrize("peer", ["e3nn", "e3nn-jax", "cuequivariance"])
def test_linear_maps_are_those_of_the_peer(peer, dtype, rng):
    layout, out = Layout(max_degree=2, features=5, pseudotensors=True), 3
    irreps = [(l, p) for l in range(3) for p in (1, -1)]
    x = rng.normal(size=(4, *layout.shape)).astype(dtype)
    weights = rng.normal(size=6 * 5 * 3).astype(dtype)
    params = interop.dense_parameters(weights, irreps, layout, out)
    ours = interop.to_features(nn.Dense(out, use_bias=False)(params, x), peer, irreps)
    theirs = linear_map(peer, irreps, out, weights, interop.to_features(x, peer, irreps))
    assert error(ours, theirs) < TOLERANCES[dtype]
    assert error(interop.linear_weights(params, irreps, layout), weights) < TOLERANCES[dtype]


def test_weights_with_element_normalization_have_no_factor(rng):
    layout, irreps = Layout(max_degree=1, features=5), [(0, 1), (1, -1)]
    x, weights = rng.normal(size=(2, *layout.shape)), rng.normal(size=2 * 5 * 3)
    params = interop.dense_parameters(weights, irreps, layout, 3, gradient_normalization="element")
    ours = interop.to_features(nn.Dense(3, use_bias=False)(params, x), "e3nn-jax", irreps)
    flat = interop.to_features(x, "e3nn-jax", irreps)
    assert error(ours, linear_map("e3nn-jax", irreps, 3, weights, flat, "element")) < 1e-12
    back = interop.linear_weights(params, irreps, layout, gradient_normalization="element")
    np.testing.assert_array_equal(back, weights)


def linear_map(peer, irreps, out, weights, x, gradient_normalization="path"):
    """Apply the linear map of a peer."""
    if peer == "e3nn":
        torch, o3 = pytest.importorskip("torch"), pytest.importorskip("e3nn.o3")
        kinds = [o3.Irreps([(n, ir) for ir in irreps]) for n in (5, out)]
        module = o3.Linear(*kinds, internal_weights=False, shared_weights=True)
        return module(*map(torch.from_numpy, (x, weights))).numpy()
    if peer == "e3nn-jax":
        e3nn = pytest.importorskip("e3nn_jax")
        kinds = [e3nn.Irreps([(n, ir) for ir in irreps]) for n in (5, out)]
        module = e3nn.FunctionalLinear(*kinds, gradient_normalization=gradient_normalization)
        blocks = [w.reshape(5, out) for w in np.split(weights, len(irreps))]
        return np.stack([module(blocks, e3nn.IrrepsArray(kinds[0], row)).array for row in x])
    torch, cue = pytest.importorskip("torch"), pytest.importorskip("cuequivariance")
    cuet = pytest.importorskip("cuequivariance_torch")
    kinds = [cue.Irreps("O3", "+".join(f"{n}x{l}{'e' if p > 0 else 'o'}" for l, p in irreps)) for n in (5, out)]
    dtype = {"float32": torch.float32, "float64": torch.float64}[x.dtype.name]
    module = cuet.Linear(*kinds, layout=cue.mul_ir, internal_weights=False, dtype=dtype, method="naive")
    return module(torch.from_numpy(x), torch.from_numpy(weights)[None]).numpy()


LAYOUTS = tuple(
    Layout(max_degree, 3, pseudotensors) for max_degree, pseudotensors in ((2, True), (1, False), (2, True))
)
PATHS = [
    (a, b, (l, a[1] * b[1]))
    for a in [(l, p) for l in range(3) for p in (-1, 1)]
    for b in [(0, 1), (1, -1)]
    for l in range(abs(a[0] - b[0]), min(2, a[0] + b[0]) + 1)
][1:]


@dtypes
@pytest.mark.parametrize("kind", ["uuu", "uvu"])
def test_tensor_products_are_those_of_e3nn(kind, dtype, rng):
    x, y = (rng.normal(size=(4, *layout.shape)).astype(dtype) for layout in LAYOUTS[:2])
    if kind == "uvu":
        y = y[..., :1]
    weights = rng.normal(size=3 * len(PATHS)).astype(dtype)
    params = interop.tensor_parameters(weights, PATHS, LAYOUTS)
    ours = nn.Tensor(2)(params, x, np.broadcast_to(y, (*y.shape[:-1], 3)))
    assert error(interop.tensor_weights(params, PATHS, LAYOUTS), weights) < TOLERANCES[dtype]
    irreps = [sorted({path[i] for path in PATHS}) for i in range(3)]
    flat = [interop.to_features(a, "e3nn", irreps[i]) for i, a in enumerate((x, y))]
    theirs = e3nn_product(kind, irreps, [len(y[0, 0, 0]) if i == 1 else 3 for i in range(3)], flat, weights)
    assert error(interop.to_features(ours, "e3nn", irreps[2]), theirs) < TOLERANCES[dtype]


def e3nn_product(kind, irreps, counts, factors, weights):
    """Apply a tensor product of e3nn, whose couplings are in the default dtype."""
    torch, o3 = pytest.importorskip("torch"), pytest.importorskip("e3nn.o3")
    instructions = [(*(irreps[i].index(path[i]) for i in range(3)), kind, True) for path in PATHS]
    kinds = [o3.Irreps([(n, ir) for ir in each]) for n, each in zip(counts, irreps)]
    tensors = [torch.from_numpy(a) for a in (*factors, weights)]
    before = torch.get_default_dtype()
    torch.set_default_dtype(tensors[0].dtype)
    try:
        module = o3.TensorProduct(*kinds, instructions, internal_weights=False, shared_weights=True)
        return module(*tensors).numpy()
    finally:
        torch.set_default_dtype(before)


def test_weights_of_products_keep_their_library(library, rng):
    weights = rng.normal(size=3 * len(PATHS))
    params = interop.tensor_parameters(library.array(weights), PATHS, LAYOUTS)
    assert library.owns(params["kernel"])
    assert tuple(params["kernel"].shape) == (2, 3, 1, 2, 2, 3, 3)
    assert np.count_nonzero(library.numpy(params["kernel"])) == 3 * len(PATHS)
    back = interop.tensor_weights(params, PATHS, LAYOUTS)
    np.testing.assert_allclose(library.numpy(back), weights, rtol=1e-13)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: interop.change_of_basis("e4nn", 1), "expected a convention among .*, got 'e4nn'"),
        (lambda: [interop.change_of_basis("e3nn", l) for l in (1, True)], "expected max_degree .* got True"),
        (lambda: interop.change_of_basis(["e3nn"], 1), r"expected a convention among .*, got \['e3nn'\]"),
        (lambda: interop.change_of_basis("orca", 5), "expected max_degree <= 4 for 'orca', got 5"),
        (lambda: interop.to_components(np.zeros((5, 1)), "e3nn"), r"expected \(max_degree\+1\)\*\*2 components"),
        (lambda: interop.to_features(np.zeros((1, 4, 2)), "e3nn", [(1, 1)]), "expected irreps among"),
        (lambda: interop.to_features(np.zeros((1, 4, 2)), "e3nn", [(0, 1)] * 2), "expected irreps among"),
        (lambda: interop.from_features(np.zeros(4), "e3nn", [(0, 1)], Layout(1, 2)), "expected 2 components of"),
        (lambda: interop.dense_parameters(np.zeros(3), [(0, 1)], Layout(0, 2), 2), "expected 1 blocks"),
        (lambda: interop.dense_parameters(np.zeros(4), [(0, 1)], Layout(1, 2), 2), "expected all 2 irreps"),
        (
            lambda: interop.dense_parameters(np.zeros(4), [(0, 1)], Layout(0, 2), 2, gradient_normalization="row"),
            "expected gradient_normalization 'path' or 'element', got 'row'",
        ),
        (lambda: interop.tensor_parameters(np.zeros(3), [((0, 1), (1, 1), (1, 1))], LAYOUTS), "expected irreps among"),
        (lambda: interop.tensor_parameters(np.zeros(3), [((0, 1), (1, -1), (1, 1))], LAYOUTS), "expected paths that"),
        (lambda: interop.tensor_parameters(np.zeros(6), PATHS[:1] * 2, LAYOUTS), "expected every path once"),
        (lambda: interop.tensor_parameters(np.zeros(2), PATHS[:1], LAYOUTS), "expected 1 paths of 3 weights"),
        (lambda: interop.tensor_weights({"kernel": np.zeros(3)}, PATHS, LAYOUTS), "expected a kernel of shape"),
    ],
)
def test_arguments_are_checked(call, message):
    with pytest.raises(ValueError, match=message):
        call()
