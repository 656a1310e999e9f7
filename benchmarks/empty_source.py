"""The emptiest streaming source in Python: what a trigger costs that has nothing to read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyspark import cloudpickle
from pyspark.sql import SparkSession
from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition
from pyspark.sql.types import StructType

NAME = "empty"


def register(session: SparkSession) -> None:
    """Make ``format("empty")`` known; workers get the source by value."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    session.dataSource.register(EmptySource)


class EmptySource(DataSource):
    """``option("batches", n)``: as many batches, of one row each."""

    @classmethod
    def name(cls) -> str:
        return NAME

    def schema(self) -> str:
        return "number BIGINT"

    def streamReader(self, schema: StructType) -> DataSourceStreamReader:
        return EmptyReader(int(self.options["batches"]))


class EmptyReader(DataSourceStreamReader):
    """Has the next batch whenever Spark asks."""

    def __init__(self, batches: int) -> None:
        self._batches = batches
        self._batch = 0

    def initialOffset(self) -> dict[str, Any]:
        return {"batch": 0}

    def latestOffset(self) -> dict[str, Any]:
        self._batch = min(self._batch + 1, self._batches)
        return {"batch": self._batch}

    def partitions(self, start: dict[str, Any], end: dict[str, Any]) -> list[InputPartition]:
        return [InputPartition(None)]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pydict({"number": [1]})
