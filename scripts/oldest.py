"""Print the oldest versions that the distributions say they can do with, as constraints for pip."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
_BOUND = re.compile(r"([\w-]+)(?:\[[\w,]+\])?>=([\d.]+)")


def oldest() -> dict[str, str]:
    """The lower bound of each dependency but our own."""
    bounds: dict[str, str] = {}
    for path in [ROOT / "pyproject.toml", *ROOT.glob("*/pyproject.toml"), *ROOT.glob("*/*/pyproject.toml")]:
        for dependency in tomllib.loads(path.read_text())["project"]["dependencies"]:
            found = _BOUND.fullmatch(dependency)
            if found is not None:
                bounds[found[1]] = found[2]
    return bounds


if __name__ == "__main__":
    for name, version in sorted(oldest().items()):
        print(f"{name}=={version}")
