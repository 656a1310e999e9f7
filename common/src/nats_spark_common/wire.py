"""The data plane: one blocking connection for bulk traffic with a NATS server.

Not a general client: no subscriptions, no callbacks. It connects (TLS, every kind of
authentication), asks, sends what is encoded already, and hands out received bytes in blocks of
about a megabyte, which the decoders turn into columns. nats-py delivers each message through an
event loop, which costs more than fifty times what reading the bytes costs; everything that is a few
calls a batch goes through nats-py all the same (`control`).

Source: NATS docs, "Client Protocol".
"""

from __future__ import annotations

import json
import os
import random
import re
import secrets
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from urllib.parse import urlsplit

from .auth import connect_fields, ssl_context, wants_tls
from .errors import AuthError, ConnectError, NatsSparkError, ProtocolError, TimeoutExpiredError
from .protocol import (
    PING,
    PING_SIGNAL,
    PONG,
    PONG_SIGNAL,
    Err,
    Event,
    Info,
    Msg,
    hpub,
    parse,
    pub,
)
from .settings import NatsSettings

#: Decoding is fastest where a block fits the cache; below a megabyte, fixed costs begin to show.
BLOCK_BYTES = 1 << 21

#: How long a half-filled block waits for more bytes before it is handed out.
_LULL = 0.005

#: A server that takes nothing for so long is as good as gone.
_SEND_SECONDS = 30.0

_SID = "1"

#: Every status frame ends so: the headers' blank line, then an empty payload's line end.
_STATUS_END = b"\r\n\r\n\r\n"

_AUTH_WORDS = ("authorization", "authentication", "user authentication", "account")

try:
    _VERSION = version("nats-spark-common")
except PackageNotFoundError:  # run from a source tree
    _VERSION = "0"


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


class Connection:
    """A connection to one server; made by `connect`, closed by ``close`` or as a context manager.

    Not thread-safe, never pickled. After any error but ``TimeoutExpiredError`` it is closed.

    Attributes:
        info: the server at the other end.
        busy: an answer was begun and not read to its end: the connection cannot be used again.
    """

    def __init__(self, sock: socket.socket, info: ServerInfo, inbox: str) -> None:
        self.info = info
        self.busy = False
        self._sock = sock
        self._inbox = inbox
        self._requests = 0
        self._buffer = bytearray(BLOCK_BYTES)
        self._filled = 0

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; harmless when closed already."""
        self._sock.close()

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
        return _SID

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

    def ask(self, subject: str, payload: bytes) -> str:
        """Send a request and return the inbox at which its answer will arrive.

        Each request has an inbox of its own, so what is left of an abandoned answer is never
        taken for a later one.
        """
        inbox = f"{self._inbox}.{self.reserve(1)}"
        self._send(pub(subject, inbox, payload))
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
        if header is None:
            inbox = self.ask(subject, payload).encode()
        else:
            to = f"{self._inbox}.{self.reserve(1)}"
            inbox = to.encode()
            self._send(hpub(subject, to, header, payload))
        deadline = time.monotonic() + timeout
        while True:
            events, consumed = parse(self.block(deadline, subject))
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
        fresh = False
        while True:
            if self._filled == len(self._buffer):
                if fresh:
                    break
                self._buffer.extend(bytes(len(self._buffer)))  # one message fills it all
            wait = _LULL if fresh else max(deadline - time.monotonic(), 0.0)
            try:
                received = self._receive(wait)
            except ConnectError:
                if fresh:  # the server's last words may say why it hung up
                    break
                raise
            if not received:
                if fresh:
                    break
                raise TimeoutExpiredError(f"no reply from the server in time for {what}")
            fresh = True
            if self._ends_with_status():
                break
        return bytes(memoryview(self._buffer)[: self._filled])

    def arrived(self, deadline: float | None, what: str = "an answer") -> bytes:
        """As `block`, but returns what is there as soon as anything is.

        Args:
            deadline: of `time.monotonic`; ``None`` returns at once, with nothing new perhaps.

        Raises as `block`.
        """
        if self._filled == len(self._buffer):
            self._buffer.extend(bytes(len(self._buffer)))
        wait = 0.0 if deadline is None else max(deadline - time.monotonic(), 0.0)
        if not self._receive(wait) and deadline is not None:
            raise TimeoutExpiredError(f"no reply from the server in time for {what}")
        return bytes(memoryview(self._buffer)[: self._filled])

    def consume(self, count: int) -> None:
        """Drop the first ``count`` bytes of the last `block`: they are dealt with."""
        rest = self._filled - count
        if count and rest:
            self._buffer[:rest] = self._buffer[count : self._filled]
        self._filled = rest

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
            raise _server_error(event.text)
        elif isinstance(event, Err):
            raise AuthError(f"the server refuses: {event.text}; grant the user this subject")

    def usable(self) -> bool:
        """Whether an idle connection still stands; answers what the server sent meanwhile."""
        if self.busy or self.closed:
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
        return count


def connect(settings: NatsSettings, also: tuple[str, ...] = ()) -> Connection:
    """Connect to the first server that answers, in random order.

    Args:
        settings: servers, TLS and credentials.
        also: more ``host:port`` addresses, as `ServerInfo.connect_urls` names them.

    Raises:
        AuthError: a server was reached, but refused the credentials.
        ConnectError: no server could be reached; the message names each with its reason.
    """
    urls = list(settings.url)
    random.shuffle(urls)
    known = {urlsplit(url).netloc for url in urls}
    urls += [f"nats://{address}" for address in also if address not in known]
    failures: list[ConnectError] = []
    for url in urls:
        try:
            return _connect_one(settings, url)
        except ConnectError as error:
            failures.append(error)
    refused = [error for error in failures if isinstance(error, AuthError)]
    kind = AuthError if refused else ConnectError
    raise kind("; ".join(str(error) for error in refused or failures)) from failures[0]


def _connect_one(settings: NatsSettings, url: str) -> Connection:
    parts = urlsplit(url)
    host, port = parts.hostname or "localhost", parts.port or 4222
    try:
        sock = socket.create_connection((host, port), timeout=settings.connect_timeout)
    except OSError as error:
        raise ConnectError(
            f"cannot connect to {url}: {error.strerror or error}; "
            "check nats.url (or nats.host and nats.port) and that the server runs"
        ) from error
    try:
        return _handshake(sock, settings, url, host)
    except NatsSparkError:
        sock.close()
        raise
    except OSError as error:
        sock.close()
        raise ConnectError(f"cannot connect to {url}: {_tls_words(error)}") from error


def _handshake(sock: socket.socket, settings: NatsSettings, url: str, host: str) -> Connection:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    deadline = time.monotonic() + settings.connect_timeout
    secure = False
    if settings.tls_first:
        sock, secure = _upgrade(sock, settings, host), True
    fields, rest = _read_info(sock, url, deadline)
    if not secure and (fields.get("tls_required") or wants_tls(settings)):
        if not (fields.get("tls_required") or fields.get("tls_available")):
            raise ConnectError(
                f"{url} offers no TLS, but the settings ask for it: "
                "remove nats.tls.* and tls://, or turn TLS on at the server"
            )
        sock, secure = _upgrade(sock, settings, host), True
    inbox = f"{settings.inbox_prefix}.{secrets.token_hex(11)}"
    greeting = {
        "verbose": False,
        "pedantic": False,
        "headers": True,
        "no_responders": True,
        "protocol": 1,
        "lang": "python-nats-spark",
        "version": _VERSION,
        "name": f"{settings.connection_name} (pid {os.getpid()})",
        "tls_required": secure,
        **connect_fields(settings, str(fields.get("nonce") or "")),
    }
    sock.sendall(
        b"CONNECT "
        + json.dumps(greeting).encode()
        + b"\r\nSUB "
        + f"{inbox}.> {_SID}\r\n".encode()
        + PING
    )
    connection = Connection(sock, ServerInfo.from_fields(fields), inbox)
    if rest:
        raise ProtocolError(f"{url} spoke before it was spoken to: {rest[:80]!r}")
    _await_pong(connection, url, deadline)
    return connection


def _await_pong(connection: Connection, url: str, deadline: float) -> None:
    while True:
        try:
            events, consumed = parse(connection.block(deadline, "the handshake"))
        except TimeoutExpiredError as error:
            raise ConnectError(f"{url} did not complete the handshake in time") from error
        connection.consume(consumed)
        for event in events:
            if event is PONG_SIGNAL:
                return
            if isinstance(event, Err):
                raise _server_error(event.text, url)
            connection.handle(event)


def _upgrade(sock: socket.socket, settings: NatsSettings, host: str) -> ssl.SSLSocket:
    name = settings.tls_hostname or host
    return ssl_context(settings).wrap_socket(sock, server_hostname=name)


def _read_info(sock: socket.socket, url: str, deadline: float) -> tuple[dict[str, object], bytes]:
    """The server's first line, read without taking what a TLS handshake needs behind it."""
    received = b""
    while b"\r\n" not in received:
        sock.settimeout(max(deadline - time.monotonic(), 1e-3))
        try:
            chunk = sock.recv(1 << 16)
        except TimeoutError:
            chunk = b""
        received += chunk
        if not chunk or not b"INFO {".startswith(received[:6]):
            raise ConnectError(
                f"{url} does not answer as a NATS server does (got {received[:40]!r}): check the "
                "port; a server that starts with TLS needs nats.tls.first=true"
            )
    events, consumed = parse(received)
    first = events[0]
    if not isinstance(first, Info):
        raise ConnectError(f"{url} is not a NATS server: it sent {received[:40]!r}")
    return first.fields, received[consumed:]


def _server_error(words: str, url: str = "the server") -> ConnectError:
    if any(word in words.lower() for word in _AUTH_WORDS):
        return AuthError(
            f"{url} refuses the credentials: {words}; check nats.user and nats.password, "
            "nats.token, nats.nkey.seed.* or nats.credential.file"
        )
    return ConnectError(f"{url} reports: {words}")


def _tls_words(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its TLS certificate is not trusted: {error.verify_message}; "
            "name the CA with nats.tls.ca, or the certificate's host with nats.tls.hostname"
        )
    return str(error)
