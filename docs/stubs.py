"""Write the type stubs of the layers that adapters make of descriptions: ``nn.pyi`` and ``nnx.pyi``."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from inspect import Parameter
from pathlib import Path
from typing import Any

from e3any import nn
from e3any.nn.interface import call_signature, constructor_signature

_ARRAY = re.compile(r"\bArray\b")
# What layers take that accept features by irrep: arrays, or dictionaries of them.
_FEATURES = re.compile(r"\bFeatures\b")


@dataclass(frozen=True)
class Module:
    """A module of an adapter, and how its layers are constructed and called."""

    name: str
    imports: tuple[str, ...]
    base: str
    array: str
    result: str
    construct: tuple[Parameter, ...] = ()
    call: tuple[Parameter, ...] = ()
    layouts: bool = True
    is_lazy: bool = False
    calls: tuple[str, ...] = ("__call__",)


def named(name: str, annotation: str, kind: Any = Parameter.KEYWORD_ONLY, default: Any = None) -> Parameter:
    """Return a parameter, by name only and with a default unless told otherwise."""
    return Parameter(name, kind, annotation=annotation, default=default)


MODULES = (
    Module(
        name="e3any_torch.nn",
        imports=("import torch", "from e3any_torch.module import LayerModule"),
        base="LayerModule",
        array="torch.Tensor",
        result="torch.Tensor",
        construct=(named("generator", "torch.Generator | None"),),
        is_lazy=True,
        calls=("forward", "__call__"),
    ),
    Module(
        name="e3any_flax.nnx",
        imports=(
            "import jax",
            "from flax import nnx",
            "from jax.typing import ArrayLike",
            "from e3any_flax.nnx_module import LayerModule as LayerModule",
            "from e3any_flax.nnx_module import nnx_class as nnx_class",
            "from e3any_flax.nnx_module import to_nnx as to_nnx",
        ),
        base="LayerModule",
        array="ArrayLike",
        result="jax.Array",
        construct=(named("rngs", "nnx.Rngs", default=Parameter.empty),),
        call=(named("rngs", "nnx.Rngs | None"),),
    ),
    Module(
        name="e3any_flax.nn",
        imports=("import jax", "from flax import linen", "from jax.typing import ArrayLike"),
        base="linen.Module",
        array="ArrayLike",
        result="jax.Array",
        construct=(named("parent", "Any"), named("name", "str | None")),
        layouts=False,
    ),
    Module(
        name="e3any_numpy.nn",
        imports=(
            "from numpy.typing import ArrayLike, NDArray",
            "from e3any_numpy.function import LayerFunction",
        ),
        base="LayerFunction",
        array="ArrayLike",
        result="NDArray[Any]",
        call=(named("params", "Mapping[str, Any]", Parameter.POSITIONAL_ONLY, Parameter.empty),),
        layouts=False,
    ),
)


def merged(*groups: Sequence[Parameter]) -> list[Parameter]:
    """Return parameters in the order that Python asks for."""
    return sorted((p for group in groups for p in group), key=lambda p: p.kind)


def written(items: Sequence[Parameter], array: str) -> str:
    """Return parameters after ``self``, with dots for defaults."""
    words, previous = ["self"], Parameter.POSITIONAL_OR_KEYWORD
    for p in items:
        if previous is Parameter.POSITIONAL_ONLY and p.kind is not previous:
            words.append("/")
        if p.kind is Parameter.KEYWORD_ONLY and previous not in (Parameter.KEYWORD_ONLY, Parameter.VAR_POSITIONAL):
            words.append("*")
        annotation = p.annotation if isinstance(p.annotation, str) else p.annotation.__name__
        stars = {Parameter.VAR_POSITIONAL: "*", Parameter.VAR_KEYWORD: "**"}.get(p.kind, "")
        default = "" if p.default is Parameter.empty else " = ..."
        words.append(f"{stars}{p.name}: {_ARRAY.sub(array, annotation)}{default}")
        previous = p.kind
    return ", ".join([*words, "/"] if previous is Parameter.POSITIONAL_ONLY else words)


def constructors(module: Module, layer: type[nn.Layer]) -> Iterator[str]:
    """Yield the parameters of every form of the constructor: with all layouts, with fewer, lazy."""
    items = list(constructor_signature(layer, layouts=module.layouts).parameters.values())
    most = len(layer.layouts) if module.layouts else 0
    numbers = {*range(max(0, most - layer.num_optional_layouts), most + 1), *([0] if module.is_lazy else [])}
    for num in sorted(numbers, reverse=True):
        yield written(merged(items[:num], items[most:], module.construct), module.array)


def layer_class(module: Module, layer: type[nn.Layer]) -> str:
    """Return the stub of a layer."""
    summary = (inspect.getdoc(layer) or "").splitlines()[0]
    lines = [f"class {layer.__name__}({module.base}):", f'    r"""{summary}"""']
    forms = list(constructors(module, layer))
    for form in forms:
        lines += ["    @overload"] * (len(forms) > 1) + [f"    def __init__({form}) -> None: ..."]
    signature = call_signature(layer)
    _, *inputs = signature.parameters.values()
    call, result = written(merged(module.call, inputs), module.array), str(signature.return_annotation)
    kinds = [(module.array, module.result)]
    if _FEATURES.search(call + result):
        kinds.append((f"Mapping[str, {module.array}]", f"dict[str, {module.result}]"))
    for name in module.calls:
        for array, output in kinds:
            lines += ["    @overload"] * (len(kinds) > 1)
            typed = _FEATURES.sub(output, _ARRAY.sub(module.result, result))
            lines.append(f"    def {name}({_FEATURES.sub(array, call)}) -> {typed}: ...")
    return "\n".join(lines)


def stub(module: Module) -> str:
    """Return the text of a stub."""
    public = {name: getattr(nn, name) for name in nn.__all__}
    layers = {
        name: x for name, x in public.items() if inspect.isclass(x) and issubclass(x, nn.Layer) and x is not nn.Layer
    }
    text = [
        f'"""Written by docs/stubs.py: the layers of :mod:`{module.name}` as type checkers and editors see them."""\n',
        # Calls name the inputs of a layer where those of its base class take any.
        '# mypy: disable-error-code="override"',
        "from collections.abc import Callable, Mapping, Sequence",
        "from typing import Any, overload",
        *module.imports,
        "from e3any import Irreps, Layout",
        *(f"from e3any.nn import {name} as {name}" for name in sorted(public.keys() - layers.keys())),
        *(f"\n{layer_class(module, layers[name])}" for name in sorted(layers)),
    ]
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(path(module)), "-"]
    return subprocess.run(command, input="\n".join(text), text=True, capture_output=True, check=True).stdout


def path(module: Module) -> Path:
    """Return where the stub of a module is."""
    return Path(importlib.import_module(module.name).__file__ or "").with_suffix(".pyi")


def main() -> None:
    """Write all stubs, or with ``--check`` say which ones differ from what would be written."""
    stubs = {path(module): stub(module) for module in MODULES}
    if "--check" in sys.argv:
        old = [
            str(file) for file, text in stubs.items() if not file.exists() or file.read_text(encoding="utf-8") != text
        ]
        sys.exit(f"expected what `python docs/stubs.py` writes, got other stubs: {old}" if old else 0)
    for file, text in stubs.items():
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
