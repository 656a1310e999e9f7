"""Sends JetStream API requests over the data plane, for tasks without a control connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..connection.connection import Connection
from ..connection.pool import connection
from ..connection.retry import AWAY, retrying
from ..errors import NatsSparkError
from ..options.settings import NatsSettings
from .api import api_prefix, encode, parse_reply


def request(
    link: Connection,
    settings: NatsSettings,
    call: str,
    body: Mapping[str, Any] | None = None,
    timeout: float | None = None,
) -> dict[str, Any]:
    """Send a request, such as ``STREAM.INFO.ORDERS``, and return the JSON of its reply.

    Args:
        timeout: seconds to wait for the reply; ``nats.request.timeout`` by default.

    Raises as `Connection.request` and `api.parse_reply`.
    """
    subject = f"{api_prefix(settings)}.{call}"
    payload = encode(body) if body else b""
    return parse_reply(link.request(subject, payload, timeout or settings.request_timeout), subject)


def request_with_retry(
    settings: NatsSettings,
    call: str,
    body: Mapping[str, Any] | None = None,
    transient: tuple[type[NatsSparkError], ...] = AWAY,
) -> dict[str, Any]:
    """Send a request over a connection of the pool; retry after ``transient`` errors."""

    def attempt() -> dict[str, Any]:
        with connection(settings) as link:
            return request(link, settings, call, body)

    return retrying(attempt, settings, transient)
