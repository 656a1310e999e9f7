"""Publishes that nobody acknowledges: core NATS, paced so that the server can keep up.

JetStream drops what its queues cannot hold, and a socket is faster than a disk. So the last message
of every few thousand asks for an answer, whatever that is, and the sender stays a little ahead of
the answers. It never waits long, and not at all where nobody answers.
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
from .publish_errors import EXPECTED_ANOTHER_STREAM, refusal
from .rows import Rows, check_sizes

_log = logging.getLogger(__name__)

#: The server queues up to 10,000 messages of a stream (max_buffered_msgs), for all its publishers.
_PACE_ROWS = 2_000
_AHEAD = 2
_PATIENCE = 1.0


class BestEffort:
    """Publishes a task's rows and knows only that a server has read them; use it in ``with``."""

    def __init__(self, settings: NatsSettings) -> None:
        self._settings = settings
        self._links = ExitStack()
        self._link: Connection | None = None
        self._unanswered = 0
        self._paces = True
        self._subject = ""  # of the last message that asks for an answer

    def __enter__(self) -> BestEffort:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        self._drop(broken=kind is not None)

    def publish(self, rows: Rows) -> None:
        """Send the rows; what is under way when a connection is lost may be lost with it.

        Raises:
            PublishError: a row is larger than the server takes, or another stream than the expected
                one has the subjects.
            AuthError: the user may not publish to a row's subject.
            ConnectError: no server could be reached, however often it was tried.
        """
        for piece in rows.pieces(most_rows=_PACE_ROWS):
            retrying(partial(self._send, piece), self._settings, (ConnectError,))

    def finish(self) -> None:
        """Wait until a server has read everything. Raises ``AuthError``, as `publish`."""
        if self._link is None:
            return
        try:
            self._link.send(PING)
            deadline = time.monotonic() + self._settings.request_timeout
            while not self._listen(self._link, deadline):
                pass
            self._keep_pace(self._link, 0)
        except AuthError:
            raise
        except (ConnectError, TimeoutExpiredError) as error:
            self._drop(broken=True)
            _log.warning("messages that were under way may be lost: %s", error)

    def _send(self, rows: Rows) -> None:
        try:
            link = self._connected()
            check_sizes(rows, link.info.max_payload)
            self._subject = str(rows.subjects[-1])
            frames = encode(rows, self._replies(link, len(rows)))
            link.send(frames.part(0, len(rows)))
            self._listen(link, None)
            self._keep_pace(link, _AHEAD - 1)
        except ConnectError:
            self._drop(broken=True)
            raise

    def _replies(self, link: Connection, count: int) -> pa.StringArray | None:
        """Only the last message asks for an answer."""
        if not self._paces:
            return None
        self._unanswered += 1
        last = f"{link.inbox}.{link.reserve(1)} "
        return pa.array(np.where(np.arange(count) == count - 1, last, ""), pa.string())

    def _keep_pace(self, link: Connection, ahead: int) -> None:
        """Wait until no more than so many answers are outstanding."""
        deadline = time.monotonic() + _PATIENCE
        try:
            while self._paces and self._unanswered > ahead:
                self._listen(link, deadline)
        except TimeoutExpiredError:
            self._paces = False

    def _listen(self, link: Connection, deadline: float | None) -> bool:
        """Deal with what the server says; whether it has answered a ping."""
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
            raise refusal(self._subject, json.loads(answer.payload))

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
