"""Sends JetStream API requests over the data plane, for tasks without a control connection."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..connection.connection import Connection
from ..connection.pool import connection
from ..connection.retry import AWAY, retrying
from ..errors import NatsSparkError
from ..options.settings import NatsSettings
from ..protocol.operations import Msg, parse, pub
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


def exchange(
    link: Connection,
    requests: Sequence[tuple[str, bytes]],
    take: Callable[[int, Msg], bool],
    timeout: float,
) -> None:
    """Send requests together, and receive until all of their replies have ended.

    Args:
        requests: subject and payload of each.
        take: called with the number of a request and a message of its reply, in order of arrival;
            returns whether the reply has ended.
        timeout: seconds to wait for more of the replies.

    Raises as `Connection.arrived` and `Connection.handle`, and what ``take`` raises.
    """
    what = requests[0][0] + (f" and {len(requests) - 1} more" if len(requests) > 1 else "")
    first, before = link.reserve(len(requests)), f"{link.inbox}.".encode()
    link.send(
        b"".join(
            pub(subject, f"{link.inbox}.{first + i}", payload)
            for i, (subject, payload) in enumerate(requests)
        )
    )
    waiting = set(range(len(requests)))
    deadline = time.monotonic() + timeout
    while waiting:
        events, consumed = parse(link.arrived(deadline, what))
        link.consume(consumed)
        for event in events:
            if not isinstance(event, Msg):
                link.handle(event)
                continue
            to = event.subject.removeprefix(before)  # may be of an abandoned request
            number = int(to) - first if to.isdigit() and len(to) < 19 else -1
            if number in waiting:
                deadline = time.monotonic() + timeout
                if take(number, event):
                    waiting.remove(number)
