"""What a URL that opens nothing is told: a typing error, and a package that is not installed."""

from __future__ import annotations

import errno
import os
from importlib.metadata import MetadataPathFinder

import pytest
from durable_jobs_runtime import backends, open_backend
from support.files import no_more_files

from durable_jobs_core import StorageError


@pytest.mark.parametrize("url", ["jobs.db", "sqlite:/jobs.db", "memory:", ""])
def test_what_is_no_url_is_shown_one(url: str) -> None:
    with pytest.raises(StorageError) as caught:
        open_backend(url)

    wanted = "is no URL: expected one such as sqlite:///jobs.db; installed: memory://"
    assert str(caught.value).startswith(f"{url!r} {wanted}")


@pytest.mark.parametrize("url", [" sqlite:///jobs.db", "sqlite:///jobs.db\n", "memory:// "])
def test_white_space_around_a_url_is_no_part_of_a_name(url: str) -> None:
    with pytest.raises(StorageError, match="begins or ends with white space"):
        open_backend(url)


@pytest.mark.parametrize(
    ("url", "package"),
    [
        ("memory://", "durable-jobs-memory"),
        ("sqlite:///jobs.db", "durable-jobs-sqlite"),
        ("redis://host", "durable-jobs-redis"),
        ("rediss+cluster://host", "durable-jobs-redis"),
        ("unix:///run/redis.sock", "durable-jobs-redis"),
    ],
)
def test_a_backend_of_ours_that_is_missing_names_its_package(
    url: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "entry_points", lambda group: [])

    with pytest.raises(StorageError) as caught:
        open_backend(url)

    scheme = url.partition("://")[0]
    assert f"installed: none; {scheme}:// comes with the package {package}" in str(caught.value)


def test_a_password_is_not_shown() -> None:
    with pytest.raises(StorageError) as caught:
        open_backend("postgres://user:secret@host/db")

    assert "secret" not in str(caught.value)
    assert "comes with the package" not in str(caught.value)


def test_that_no_more_files_can_be_opened_is_told_instead_of_what_is_installed() -> None:
    MetadataPathFinder().invalidate_caches()
    with (
        no_more_files(),
        pytest.raises(StorageError, match=r"are installed.*: Too many open files") as raised,
    ):
        open_backend("memory://")
    assert "none" not in str(raised.value)


def test_a_backend_that_could_not_be_found_for_want_of_file_descriptors_is_found_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def exhausted(path: object = None) -> list[str]:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", exhausted)
        MetadataPathFinder().invalidate_caches()
        with pytest.raises(StorageError):
            open_backend("memory://")

    open_backend("memory://").close()
