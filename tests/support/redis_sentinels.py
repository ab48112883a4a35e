"""A real primary, its replica, and real Sentinels that watch them."""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.redis_clusters import wait_until
from support.redis_servers import SAFE, Server, find, free_port, launch

SERVICE = "orders"
DOWN_AFTER_MS = 60_000
"""A server that a slow disk holds up is not taken for dead."""

HASTY_DOWN_AFTER_MS = 500


class Sentinel(Server):
    """A Sentinel that watches a primary."""

    def __init__(self, name: str, primary: Server, quorum: int) -> None:
        program = find(name)
        assert program is not None, f"{name} is not installed"
        self.folder = Path(tempfile.mkdtemp(prefix="durable-jobs-"))
        self.port = free_port()
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self.folder}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} {quorum}",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {SERVICE} 3000",
        ]
        config = self.folder / "sentinel.conf"
        config.write_text("\n".join(lines) + "\n")
        self._command = [str(program), str(config), "--sentinel"]
        self.start()
        atexit.register(self.discard)

    @property
    def primary(self) -> int:
        """The port of the primary, as this Sentinel knows it."""
        with self.client() as client:
            return int(client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])

    def knows_all(self, replicas: int, sentinels: int) -> bool:
        """Whether it has found the replicas, and the other Sentinels."""
        with self.client() as client:
            found = client.execute_command("SENTINEL REPLICAS", SERVICE)
            others = client.execute_command("SENTINEL SENTINELS", SERVICE)
        return len(found) == replicas and len(others) == sentinels - 1


class Watched:
    """Two servers and three Sentinels; or one of each, which is ready at once, where nothing is to fail."""

    def __init__(self, name: str, replicas: int = 1, sentinels: int = 3) -> None:
        at_once = "--repl-diskless-sync-delay", "0"
        self.servers = [launch(name, *SAFE, *at_once) for _ in range(1 + replicas)]
        for replica in self.servers[1:]:
            with replica.client() as client:
                client.replicaof("127.0.0.1", self.servers[0].port)
                wait_until(lambda: client.info("replication")["master_link_status"] == "up")
        self.sentinels = [Sentinel(name, self.servers[0], 1 + sentinels // 2) for _ in range(sentinels)]
        wait_until(lambda: all(one.knows_all(replicas, sentinels) for one in self.sentinels))

    @property
    def url(self) -> str:
        """The first Sentinel that it names is not there."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in (1, *(one.port for one in self.sentinels)))
        return f"redis+sentinel://{hosts}/{SERVICE}"

    @property
    def primary(self) -> Server:
        """The server that most Sentinels take for the primary."""
        ports = sorted(one.primary for one in self.sentinels)
        return next(server for server in self.servers if server.port == ports[1])

    @contextmanager
    def without(self, server: Server) -> Iterator[None]:
        """Within the block a server is not there, which the Sentinels find out soon; then it begins again."""
        server.kill()
        self._give_up_after(HASTY_DOWN_AFTER_MS)
        try:
            yield
        finally:
            self._give_up_after(DOWN_AFTER_MS)
            server.start()

    def _give_up_after(self, ms: int) -> None:
        for one in self.sentinels:
            with one.client() as client:
                client.execute_command("SENTINEL SET", SERVICE, "down-after-milliseconds", ms)

    def wait_for_failover(self, old: Server) -> None:
        """Until all Sentinels name the other server."""
        wait_until(lambda: all(one.primary != old.port for one in self.sentinels))

    def discard(self) -> None:
        """End all of them."""
        for one in (*self.sentinels, *self.servers):
            one.discard()
