"""The streaming read: one reader lives with a query in the driver and plans its batches."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from pyspark.sql.datasource import DataSourceStreamReader, InputPartition
from pyspark.sql.streaming.datasource import (
    ReadAllAvailable,
    ReadLimit,
    ReadMaxBytes,
    ReadMaxRows,
    ReadMinRows,
    SupportsTriggerAvailableNow,
)

from nats_spark_common import loss
from nats_spark_common.admission import Available, Pace, admit, worth_a_batch
from nats_spark_common.jetstream import StreamInfo
from nats_spark_common.offsets import Offset, StreamOffset
from nats_spark_common.ranges import StreamRange, split
from nats_spark_common.schema import Projection
from nats_spark_common.settings import NatsSettings
from nats_spark_common.streams import Streams

from .partition import RangePartition, read_partition


@dataclass
class _Query:
    """What the reader knows while the query runs; stays in the driver."""

    streams: Streams
    pace: Pace | None
    target: dict[str, StreamInfo] | None = None
    last_batch: float = field(default_factory=time.monotonic)


class StreamReader(DataSourceStreamReader, SupportsTriggerAvailableNow):
    """Plans batches as ranges of sequences; a batch's offsets alone say what its rows are."""

    def __init__(self, settings: NatsSettings, projection: Projection) -> None:
        self._settings = settings
        self._projection = projection
        self._running: _Query | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_running": None}  # tasks get no connection of the driver's

    @property
    def _query(self) -> _Query:
        if self._running is None:
            target = self._settings.target_batch_duration
            self._running = _Query(Streams(self._settings), Pace(target) if target else None)
        return self._running

    def initialOffset(self) -> dict[str, Any]:
        streams = self._query.streams
        return streams.start_offset(streams.require()).to_json()

    def getDefaultReadLimit(self) -> ReadLimit:
        # Spark knows one limit, the settings several, and `latestOffset` applies them all; what
        # counts here is only that a limit is told apart from "everything" (Trigger.Once).
        settings = self._settings
        if settings.max_messages_per_trigger:
            return ReadMaxRows(settings.max_messages_per_trigger)
        if settings.max_bytes_per_trigger:
            return ReadMaxBytes(settings.max_bytes_per_trigger)
        if settings.min_messages_per_trigger or settings.target_batch_duration:
            return ReadMinRows(settings.min_messages_per_trigger)
        return ReadAllAvailable()

    def prepareForTriggerAvailableNow(self) -> None:
        self._query.target = self._query.streams.refresh()

    def latestOffset(self, start: dict[str, Any], limit: ReadLimit) -> dict[str, Any]:
        query = self._query
        if query.pace:
            query.pace.finish(time.monotonic())
        position = Offset.from_json(start)
        if query.target is not None:
            return self._next(query, position, query.target, limit).to_json()
        end = self._next(query, position, query.streams.recent(), limit)
        if end == position:
            # Spark asks again at once while there is nothing to do: the wait belongs here.
            time.sleep(max(0.0, self._settings.poll_interval - query.streams.age))
            end = self._next(query, position, query.streams.recent(), limit)
        return end.to_json()

    def reportLatestOffset(self) -> dict[str, Any] | None:
        infos = self._query.streams.recent()
        return Offset({n: StreamOffset.end_of(info) for n, info in infos.items()}).to_json()

    def partitions(self, start: dict[str, Any], end: dict[str, Any]) -> Sequence[InputPartition]:
        streams = self._query.streams
        before, after = Offset.from_json(start), Offset.from_json(end)
        infos = streams.recent()
        filters = self._settings.stream_subjects
        spans = []
        for name, reached in after:
            begun = before.get(name)
            if begun is None or begun.created != reached.created or begun.seq >= reached.seq:
                continue  # a stream that enters here is read from the next batch on
            info = infos.get(name)
            if info is None or info.created != reached.created:
                loss.tell(
                    self._settings,
                    loss.vanished(name)
                    if info is None
                    else loss.recreated(name, reached.created, info.created),
                )
                continue
            if info.last_seq < reached.seq:
                loss.tell(self._settings, loss.truncated(info, reached.seq))
            first = begun.seq + 1
            lost = loss.lost_messages(info, first, reached.seq)
            if lost:
                loss.tell(self._settings, lost)
                first = info.first_seq
            spans.append(
                StreamRange(
                    name,
                    info.created,
                    first,
                    reached.seq,
                    filters,
                    streams.reads_direct(info, filters),
                )
            )
        tasks = self._settings.tasks
        return [RangePartition(each) for each in split(spans, tasks, self._settings.min_range)]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        assert isinstance(partition, RangePartition)
        return read_partition(self._settings, self._projection, partition.span)

    def stop(self) -> None:
        if self._running is not None:
            self._running.streams.close()
            self._running = None

    def _next(
        self, query: _Query, position: Offset, infos: dict[str, StreamInfo], limit: ReadLimit
    ) -> Offset:
        """The end of the next batch; ``position`` itself where there is to be none."""
        reached = self._settle(query, position, infos)
        available = {
            name: Available(max(0, infos[name].last_seq - each.seq), infos[name].average_size)
            for name, each in reached.items()
            if name in infos and _entered(position.get(name), infos[name])
        }
        count = sum(each.count for each in available.values())
        now = time.monotonic()
        unlimited = isinstance(limit, ReadAllAvailable)
        if not unlimited and query.target is None:
            settings = self._settings
            least, delay = settings.min_messages_per_trigger, settings.max_trigger_delay
            if not worth_a_batch(count, least, now - query.last_batch, delay):
                available = {}
        taken = admit(available, *((None, None) if unlimited else self._limits(query)))
        if any(taken.values()):
            query.last_batch = now
            if query.pace:
                query.pace.begin(sum(taken.values()), now)
        return Offset(
            {
                name: StreamOffset(each.seq + taken.get(name, 0), each.created)
                for name, each in reached.items()
            }
        )

    def _limits(self, query: _Query) -> tuple[int | None, int | None]:
        most = self._settings.max_messages_per_trigger
        if query.pace:
            most = min(most or query.pace.limit, query.pace.limit)
        return most, self._settings.max_bytes_per_trigger

    def _settle(
        self, query: _Query, position: Offset, infos: dict[str, StreamInfo]
    ) -> dict[str, StreamOffset]:
        """The position, brought in line with the streams as they are.

        A stream that appears, or was recreated, enters with its head: its messages come with the
        batch after, so that every range that is ever read begins in a logged offset.
        """
        reached: dict[str, StreamOffset] = {}
        for name, each in position:
            info = infos.get(name)
            if info is None:
                if query.target is None or name not in query.streams.recent():
                    loss.tell(self._settings, loss.vanished(name))
                continue
            if info.created != each.created:
                loss.tell(self._settings, loss.recreated(name, each.created, info.created))
                reached[name] = StreamOffset.head_of(info)
            elif info.last_seq < each.seq:
                if query.target is None:
                    loss.tell(self._settings, loss.truncated(info, each.seq))
                    reached[name] = StreamOffset.end_of(info)
                else:
                    reached[name] = each
            else:
                lost = loss.lost_messages(info, each.seq + 1, info.last_seq)
                if lost:
                    loss.tell(self._settings, lost)
                reached[name] = StreamOffset(max(each.seq, info.first_seq - 1), each.created)
        for name, info in infos.items():
            if position.get(name) is None:
                reached[name] = StreamOffset.head_of(info)
        return reached


def _entered(before: StreamOffset | None, info: StreamInfo) -> bool:
    """Whether the last logged offset knows the stream, and not one of its name before it."""
    return before is not None and before.created == info.created
