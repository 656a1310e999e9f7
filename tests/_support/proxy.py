"""A proxy between a reader and a real server that tampers with what the server sends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

Tamper = Callable[[bytes], bytes]


@contextmanager
def proxy(url: str, tamper: Tamper) -> Iterator[str]:
    """The URL of the proxy; ``tamper`` is given what the server sends and returns it changed.

    A direct get answer is held back until its status frame has come, so that it is seen whole.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, url, tamper), daemon=True).start()
        yield f"nats://127.0.0.1:{listener.getsockname()[1]}"


def _accept(listener: socket.socket, url: str, tamper: Tamper) -> None:
    where = urlsplit(url)
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return  # the test is over
        server = socket.create_connection((where.hostname, where.port or 4222))
        threading.Thread(target=_pump, args=(client, server, None), daemon=True).start()
        threading.Thread(target=_pump, args=(server, client, tamper), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket, tamper: Tamper | None) -> None:
    held = b""
    try:
        while chunk := source.recv(1 << 16):
            held += chunk
            if tamper and b"Nats-Stream: " in held and not held.endswith(b"\r\n\r\n\r\n"):
                continue
            target.sendall(tamper(held) if tamper else held)
            held = b""
    except OSError:
        pass
    finally:
        source.close()
        target.close()
