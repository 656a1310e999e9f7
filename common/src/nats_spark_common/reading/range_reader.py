"""Reads a range of a stream in a task, exactly: every stored message once, or an error.

`direct` and `ordered` fetch; this module ensures what must hold for both. The position in the range
is the only state. After any failure the read resumes after the last message that was yielded, over
a new connection. A reply that ends early does not prove that there are no more messages, because
the replica that sent it may lag; only the stream's leader can confirm it. If messages are missing,
the stream's first sequence distinguishes messages deleted inside the stream from a removed head.

Mirrors of a stream may reply to direct gets for it (ADR-31), and a replica that hangs receives them
and does not reply. The range is then read from the stream itself, through a consumer, or from its
leader if it is a work queue. A range that is to be read through a consumer is read with direct gets
if the server rejects the consumer: the user may lack the permission, or a limit may be reached.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from ..connection import retry
from ..connection.connection import Connection
from ..connection.pool import connection
from ..errors import (
    DataLossError,
    MissingPermissionError,
    OtherStreamError,
    ProtocolError,
    ServerError,
    TimeoutExpiredError,
)
from ..jetstream.api import REFUSED_BY_WORK_QUEUE, StreamInfo, is_no_message, well_formed, whole
from ..jetstream.requests import request
from ..options.settings import NatsSettings
from ..planning.data_loss import lost_messages, recreated, report_loss
from ..planning.ranges import StreamRange
from ..rows.messages import Messages
from . import direct, ordered, single_gets

_log = logging.getLogger(__name__)


class Fetch(Protocol):
    """One way to read messages of a range over one connection."""

    def __call__(
        self,
        connection: Connection,
        settings: NatsSettings,
        span: StreamRange,
        cursor: int,
        fields: frozenset[str],
        first_timeout: float,
        /,
    ) -> Iterator[Messages]:
        """Yield the messages from ``cursor`` up, in order; some may be past the range's end.

        Args:
            fields: the columns to decode, of `MESSAGE_COLUMNS`.
            first_timeout: seconds to wait for the start of a reply; each later block of it may
                take ``nats.request.timeout``.
        """


def read_range(
    settings: NatsSettings,
    span: StreamRange,
    fields: frozenset[str],
    *,
    check_loss: bool = True,
    leader: bool = False,
) -> Iterator[Messages]:
    """Yield the messages of a range in sequence order, in blocks of about a megabyte.

    Args:
        fields: the columns to decode, of `MESSAGE_COLUMNS`.
        check_loss: whether messages removed from the stream's head count as data loss. False for a
            caller that knows which sequences must be stored.
        leader: whether to read message by message from the stream's leader, which is slow, if the
            server allows no other way.

    Raises:
        DataLossError: messages of the range were removed from the stream's head before they were
            read, or the stream was recreated (the former only with ``nats.fail.on.data.loss``).
        NatsSparkError: the last of ``nats.retry.count`` + 1 failures in a row.
    """
    if span.filters_here:
        whole = replace(span, filters=(), filters_here=False)
        decoded = fields | {"subject"}
        for messages in read_range(settings, whole, decoded, check_loss=check_loss, leader=leader):
            matching = messages.matching(span.filters, fields)
            if len(matching):
                yield matching
        return
    reader = _RangeReader(settings, span, fields, check_loss, leader)
    what = f"reading stream {span.stream} to sequence {span.last}"
    yield from retry.resuming(reader.read, lambda: reader.cursor, settings, what)


#: Direct gets that may lack a stored message before the range is read through a consumer. A replica
#: catches up within moments; a mirror that has removed the message never does.
_MAX_LAGS = 1


#: Connection keys and streams for which the server has rejected a consumer of this process.
_rejected: set[tuple[str, str]] = set()


class _Lagging(TimeoutExpiredError):
    """The replying replica lacks a message that the leader has."""


class _RangeReader:
    """Reads a range and holds the position in it, over one connection after the other."""

    def __init__(
        self,
        settings: NatsSettings,
        span: StreamRange,
        fields: frozenset[str],
        check_loss: bool,
        leader: bool,
    ) -> None:
        self.cursor = span.first
        self._checks_loss = check_loss
        self._leader_allowed = leader
        self._settings = settings
        self._span = span
        self._fields = fields
        self._direct_allowed = span.direct  # until a mirror replies for the stream
        self._consumer_allowed = (settings.connection_key(), span.stream) not in _rejected
        via_consumer = len(span) >= span.consumer_from and self._consumer_allowed
        self._fetch: Fetch = ordered.read if via_consumer or not span.direct else direct.read
        self._lags = 0
        self._timeout = retry.AdaptiveTimeout(settings)

    def read(self) -> Iterator[Messages]:
        """Call `run` over connections of the pool, without direct gets if a mirror replies."""
        while True:
            try:
                with connection(self._settings) as link:
                    yield from self.run(link)
                return
            except OtherStreamError as error:
                _log.info("%s; reading through a consumer", error)
                self._fetch, self._direct_allowed = ordered.read, False
            except _Lagging:
                raise
            except TimeoutExpiredError:
                self._timeout.unanswered()
                # The replica may hang, and so may the leader: alternate between them.
                if self._fetch is direct.read and self._consumer_allowed:
                    self._fetch = ordered.read
                elif self._direct_allowed:
                    self._fetch = direct.read
                raise
            except MissingPermissionError as error:
                self._fetch = self._way_without_permission(error)
            except ordered.RejectedError as rejected:
                self._fetch = self._way_without_consumer(rejected.error)

    def _way_without_permission(self, error: MissingPermissionError) -> Fetch:
        """Return another way to read after the user may not use this one; raise without one."""
        if self._fetch is ordered.read:
            return self._way_without_consumer(error)
        if self._fetch is not direct.read or not self._consumer_allowed:
            raise error
        _log.info("%s; reading stream %s through a consumer", error, self._span.stream)
        self._direct_allowed = False
        return ordered.read

    def _way_without_consumer(self, error: MissingPermissionError | ServerError) -> Fetch:
        """Return another way to read after a consumer was rejected; raise without one."""
        stream = self._span.stream
        # A work queue's direct gets were not answered, or by another stream.
        work_queue = isinstance(error, ServerError) and error.err_code in REFUSED_BY_WORK_QUEUE
        if self._direct_allowed and not work_queue:
            _log.info("%s; reading stream %s with direct gets", error, stream)
            _rejected.add((self._settings.connection_key(), stream))
            self._consumer_allowed = False
            return direct.read
        if self._span.filters or not (work_queue or self._leader_allowed):
            raise error
        _log.info("%s; reading from the leader of stream %s", error, stream)
        return single_gets.read_from_leader

    def run(self, link: Connection) -> Iterator[Messages]:
        """Read from the position to the range's end over one connection."""
        span = self._span
        while self.cursor <= span.last:
            start = self.cursor
            timeout, begun = self._timeout.seconds(), time.monotonic()
            for messages in self._fetch(link, self._settings, span, start, self._fields, timeout):
                if self.cursor == start:
                    self._timeout.answered(time.monotonic() - begun)
                wanted = messages.between(self.cursor, span.last)
                self._check_gap(messages)
                if len(messages):
                    self.cursor = int(messages.seqs[-1]) + 1
                if len(wanted):
                    yield wanted
            if self.cursor <= span.last:
                following = self._next_stored(link)
                if following is not None and following <= span.last:
                    self._lags += 1
                    if self._lags > _MAX_LAGS and self._fetch is direct.read:
                        # A mirror may lack the message permanently.
                        self._fetch, self._direct_allowed = ordered.read, False
                    raise _Lagging(
                        f"stream {span.stream}: the replying replica lacks message {following}"
                    )
                self._check_loss(link, self.cursor, span.last)
                self.cursor = span.last + 1
        self._check_recreated(link)

    def _check_gap(self, messages: Messages) -> None:
        """Check for data loss if sequences are missing before or among the messages."""
        if not len(messages) or not self._checks_loss:
            return
        seqs = messages.seqs
        last = min(int(seqs[-1]), self._span.last)
        if self._span.filters:  # matches have gaps; only the head can show a loss
            first_missing, present = self.cursor, int(seqs[0])
        else:
            expected = np.arange(self.cursor, self.cursor + len(seqs))
            moved = np.flatnonzero(seqs != expected)
            if not len(moved):
                return
            first_missing, present = int(expected[moved[0]]), int(seqs[moved[0]])
        if first_missing < present and first_missing <= last:
            # A separate connection: the next reply may be in flight on this one.
            with connection(self._settings) as link:
                self._check_loss(link, first_missing, min(present, last + 1) - 1, int(seqs[-1]))

    def _check_loss(self, link: Connection, first: int, last: int, received: int = 0) -> None:
        """Report data loss if messages ``first``..``last`` were removed from the head.

        Raises ``ProtocolError`` if the stream has no message ``received``.
        """
        if not self._checks_loss:
            return
        info = self._stream_info(link)
        if received > info.last_seq:
            raise ProtocolError(
                f"stream {info.name}: the server sent message {received}, but the last is "
                f"{info.last_seq}"
            )
        lost = lost_messages(info, first, last)
        if lost is None:
            return
        report_loss(self._settings, lost)

    def _check_recreated(self, link: Connection) -> None:
        info = self._stream_info(link)
        if info.created != self._span.created:
            raise DataLossError(recreated(info.name, self._span.created, info.created))

    def _stream_info(self, link: Connection) -> StreamInfo:
        return StreamInfo.from_json(self._request(link, f"STREAM.INFO.{self._span.stream}"))

    def _request(
        self, link: Connection, call: str, body: dict[str, int | str] | None = None
    ) -> dict[str, Any]:
        return request(link, self._settings, call, body, self._timeout.seconds())

    def _next_stored(self, link: Connection) -> int | None:
        """Return the leader's first sequence at or after the position that matches the filters."""
        call = f"STREAM.MSG.GET.{self._span.stream}"
        found = []
        for each in self._span.filters or (">",):
            body: dict[str, int | str] = {"seq": self.cursor, "next_by_subj": each}
            try:
                reply = self._request(link, call, body)
                with well_formed("stored message", reply):
                    found.append(whole(reply["message"]["seq"]))
            except ServerError as error:
                if not is_no_message(error):
                    raise
        return min(found, default=None)
