"""A proxy that lies: it knows the operations of a real server, and replaces what it is told to."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

#: What is sent instead of an operation: nothing, bytes, or so many bytes that they never end.
#: ``None`` sends nothing more on the connection, and keeps it open.
Lie = Callable[[bytes], Iterable[bytes | None]]


@contextmanager
def liar(url: str, lie: Lie, connection: int = 0) -> Iterator[str]:
    """Yield the URL of a proxy to the server at ``url``.

    Args:
        lie: is given each operation of the server, from ``INFO`` on, and returns what is sent.
        connection: number of the first connection that is lied to; the others are honest.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ends: list[socket.socket] = []
        args = (listener, url, lie, connection, ends)
        threading.Thread(target=_accept, args=args, daemon=True).start()
        try:
            yield f"nats://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.close()
            for each in ends:
                each.close()


def _accept(
    listener: socket.socket, url: str, lie: Lie, connection: int, ends: list[socket.socket]
) -> None:
    where = urlsplit(url)
    number = 0
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return  # the test is over
        server = socket.create_connection((where.hostname, where.port or 4222))
        ends += [client, server]
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        told = lie if number >= connection else _honest
        number += 1
        threading.Thread(target=_carry, args=(client, server), daemon=True).start()
        threading.Thread(target=_tell, args=(server, client, told), daemon=True).start()


def _honest(operation: bytes) -> Iterable[bytes]:
    return [operation]


def _carry(client: socket.socket, server: socket.socket) -> None:
    try:
        while chunk := client.recv(1 << 16):
            server.sendall(chunk)
    except OSError:
        pass
    server.close()


def _tell(server: socket.socket, client: socket.socket, lie: Lie) -> None:
    received = b""
    silent = False
    try:
        while chunk := server.recv(1 << 16):
            received += chunk
            while size := _operation(received):
                operation, received = received[:size], received[size:]
                for told in () if silent else lie(operation):
                    if told is None:
                        silent = True
                        break
                    client.sendall(told)
    except OSError:
        pass
    client.close()


def _operation(received: bytes) -> int:
    """Return the size of the first operation; 0 if it is not complete."""
    line = received.find(b"\r\n") + 2
    if line < 2:
        return 0
    sizes = re.match(rb"H?MSG .* (\d+)\r\n", received[:line])
    size = line + (int(sizes.group(1)) + 2 if sizes else 0)
    return size if size <= len(received) else 0
