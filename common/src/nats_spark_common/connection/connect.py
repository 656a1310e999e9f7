"""Makes connections of the data plane: addresses, TLS, and every kind of authentication.

Source: NATS docs, "Client Protocol".
"""

from __future__ import annotations

import ipaddress
import json
import os
import random
import secrets
import socket
import ssl
import time
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

from ..errors import AuthError, ConnectError, NatsSparkError, ProtocolError, TimeoutExpiredError
from ..options.settings import NatsSettings
from ..protocol.operations import PING, PONG_SIGNAL, Err, Info, parse
from . import silence
from .auth import connect_fields, ssl_context, wants_tls
from .connection import SID, Connection, Server, ServerInfo, server_error

try:
    _VERSION = version("nats-spark-common")
except PackageNotFoundError:  # run from a source tree
    _VERSION = "0"


#: Seconds in which one of several servers completes a handshake, or the others are tried before it.
_SOON = 1.25


class _SilentError(ConnectError):
    """The server takes connections, or does not even that, and says nothing."""


def connect(settings: NatsSettings, also: tuple[str, ...] = ()) -> Connection:
    """Connect to the first server that answers, in random order.

    Args:
        settings: servers, TLS and credentials.
        also: more ``host:port`` addresses, as `ServerInfo.connect_urls` names them.

    Raises:
        AuthError: a server was reached, but refused the credentials.
        ConnectError: no server could be reached; the message names each with its reason.
    """
    servers = _servers(settings, also)
    failures: dict[str, ConnectError] = {}
    for patience in _patiences(settings, len(servers)):
        for address in silence.by_silence(servers):
            if not isinstance(failures.get(address, _SilentError()), _SilentError):
                continue
            try:
                return _connect_one(settings, servers[address], patience)
            except ConnectError as error:
                if isinstance(error, _SilentError):
                    silence.note(address, silence.Degree.HANGS)
                failures[address] = error
    reasons = list(failures.values())
    refused = [error for error in reasons if isinstance(error, AuthError)]
    kind = AuthError if refused else ConnectError
    raise kind("; ".join(str(error) for error in refused or reasons)) from reasons[0]


def _patiences(settings: NatsSettings, servers: int) -> list[float]:
    """Seconds that each of the servers is given, in the first round and in the second."""
    longest = settings.connect_timeout
    return [longest] if servers == 1 or longest <= _SOON else [_SOON, longest]


def _servers(settings: NatsSettings, also: tuple[str, ...]) -> dict[str, Server]:
    """The servers by their addresses, those that are configured first.

    Servers of a cluster name each other by addresses, which their certificates need not hold: the
    name that one was found by is theirs as well.
    """
    servers: dict[str, Server] = {}
    for url in random.sample(settings.url, len(settings.url)):
        parts = urlsplit(url)
        servers[parts.netloc] = Server(url, parts.netloc, parts.hostname or "localhost")
    named = next((each.name for each in servers.values() if not _is_ip(each.name)), None)
    for address in random.sample(also, len(also)):
        if address not in servers:
            own = urlsplit(f"nats://{address}").hostname or "localhost"
            name = named if named and _is_ip(own) else own
            servers[address] = Server(f"nats://{address}", address, name)
    return servers


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _connect_one(settings: NatsSettings, server: Server, patience: float) -> Connection:
    url = server.url
    parts = urlsplit(url)
    where = parts.hostname or "localhost", parts.port or 4222
    try:
        sock = socket.create_connection(where, timeout=patience)
    except UnicodeError as error:
        raise ConnectError(
            f"cannot connect to {url}: its host name is none ({error}): check nats.url"
        ) from error
    except OSError as error:
        raise _kind(error)(
            f"cannot connect to {url}: {error.strerror or error}; "
            "check nats.url (or nats.host and nats.port) and that the server runs"
        ) from error
    try:
        return _handshake(sock, settings, server, patience)
    except NatsSparkError:
        sock.close()
        raise
    except OSError as error:
        sock.close()
        raise _kind(error)(f"cannot connect to {url}: {_tls_words(error)}") from error


def _kind(error: OSError) -> type[ConnectError]:
    return _SilentError if isinstance(error, TimeoutError) else ConnectError


def _handshake(
    sock: socket.socket, settings: NatsSettings, server: Server, patience: float
) -> Connection:
    url, _, host = server
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    deadline = time.monotonic() + patience
    secure = False
    if settings.tls_first:
        sock, secure = _upgrade(sock, settings, host), True
    fields, rest = _read_info(sock, server, deadline)
    if rest.startswith(b"-ERR "):
        raise server_error(rest[5:].strip().strip(b"'").decode("utf-8", "replace"), url)
    if rest:
        raise ProtocolError(f"{url} spoke before it was spoken to: {rest[:80]!r}")
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
    connection = Connection(sock, server, ServerInfo.from_fields(fields), inbox)
    connection.send(
        b"CONNECT "
        + json.dumps(greeting).encode()
        + b"\r\nSUB "
        + f"{inbox}.> {SID}\r\n".encode()
        + PING
    )
    _await_pong(connection, server, deadline)
    connection.established = True
    return connection


def _await_pong(connection: Connection, server: Server, deadline: float) -> None:
    url = server.url
    while True:
        try:
            events, consumed = parse(connection.block(deadline, "the handshake"))
        except TimeoutExpiredError as error:
            raise _SilentError(f"{url} did not complete the handshake in time") from error
        except ConnectError as error:  # its last words may be lost with the connection
            raise ConnectError(
                f"{url} closed the connection before the handshake was done ({error}): it is "
                "shutting down, or has as many connections as it takes (max_connections)"
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
    """The server's first line, read without taking what a TLS handshake needs behind it."""
    received = b""
    kind = ConnectError
    while b"\r\n" not in received:
        sock.settimeout(max(deadline - time.monotonic(), 1e-3))
        try:
            chunk = sock.recv(1 << 16)
        except TimeoutError:
            kind, chunk = _SilentError, b""
        received += chunk
        if not chunk or not b"INFO {".startswith(received[:6]):
            raise kind(
                f"{server.url} does not answer as a NATS server does (got "
                f"{received[:40]!r}): check the port; a server that starts with TLS needs "
                "nats.tls.first=true"
            )
    events, consumed = parse(received)
    first = events[0]
    if not isinstance(first, Info):
        raise ConnectError(f"{server.url} is not a NATS server: it sent {received[:40]!r}")
    return first.fields, received[consumed:]


def _tls_words(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its TLS certificate is not trusted: {error.verify_message}; "
            "name the CA with nats.tls.ca, or the certificate's host with nats.tls.hostname"
        )
    return str(error)
