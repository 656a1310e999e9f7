"""Heartbeats for the messages of a running batch, so that the server does not redeliver them."""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from typing import NamedTuple

from nats_spark_common.connection.connect import connect
from nats_spark_common.connection.connection import Connection
from nats_spark_common.connection.outage import Outage
from nats_spark_common.errors import NatsSparkError, TimeoutExpiredError
from nats_spark_common.options.settings import NatsSettings

from .acks import IN_PROGRESS, send_acks
from .deliveries import Deliveries

_log = logging.getLogger(__name__)

#: Heartbeats in each ack wait.
_BEATS = 3

#: Minimum seconds to wait for the confirmation of a heartbeat.
_MIN_TIMEOUT = 0.5


class _Held(NamedTuple):
    """Messages of a batch that were delivered at ``since`` or later (of `time.monotonic`)."""

    batch: int
    since: float
    deliveries: Deliveries


class Heartbeats:
    """A thread that sends ``+WPI`` for held messages, three times in each ack wait.

    Messages that were delivered within the last half of an interval can wait for the next round, so
    batches that take moments need none. The thread has a connection of its own, and the server
    confirms each round.

    Attributes:
        interval: seconds between two heartbeats.
    """

    def __init__(self, settings: NatsSettings, ack_wait: float) -> None:
        """Start the thread.

        Args:
            ack_wait: seconds; the shortest wait of the consumer's backoff, if it has one.
        """
        self._settings = settings
        self.interval = ack_wait / _BEATS
        self._held: list[_Held] = []
        self._prefix = ""
        self._changed = threading.Condition()
        self._due = False  # whether to send before the interval is over
        self._closed = False
        self._link: Connection | None = None
        self._outage = Outage(settings.connection_name)
        self._thread = threading.Thread(target=self._run, name="nats-heartbeats", daemon=True)
        self._thread.start()

    def set_ack_wait(self, ack_wait: float) -> None:
        """Adapt the interval to the consumer's ack wait, in seconds."""
        with self._changed:
            self.interval = ack_wait / _BEATS

    def hold(self, prefix: str, deliveries: Deliveries, batch: int, at_once: bool = False) -> None:
        """Keep messages from being redelivered, until `release`.

        Args:
            prefix: start of their ack subjects.
            batch: number of the batch that they belong to.
            at_once: send the first heartbeat now, because the messages were not just delivered.
        """
        with self._changed:
            self._prefix = prefix or self._prefix
            self._held.append(_Held(batch, time.monotonic(), deliveries))
            self._due = self._due or at_once
            self._changed.notify()

    def replace(self, prefix: str, deliveries: Deliveries, batch: int) -> None:
        """Hold these messages for a batch, instead of those that were held for it."""
        with self._changed:
            self._prefix = prefix or self._prefix
            since = min((e.since for e in self._held if e.batch == batch), default=time.monotonic())
            self._held = [each for each in self._held if each.batch != batch]
            self._held.append(_Held(batch, since, deliveries))

    def held(self, after: int = -1, before: float = math.inf) -> tuple[str, Deliveries]:
        """Return the start of the ack subjects, and the held messages.

        Args:
            after: only those of batches after this number.
            before: only those delivered before this time, of `time.monotonic`.
        """
        with self._changed:
            found = [e.deliveries for e in self._held if e.batch > after and e.since < before]
            return self._prefix, Deliveries.of(found)

    def release(self, batch: int = sys.maxsize) -> None:
        """Send no more heartbeats for the messages of batches up to a number."""
        with self._changed:
            self._held = [each for each in self._held if each.batch > batch]

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(5.0)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._due or self._closed, self.interval)
                if self._closed:
                    break
                settled = time.monotonic() - self.interval / 2
                before, self._due = math.inf if self._due else settled, False
            prefix, held = self.held(before=before)
            if len(held):
                self._beat(prefix, held)
        self._disconnect()

    def _beat(self, prefix: str, held: Deliveries) -> None:
        """Send a heartbeat for each message; retry once over a new connection."""
        try:
            try:
                server = self._send(prefix, held)
            except NatsSparkError as first:
                _log.info("heartbeat for %d messages failed: %s; retrying now", len(held), first)
                server = self._send(prefix, held)
            self._outage.over(server)
        except NatsSparkError as error:
            self._outage.failed(
                f"{error}; heartbeats for {len(held)} messages fail, and the server may deliver "
                "these messages to other members meanwhile"
            )
        except Exception:  # a running batch must keep its heartbeats, whatever fails
            _log.exception(
                "heartbeat for %d messages failed; retrying in %.1f s", len(held), self.interval
            )

    def _send(self, prefix: str, held: Deliveries) -> str:
        """Send a heartbeat for each message; return the URL of the server that confirmed them."""
        try:
            if self._link is None or not self._link.usable():
                self._disconnect()
                self._link = connect(self._short_timeouts())
            # Without a confirmation, heartbeats could be lost in a connection to a dead server, and
            # if its buffers are full, sending them waits.
            timeout = min(self._settings.request_timeout, max(self.interval / _BEATS, _MIN_TIMEOUT))
            send_acks(self._link, prefix, held, IN_PROGRESS, timeout, timeout)
            return self._link.server.url
        except BaseException as error:
            if self._link is not None and isinstance(error, TimeoutExpiredError):
                self._link.give_up()
            self._disconnect()
            raise

    def _short_timeouts(self) -> NatsSettings:
        """Return the settings with a connect timeout that ends before the next heartbeat."""
        timeout = min(self._settings.connect_timeout, max(self.interval, _MIN_TIMEOUT))
        return self._settings.model_copy(update={"connect_timeout": timeout})

    def _disconnect(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
