"""A task's share of a batch and how it is read; all of it travels to the executors."""

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
    """Ranges of streams, one after the other; none for a task with nothing to read."""

    def __init__(self, spans: tuple[StreamRange, ...]) -> None:
        super().__init__(spans)
        self.spans = spans


def read_partition(
    settings: NatsSettings, projection: Projection, partition: InputPartition
) -> Iterator[pa.RecordBatch]:
    """The rows of the ranges, in sequence order. Raises as `read_range` and `decompress` do."""
    assert isinstance(partition, RangePartition)
    for span in partition.spans:
        yield from _read(settings, projection, span)


def _read(
    settings: NatsSettings, projection: Projection, span: StreamRange
) -> Iterator[pa.RecordBatch]:
    constants = {"stream": span.stream, "domain": settings.domain}
    for messages in read_range(settings, span, projection.fields):
        opened = decompress(
            messages,
            settings.payload_compression,
            settings.payload_on_error,
            span.stream,
            settings.payload_max_decompressed,
        )
        yield projection.batch(opened, constants)
