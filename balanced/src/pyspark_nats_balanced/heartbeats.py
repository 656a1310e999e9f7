"""Tells the server, while a batch runs, that its messages are still being worked on."""

from __future__ import annotations

import logging
import threading

from nats_spark_common.connection.connect import connect
from nats_spark_common.connection.connection import Connection
from nats_spark_common.errors import NatsSparkError, TimeoutExpiredError
from nats_spark_common.options.settings import NatsSettings

from .acks import IN_PROGRESS, confirm
from .deliveries import Deliveries

_log = logging.getLogger(__name__)

#: Heartbeats in the time after which the server would deliver a message again.
_BEATS = 3

#: Seconds that a server is given to confirm a heartbeat, at least.
_LEAST_WAIT = 0.5


class Heartbeats:
    """A thread that sends ``+WPI`` for held messages, three times in each ack wait.

    It has a connection of its own, and the server confirms each round.

    Attributes:
        interval: seconds between two heartbeats.
    """

    def __init__(self, settings: NatsSettings, ack_wait: float) -> None:
        """``ack_wait`` is in seconds; the shortest of the consumer's backoff, if it has one."""
        self._settings = settings
        self.interval = ack_wait / _BEATS
        self._held: list[Deliveries] = []
        self._prefix = ""
        self._changed = threading.Condition()
        self._now = False
        self._ended = False
        self._link: Connection | None = None
        self._also: tuple[str, ...] = ()
        self._thread = threading.Thread(target=self._run, name="nats-keeper", daemon=True)
        self._thread.start()

    def pace(self, ack_wait: float) -> None:
        """The consumer's ack wait is (now) this many seconds."""
        with self._changed:
            self.interval = ack_wait / _BEATS

    def hold(self, prefix: str, deliveries: Deliveries, at_once: bool = False) -> None:
        """Keep messages from being delivered again, until `release`.

        Args:
            prefix: what the subjects of their acks begin with.
            at_once: send the first heartbeat now; else they were delivered just now.
        """
        with self._changed:
            self._prefix = prefix or self._prefix
            self._held.append(deliveries)
            self._now = self._now or at_once
            self._changed.notify()

    def held(self) -> tuple[str, Deliveries]:
        """The held messages, and what the subjects of their acks begin with."""
        with self._changed:
            return self._prefix, Deliveries.of(self._held)

    def release(self) -> None:
        """Hold nothing any more."""
        with self._changed:
            self._held = []

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join(5.0)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._now or self._ended, self.interval)
                if self._ended:
                    break
                self._now = False
            prefix, held = self.held()
            if len(held):
                self._beat(prefix, held)
        self._drop()

    def _beat(self, prefix: str, held: Deliveries) -> None:
        """Tell the server, over a new connection if the present one has gone silent."""
        try:
            self._tell(prefix, held)
        except NatsSparkError as error:
            _log.warning("%d messages are in work; telling the server again: %s", len(held), error)
            try:
                self._tell(prefix, held)
            except NatsSparkError as again:
                _log.warning(
                    "%d messages are in work, of which the server does not know: %s; they "
                    "may be delivered to others",
                    len(held),
                    again,
                )
        except Exception:  # nothing may end the heartbeats of a batch that goes on
            _log.exception("%d messages are in work, but the server was not told", len(held))

    def _tell(self, prefix: str, held: Deliveries) -> None:
        try:
            if self._link is None or not self._link.usable():
                self._drop()
                self._link = connect(self._hasty(), self._also)
                self._also = self._link.info.connect_urls
            # Unconfirmed, they could vanish in a connection whose other end is gone.
            timeout = min(self._settings.request_timeout, max(self.interval / _BEATS, _LEAST_WAIT))
            confirm(self._link, prefix, held, IN_PROGRESS, timeout)
        except BaseException as error:
            if self._link is not None and isinstance(error, TimeoutExpiredError):
                self._link.give_up()
            self._drop()
            raise

    def _hasty(self) -> NatsSettings:
        """The settings, with less patience for a server than there is until the next beat."""
        patience = min(self._settings.connect_timeout, max(self.interval, _LEAST_WAIT))
        return self._settings.model_copy(update={"connect_timeout": patience})

    def _drop(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
