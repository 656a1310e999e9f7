"""A running query in the driver: plans batches, and acknowledges them when Spark has committed.

Spark calls ``commit`` for a batch only when the next one has data. But it asks for the next batch
with the end of the last one as its start, after that one is committed. So a start that has reached
a batch is the sign to acknowledge it. `acknowledge_committed` is called in both cases, and acts on
the first.
"""

from __future__ import annotations

import time
from typing import Any

from nats_spark_common.connection import servers
from nats_spark_common.jetstream.api import DIRECT_VERSION, StreamInfo
from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.planning import way

from .batch_limits import BatchLimits
from .batch_puller import BatchPuller
from .committed import Committed
from .consumer import DurableConsumer
from .consumer_watch import ConsumerWatch
from .offset import Offset
from .read_messages import Source
from .share import Share


class Query:
    """The driver's side of a query; close it at its end."""

    def __init__(self, settings: NatsSettings) -> None:
        """Connect. Raise as `DurableConsumer` does."""
        self._settings = settings
        self._consumer = DurableConsumer(settings)
        self.limits = BatchLimits(settings, time.monotonic())
        self._committed = Committed()
        self._watch = ConsumerWatch(settings, self._consumer, self._committed)
        self.puller = BatchPuller(
            settings, self._consumer, self._watch, self._committed, self.limits
        )
        self._committed_batch = 0  # number of the last batch that was acknowledged
        self._batch: Offset | None = None  # offered to Spark and not committed yet
        self._logged = False  # whether the batch is in the checkpoint
        self._replayed = False  # whether the batch was logged by an earlier run
        self._is_full = False  # whether the batch has as many messages as it may
        # One ack for all messages must not cover any that an earlier run has pulled and not logged.
        self._to_redeliver = settings.owns_consumer

    def close(self) -> None:
        """Give back messages that were pulled and not logged, and close the connections."""
        try:
            logged = self._batch.batch if self._batch and self._logged else self._committed_batch
            self.puller.close(logged)
        finally:
            self._consumer.close()

    def initial_offset(self) -> Offset:
        """Return the start of a query without a checkpoint; create stream and consumer if needed.

        Raises as `DurableConsumer.ensure` does.
        """
        stream, info = self._consumer.ensure()
        return Offset(
            self._consumer.stream,
            stream.created,
            self._consumer.name,
            self.puller.ack_prefix,
            consumer_created=info.created,
        )

    def next_batch(self, position: Offset, unlimited: bool) -> Offset | None:
        """Return the end of the batch after ``position``, which is committed; None without one.

        Args:
            unlimited: take all messages at once (``Trigger.Once``).

        Raises:
            ConsumerNotFoundError: the consumer was deleted.
            DataLossError: the stream is not the one of the position.
            NatsSparkError: the server cannot be reached, after all retries.
        """
        self.acknowledge_committed(position)
        if self._batch is not None:
            return self._batch  # Spark may ask several times before it runs the batch
        batch = self._pull(position, unlimited)
        if batch is None:
            self.puller.finish_acks()
        return batch

    def _pull(self, position: Offset, unlimited: bool) -> Offset | None:
        """Return the batch after ``position``, of messages that are pulled for it."""
        if self._to_redeliver:
            self.puller.finish_acks()
            self._watch.redeliver_unacknowledged()
            self._to_redeliver = False
        limit = self._batch_limit(unlimited)
        if not limit:
            if not self.limits.available_now:
                time.sleep(self._settings.poll_interval)
            return None
        polls = not (unlimited or self.limits.available_now)
        deliveries, newest = self.puller.pull(limit, position.batch + 1, wait=not polls)
        if not len(deliveries):
            if polls:
                time.sleep(self._settings.poll_interval)  # and return: Spark may have stopped
            return None
        self._logged = self._replayed = False
        self._is_full = not unlimited and len(deliveries) >= limit
        self._batch = Offset(
            self._consumer.stream,
            self._watch.stream_created,
            self._consumer.name,
            self.puller.ack_prefix,
            position.batch + 1,
            deliveries,
            self._committed.seqs,
            consumer_created=self._watch.info.created,
            newest=max(newest, self._committed.newest),
        )
        return self._batch

    def shares(self, end: Offset) -> list[Share]:
        """Return the tasks of the batch that ends at ``end``, which an earlier run may have logged.

        Raises ``DataLossError`` if the stream was recreated, with ``nats.fail.on.data.loss``.
        """
        self._open(end)
        if not len(end.deliveries):
            return []  # Spark runs a first batch from the start to itself
        if self._batch is None:
            self._replayed = True
            self.puller.hold(end.ack_prefix, end.deliveries, end.batch, at_once=True)
        self._batch, self._logged = end, True
        stream = self._consumer.stream_info()
        if not self._watch.is_stream_of(end, stream):
            return []
        source = self._source(stream, end)
        settings = self._settings
        if self._is_full and self.limits.pulls_ahead(self._watch.info):
            self.puller.begin_pull(self._batch_limit(unlimited=False), end.batch + 1)
        tasks = settings.num_listeners
        if tasks is None:
            tasks = max(1, min(settings.tasks, len(end.deliveries) // settings.min_range))
        known = servers.known(settings)
        return [Share(source, end.consumer, part, known) for part in end.deliveries.split(tasks)]

    def acknowledge_committed(self, position: Offset) -> None:
        """Begin to acknowledge the batch that ends at ``position``, unless it is done.

        The batch is committed. The acks are confirmed before the next batch is acknowledged, and
        if there is none yet, before `next_batch` returns.

        Raises ``DataLossError`` if the stream is not the one of the batch any more, with
        ``nats.fail.on.data.loss``: its sequences belong to other messages then.
        """
        self._open(position)
        if position.batch <= self._committed_batch:
            return
        if self._watch.is_stream_of(position, self._consumer.stream_info()):
            self.puller.begin_acks(position.ack_prefix, position.deliveries, position.batch)
            self._committed.add(position)
        else:
            self.puller.release(position.batch)
        self._batch = None
        self._logged = False
        self._committed_batch = position.batch
        self.limits.committed(time.monotonic())

    def progress(self) -> dict[str, Any] | None:
        """Return the consumer's state for the query's progress; None before the first batch."""
        if not self._watch.is_open:
            return None
        info = self.puller.refresh()
        return {
            "stream": self._consumer.stream,
            "consumer": info.name,
            "pending": info.pending,
            "ackPending": info.ack_pending,
            "redelivered": info.redelivered,
            "ackFloor": info.ack_floor,
        }

    def _open(self, position: Offset) -> None:
        """Compare the query's first position with the server. Raise as `ConsumerWatch.open`."""
        if not self._watch.is_open:
            self._watch.open(position)
            self.puller.open(position.ack_prefix)

    def _batch_limit(self, unlimited: bool) -> int:
        """Return the maximum messages of the next batch; 0 if it must wait."""
        limits, settings, heartbeats = self.limits, self._settings, self.puller.heartbeats
        info = self._watch.info
        if unlimited or limits.needs_info:
            info = self.puller.refresh()
        size = self._consumer.stream_info().average_size if settings.max_bytes_per_trigger else 0.0
        interval = heartbeats.interval if heartbeats else None
        return limits.limit(info, size, interval, unlimited, time.monotonic())

    def _source(self, stream: StreamInfo, end: Offset) -> Source:
        version = self._consumer.server_version
        # An ack removes a message only from work queues and interest streams. If the consumer has
        # delivered messages while the query was down, other members may have received and
        # acknowledged messages of the batch.
        last = int(end.deliveries.consumer_seqs.max(initial=0))
        acked_elsewhere = (
            self._replayed
            and stream.retention != "limits"
            and self._watch.info.delivered_consumer_seq != last
        )
        return Source(
            stream.name,
            stream.created,
            stream.allow_direct and version >= DIRECT_VERSION,
            stream.reads_direct(version),
            way.consumer_from(self._settings, stream),
            acked_elsewhere,
        )
