"""Costs that occur once per process: imports and first calls; and the size of the wheel."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PATHS = [str(ROOT / folder) for folder in ("asv_bench", "adapters", "backends", ".")]
_SCRIPT = """
import sys, time, warnings
sys.path[:0] = {paths!r}
warnings.simplefilter("ignore")
{setup}
cpu = time.process_time()
{timed}
print(time.process_time() - cpu)
"""


@dataclass(frozen=True)
class FirstTime:
    """Code that is timed in a fresh process, after a setup that is not timed."""

    timed: str
    setup: str = ""

    def seconds(self, samples: int = 1) -> float:
        """Return the median of process CPU time."""
        script = _SCRIPT.format(paths=_PATHS, setup=self.setup, timed=self.timed)
        return statistics.median(_output(script) for _ in range(samples))


def _output(script: str) -> float:
    """Run a script and return the number that it prints; if it fails, print its error and raise."""
    done = subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.splitlines()[-1])


IMPORT_CORE = FirstTime("import e3any")
IMPORT_FLAX = FirstTime("import e3any_flax", "import flax.linen")
IMPORT_TORCH = FirstTime("import e3any_torch", "import torch")

#: From the start of Python, of which the interpreter itself takes 0.02 s.
FIRST_STEP_JAX = FirstTime('import instrument.competitors as c; c.program("jax", "energies").call("training")()')
FIRST_STEP_TORCH = FirstTime('import instrument.competitors as c; c.program("torch", "energies").call("training")()')
FIRST_STEP_E3X = FirstTime('import instrument.competitors as c; c.program("e3x", "energies").call("training")()')


def clebsch_gordan(degree: int) -> FirstTime:
    """Return the first table of couplings of degrees up to the given one."""
    return FirstTime(f"so3.clebsch_gordan({degree}, {degree}, {degree})", "from e3any import so3")


def wigner_d(degree: int) -> FirstTime:
    """Return the first matrices of 1,000 rotations."""
    setup = f"from instrument import tasks; task = tasks.wigner_d({degree})"
    return FirstTime("task.compute(*task.inputs, **task.options)", setup)


def wheel_bytes() -> int:
    """Build the wheel and return its size."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        (wheel,) = Path(folder).glob("*.whl")
        return wheel.stat().st_size
