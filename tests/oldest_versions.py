"""Print the oldest versions that pyproject.toml allows of NumPy, array-api-compat, JAX and Flax, as constraints of pip.

PyTorch is left out: PyPI has no builds of its older versions for CPUs alone.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

NAMES = {"numpy", "array-api-compat", "jax", "jaxlib", "flax"}


def main() -> None:
    """Print a line for every package."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for requirement in map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["flax"]]):
        if requirement.name in NAMES:
            (oldest,) = (s.version for s in requirement.specifier if s.operator == ">=")
            print(f"{requirement.name}=={oldest}")


if __name__ == "__main__":
    main()
