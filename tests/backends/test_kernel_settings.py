"""What users choose about kernels: environment variables, and blocks of programs."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from e3any_backends import kernels
from e3any_backends.kernels import settings

SETTINGS = "from e3any_backends.kernels import settings; print(settings.switch.get(), settings.most_threads())"


def at_start(name, value):
    """Return what an environment variable leads to, or the last line of its error."""
    result = subprocess.run(
        [sys.executable, "-c", SETTINGS],
        env={**os.environ, "E3ANY_KERNELS": "", "E3ANY_THREADS": "", name: value},
        capture_output=True,
        text=True,
    )
    return result.stdout.split() or result.stderr.splitlines()[-1]


def test_environment_variables_have_their_values():
    assert at_start("E3ANY_THREADS", "3") == ["True", "3"]
    assert at_start("E3ANY_KERNELS", "false") == ["False", str(sys.maxsize)]


@pytest.mark.parametrize(
    ("name", "value", "values"),
    [
        ("E3ANY_THREADS", "abc", "an integer >= 1, got 'abc'"),
        ("E3ANY_KERNELS", "maybe", "1, true, on or yes, or 0, false, off or no, got 'maybe'"),
    ],
)
def test_environment_variables_that_mean_nothing_are_named(name, value, values):
    message = at_start(name, value)
    assert message.startswith(f"ValueError: expected the environment variable {name} to be {values}; without it ")


@pytest.mark.parametrize("value", ["0", "-1", "2.5", "1e3", "two"])
def test_numbers_of_threads_in_the_environment_are_integers(value):
    with pytest.raises(ValueError, match="E3ANY_THREADS to be an integer >= 1"):
        settings._threads_of(value)


def test_words_in_the_environment_switch_kernels_on_and_off():
    for words, expected in (("1 true on yes True ON", True), ("0 false off no False OFF", False)):
        assert all(settings._switch_of(word) is expected for word in words.split())
    assert settings._switch_of("") is True
    assert settings._threads_of(" ") == sys.maxsize
    assert settings._threads_of(" 12 ") == 12


@pytest.mark.parametrize("most", [0, -1, np.int64(0)])
def test_threads_are_at_least_one(most):
    with pytest.raises(ValueError, match="expected most to be an integer >= 1"):
        kernels.threads(most)


@pytest.mark.parametrize("most", [1.0, "2", None, True, np.ones(2)])
def test_threads_are_integers(most):
    with pytest.raises(TypeError, match="expected most to be an integer >= 1"):
        kernels.threads(most)


def test_threads_may_be_an_integer_of_numpy():
    with kernels.threads(np.int32(3)):
        assert kernels.most_threads() == 3


@pytest.mark.parametrize("value", [1, 0, "no", None, np.True_])
def test_the_switch_takes_true_and_false_only(value):
    with pytest.raises(TypeError, match="expected value to be True or False"):
        kernels.enabled(value)
