"""Reading a range through an ephemeral ordered pull consumer.

For servers before 2.11, streams without ``allow_direct`` and several filter subjects. The same rows
in the same order as `direct` gives.

Source: ADR-15 (reply subject of a delivered message), ADR-17 (ordered consumer), ADR-37 (pull).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

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

#: The server removes the consumer when it is not asked for so long; a new one then goes on.
_INACTIVE_NS = 60_000_000_000


def read(
    connection: Connection,
    settings: NatsSettings,
    span: StreamRange,
    cursor: int,
    fields: frozenset[str],
    patience: float,
) -> Iterator[Messages]:
    """As `reading.Fetch`.

    Ends when the range is covered or the consumer has no more messages, which does not prove that
    there are none: it may live on a replica that lags.

    Raises:
        JetStreamUnavailableError: the consumer is gone.
        ProtocolError: a message was lost on its way; what was yielded stands.
        TimeoutExpiredError, ConnectError: as `Connection.block`.
    """
    prefix = api_prefix(settings)
    name = f"spark_{secrets.token_hex(11)}"
    # Before 2.10 a consumer has one filter; then everything is read and filtered here.
    own_filter = len(span.filters) > 1 and connection.info.version < FILTER_SUBJECTS_VERSION
    filters = () if own_filter else span.filters
    _create(connection, settings, span.stream, name, cursor, filters, patience)
    pull = f"{prefix}.CONSUMER.MSG.NEXT.{span.stream}.{name}"
    delivered = 0
    batch = settings.fetch_messages
    while True:
        pull_request: dict[str, int | bool] = {"batch": min(batch, span.last - cursor + 1)}
        pull_request |= {"no_wait": True, "max_bytes": settings.fetch_bytes}
        if batch == 1:  # one message is larger than the bound
            del pull_request["max_bytes"]
        inbox = connection.ask(pull, encode(pull_request)).encode()
        wanted, got, status = int(pull_request["batch"]), 0, 0
        while got < wanted and not status:
            wait = settings.request_timeout if got else patience
            block = connection.block(time.monotonic() + wait, pull)
            events, consumed = parse(block)
            connection.consume(consumed)
            found, status = _sort(connection, events, name, inbox)
            messages: list[Message] = []
            for consumer_seq, message in found:
                if consumer_seq != delivered + 1:
                    yield from _rows(messages, span, fields, own_filter)
                    raise ProtocolError(f"consumer {name} lost message {delivered + 1} on its way")
                delivered = consumer_seq
                messages.append(message)
            got += len(messages)
            if messages:
                cursor = messages[-1].seq + 1
                yield from _rows(messages, span, fields, own_filter)
        if cursor > span.last or (not got and (status != 409 or batch == 1)):
            break
        batch = settings.fetch_messages if got else 1
    _delete(connection, f"{prefix}.CONSUMER.DELETE.{span.stream}.{name}")


def _rows(
    messages: list[Message], span: StreamRange, fields: frozenset[str], own_filter: bool
) -> Iterator[Messages]:
    if own_filter:
        messages = [m for m in messages if matches_any(span.filters, text(m.subject))]
    if messages:
        yield from_messages(messages, fields)


def _create(
    connection: Connection,
    settings: NatsSettings,
    stream: str,
    name: str,
    start: int,
    filters: tuple[str, ...],
    patience: float,
) -> None:
    config: dict[str, object] = {
        "name": name,
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": start,
        "ack_policy": "none",
        "mem_storage": True,
        "num_replicas": 1,
        "inactive_threshold": _INACTIVE_NS,
    }
    call = f"CONSUMER.CREATE.{stream}.{name}"
    if len(filters) == 1:
        config["filter_subject"] = filters[0]
        call += f".{filters[0]}"
    elif filters:
        config["filter_subjects"] = list(filters)
    request(connection, settings, call, {"stream_name": stream, "config": config}, patience)


def _delete(connection: Connection, subject: str) -> None:
    """Ask for the consumer's end without awaiting it: an idle one ends by itself."""
    try:
        connection.ask(subject, b"")
    except ConnectError:
        pass


def _sort(
    connection: Connection, events: list[Event], consumer: str, inbox: bytes
) -> tuple[list[tuple[int, Message]], int]:
    """The consumer's messages with their consumer sequences, and the status that ends the pull."""
    found: list[tuple[int, Message]] = []
    status = 0
    name = consumer.encode()
    for event in events:
        if not isinstance(event, Msg):
            connection.handle(event)
        elif event.reply.startswith(ACK):
            origin = parse_ack_subject(event.reply)
            if origin is not None and origin.consumer == name:
                message = Message(
                    origin.seq, event.subject, origin.time_ns, event.header, event.payload
                )
                found.append((origin.consumer_seq, message))
        elif event.subject == inbox:
            status, words = header_status(event.header)
            if status == 503 or (status == 409 and words.lower() not in PULL_ENDS):
                raise JetStreamUnavailableError(f"consumer {consumer} is gone: {words}")
            if status not in (404, 408, 409):
                raise ServerError(f"consumer {consumer}: {words}", status, 0, words)
    return found, status
