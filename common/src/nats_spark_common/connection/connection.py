"""The data plane: one blocking connection for bulk traffic with a NATS server.

Not a general client: no subscriptions, no callbacks. `connecting` makes it; it asks, sends what is
encoded already, and hands out received bytes in blocks of about a megabyte, which the decoders turn
into columns. nats-py delivers each message through an event loop, which costs more than fifty times
what reading the bytes costs; everything that is a few calls a batch goes through nats-py all the
same (`control`).

Source: NATS docs, "Client Protocol".
"""

from __future__ import annotations

import re
import socket
import ssl
import struct
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import AuthError, ConnectError, NatsSparkError, TimeoutExpiredError
from ..protocol.operations import (
    PING,
    PING_SIGNAL,
    PONG,
    Err,
    Event,
    Info,
    Msg,
    frame_length,
    hpub,
    parse,
    pub,
)
from . import silence

#: Decoding is fastest where a block fits the cache; below a megabyte, fixed costs begin to show.
BLOCK_BYTES = 1 << 21

#: Bytes within which the first line of a message ends (``max_control_line``, 4,096 by default).
_LONGEST_LINE = 1 << 13

#: How long a half-filled block waits for more bytes before it is handed out.
_LULL = 0.005

#: A server that says nothing for so long, though it was asked something, is sent a ping ...
QUIET = 1.0
#: ... and hangs if it says nothing for so long after it.
PONG_WITHIN = 2.0

#: A server that takes nothing for so long is as good as gone.
_SEND_SECONDS = 10.0

#: The id of the one subscription, which takes everything below the inbox.
SID = "1"

#: Every status frame ends so: the headers' blank line, then an empty payload's line end.
_STATUS_END = b"\r\n\r\n\r\n"

#: What a server says in ``-ERR`` to one whom it does not know, or not any more.
_REFUSED = (
    "authorization violation",
    "user authentication expired",
    "user authentication revoked",
    "account authentication expired",
)
#: ... and what to do where it has no room.
_FULL = {
    "maximum connections exceeded": "raise max_connections at the server",
    "maximum account active connections exceeded": "raise the account's limit of connections",
}


class Server(NamedTuple):
    """A server as it is reached.

    Attributes:
        address: ``host:port``.
        name: the host name that its certificate must have, unless ``nats.tls.hostname`` is set.
    """

    url: str
    address: str
    name: str


@dataclass(frozen=True)
class ServerInfo:
    """What the server says of itself.

    Attributes:
        version: as numbers, ``(2, 11, 3)``; suffixes such as ``-RC.1`` are left out.
        max_payload: the largest message in bytes, headers included.
        connect_urls: ``host:port`` of the other servers of its cluster.
    """

    version: tuple[int, ...]
    max_payload: int
    jetstream: bool
    headers: bool
    connect_urls: tuple[str, ...]

    @staticmethod
    def from_fields(fields: dict[str, object]) -> ServerInfo:
        numbers = re.match(r"\d+(\.\d+)*", str(fields.get("version", "0")))
        urls = fields.get("connect_urls") or []
        return ServerInfo(
            version=tuple(map(int, numbers.group().split("."))) if numbers else (0,),
            max_payload=int(str(fields.get("max_payload", 1 << 20))),
            jetstream=bool(fields.get("jetstream")),
            headers=bool(fields.get("headers")),
            connect_urls=tuple(map(str, urls)) if isinstance(urls, list) else (),
        )


class Connection(AbstractContextManager["Connection"]):
    """A connection to one server; made by `connecting.connect`, closed by `close` or in ``with``.

    Not thread-safe, never pickled. After any error but ``TimeoutExpiredError`` it is closed.

    Attributes:
        server: the server at the other end, as it was reached.
        info: ... and what it says of itself.
        established: the handshake is done.
        busy: an answer was begun and not read to its end: the connection cannot be used again.
    """

    def __init__(self, sock: socket.socket, server: Server, info: ServerInfo, inbox: str) -> None:
        self.server = server
        self.info = info
        self.established = False
        self.busy = False
        self._pinged = False  # a ping of `_wait` may not be answered yet
        self._sock = sock
        self._inbox = inbox
        self._requests = 0
        self._buffer = bytearray(BLOCK_BYTES)
        self._filled = 0
        self._needed = 0  # bytes of the message whose beginning is in the buffer
        self._heard = time.monotonic()

    def close(self) -> None:
        """Close the socket; harmless when closed already."""
        self._sock.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def give_up(self) -> None:
        """Close, because the server did not answer in time; others are tried before it now."""
        silence.note(self.server.address)
        self.abort()

    def abort(self) -> None:
        """Close at once: what was sent and has not left this machine yet is dropped."""
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:  # closed already
            pass
        self._sock.close()

    @property
    def closed(self) -> bool:
        return self._sock.fileno() < 0

    @property
    def inbox(self) -> str:
        """What reply subjects begin with; everything below it arrives here."""
        return self._inbox

    @property
    def sid(self) -> str:
        """The subscription id under which every answer arrives."""
        return SID

    def reserve(self, count: int) -> int:
        """Reserve ``count`` inboxes: ``<inbox>.<n>`` from the number that is returned on."""
        first = self._requests + 1
        self._requests += count
        return first

    def send(self, data: bytes | memoryview, timeout: float = _SEND_SECONDS) -> None:
        """Send encoded operations, all of them within ``timeout`` seconds.

        Raises ``ConnectError``; what was not sent by then is not sent later.
        """
        self._send(data, timeout)

    def ask(self, subject: str, payload: bytes, header: bytes | None = None) -> str:
        """Send a request and return the inbox at which its answer will arrive.

        Each request has an inbox of its own, so what is left of an abandoned answer is never
        taken for a later one.

        Args:
            header: a whole header block, for a request that has headers.
        """
        inbox = f"{self._inbox}.{self.reserve(1)}"
        if header is None:
            self._send(pub(subject, inbox, payload))
        else:
            self._send(hpub(subject, inbox, header, payload))
        return inbox

    def request(
        self, subject: str, payload: bytes, timeout: float, header: bytes | None = None
    ) -> Msg:
        """One request, one reply. The reply may be a status without payload, such as 503.

        Args:
            header: a whole header block, for a request that has headers.

        Raises:
            TimeoutExpiredError: no reply within ``timeout`` seconds.
            ConnectError: the connection was lost.
        """
        inbox = self.ask(subject, payload, header).encode()
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

    def block(self, deadline: float, what: str = "an answer") -> bytes:
        """Wait for bytes; return all that are not consumed, beginning where an operation begins.

        Fills about a megabyte, but hands out less as soon as an answer seems to end or no more
        bytes come for a moment. Never returns the same bytes twice without new ones behind them.

        Args:
            deadline: of `time.monotonic`; by then at least one byte must have come.

        Raises:
            TimeoutExpiredError: nothing came in time.
            ConnectError: the server closed the connection.
        """
        self._wait(deadline, what)
        while self._filled < len(self._buffer) and not self._ends_with_status():
            try:
                if not self._receive(_LULL):
                    break
            except ConnectError:  # the server's last words may say why it hung up
                break
        return bytes(memoryview(self._buffer)[: self._filled])

    def arrived(self, deadline: float | None, what: str = "an answer") -> bytes:
        """As `block`, but returns what is there as soon as anything is.

        Args:
            deadline: of `time.monotonic`; ``None`` returns at once, with nothing new perhaps.

        Raises as `block`.
        """
        if deadline is None:
            self._make_room()
            self._receive(0.0)
        else:
            self._wait(deadline, what)
        return bytes(memoryview(self._buffer)[: self._filled])

    def _wait(self, deadline: float, what: str) -> None:
        """Receive something, or all of a message that has begun to arrive.

        A server that says nothing for a while must answer a ping.
        """
        asked = False
        patience = deadline - time.monotonic()
        while True:
            self._make_room()
            quiet_until = min(deadline, time.monotonic() + (PONG_WITHIN if asked else QUIET))
            if self._receive(max(quiet_until - time.monotonic(), 0.0)):
                asked = False
                if self._pinged and self._buffer[: self._filled] == PONG:
                    self._pinged, self._filled = False, 0
                elif self._filled >= self._needed:
                    return
                else:  # to decode it again with each piece would take quadratic time
                    deadline = time.monotonic() + patience
            elif time.monotonic() >= deadline:
                raise TimeoutExpiredError(f"no reply from the server in time for {what}")
            elif asked:
                silence.note(self.server.address, silence.Degree.HANGS)
                self.close()
                raise TimeoutExpiredError(
                    f"{self.server.url} does not even answer a ping: it hangs, or the connection "
                    "carries nothing any more"
                )
            elif self.established:
                self._send(PING)
                asked = self._pinged = True

    def _make_room(self) -> None:
        if self._filled == len(self._buffer):
            self._buffer.extend(bytes(len(self._buffer)))  # one message fills it all

    def consume(self, count: int) -> None:
        """Drop the first ``count`` bytes of the last `block`: they are dealt with."""
        rest = self._filled - count
        if count and rest:
            self._buffer[:rest] = self._buffer[count : self._filled]
        self._filled = rest
        self._needed = frame_length(bytes(self._buffer[: min(rest, _LONGEST_LINE)]))

    def handle(self, event: Event) -> None:
        """Deal with an operation that is not part of an answer.

        Raises ``ConnectError`` for the server's ``-ERR``, which it sends before it disconnects.
        """
        if event is PING_SIGNAL:
            self._send(PONG)
        elif isinstance(event, Info):
            self.info = ServerInfo.from_fields(event.fields)
        elif isinstance(event, Err) and not event.text.lower().startswith("permissions violation"):
            self.close()
            raise server_error(event.text)
        elif isinstance(event, Err):
            raise AuthError(f"the server refuses: {event.text}; grant the user this subject")

    def rest(self) -> None:
        """Nobody uses the connection for a while: let go of what a large message needed."""
        if not self._filled and len(self._buffer) > BLOCK_BYTES:
            self._buffer = bytearray(BLOCK_BYTES)

    def usable(self) -> bool:
        """Whether an idle connection still stands; answers what the server sent meanwhile.

        One whose server was silent to others since it was last heard is not worth a timeout.
        """
        if self.busy or self._pinged or self.closed:
            return False
        if silence.noted_since(self.server.address, self._heard):
            return False
        try:
            while self._receive(0.0):
                events, consumed = parse(bytes(memoryview(self._buffer)[: self._filled]))
                self.consume(consumed)
                for event in events:
                    self.handle(event)
        except NatsSparkError:
            self.close()
        return not self.closed

    def _ends_with_status(self) -> bool:
        return self._buffer.endswith(_STATUS_END, 0, self._filled)

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
        """Receive once into the buffer; 0 where nothing came within ``wait`` seconds."""
        try:
            self._sock.settimeout(max(wait, 1e-6))
            count = self._sock.recv_into(memoryview(self._buffer)[self._filled :])
        except (TimeoutError, ssl.SSLWantReadError, BlockingIOError):
            return 0
        except OSError as error:
            self.close()
            raise ConnectError(f"connection to the NATS server lost: {error}") from error
        if not count:
            self.close()
            raise ConnectError("the NATS server closed the connection")
        self._filled += count
        self._heard = time.monotonic()
        return count


def server_error(words: str, url: str = "the server") -> ConnectError:
    """The error for what a server says in ``-ERR``."""
    said = words.strip().strip("'").lower()
    if said in _REFUSED:
        return AuthError(
            f"{url} refuses the credentials: {words}; check nats.user and nats.password, "
            "nats.token, nats.nkey.seed.* or nats.credential.file"
        )
    if said in _FULL:
        return ConnectError(
            f"{url} reports: {words}; {_FULL[said]}, or use fewer tasks (nats.partitions)"
        )
    return ConnectError(f"{url} reports: {words}")
