"""Reads a range through an ephemeral ordered pull consumer.

For servers before 2.11, streams without ``allow_direct`` and several filter subjects. Returns the
same rows in the same order as `direct`.

Source: ADR-15 (reply subject of a delivered message), ADR-17 (ordered consumer), ADR-37 (pull).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Generator, Iterator

from ..connection.connection import Connection
from ..errors import ConnectError, JetStreamUnavailableError, ProtocolError, ServerError
from ..jetstream.api import FILTER_SUBJECTS_VERSION, api_prefix, encode
from ..jetstream.requests import request
from ..options.settings import NatsSettings
from ..planning.ranges import StreamRange
from ..protocol.ack_subject import ACK, PULL_ENDS, parse_ack_subject
from ..protocol.operations import Event, Msg, header_status, parse
from ..protocol.subjects import matches_any
from ..rows.messages import Message, Messages, from_messages, text

#: The server removes the consumer after this time without a pull; the next attempt creates another.
_INACTIVE_NS = 60_000_000_000


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
        JetStreamUnavailableError: the consumer no longer exists.
        ProtocolError: a message was lost in transit; the messages yielded before are complete.
        TimeoutExpiredError, ConnectError: as `Connection.block`.
    """
    consumer = _Consumer(connection, settings, span, cursor, fields, first_timeout)
    consumer.create()
    batch = settings.fetch_messages
    while True:
        received, status = yield from consumer.pull(batch)
        if consumer.cursor > span.last or (not received and (status != 409 or batch == 1)):
            break
        batch = settings.fetch_messages if received else 1  # a message may exceed max_bytes
    consumer.delete()


class _Consumer:
    """An ordered consumer that starts at ``cursor``.

    Attributes:
        cursor: the next sequence to read.
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

    def create(self) -> None:
        stream, filters = self._span.stream, () if self._filters_here else self._span.filters
        config: dict[str, object] = {
            "name": self._name,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self.cursor,
            "ack_policy": "none",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": _INACTIVE_NS,
        }
        call = f"CONSUMER.CREATE.{stream}.{self._name}"
        if len(filters) == 1:
            config["filter_subject"] = filters[0]
            call += f".{filters[0]}"
        elif filters:
            config["filter_subjects"] = list(filters)
        body = {"stream_name": stream, "config": config}
        request(self._connection, self._settings, call, body, self._first_timeout)

    def delete(self) -> None:
        """Send the delete request without waiting for a reply: an idle consumer expires anyway."""
        try:
            subject = f"{self._api}.DELETE.{self._span.stream}.{self._name}"
            self._connection.send_request(subject, b"")
        except ConnectError:
            pass

    def pull(self, batch: int) -> Generator[Messages, None, tuple[int, int]]:
        """Yield the messages of one pull of up to ``batch`` messages.

        A batch of one has no limit of bytes. Returns the number of messages received and the status
        that ended the pull, 0 if the batch was filled.
        """
        connection = self._connection
        wanted = min(batch, self._span.last - self.cursor + 1)
        body: dict[str, int | bool] = {"batch": wanted, "no_wait": True}
        if batch > 1:
            body["max_bytes"] = self._settings.fetch_bytes
        inbox = connection.send_request(self._pull_subject, encode(body)).encode()
        received = status = 0
        while received < wanted and not status:
            timeout = self._settings.request_timeout if received else self._first_timeout
            block = connection.block(time.monotonic() + timeout, self._pull_subject)
            events, consumed = parse(block)
            connection.consume(consumed)
            found, status = self._sort(events, inbox)
            messages = self._unbroken(found)
            received += len(messages)
            if messages:
                self.cursor = messages[-1].seq + 1
                yield from self._rows(messages)
            if len(messages) < len(found):
                lost = self._delivered + 1
                raise ProtocolError(f"consumer {self._name}: message {lost} was lost in transit")
        return received, status

    def _unbroken(self, found: list[tuple[int, Message]]) -> list[Message]:
        """Return the messages up to the first gap in the consumer sequences."""
        messages: list[Message] = []
        for consumer_seq, message in found:
            if consumer_seq != self._delivered + 1:
                break
            self._delivered = consumer_seq
            messages.append(message)
        return messages

    def _rows(self, messages: list[Message]) -> Iterator[Messages]:
        if self._filters_here:
            filters = self._span.filters
            messages = [m for m in messages if matches_any(filters, text(m.subject))]
        if messages:
            yield from_messages(messages, self._fields)

    def _sort(self, events: list[Event], inbox: bytes) -> tuple[list[tuple[int, Message]], int]:
        """Return the messages with their consumer sequences, and the status that ends the pull.

        Raises ``JetStreamUnavailableError`` or ``ServerError`` for a status that reports a failure.
        """
        found: list[tuple[int, Message]] = []
        status = 0
        name = self._name.encode()
        for event in events:
            if not isinstance(event, Msg):
                self._connection.handle(event)
            elif event.reply.startswith(ACK):
                origin = parse_ack_subject(event.reply)
                if origin is not None and origin.consumer == name:
                    message = Message(
                        origin.seq, event.subject, origin.time_ns, event.header, event.payload
                    )
                    found.append((origin.consumer_seq, message))
            elif event.subject == inbox:
                status, description = header_status(event.header)
                if status == 503 or (status == 409 and description.lower() not in PULL_ENDS):
                    raise JetStreamUnavailableError(
                        f"consumer {self._name} no longer exists: {description}"
                    )
                if status not in (404, 408, 409):
                    raise ServerError(
                        f"consumer {self._name}: {description}", status, 0, description
                    )
        return found, status
