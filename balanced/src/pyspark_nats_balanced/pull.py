"""Pulls messages from a durable consumer over a connection of the data plane.

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
from nats_spark_common.rows.messages import Int64s

from .acks import DONE, confirm
from .deliveries import Deliveries
from .pull_answers import Frames, Status, decode

_log = logging.getLogger(__name__)

_NS = 1_000_000_000
_NO_MESSAGES, _TIMED_OUT, _CONFLICT = 404, 408, 409

#: Words of a 409 after which a pull can be tried again.
_AGAIN = ("leadership change", "server shutdown", "exceeded maxwaiting", "consumer deleted")


@dataclass(frozen=True)
class Pulled:
    """What a pull brought.

    Attributes:
        deliveries: in the order in which they came.
        times: when each message was stored, in nanoseconds since the epoch.
        ack_prefix: as `Frames.ack_prefix`.
        drained: whether the consumer had no more to give.
        too_large: whether not even one message fitted the bytes that were asked for.
    """

    deliveries: Deliveries
    times: Int64s
    ack_prefix: str
    drained: bool
    too_large: bool


class Puller:
    """A connection for pulls and acks, made when it is first needed and anew after an error.

    Not thread-safe, never pickled.
    """

    def __init__(self, settings: NatsSettings, stream: str, consumer: str) -> None:
        self._settings = settings
        self._subject = f"{api_prefix(settings)}.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._link: Connection | None = None
        self._also: tuple[str, ...] = ()
        self._sid = ""
        self._inbox = ""
        self._pulls = 0
        self._patience = AdaptiveTimeout(settings)
        self._unanswered = 0  # pulls in a row

    def close(self) -> None:
        """Close the connection; the next use makes a new one."""
        if self._link is not None:
            self._link.close()
            self._link = None

    @property
    def link(self) -> Connection:
        """The connection. Raises what `connecting.connect` raises."""
        if self._link is None or not self._link.usable():
            self.close()
            link = connect(self._settings, self._also)
            self._also = link.info.connect_urls
            # A random id marks the pulls' messages: no payload can hold it.
            self._sid = secrets.token_hex(8)
            self._inbox = f"{self._settings.inbox_prefix}.{secrets.token_hex(11)}"
            link.send(f"SUB {self._inbox}.* {self._sid}\r\n".encode())
            self._link = link
        return self._link

    def pull(self, count: int, max_bytes: int | None, wait: float = 0.0) -> Pulled:
        """Pull up to ``count`` messages: those that are there.

        A pull that waits at the server outlives a query that Spark kills, and takes messages that
        nobody reads until the ack wait is over.

        Args:
            max_bytes: bound of the bytes delivered, so that the server's queue does not overflow.
            wait: seconds to wait at the server for a first one where there is none.

        Raises:
            JetStreamUnavailableError: nobody answers, or the consumer is gone.
            ServerError: the server refuses the pull, in its words.
            ConnectError, TimeoutExpiredError, ProtocolError: before any message came; those that
                came before a failure are returned, since the server takes them as delivered.
        """
        link = self.link
        self._pulls += 1
        inbox = f"{self._inbox}.{self._pulls}"
        request: dict[str, int | bool] = {"batch": count, "no_wait": True}
        if wait:
            request["expires"] = max(round(wait * _NS), 1_000_000)
        if max_bytes:
            request["max_bytes"] = max_bytes
        parts: list[Frames] = []
        prefix = ""
        got = 0
        expected = count
        status: Status | None = None
        try:
            link.send(pub(self._subject, inbox, encode(request)))
            begun = time.monotonic()
            patience = self._patience.seconds(self._unanswered)
            while got < expected:
                block = link.block(time.monotonic() + wait + patience, self._subject)
                if not parts:
                    self._patience.answered(max(time.monotonic() - begun - wait, 0.0))
                    patience, self._unanswered = self._settings.request_timeout, 0
                frames = decode(block, self._sid.encode(), inbox.encode())
                link.consume(frames.consumed)
                parts.append(frames)
                got += len(frames.deliveries)
                prefix = frames.ack_prefix or prefix
                if frames.status is not None:
                    status = frames.status
                    # A replicated consumer's messages wait for a quorum and its statuses do not:
                    # some may still be on their way.
                    expected = got if status.unsent is None else count - status.unsent
                for event in frames.others:
                    link.handle(event)
        except (*UNREACHED, ProtocolError) as error:
            if isinstance(error, TimeoutExpiredError):
                link.give_up()
                self._unanswered += 1
            self.close()  # what comes late is not taken for the next pull's
            if not got:
                raise
            _log.warning("a pull broke off after %d messages: %s", got, error)
        drained, too_large = self._end(status, got)
        deliveries = Deliveries.joined([part.deliveries for part in parts])
        times = np.concatenate([np.zeros(0, np.int64), *(part.times for part in parts)])
        return Pulled(deliveries, times, prefix, drained, too_large)

    def acknowledge(self, prefix: str, deliveries: Deliveries) -> None:
        """Acknowledge messages and await that the server has done it. Raises as `acks.confirm`."""
        link = self.link
        begun = time.monotonic()
        try:
            confirm(link, prefix, deliveries, DONE, self._patience.seconds(self._unanswered))
        except TimeoutExpiredError:
            link.give_up()
            self._unanswered += 1
            raise
        self._patience.answered(time.monotonic() - begun)
        self._unanswered = 0

    def _end(self, status: Status | None, got: int) -> tuple[bool, bool]:
        """Whether the consumer has no more, and whether a message is too large for the pull."""
        if status is None:
            return False, False
        code, words, _ = status
        if code in (_NO_MESSAGES, _TIMED_OUT):  # old servers say 408 for either
            return code == _NO_MESSAGES or not got, False
        if code == _CONFLICT and words.lower() in PULL_ENDS:
            return False, not got
        if code == NO_RESPONDERS or words.lower() in _AGAIN:
            if got:
                return True, False
            raise JetStreamUnavailableError(f"{self._subject}: {words or 'nobody answers'}")
        raise ServerError(f"{self._subject}: {words}", code, 0, words)
