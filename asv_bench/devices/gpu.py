"""Launches, bytes and operations of a module that XLA has scheduled for a GPU."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from .hlo import Computation, Instruction, Module, num_bytes, num_elements

__all__ = ["count"]

# What takes no kernel.
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id", "async-done"}
# One operation for each element.
_ELEMENTWISE = {
    "abs", "add", "atan2", "cbrt", "cosine", "divide", "erf", "exponential", "exponential-minus-one", "log",
    "log-plus-one", "logistic", "maximum", "minimum", "multiply", "negate", "power", "rsqrt", "sine", "sqrt",
    "subtract", "tanh",
}  # fmt: skip
_RESHAPES = {"bitcast", "copy", "reshape", "transpose"}
_PARTIAL_READS = {"dynamic-slice", "gather", "slice"}


def count(text: str) -> dict[str, int]:
    """Return launches, bytes, flops and loops of unknown length.

    Every kernel reads its operands and writes its results once: a gather or slice no more than its result, and a
    scatter or update in place only what it changes, twice. Caches are not modelled, and neither is a kernel that reads
    an operand more than once.
    """
    module = Module.parse(text)
    flops = _Flops(module)
    counts = dict.fromkeys(("launches", "bytes", "flops", "unknown_loops"), 0)
    for instruction, computation, times in module.steps(inside=("call", "async-start")):
        if instruction.opcode == "while":
            counts["unknown_loops"] += 1
        elif instruction.opcode not in _FREE:
            counts["launches"] += times
            counts["bytes"] += times * _bytes(module, instruction, computation)
            counts["flops"] += times * flops.of(instruction, computation)
    return counts


def _bytes(module: Module, instruction: Instruction, computation: Computation) -> int:
    if instruction.opcode == "fusion" and instruction.called in module.computations:
        return _Fusion(module.computations[instruction.called]).bytes()
    operands = sum(num_bytes(computation[name].shape) for name in instruction.operands if name in computation)
    return operands + num_bytes(instruction.shape)


class _Fusion:
    """The traffic of a fusion."""

    def __init__(self, inside: Computation) -> None:
        self._inside = inside
        self._users: dict[str, list[tuple[Instruction, int]]] = defaultdict(list)
        for user in inside.values():
            for position, name in enumerate(user.operands):
                self._users[name].append((user, position))

    def bytes(self) -> int:
        """Return the bytes that are read and written."""
        roots = list(self._roots())
        in_place = {self._source(r.operands[0]).name for r in roots if r.opcode in ("scatter", "dynamic-update-slice")}
        parameters = [i for i in self._inside.values() if i.opcode == "parameter" and i.name not in in_place]
        return sum(map(self._read, parameters)) + sum(map(self._written, roots))

    def _roots(self) -> Iterator[Instruction]:
        (root,) = (i for i in self._inside.values() if i.is_root)
        for name in root.operands if root.opcode == "tuple" else [root.name]:
            yield self._source(name)

    def _source(self, name: str) -> Instruction:
        """Return what an instruction is, apart from its shape."""
        instruction = self._inside[name]
        while instruction.opcode in _RESHAPES:
            instruction = self._inside[instruction.operands[0]]
        return instruction

    def _read(self, parameter: Instruction) -> int:
        full, uses = num_bytes(parameter.shape), list(self._uses(parameter.name))
        if uses and all(user.opcode in _PARTIAL_READS and position == 0 for user, position in uses):
            return min(full, sum(num_bytes(user.shape) for user, _ in uses))
        return full

    def _uses(self, name: str) -> Iterator[tuple[Instruction, int]]:
        for user, position in self._users[name]:
            if user.opcode in _RESHAPES:
                yield from self._uses(user.name)
            else:
                yield user, position

    def _written(self, root: Instruction) -> int:
        if root.opcode == "scatter":
            return 2 * num_bytes(self._inside[root.operands[-1]].shape)
        if root.opcode == "dynamic-update-slice":
            return num_bytes(self._inside[root.operands[1]].shape)
        return num_bytes(root.shape)


@dataclass
class _Flops:
    """Operations on floating-point numbers; a transcendental function is one."""

    module: Module
    known: dict[str, int] = field(default_factory=dict)

    def of(self, instruction: Instruction, computation: Computation) -> int:
        """Return the operations of an instruction."""
        if instruction.opcode in ("fusion", "call"):
            return self._inside(instruction.called)
        if instruction.opcode == "dot":
            return self._dot(instruction, computation)
        if instruction.opcode == "reduce":
            return num_elements(computation[instruction.operands[0]].shape)
        if instruction.opcode == "scatter":
            return num_elements(computation[instruction.operands[-1]].shape)
        is_float = re.match(r"f|bf", instruction.shape) is not None
        return num_elements(instruction.shape) if is_float and instruction.opcode in _ELEMENTWISE else 0

    def _inside(self, name: str | None) -> int:
        if name is None or name not in self.module.computations:
            return 0
        if name not in self.known:
            computation = self.module.computations[name]
            self.known[name] = sum(self.of(i, computation) for i in computation.values())
        return self.known[name]

    def _dot(self, instruction: Instruction, computation: Computation) -> int:
        contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", instruction.attributes)
        axes = [int(n) for n in contracted[1].split(",") if n] if contracted else []
        shape = re.search(r"\[([\d,]*)\]", computation[instruction.operands[0]].shape)
        sizes = [int(n) for n in shape[1].split(",") if n] if shape else []
        return 2 * num_elements(instruction.shape) * math.prod(sizes[axis] for axis in axes)
