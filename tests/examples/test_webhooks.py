"""`examples/webhooks.py` as a real process, killed often, against a real and unreliable HTTP server."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from itertools import chain, repeat
from pathlib import Path
from random import Random

from support.killing import ROOT, command, finish, kill_often
from support.servers import Receiver, receiver, unreliable

OPTIONS = {"timeout": 60, "flush_after": 0.2}
IMPATIENT = {**OPTIONS, "timeout": 0.5}
"""For a receiver that hangs now and then."""


def recorded() -> Path | None:
    """Recorded payloads in a folder beside the repository, if they are there."""
    folders = [above / "shared/data/webhooks" for above in ROOT.parents[:2]]  # a worktree lies deeper
    return next((folder for folder in folders if folder.is_dir()), None)


def write(folder: Path, payloads: dict[str, object]) -> Path:
    folder.mkdir()
    for name, payload in payloads.items():
        (folder / name).write_text(json.dumps(payload))
    return folder


def generated(folder: Path) -> Path:
    """Payloads of a few repositories, an organization and an installation."""
    owners: list[dict[str, object]] = [
        *({"repository": {"full_name": f"octo/{name}"}} for name in "abcdefghij"),
        {"organization": {"login": "octo"}},
        {"installation": {"account": {"login": "someone"}}},
        {"action": "published"},
    ]
    return write(folder, {f"event.{n}.json": owners[n % len(owners)] for n in range(130)})


def balance(server: Receiver, folder: Path) -> None:
    """Every file is in exactly one key's batch, and a key always carries the same batch."""
    by_key: dict[str, list[dict[str, object]]] = defaultdict(list)
    for batch in server.batches:
        by_key[str(batch["idempotency_key"])].append(batch)
    assert [tries for tries in by_key.values() if any(batch != tries[0] for batch in tries)] == []
    files = [file for tries in by_key.values() for file in tries[0]["files"]]  # type: ignore[attr-defined]
    assert sorted(files) == sorted(path.name for path in folder.glob("*.json"))
    assert server.delivered == set(by_key)


def deliver(folder: Path, database: Path, *, kills: int, seed: int, meanwhile: int) -> Receiver:
    """Deliver a folder, killed `kills` times on the way, and balance the account.

    The receiver takes `meanwhile` batches until the last kill: fewer than there are, so that there is work.
    """
    random = Random(seed)
    with receiver(unreliable(random)) as server:
        server.allowed = 0.0
        arguments = command("webhooks.py", payloads=folder, db=database, url=server.url, **IMPATIENT)

        def killed() -> None:
            server.allowed += meanwhile / kills

        kill_often(arguments, kills=kills, random=random, busy=server.arrived, killed=killed)
        server.allowed = math.inf
        assert "all delivered" in finish(arguments).stdout
        told = len(server.batches)
        again = finish(arguments).stdout
        assert "0 webhooks added" in again
        assert len(server.batches) == told
    balance(server, folder)
    assert {"fine", "error", "hang"} <= set(server.answers)
    return server


def deliver_recorded(database: Path, *, kills: int, seed: int, otherwise: Path) -> None:
    """The recorded payloads, or generated ones where there are none."""
    deliver(recorded() or generated(otherwise), database, kills=kills, seed=seed, meanwhile=10)


def deliver_one_repository(folder: Path, database: Path, *, kills: int, seed: int) -> None:
    """A thousand files of one repository: none is forgotten, none sent twice."""
    payload = {"repository": {"full_name": "octo/large"}}
    write(folder, {f"push.{n:05d}.json": payload for n in range(1_000)})
    server = deliver(folder, database, kills=kills, seed=seed, meanwhile=1)
    assert {batch["repository"] for batch in server.batches} == {"octo/large"}


def test_I_2_S_18_webhooks_are_each_in_one_batch_through_twenty_kills(tmp_path: Path) -> None:
    deliver_recorded(tmp_path / "jobs.db", kills=20, seed=1, otherwise=tmp_path / "payloads")


def test_S_60_a_thousand_files_of_one_repository_are_remembered_through_kills(tmp_path: Path) -> None:
    deliver_one_repository(tmp_path / "payloads", tmp_path / "jobs.db", kills=10, seed=2)


def test_an_event_without_a_repository_goes_by_its_owner(tmp_path: Path) -> None:
    payloads: dict[str, object] = {
        "a.json": {"repository": {"full_name": "octo/a"}, "organization": {"login": "octo"}},
        "b.json": {"repository": None, "organization": {"login": "octo"}},
        "c.json": {"installation": {"account": {"login": "someone"}}},
        "d.json": {"repository": "odd", "organization": {"login": 7}},
    }
    folder = write(tmp_path / "payloads", payloads)
    with receiver() as server:
        finish(command("webhooks.py", payloads=folder, db=tmp_path / "j.db", url=server.url, **OPTIONS))

    files = {batch["repository"]: batch["files"] for batch in server.batches}
    assert files == {
        "octo/a": ["a.json"],
        "octo": ["b.json"],
        "someone": ["c.json"],
        "(no repository)": ["d.json"],
    }
    assert {batch["flush_reason"] for batch in server.batches} == {"flushAfter"}


def test_a_file_that_is_no_payload_is_named_and_holds_up_no_other(tmp_path: Path) -> None:
    folder = write(tmp_path / "payloads", {"good.json": {}, "list.json": []})
    (folder / "torn.json").write_text('{"repository": {"full_')
    (folder / "note.txt").write_text("no payload")
    (folder / "folder.json").mkdir()
    with receiver() as server:
        arguments = command("webhooks.py", payloads=folder, db=tmp_path / "j.db", url=server.url, **OPTIONS)
        done = finish(arguments, expected=1)

    assert {tuple(batch["files"]) for batch in server.batches} == {("good.json",)}
    for name in ("list.json", "torn.json", "folder.json"):
        assert name in done.stderr
    assert "note.txt" not in done.stderr


def test_S_42_more_files_than_may_wait_are_added_as_the_receiver_takes_them(tmp_path: Path) -> None:
    payload = {"repository": {"full_name": "octo/large"}}
    folder = write(tmp_path / "payloads", {f"push.{n:05d}.json": payload for n in range(1_100)})
    with receiver(chain(repeat("error", 5), repeat("fine")).__next__) as server:
        finish(command("webhooks.py", payloads=folder, db=tmp_path / "j.db", url=server.url, **OPTIONS))

    balance(server, folder)
    assert max(len(batch["files"]) for batch in server.batches) > 50, "one collected while others waited"


def test_S_22_a_redirect_is_no_delivery_and_is_tried_again(tmp_path: Path) -> None:
    folder = write(tmp_path / "payloads", {"a.json": {}})
    with receiver(iter(["redirect", "fine"]).__next__) as server:
        finish(command("webhooks.py", payloads=folder, db=tmp_path / "j.db", url=server.url, **OPTIONS))

    assert server.answers == ["redirect", "fine"]
    assert server.batches[0] == server.batches[1]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    missing, url = tmp_path / "missing", "http://127.0.0.1:9/"

    no_folder = finish(command("webhooks.py", payloads=missing, db=tmp_path / "j.db", url=url), expected=1)
    (tmp_path / "full").mkdir()
    no_url = finish(command("webhooks.py", payloads=tmp_path, db=tmp_path / "j.db", url="there"), expected=1)
    no_store = finish(command("webhooks.py", payloads=tmp_path, db=tmp_path / "full", url=url), expected=1)

    assert no_folder.stderr.strip() == f"{missing}: expected a folder"
    assert no_url.stderr.strip() == "there: expected an http or https URL"
    assert str(tmp_path / "full") in no_store.stderr
    assert "Traceback" not in no_store.stderr
