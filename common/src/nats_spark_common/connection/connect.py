"""Creates connections of the data plane: addresses, TLS, and every kind of authentication.

Source: NATS docs, "Client Protocol".
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import ssl
import time
from importlib.metadata import PackageNotFoundError, version

from ..errors import AuthError, ConnectError, NatsSparkError, ProtocolError, TimeoutExpiredError
from ..options.settings import NatsSettings
from ..protocol.operations import MAX_CONTROL_LINE, PING, PONG_SIGNAL, Err, Info, parse
from . import servers, silence
from .auth import connect_fields, ssl_context, wants_tls
from .connection import SID, Connection, ServerInfo, server_error
from .servers import MisconfiguredError, Server
from .tls_errors import tls_error

try:
    _VERSION = version("nats-spark-common")
except PackageNotFoundError:  # run from a source tree
    _VERSION = "0"


#: Timeout in seconds of the first attempt. The other servers are tried next, or the only address is
#: tried once more: a load balancer may then choose another server behind it.
_FIRST_TIMEOUT = 1.25


class _SilentError(ConnectError):
    """The server did not accept the connection or complete the handshake within the timeout."""


def connect(settings: NatsSettings, *, others: bool = True) -> Connection:
    """Connect to the first server that responds, in random order.

    Args:
        settings: servers, TLS and credentials.
        others: whether to try the other servers of the cluster too, as far as they are known here.

    Raises:
        AuthError: a server was reached, but rejected the credentials.
        MisconfiguredError: each server fails in a way that another attempt cannot change.
        ConnectError: no server could be reached; the message gives the reason for each.
    """
    found, failures = servers.find(settings, others=others)
    by_address = {each.address: each for each in found}
    for timeout in _timeouts(settings):
        for address in silence.by_silence(by_address):
            if not isinstance(failures.get(address, _SilentError()), _SilentError):
                continue
            try:
                connection = _connect_one(settings, by_address[address], timeout)
            except ConnectError as error:
                if isinstance(error, _SilentError):
                    silence.note(address, silence.Degree.HANGS)
                failures[address] = error
            else:
                servers.report(settings, connection.info.connect_urls)
                return connection
    raise _combined(list(failures.values()))


def _combined(reasons: list[ConnectError]) -> ConnectError:
    """Return one error for the reasons why each server failed."""
    refused = [error for error in reasons if isinstance(error, AuthError)]
    final = all(isinstance(error, MisconfiguredError) for error in reasons)
    kind = AuthError if refused else MisconfiguredError if final else ConnectError
    # The addresses of one host mostly fail for the same reason.
    combined = kind("; ".join(dict.fromkeys(str(error) for error in refused or reasons)))
    combined.__cause__ = reasons[0]
    return combined


def _timeouts(settings: NatsSettings) -> list[float]:
    """Return the timeout per server in seconds, for each round of attempts."""
    longest = settings.connect_timeout
    return [longest] if longest <= _FIRST_TIMEOUT else [_FIRST_TIMEOUT, longest]


def _connect_one(settings: NatsSettings, server: Server, timeout: float) -> Connection:
    url = server.url
    try:
        sock = socket.create_connection(server.endpoint, timeout=timeout)
    except OSError as error:
        raise _kind(error)(
            f"cannot connect to {url}: {error.strerror or error}; "
            "check nats.url (or nats.host and nats.port) and that the server is running"
        ) from error
    try:
        return _handshake(sock, settings, server, timeout)
    except ProtocolError as error:
        sock.close()
        raise ConnectError(f"cannot connect to {url}: {error}") from error
    except NatsSparkError:
        sock.close()
        raise
    except OSError as error:
        sock.close()
        raise (
            tls_error(url, error, settings) or _kind(error)(f"cannot connect to {url}: {error}")
        ) from error


def _kind(error: OSError) -> type[ConnectError]:
    return _SilentError if isinstance(error, TimeoutError) else ConnectError


def _handshake(
    sock: socket.socket, settings: NatsSettings, server: Server, timeout: float
) -> Connection:
    url, host = server.url, server.name
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    deadline = time.monotonic() + timeout
    secure = False
    if settings.tls_first:
        sock, secure = _upgrade(sock, settings, host), True
    fields, rest = _read_info(sock, server, deadline)
    if rest.startswith(b"-ERR "):
        raise server_error(rest[5:].strip().strip(b"'").decode("utf-8", "replace"), url)
    if rest:
        raise ProtocolError(f"{url} sent data before the handshake: {rest[:80]!r}")
    if not secure and (fields.get("tls_required") or wants_tls(settings)):
        if not (fields.get("tls_required") or fields.get("tls_available")):
            raise MisconfiguredError(
                f"{url} does not offer TLS, but the options require it: "
                "remove nats.tls.* and tls://, or enable TLS on the server"
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
        **connect_fields(settings, fields),
    }
    connection = Connection(sock, server, ServerInfo.from_fields(fields), inbox)
    _greet(
        sock,
        b"CONNECT "
        + json.dumps(greeting).encode()
        + b"\r\nSUB "
        + f"{inbox}.> {SID}\r\n".encode()
        + PING,
        deadline,
    )
    _await_pong(connection, settings, deadline)
    connection.established = True
    return connection


def _greet(sock: socket.socket, data: bytes, deadline: float) -> None:
    """Send the first operations. If the server has closed the connection, reading tells why."""
    sock.settimeout(max(deadline - time.monotonic(), 1e-3))
    try:
        sock.sendall(data)
    except TimeoutError:
        raise
    except OSError:
        pass


def _await_pong(connection: Connection, settings: NatsSettings, deadline: float) -> None:
    url = connection.server.url
    while True:
        try:
            events, consumed = parse(connection.block(deadline, "the handshake"))
        except TimeoutExpiredError as error:
            raise _SilentError(f"{url} did not complete the handshake in time") from error
        except ConnectError as error:  # the server's -ERR may be lost with the connection
            raise (
                tls_error(url, error.__cause__, settings)
                or ConnectError(
                    f"{url} closed the connection before the handshake was complete ({error}): it "
                    "is shutting down, or has reached max_connections"
                )
            ) from error
        connection.consume(consumed)
        for event in events:
            if event is PONG_SIGNAL:
                return
            if isinstance(event, Err):
                raise server_error(event.text, url)
            connection.handle(event)


def _upgrade(sock: socket.socket, settings: NatsSettings, host: str) -> ssl.SSLSocket:
    name = settings.tls_hostname or host
    return ssl_context(settings).wrap_socket(sock, server_hostname=name)


def _read_info(
    sock: socket.socket, server: Server, deadline: float
) -> tuple[dict[str, object], bytes]:
    """Read the server's INFO line, and return its fields and the bytes received after it."""
    received = b""
    kind: type[ConnectError] = ConnectError
    while b"\r\n" not in received[-(1 << 16) - 1 :]:
        wait = deadline - time.monotonic()
        try:
            sock.settimeout(max(wait, 1e-3))
            chunk = sock.recv(1 << 16) if wait > 0 else b""
        except TimeoutError:
            kind, chunk = _SilentError, b""
        received += chunk
        if len(received) > MAX_CONTROL_LINE:
            raise ProtocolError(f"{server.url} sent an INFO that does not end: {received[:40]!r}")
        foreign = not b"INFO {".startswith(received[:6])
        if not chunk or foreign:
            raise (MisconfiguredError if foreign else kind)(
                f"{server.url} does not respond like a NATS server (received "
                f"{received[:40]!r}): check the port; a server that starts with TLS needs "
                "nats.tls.first=true"
            )
    events, consumed = parse(received)
    first = events[0]
    if not isinstance(first, Info):
        raise ConnectError(f"{server.url} is not a NATS server: it sent {received[:40]!r}")
    return first.fields, received[consumed:]
