"""The process that runs cases, which a fault may end, and the one that watches it."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

# A case that takes longer, compilation included, hangs.
_SECONDS = 300.0


@dataclass(frozen=True)
class Result:
    """What came of a case: its kind, what it is, and in words how it differs from what is right."""

    number: int
    kind: str
    text: str
    differences: list[str] = field(default_factory=list)


def work(library: str, seed: int, numbers: list[int], kinds: tuple[str, ...], pipe: int) -> None:
    """Run cases in this process, and write a line before and after each to a pipe."""
    from fuzz.case import drawn, run
    from fuzz.libraries import prepare

    prepare(library)
    with os.fdopen(pipe, "w", buffering=1) as lines:
        for number in numbers:
            case = drawn(library, seed, number, kinds)
            result = {"number": number, "kind": case.call.kind, "text": str(case)}
            print(json.dumps(result), file=lines)
            try:
                differences = run(library, case)
            except Exception as error:
                differences = [_described(error)]
            print(json.dumps({**result, "differences": differences}), file=lines)


def _described(error: Exception) -> str:
    """Return an error, and where it was raised."""
    where = [f"{Path(f.filename).name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)[-4:]]
    return f"{type(error).__name__}: {' '.join(str(error).split())[:400]} ({' '.join(where)})"


def watch(
    library: str, seed: int, numbers: list[int], kinds: tuple[str, ...] = (), module: str = "fuzz"
) -> Iterator[Result]:
    """Run cases in another process; where one ends it, yield how, and go on with the next in a new one.

    ``module`` is what the process runs.
    """
    numbers = list(numbers)
    while numbers:
        done = 0
        for result in _watch_one(library, seed, numbers, kinds, module):
            done += 1
            yield result
        numbers = numbers[done:]


def _watch_one(library: str, seed: int, numbers: list[int], kinds: tuple[str, ...], module: str) -> Iterator[Result]:
    """Yield the results of one process, the last of which may be its end."""
    reads, writes = os.pipe()
    arguments = ["--worker", str(writes), "--library", library, "--seed", str(seed), "--kinds", ",".join(kinds)]
    command = [sys.executable, "-X", "faulthandler", "-m", module, *arguments, "--numbers", json.dumps(numbers)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "E3ANY_THREADS": ""}
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, pass_fds=(writes,), stderr=errors, env=environment)
        os.close(writes)
        running: Result | None = None
        seen = 0
        try:
            for line in _lines(reads):
                found: dict[str, Any] = json.loads(line)
                running = None if "differences" in found else Result(**found)
                if running is None:
                    seen += 1
                    yield Result(**found)
            hangs = seen < len(numbers) and not _ends(process)
        finally:
            process.kill()
            code = process.wait()
            os.close(reads)
        if seen < len(numbers):
            errors.seek(0)
            text = errors.read().partition("\nExtension modules")[0]
            if running is None:
                raise RuntimeError(f"expected a process that runs cases, got one that ends: {_name(code)}\n{text}")
            how = f"hangs for {_SECONDS:.0f} s" if hangs else f"ends the process: {_name(code)}"
            yield replace(running, differences=[how, *text[-3000:].splitlines()])


def _ends(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        return False
    return True


def _lines(pipe: int) -> Iterator[str]:
    """Yield lines until the other side ends, or has nothing to say for long."""
    buffer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while selector.select(_SECONDS):
            data = os.read(pipe, 1 << 16)
            if not data:
                return
            *lines, buffer = (buffer + data).split(b"\n")
            yield from (line.decode() for line in lines)


def _name(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit status {code}"
