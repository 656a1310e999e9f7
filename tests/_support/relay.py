"""A relay between a client and a real server that can stop to carry anything, without a word."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit


class Relay:
    """Carries bytes both ways; once stalled, a connection stays open and carries none.

    As a hung server, a paused virtual machine or a firewall that forgot a connection.
    """

    def __init__(self, listener: socket.socket, url: str) -> None:
        self.url = f"nats://127.0.0.1:{listener.getsockname()[1]}"
        self._listener = listener
        where = urlsplit(url)
        self._server = (where.hostname, where.port or 4222)
        self._lock = threading.Lock()
        self._open: list[threading.Event] = []
        self._all = False
        self.accepted = 0
        self.sent = bytearray()  # by the clients
        threading.Thread(target=self._accept, daemon=True).start()

    def stall(self, *, new: bool = False) -> None:
        """Carry nothing more over the present connections, and with ``new`` over later ones."""
        with self._lock:
            self._all = new
            for each in self._open:
                each.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # the test is over
            self.accepted += 1
            server = socket.create_connection(self._server)
            stalled = threading.Event()
            with self._lock:
                if self._all:
                    stalled.set()
                self._open.append(stalled)
            for ends in ((client, server, self.sent), (server, client, None)):
                threading.Thread(target=_carry, args=(*ends, stalled), daemon=True).start()


def _carry(
    source: socket.socket, target: socket.socket, seen: bytearray | None, stalled: threading.Event
) -> None:
    try:
        while chunk := source.recv(1 << 16):
            if seen is not None:
                seen += chunk
            if not stalled.is_set():
                target.sendall(chunk)
    except OSError:
        pass
    if not stalled.is_set():
        source.close()
        target.close()


@contextmanager
def relay(url: str) -> Iterator[Relay]:
    """A `Relay` in front of the server at ``url``."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Relay(listener, url)
