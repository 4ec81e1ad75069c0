"""Defaults that are looked up when a function is called."""

from __future__ import annotations

import inspect

import e3any_flax
import e3any_torch
import e3x
import jax
import numpy as np
import pytest

from e3any import Config, Layout, nn
from e3any.so3 import spherical_harmonics

FACTORY = {"cartesian_order": True, "normalization": "racah", "use_fused_tensor": False, "use_parity": True}
OTHERS = {"cartesian_order": False, "normalization": "4pi", "use_fused_tensor": True, "use_parity": False}


def current():
    return {name: getattr(Config, name) for name in FACTORY}


@pytest.fixture(autouse=True)
def _reset():
    yield
    for name, value in FACTORY.items():
        getattr(Config, f"set_{name}")(value)


def test_defaults_are_the_documented_ones():
    assert current() == FACTORY


@pytest.mark.parametrize("name", FACTORY)
def test_setters_change_one_default_from_then_on(name):
    getattr(Config, f"set_{name}")(OTHERS[name])
    assert current() == {**FACTORY, name: OTHERS[name]}


@pytest.mark.parametrize("name", FACTORY)
def test_defaults_can_be_assigned_and_setters_restore_them(name):
    setattr(Config, name, OTHERS[name])
    assert current() == {**FACTORY, name: OTHERS[name]}
    getattr(Config, f"set_{name}")()
    assert current() == FACTORY
    with pytest.raises(ValueError, match="expected"):
        setattr(Config, name, "other")


@pytest.mark.parametrize("table", ["spherical_harmonics", "clebsch_gordan", "wigner_d", "tensor_conversion"])
def test_paths_of_caches_are_kept_for_programs_of_e3x_only(table):
    config = e3any_flax.Config
    assert not hasattr(Config, f"{table}_cache")
    assert getattr(config, f"{table}_cache") is None
    getattr(config, f"set_{table}_cache")("tables.npz")
    assert getattr(config, f"{table}_cache") == "tables.npz"
    getattr(config, f"set_{table}_cache")()
    assert getattr(config, f"{table}_cache") is None


def test_every_setting_of_e3x_is_there():
    names = [name for name in vars(e3x.Config) if not name.startswith("_")]
    assert not [name for name in names if not hasattr(e3any_flax.Config, name)]
    setters = [name for name in names if name.startswith("set_")]
    for name in setters:
        ours, theirs = (inspect.signature(getattr(config, name)) for config in (e3any_flax.Config, e3x.Config))
        assert list(ours.parameters) == list(theirs.parameters)


@pytest.mark.parametrize("name", FACTORY)
def test_programs_of_e3x_share_the_defaults_of_the_core(name):
    setattr(e3any_flax.Config, name, OTHERS[name])
    assert current() == {**FACTORY, name: OTHERS[name]}
    getattr(e3any_flax.Config, f"set_{name}")()
    assert getattr(e3any_flax.Config, name) == getattr(Config, name) == FACTORY[name]


def test_defaults_hold_within_a_block_only():
    with Config.use(**OTHERS):
        assert current() == OTHERS
        with Config.use(normalization="orthonormal"):
            assert current() == {**OTHERS, "normalization": "orthonormal"}
        assert current() == OTHERS
    assert current() == FACTORY


def test_defaults_come_back_after_an_error():
    with pytest.raises(KeyError), Config.use(**OTHERS):
        raise KeyError
    assert current() == FACTORY


def test_harmonics_look_defaults_up_at_the_time_of_the_call(rng):
    r = rng.normal(size=(2, 3))
    expected = spherical_harmonics(r, 2, cartesian_order=False, normalization="orthonormal")
    before = spherical_harmonics(r, 2)
    Config.set_cartesian_order(False)
    Config.set_normalization("orthonormal")
    np.testing.assert_array_equal(spherical_harmonics(r, 2), expected)
    given = spherical_harmonics(r, 2, cartesian_order=True, normalization="racah")
    np.testing.assert_array_equal(given, before)


def test_layers_take_settings_when_they_are_built(rng):
    x = rng.normal(size=(2, 1, 4, 3)).astype("float32")
    with Config.use(use_fused_tensor=True, cartesian_order=False):
        built = nn.TensorDense(), e3any_flax.nn.TensorDense(), e3any_torch.nn.TensorDense(Layout(1, 3))
    assert [layer.use_fused_tensor for layer in (*built[:2], built[2].description)] == [True] * 3
    assert [layer.cartesian_order for layer in (*built[:2], built[2].description)] == [False] * 3
    variables = built[1].init(jax.random.PRNGKey(0), x)
    assert "fused_tensor" in variables["params"]
    assert {name.partition(".")[0] for name in built[2].state_dict()} == {"dense", "fused_tensor"}
    expected = nn.TensorDense(use_fused_tensor=True, cartesian_order=False)(variables["params"], jax.numpy.asarray(x))
    np.testing.assert_array_equal(built[1].apply(variables, x), expected)
    assert nn.TensorDense().use_fused_tensor is False
    with Config.use(use_fused_tensor=True):
        assert nn.TensorDense(use_fused_tensor=False).use_fused_tensor is False


def test_unknown_settings_raise_and_change_nothing():
    with pytest.raises(ValueError, match=r"expected a setting of .*, got 'order'"), Config.use(order=True):
        pass
    settings = {"cartesian_order": False, "normalization": "component"}
    with pytest.raises(ValueError, match=r"expected a normalization of"), Config.use(**settings):
        pass
    assert current() == FACTORY


@pytest.mark.parametrize("config", [Config, e3any_flax.Config])
@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("normalisation", "normalization"),
        ("Normalization", "normalization"),
        ("cartesian", "cartesian_order"),
        ("use_fused", "use_fused_tensor"),
        ("set_normalization", "normalization"),
    ],
)
def test_misspelt_settings_raise_and_the_right_one_is_named(config, name, nearest):
    expected = rf"expected a setting of \[.*\], got '{name}'; write '{nearest}'"
    before = vars(config).get(name)
    with pytest.raises(ValueError, match=expected):
        setattr(config, name, "4pi")
    with pytest.raises(ValueError, match=expected):
        delattr(config, name)
    assert vars(config).get(name) is before
    with pytest.raises(ValueError, match=expected), Config.use(**{name: "4pi"}):
        pass
    assert current() == FACTORY


@pytest.mark.parametrize("config", [Config, e3any_flax.Config])
def test_settings_cannot_be_deleted_or_set_on_instances(config):
    for name in FACTORY:
        with pytest.raises(ValueError, match=rf"got none: Config.set_{name}\(\) restores the default"):
            delattr(config, name)
        with pytest.raises(ValueError, match=rf"expected settings of the class, Config.{name} = "):
            setattr(config(), name, OTHERS[name])
        with pytest.raises(ValueError, match=r"expected settings of the class"):
            delattr(config(), name)
    assert current() == FACTORY


def test_settings_of_caches_are_those_of_one_class():
    with pytest.raises(ValueError, match=r"got 'wigner_d'; write 'wigner_d_cache'"):
        e3any_flax.Config.wigner_d = "tables.npz"
    with pytest.raises(ValueError, match=r"got 'wigner_d_cache'"):
        Config.wigner_d_cache = "tables.npz"


@pytest.mark.parametrize("name", ["cartesian_order", "use_fused_tensor", "use_parity"])
@pytest.mark.parametrize("value", [1, None, "yes", np.ones(1, bool)])
def test_other_than_true_and_false_raise(name, value):
    with pytest.raises(ValueError, match=rf"expected {name} to be True or False, got"):
        getattr(Config, f"set_{name}")(value)


def test_true_and_false_of_numpy_are_those_of_python():
    with Config.use(cartesian_order=np.False_):
        assert Config.cartesian_order is False
        assert nn.Tensor(cartesian_order=np.True_).cartesian_order is True


@pytest.mark.parametrize("value", ["component", None, 1, np.array(["racah", "4pi"]), np.array("racah")])
def test_other_normalizations_raise(value):
    with pytest.raises(ValueError, match=r"expected a normalization of .*, got"):
        Config.set_normalization(value)
