"""The wheel: what it holds, what it asks for, and that it works with nothing but its requirements."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
import tomllib
import typing
import zipfile
from email.message import Message
from email.parser import Parser
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ["e3any", "e3any_backends", "e3any_ase", "e3any_flax", "e3any_numpy", "e3any_torch"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def run(*command: str, cwd: Path) -> str:
    """Run a command of the Python interpreter and return its output."""
    result = subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run("-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=ROOT)
    (path,) = folder.glob("e3any-*.whl")
    return path


@pytest.fixture(scope="module")
def files(wheel: Path) -> list[PurePosixPath]:
    with zipfile.ZipFile(wheel) as archive:
        return [PurePosixPath(name) for name in archive.namelist()]


@pytest.fixture(scope="module")
def metadata(wheel: Path, files: list[PurePosixPath]) -> Message:
    (name,) = [file for file in files if file.name == "METADATA"]
    with zipfile.ZipFile(wheel) as archive:
        return Parser().parsestr(archive.read(str(name)).decode())


def modules(package: str) -> list[str]:
    """Return the names of a package and of all modules in it."""
    path = importlib.import_module(package).__path__
    return [package, *(module.name for module in pkgutil.walk_packages(path, f"{package}."))]


def test_wheel_is_smaller_than_one_megabyte(wheel: Path) -> None:
    assert wheel.stat().st_size < 1_000_000


def test_wheel_holds_the_packages_with_types(files: list[PurePosixPath]) -> None:
    top = {file.parts[0] for file in files if not file.parts[0].endswith(".dist-info")}
    assert top == set(PACKAGES)
    for package in PACKAGES:
        assert PurePosixPath(package, "py.typed") in files


def test_wheel_holds_every_module(files: list[PurePosixPath]) -> None:
    for package in PACKAGES:
        folder = next(path for path in (ROOT, ROOT / "backends", ROOT / "adapters") if (path / package).is_dir())
        sources = {PurePosixPath(file.relative_to(folder)) for file in (folder / package).rglob("*.py")}
        assert sources <= set(files)


def test_wheel_holds_one_file_of_data_and_no_tests(files: list[PurePosixPath]) -> None:
    assert PurePosixPath("e3any/so3/octahedral_rules.txt") in files
    for file in files:
        if not file.parts[0].endswith(".dist-info"):
            assert file.suffix in (".py", ".pyi") or file.name in ("py.typed", "octahedral_rules.txt"), file
            assert "tests" not in file.parts, file
            assert not file.name.startswith(("test_", "conftest")), file


def test_wheel_holds_the_licence(files: list[PurePosixPath], metadata: Message) -> None:
    assert metadata["License-Expression"] == "Apache-2.0"
    assert any(file.name == "LICENSE" for file in files)


def test_metadata_has_every_extra(metadata: Message) -> None:
    extras = PROJECT["optional-dependencies"]
    assert set(metadata.get_all("Provides-Extra")) == {canonicalize_name(extra) for extra in extras}
    for extra, requirements in extras.items():
        asked = {
            canonicalize_name(r.name)
            for r in map(Requirement, metadata.get_all("Requires-Dist"))
            if r.marker is not None and r.marker.evaluate({"extra": extra})
        }
        assert asked == {canonicalize_name(Requirement(text).name) for text in requirements}


def test_only_numpy_and_array_api_compat_are_required(metadata: Message) -> None:
    required = {r.name for r in map(Requirement, metadata.get_all("Requires-Dist")) if r.marker is None}
    assert required == {"numpy", "array-api-compat"}


def test_installed_wheel_imports_with_its_requirements_alone(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    run("-m", "pip", "install", "--no-deps", "--no-index", "--target", str(target), str(wheel), cwd=tmp_path)

    requirements = tmp_path / "requirements"
    requirements.mkdir()
    for name in ("numpy", "array_api_compat"):
        origin = Path(find_spec(name).origin).parent
        (requirements / name).symlink_to(origin)
        if (libraries := origin.with_name(f"{name}.libs")).is_dir():
            (requirements / libraries.name).symlink_to(libraries)

    script = f"""if True:
        import sys
        sys.path += [{str(target)!r}, {str(requirements)!r}]
        import e3any, e3any_backends, e3any_numpy
        print(e3any.__file__, e3any_backends.__file__, e3any_numpy.__file__, sep="\\n")
    """
    printed = run("-I", "-S", "-c", script, cwd=tmp_path).split()  # without this environment's site-packages
    assert [Path(file) for file in printed] == [
        target / package / "__init__.py" for package in ("e3any", "e3any_backends", "e3any_numpy")
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_names_in_all_exist(package: str) -> None:
    for name in modules(package):
        module = importlib.import_module(name)
        public = getattr(module, "__all__", [])
        assert len(set(public)) == len(public), f"{name}.__all__ repeats a name"
        missing = [item for item in public if not hasattr(module, item)]
        assert not missing, f"{name}.__all__ names {missing}, which do not exist"


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_have_docstrings(package: str) -> None:
    assert [name for name in modules(package) if not importlib.import_module(name).__doc__] == []


@pytest.mark.parametrize("name", ["e3any", "e3any.so3", "e3any.ops", "e3any.nn", "e3any_ase"])
def test_public_names_have_docstrings(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__all__
    bare = []
    for item in module.__all__:
        value = getattr(module, item)
        if inspect.ismodule(value) or (callable(value) and typing.get_origin(value) is None):
            text = value.__doc__ or ""
            if not text or text.startswith(f"{item}("):  # the signature that dataclass puts in
                bare.append(item)
    assert not bare, f"{name}: no docstring for {bare}"
