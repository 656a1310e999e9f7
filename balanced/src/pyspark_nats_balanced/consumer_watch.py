"""Compares a query's position with the server: the same stream, the same consumer, the same acks.

Stream and consumer can be deleted, recreated or restored from an older state, while the query is
down and while it runs. Their sequences then belong to other messages, which must be reported and
never be acknowledged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from nats_spark_common.errors import ConsumerNotFoundError, OptionError
from nats_spark_common.jetstream.api import StreamInfo
from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.planning.data_loss import recreated, report_loss, truncated

from . import error_texts
from .committed import Committed
from .consumer import DurableConsumer
from .consumer_info import ConsumerInfo
from .deliveries import Deliveries
from .offset import Offset
from .unknown_acks import UnknownAcks, last_known, unknown_acks

_log = logging.getLogger(__name__)


class ConsumerWatch:
    """The stream and the consumer that the query's position belongs to.

    Attributes:
        stream_created: creation time of the stream.
        delivered: highest stream sequence that the consumer has delivered.
        on_stream_change: called when the sequences of the stream belong to other messages.
    """

    def __init__(
        self, settings: NatsSettings, consumer: DurableConsumer, committed: Committed
    ) -> None:
        self._settings = settings
        self._consumer = consumer
        self._committed = committed
        self._info: ConsumerInfo | None = None
        self._pulled = 0  # highest consumer sequence that was pulled
        self.stream_created = ""
        self.delivered = 0
        self.on_stream_change: Callable[[], None] = lambda: None

    @property
    def is_open(self) -> bool:
        """Return whether `open` has succeeded."""
        return self._info is not None

    @property
    def info(self) -> ConsumerInfo:
        """Return the consumer as the server last reported it."""
        assert self._info is not None
        return self._info

    def open(self, position: Offset) -> None:
        """Compare the query's first position with the server.

        Raises:
            OptionError: the checkpoint belongs to another consumer.
            ConsumerNotFoundError, DataLossError: the consumer or the stream is not the one of the
                position, and ``nats.fail.on.data.loss`` is true.
        """
        consumer = self._consumer
        if (position.stream, position.consumer) != (consumer.stream, consumer.name):
            raise OptionError(
                f"checkpointLocation: the checkpoint belongs to consumer {position.consumer!r} of "
                f"stream {position.stream!r}, not to {consumer.name!r} of {consumer.stream!r}: "
                "restore nats.durable.name and nats.stream.name, or use a new checkpoint"
            )
        stream = consumer.stream_info() if position.batch else consumer.ensure()[0]
        self.stream_created = position.created
        self._committed.restore(position)
        self.is_stream_of(position, stream)
        info = self._find(stream)
        if info is not None and position.batch and consumer.update(stream):
            info = consumer.info(stream)
        if info is None:
            self._report_gone("no longer exists", _last_seq(position))
            info = consumer.ensure()[1]
        elif position.batch and info.created != position.consumer_created:
            self._report_gone("was deleted and recreated", _last_seq(position))
        elif position.batch:
            self._report_unknown_acks(position, info, stream)
        elif info.ack_floor_consumer_seq:
            text = error_texts.acks_before_first_batch(
                consumer.stream, consumer.name, info.ack_floor
            )
            _log.warning("%s", text)
        if info.max_deliver:
            text = error_texts.limited_deliveries(consumer.stream, consumer.name, info.max_deliver)
            _log.warning("%s", text)
        self._info, self.delivered = info, info.delivered

    def refresh(self) -> ConsumerInfo:
        """Return the consumer's current state.

        Raises ``ConsumerNotFoundError`` if the consumer was deleted or recreated, with
        ``nats.fail.on.data.loss``; otherwise creates a missing one.
        """
        known = self.info
        info = self._find()
        if info is None:
            self._report_gone("no longer exists", self._committed.last)
            info = self._consumer.ensure()[1]
        elif info.created != known.created:
            self._report_gone("was deleted and recreated", self._committed.last)
        if info.created != known.created:
            self._pulled = 0
        self._info, self.delivered = info, info.delivered
        return info

    def redeliver_unacknowledged(self) -> None:
        """Have messages that an earlier run has pulled and not logged redelivered at once.

        If there are none, consumer sequences continue, and the next start can compare them with the
        checkpoint. Raises as `refresh` does.
        """
        info = self.refresh()
        if info.ack_pending or info.ack_floor_consumer_seq < info.delivered_consumer_seq:
            self.reset_consumer()
        else:
            self._pulled = info.delivered_consumer_seq

    def reset_consumer(self) -> None:
        """Have all unacknowledged messages redelivered at once; consumer sequences restart at 1."""
        self._consumer.reset()
        self._pulled = 0

    def misses(self, deliveries: Deliveries) -> bool:
        """Return whether there were deliveries between these and those pulled before."""
        seqs = deliveries.consumer_seqs
        return not np.array_equal(seqs, np.arange(self._pulled + 1, self._pulled + 1 + len(seqs)))

    def has_restarted(self, deliveries: Deliveries) -> bool:
        """Return whether consumer sequences repeat: the consumer was reset, or recreated."""
        return int(deliveries.consumer_seqs.min()) <= self._pulled

    def advance(self, deliveries: Deliveries) -> None:
        """Note pulled messages."""
        self._pulled = int(deliveries.consumer_seqs.max())
        self.delivered = max(self.delivered, int(deliveries.seqs.max()))

    def is_stream_of(self, position: Offset, stream: StreamInfo) -> bool:
        """Return whether the stream is the one of a position; report data loss if not.

        Raises ``DataLossError`` with ``nats.fail.on.data.loss``.
        """
        last = _last_seq(position)
        created = self.stream_created
        if stream.created == position.created == created and stream.last_seq >= last:
            return True
        if stream.created != created:
            self._change_stream(stream, recreated(stream.name, created, stream.created))
        elif stream.created == position.created:
            self._change_stream(stream, truncated(stream, last))
        return False

    def report_replaced_message(self, seq: int) -> None:
        """Report that the stream has another message under a committed sequence.

        Raises ``DataLossError`` with ``nats.fail.on.data.loss``.
        """
        stream = self._consumer.stream_info()
        self._change_stream(stream, error_texts.replaced_message(stream.name, seq))

    def _change_stream(self, stream: StreamInfo, message: str) -> None:
        """Report that the stream's sequences belong to other messages, and forget the old ones."""
        report_loss(self._settings, message)
        self.stream_created = stream.created
        self._committed.clear()
        self.on_stream_change()

    def _report_gone(self, how: str, last: int) -> None:
        consumer = self._consumer
        message = error_texts.consumer_gone(consumer.stream, consumer.name, how, last)
        report_loss(self._settings, message, ConsumerNotFoundError)

    def _report_unknown_acks(
        self, position: Offset, info: ConsumerInfo, stream: StreamInfo
    ) -> None:
        """Report messages that are acknowledged on the server and unknown to the checkpoint.

        Other members of the consumer acknowledge messages as well, so this is an error only for a
        query that owns it. Without acks, the floor includes messages that were pulled and not
        logged.
        """
        consumer, settings, known = self._consumer, self._settings, last_known(position)
        stored = info.ack_floor > known and consumer.stores(info, known + 1, info.ack_floor)
        found = unknown_acks(position, info, stored, stream.retention)
        if found is UnknownAcks.NONE:
            return
        message = error_texts.unknown_acks(
            consumer.stream, consumer.name, info.ack_floor, known, stored
        )
        if found is UnknownAcks.LIKELY and settings.owns_consumer and not settings.ack_none:
            report_loss(settings, message)
        else:
            _log.warning("%s; if the consumer has other members, this is expected", message)

    def _find(self, stream: StreamInfo | None = None) -> ConsumerInfo | None:
        try:
            return self._consumer.info(stream)
        except ConsumerNotFoundError:
            return None


def _last_seq(position: Offset) -> int:
    """Return the highest stream sequence of a batch; 0 if it is empty."""
    return int(position.deliveries.seqs.max(initial=0))
