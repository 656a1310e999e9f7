"""Pulls the messages of a batch, keeps them in progress while it runs, and acknowledges them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np

from nats_spark_common.connection.retry import LOST, retrying
from nats_spark_common.errors import NatsSparkError
from nats_spark_common.options.settings import NatsSettings

from . import error_texts
from .acks import NAK, send_acks
from .batch_limits import BatchLimits
from .committed import Committed
from .consumer import DurableConsumer
from .consumer_info import ConsumerInfo
from .consumer_watch import ConsumerWatch
from .deliveries import Deliveries
from .heartbeats import Heartbeats
from .pull_connection import PullConnection, PullResult

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: Maximum messages of a pull. Its bytes are bounded as well, because payloads and headers may come
#: along, but generously: the server never ends a pull whose bound is met to the byte.
_MAX_PULL = 20_000
_SPARE = 4


class BatchPuller:
    """Pulls and acknowledges messages of the consumer, and retries while no server responds.

    Attributes:
        ack_prefix: start of the messages' ack subjects, without the last dot.
        heartbeats: keeps pulled messages in progress; None before `open`, and without acks.
    """

    def __init__(
        self,
        settings: NatsSettings,
        consumer: DurableConsumer,
        watch: ConsumerWatch,
        committed: Committed,
        limits: BatchLimits,
    ) -> None:
        self._settings = settings
        self._consumer = consumer
        self._watch = watch
        self._committed = committed
        self._limits = limits
        self._connection = PullConnection(settings, consumer.stream, consumer.name)
        self.ack_prefix = f"$JS.ACK.{consumer.stream}.{consumer.name}"
        self.heartbeats: Heartbeats | None = None
        watch.on_stream_change = self.release

    def open(self, ack_prefix: str) -> None:
        """Start heartbeats. ``ack_prefix`` is that of the query's first position."""
        self.ack_prefix = ack_prefix
        if not self._settings.ack_none:
            self.heartbeats = Heartbeats(self._settings, self._watch.info.ack_wait)

    def close(self, give_back: bool) -> None:
        """End heartbeats and the connection.

        Args:
            give_back: send a ``-NAK`` for held messages, so that they are redelivered at once.
        """
        try:
            if self.heartbeats is not None:
                prefix, held = self.heartbeats.held()
                self.heartbeats.close()
                if len(held) and give_back:
                    timeout = self._settings.request_timeout
                    send_acks(self._connection.link, prefix, held, NAK, timeout)
        except NatsSparkError as error:
            _log.info(
                "-NAK of %d pulled messages failed: %s; they are redelivered after the ack wait",
                len(held),
                error,
            )
        finally:
            self._connection.close()

    def hold(self, prefix: str, deliveries: Deliveries, at_once: bool = False) -> None:
        """Keep messages from being redelivered, as `Heartbeats.hold` does."""
        if self.heartbeats is not None:
            self.heartbeats.hold(prefix, deliveries, at_once)

    def release(self) -> None:
        """Send no more heartbeats for the held messages."""
        if self.heartbeats is not None:
            self.heartbeats.release()

    def refresh(self) -> ConsumerInfo:
        """Return the consumer's current state. Raise as `ConsumerWatch.refresh` does."""
        info = self._watch.refresh()
        if self.heartbeats is not None:
            self.heartbeats.set_ack_wait(info.ack_wait)
        return info

    def pull(self, limit: int, wait: bool) -> tuple[Deliveries, int]:
        """Pull up to ``limit`` new messages, and return when the newest of them was stored.

        Args:
            wait: wait at the server for a first message (``nats.msg.receive.wait.millis``).
        """
        settings, info = self._settings, self._watch.info
        batch_size = settings.msg_fetch_batch_size or _MAX_PULL
        max_pull = min(n for n in (batch_size, info.max_batch, info.max_ack_pending) if n)
        pull_bytes = min(n for n in (settings.fetch_bytes * _SPARE, info.max_bytes) if n)
        max_bytes: int | None = pull_bytes
        expires = settings.msg_receive_wait_millis if wait else 0.0
        parts: list[Deliveries] = []
        pulled = new = newest = 0
        budget = self._limits.budget
        while new < limit and (budget is None or pulled < budget):
            count = min(limit - new, max_pull) if max_bytes else 1
            if budget is not None:
                count = min(count, budget - pulled)
            expires_now = min(expires, info.max_expires or expires)
            result = self._retrying(partial(self._connection.pull, count, max_bytes, expires_now))
            part, stored = self._without_committed(result)
            parts.append(part)
            pulled += len(result.deliveries)
            new += len(part)
            newest = max(newest, stored)
            expires = settings.msg_receive_wait_millis
            max_bytes = None if result.too_large else pull_bytes
            if result.drained:
                break
        self._limits.pulled(pulled, new, time.monotonic())
        if self._limits.timed_out:
            consumer = self._consumer
            _log.warning("%s", error_texts.idle_timeout(consumer.stream, consumer.name, settings))
        return Deliveries.of(parts), newest

    def acknowledge(self, prefix: str, deliveries: Deliveries) -> None:
        """Acknowledge messages and wait until the server has confirmed it."""
        if self._settings.ack_none:
            return

        def send() -> None:
            # A consumer never confirms a message that it has not delivered: one that was recreated,
            # or one on a server that has lost its last state. If it delivers such a message later,
            # the message is found to be committed and is acknowledged then.
            delivered = deliveries.select(deliveries.seqs <= self._watch.delivered)
            self._connection.acknowledge(prefix, delivered)

        self._retrying(send)

    def _without_committed(self, result: PullResult) -> tuple[Deliveries, int]:
        """Return the new messages of a pull, and when the newest of them was stored.

        Messages that this query has already committed are acknowledged and left out.
        """
        deliveries, times = result.deliveries, result.times
        if not len(deliveries):
            return deliveries, 0
        if self._watch.has_restarted(deliveries):
            self.refresh()
        self._watch.advance(deliveries)
        self.ack_prefix = result.ack_prefix or self.ack_prefix
        committed = self._committed.contains(deliveries)
        replaced = committed & self._committed.is_newer(times)
        if replaced.any():
            self._watch.report_replaced_message(int(deliveries.seqs[np.argmax(replaced)]))
            committed[:] = False
        new = deliveries.select(~committed)
        if len(new):
            self.hold(self.ack_prefix, new)
        if committed.any():
            self.acknowledge(self.ack_prefix, deliveries.select(committed))
            _log.info("acknowledged %d redelivered messages, already committed", committed.sum())
        return new, int(times[~committed].max(initial=0))

    def _retrying(self, action: Callable[[], _T]) -> _T:
        """Return ``action()``; retry it while no server responds, if the consumer still exists."""

        def attempt() -> _T:
            try:
                return action()
            except LOST:
                self._connection.close()
                self.refresh()
                raise

        return retrying(attempt, self._settings, LOST)
