"""Files, and other processes that have them open."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.children import Child, Spawn


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """The file of the fixture `sqlite`; nothing that served its log is left of it."""
    yield tmp_path / "jobs.db"
    assert not [*tmp_path.glob("*-spare")]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Starts processes, which are killed after the test if they have not ended."""
    children: list[Child] = []

    def start(script: str, *args: object, **env: str) -> Child:
        children.append(Child(script, *args, **env))
        return children[-1]

    yield start
    for child in children:
        if child._process.returncode is None:
            child.kill()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that others than root can reach."""
    folder = tempfile.mkdtemp()
    os.chmod(folder, 0o755)
    yield Path(folder)
    shutil.rmtree(folder)
