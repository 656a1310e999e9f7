"""A NATS connection without a client library: the limit of a bare socket."""

from __future__ import annotations

import json
import socket
from types import TracebackType
from urllib.parse import urlsplit

_GREETING = {"verbose": False, "headers": True, "no_responders": True, "lang": "bare"}
_TAIL = 256
_RECEIVE = 1 << 20
_TIMEOUT = 30.0
_END = b"\r\n\r\n\r\n"


class Bare:
    """A connection without TLS or credentials; use it in ``with``.

    Attributes:
        inbox: the inbox, subscribed with sid 1.
    """

    inbox = b"_INBOX.bench.0123456789abcdef"

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._sock = socket.create_connection((parts.hostname, parts.port), timeout=_TIMEOUT)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock.recv(1 << 16)
        greeting = json.dumps(_GREETING).encode()
        self.send(b"CONNECT %s\r\nSUB %s 1\r\nPING\r\n" % (greeting, self.inbox))
        if self._sock.recv(1 << 10) != b"PONG\r\n":
            raise ConnectionError(f"server {url} did not complete the handshake")
        self._rest = b""
        self._space = bytearray(_TAIL + _RECEIVE)
        self._view = memoryview(self._space)

    def __enter__(self) -> Bare:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._sock.close()

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def count_replies(self) -> int:
        """Wait for bytes, and return the number of messages whose start is complete now."""
        mark = b"MSG " + self.inbox
        received = self._sock.recv(1 << 18)
        if not received:
            raise ConnectionError("the server closed the connection")
        seen = self._rest + received
        self._rest = seen[-(len(mark) - 1) :]
        return seen.count(mark)

    def request_batch(self, stream: str, first: int, count: int, max_bytes: int) -> None:
        """Request a direct get batch."""
        body: dict[str, object] = {"seq": first, "batch": count, "max_bytes": max_bytes}
        self._request(f"DIRECT.GET.{stream}", body)

    def discard_answer(self) -> int:
        """Receive and discard an answer; return the sequence of its last message."""
        view = self._view
        while True:
            count = self._sock.recv_into(view[_TAIL:])
            if not count:
                raise ConnectionError("the server closed the connection")
            end = _TAIL + count
            last = _end_of_batch(bytes(view[end - _TAIL : end]))
            if last is not None:
                return last
            view[:_TAIL] = bytes(view[end - _TAIL : end])

    def create_consumer(self, stream: str, name: str) -> None:
        """Create an ephemeral pull consumer without acks, in memory, from the first message on."""
        config = {
            "name": name,
            "ack_policy": "none",
            "deliver_policy": "all",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": 60_000_000_000,
        }
        self._request(f"CONSUMER.CREATE.{stream}.{name}", {"stream_name": stream, "config": config})
        reply = self._sock.recv(1 << 16)
        if b'"error"' in reply:
            raise ConnectionError(f"consumer {name} was not created: {reply!r}")

    def delete_consumer(self, stream: str, name: str) -> None:
        self._request(f"CONSUMER.DELETE.{stream}.{name}", {})

    def discard_deliveries(self, stream: str, consumer: str, count: int) -> None:
        """Pull ``count`` messages and discard them."""
        self._request(f"CONSUMER.MSG.NEXT.{stream}.{consumer}", {"batch": count})
        mark = b" 1 $JS.ACK."
        rest = len(mark) - 1
        begin = _TAIL - rest
        self._space[begin:_TAIL] = bytes(rest)
        while count > 0:
            received = self._sock.recv_into(self._view[_TAIL:])
            if not received:
                raise ConnectionError("the server closed the connection")
            end = _TAIL + received
            count -= self._space.count(mark, begin, end)
            self._space[begin:_TAIL] = self._space[end - rest : end]

    def _request(self, call: str, body: dict[str, object]) -> None:
        request = json.dumps(body).encode()
        frame = b"PUB $JS.API.%s %s %d\r\n%s\r\n"
        self.send(frame % (call.encode(), self.inbox, len(request), request))

    def keep_answer(self) -> bytes:
        """Receive an answer and return its bytes; a PING may follow its end."""
        kept = bytearray()
        while _end_of_batch(bytes(kept[-_TAIL:])) is None:
            received = self._sock.recv(_RECEIVE)
            if not received:
                raise ConnectionError("the server closed the connection")
            kept += received
        return bytes(kept)


def _end_of_batch(tail: bytes) -> int | None:
    """Return the last sequence in an answer's final status; ``None`` without a status.

    The status may be followed by a PING of the server.
    """
    status = tail.rpartition(b"NATS/1.0 204")
    if not status[1] or _END not in status[2]:
        return None
    return int(status[2].split(b"Nats-Last-Sequence: ")[1].split(b"\r\n")[0])
