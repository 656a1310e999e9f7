"""A task's share of a batch and how it is read. Spark pickles all of it for the executors."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql.datasource import InputPartition

from ..options.settings import NatsSettings
from ..planning.ranges import StreamRange
from ..reading.range_reader import read_range
from ..rows.compression import decompress
from ..rows.schema import Projection


class RangePartition(InputPartition):
    """Ranges of streams, read one after the other; none for a task with nothing to read."""

    def __init__(self, ranges: tuple[StreamRange, ...]) -> None:
        super().__init__(ranges)
        self.ranges = ranges


def read_partition(
    settings: NatsSettings, projection: Projection, partition: InputPartition
) -> Iterator[pa.RecordBatch]:
    """Return the rows of the ranges, in sequence order. Raises as `read_range`, `decompress`."""
    assert isinstance(partition, RangePartition)
    for each in partition.ranges:
        yield from _read(settings, projection, each)


def _read(
    settings: NatsSettings, projection: Projection, part: StreamRange
) -> Iterator[pa.RecordBatch]:
    constants = {"stream": part.stream, "domain": settings.domain}
    for messages in read_range(settings, part, projection.fields):
        decompressed = decompress(
            messages,
            settings.payload_compression,
            settings.payload_on_error,
            part.stream,
            settings.payload_max_decompressed,
        )
        yield projection.batch(decompressed, constants)
