"""A task's share of a batch and how it is read; all of it travels to the executors."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql.datasource import InputPartition

from nats_spark_common.compression import decompress
from nats_spark_common.ranges import StreamRange
from nats_spark_common.reading import read_range
from nats_spark_common.schema import Projection
from nats_spark_common.settings import NatsSettings


class RangePartition(InputPartition):
    """One range of one stream."""

    def __init__(self, span: StreamRange) -> None:
        super().__init__(span)
        self.span = span


def read_partition(
    settings: NatsSettings, projection: Projection, span: StreamRange
) -> Iterator[pa.RecordBatch]:
    """The rows of a range, in sequence order. Raises as `read_range` and `decompress` do."""
    constants = {"stream": span.stream, "domain": settings.domain}
    for messages in read_range(settings, span, projection.fields):
        opened = decompress(
            messages, settings.payload_compression, settings.payload_on_error, span.stream
        )
        yield projection.batch(opened, constants)
