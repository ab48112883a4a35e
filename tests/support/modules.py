"""Modules of users, made for a test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


def put_module(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> Path:
    """Put a module into a folder, that it can be imported from and a command finds itself in."""
    monkeypatch.syspath_prepend(folder)
    monkeypatch.chdir(folder)
    (folder / f"{name}.py").write_text(text)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return folder
