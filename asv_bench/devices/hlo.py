"""Scheduled HLO text as computations of instructions, and the steps that a device takes through them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Computation", "Instruction", "Module", "Step", "num_bytes", "num_elements"]

_BITS = {
    "pred": 8, "s4": 4, "u4": 4, "s8": 8, "u8": 8, "s16": 16, "u16": 16, "s32": 32, "u32": 32, "s64": 64, "u64": 64,
    "f8e4m3fn": 8, "f8e5m2": 8, "bf16": 16, "f16": 16, "f32": 32, "f64": 64, "c64": 64, "c128": 128,
}  # fmt: skip
_ARRAY = re.compile(r"([a-z]\w*)\[([\d,]*)\]")
_HEAD = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{")
_LEFT = re.compile(r"\s+(ROOT )?%?([\w.\-]+) = ")
_CALLED = re.compile(r"\b(?:calls|to_apply)=%?([\w.\-]+)")
_BODY = re.compile(r"\bbody=%?([\w.\-]+)")
_CONDITION = re.compile(r"\bcondition=%?([\w.\-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


def num_elements(shape: str) -> int:
    """Return the number of elements of the first array of a shape."""
    match = _ARRAY.search(shape)
    return math.prod(int(n) for n in match[2].split(",") if n) if match else 0


def num_bytes(shape: str) -> int:
    """Return the number of bytes of an array, or of all arrays of a tuple; tokens and opaque types have none."""
    bits = sum(
        _BITS.get(kind, 0) * math.prod(int(n) for n in sizes.split(",") if n) for kind, sizes in _ARRAY.findall(shape)
    )
    return bits // 8


@dataclass(frozen=True)
class Instruction:
    """An instruction ``name = shape opcode(arguments), attributes``."""

    name: str
    shape: str
    opcode: str
    arguments: str
    attributes: str
    is_root: bool

    @property
    def operands(self) -> list[str]:
        """Names of the operands."""
        return re.findall(r"%([\w.\-]+)", self.arguments)

    @property
    def called(self) -> str | None:
        """Name of the computation that a fusion or call evaluates."""
        match = _CALLED.search(self.attributes)
        return match[1] if match else None


Computation = dict[str, Instruction]


class Step(NamedTuple):
    """An instruction in its computation, and how often it is executed."""

    instruction: Instruction
    computation: Computation
    times: int


@dataclass(frozen=True)
class Module:
    """The computations of a module by name."""

    computations: dict[str, Computation]
    entry: str

    @classmethod
    def parse(cls, text: str) -> Module:
        """Read a module."""
        computations: dict[str, Computation] = {}
        current: Computation | None = None
        entry = ""
        for line in text.splitlines():
            if current is None:
                if head := _HEAD.match(line):
                    current = computations[head[2]] = {}
                    entry = head[2] if head[1] else entry
            elif line.startswith("}"):
                current = None
            elif (instruction := _instruction(line)) is not None:
                current[instruction.name] = instruction
        if not entry:
            raise ValueError(f"expected a module in HLO with an entry, got {text[:100]!r}")
        return cls(computations, entry)

    def steps(self, inside: tuple[str, ...] = ("call",)) -> Iterator[Step]:
        """Yield what is executed: bodies of loops and computations of calls instead of the loops and calls.

        A loop whose number of trips is not known is a step of its own before the steps of one trip.

        Parameters
        ----------
        inside : tuple of str
            Opcodes whose computation is yielded instead of the instruction.
        """
        yield from self._steps(self.entry, 1, inside)

    def _steps(self, name: str, times: int, inside: tuple[str, ...]) -> Iterator[Step]:
        computation = self.computations[name]
        for instruction in computation.values():
            body = _BODY.search(instruction.attributes) if instruction.opcode == "while" else None
            if body is not None:
                trips = self._trips(instruction)
                if trips is None:
                    yield Step(instruction, computation, times)
                yield from self._steps(body[1], times * (1 if trips is None else trips), inside)
            elif instruction.opcode in inside and instruction.called in self.computations:
                yield from self._steps(instruction.called, times, inside)
            else:
                yield Step(instruction, computation, times)

    def _trips(self, loop: Instruction) -> int | None:
        """Return the number of trips, if it is written at the loop or can be read off its condition."""
        if known := _TRIPS.search(loop.attributes):
            return int(known[1])
        name = _CONDITION.search(loop.attributes)
        condition = self.computations.get(name[1], {}) if name else {}
        compare = next((i for i in condition.values() if i.is_root), None)
        if compare is None or compare.opcode != "compare" or "direction=LT" not in compare.attributes:
            return None
        # libtpu writes no number of trips. Loops of `jax.lax.scan` count from zero by ones.
        limit = condition[compare.operands[1]]
        return int(limit.arguments) if limit.opcode == "constant" else None


def _instruction(line: str) -> Instruction | None:
    left = _LEFT.match(line)
    if left is None:
        return None
    # A tuple's shape has spaces and nested brackets, those of layouts; an array's has neither.
    start = left.end()
    end = _closing(line, start) + 1 if line[start] == "(" else line.index(" ", start)
    bracket = line.index("(", end)
    close = _closing(line, bracket)
    return Instruction(
        name=left[2],
        shape=line[start:end],
        opcode=line[end:bracket].strip(),
        arguments=line[bracket + 1 : close],
        attributes=line[close + 1 :],
        is_root=bool(left[1]),
    )


def _closing(text: str, start: int) -> int:
    """Return the position of the bracket that closes the one at ``start``."""
    depth = 0
    for match in re.compile(r"[()]").finditer(text, start):
        depth += 1 if match[0] == "(" else -1
        if depth == 0:
            return match.start()
    raise ValueError(f"expected a closing bracket, got {text[start : start + 100]!r}")
