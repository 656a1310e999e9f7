"""Pulls the messages of a batch, keeps them in progress while it runs, and acknowledges them.

If there is a backlog, threads overlap this with the work of Spark: the next batch is pulled while
one runs, and a committed batch is acknowledged while the next one runs. A batch is never
acknowledged before Spark has committed it.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from nats_spark_common.connection.retry import LOST, retrying
from nats_spark_common.errors import NatsSparkError, UnsupportedConsumerError
from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.planning.ranges import NEVER

from . import error_texts
from .acks import NAK, send_acks
from .batch_limits import AHEAD_FROM, BatchLimits
from .committed import Committed
from .consumer import DurableConsumer
from .consumer_info import ConsumerInfo
from .consumer_watch import ConsumerWatch
from .deliveries import Deliveries
from .heartbeats import Heartbeats
from .pull_connection import PullConnection, PullResult

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: Resets of the consumer while one batch is pulled; after more, others must be pulling from it.
_MAX_RESETS = 5

#: Maximum messages of a pull. Its bytes are bounded as well, because payloads and headers may come
#: along, but generously: the server never ends a pull whose bound is met to the byte.
_MAX_PULL = 20_000
_SPARE = 4


@dataclass(frozen=True)
class _Acking:
    """A committed batch whose acks are being sent."""

    batch: int
    prefix: str
    deliveries: Deliveries
    sent: Future[None]


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
        self._ack_connection = PullConnection(settings, consumer.stream, consumer.name)
        self._threads = ThreadPoolExecutor(2, "nats-balanced")
        self._acks_all = settings.ack_policy == "all"
        self._ahead: Future[list[PullResult]] | None = None
        self._acking: _Acking | None = None
        self.ack_prefix = f"$JS.ACK.{consumer.stream}.{consumer.name}"
        self.heartbeats: Heartbeats | None = None
        watch.on_stream_change = self._forget

    def open(self, ack_prefix: str) -> None:
        """Start heartbeats. ``ack_prefix`` is that of the query's first position."""
        self.ack_prefix = ack_prefix
        if not self._settings.ack_none:
            self.heartbeats = Heartbeats(self._settings, self._watch.info.ack_wait)

    def close(self, last: int) -> None:
        """End heartbeats and connections.

        Args:
            last: number of the last logged batch. Messages of later ones get a ``-NAK``, so that
                the server redelivers them at once.
        """
        held = Deliveries.empty()
        try:
            self._take_ahead()
            if self.heartbeats is not None:
                prefix, held = self.heartbeats.held(after=last)
                self.heartbeats.close()
                if len(held):
                    timeout = self._settings.request_timeout
                    send_acks(self._connection.link, prefix, held, NAK, timeout, timeout)
        except NatsSparkError as error:
            _log.info(
                "-NAK of %d pulled messages failed: %s; they are redelivered after the ack wait",
                len(held),
                error,
            )
        finally:
            self._end_acks()
            self._threads.shutdown()
            self._connection.close()
            self._ack_connection.close()

    def _end_acks(self) -> None:
        acking, self._acking = self._acking, None
        error = acking.sent.exception() if acking else None
        if acking and error:
            _log.info(
                "acks of %d committed messages failed: %s; they are redelivered, and acknowledged "
                "then",
                len(acking.deliveries),
                error,
            )

    def hold(self, prefix: str, deliveries: Deliveries, batch: int, at_once: bool = False) -> None:
        """Keep messages from being redelivered, as `Heartbeats.hold` does."""
        if self.heartbeats is not None:
            self.heartbeats.hold(prefix, deliveries, batch, at_once)

    def release(self, batch: int) -> None:
        """Send no more heartbeats for the messages of batches up to a number."""
        if self.heartbeats is not None:
            self.heartbeats.release(batch)

    def _forget(self) -> None:
        """Forget all messages: the sequences of the stream belong to other ones."""
        self._take_ahead()
        if self.heartbeats is not None:
            self.heartbeats.release()

    def refresh(self) -> ConsumerInfo:
        """Return the consumer's current state. Raise as `ConsumerWatch.refresh` does."""
        info = self._watch.refresh()
        if self.heartbeats is not None:
            self.heartbeats.set_ack_wait(info.ack_wait)
        return info

    def pull(self, limit: int, batch: int, wait: bool) -> tuple[Deliveries, int]:
        """Pull up to ``limit`` new messages, and return when the newest of them was stored.

        Args:
            batch: number of the batch that they are for.
            wait: wait at the server for a first message (``nats.msg.receive.wait.millis``).
        """
        settings, info = self._settings, self._watch.info
        max_pull, pull_bytes = self._pull_limits()
        max_bytes: int | None = pull_bytes
        ahead = deque(self._take_ahead())
        expires = settings.msg_receive_wait_millis if wait and not ahead else 0.0
        parts: list[Deliveries] = []
        pulled = new = newest = resets = 0
        budget = self._limits.budget
        while ahead or (new < limit and (budget is None or new < budget)):
            count = min(limit - new, max_pull) if max_bytes else 1
            if budget is not None:
                count = min(count, budget - new)
            expires_now = min(expires, info.max_expires or expires)
            if ahead:
                result, is_last = ahead.popleft(), False
            else:
                result = self._retrying(
                    partial(self._connection.pull, count, max_bytes, expires_now), self._connection
                )
                self._hold_pulled(result, batch)
                is_last = result.drained
            if self._acks_all and self._watch.misses(result.deliveries):
                self._redeliver(resets)
                resets += 1
                ahead.clear()
                parts.clear()
                pulled = new = newest = 0
                continue
            part, stored = self._without_committed(result, first=not new)
            parts.append(part)
            pulled += len(result.deliveries)
            new += len(part)
            newest = max(newest, stored)
            expires = settings.msg_receive_wait_millis
            max_bytes = None if result.too_large else pull_bytes
            if is_last:
                break
        deliveries = Deliveries.of(parts)
        if self.heartbeats is not None:  # without those that were committed
            self.heartbeats.replace(self.ack_prefix, deliveries, batch)
        self._limits.pulled(pulled, new, time.monotonic())
        if self._limits.timed_out:
            consumer = self._consumer
            _log.warning("%s", error_texts.idle_timeout(consumer.stream, consumer.name, settings))
        return deliveries, newest

    def _redeliver(self, resets: int) -> None:
        """Reset the consumer, because it has delivered messages that did not arrive here.

        With ack policy all, the ack of a later message would cover them.
        """
        consumer = self._consumer
        if resets == _MAX_RESETS:
            raise UnsupportedConsumerError(error_texts.other_client(consumer.stream, consumer.name))
        _log.info("consumer %s has delivered messages that did not arrive", consumer.name)
        self.finish_acks()
        self._watch.reset_consumer()

    def begin_pull(self, limit: int, batch: int) -> None:
        """Begin to pull up to ``limit`` messages of the next batch, which `pull` will return."""
        if self._ahead is None:
            self._ahead = self._threads.submit(self._pull_ahead, limit, batch)

    def _pull_ahead(self, limit: int, batch: int) -> list[PullResult]:
        """Pull until the limit, or until there are no more messages or a pull fails."""
        max_pull, max_bytes = self._pull_limits()
        results: list[PullResult] = []
        while limit > 0:
            try:
                result = self._connection.pull(min(limit, max_pull), max_bytes)
            except NatsSparkError as error:
                _log.info("pulling the next batch failed: %s; it is pulled when it is due", error)
                self._connection.close()
                break
            self._hold_pulled(result, batch)
            results.append(result)
            limit -= len(result.deliveries)
            if result.drained or result.too_large:
                break
        return results

    def _take_ahead(self) -> list[PullResult]:
        """Return what was pulled ahead, once."""
        ahead, self._ahead = self._ahead, None
        return ahead.result() if ahead else []

    def _pull_limits(self) -> tuple[int, int]:
        """Return the maximum messages and bytes of a pull."""
        settings, info = self._settings, self._watch.info
        batch_size = settings.msg_fetch_batch_size or _MAX_PULL
        return (
            min(n for n in (batch_size, info.max_batch, info.max_ack_pending) if n),
            min(n for n in (settings.fetch_bytes * _SPARE, info.max_bytes) if n),
        )

    def _hold_pulled(self, result: PullResult, batch: int) -> None:
        if len(result.deliveries):
            self.hold(result.ack_prefix or self.ack_prefix, result.deliveries, batch)

    def begin_acks(self, prefix: str, deliveries: Deliveries, batch: int) -> None:
        """Begin to acknowledge a committed batch; `finish_acks` waits for the confirmation.

        A small one is confirmed on return.
        """
        self.finish_acks()
        if len(deliveries) < AHEAD_FROM or self._settings.ack_none:
            self.acknowledge(prefix, deliveries)
            self.release(batch)
            return
        sent = self._threads.submit(
            self._ack_connection.acknowledge, prefix, self._delivered(deliveries)
        )
        self._acking = _Acking(batch, prefix, deliveries, sent)

    def finish_acks(self) -> None:
        """Wait until the server has confirmed the acks of the last committed batch.

        What the thread could not do is repeated here, with retries. Raises as `acknowledge`.
        """
        acking, self._acking = self._acking, None
        if acking is None:
            return
        try:
            acking.sent.result()
        except LOST as error:
            _log.info("acks of %d messages failed: %s; repeating", len(acking.deliveries), error)
            self._ack_connection.close()
            self.acknowledge(acking.prefix, acking.deliveries)
        self.release(acking.batch)

    def acknowledge(self, prefix: str, deliveries: Deliveries) -> None:
        """Acknowledge messages and wait until the server has confirmed it."""
        if self._settings.ack_none:
            return
        self.finish_acks()  # they use the same connection
        connection = self._ack_connection
        self._retrying(
            lambda: connection.acknowledge(prefix, self._delivered(deliveries)), connection
        )

    def _delivered(self, deliveries: Deliveries) -> Deliveries:
        """Return the messages that the consumer can confirm.

        A consumer never confirms a message that it has not delivered: one that was recreated, or
        one on a server that has lost its last state. If it delivers such a message later, the
        message is found to be committed and is acknowledged then.
        """
        delivered = deliveries.select(deliveries.seqs <= self._watch.delivered)
        return delivered.select(slice(-1, None)) if self._acks_all else delivered

    def _without_committed(self, result: PullResult, first: bool) -> tuple[Deliveries, int]:
        """Return the new messages of a pull, and when the newest of them was stored.

        Messages that this query has already committed are acknowledged and left out.

        Args:
            first: whether the batch has no new messages yet.
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
        known = Deliveries.of([deliveries.select(committed)])
        if self._acks_all:  # only those before all new ones; others are acknowledged with these
            known = known.select(known.seqs < new.seqs.min(initial=NEVER if first else 0))
        if len(known):
            self.acknowledge(self.ack_prefix, known)
            _log.info("acknowledged %d redelivered messages, already committed", len(known))
        return new, int(times[~committed].max(initial=0))

    def _retrying(self, action: Callable[[], _T], connection: PullConnection) -> _T:
        """Return ``action()``; retry it while no server responds, if the consumer still exists.

        After a failure, ``connection`` is closed.
        """

        def attempt() -> _T:
            try:
                return action()
            except LOST:
                connection.close()
                self.refresh()
                raise

        return retrying(attempt, self._settings, LOST)
