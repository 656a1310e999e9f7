"""JetStream's API over the data plane, for tasks, which keep no control connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import NatsSparkError
from .jetstream import api_prefix, encode, parse_reply
from .pool import connection
from .retry import AWAY, retrying
from .settings import NatsSettings
from .wire import Connection


def ask(
    link: Connection,
    settings: NatsSettings,
    call: str,
    request: Mapping[str, Any] | None = None,
    timeout: float | None = None,
) -> dict[str, Any]:
    """One request, ``STREAM.INFO.ORDERS`` for example, and the JSON of its reply.

    Args:
        timeout: seconds to wait for the reply; ``nats.request.timeout`` by default.

    Raises what `Connection.request` and `jetstream.parse_reply` raise.
    """
    subject = f"{api_prefix(settings)}.{call}"
    body = encode(request) if request else b""
    return parse_reply(link.request(subject, body, timeout or settings.request_timeout), subject)


def ask_anew(
    settings: NatsSettings,
    call: str,
    request: Mapping[str, Any] | None = None,
    transient: tuple[type[NatsSparkError], ...] = AWAY,
) -> dict[str, Any]:
    """As `ask`, over a connection of the pool, and again after ``transient`` errors."""

    def attempt() -> dict[str, Any]:
        with connection(settings) as link:
            return ask(link, settings, call, request)

    return retrying(attempt, settings, transient)
