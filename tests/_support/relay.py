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
        self._reads = True
        self.accepted = 0
        self.sent = bytearray()  # by the clients
        threading.Thread(target=self._accept, daemon=True).start()

    def stall(self, *, new: bool = False, reads: bool = True) -> None:
        """Carry nothing more over the present connections, and with ``new`` over later ones.

        Without ``reads``, stalled connections are not read either, so the send buffers fill.
        """
        with self._lock:
            self._all = new
            self._reads = reads
            for each in self._open:
                each.set()

    def carry(self) -> None:
        """Carry bytes over later connections; those that are stalled stay so."""
        with self._lock:
            self._all = False

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # the test is over
            server = socket.create_connection(self._server)
            stalled = threading.Event()
            with self._lock:
                if self._all:
                    stalled.set()
                self._open.append(stalled)
                self.accepted += 1
            for ends in ((client, server, self.sent), (server, client, None)):
                threading.Thread(target=self._carry, args=(*ends, stalled), daemon=True).start()

    def _carry(
        self,
        source: socket.socket,
        target: socket.socket,
        seen: bytearray | None,
        stalled: threading.Event,
    ) -> None:
        try:
            while chunk := source.recv(1 << 16):
                if not stalled.is_set():
                    target.sendall(chunk)
                elif not self._reads:
                    return
                if seen is not None:
                    seen += chunk
        except OSError:
            pass
        if not stalled.is_set():
            source.close()
            target.close()


@contextmanager
def relay(url: str, receive_buffer: int | None = None) -> Iterator[Relay]:
    """A `Relay` in front of the server at ``url``; ``receive_buffer`` in bytes is the clients'."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if receive_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        yield Relay(listener, url)
