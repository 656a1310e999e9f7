"""The streaming read: one reader lives with a query in the driver and plans its batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyspark.sql.datasource import DataSourceStreamReader, InputPartition
from pyspark.sql.streaming.datasource import (
    ReadAllAvailable,
    ReadLimit,
    ReadMaxRows,
    SupportsTriggerAvailableNow,
)

from nats_spark_common.schema import Projection
from nats_spark_common.settings import NatsSettings

from .offset import Offset
from .partition import Share, read_share
from .query import Query


class StreamReader(DataSourceStreamReader, SupportsTriggerAvailableNow):
    """Fixes the messages of a batch in its offset before any task reads them."""

    def __init__(self, settings: NatsSettings, projection: Projection) -> None:
        self._settings = settings
        self._projection = projection
        self._running: Query | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_running": None}  # tasks get no connection of the driver's

    @property
    def _query(self) -> Query:
        if self._running is None:
            self._running = Query(self._settings)
        return self._running

    def initialOffset(self) -> dict[str, Any]:
        return self._query.begin().to_json()

    def getDefaultReadLimit(self) -> ReadLimit:
        # Spark knows one limit, the settings several, and the query applies them all; what counts
        # here is only that a limit is told apart from "everything" (Trigger.Once).
        return ReadMaxRows(self._settings.max_messages_per_trigger or 1)

    def prepareForTriggerAvailableNow(self) -> None:
        self._query.admission.available_now = True

    def latestOffset(self, start: dict[str, Any], limit: ReadLimit) -> dict[str, Any]:
        position = Offset.from_json(start)
        end = self._query.next(position, unlimited=isinstance(limit, ReadAllAvailable))
        return start if end is None else end.to_json()

    def reportLatestOffset(self) -> dict[str, Any] | None:
        return self._query.report()

    def partitions(self, start: dict[str, Any], end: dict[str, Any]) -> Sequence[InputPartition]:
        return self._query.shares(Offset.from_json(end))

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        assert isinstance(partition, Share)
        return read_share(self._settings, self._projection, partition)

    def commit(self, end: dict[str, Any]) -> None:
        self._query.settle(Offset.from_json(end))

    def stop(self) -> None:
        if self._running is not None:
            self._running.close()
            self._running = None
