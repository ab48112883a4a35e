"""TLS in front of a server, as a proxy does it: the server speaks plainly behind."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from pathlib import Path


def certificate(folder: Path, names: str) -> tuple[Path, Path]:
    """A certificate for some names, which is its own authority, and its key."""
    found = folder / "cert.pem", folder / "key.pem"
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    new += ["-days", "2", "-subj", "/CN=durable-jobs", "-addext", f"subjectAltName={names}"]
    files = ["-out", str(found[0]), "-keyout", str(found[1])]
    subprocess.run([*new, *files], check=True, capture_output=True)
    return found


class TlsProxy:
    """Listens on a port of its own, until it is closed."""

    def __init__(self, files: tuple[Path, Path], target: int) -> None:
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(*files)
        self._target = target
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [self._start(self._accept)]

    def _start(self, act, *args) -> threading.Thread:
        thread = threading.Thread(target=act, args=args, daemon=True)
        thread.start()
        return thread

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.settimeout(10)
                self._open.append(client)
                self._threads.append(self._start(self._serve, client))

    def _serve(self, client: socket.socket) -> None:
        try:
            with (
                suppress(OSError),
                self._context.wrap_socket(client, server_side=True) as secure,
                socket.create_connection(("127.0.0.1", self._target)) as server,
            ):
                self._open += secure, server
                secure.settimeout(None)
                back = self._start(_pump, server, secure)
                _pump(secure, server)
                back.join()
        finally:
            client.close()

    def close(self) -> None:
        """End all connections, and listen no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
