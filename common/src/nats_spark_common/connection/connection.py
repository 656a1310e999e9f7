"""The data plane: one blocking connection for bulk traffic with a NATS server.

Not a general client: no subscriptions, no callbacks. `connect` creates it. It sends requests and
encoded operations, and returns received bytes in blocks of about a megabyte, which the decoders
turn into columns. nats-py delivers each message through an event loop, which costs more than fifty
times as much as reading the bytes. Whatever needs only a few calls per batch uses it (`control`).

Source: NATS docs, "Client Protocol".
"""

from __future__ import annotations

import re
import socket
import ssl
import struct
import time
from collections import deque
from contextlib import AbstractContextManager
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..errors import (
    AuthError,
    ConnectError,
    MissingPermissionError,
    NatsSparkError,
    ProtocolError,
    TimeoutExpiredError,
)
from ..protocol.operations import (
    MAX_SIZE,
    PING,
    PING_SIGNAL,
    PONG,
    Err,
    Event,
    Info,
    Msg,
    hpub,
    parse,
    pub,
)
from . import silence
from .buffer import ReceiveBuffer
from .servers import Server

#: Seconds that a half-filled block waits for more bytes before it is returned.
_LULL = 0.005

#: Seconds without data, while a reply is expected, after which the server is sent a ping ...
QUIET = 1.0
#: ... and seconds without data after the ping until the server is treated as disconnected.
PONG_WITHIN = 2.0

#: Seconds to send data; if it takes longer, the server is treated as disconnected.
_SEND_SECONDS = 10.0

#: Slowest rate in bytes per second at which a message may arrive.
_SLOWEST = 1 << 14

#: Maximum size in bytes of a message, if ``max_payload`` is not larger: the most that a server
#: sends by default (``max_pending``). JSON replies have payloads in base64.
_LARGEST = 1 << 26
_EXPANSION = 2

#: Maximum operations that belong to no reply, such as pings, in so many seconds. A server pings
#: every two minutes, and sends INFO when its cluster changes.
_MAX_OTHERS, _OTHERS_SECONDS = 1_000, 10.0

#: The id of the only subscription, which receives everything below the inbox.
SID = "1"

#: Texts of ``-ERR`` if the server rejects the credentials, or no longer accepts them.
_REJECTED = (
    "authorization violation",
    "user authentication expired",
    "user authentication revoked",
    "account authentication expired",
)
#: ... and if a limit of connections is reached, with the fix.
_FULL = {
    "maximum connections exceeded": "raise max_connections on the server",
    "maximum account active connections exceeded": "raise the account's connection limit",
}


@dataclass(frozen=True)
class ServerInfo:
    """The server's INFO.

    Attributes:
        version: as numbers, such as ``(2, 11, 3)``, without suffixes such as ``-RC.1``.
        max_payload: maximum size of a message in bytes, headers included.
        connect_urls: ``host:port`` of the other servers of its cluster.
    """

    version: tuple[int, ...]
    max_payload: int
    jetstream: bool
    headers: bool
    connect_urls: tuple[str, ...]

    @staticmethod
    def from_fields(fields: dict[str, object]) -> ServerInfo:
        """Parse the fields of an INFO. Raises ``ProtocolError`` if a field is invalid."""
        numbers = re.match(r"[0-9]{1,9}(\.[0-9]{1,9}){0,9}", str(fields.get("version", "0")))
        urls, max_payload = fields.get("connect_urls") or [], fields.get("max_payload", 1 << 20)
        if not isinstance(max_payload, int) or not 0 < max_payload <= MAX_SIZE:
            raise ProtocolError(f"INFO has an invalid max_payload: {str(max_payload)[:80]}")
        return ServerInfo(
            version=tuple(map(int, numbers.group().split("."))) if numbers else (0,),
            max_payload=max_payload,
            jetstream=bool(fields.get("jetstream")),
            headers=bool(fields.get("headers")),
            connect_urls=tuple(filter(_is_address, urls)) if isinstance(urls, list) else (),
        )


def _is_address(address: object) -> bool:
    """Return whether a server's ``host:port`` can be connected to."""
    if not isinstance(address, str) or not address.isprintable() or set(address) & set(" @/?#"):
        return False
    try:
        parts = urlsplit(f"nats://{address}")
        return bool(parts.hostname and parts.port)
    except ValueError:
        return False


class Connection(AbstractContextManager["Connection"]):
    """A connection to one server; created by `connect.connect`, and a context manager.

    Not thread-safe, never pickled. After any error except ``TimeoutExpiredError`` it is closed. The
    class is long because sending, receiving and the liveness check share the socket's state.

    Attributes:
        server: the server's URL and address.
        info: the server's INFO.
        established: whether the handshake is complete.
        busy: whether a reply is partly read; such a connection cannot be reused.
    """

    def __init__(self, sock: socket.socket, server: Server, info: ServerInfo, inbox: str) -> None:
        self.server = server
        self.info = info
        self.established = False
        self.busy = False
        self._waited_until = 0.0  # deadline of the last wait
        self._others: deque[float] = deque(maxlen=_MAX_OTHERS)  # when they were handled
        self._pinged = False  # whether a PONG for a ping of `_wait` is outstanding
        self._sock = sock
        self._inbox = inbox
        self._requests = 0
        self._buffer = ReceiveBuffer()
        self._heard = time.monotonic()

    def close(self) -> None:
        """Close the socket; does nothing if it is closed already."""
        self._sock.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def give_up(self) -> None:
        """Close after a timeout, and record it: for a while other servers are tried first."""
        silence.note(self.server.address)
        self.abort()

    def abort(self) -> None:
        """Close at once, and discard sent data that has not left this machine yet."""
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:  # closed already
            pass
        self._sock.close()

    @property
    def closed(self) -> bool:
        return self._sock.fileno() < 0

    @property
    def certificate(self) -> bytes | None:
        """The server's certificate in DER, None without TLS."""
        return self._sock.getpeercert(True) if isinstance(self._sock, ssl.SSLSocket) else None

    @property
    def buffer_size(self) -> int:
        """Size of the receive buffer in bytes."""
        return self._buffer.size

    @property
    def inbox(self) -> str:
        """The prefix of reply subjects; this connection receives everything below it."""
        return self._inbox

    @property
    def sid(self) -> str:
        """The subscription id of every reply."""
        return SID

    def reserve(self, count: int) -> int:
        """Reserve ``count`` inboxes ``<inbox>.<n>``; return the first number ``n``."""
        first = self._requests + 1
        self._requests += count
        return first

    def send(self, data: bytes | memoryview, timeout: float = _SEND_SECONDS) -> None:
        """Send encoded operations within ``timeout`` seconds.

        Raises ``ConnectError`` if not everything was sent by then; the rest is not sent later.
        """
        self._send(data, timeout)

    def send_request(
        self,
        subject: str,
        payload: bytes,
        header: bytes | None = None,
        timeout: float = _SEND_SECONDS,
    ) -> str:
        """Send a request within ``timeout`` seconds and return the inbox of its reply.

        Each request has its own inbox, so that the rest of an abandoned reply is never mistaken for
        part of a later one.

        Args:
            header: a whole header block, for a request that has headers.
        """
        inbox = f"{self._inbox}.{self.reserve(1)}"
        if header is None:
            self._send(pub(subject, inbox, payload), timeout)
        else:
            self._send(hpub(subject, inbox, header, payload), timeout)
        return inbox

    def request(
        self,
        subject: str,
        payload: bytes,
        timeout: float,
        header: bytes | None = None,
        send_timeout: float = _SEND_SECONDS,
    ) -> Msg:
        """Send a request and return its reply, which may be a status without payload, such as 503.

        Args:
            header: a whole header block, for a request that has headers.
            send_timeout: seconds to send it.

        Raises:
            TimeoutExpiredError: no reply within ``timeout`` seconds.
            ConnectError: the connection was lost.
        """
        inbox = self.send_request(subject, payload, header, send_timeout).encode()
        deadline = time.monotonic() + timeout
        while True:
            events, consumed = parse(self.arrived(deadline, subject))
            self.consume(consumed)
            reply = None
            for event in events:
                if isinstance(event, Msg):
                    reply = event if event.subject == inbox else reply
                else:
                    self.handle(event)
            if reply is not None:
                return reply

    def block(self, deadline: float, what: str = "a reply") -> bytes:
        """Wait for bytes; return all that are not consumed, starting at the start of an operation.

        Fills about a megabyte, but returns less when a reply seems to end or no more bytes arrive
        for a moment. Never returns the same bytes twice without new bytes after them.

        Args:
            deadline: of `time.monotonic`; by then at least one byte must have arrived.

        Raises:
            TimeoutExpiredError: nothing arrived in time, or a call with the same deadline has
                returned after it already.
            ConnectError: the server closed the connection.
            ProtocolError: a message is larger than servers send.
        """
        self._wait(deadline, what)
        while not self._buffer.full and not self._buffer.ends_with_status:
            try:
                if not self._receive(_LULL):
                    break
            except ConnectError:  # the bytes before may contain the server's -ERR with the reason
                break
        return self._buffer.content()

    def arrived(self, deadline: float | None, what: str = "a reply") -> bytes:
        """Return bytes as `block` does, but without waiting for more than the first.

        Args:
            deadline: of `time.monotonic`; with ``None`` it returns at once, even without new bytes.

        Raises as `block`.
        """
        if deadline is None:
            self._make_room()
            self._receive(0.0)
        else:
            self._wait(deadline, what)
        return self._buffer.content()

    def _wait(self, deadline: float, what: str) -> None:
        """Receive bytes; if a message has started to arrive, receive all of it.

        If nothing arrives for a while, the server is sent a ping, which it must answer.
        """
        pinged = False
        begun = time.monotonic()
        timeout = deadline - begun
        if timeout <= 0 and deadline == self._waited_until:
            # Something else than the reply has arrived since, and may do so forever.
            raise TimeoutExpiredError(f"no reply from the server in time for {what}")
        self._waited_until = deadline
        while True:
            self._make_room()
            quiet_until = min(deadline, time.monotonic() + (PONG_WITHIN if pinged else QUIET))
            if self._receive(max(quiet_until - time.monotonic(), 0.0)):
                pinged = False
                if self._pinged and self._buffer.remove_pong():
                    self._pinged = False
                elif self._buffer.complete:
                    return
                else:  # decoding it again after each piece would take quadratic time
                    slowest = begun + timeout + self._buffer.needed / _SLOWEST
                    deadline = min(time.monotonic() + timeout, slowest)
                    if time.monotonic() >= slowest:
                        raise TimeoutExpiredError(f"no whole reply in time for {what}")
            elif time.monotonic() >= deadline:
                raise TimeoutExpiredError(f"no reply from the server in time for {what}")
            elif pinged:
                silence.note(self.server.address, silence.Degree.HANGS)
                self.close()
                raise TimeoutExpiredError(
                    f"{self.server.url} does not answer a ping: it hangs, or the network is broken"
                )
            elif self.established:
                # A full send buffer must not delay the caller far beyond its deadline.
                rest = max(deadline - time.monotonic(), QUIET)
                self._send(PING, min(rest, _SEND_SECONDS))
                pinged = self._pinged = True

    def consume(self, count: int) -> None:
        """Drop the first ``count`` bytes of the last `block`, because they are decoded."""
        self._buffer.consume(count)
        if self._buffer.needed > self._largest:
            self.close()
            raise ProtocolError(
                f"the server announces a message of {self._buffer.needed} bytes, but its "
                f"max_payload is {self.info.max_payload}"
            )

    @property
    def _largest(self) -> int:
        return _EXPANSION * max(_LARGEST, self.info.max_payload)

    def _make_room(self) -> None:
        if self._buffer.full and self._buffer.size > self._largest:
            self.close()
            raise ProtocolError(f"the server sent a message of more than {self._largest} bytes")
        self._buffer.make_room()

    def handle(self, event: Event) -> None:
        """Handle an operation that is not part of a reply.

        Raises ``ConnectError`` for ``-ERR``, which the server sends before it disconnects, and
        ``ProtocolError`` if the server sends nothing but such operations. Even if the user has
        expired, it is no ``AuthError``: the next connection may have new credentials.
        """
        if not isinstance(event, Msg):
            now = time.monotonic()
            full = len(self._others) == _MAX_OTHERS
            if full and now - self._others[0] < _OTHERS_SECONDS:
                self.close()
                raise ProtocolError(
                    "the server floods the connection with operations, such as PING"
                )
            self._others.append(now)
        if event is PING_SIGNAL:
            self._send(PONG)
        elif isinstance(event, Info):
            self.info = ServerInfo.from_fields(event.fields)
        elif isinstance(event, Err) and not event.text.lower().startswith("permissions violation"):
            self.close()
            error = server_error(event.text)
            raise ConnectError(str(error)) if isinstance(error, AuthError) else error
        elif isinstance(event, Err):
            raise MissingPermissionError(
                f"the server reports: {event.text}; grant the user this permission"
            )

    def shrink(self) -> None:
        """Reduce a buffer that grew for a large message to its normal size, unless it is in use."""
        self._buffer.shrink()

    def usable(self) -> bool:
        """Return whether an idle connection can be reused; handle what the server sent meanwhile.

        It cannot if its server did not respond on another connection since this one last received.
        """
        if self.busy or self._pinged or self.closed:
            return False
        if silence.noted_since(self.server.address, self._heard):
            return False
        try:
            for _ in range(_MAX_OTHERS):
                if not self._receive(0.0):
                    return True
                events, consumed = parse(self._buffer.content())
                self.consume(consumed)
                for event in events:
                    self.handle(event)
        except NatsSparkError:
            pass
        self.close()
        return False

    def _send(self, data: bytes | memoryview, timeout: float = _SEND_SECONDS) -> None:
        try:
            self._sock.settimeout(timeout)
            self._sock.sendall(data)
        except OSError as error:
            if isinstance(error, TimeoutError):
                silence.note(self.server.address, silence.Degree.HANGS)
            self.abort()
            raise ConnectError(f"connection to the NATS server lost: {error}") from error

    def _receive(self, wait: float) -> int:
        """Receive once into the buffer; return 0 if nothing arrived within ``wait`` seconds."""
        try:
            self._sock.settimeout(max(wait, 1e-6))
            count = self._sock.recv_into(self._buffer.free())
        except (TimeoutError, ssl.SSLWantReadError, BlockingIOError):
            return 0
        except OSError as error:
            self.close()
            raise ConnectError(f"connection to the NATS server lost: {error}") from error
        if not count:
            self.close()
            raise ConnectError("the NATS server closed the connection")
        self._buffer.filled += count
        self._heard = time.monotonic()
        return count


def server_error(text: str, url: str = "the server") -> ConnectError:
    """Return the exception for the text of a server's ``-ERR``."""
    said = text.strip().strip("'").lower()
    if said in _REJECTED:
        return AuthError(
            f"{url} rejects the credentials: {text}; check nats.user and nats.password, "
            "nats.token, nats.nkey.seed.* or nats.credential.file"
        )
    if said in _FULL:
        return ConnectError(
            f"{url} reports: {text}; {_FULL[said]}, or use fewer tasks (nats.partitions)"
        )
    return ConnectError(f"{url} reports: {text}")
