"""A running query: what it has pulled, what Spark has committed, what the server knows of it.

Spark calls ``commit`` for a batch only when the next one has data. But it asks for the next batch
with the position where the last one ended, once that one is committed: so a start that has reached
a batch is the sign to acknowledge it, and `acknowledge_committed` is called with
either, whichever comes first.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np

from nats_spark_common.connection.retry import LOST, retrying
from nats_spark_common.errors import ConsumerNotFoundError, NatsSparkError, OptionError
from nats_spark_common.jetstream.api import DIRECT_VERSION, StreamInfo
from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.planning.data_loss import recreated, report_loss, truncated

from . import error_texts
from .acks import NOT_NOW, confirm
from .batch_limits import BatchLimits
from .consumer import ConsumerInfo, Durable
from .deliveries import Deliveries
from .heartbeats import Heartbeats
from .intervals import Intervals
from .offset import Offset
from .pull import Pulled, Puller
from .read_messages import Source
from .share import Share

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: Intervals of committed messages that are remembered while the query runs.
_REMEMBERED = 1_000_000

#: Messages of a pull. Its bytes are bounded as well, for the sake of payloads and headers that come
#: along, but generously: a pull whose bound is met to the byte is never ended by the server.
_AT_ONCE = 20_000
_SPARE = 4


class Query:
    """The driver's side of a query; close it at its end."""

    def __init__(self, settings: NatsSettings) -> None:
        """Connect. Raises as `Durable` does."""
        self._settings = settings
        self._durable = Durable(settings)
        self._puller = Puller(settings, self._durable.stream, self._durable.name)
        self.limits = BatchLimits(settings, time.monotonic())
        self._keeper: Heartbeats | None = None
        # The stream and the consumer that the position rests on.
        self._info: ConsumerInfo | None = None
        self._created = ""
        self._ack_prefix = f"$JS.ACK.{self._durable.stream}.{self._durable.name}"
        self._delivered = 0  # highest stream sequence that the consumer has delivered
        self._delivery = 0  # highest consumer sequence that was pulled
        # What is committed: the messages, and when the newest of them was stored.
        self._done = Intervals.empty()
        self._newest = 0
        self._settled = 0
        # What is offered to Spark and not committed yet.
        self._batch: Offset | None = None
        self._planned = False  # ... and stands in the checkpoint
        self._replayed = False  # ... of a former run
        self._to_reset = settings.reset_on_start

    def close(self) -> None:
        """Give back what was pulled and is not planned by Spark yet, and end the connections."""
        try:
            if self._keeper is not None:
                prefix, held = self._keeper.held()
                self._keeper.close()
                if len(held) and not self._planned:
                    timeout = self._settings.request_timeout
                    confirm(self._puller.link, prefix, held, NOT_NOW, timeout)
        except NatsSparkError as error:
            _log.info("pulled messages come again after the ack wait: %s", error)
        finally:
            self._puller.close()
            self._durable.close()

    def begin(self) -> Offset:
        """The start of a query without a checkpoint; makes stream and consumer if need be."""
        stream, info = self._durable.ensure()
        return Offset(
            self._durable.stream,
            stream.created,
            self._durable.name,
            self._ack_prefix,
            consumer_created=info.created,
        )

    def next(self, position: Offset, unlimited: bool) -> Offset | None:
        """The batch after ``position``, which Spark has committed; None where there is none.

        Raises:
            ConsumerNotFoundError: the consumer was deleted.
            DataLossError: the stream is not the one that the position rests on.
            NatsSparkError: the server cannot be reached, however often it was tried.
        """
        self.acknowledge_committed(position)
        if self._batch is not None:
            return self._batch  # asked again before it ran
        if self._to_reset:
            self._durable.reset()
            self._to_reset, self._delivery = False, 0
        most = self._admitted(unlimited)
        if not most:
            if not self.limits.available_now:
                time.sleep(self._settings.poll_interval)
            return None
        idles = not (unlimited or self.limits.available_now)
        deliveries, newest = self._take(most, at_once=idles)
        if not len(deliveries):
            if idles:
                time.sleep(self._settings.poll_interval)  # and return: Spark may have ended by then
            return None
        self._planned = self._replayed = False
        assert self._info is not None
        self._batch = Offset(
            self._durable.stream,
            self._created,
            self._durable.name,
            self._ack_prefix,
            position.batch + 1,
            deliveries,
            self._done,
            consumer_created=self._info.created,
            newest=max(newest, self._newest),
        )
        return self._batch

    def shares(self, end: Offset) -> list[Share]:
        """The tasks of the batch that ends at ``end``; of a former run's as well.

        Raises ``DataLossError`` where the stream was recreated, with ``nats.fail.on.data.loss``.
        """
        self._open(end)
        if not len(end.deliveries):
            return []  # Spark runs a first batch from the start to itself
        if self._batch is None:
            self._replayed = True
            if self._keeper is not None:
                self._keeper.hold(end.ack_prefix, end.deliveries, at_once=True)
        self._batch, self._planned = end, True
        stream = self._durable.stream_info()
        if not self._is_stream_of(end, stream):
            return []
        source = self._source(stream, end)
        settings = self._settings
        tasks = settings.num_listeners
        if tasks is None:
            tasks = max(1, min(settings.tasks, len(end.deliveries) // settings.min_range))
        return [Share(source, end.consumer, part) for part in end.deliveries.split(tasks)]

    def acknowledge_committed(self, position: Offset) -> None:
        """Spark has committed all up to ``position``: acknowledge what is not acknowledged yet.

        Raises ``DataLossError`` where the stream is not the one of the batch any more, with
        ``nats.fail.on.data.loss``: its sequences are other messages then.
        """
        self._open(position)
        if position.batch <= self._settled:
            return
        if self._is_stream_of(position, self._durable.stream_info()):
            self._acknowledge(position.ack_prefix, position.deliveries)
            committed = Intervals.of(position.deliveries.seqs)
            self._done = self._done.union(committed).newest(_REMEMBERED)
            self._newest = max(self._newest, position.newest)
        if self._keeper is not None:
            self._keeper.release()
        self._batch = None
        self._planned = False
        self._settled = position.batch
        self.limits.committed(time.monotonic())

    def report(self) -> dict[str, Any] | None:
        """The state of the consumer, for the query's progress."""
        if self._info is None:
            return None
        info = self._refresh()
        return {
            "stream": self._durable.stream,
            "consumer": info.name,
            "pending": info.pending,
            "ackPending": info.ack_pending,
            "redelivered": info.redelivered,
            "ackFloor": info.floor,
        }

    def _open(self, position: Offset) -> None:
        """The first time, hold stream and consumer against the position."""
        if self._info is not None:
            return
        durable = self._durable
        if (position.stream, position.consumer) != (durable.stream, durable.name):
            raise OptionError(
                f"checkpointLocation: the checkpoint belongs to consumer {position.consumer!r} of "
                f"stream {position.stream!r}, not to {durable.name!r} of {durable.stream!r}: set "
                "nats.durable.name and nats.stream.name back, or use a new checkpoint"
            )
        stream = durable.stream_info() if position.batch else durable.ensure()[0]
        self._created = position.created
        self._done, self._newest = position.done, position.newest
        self._is_stream_of(position, stream)
        info = self._find(stream)
        if info is not None and position.batch and durable.update(stream):
            info = durable.info(stream)
        if info is None:
            self._tell_gone("no longer exists", position.deliveries)
            info = durable.ensure()[1]
        elif position.batch and info.created != position.consumer_created:
            self._tell_gone("was deleted and created again", position.deliveries)
        elif position.batch:
            self._tell_unknown_acks(position, info)
        if info.max_deliver:
            _log.warning("%s", error_texts.gives_up(durable.stream, durable.name, info.max_deliver))
        self._ack_prefix = position.ack_prefix
        self._info, self._delivered = info, info.delivered
        if not self._settings.ack_none:
            self._keeper = Heartbeats(self._settings, info.redelivers_after)

    def _tell_unknown_acks(self, position: Offset, info: ConsumerInfo) -> None:
        """Whether the server knows more to be done than the checkpoint does.

        A checkpoint that has lost its last batch runs another one under its number, which a file
        sink passes over, because it has written that number already. Other members of the durable
        acknowledge as well, so only a query that owns it can tell.
        """
        known = position.deliveries
        if info.acknowledged <= int(known.consumer_seqs.max(initial=0)):
            return
        last = int(known.seqs.max(initial=0))
        told = error_texts.unknown_acks(self._durable.stream, self._durable.name, info.floor, last)
        if self._settings.reset_on_start:
            report_loss(self._settings, told)
        else:
            _log.warning("%s; other members of the durable do so, too", told)

    def _is_stream_of(self, position: Offset, stream: StreamInfo) -> bool:
        """Whether the stream is still the one of a position; if not, nothing of it is known."""
        last = int(position.deliveries.seqs.max(initial=0))
        if stream.created == position.created == self._created and stream.last_seq >= last:
            return True
        if stream.created != self._created:
            self._begin_anew(stream, recreated(stream.name, self._created, stream.created))
        elif stream.created == position.created:
            self._begin_anew(stream, truncated(stream, last))
        return False

    def _begin_anew(self, stream: StreamInfo, told: str) -> None:
        """Tell that the stream's sequences mean other messages now, and forget those known."""
        report_loss(self._settings, told)
        self._created = stream.created
        self._done, self._newest = Intervals.empty(), 0
        if self._keeper is not None:
            self._keeper.release()

    def _admitted(self, unlimited: bool) -> int:
        limits, settings, keeper = self.limits, self._settings, self._keeper
        info = self._info
        if info is None or unlimited or limits.needs_info:
            info = self._refresh()
        size = self._durable.stream_info().average_size if settings.max_bytes_per_trigger else 0.0
        beat = keeper.interval if keeper else None
        return limits.limit(info, size, beat, unlimited, time.monotonic())

    def _take(self, most: int, at_once: bool) -> tuple[Deliveries, int]:
        """Pull up to ``most`` new messages; and when the newest of them was stored.

        Args:
            at_once: where there is none, do not wait for a first one.
        """
        settings, info = self._settings, self._info
        assert info is not None
        asked = settings.msg_fetch_batch_size or _AT_ONCE
        most_asked = min(n for n in (asked, info.max_batch, info.max_ack_pending) if n)
        bytes_at_once = min(n for n in (settings.fetch_bytes * _SPARE, info.max_bytes) if n)
        max_bytes: int | None = bytes_at_once
        wait = 0.0 if at_once else settings.msg_receive_wait_millis
        parts: list[Deliveries] = []
        raw = fresh = newest = 0
        budget = self.limits.budget
        while fresh < most and (budget is None or raw < budget):
            count = min(most - fresh, most_asked) if max_bytes else 1
            if budget is not None:
                count = min(count, budget - raw)
            limit = min(wait, info.max_expires or wait)
            pulled = self._while_reachable(partial(self._puller.pull, count, max_bytes, limit))
            new, stored = self._without_committed(pulled)
            parts.append(new)
            raw += len(pulled.deliveries)
            fresh += len(new)
            newest = max(newest, stored)
            wait = settings.msg_receive_wait_millis
            max_bytes = None if pulled.too_large else bytes_at_once
            if pulled.drained:
                break
        self.limits.pulled(raw, fresh, time.monotonic())
        if self.limits.asleep:
            _log.warning(
                "%s", error_texts.asleep(self._durable.stream, self._durable.name, settings)
            )
        return Deliveries.of(parts), newest

    def _without_committed(self, pulled: Pulled) -> tuple[Deliveries, int]:
        """What is new of what was pulled; what this query has committed is acknowledged again."""
        deliveries, times = pulled.deliveries, pulled.times
        if not len(deliveries):
            return deliveries, 0
        if int(deliveries.consumer_seqs.min()) <= self._delivery:
            self._refresh()  # it counts from its beginning: was it reset, or made anew?
        self._delivery = int(deliveries.consumer_seqs.max())
        self._delivered = max(self._delivered, int(deliveries.seqs.max()))
        self._ack_prefix = pulled.ack_prefix or self._ack_prefix
        again = self._done.contains(deliveries.seqs)
        others = again & (times > self._newest)
        if others.any():  # stored after all that was committed: not the messages of then
            stream = self._durable.stream_info()
            seq = int(deliveries.seqs[np.argmax(others)])
            self._begin_anew(stream, error_texts.other_message(stream.name, seq))
            again[:] = False
        fresh = deliveries.select(~again)
        if self._keeper is not None and len(fresh):
            self._keeper.hold(self._ack_prefix, fresh)
        if again.any():
            self._acknowledge(self._ack_prefix, deliveries.select(again))
            _log.info("%d committed messages came again and are acknowledged", again.sum())
        return fresh, int(times[~again].max(initial=0))

    def _acknowledge(self, prefix: str, deliveries: Deliveries) -> None:
        if self._settings.ack_none:
            return

        def send() -> None:
            # A consumer never confirms what it has not delivered: a new one of its name, or that
            # of a server that came back without its last state. What it delivers yet, though
            # committed, is acknowledged then.
            wanted = deliveries.select(deliveries.seqs <= self._delivered)
            self._puller.acknowledge(prefix, wanted)

        self._while_reachable(send)

    def _while_reachable(self, action: Callable[[], _T]) -> _T:
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
        """The consumer as it is now. Raises ``ConsumerNotFoundError`` as `_tell_gone` does."""
        known = self._info
        assert known is not None
        info = self._find()
        if info is None:
            self._tell_gone("no longer exists", None)
            info = self._durable.ensure()[1]
        elif info.created != known.created:
            self._tell_gone("was deleted and created again", None)
        if info.created != known.created:
            self._delivery = 0
        self._info, self._delivered = info, info.delivered
        if self._keeper is not None:
            self._keeper.pace(info.redelivers_after)
        return info

    def _find(self, stream: StreamInfo | None = None) -> ConsumerInfo | None:
        try:
            return self._durable.info(stream)
        except ConsumerNotFoundError:
            return None

    def _source(self, stream: StreamInfo, end: Offset) -> Source:
        version = self._durable.server_version
        assert self._info is not None
        # On a log nothing leaves by an ack. Elsewhere, if the consumer went on while we were down,
        # others may have taken what we had not acknowledged.
        elsewhere = (
            self._replayed
            and stream.retention != "limits"
            and self._info.deliveries != int(end.deliveries.consumer_seqs.max(initial=0))
        )
        return Source(
            stream.name,
            stream.created,
            stream.allow_direct and version >= DIRECT_VERSION,
            stream.reads_direct(version),
            elsewhere,
        )

    def _tell_gone(self, how: str, last: Deliveries | None) -> None:
        seqs = self._done.ends if last is None else last.seqs
        told = error_texts.gone(self._durable.stream, self._durable.name, how, seqs.max(initial=0))
        report_loss(self._settings, told, ConsumerNotFoundError)
