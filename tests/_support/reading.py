"""Drives a reader as Spark does, without its engine: offsets as JSON, tasks on pickled copies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pyspark import cloudpickle
from pyspark.sql.datasource import CaseInsensitiveDict, DataSource
from pyspark.sql.types import StructType

from nats_spark_common.rows.schema import SCHEMA
from nats_spark_common.spark.newest_api import ReadAllAvailable, ReadLimit
from nats_spark_common.spark.old_reader import OldReader
from pyspark_nats_v2 import DefaultSource

Row = dict[str, Any]

#: A ``nats.poll.interval`` after which the state of the streams is asked for at every call.
ALWAYS = "0.000001"


class Driver:
    """A streaming reader and the calls that Spark's engine makes to it."""

    def __init__(
        self,
        options: dict[str, str],
        schema: StructType = SCHEMA,
        source: type[DataSource] = DefaultSource,
    ) -> None:
        reader: Any = source(CaseInsensitiveDict(options)).streamReader(schema)
        self.reader = reader.newest if isinstance(reader, OldReader) else reader
        self._abandoned = False

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._abandoned:
            self.reader.stop()

    def abandon(self) -> None:
        """Do not stop the reader: Spark does not always do so."""
        self._abandoned = True

    def initial(self) -> dict[str, Any]:
        return _as_logged(self.reader.initialOffset())

    def latest(self, start: dict[str, Any], limit: ReadLimit | None = None) -> dict[str, Any]:
        limit = limit or self.reader.getDefaultReadLimit()
        return _as_logged(self.reader.latestOffset(_as_logged(start), limit))

    def everything(self, start: dict[str, Any]) -> dict[str, Any]:
        return self.latest(start, ReadAllAvailable())

    def rows(self, start: dict[str, Any], end: dict[str, Any]) -> list[Row]:
        """All rows of a batch, task after task."""
        return [row for task in self.tasks(start, end) for row in task]

    def tasks(self, start: dict[str, Any], end: dict[str, Any]) -> Iterator[list[Row]]:
        """The rows of each task; each reads with an unpickled copy of the reader."""
        for partition in self.reader.partitions(_as_logged(start), _as_logged(end)):
            reader, share = cloudpickle.loads(cloudpickle.dumps((self.reader, partition)))
            yield [row for batch in reader.read(share) for row in batch.to_pylist()]


def batch(driver: Driver, position: dict[str, Any]) -> tuple[dict[str, Any], list[Row]]:
    """The end and the rows of the next batch; the position itself and nothing where none is."""
    end = driver.latest(position)
    return end, driver.rows(position, end) if end != position else []


def drain(driver: Driver, position: dict[str, Any] | None = None) -> list[Row]:
    """All rows, batch after batch until there is none: what balanced read is acknowledged then."""
    position = driver.initial() if position is None else position
    rows: list[Row] = []
    while True:
        end, more = batch(driver, position)
        if end == position:
            return rows
        rows += more
        position = end


def read_stream(options: dict[str, str], schema: StructType = SCHEMA) -> list[Row]:
    """Everything from the start position to the streams' present ends."""
    with Driver(options, schema) as driver:
        start = driver.initial()
        return driver.rows(start, driver.everything(start))


def numbers(rows: list[Row]) -> list[int]:
    """The stream sequences of rows."""
    return [row["streamSeq"] for row in rows]


def _as_logged(offset: dict[str, Any]) -> dict[str, Any]:
    logged: dict[str, Any] = json.loads(json.dumps(offset))
    return logged
