"""Rows as record batches, for a Spark that passes rows to a streaming writer."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import Row
from pyspark.sql.pandas.types import to_arrow_type
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    DataType,
    MapType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from nats_spark_common.sink import row_batches
from nats_spark_common.sink.columns import message_columns
from nats_spark_common.sink.row_batches import RowBatches

TEXT, BINARY = StringType(), BinaryType()
ONE, MANY = MapType(TEXT, TEXT), MapType(TEXT, ArrayType(TEXT))


def schema_of(content: DataType, headers: DataType) -> StructType:
    types = {
        "timestamp": TimestampType(),
        "subject": StringType(),
        "content": content,
        "headers": headers,
        "msgId": StringType(),
    }
    return StructType([StructField(name, kind) for name, kind in types.items()])


def converted(schema: StructType, rows: list[Row]) -> list[pa.RecordBatch]:
    return list(RowBatches(schema, message_columns(schema, None)).of(iter(rows)))


text = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
rows = st.lists(
    st.tuples(
        text,
        st.none() | st.binary(max_size=5),
        st.none() | st.dictionaries(text.filter(bool), st.none() | st.lists(text, max_size=3)),
        text,
    )
)


@given(rows)
def test_rows_are_what_arrow_makes_of_their_values(values: list[tuple[Any, ...]]) -> None:
    schema = schema_of(BINARY, MANY)
    batches = converted(schema, [Row(None, *each) for each in values])
    for position, name in enumerate(("subject", "content", "headers", "msgId")):
        found = [value for batch in batches for value in batch.column(name).to_pylist()]
        wanted = [each[position] for each in values]
        if name == "headers":
            wanted = [each and list(each.items()) if each else each for each in wanted]
            wanted = [[] if each == {} else each for each in wanted]
        assert found == wanted
        kind = to_arrow_type(schema[name].dataType)
        assert all(batch.column(name).type == kind for batch in batches)


def test_headers_may_be_strings() -> None:
    schema = schema_of(TEXT, ONE)
    (batch,) = converted(schema, [Row(None, "a", "b", {"H": "v"}, None)])
    assert batch.column("headers").to_pylist() == [[("H", "v")]]


def test_other_columns_are_not_converted() -> None:
    schema = schema_of(TEXT, ONE)
    (batch,) = converted(schema, [Row(object(), "a", "b", None, None)])
    assert batch.column("timestamp").null_count == 1


def test_a_record_batch_has_a_bounded_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_batches, "_ROWS", 10)
    schema = schema_of(TEXT, ONE)
    batches = converted(schema, [Row(None, "a", str(i), None, None) for i in range(25)])
    assert [batch.num_rows for batch in batches] == [10, 10, 5]
    contents = [each for batch in batches for each in batch.column("content").to_pylist()]
    assert contents == [str(i) for i in range(25)]


def test_a_record_batch_has_bounded_payloads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_batches, "_BYTES", 100)
    schema = schema_of(BINARY, ONE)
    batches = converted(schema, [Row(None, "a", b"x" * 40, None, None) for _ in range(7)])
    assert [batch.num_rows for batch in batches] == [3, 3, 1]
