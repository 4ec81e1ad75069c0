"""Whatever goes wrong with kernels leads to the reference, or to a compilation, and to one warning."""

from __future__ import annotations

import importlib
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from e3any_backends import backend_of, kernels
from e3any_backends.kernels import availability, edges, harmonics, linear, maps
from e3any_backends.kernels.code import disk, jit
from numba.core import config

from e3any import so3


@pytest.fixture
def forgotten(monkeypatch):
    """Forget what has failed and been said so far, and afterwards what a test lets fail."""
    monkeypatch.setattr(availability, "_failures", [])
    monkeypatch.setattr(availability, "_warned", set())
    availability._import.cache_clear()
    availability._compile_harmonics.cache_clear()
    yield
    availability._import.cache_clear()
    availability._compile_harmonics.cache_clear()


def warnings_of(caplog):
    return [r.getMessage() for r in caplog.records if r.name == "e3any" and r.levelno == logging.WARNING]


# -- imports ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("module", ["numba", "e3any_backends.kernels.maps", "e3any_backends.kernels.xla.handlers"])
@pytest.mark.parametrize(
    "error",
    [
        OSError("could not load libllvmlite.so"),
        SystemError("initialisation failed"),
        AttributeError("module 'numba.core' has no attribute 'typing'"),
        ImportError("cannot import name 'intrinsic'"),
        ModuleNotFoundError("No module named 'llvmlite'", name="llvmlite"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_imports_switch_kernels_off(monkeypatch, caplog, module, error):
    import_module = importlib.import_module

    def fail(name, *arguments):
        if name == module:
            raise error
        return import_module(name, *arguments)

    monkeypatch.setattr(importlib, "import_module", fail)
    assert not kernels.used()
    assert not kernels.used()
    (message,) = warnings_of(caplog)
    assert message.startswith("kernels are switched off, and the reference is used")
    assert message.endswith(f"{type(error).__name__}: {error}")


@pytest.mark.usefixtures("forgotten")
def test_that_numba_is_not_installed_is_no_warning(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "numba", None)
    with caplog.at_level(logging.DEBUG, logger="e3any"):
        assert not kernels.used()
    (record,) = caplog.records
    assert record.levelno == logging.DEBUG
    assert record.getMessage().startswith("no kernels: ")


PROGRAM = """
import logging, sys
import numpy as np
import e3any_numpy

logging.basicConfig()
x = np.ones((2, 1, 4, 3))
layer = e3any_numpy.nn.Tensor()
params = layer.init(np.random.default_rng(0), x, x)
print(float(np.sum(layer(params, x, x))), float(np.sum(layer(params, x, x))))
"""

STUBS = {
    "llvmlite": 'raise OSError("could not load libllvmlite.so")',
    "numba": 'raise SystemError("initialization of _dispatcher failed")',
}


def run(program, *paths, **environment):
    path = os.pathsep.join([*map(str, paths), *(p for p in sys.path if p)])
    environment = {**os.environ, "PYTHONPATH": path, **environment}
    options = {"capture_output": True, "text": True, "timeout": 600, "env": environment}
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", program], **options)
    assert result.returncode == 0, result.stderr
    return result


@pytest.mark.parametrize("broken", [*STUBS, "NUMBA_DISABLE_JIT"])
def test_processes_whose_kernels_cannot_be_imported_use_the_reference(tmp_path, broken):
    expected = run(PROGRAM, E3ANY_KERNELS="0")
    assert expected.stderr == ""
    if broken in STUBS:
        (tmp_path / f"{broken}.py").write_text(STUBS[broken])
        result = run(PROGRAM, tmp_path)
    else:
        result = run(PROGRAM, **{broken: "1"})
    assert result.stdout == expected.stdout
    assert result.stderr.startswith("WARNING:e3any:kernels are switched off, and the reference is used")
    assert result.stderr.count("\n") == 1


# -- compilers ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("forgotten")
def test_errors_of_compilers_switch_kernels_off(caplog):
    calls = []

    @jit.guarded
    def compile_nothing():
        calls.append(1)
        raise AttributeError("moved")

    for _ in range(2):
        with pytest.raises(kernels.KernelError):
            compile_nothing()
    assert len(calls) == 1
    assert not kernels.used()
    assert warnings_of(caplog) == [
        "kernels are switched off, and the reference is used, which is slower: AttributeError: moved"
    ]


@pytest.mark.usefixtures("forgotten")
def test_calls_of_kernels_that_do_not_compile_return_the_reference(monkeypatch, rng):
    def fail(*_):
        raise kernels.give_up(OSError("full"))

    for module, name in ((maps, "run"), (maps.contraction, "contract"), (edges, "by_receiver"), (harmonics, "value")):
        monkeypatch.setattr(module, name, fail)
    monkeypatch.setattr(availability, "_LEAST_HARMONICS", 0)
    for function, arrays in numpy_operations(rng):
        with kernels.enabled(False):
            expected = function(*arrays)
        availability._failures.clear()
        actual = function(*arrays)
        assert availability._failures
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


def numpy_operations(rng):
    """Return every operation of arrays of NumPy that has a kernel, with arguments."""
    x, w, bias = (rng.normal(size=shape) for shape in ((6, 4, 16), (2, 16, 8), (8,)))
    which, src, dst = np.asarray([0, 1, 1, 1]), rng.integers(0, 6, 20), rng.integers(0, 5, 20)
    angular, radial = rng.normal(size=(20, 4)), rng.normal(size=(20, 2, 16))
    yield lambda x, w, bias: backend_of(x).linear(x, w, which, bias), (x, w, bias)
    yield lambda x, w: backend_of(x).linear(x, w, which, None), (x, w)
    yield lambda *a: backend_of(x).edge_products(*a, src, dst, 5), (x, angular, radial)
    yield lambda r: so3.spherical_harmonics(r, 3), (rng.normal(size=(9, 3)),)


def test_programs_of_all_libraries_survive_a_compiler_that_fails():
    """Numbers of PyTorch, eager and compiled, and of JAX, with derivatives, for every kernel."""
    result = run(BROKEN_COMPILER)
    assert result.stdout.split() == ["numpy", "torch", "compiled", "jax"]


BROKEN_COMPILER = """
import jax
import numpy as np
import torch
from e3any_backends import kernels
from e3any_backends.kernels import availability
from e3any_backends.kernels.code import disk, jit
from numba.core import dispatcher
from thread_cases import CASES, arguments

jax.config.update("jax_enable_x64", True)
availability._LEAST_HARMONICS = 0

def value_and_gradients(function, leaves, create_graph=False):
    value = function(*leaves)
    return value, *torch.autograd.grad((value * value).sum(), leaves, create_graph=create_graph)

def torch_values(function, *arrays):
    leaves = [torch.from_numpy(a).requires_grad_() for a in arrays]
    values = value_and_gradients(function, leaves, create_graph=True)
    second = torch.autograd.grad(sum((s * s).sum() for s in values[1:]), leaves)
    return [a.detach().numpy() for a in (*values, *second)]

def compiled_values(function, *arrays):
    torch._dynamo.reset()
    leaves = [torch.from_numpy(a).requires_grad_() for a in arrays]
    program = torch.compile(function, backend="aot_eager", fullgraph=True)
    return [a.detach().numpy() for a in value_and_gradients(program, leaves)]

def jax_values(function, *arrays):
    jax.clear_caches()
    arrays = [jax.numpy.asarray(a) for a in arrays]
    square = lambda *a: (function(*a) ** 2).sum()
    return [np.asarray(a) for a in jax.jit(jax.grad(square, tuple(range(len(arrays)))))(*arrays)]

def fail(*arguments):
    raise AttributeError("moved")

names = "product", "edges of vectors", "linear", "harmonics"
cases = {name: CASES[name][0](20, CASES[name][1]) for name in names}
arrays = {name: arguments(np.random.default_rng(0), shapes, "float64") for name, (_, shapes) in cases.items()}
libraries = {
    "numpy": lambda f, *a: [f(*a)],
    "torch": torch_values,
    "compiled": compiled_values,
    "jax": jax_values,
}
with kernels.enabled(False):
    expected = {(l, n): values(cases[n][0], *arrays[n]) for l, values in libraries.items() for n in names}
assert kernels.used()
# Neither numba nor llvmlite compiles anything from now on, and there is nothing on disk.
dispatcher._FunctionCompiler.compile = jit.cpu_target = disk.Disk._load = fail
for library, values in libraries.items():
    for name, (function, _) in cases.items():
        if (library, name) == ("compiled", "linear"):
            continue
        availability._failures.clear()
        availability._compile_harmonics.cache_clear()
        for actual, reference in zip(values(function, *arrays[name]), expected[library, name], strict=True):
            np.testing.assert_allclose(actual, reference, rtol=1e-10, atol=1e-10 * max(1, np.abs(reference).max()))
        assert availability._failures, (library, name)
    print(library)
"""


# -- the disk -----------------------------------------------------------------------------------------------


def double(out, x):
    """Write what is kept on disk here."""
    for n in range(len(x)):
        out[n] = 2 * x[n]


def doubled():
    """Compile a function as a new process does, or load it; return what it computes, and how often it was loaded."""
    compiled, out = jit.jit(double), np.empty(3)
    compiled(out, np.asarray([1.0, 2.0, 3.0]))
    assert out.tolist() == [2, 4, 6]
    return sum(compiled.stats.cache_hits.values())


@pytest.fixture
def folder(monkeypatch, tmp_path, forgotten):
    """Keep machine code in a folder of the test."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    return tmp_path


def files(folder):
    return [p for p in folder.rglob("*") if p.is_file()]


def flipped(position):
    """Return a function that changes one bit of bytes, at a fraction of their length."""

    def flip(data):
        n = int(position * (len(data) - 1))
        return data[:n] + bytes([data[n] ^ 4]) + data[n + 1 :]

    return flip


def test_machine_code_is_loaded_from_disk(folder, caplog):
    assert doubled() == 0
    assert doubled() == 1
    assert len(files(folder)) == 1
    assert warnings_of(caplog) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:20],
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: data + b"0",
        lambda data: bytes(len(data)),
        lambda data: np.random.default_rng(0).bytes(len(data)),
        flipped(0),
        flipped(0.002),
        flipped(0.5),
        flipped(1),
    ],
)
def test_damaged_files_are_compiled_anew_and_replaced(folder, caplog, damage):
    doubled()
    (file,) = files(folder)
    good = file.read_bytes()
    file.write_bytes(damage(good))
    assert file.read_bytes() != good
    assert doubled() == 0
    (message,) = warnings_of(caplog)
    assert message.endswith(f"{file} is damaged")
    assert doubled() == 1
    assert files(folder) == [file]


def test_files_of_other_sources_are_replaced_without_a_warning(folder, caplog, monkeypatch):
    doubled()
    monkeypatch.setattr(disk, "_sources", lambda: ("others",))
    assert doubled() == 0
    assert doubled() == 1
    assert len(files(folder)) == 1
    assert warnings_of(caplog) == []


def test_a_full_disk_leads_to_a_compilation_in_every_process(folder, caplog, monkeypatch):
    def fail(path, data):
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    assert [doubled(), doubled()] == [0, 0]
    (message,) = warnings_of(caplog)
    assert message.endswith("OSError: [Errno 28] No space left on device")
    assert files(folder) == []
    assert kernels.used()


def test_without_a_folder_kernels_are_compiled_in_every_process(caplog, monkeypatch, forgotten):
    def fail(function):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(disk, "FunctionCache", fail)
    assert doubled() == 0
    (message,) = warnings_of(caplog)
    assert message.endswith("no locator available")
    assert kernels.used()


@pytest.mark.usefixtures("forgotten")
def test_names_of_numba_that_have_moved_lead_to_a_compilation(caplog, monkeypatch):
    monkeypatch.setattr(disk, "FunctionCache", lambda function: object())
    assert doubled() == 0
    assert len(warnings_of(caplog)) == 1
    assert kernels.used()


def test_code_depends_on_all_sources_of_kernels():
    paths = set(Path(linear.__file__).parent.rglob("*.py"))
    assert Path(disk.__file__) in paths
    assert len(disk._sources()) == 2 + len(paths)
