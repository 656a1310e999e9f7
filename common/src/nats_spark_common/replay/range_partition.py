"""A task's share of a batch and how it is read. Spark pickles all of it for the executors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql.datasource import InputPartition

from ..connection import servers
from ..options.settings import NatsSettings
from ..planning.ranges import StreamRange
from ..reading.many_ranges import read_ranges
from ..rows.compression import decompress
from ..rows.schema import Projection

#: Rows and bytes from which a batch stands alone.
_ROWS, _BYTES = 1_000, 1 << 18


class RangePartition(InputPartition):
    """Ranges of streams, read one after the other; none for a task with nothing to read.

    Attributes:
        servers: the servers that the driver knows besides the configured ones.
    """

    def __init__(self, ranges: tuple[StreamRange, ...], known: tuple[str, ...] = ()) -> None:
        super().__init__(ranges)
        self.ranges = ranges
        self.servers = known


def read_partition(
    settings: NatsSettings, projection: Projection, partition: InputPartition
) -> Iterator[pa.RecordBatch]:
    """Return the rows of the ranges, in sequence order. Raises as `read_range`, `decompress`."""
    assert isinstance(partition, RangePartition)
    servers.learn(settings, partition.servers)
    rows = _read(settings, projection, partition.ranges)
    return rows if len(partition.ranges) == 1 else joined(rows)


def _read(
    settings: NatsSettings, projection: Projection, ranges: tuple[StreamRange, ...]
) -> Iterator[pa.RecordBatch]:
    for part, messages in read_ranges(settings, ranges, projection.fields):
        for decompressed in decompress(
            messages,
            settings.payload_compression,
            settings.payload_on_error,
            part.stream,
            settings.payload_max_decompressed,
        ):
            yield projection.batch(decompressed, {"stream": part.stream, "domain": settings.domain})


def joined(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the same rows in the same order, with successive small batches as one.

    A batch costs Spark as much as some hundred rows.
    """
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        held.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= _ROWS or size >= _BYTES:
            yield from _one(held)
            held, rows, size = [], 0, 0
    if held:
        yield from _one(held)


def _one(batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    if len(batches) == 1:
        return batches
    # By way of a table: pyarrow 18 has no `concat_batches`.
    whole: list[pa.RecordBatch] = pa.Table.from_batches(batches).combine_chunks().to_batches()
    return whole
