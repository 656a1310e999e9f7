"""The reader that Spark calls: in the driver to plan batches, in tasks to read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyspark.sql.datasource import InputPartition
from pyspark.sql.streaming.datasource import (
    ReadAllAvailable,
    ReadLimit,
    ReadMaxRows,
    SupportsTriggerAvailableNow,
)

from nats_spark_common.spark.query_reader import QueryReader

from .offset import Offset
from .query import Query
from .share import Share, read_share


class StreamReader(QueryReader[Query], SupportsTriggerAvailableNow):
    """A streaming read whose offsets contain the messages of each batch before tasks read them."""

    def begin_query(self) -> Query:
        return Query(self._settings)

    def initialOffset(self) -> dict[str, Any]:
        return self.query.initial_offset().to_json()

    def getDefaultReadLimit(self) -> ReadLimit:
        # Spark has one limit, the settings have several, and the query applies them all. Here it
        # matters only that a limit differs from "read all available" (Trigger.Once).
        return ReadMaxRows(self._settings.max_messages_per_trigger or 1)

    def prepareForTriggerAvailableNow(self) -> None:
        self.query.limits.available_now = True

    def latestOffset(self, start: dict[str, Any], limit: ReadLimit) -> dict[str, Any]:
        position = Offset.from_json(start)
        end = self.query.next_batch(position, unlimited=isinstance(limit, ReadAllAvailable))
        return start if end is None else end.to_json()

    def reportLatestOffset(self) -> dict[str, Any] | None:
        return self.query.progress()

    def partitions(self, start: dict[str, Any], end: dict[str, Any]) -> Sequence[InputPartition]:
        return self.query.shares(Offset.from_json(end))

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        assert isinstance(partition, Share)
        return read_share(self._settings, self._projection, partition)

    def commit(self, end: dict[str, Any]) -> None:
        self.query.acknowledge_committed(Offset.from_json(end))
