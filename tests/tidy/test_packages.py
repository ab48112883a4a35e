"""The distributions: what each says of itself, and that they agree."""

from __future__ import annotations

import importlib
import sys
import tomllib
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest
from support.redis_servers import PROGRAMS

ROOT = Path(__file__).parents[2]
PROJECTS = [
    *sorted(ROOT.glob("*/*/pyproject.toml")),
    ROOT / "conformance/pyproject.toml",
    ROOT / "pyproject.toml",
]
IMPORTS = [
    "durable_jobs_core",
    "durable_jobs_core.engine",
    "durable_jobs_core.definitions",
    "durable_jobs_memory",
    "durable_jobs_sqlite",
    "durable_jobs_redis",
    "durable_jobs_runtime",
    "durable_jobs_asyncio",
    "durable_jobs_trio",
    "durable_jobs_simulation",
    "durable_jobs_conformance",
]


def project(path: Path) -> dict[str, object]:
    found: dict[str, object] = tomllib.loads(path.read_text())["project"]
    return found


def test_the_core_depends_on_attrs_cattrs_and_one_cron_library() -> None:
    dependencies = project(ROOT / "pyproject.toml")["dependencies"]

    assert isinstance(dependencies, list)
    assert [name.split(">")[0] for name in dependencies] == ["attrs", "cattrs", "cronsim"]


def test_all_versions_agree() -> None:
    versions = {project(path)["name"]: project(path)["version"] for path in PROJECTS}

    assert len(set(versions.values())) == 1
    assert {str(name): version(str(name)) for name in versions} == versions


def test_every_distribution_is_typed() -> None:
    packages = [next(path.parent.glob("durable_jobs_*")) for path in PROJECTS]

    assert [package.name for package in packages if not (package / "py.typed").exists()] == []


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.parent.name)
def test_every_distribution_says_what_it_is_and_comes_with_the_licence(path: Path) -> None:
    assert path.with_name(str(project(path)["readme"])).read_text().startswith("# durable-jobs")
    assert project(path)["classifiers"] == project(ROOT / "pyproject.toml")["classifiers"]
    assert project(path)["license-files"] == ["LICENSE"]
    assert path.with_name("LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_backends_are_found_by_their_scheme() -> None:
    schemes = {point.name for point in entry_points(group="durable_jobs.backends")}

    assert schemes >= {"memory", "sqlite", "redis", "rediss", "unix"}
    assert schemes >= {f"{kind}+{form}" for kind in ("redis", "rediss") for form in ("cluster", "sentinel")}


@pytest.mark.parametrize("name", IMPORTS)
def test_exports_are_exact_sorted_and_there(name: str) -> None:
    module = importlib.import_module(name)

    exported: list[str] = list(module.__all__)
    assert len(set(exported)) == len(exported)
    assert [item for item in exported if not hasattr(module, item)] == []


@pytest.mark.parametrize("folder", ["backends", "adapters", "tests", "scripts"])
def test_folders_are_not_packages(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="no wheel has a redis-server for this Python")
def test_what_tests_install_has_servers_of_two_generations() -> None:
    assert PROGRAMS == ("redis-server", "valkey-server")
