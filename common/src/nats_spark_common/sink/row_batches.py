"""Streaming writes on Spark 4.0, which passes rows to a streaming writer instead of record batches.

Later versions have ``DataSourceStreamArrowWriter``. For the writer of a DataFrame, Spark 4.0 has
record batches too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql import Row, datasource
from pyspark.sql.pandas.types import to_arrow_type
from pyspark.sql.types import StructType

from .columns import MessageColumns

if TYPE_CHECKING or hasattr(datasource, "DataSourceStreamArrowWriter"):
    from pyspark.sql.datasource import DataSourceStreamArrowWriter as ArrowStreamWriter
else:
    from pyspark.sql.datasource import DataSourceStreamWriter as ArrowStreamWriter

__all__ = ["GIVES_RECORD_BATCHES", "ArrowStreamWriter", "RowBatches"]

#: Whether this Spark passes record batches to a streaming writer.
GIVES_RECORD_BATCHES = hasattr(datasource, "DataSourceStreamArrowWriter")

#: Rows, and bytes of their payloads, from which a record batch ends.
_ROWS, _BYTES = 10_000, 4 << 20


class RowBatches:
    """Converts rows to record batches with the columns of messages; other columns are null."""

    def __init__(self, schema: StructType, columns: MessageColumns) -> None:
        used = {columns.subject, columns.payload, columns.headers, columns.msg_id}
        self._payload = columns.payload
        self._names = schema.names
        self._types: list[pa.DataType | None] = [
            to_arrow_type(field.dataType) if position in used else None
            for position, field in enumerate(schema)
        ]

    def of(self, rows: Iterable[Row]) -> Iterator[pa.RecordBatch]:
        """Yield the rows in record batches of bounded size."""
        held: list[Row] = []
        size = 0
        for row in rows:
            held.append(row)
            size += len(row[self._payload] or b"")
            if len(held) >= _ROWS or size >= _BYTES:
                yield self._batch(held)
                held, size = [], 0
        if held:
            yield self._batch(held)

    def _batch(self, rows: Sequence[Row]) -> pa.RecordBatch:
        columns = [
            pa.nulls(len(rows)) if kind is None else _array([row[i] for row in rows], kind)
            for i, kind in enumerate(self._types)
        ]
        return pa.RecordBatch.from_arrays(columns, self._names)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_map(kind):
        values = [None if each is None else list(each.items()) for each in values]
    return pa.array(values, kind)
