"""The structures of XLA's call frame, compared with the header that jaxlib ships."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import jax
import numba
import pytest
from e3any_backends.kernels.xla import call_frame, handlers

HEADER = Path(jax.ffi.include_dir()) / "xla" / "ffi" / "api" / "c_api.h"
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
STRUCTURES = {
    name: value
    for name, value in vars(call_frame).items()
    if isinstance(value, type) and issubclass(value, ctypes.Structure) and value is not ctypes.Structure
}
CONSTANTS = {
    "XLA_FFI_Extension_Metadata": call_frame.EXTENSION_METADATA,
    "XLA_FFI_Error_Code_RESOURCE_EXHAUSTED": call_frame.RESOURCE_EXHAUSTED,
    "XLA_FFI_Error_Code_INTERNAL": call_frame.INTERNAL,
    "XLA_FFI_API_MAJOR": call_frame.VERSION[0],
}


def name_in_header(structure):
    """Return the name of the header: XLA_FFI_Error_Create_Args for ErrorCreateArgs."""
    names = set(re.findall(r"struct (XLA_FFI_\w+) \{", HEADER.read_text()))
    (name,) = [n for n in names if n.removeprefix("XLA_FFI_").replace("_", "") == structure]
    return name


@pytest.fixture(scope="module")
def said_by_compiler(tmp_path_factory):
    """Return the offset and size of every field, and the value of every constant, as a C compiler has them."""
    if COMPILER is None:
        pytest.skip("no C compiler")
    lines = [f'printf("{name} %d 0\\n", (int) {name});' for name in CONSTANTS]
    for key, structure in STRUCTURES.items():
        name = name_in_header(key)
        for field, _ in structure._fields_:
            numbers = f"offsetof({name}, {field}), sizeof((({name}*) 0)->{field})"
            lines.append(f'printf("{key}.{field} %zu %zu\\n", {numbers});')
    source = tmp_path_factory.mktemp("header") / "offsets.c"
    source.write_text("\n".join(["#include <stdio.h>", f'#include "{HEADER}"', "int main() {", *lines, "}", ""]))
    program = source.with_suffix(".out")
    subprocess.run([COMPILER, str(source), "-o", str(program)], check=True, timeout=60)
    output = subprocess.run([program], check=True, capture_output=True, text=True, timeout=60).stdout
    return {name: (int(first), int(second)) for name, first, second in map(str.split, output.splitlines())}


@pytest.mark.parametrize("name", STRUCTURES)
def test_fields_are_where_the_header_has_them(said_by_compiler, name):
    for field, _ in STRUCTURES[name]._fields_:
        place = getattr(STRUCTURES[name], field)
        offset, size = said_by_compiler[f"{name}.{field}"]
        # Structures within others may have more fields at the end, and then be followed by no other field.
        assert place.offset == offset
        assert place.size == size


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_are_those_of_the_header(said_by_compiler, name):
    assert said_by_compiler[name] == (CONSTANTS[name], 0)


def test_fields_are_read_and_written_by_name():
    """A handler answers the question for its version, within the structures that a test has made."""
    metadata = call_frame.Metadata()
    extension = call_frame.MetadataExtension()
    extension.extension_base.type = call_frame.EXTENSION_METADATA
    extension.metadata = ctypes.addressof(metadata)
    frame = call_frame.CallFrame(ctypes.sizeof(call_frame.CallFrame), ctypes.addressof(extension))
    handle = handlers.handler("linear_product", "float32")
    assert handle(ctypes.addressof(frame)) == 0
    version = metadata.api_version
    assert (version.major_version, version.minor_version) == call_frame.VERSION


def test_attributes_are_read_by_name():
    values = {"num_shares": 3, "partial_size": 5, "scratch_words": 7}
    given = call_frame.attributes(**values)
    assert list(given) == sorted(values)
    numbers = [ctypes.c_int64(n) for n in given.values()]
    scalars = [call_frame.Scalar(0, ctypes.addressof(n)) for n in numbers]
    addresses = (ctypes.c_void_p * 3)(*map(ctypes.addressof, scalars))
    frame = call_frame.CallFrame()
    frame.attrs.size, frame.attrs.attrs = 3, ctypes.addressof(addresses)
    address = ctypes.addressof(frame)
    assert [read(address) for read in readers()] == list(values.values())


def readers():
    """Compile functions that read attributes, in the order of the test above."""
    yield numba.njit(lambda frame: call_frame.attribute(frame, "num_shares"))
    yield numba.njit(lambda frame: call_frame.attribute(frame, "partial_size"))
    yield numba.njit(lambda frame: call_frame.attribute(frame, "scratch_words"))
