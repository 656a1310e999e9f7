"""Unacknowledged publishes: core NATS, paced so that the server can keep up.

JetStream drops messages when its queues are full, and a socket is faster than a disk. So the last
message of every few thousand has a reply subject, and the sender stays a little ahead of the
replies, whatever they are. It waits a second at most, and stops pacing if there is no reply.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import ExitStack
from functools import partial

import numpy as np
import pyarrow as pa

from ..connection.connection import Connection
from ..connection.pool import connection
from ..connection.retry import retrying
from ..errors import AuthError, ConnectError, TimeoutExpiredError
from ..options.settings import NatsSettings
from ..protocol.operations import PING, PONG_SIGNAL, Msg, parse
from .encode import encode
from .publish_errors import EXPECTED_ANOTHER_STREAM, publish_error
from .rows import Rows, check_sizes

_log = logging.getLogger(__name__)

#: Rows per reply. The server queues up to 10,000 messages of a stream (max_buffered_msgs), from
#: all its publishers.
_PACE_ROWS = 2_000
#: Maximum unanswered requests.
_AHEAD = 2
#: How long to wait for a reply, in seconds.
_ANSWER_SECONDS = 1.0


class BestEffort:
    """Publishes a task's rows without acks, but paced; use it in ``with``."""

    def __init__(self, settings: NatsSettings) -> None:
        self._settings = settings
        self._links = ExitStack()
        self._link: Connection | None = None
        self._unanswered = 0
        self._paced = True
        self._subject = ""  # of the last message with a reply subject

    def __enter__(self) -> BestEffort:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        self._drop(broken=kind is not None)

    def publish(self, rows: Rows) -> None:
        """Send the rows; rows in flight may be lost with a connection.

        Raises:
            PublishError: a row exceeds the server's ``max_payload``, or a stream other than the
                expected one has the subjects.
            AuthError: the user may not publish to a row's subject.
            ConnectError: no server could be reached in all retries.
        """
        for chunk in rows.chunks(max_rows=_PACE_ROWS):
            retrying(partial(self._send, chunk), self._settings, (ConnectError,))

    def finish(self) -> None:
        """Wait until a server has read all rows. Raises ``AuthError``, as `publish`."""
        if self._link is None:
            return
        try:
            self._link.send(PING)
            deadline = time.monotonic() + self._settings.request_timeout
            while not self._receive(self._link, deadline):
                pass
            self._keep_pace(self._link, 0)
        except AuthError:
            raise
        except (ConnectError, TimeoutExpiredError) as error:
            self._drop(broken=True)
            _log.warning("waiting for the server failed: %s; messages in flight may be lost", error)

    def _send(self, rows: Rows) -> None:
        try:
            link = self._connected()
            check_sizes(rows, link.info.max_payload)
            self._subject = str(rows.subjects[-1])
            frames = encode(rows, self._replies(link, len(rows)))
            link.send(frames.part(0, len(rows)))
            self._receive(link, None)
            self._keep_pace(link, _AHEAD - 1)
        except ConnectError:
            self._drop(broken=True)
            raise

    def _replies(self, link: Connection, count: int) -> pa.StringArray | None:
        """Return the reply subjects of the rows; only the last row has one."""
        if not self._paced:
            return None
        self._unanswered += 1
        last = f"{link.inbox}.{link.reserve(1)} "
        return pa.array(np.where(np.arange(count) == count - 1, last, ""), pa.string())

    def _keep_pace(self, link: Connection, ahead: int) -> None:
        """Wait until no more than ``ahead`` replies are outstanding."""
        deadline = time.monotonic() + _ANSWER_SECONDS
        try:
            while self._paced and self._unanswered > ahead:
                self._receive(link, deadline)
        except TimeoutExpiredError:
            self._paced = False

    def _receive(self, link: Connection, deadline: float | None) -> bool:
        """Process what the server sends; return whether it has answered a ping."""
        events, consumed = parse(link.arrived(deadline, "the end of the publishes"))
        link.consume(consumed)
        for event in events:
            if isinstance(event, Msg):
                self._unanswered = max(0, self._unanswered - 1)
                self._check_stream(event)
            else:
                link.handle(event)
        return PONG_SIGNAL in events

    def _check_stream(self, answer: Msg) -> None:
        if b'"err_code":%d' % EXPECTED_ANOTHER_STREAM in answer.payload:
            raise publish_error(self._subject, json.loads(answer.payload))

    def _connected(self) -> Connection:
        if self._link is None:
            self._link = self._links.enter_context(connection(self._settings))
            self._unanswered = 0
        return self._link

    def _drop(self, *, broken: bool) -> None:
        if self._link is not None:
            self._link.busy = broken
        self._links.close()
        self._link = None
