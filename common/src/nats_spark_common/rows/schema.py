"""The rows of every flavor, as Spark's schema and as Arrow columns.

The names are those of the Scala V2 connector. A user schema with some of the columns is a
projection: the other columns are not decoded.
"""

from __future__ import annotations

from inspect import signature
from typing import Any

import pyarrow as pa
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    DataType,
    LongType,
    MapType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from ..errors import OptionError
from .messages import MESSAGE_COLUMNS, Messages

_HEADERS = MapType(StringType(), ArrayType(StringType()))

#: Spark 4.0 and 4.1 have no such argument: timestamps in Arrow are of this zone by default.
_UTC: dict[str, Any] = (
    {"timezone": "UTC"} if "timezone" in signature(to_arrow_schema).parameters else {}
)

#: Subject, payload and headers; stream, sequence in it, and the time when the message was stored.
#: Flavors that read through a consumer fill the remaining columns; in the others they are null.
SCHEMA = StructType(
    [
        StructField("subject", StringType()),
        StructField("content", BinaryType()),
        StructField("headers", _HEADERS),
        StructField("stream", StringType()),
        StructField("streamSeq", LongType()),
        StructField("timestamp", TimestampType()),
        StructField("domain", StringType()),
        StructField("consumer", StringType()),
        StructField("consumerSeq", LongType()),
        StructField("delivered", LongType()),
        StructField("pending", LongType()),
        StructField("replyTo", StringType()),
    ]
)

_TYPES: dict[str, DataType] = {field.name: field.dataType for field in SCHEMA}
_NAMES = {name.lower(): name for name in _TYPES}


class Projection:
    """The columns that a query requests: which to decode, and how to return them to Spark.

    Attributes:
        fields: the columns to decode, of `MESSAGE_COLUMNS`.
    """

    def __init__(self, schema: StructType) -> None:
        """Raise ``OptionError`` if the schema is not a selection of `SCHEMA`'s columns."""
        # Spark compares names case-insensitively, and shows them as the user wrote them.
        self._columns = [_checked(field) for field in schema]
        self._arrow: pa.Schema = to_arrow_schema(schema, **_UTC)
        self.fields = MESSAGE_COLUMNS & set(self._columns)

    def batch(self, messages: Messages, constants: dict[str, Any]) -> pa.RecordBatch:
        """Return the messages as a record batch; a column that is not decoded or constant is null.

        Args:
            constants: values that are the same for every message, by column name.
        """
        count = len(messages)
        columns = []
        for name, field in zip(self._columns, self._arrow, strict=True):
            if name == "streamSeq":
                column = pa.array(messages.seqs)
            elif name in messages.columns:
                column = messages.columns[name]
            elif constants.get(name) is not None:
                column = pa.repeat(pa.scalar(constants[name], field.type), count)
            else:
                column = pa.nulls(count, field.type)
            columns.append(column if column.type == field.type else column.cast(field.type))
        return pa.RecordBatch.from_arrays(columns, schema=self._arrow)


def _checked(field: StructField) -> str:
    """Return the column of this field's name. Raises ``OptionError`` if the type differs."""
    name = _NAMES.get(field.name.lower())
    if name is None:
        raise OptionError(
            f"schema: there is no column {field.name!r}; the columns are {', '.join(_TYPES)}"
        )
    expected = _TYPES[name]
    if field.dataType.simpleString() != expected.simpleString():
        raise OptionError(
            f"schema: column {field.name!r} is {expected.simpleString()}, "
            f"not {field.dataType.simpleString()}"
        )
    return name
