"""Reads a range through an ephemeral ordered pull consumer.

For long ranges, servers before 2.11, streams without ``allow_direct`` and several filter subjects.
Returns the same rows in the same order as `direct`.

Source: ADR-15 (reply subject of a delivered message), ADR-17 (ordered consumer), ADR-37 (pull).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

import numpy as np

from ..connection.connection import SID, Connection
from ..errors import ConnectError, JetStreamUnavailableError, ProtocolError, ServerError
from ..jetstream.api import FILTER_SUBJECTS_VERSION, api_prefix, encode, ephemeral_consumer
from ..jetstream.requests import request
from ..options.settings import NatsSettings
from ..planning.ranges import StreamRange
from ..protocol.ack_subject import PULL_ENDS
from ..rows.messages import Messages
from .deliveries import Pull, PullStatus, decode_deliveries
from .direct import require_order


class RejectedError(Exception):
    """The server rejects the consumer.

    Attributes:
        error: the error that the server sent.
    """

    def __init__(self, error: ServerError) -> None:
        super().__init__(str(error))
        self.error = error


#: The server removes the consumer after this time without a pull; the next attempt creates another.
_INACTIVE_SECONDS = 60.0


def read(
    connection: Connection,
    settings: NatsSettings,
    span: StreamRange,
    cursor: int,
    fields: frozenset[str],
    first_timeout: float,
) -> Iterator[Messages]:
    """Read as `range_reader.Fetch` describes.

    Ends when the range is covered or the consumer has no more messages. The latter does not prove
    that there are none: the consumer may be on a replica that lags.

    Raises:
        RejectedError: the server rejects the consumer.
        JetStreamUnavailableError: the consumer no longer exists.
        ProtocolError: a message was lost in transit; the messages yielded before are complete.
        TimeoutExpiredError, ConnectError: as `Connection.block`.
    """
    consumer = _Consumer(connection, settings, span, cursor, fields, first_timeout)
    consumer.create()
    consumer.request_pull(settings.fetch_messages)
    while True:
        messages, lost = consumer.receive()
        ends = False
        if not lost and consumer.pull_ended:
            ends = consumer.is_done()
            if not ends:  # the next pull is in flight while these rows are consumed
                # A single message may exceed max_bytes.
                consumer.request_pull(settings.fetch_messages if consumer.received else 1)
        if len(messages):
            yield messages
        if lost:
            raise ProtocolError(lost)
        if ends:
            break
    consumer.delete()


class _Consumer:
    """An ordered consumer that starts at ``cursor``.

    Attributes:
        cursor: the next sequence to read.
        received: messages received of the last pull.
        received_bytes: their bytes, as the server counts them.
    """

    def __init__(
        self,
        connection: Connection,
        settings: NatsSettings,
        span: StreamRange,
        cursor: int,
        fields: frozenset[str],
        first_timeout: float,
    ) -> None:
        self.cursor = cursor
        self._connection = connection
        self._settings = settings
        self._span = span
        self._fields = fields
        self._first_timeout = first_timeout
        self._name = f"spark_{secrets.token_hex(11)}"
        # Before 2.10 a consumer has at most one filter; then everything is read and filtered here.
        versions = connection.info.version, FILTER_SUBJECTS_VERSION
        self._filters_here = len(span.filters) > 1 and versions[0] < versions[1]
        self._api = f"{api_prefix(settings)}.CONSUMER"
        self._pull_subject = f"{self._api}.MSG.NEXT.{span.stream}.{self._name}"
        self._delivered = 0  # consumer sequence of the last message
        self._decoded = fields | {"subject"} if self._filters_here else fields
        self._pull = Pull(SID.encode(), f"{span.stream}.{self._name}".encode(), b"")
        self._batch = self._wanted = 0
        self._deadline = 0.0  # for the next message or status, of `time.monotonic`
        self._status: PullStatus | None = None
        self.received = self.received_bytes = 0

    def create(self) -> None:
        stream, filters = self._span.stream, () if self._filters_here else self._span.filters
        config = ephemeral_consumer(
            _INACTIVE_SECONDS,
            name=self._name,
            deliver_policy="by_start_sequence",
            opt_start_seq=self.cursor,
        )
        call = f"CONSUMER.CREATE.{stream}.{self._name}"
        if len(filters) == 1:
            config["filter_subject"] = filters[0]
            call += f".{filters[0]}"
        elif filters:
            config["filter_subjects"] = list(filters)
        body = {"stream_name": stream, "config": config}
        try:
            request(self._connection, self._settings, call, body, self._first_timeout)
        except ServerError as error:
            raise RejectedError(error) from error

    def delete(self) -> None:
        """Send the delete request without waiting for a reply: an idle consumer expires anyway."""
        try:
            subject = f"{self._api}.DELETE.{self._span.stream}.{self._name}"
            self._connection.send_request(subject, b"")
        except ConnectError:
            pass

    def request_pull(self, batch: int) -> None:
        """Request up to ``batch`` messages. A batch of one has no limit of bytes."""
        self._batch, self._status = batch, None
        self.received = self.received_bytes = 0
        self._wanted = min(batch, self._span.last - self.cursor + 1)
        body: dict[str, int | bool] = {"batch": self._wanted, "no_wait": True}
        if batch > 1:
            body["max_bytes"] = self._settings.fetch_bytes
        inbox = self._connection.send_request(self._pull_subject, encode(body))
        self._pull = self._pull._replace(inbox=inbox.encode())
        self._deadline = time.monotonic() + self._first_timeout

    @property
    def pull_ended(self) -> bool:
        """Whether the last pull is filled, or ended by a status.

        The server sends no status for a pull that its messages fill to the last byte.
        """
        is_full = self._batch > 1 and self.received_bytes == self._settings.fetch_bytes
        return self._status is not None or self.received >= self._wanted or is_full

    def is_done(self) -> bool:
        """Return whether the range is covered, or the consumer has no more messages.

        A pull that ended with 409 without a message met one that exceeds ``max_bytes``.
        """
        if self.cursor > self._span.last:
            return True
        too_large = self._status is not None and self._status.code == 409 and self._batch > 1
        return not self.received and not too_large

    def receive(self) -> tuple[Messages, str]:
        """Return the next messages of the pull, and an error text if one was lost after them.

        Raises ``JetStreamUnavailableError`` or ``ServerError`` for a status that reports a failure.
        """
        block = self._connection.block(self._deadline, self._pull_subject)
        found = decode_deliveries(block, self._pull, self._decoded)
        self._connection.consume(found.consumed)
        for event in found.others:
            self._connection.handle(event)
        if found.status is not None:
            self._check(found.status)
            self._status = found.status
        count = len(found.messages)
        expected = np.arange(self._delivered + 1, self._delivered + 1 + count)
        gaps = np.flatnonzero(found.consumer_seqs != expected)
        unbroken = int(gaps[0]) if len(gaps) else count
        messages = found.messages.slice(0, unbroken)
        self._delivered += unbroken
        self.received += unbroken
        self.received_bytes += found.size
        if unbroken:
            require_order(messages.seqs, self.cursor, self._span.stream)
            self._deadline = time.monotonic() + self._settings.request_timeout
            self.cursor = int(messages.seqs[-1]) + 1
        lost = f"consumer {self._name}: message {self._delivered + 1} was lost in transit"
        return self._matching(messages), lost if unbroken < count else ""

    def _matching(self, messages: Messages) -> Messages:
        """Return the messages that the filters match, if the consumer could not have them all."""
        if not self._filters_here or not len(messages):
            return messages
        return messages.matching(self._span.filters, self._fields)

    def _check(self, status: PullStatus) -> None:
        code, description, _ = status
        if code == 503 or (code == 409 and description.lower() not in PULL_ENDS):
            raise JetStreamUnavailableError(
                f"consumer {self._name} no longer exists: {description}"
            )
        if code not in (404, 408, 409):
            raise ServerError(f"consumer {self._name}: {description}", code, 0, description)
