"""The servers to connect to: those of ``nats.url``, and the others of their cluster.

Each process remembers the addresses that the servers report, so that a query that names one server
of a cluster continues if this server fails. The driver sends them to its tasks (`known`, `learn`).

Source: NATS docs, "Client Protocol" (``connect_urls`` of INFO).
"""

from __future__ import annotations

import ipaddress
import random
import socket
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from ..errors import ConnectError
from ..options.settings import NatsSettings

_DEFAULT_PORT = 4222

#: The reported ``host:port`` addresses, by `NatsSettings.connection_key`.
_reported: dict[str, tuple[str, ...]] = {}


class MisconfiguredError(ConnectError):
    """The options and the server do not match: another attempt fails as well."""


class Server(NamedTuple):
    """A server's URL and address.

    Attributes:
        address: ``host:port``; with the IP address if the URL's host has several.
        name: the host name that its certificate must have, unless ``nats.tls.hostname`` is set.
        endpoint: the host and port to connect to; the IP address if the URL's host has several.
    """

    url: str
    address: str
    name: str
    endpoint: tuple[str, int]

    @property
    def direct_url(self) -> str:
        """The URL of the endpoint."""
        host, port = self.endpoint
        return f"{urlsplit(self.url).scheme}://{_bracketed(host)}:{port}"


def report(settings: NatsSettings, addresses: Iterable[str]) -> None:
    """Remember the addresses in a server's INFO; they replace those of an earlier INFO."""
    found = tuple(addresses)
    if found:
        _reported[settings.connection_key()] = found


def learn(settings: NatsSettings, addresses: tuple[str, ...]) -> None:
    """Remember addresses that another process knows, unless a server has reported some here."""
    if addresses:
        _reported.setdefault(settings.connection_key(), addresses)


def known(settings: NatsSettings) -> tuple[str, ...]:
    """Return the ``host:port`` addresses that the servers of the settings have reported."""
    return _reported.get(settings.connection_key(), ())


def find(
    settings: NatsSettings, *, others: bool = True
) -> tuple[list[Server], dict[str, ConnectError]]:
    """Return the servers, the configured ones first; and the errors by address.

    Servers of a cluster report each other's IP addresses, which their certificates need not
    contain. The host name of a configured server is then used for them as well.

    Args:
        others: whether to include `known` servers that are not configured.
    """
    servers: dict[str, Server] = {}
    failures: dict[str, ConnectError] = {}
    configured = random.sample(settings.url, len(settings.url))
    reported = [f"nats://{each}" for each in (known(settings) if others else ())]
    for url in [*configured, *random.sample(reported, len(reported))]:
        try:
            for each in _of_url(url):
                servers.setdefault(each.address, each)
        except ConnectError as error:
            failures[urlsplit(url).netloc] = error
    names = (urlsplit(url).hostname or "localhost" for url in configured)
    named = next((each for each in names if not _is_ip(each)), None)
    if named is None:
        return list(servers.values()), failures
    unnamed = {url for url in reported if _is_ip(urlsplit(url).hostname or "")}
    return [
        each._replace(name=named) if each.url in unnamed else each for each in servers.values()
    ], failures


def _of_url(url: str) -> list[Server]:
    """Return a server for each IP address of the URL's host: each may be another machine.

    Raises ``ConnectError`` if the host has no address, with the type ``MisconfiguredError`` unless
    the cause may be temporary.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "localhost", parts.port or _DEFAULT_PORT
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise MisconfiguredError(
            f"cannot connect to {url}: invalid host name ({error}): check nats.url"
        ) from error
    except OSError as error:
        temporary = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
        kind = ConnectError if temporary else MisconfiguredError
        raise kind(
            f"cannot connect to {url}: {error.strerror or error}; "
            "check nats.url (or nats.host and nats.port)"
        ) from error
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if len(addresses) == 1:
        return [Server(url, parts.netloc, host, (host, port))]
    return [Server(url, f"{_bracketed(each)}:{port}", host, (each, port)) for each in addresses]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
