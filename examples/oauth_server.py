"""A small OAuth server that rotates refresh tokens, for `token_refresh.py` to be tried on.

    python examples/oauth_server.py --port 8400 --trouble 0.3

`POST /token` takes the form of RFC 6749 and a header `Idempotency-Key`:

    grant_type=authorization_code&code=USER       begins a family of tokens, as if USER had logged in
    grant_type=refresh_token&refresh_token=TOKEN  gives new tokens for TOKEN, which is used up

A repeated key is answered alike. A used token with another key means that it was stolen, or that its
owner lost track of it: the whole family is revoked, and nothing but a new login helps.
`GET /families` shows all families as JSON.
"""

from __future__ import annotations

import argparse
import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from urllib.parse import parse_qs

from attrs import define, field


@define
class Family:
    """The tokens that come from one login: the newest refresh token, and those used up."""

    user: str
    token: str = ""
    used: list[str] = field(factory=list[str])
    revoked: bool = False


@define
class Refused(Exception):
    """An error of RFC 6749 §5.2."""

    error: str


class Families:
    """What the server knows. `repeats`: how many requests came with a key that was known."""

    def __init__(self) -> None:
        self.all: list[Family] = []
        self.repeats = 0
        self._answers: dict[str, dict[str, object]] = {}
        self._of: dict[str, Family] = {}
        self._lock = threading.Lock()

    def grant(self, form: dict[str, str], key: str) -> dict[str, object]:
        """The tokens for a request; raises `Refused`."""
        with self._lock:
            if key in self._answers:
                self.repeats += 1
                return self._answers[key]
            family = self._family(form)
            family.token = secrets.token_urlsafe(16)
            self._of[family.token] = family
            answer: dict[str, object] = {
                "access_token": secrets.token_urlsafe(16),
                "refresh_token": family.token,
                "expires_in": 3600,
            }
            self._answers[key] = answer
            return answer

    def _family(self, form: dict[str, str]) -> Family:
        match form:
            case {"grant_type": "authorization_code", "code": user}:
                self.all.append(family := Family(user))
                return family
            case {"grant_type": "refresh_token", "refresh_token": token} if token in self._of:
                family = self._of[token]
                family.revoked |= token != family.token  # used before, and this is another key
                if family.revoked:
                    raise Refused("invalid_grant")
                family.used.append(token)
                return family
        raise Refused("invalid_request")


class OAuthServer(ThreadingHTTPServer):
    """Answers with `Families`; a share `trouble` of the requests with 503, before or after the work."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int = 0, *, trouble: float = 0, random: Random | None = None) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.families = Families()
        self.trouble = trouble
        self.random = random or Random()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def granted(self) -> None:
        """Called when tokens were given and nobody knows of it yet."""

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that is gone is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: OAuthServer

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        fields = {name: values[0] for name, values in form.items()}
        early, late = (self.server.random.random() < self.server.trouble / 2 for _ in range(2))
        if early:
            return self._answer(503, {"error": "temporarily_unavailable"})
        try:
            tokens = self.server.families.grant(fields, self.headers["Idempotency-Key"])
        except Refused as refused:
            return self._answer(400, {"error": refused.error})
        self.server.granted()
        return self._answer(503, {"error": "temporarily_unavailable"}) if late else self._answer(200, tokens)

    def do_GET(self) -> None:
        families = self.server.families.all
        shown = [{"user": f.user, "rotations": len(f.used), "revoked": f.revoked} for f in families]
        self._answer(200, {"families": shown})

    def _answer(self, status: int, body: dict[str, object]) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--port", type=int, default=8400)
    parser.add_argument("--trouble", type=float, default=0.0, help="the share of 503, from 0 to 1")
    arguments = parser.parse_args()
    server = OAuthServer(arguments.port, trouble=arguments.trouble)
    print(f"listening at {server.url}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print(*server.families.all, sep="\n")


if __name__ == "__main__":
    main()
