"""A running query: what it has pulled, what Spark has committed, what the server knows of it.

Spark calls ``commit`` for a batch only when the next one has data. But it asks for the next batch
with the position where the last one ended, once that one is committed: so a start that has reached
a batch is the sign to acknowledge it, and `settle` is called with either, whichever comes first.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

from nats_spark_common.admission import Pace, worth_a_batch
from nats_spark_common.errors import (
    ConsumerNotFoundError,
    DataLossError,
    NatsSparkError,
    OptionError,
)
from nats_spark_common.jetstream import StreamInfo
from nats_spark_common.loss import recreated
from nats_spark_common.messages import Int64s
from nats_spark_common.retry import LOST, retrying
from nats_spark_common.settings import NatsSettings

from .acks import DONE, NOT_NOW, confirm
from .deliveries import Deliveries
from .durable import ConsumerInfo, Durable
from .fetch import Source
from .intervals import Intervals
from .keeper import Keeper
from .offset import Offset
from .partition import Share
from .pull import Pulled, Puller

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: Intervals of committed messages that are remembered while the query runs.
_REMEMBERED = 1_000_000

#: Messages of a pull. Its bytes are bounded as well, for the sake of payloads and headers that come
#: along, but generously: a pull whose bound is met to the byte is never ended by the server.
_AT_ONCE = 20_000
_SPARE = 4

_DIRECT_VERSION = (2, 9)


class Query:
    """The driver's side of a query; close it at its end.

    Attributes:
        available_now: end with what is there when the query starts.
        asleep: ``nats.idle.timeout.minutes`` have passed without a message.
    """

    def __init__(self, settings: NatsSettings) -> None:
        """Connect. Raises as `Durable` does."""
        self._settings = settings
        self._durable = Durable(settings)
        self._puller = Puller(settings, self._durable.stream, self._durable.name)
        target = settings.target_batch_duration
        self._pace = Pace(target) if target else None
        self._keeper: Keeper | None = None
        self._info: ConsumerInfo | None = None
        self._batch: Offset | None = None  # offered to Spark, and not committed yet
        self._planned = False  # ... and in the checkpoint
        self._settled = 0
        self._done = Intervals.empty()
        self._ack_prefix = f"$JS.ACK.{self._durable.stream}.{self._durable.name}"
        self._created = ""
        self._reached = 0  # highest sequence that the consumer has delivered
        self._left: int | None = None
        self._last_batch = self._last_message = time.monotonic()
        self.available_now = False
        self.asleep = False

    def close(self) -> None:
        """Give back what was pulled and is in no checkpoint, and end the connections."""
        if self._keeper is not None:
            prefix, held = self._keeper.held()
            self._keeper.close()
            if len(held) and not self._planned:
                timeout = self._settings.request_timeout
                try:
                    confirm(self._puller.link, prefix, held, NOT_NOW, timeout)
                except NatsSparkError as error:
                    _log.info("pulled messages come again after the ack wait: %s", error)
        self._puller.close()
        self._durable.close()

    def begin(self) -> Offset:
        """The start of a query without a checkpoint; makes stream and consumer if need be."""
        stream, _ = self._durable.ensure()
        return Offset(self._durable.stream, stream.created, self._durable.name, self._ack_prefix)

    def next(self, position: Offset, unlimited: bool) -> Offset | None:
        """The batch after ``position``, which Spark has committed; None where there is none.

        Raises:
            ConsumerNotFoundError: the consumer was deleted.
            NatsSparkError: the server cannot be reached, however often it was tried.
        """
        opening = self._info is None
        self.settle(position)
        if self._batch is not None:
            return self._batch  # asked again before it ran
        if opening and self._settings.reset_on_start:
            self._durable.reset()
        most = self._admitted(unlimited)
        deliveries = self._take(most, unlimited) if most else Deliveries.empty()
        if not len(deliveries):
            return None
        now = time.monotonic()
        self._last_batch = self._last_message = now
        if self._pace:
            self._pace.begin(len(deliveries), now)
        self._planned = False
        self._batch = Offset(
            self._durable.stream,
            self._created,
            self._durable.name,
            self._ack_prefix,
            position.batch + 1,
            deliveries,
            self._done,
        )
        return self._batch

    def shares(self, end: Offset) -> list[Share]:
        """The tasks of the batch that ends at ``end``; of a former run's as well.

        Raises ``DataLossError`` where the stream was recreated, with ``nats.fail.on.data.loss``.
        """
        self._open(end)
        if not len(end.deliveries):
            return []  # Spark runs a first batch from the start to itself
        replayed = self._batch is None
        self._batch, self._planned = end, True
        if replayed and self._keeper is not None:
            self._keeper.hold(end.ack_prefix, end.deliveries, at_once=True)
        stream = self._durable.stream_info()
        if stream.created != end.created:
            self._tell(recreated(end.stream, end.created, stream.created))
            return []
        source = self._source(stream, end, replayed)
        settings = self._settings
        count = len(end.deliveries)
        tasks = settings.num_listeners
        if tasks is None:
            tasks = settings.partitions or os.cpu_count() or 1
            tasks = max(1, min(tasks, count // settings.min_range))
        return [Share(source, end.consumer, part) for part in end.deliveries.split(tasks)]

    def settle(self, position: Offset) -> None:
        """Spark has committed all up to ``position``: acknowledge what is not acknowledged yet."""
        self._open(position)
        if position.batch <= self._settled:
            return
        if position.created == self._created:
            self._acknowledge(position.ack_prefix, position.deliveries)
            committed = Intervals.of(position.deliveries.seqs)
            self._done = self._done.union(committed).newest(_REMEMBERED)
        if self._keeper is not None:
            self._keeper.release()
        self._batch = None
        self._planned = False
        self._settled = position.batch
        if self._pace:
            self._pace.finish(time.monotonic())

    def report(self) -> dict[str, Any] | None:
        """The state of the consumer, for the query's progress."""
        info = self._refresh()
        return {
            "stream": self._durable.stream,
            "consumer": info.name,
            "pending": info.pending,
            "ackPending": info.ack_pending,
            "redelivered": info.redelivered,
            "ackFloor": info.floor,
        }

    def _open(self, position: Offset) -> ConsumerInfo:
        """The consumer; the first time, it is held against the position."""
        if self._info is not None:
            return self._info
        settings, durable = self._settings, self._durable
        if (position.stream, position.consumer) != (durable.stream, durable.name):
            raise OptionError(
                f"checkpointLocation: the checkpoint belongs to consumer {position.consumer!r} of "
                f"stream {position.stream!r}, not to {durable.name!r} of {durable.stream!r}: set "
                "nats.durable.name and nats.stream.name back, or use a new checkpoint"
            )
        if position.batch:
            try:
                stream = durable.stream_info()
                info = durable.info(stream)
            except ConsumerNotFoundError:
                self._tell_gone(position.deliveries.seqs)
                stream, info = durable.ensure()
        else:
            stream, info = durable.ensure()
        if stream.created == position.created:
            self._done = position.done
        else:
            self._tell(recreated(position.stream, position.created, stream.created))
        self._created = stream.created
        self._ack_prefix = position.ack_prefix
        self._info, self._reached = info, info.delivered
        if not settings.ack_none:
            self._keeper = Keeper(settings, info.redelivers_after)
        return info

    def _admitted(self, unlimited: bool) -> int:
        """How many messages the next batch may have."""
        settings = self._settings
        if unlimited or (self.available_now and self._left is None):
            info = self._refresh()
            self._left = info.pending + info.ack_pending
        if unlimited:
            return self._left or 0
        most = settings.max_messages_per_trigger or 1
        if self._pace:
            most = min(most, self._pace.limit)
        if settings.max_bytes_per_trigger:
            size = self._durable.stream_info().average_size
            most = min(most, max(1, int(settings.max_bytes_per_trigger / size)) if size else most)
        if self._left is not None:
            return min(most, self._left)
        now = time.monotonic()
        idle = settings.idle_timeout_minutes
        if idle and now - self._last_message > idle:
            if not self.asleep:
                _log.warning(
                    "no message for nats.idle.timeout.minutes (%g s): consumer %s of stream %s is "
                    "not asked any more until the query starts anew",
                    idle,
                    self._durable.name,
                    self._durable.stream,
                )
            self.asleep = True
            time.sleep(settings.poll_interval)
            return 0
        if settings.min_messages_per_trigger:
            info = self._refresh()
            least, delay = settings.min_messages_per_trigger, settings.max_trigger_delay
            count = info.pending + info.ack_pending
            if not worth_a_batch(count, least, now - self._last_batch, delay):
                time.sleep(settings.poll_interval)
                return 0
        return most

    def _take(self, most: int, unlimited: bool) -> Deliveries:
        """Pull up to ``most`` messages; waits a little where there is none."""
        settings, info = self._settings, self._info
        assert info is not None
        asked = settings.msg_fetch_batch_size or _AT_ONCE
        at_once = min(n for n in (asked, info.max_batch, info.max_ack_pending) if n)
        if info.max_ack_pending:
            most = min(most, info.max_ack_pending)
        most_bytes = min(n for n in (settings.fetch_bytes * _SPARE, info.max_bytes) if n)
        max_bytes: int | None = most_bytes
        wait = settings.msg_receive_wait_millis
        if self._left is None:
            wait = settings.poll_interval
        parts: list[Deliveries] = []
        got = 0
        while got < most:
            count = min(most - got, at_once) if max_bytes else 1
            pulled = self._pull(count, max_bytes, wait)
            parts.append(self._sift(pulled))
            got += len(pulled.deliveries)
            wait = settings.msg_receive_wait_millis
            max_bytes = None if pulled.too_large else most_bytes
            # The wait for a first message ends with one, and others may stand behind it.
            if pulled.drained and not (got == 1 and len(parts) == 1):
                break
        if self._left is not None:
            self._left = max(0, self._left - got) if got else 0
        return Deliveries.of(parts)

    def _sift(self, pulled: Pulled) -> Deliveries:
        """What is new of what was pulled; what this query has committed is acknowledged again."""
        deliveries = pulled.deliveries
        self._ack_prefix = pulled.ack_prefix or self._ack_prefix
        if len(deliveries):
            self._reached = max(self._reached, int(deliveries.seqs[-1]))
        again = self._done.contains(deliveries.seqs)
        fresh = deliveries.select(~again)
        if self._keeper is not None and len(fresh):
            self._keeper.hold(self._ack_prefix, fresh)
        if again.any():
            self._acknowledge(self._ack_prefix, deliveries.select(again))
            _log.info("%d committed messages came again and are acknowledged", again.sum())
        return fresh

    def _pull(self, count: int, max_bytes: int | None, wait: float) -> Pulled:
        return self._asking(lambda: self._puller.pull(count, max_bytes, wait))

    def _acknowledge(self, prefix: str, deliveries: Deliveries) -> None:
        if self._settings.ack_none:
            return

        def send() -> None:
            # A consumer never confirms what it has not delivered: a new one of its name, or that
            # of a server that came back without its last state. What it delivers yet, though
            # committed, is acknowledged then.
            wanted = deliveries.select(deliveries.seqs <= self._reached)
            timeout = self._settings.request_timeout
            confirm(self._puller.link, prefix, wanted, DONE, timeout)

        self._asking(send)

    def _asking(self, action: Callable[[], _T]) -> _T:
        """Do it, again while the server is away; but not if the consumer is gone."""

        def attempt() -> _T:
            try:
                return action()
            except LOST:
                self._puller.close()
                self._refresh()
                raise

        return retrying(attempt, self._settings, LOST)

    def _refresh(self) -> ConsumerInfo:
        try:
            self._info = self._durable.info()
        except ConsumerNotFoundError:
            self._tell_gone(self._done.ends)
            _, self._info = self._durable.ensure()
        self._reached = self._info.delivered
        return self._info

    def _source(self, stream: StreamInfo, end: Offset, replayed: bool) -> Source:
        version = self._durable.server_version
        info = self._open(end)
        # On a log nothing leaves by an ack. Elsewhere, if the consumer went on while we were down,
        # others may have taken what we had not acknowledged.
        elsewhere = (
            replayed
            and stream.retention != "limits"
            and info.deliveries != int(end.deliveries.consumer_seqs.max(initial=0))
        )
        return Source(
            stream.name,
            stream.created,
            stream.allow_direct and version >= _DIRECT_VERSION,
            stream.reads_direct(version),
            elsewhere,
        )

    def _tell_gone(self, committed: Int64s) -> None:
        last = f" (its last message was {int(committed[-1])})" if len(committed) else ""
        self._tell(
            f"consumer {self._durable.name!r} of stream {self._durable.stream!r} no longer exists, "
            f"and the position of this query with it{last}: create it again where it should go "
            "on, start a new checkpoint, or set nats.fail.on.data.loss=false to have it created "
            "anew, from nats.start; what this checkpoint remembers is then not emitted again",
            ConsumerNotFoundError,
        )

    def _tell(self, words: str, kind: type[NatsSparkError] = DataLossError) -> None:
        """Fail, or say so and go on, as ``nats.fail.on.data.loss`` has it."""
        if self._settings.fail_on_data_loss:
            raise kind(words)
        _log.warning("%s", words)
