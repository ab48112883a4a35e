"""`examples/token_refresh.py` as a real process, killed often, against a strict OAuth server."""

from __future__ import annotations

import threading
from pathlib import Path
from random import Random

import pytest
from oauth_server import Families, OAuthServer, Refused
from support.killing import command, finish, kill_often
from support.servers import serving

USERS = 4


class SlowServer(OAuthServer):
    """Takes its time between rotating a token and saying so, which is when the other side is killed."""

    def __init__(self, random: Random) -> None:
        super().__init__(trouble=0.2, random=random)
        self.busy = threading.Event()
        self.ended = threading.Event()

    def server_close(self) -> None:
        self.ended.set()
        super().server_close()

    def granted(self) -> None:
        self.busy.set()
        self.ended.wait(self.random.uniform(0, 0.1))


def rotate_tokens(database: Path, *, kills: int, seed: int) -> None:
    """Refresh tokens through `kills` kills: no family is revoked, and no user has two."""
    random = Random(seed)
    with serving(SlowServer(random)) as server:
        options = {"db": database, "url": server.url, "users": USERS, "every": 0.05}
        kill_often(command("token_refresh.py", **options), kills=kills, random=random, busy=server.busy)
        families = server.families
        enough = 2 + max(len(family.used) for family in families.all)
        finish(command("token_refresh.py", **options, runs=enough))

    assert [family for family in families.all if family.revoked] == []
    assert sorted(family.user for family in families.all) == [f"user-{n + 1}" for n in range(USERS)]
    assert all(len(family.used) >= enough for family in families.all)
    assert all(len(set(family.used)) == len(family.used) for family in families.all)
    assert families.repeats > kills // 4, "the keys were never needed: this has shown nothing"


def test_S_18_no_family_is_revoked_by_ten_kills(tmp_path: Path) -> None:
    rotate_tokens(tmp_path / "tokens.db", kills=10, seed=1)


def test_the_server_repeats_its_answer_to_a_key_and_revokes_a_family_whose_used_token_comes_again() -> None:
    families = Families()
    first = families.grant({"grant_type": "authorization_code", "code": "user"}, "login")
    again = {"grant_type": "refresh_token", "refresh_token": str(first["refresh_token"])}
    second = families.grant(again, "a")
    newest = {"grant_type": "refresh_token", "refresh_token": str(second["refresh_token"])}

    assert families.grant(again, "a") == second
    assert not families.all[0].revoked
    with pytest.raises(Refused, match="invalid_grant"):
        families.grant(again, "b")
    with pytest.raises(Refused, match="invalid_grant"):
        families.grant(newest, "c")
    assert families.all[0].revoked


def test_S_24_a_revoked_token_parks_its_user_who_has_to_log_in(tmp_path: Path) -> None:
    with serving(SlowServer(Random(2))) as server:
        options = {"db": tmp_path / "tokens.db", "url": server.url, "users": 1, "every": 0.05}
        finish(command("token_refresh.py", **options, runs=2))
        (family,) = server.families.all
        family.revoked = True

        done = finish(command("token_refresh.py", **options, runs=99), expected=1)

    assert "user-1: log in again: Revoked" in done.stderr
    assert "invalid_grant" in done.stderr
