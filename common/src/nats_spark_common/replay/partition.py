"""A task's share of a batch and how it is read; all of it travels to the executors."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql.datasource import InputPartition

from ..compression import decompress
from ..ranges import StreamRange
from ..reading import read_range
from ..schema import Projection
from ..settings import NatsSettings


class RangePartition(InputPartition):
    """One range of one stream, or None: a task with nothing to read."""

    def __init__(self, span: StreamRange | None) -> None:
        super().__init__(span)
        self.span = span


def read_partition(
    settings: NatsSettings, projection: Projection, partition: InputPartition
) -> Iterator[pa.RecordBatch]:
    """The rows of a range, in sequence order. Raises as `read_range` and `decompress` do."""
    assert isinstance(partition, RangePartition)
    span = partition.span
    if span is None:
        return
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
