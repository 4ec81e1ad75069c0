"""Change the library in one place at a time, and see whether the tests notice.

A random sample of the changes that Cosmic Ray makes (another operator, another number, a negated condition, ...) is
made in a copy of the tree, one by one, and the tests of the changed file are run until one fails. Changes of types
and of sizes of caches, which change no result, are left out. Prints every change that no test noticed, and exits
with an error if less than a share of them were noticed, see ``--help``.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from difflib import unified_diff
from pathlib import Path

ROOT = Path(__file__).parents[1]


def arguments_refused(names: str) -> list[str]:
    """Return the tests of wrong arguments of the functions that have a string in their name."""
    return ["tests/test_bad_input.py", "-k", f"test_bad_input_is_refused and {names}"]


# The tests of each file as arguments of pytest, in the order in which they are run.
TESTS = {
    f"e3any/so3/{file}.py": [[f"tests/so3/test_{test}.py"] for test in tests] + [arguments_refused("so3.")]
    for file, tests in {
        "_matrices": ["rotations", "quaternions"],
        "rotations": ["rotations"],
        "quaternions": ["quaternions"],
        "clebsch_gordan": ["clebsch_gordan"],
        "spherical_harmonics": ["spherical_harmonics", "exactness"],
        "wigner": ["wigner", "exactness"],
        "quadrature": ["quadrature"],
        "cartesian_tensors": ["cartesian_tensors"],
        "tensor_symmetry": ["tensor_symmetry"],
        "voigt": ["voigt"],
    }.items()
}
LAYERS = {"dense": ["test_dense", "test_message_pass"], "tensor": ["test_tensor"]}
TESTS |= {
    f"e3any/nn/layers/{file}.py": [[f"tests/nn/layers/{test}.py"] for test in tests] + [arguments_refused("nn.")]
    for file, tests in LAYERS.items()
}


def fuzzed(library: str, kinds: str, cases: int = 60) -> list[str]:
    """Return the arguments of the fuzzer for kinds of calls; what it needs no compiler for comes before other tests."""
    return [_FUZZ, "--library", library, "--kinds", kinds, "--cases", str(cases)]


_FUZZ = "fuzz"
_SLOW = "jax or e3x or libraries_agree or transformations or dtypes_are_kept"
KERNELS = "backends/e3any_backends/kernels"
# Kernels are tested with NumPy and PyTorch: numba keeps the machine code that XLA calls with that of other files.
TESTS |= {
    "e3any/ops/indexed.py": [
        ["tests/ops/test_indexed.py", "-k", f"not ({_SLOW})"],
        arguments_refused("ops."),
        fuzzed("torch", "reductions,attention"),
        ["tests/ops/test_indexed.py", "-k", _SLOW],
    ],
    "e3any/nn/layers/attention.py": [
        ["tests/nn/layers/test_attention.py", "-k", f"not ({_SLOW})"],
        arguments_refused("Attention"),
        fuzzed("torch", "attention"),
        ["tests/nn/layers/test_attention.py", "-k", _SLOW],
    ],
    "adapters/e3any_torch/module.py": [
        ["tests/adapters/test_torch.py"],
        ["tests/adapters/test_torch_state.py", "-k", "not compiled"],
        ["tests/adapters/test_statistics.py", "-k", "torch"],
        arguments_refused("torch"),
    ],
    **{
        f"{KERNELS}/{file}.py": [
            fuzzed("numpy", "map: contraction,tensor", 120),
            ["tests/backends/test_kernels.py", "-k", "coupling or parities or leading or derivatives"],
            ["tests/backends/test_threads.py", "-k", "product or little or split"],
        ]
        for file in ("contraction", "schedule")
    },
    f"{KERNELS}/edges.py": [
        fuzzed("numpy", "map: edges,message pass", 120),
        ["tests/backends/test_kernels.py", "-k", "edges or padding or derivatives"],
        ["tests/backends/test_threads.py", "-k", "edges or split"],
    ],
}

# Imported once, before a process is forked for each change. They do not import the library.
IMPORTS = ["array_api_strict", "e3nn", "e3x", "flax.linen", "flax.nnx", "hypothesis", "numba", "scipy.special", "sympy"]
IMPORTS += ["sympy.physics.wigner", "sympy.physics.quantum.cg", "torch._dynamo", "pytest"]


# Operators that numbers do not have, which any test would notice.
NOT_OF_FLOATS = ("_BitAnd", "_BitOr", "_BitXor", "_LShift", "_RShift", "_MatMul", "_Invert")


class Code(ast.NodeTransformer):
    """Leaves away what has no influence on results: annotations and decorators that cache."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        node.decorator_list = [x for x in node.decorator_list if "cache" not in ast.unparse(x)]
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)


def code(source: str) -> str:
    """Return what a source says apart from what has no influence on results; nothing if it is no Python."""
    try:
        return ast.dump(Code().visit(ast.parse(source)))
    except SyntaxError:
        return ""


def changes(source: str) -> dict[tuple[int, int], list[tuple[str, int]]]:
    """Return the changes of a source by line and column: names of operators, and which of its places it is."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    nodes, found = list(ast_nodes(get_ast(source))), {}
    for name in sorted(operator_names()):
        operator = get_operator(name)
        if operator.arguments() or name.endswith(NOT_OF_FLOATS):
            continue
        starts = [start for node in nodes for start, _ in operator().mutation_positions(node)]
        for place, start in enumerate(starts):
            found.setdefault(start, []).append((name, place))
    return found


def sample(files: list[str], num: int, seed: int) -> list[tuple[str, str]]:
    """Draw files with new sources at random: first a place in one of the files, then what is changed there."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    sources = {file: (ROOT / file).read_text(encoding="utf-8") for file in files}
    places = [(file, *item) for file, source in sources.items() for item in sorted(changes(source).items())]
    generator, drawn = random.Random(seed), []
    generator.shuffle(places)
    for file, _, choices in places:
        name, place = generator.choice(choices)
        new = mutate_code(sources[file], get_operator(name)(), place)
        if code(new) not in ("", code(sources[file])):
            drawn.append((file, new))
        if len(drawn) == num:
            break
    return sorted(drawn)


def run(arguments: list[str]) -> int:
    """Run the fuzzer or pytest with its arguments; return 0 if all is right."""
    if arguments[0] == _FUZZ:
        return int(importlib.import_module("fuzz.__main__").main(arguments[1:]))
    return int(importlib.import_module("pytest").main(["-x", "-q", "-p", "no:cacheprovider", *arguments]))


def passes(folder: Path, arguments: list[str], seconds: float) -> bool:
    """Return whether tests pass, in a process of their own: a fork of this one, which has imported what takes time."""
    if (child := os.fork()) == 0:
        os.chdir(folder)
        os.setpgrp()
        sys.path[:0] = [str(folder / part) for part in (".", "backends", "adapters", "tests")]
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:4])
        signal.alarm(int(seconds))
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # plugins want to be imported before anything else
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        try:
            os._exit(run(arguments))
        except BaseException:  # which would tidy up what the parent still needs
            os._exit(1)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    return status == 0


def unnoticed(folder: Path, file: str, new: str, seconds: dict[tuple[str, ...], float]) -> bool:
    """Return whether the tests of a file pass, in the time that they have, while it is changed."""
    path = folder / file
    old, times = path.read_text(encoding="utf-8"), path.stat()
    with without_machine_code(path):
        path.write_text(new, encoding="utf-8")
        try:
            return all(passes(folder, arguments, seconds[tuple(arguments)]) for arguments in TESTS[file])
        finally:
            path.write_text(old, encoding="utf-8")
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@contextlib.contextmanager
def without_machine_code(path: Path) -> Iterator[None]:
    """Put away what numba has compiled a file to; it is put back in place of what is compiled meanwhile."""
    cache = path.parent / "__pycache__"
    with tempfile.TemporaryDirectory() as name:
        for file in compiled(path):
            shutil.move(file, name)
        try:
            yield
        finally:
            for file in compiled(path):
                file.unlink()
            for file in Path(name).iterdir():
                shutil.move(file, cache)


def compiled(path: Path) -> list[Path]:
    """Return the files in which numba keeps the machine code of a file."""
    return [*(path.parent / "__pycache__").glob(f"{path.stem}.*.nb[ci]")]


def main() -> int:
    """Make changes and count those that are noticed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", default=list(TESTS), help="files to change (default: all that have tests)")
    parser.add_argument("--num", type=int, default=120, help="number of changes (default: 120)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample (default: 0)")
    parser.add_argument("--least", type=float, default=0.85, help="share to be noticed (default: 0.85)")
    options = parser.parse_args()
    drawn = sample(options.files, options.num, options.seed)
    survivors = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "tree"
        folder.mkdir()
        # Programs of JAX that do not change are compiled once. It looks when it is imported.
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(name) / "compiled")
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        for module in IMPORTS:
            importlib.import_module(module)
        parts = ("e3any", "backends", "adapters", "tests", "pyproject.toml")
        for part in parts:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
            copy(ROOT / part, folder / part)
        seconds = {}
        for arguments in {tuple(x): x for file, _ in drawn for x in TESTS[file]}.values():
            start = time.monotonic()
            if not passes(folder, arguments, 1000):
                raise SystemExit(f"expected {' '.join(arguments)} to pass before anything is changed")
            seconds[tuple(arguments)] = 60 + 3 * (time.monotonic() - start)
        sys.dont_write_bytecode = True
        for i, (file, new) in enumerate(drawn, 1):
            if not unnoticed(folder, file, new, seconds):
                continue
            survivors += 1
            old = (ROOT / file).read_text(encoding="utf-8")
            print(f"unnoticed, {i} of {len(drawn)}:")
            print("\n".join(unified_diff(old.splitlines(), new.splitlines(), file, file, n=1, lineterm="")), flush=True)
    share = 1 - survivors / max(len(drawn), 1)
    print(f"{len(drawn) - survivors} of {len(drawn)} changes were noticed, {share:.0%}")
    return int(share < options.least)


if __name__ == "__main__":
    sys.exit(main())
