"""Check the types of the programs in README.md by mypy, and by pyright where it is installed."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = [str(ROOT / name) for name in (".", "backends", "adapters")]


def write_programs(folder: Path) -> list[str]:
    """Write each program to a file of its own; return their names."""
    programs = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    names = [f"program_{n}.py" for n in range(len(programs))]
    for name, program in zip(names, programs, strict=True):
        (folder / name).write_text(program, encoding="utf-8")
    return names


def main() -> int:
    """Run the checkers; return 1 if one finds something."""
    environment = os.environ | {"MYPYPATH": os.pathsep.join(PACKAGES)}
    with tempfile.TemporaryDirectory() as folder:
        names = write_programs(Path(folder))
        # Frameworks have no stubs; errors of the packages themselves are those of `mypy` in `make lint`.
        options = [
            "--check-untyped-defs",
            "--follow-imports=silent",
            "--ignore-missing-imports",
            "--cache-dir",
            str(ROOT / ".mypy_cache" / "readme"),
        ]
        commands = [[sys.executable, "-m", "mypy", *options, *names]]
        if importlib.util.find_spec("pyright"):
            Path(folder, "pyrightconfig.json").write_text(f'{{"extraPaths": {PACKAGES!r}}}'.replace("'", '"'))
            commands.append([sys.executable, "-m", "pyright", "--pythonpath", sys.executable, *names])
        return max(subprocess.run(command, cwd=folder, env=environment, check=False).returncode for command in commands)


if __name__ == "__main__":
    sys.exit(main())
