"""The streaming read: a reader in the driver plans the batches of a query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyspark.sql.datasource import InputPartition

from ..connection import servers
from ..options.settings import NatsSettings
from ..rows.schema import Projection
from ..spark.newest_api import (
    ReadAllAvailable,
    ReadLimit,
    ReadMaxBytes,
    ReadMaxRows,
    ReadMinRows,
    SupportsTriggerAvailableNow,
)
from ..spark.query_reader import QueryReader
from .offsets import Offset
from .query import Query
from .range_partition import RangePartition, read_partition
from .strategy import Strategy


class StreamReader(QueryReader[Query], SupportsTriggerAvailableNow):
    """Plans batches as ranges of sequences; the offsets of a batch alone define its rows."""

    def __init__(self, settings: NatsSettings, projection: Projection, strategy: Strategy) -> None:
        super().__init__(settings, projection)
        self._strategy = strategy

    def begin_query(self) -> Query:
        return Query(self._settings, self._strategy)

    def initialOffset(self) -> dict[str, Any]:
        return self.query.begin().to_json()

    def getDefaultReadLimit(self) -> ReadLimit:
        # Spark has one limit and the settings have several, all of which the query applies. Here
        # it only matters whether there is any limit, or none (Trigger.Once).
        settings = self._settings
        if settings.max_messages_per_trigger:
            return ReadMaxRows(settings.max_messages_per_trigger)
        if settings.max_bytes_per_trigger:
            return ReadMaxBytes(settings.max_bytes_per_trigger)
        if settings.min_messages_per_trigger or settings.target_batch_duration:
            return ReadMinRows(settings.min_messages_per_trigger)
        return ReadAllAvailable()

    def prepareForTriggerAvailableNow(self) -> None:
        self.query.stop_at_current_end()

    def latestOffset(self, start: dict[str, Any], limit: ReadLimit) -> dict[str, Any]:
        unlimited = isinstance(limit, ReadAllAvailable)
        return self.query.next(Offset.from_json(start), unlimited=unlimited).to_json()

    def reportLatestOffset(self) -> dict[str, Any] | None:
        return self.query.report()

    def partitions(self, start: dict[str, Any], end: dict[str, Any]) -> Sequence[InputPartition]:
        reached = Offset.from_json(end)
        ranges = self.query.ranges(Offset.from_json(start), reached)
        shares = self._strategy.tasks(ranges, reached.streams.keys(), self._settings)
        known = servers.known(self._settings)
        return [RangePartition(each, known) for each in shares]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        return read_partition(self._settings, self._projection, partition)
