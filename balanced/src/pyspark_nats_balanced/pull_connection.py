"""A data-plane connection that pulls messages from the durable consumer and acknowledges them.

Source: ADR-37 (pull consumers).
"""

from __future__ import annotations

import logging
import secrets
import time
from dataclasses import dataclass

import numpy as np

from nats_spark_common.connection.connect import connect
from nats_spark_common.connection.connection import Connection
from nats_spark_common.connection.retry import UNREACHED, AdaptiveTimeout
from nats_spark_common.errors import (
    JetStreamUnavailableError,
    ProtocolError,
    ServerError,
    TimeoutExpiredError,
)
from nats_spark_common.jetstream.api import NO_RESPONDERS, api_prefix, encode
from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.protocol.ack_subject import PULL_ENDS
from nats_spark_common.protocol.operations import pub
from nats_spark_common.reading.deliveries import (
    Pull,
    PullReplies,
    PullStatus,
    decode_deliveries,
    decode_until_error,
)
from nats_spark_common.rows.messages import Int64s

from .acks import ACK, send_acks
from .deliveries import Deliveries

_log = logging.getLogger(__name__)

_NS = 1_000_000_000
_NO_MESSAGES, _TIMED_OUT, _CONFLICT = 404, 408, 409

#: Descriptions of a 409 after which a pull can be retried.
_RETRIABLE = ("leadership change", "server shutdown", "exceeded maxwaiting", "consumer deleted")


@dataclass(frozen=True)
class PullResult:
    """The messages of a pull, and how it ended.

    Attributes:
        deliveries: in order of arrival.
        times: when each message was stored, in nanoseconds since the epoch.
        ack_prefix: as `PullReplies.ack_prefix`.
        drained: whether the consumer has no more messages.
        too_large: whether the first message exceeds the pull's ``max_bytes``.
    """

    deliveries: Deliveries
    times: Int64s
    ack_prefix: str
    drained: bool
    too_large: bool


class PullConnection:
    """A connection for pulls and acks, opened on first use and reopened after an error.

    Not thread-safe; never pickled.
    """

    def __init__(self, settings: NatsSettings, stream: str, consumer: str) -> None:
        self._settings = settings
        self._consumer = f"{stream}.{consumer}"
        self._subject = f"{api_prefix(settings)}.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._link: Connection | None = None
        self._sid = ""
        self._inbox = ""
        self._pulls = 0
        self._timeout = AdaptiveTimeout(settings)

    def close(self) -> None:
        """Close the connection; the next use opens a new one."""
        if self._link is not None:
            self._link.close()
            self._link = None

    @property
    def link(self) -> Connection:
        """Return the open connection. Raise as `connect` does."""
        if self._link is None or not self._link.usable():
            self.close()
            link = connect(self._settings)
            # A random subscription id marks the pulled messages: no payload can contain it.
            self._sid = secrets.token_hex(8)
            self._inbox = f"{self._settings.inbox_prefix}.{secrets.token_hex(11)}"
            link.send(f"SUB {self._inbox}.* {self._sid}\r\n".encode())
            self._link = link
        return self._link

    def pull(self, count: int, max_bytes: int | None, wait: float = 0.0) -> PullResult:
        """Pull up to ``count`` messages that are available now.

        A pull that waits at the server outlives a query that Spark kills. It then receives messages
        that no one reads until the ack wait is over.

        Args:
            max_bytes: maximum bytes delivered, so that the server's outbound queue does not
                overflow; None without a limit.
            wait: seconds to wait at the server for a first message if none is available.

        Raises:
            JetStreamUnavailableError: no responders, or the consumer is gone.
            ServerError: the server rejects the pull.
            ConnectError, TimeoutExpiredError, ProtocolError: the connection failed before any
                message arrived. Messages that arrived before a failure are returned, because the
                server counts them as delivered.
        """
        link = self.link
        self._pulls += 1
        inbox = f"{self._inbox}.{self._pulls}"
        parts: list[PullReplies] = []
        try:
            request = encode(_request(count, max_bytes, wait))
            link.send(pub(self._subject, inbox, request), self._settings.request_timeout)
            self._receive(link, inbox, count, max_bytes, wait, parts)
        except (*UNREACHED, ProtocolError) as error:
            if isinstance(error, TimeoutExpiredError):
                link.give_up()
                self._timeout.unanswered()
            self.close()  # late messages must not be taken for the next pull's
            received = sum(len(part.messages) for part in parts)
            if not received:
                raise
            _log.warning(
                "%s: pull failed after %d messages: %s; continuing with these messages",
                self._subject,
                received,
                error,
            )
        return self._result(parts)

    def _receive(
        self,
        link: Connection,
        inbox: str,
        count: int,
        max_bytes: int | None,
        wait: float,
        parts: list[PullReplies],
    ) -> None:
        """Add the responses to a pull to ``parts`` until it ends; those before a failure too."""
        pull = Pull(self._sid.encode(), self._consumer.encode(), inbox.encode())
        started = time.monotonic()
        timeout = self._timeout.seconds()
        received, expected, size = 0, count, 0
        # The server sends no status for a pull that its messages fill to the last byte.
        deadline = time.monotonic() + wait + timeout
        while received < expected and size != max_bytes:
            block = link.block(deadline, self._subject)
            try:
                replies = decode_deliveries(block, pull, frozenset())
            except ProtocolError:
                parts.append(decode_until_error(block, pull, frozenset())[0])
                raise
            link.consume(replies.consumed)
            if len(replies.messages) or replies.status is not None:
                if not received:
                    self._timeout.answered(max(time.monotonic() - started - wait, 0.0))
                deadline = time.monotonic() + wait + self._settings.request_timeout
            parts.append(replies)
            received += len(replies.messages)
            size += replies.size
            status = replies.status
            if status is not None:
                # A replicated consumer's messages wait for a quorum and its statuses do not, so
                # messages may still arrive after the status.
                expected = received if status.unsent is None else count - status.unsent
            for event in replies.others:
                link.handle(event)

    def _result(self, parts: list[PullReplies]) -> PullResult:
        deliveries = Deliveries.joined(
            [Deliveries(p.messages.seqs, p.consumer_seqs, p.delivered) for p in parts]
        )
        times = np.concatenate([np.zeros(0, np.int64), *(part.times_ns for part in parts)])
        prefix, status = "", None
        for part in parts:
            prefix, status = part.ack_prefix or prefix, part.status or status
        drained, too_large = self._end_of_pull(status, len(deliveries))
        return PullResult(deliveries, times, prefix, drained, too_large)

    def acknowledge(self, prefix: str, deliveries: Deliveries) -> None:
        """Acknowledge messages and wait for the confirmation. Raise as `send_acks` does."""
        link = self.link
        started = time.monotonic()
        try:
            timeout = self._settings.request_timeout
            send_acks(link, prefix, deliveries, ACK, self._timeout.seconds(), timeout)
        except TimeoutExpiredError:
            link.give_up()
            self._timeout.unanswered()
            raise
        self._timeout.answered(time.monotonic() - started)

    def _end_of_pull(self, status: PullStatus | None, received: int) -> tuple[bool, bool]:
        """Return whether the consumer has no more messages, and whether one exceeds the pull.

        Raises ``JetStreamUnavailableError`` if the pull can be retried, else ``ServerError``.
        """
        if status is None:
            return False, False
        code, description, _ = status
        if code in (_NO_MESSAGES, _TIMED_OUT):  # old servers send 408 for both
            return code == _NO_MESSAGES or not received, False
        if code == _CONFLICT and description.lower() in PULL_ENDS:
            return False, not received
        if code == NO_RESPONDERS or description.lower() in _RETRIABLE:
            if received:
                return True, False
            raise JetStreamUnavailableError(f"{self._subject}: {description or 'no responders'}")
        raise ServerError(f"{self._subject}: {description}", code, 0, description)


def _request(count: int, max_bytes: int | None, wait: float) -> dict[str, int | bool]:
    """Return a pull request that ends when no message is left (``no_wait``, ADR-37)."""
    request: dict[str, int | bool] = {"batch": count, "no_wait": True}
    if wait:
        request["expires"] = max(round(wait * _NS), 1_000_000)
    if max_bytes:
        request["max_bytes"] = max_bytes
    return request
